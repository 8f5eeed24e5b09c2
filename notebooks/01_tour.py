# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: -all
#     notebook_metadata_filter: jupytext,kernelspec,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of `linreg_lora`
#
# Linear regression is the one place where LoRA and full fine-tuning (FFT) can be compared by formulas. A pretrained map
# $A_0$ meets a task whose true map is $A_0 + \Delta$:
#
# $$ y = (A_0 + \Delta)\, x + \varepsilon, \qquad x \sim N(0, \Sigma), \quad \varepsilon \sim N(0, \sigma^2 I),
# \qquad n \text{ samples.} $$
#
# An update $D$ is judged by its *excess risk* $\|(D - \Delta)\,\Sigma^{1/2}\|_F^2$: population risk, not training
# error. FFT takes the least-squares update nearest to $A_0$; LoRA takes the least-squares update of rank at most $r$.

# %%
import matplotlib.pyplot as plt
import numpy as np

import linreg_lora as ll

# %% [markdown]
# ## A problem and its regime
#
# `spectrum` holds the singular values of the task shift $\Delta$. `noise_std` is $\sigma$. Everything else has a
# default: isotropic inputs, isotropic noise, no ridge penalty.

# %%
problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
print(problem.regime, "-", problem.moments)
print("excess risk of not adapting:", problem.pretrained_risk)

# %% [markdown]
# ## One draw
#
# Samples are columns: `inputs` is $d_x \times n$ and `outputs` is $d_y \times n$. Both methods are closed forms, so
# one dataset gives one update each. (The pretrained map is zero here; no excess risk depends on it.)

# %%
rng = np.random.default_rng(0)
inputs = rng.standard_normal((problem.dx, problem.n))
outputs = problem.shift @ inputs + problem.noise_std * rng.standard_normal((problem.dy, problem.n))

full = ll.estimators.fit_fft(inputs, outputs)
low_rank = ll.estimators.fit_lora(inputs, outputs, rank=3)
for name, update in (("FFT", full), ("LoRA, rank 3", low_rank)):
    print(f"{name:12s}  excess risk of this draw {np.sum((update - problem.shift) ** 2):.2f}")

# %% [markdown]
# ## Risk against rank
#
# `monte_carlo` averages over many draws and gives a standard error with every mean. It factorises each draw once, and
# gets every rank from that. The last rank, $\min(n, d_x, d_y)$, is FFT; its exact risk is the dashed line.

# %%
curve = ll.monte_carlo(problem, trials=400, seed=0)
exact = ll.theory.fft_risk(problem)

figure, axes = plt.subplots(figsize=(4.6, 3.2), layout="constrained")
axes.errorbar(curve.ranks, curve.risk, yerr=curve.stderr, marker="o", markersize=4, label="LoRA, simulated")
axes.axhline(exact.risk, color="black", linestyle="--", linewidth=1, label="FFT, exact theory")
axes.set(xlabel="rank r", ylabel="expected excess risk", ylim=(0, None))
axes.legend()
plt.show()
print("FFT:", exact.formula)
print("best rank:", curve.best_rank)

# %% [markdown]
# ## Where LoRA wins, and where it loses
#
# LoRA trades bias for variance: it misses the directions of $\Delta$ beyond rank $r$ and fits noise in fewer
# directions. So it wins when noise is strong, and loses when the missed directions outweigh it. `difference` is LoRA
# minus FFT on the *same* draws, which is far sharper than the difference of two means; a sign is printed only three
# standard errors from zero.

# %%
ranks = [1, 2, 3, 6]
print("noise std " + "".join(f"{f'rank {rank}':>9s}" for rank in ranks))
for noise_std in (0.1, 0.5, 1.0, 2.0):
    noisy = ll.monte_carlo(problem.replace(noise_std=noise_std), trials=400, seed=0, ranks=ranks)
    sure = np.abs(noisy.difference) > 3 * noisy.difference_stderr
    words = np.where(~sure, "unclear", np.where(noisy.difference < 0, "wins", "loses"))
    print(f"{noise_std:9g} " + "".join(f"{word:>9s}" for word in words))

# %% [markdown]
# ## The threshold where no mean exists
#
# At $n = d_x$ the design is square. Its inverse has such heavy tails that the expected risk is infinite for $|n -
# d_x| \le 1$, and the variance of the risk for $|n - d_x| \le 3$. A sample mean converges to nothing where the
# expectation is infinite, so the package prints `inf`, and draws nothing. Where only the variance is infinite it
# averages conditional means, whose variance is finite.

# %%
for n in (24, 26, 28):
    near = problem.replace(n=n)
    at_rank_3 = ll.monte_carlo(near, trials=200, seed=0, ranks=[3])
    print(f"n = {n}: risk {at_rank_3.risk[0]:.1f}, standard error {at_rank_3.stderr[0]:.1f} ({near.moments})")

# %% [markdown]
# A ridge penalty brings all moments back.

# %%
assert problem.replace(n=24, ridge=1.0).moments is ll.Moments.FINITE

# %% [markdown]
# ## A sweep
#
# `sweep` takes a problem and the values of some of its fields, and returns an `xarray.Dataset` with a dimension for
# each. The numbers depend on the problem and the seed alone, so a sweep in parallel (`local_processes`) gives the
# same ones.

# %%
dataset = ll.sweep(problem, {"n": [32, 48, 72, 108, 160, 240]}, ranks=[1, 2, 3, 6], trials=200, seed=0)
print(dataset)

# %%
figure, axes = plt.subplots(figsize=(4.6, 3.2), layout="constrained")
dataset["risk"].sel(computed_by="monte-carlo").plot.line(x="n", marker="o", markersize=4, linewidth=1, ax=axes)
dataset["fft_risk"].sel(computed_by="theory").plot.line(color="black", linestyle="--", linewidth=1, ax=axes)
axes.set(yscale="log", ylabel="expected excess risk", title="dashed: FFT, exact theory")
plt.show()

# %% [markdown]
# ## One claim, checked
#
# `paper_claims.yaml` states what the papers assert. Each claim names its domain, its error rates, and *rivals*:
# plausible wrong formulas that the same draws must reject. A check that no rival can fail checks nothing.

# %%
(judgement,) = ll.check_claims(only=["prop3-fft-overdetermined"])
print(judgement.claim.title)
print(judgement.claim.statement)
print("verdict:", judgement.verdict, "| detects", f"{100 * judgement.detectable:.1f} % with power 0.99")
for comparison in judgement.comparisons:
    print(f"  {comparison.case}, {comparison.column}: z = {comparison.numbers['z']:+.2f}")
for rival in judgement.rivals:
    print(f"  rival ({rival.mistake}): {'rejected' if rival.rejected else 'not rejected'}")
