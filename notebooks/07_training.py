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
# # Training
#
# Theory speaks of the best update of rank r. What do gradients on the two factors of D = g B A reach, how fast, and
# what happens on the way? Descent runs on the statistics of the data, S and H, so a step costs nothing in n.

# %%
import numpy as np
from IPython.display import display

from linreg_lora import Problem, expected_risk, training
from linreg_lora.figures import style

problem = Problem(n=60, dx=16, dy=12, spectrum=(4.0, 3.0, 2.0), noise_std=1.5)
settings = {"trials": 8, "seed": 0}

# %% [markdown]
# ## Where it ends
#
# From the start of Hugging Face peft (A uniform, B = 0), gradient descent, heavy ball and Adam with a learning rate
# that decays end at the closed form, the truncation in the metric of the inputs. A run says when its risk is within one
# percent of the closed form's for good, and whether it converged at all.

# %%
runs = {
    name: training.train(problem, 3, training.Recipe(optimiser=name), **settings) for name in ("gd", "momentum", "adam")
}
for name, run in runs.items():
    print(f"{name}: steps {run.median_reached:.0f}, converged {run.converged.sum()} of {run.trials}, "
          f"distance {np.median(run.distance[:, -1]):.1e}")  # fmt: skip
assert all(run.converged.all() and run.distance[:, -1].max() < 1e-8 for run in runs.values())

# %% [markdown]
# At a constant learning rate Adam does not settle for good: it rests for a while, and jumps. The run says so.

# %%
jumping = training.train(problem, 3, training.Recipe(optimiser="adam", schedule="constant"), **settings)
print(jumping.note)
assert not jumping.converged.any()

# %% [markdown]
# ## What happens on the way
#
# With a rank above that of the shift the path passes a risk far below that of its end: early on it has learned the
# shift and not yet the noise. Full fine-tuning does the same, less well.

# %%
recipe = training.Recipe(optimiser="gd", learning_rate=0.01, steps=3000)
paths = {rank: training.train(problem, rank, recipe, **settings) for rank in (1, 3, 8, None)}
ends = expected_risk(problem, [1, 3, 8])
with style.applied():
    figure, axes = style.single_panel()
    for (rank, run), look in zip(paths.items(), (*style.COMPARED[1:], style.REFERENCE), strict=True):
        label = "FFT" if rank is None else f"LoRA, rank {rank}"
        axes.plot(run.at[1:], run.risk.mean(axis=0)[1:], color=look.color, linestyle=look.linestyle, label=label)
        end = ends.fft_risk if rank is None else ends.at_rank(rank).risk
        axes.axhline(end, color=look.color, linestyle=":", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="step", ylabel="excess risk, mean of 8 draws")
    axes.legend()
for rank in (8, None):
    least, where = paths[rank].best
    print(f"rank {rank}: {np.median(least / paths[rank].closed_risk):.2f} of its end, at step {np.median(where):.0f}")
    assert np.all(least < paths[rank].closed_risk)
display(figure)

# %% [markdown]
# ## Fewer samples than inputs
#
# Where no sample is, descent leaves A as it was: the update keeps g B A(0) there. On the range of the inputs it is the
# closed form. Adam moves A everywhere, by its own rule.

# %%
few = problem.replace(n=10, noise_std=0.5)
for name in ("gd", "adam"):
    run = training.train(few, 2, training.Recipe(optimiser=name, steps=8000), **settings)
    added = np.mean(run.risk[:, -1] / run.closed_risk) - 1
    print(f"{name}: distance on the range {np.median(run.distance[:, -1]):.1e}, risk {added:+.0%} of the closed form's")
    assert np.median(run.distance[:, -1]) < 1e-6

# %% [markdown]
# ## Decay
#
# Decay in the gradient penalises the nuclear norm of the product, with weight decay / g, and so shrinks its singular
# values. AdamW's decay does not: what it ends at has hardly moved.

# %%
for name in ("momentum", "adamw"):
    run = training.train(problem, 3, training.Recipe(optimiser=name, weight_decay=1.0, steps=4000), **settings)
    strengths = np.median(np.linalg.svd(run.final, compute_uv=False)[:, :3], axis=0)
    print(f"{name}: singular values {strengths.round(2)}, risk {np.mean(run.risk[:, -1]):.2f}")
