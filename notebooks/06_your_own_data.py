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
# # Your own data
#
# A pretrained linear map, and a few rows of a new domain: full fine-tuning or LoRA, which rank, which ridge, and what
# will the result be worth? Here the truth is not known, as it never is; but the data are real, and rows are left to
# measure the answer. They come with scikit-learn (extra `sklearn`); nothing is downloaded.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneOut, cross_val_predict

import linreg_lora as ll
from linreg_lora.figures import real_tasks, style

# %% [markdown]
# ## A task
#
# From the top half of a handwritten digit, predict its bottom half. The map was learned on the digits 0 to 4. Now come
# the digits 5 to 9, of which we have few. Pixels that hardly vary are left out. `FrozenEstimator` keeps scikit-learn's
# tools from fitting the map again.

# %%
digits = load_digits()
pixels, old = digits.data / 16, digits.target < 5
varied, top = np.std(pixels, axis=0) > 0.05, np.arange(64) < 32
inputs, outputs = pixels[:, varied & top], pixels[:, varied & ~top]
base = FrozenEstimator(LinearRegression().fit(inputs[old], outputs[old]))

order = np.random.default_rng(0).permutation(np.flatnonzero(~old))
train, test = order[:78], order[78:]
x, y = inputs[train], outputs[train]
print(f"dx = {x.shape[1]}, dy = {y.shape[1]}: n = {len(train)} rows to adapt to, {len(test)} to test on")

# %% [markdown]
# ## The answer
#
# `advise` takes inputs, outputs and the pretrained map, here anything with `predict`. It leaves every row out in turn,
# in closed form, at every rank and several ridges.

# %%
found = ll.own_data.advise(x, y, base)
low, high = found.interval(0.9)
print(found.verdict)
print(f"predicted test error {found.error:.3f}, nominal 90 % interval {low:.3f} to {high:.3f}")
print(f"FFT with its own best ridge: {found.fft_ridge.error:.3f}")
for note in found.notes:
    print("note:", note)

# %% [markdown]
# Is the prediction any good? We have the rows to tell.

# %%
models = {
    "FFT": ll.FullFineTuningRegressor(base=base),
    "LoRA, rank chosen": ll.LoRARegressor(base=base, ridge=0.0),
    "LoRA, rank and ridge chosen": ll.LoRARegressor(base=base),
    "FFT, ridge chosen": ll.FullFineTuningRegressor(base=base, ridge="auto"),
}
measured = {"pretrained map": np.mean(np.sum((outputs[test] - base.predict(inputs[test])) ** 2, axis=1))}
print(f"{'pretrained map':28s} test error {measured['pretrained map']:.3f}")
for name, model in models.items():
    left = outputs[test] - model.fit(x, y).predict(inputs[test])
    measured[name] = np.mean(np.sum(left**2, axis=1))
    said = model.risk_curve_[model.rank_]
    print(f"{name:28s} test error {measured[name]:.3f}, predicted {said:.3f} at rank {model.rank_}")
assert measured["FFT, ridge chosen"] < min(measured["FFT"], measured["LoRA, rank chosen"])

# %% [markdown]
# The closed form is no approximation: leaving rows out one by one, and fitting again, gives the same number.

# %%
rank = models["LoRA, rank chosen"].rank_
again = cross_val_predict(ll.LoRARegressor(rank, base=base, ridge=0.0), x, y, cv=LeaveOneOut())
refitted = np.mean(np.sum((y - again) ** 2, axis=1))
closed = models["LoRA, rank chosen"].risk_curve_[rank]
print(f"refitted {refitted:.12f}\nclosed   {closed:.12f}")
assert abs(refitted / closed - 1) < 1e-9

# %% [markdown]
# ## Prediction and truth at every rank
#
# One split could be luck. We draw random splits, without ridge, and compare what leave-one-out predicts with what the
# other rows say. The rows of a random split are exchangeable, so that
#
# $$ \mathbb{E}\, \mathrm{LOO}_r(n) = \mathbb{E}\, \mathrm{test}_r(n - 1) $$
#
# exactly, whatever the data are: the prediction is that of one row less. Dashed is what theory expects of Gaussian data
# that look like the first split. Bands are quartiles over the splits.
#
# One fit holds all ranks: with $D_q = B A$ and $B$ orthonormal, strongest direction first, the update of rank $r$ is
# made of the first $r$ columns of $B$ and rows of $A$.

# %%
new, count, n = np.flatnonzero(~old), 60, 78
rng = np.random.default_rng(1)
predicted, tested, chosen = [], [], []
for _ in range(count):
    order = rng.permutation(new)
    train, test = order[:n], order[n:]
    x, y = inputs[train], outputs[train]
    full = ll.own_data.advise(x, y, base, rank=inputs.shape[1], ridge=0.0)
    (b, a), curve = full.factors, full.curve
    residual = y - base.predict(x)
    target = outputs[test] - base.predict(inputs[test]) - residual.mean(0)
    said = (inputs[test] - x.mean(0)) @ a.T  # what each direction says, for the rows of the test
    gain = np.mean(said**2 - 2 * said * (target @ b), axis=0)
    errors = np.mean(np.sum(target**2, axis=1)) + np.append(0.0, np.cumsum(gain))
    missing = outputs.shape[1] + 1 - len(errors)  # a pixel without ink in all rows: that rank is FFT as well
    predicted.append(np.pad(curve.error, (0, missing), "edge"))
    tested.append(np.pad(errors, (0, missing), "edge"))
    chosen.append((curve.best_rank, errors[curve.best_rank], np.min(errors), errors[-1]))
predicted, tested, chosen = np.array(predicted), np.array(tested), np.array(chosen)
print(
    f"medians of the test error: FFT {np.median(chosen[:, 3]):.3f}, LoRA of the chosen rank "
    f"{np.median(chosen[:, 1]):.3f}, of the best in hindsight {np.median(chosen[:, 2]):.3f}"
)
assert np.median(chosen[:, 1]) < np.median(chosen[:, 3])

plain = ll.own_data.advise(x, y, base, ridge=0.0)
with style.applied():
    figure, axes = plt.subplots(figsize=(style.COLUMN_WIDTH, 3.2), layout="constrained")
    ranks = np.arange(predicted.shape[1])
    for values, look, label in (
        (tested, style.REFERENCE, "test error"),
        (predicted, style.COMPARED[3], "leave-one-out"),
    ):
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
        axes.fill_between(ranks, low, high, color=look.color, alpha=0.15, linewidth=0)
        axes.plot(ranks, middle, color=look.color, marker=look.marker, markersize=3, label=label)
    axes.plot(plain.curve.ranks, plain.expected_errors(), color="0.35", linestyle="--", label="Gaussian theory")
    axes.axhline(
        found.fft_ridge.error, color=style.COMPARED[2].color, linestyle="-.", label="FFT, its ridge: predicted"
    )
    axes.set(xlabel="LoRA rank r", ylabel="squared error, summed over outputs", ylim=(0, None))
    axes.legend(loc="best")
    plt.show()

# %% [markdown]
# The dashed line assumes Gaussian inputs and independent noise, and pixels have neither. That is why ranks are chosen
# by leave-one-out, which assumes nothing of the kind.
#
# ## What a ridge leaves of LoRA
#
# LoRA is often compared with full fine-tuning that nobody has tuned. The figure `real-tasks` has five tasks on real
# data, three sizes each. Its numbers are stored with it; `linreg-lora figures real-tasks` makes them again.

# %%
dataset = xr.load_dataset(Path("..", "figures", "real-tasks.nc"), engine="h5netcdf")
print("medians       n      none      FFT     LoRA  L.+ridge F.+ridge    share")
share = real_tasks.ridge_share(dataset)
for task in dataset["task"].values:
    for size in range(dataset.sizes["size"]):
        here = dataset.sel(task=task).isel(size=size)
        medians = "".join(f"{value:9.2f}" for value in here["errors"].median("split").values)
        print(f"{task:10s} {int(here['n']):4d} {medians} {float(share.sel(task=task)[size]):8.2f}")
print(f"median share {float(share.median()):.2f}, least {float(share.min()):.2f}")
assert share.min() > 0.9

# %% [markdown]
# `share` is what FFT's ridge alone wins, of what LoRA with rank and ridge wins over FFT without; more than one where it
# wins more. So on such data a tuned ridge removes most of what LoRA wins over full fine-tuning without one. Rank
# matters beyond ridge where the shift has low rank and samples outnumber inputs, as here, with a shift of rank one:

# %%
rng = np.random.default_rng(3)
low_rank = np.outer(rng.standard_normal(20), rng.standard_normal(20)) / 4
u, fresh = rng.standard_normal((100, 20)), rng.standard_normal((4000, 20))
v = u @ low_rank.T + rng.standard_normal((100, 20))
excess = {}
for name, model in (("LoRA", ll.LoRARegressor()), ("FFT with its ridge", ll.FullFineTuningRegressor(ridge="auto"))):
    excess[name] = np.mean(np.sum((model.fit(u, v).predict(fresh) - fresh @ low_rank.T) ** 2, axis=1))
    print(f"{name:28s} error beyond the noise {excess[name]:.2f}")
assert excess["LoRA"] < excess["FFT with its ridge"] / 2

# %% [markdown]
# ## How sure
#
# The interval of `advise` reaches as far as a Gaussian bootstrap does, or as the standard error of leave-one-out, which
# knows of heavy tails. On real data it is too short all the same. Both are counted over the splits of the figure.

# %%
said, normal = real_tasks.coverage(dataset)
print("share of splits whose test error lies in the interval of nominal", dataset.attrs["level"])
for task in dataset["task"].values:
    here, there = (float(values.sel(task=task).mean()) for values in (said, normal))
    print(f"{task:12s} interval of advise {here:.2f}, standard error alone {there:.2f}")
assert said.mean() < dataset.attrs["level"]

# %% [markdown]
# ## Exercises
#
# 1. Set the number of rows to adapt to next to the number of inputs. What do the notes say, and what does a ridge do?
# 2. Give the same rows twice. Which note appears, and what do `groups` change?
# 3. Write your rows to a csv and run `linreg-lora fit` on it, with `--picture` and `--save`.
