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
# # Four regimes, by hand
#
# When does LoRA of rank $r$ beat full fine-tuning (FFT)? It depends on where $n$ lies against $d_x$, on the noise, and
# on the task shift $\Delta$. Here you move these by hand. The curves are theory, so they follow the sliders; simulation
# comes when you ask for it. `linreg-lora explore` serves the same on a page of its own.

# %%
import time

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from linreg_lora import InvalidInput, monte_carlo
from linreg_lora.explorer import Family, Setting, against_rank, against_samples, draw_ranks, draw_samples, lora_at
from linreg_lora.figures import style

# %% [markdown]
# A `Setting` is what the sliders say. `against_rank` turns it into theory: LoRA's expected excess risk at some
# ranks, FFT's, and the *floor*, the sum of $s_i^2$ beyond rank $r$, which no update of rank $r$ can go below.

# %%
start = Setting(n=120, dx=60, dy=60, noise=1.0, family=Family.LOW_RANK, rank=4, scale=2.0)


def show(setting, simulated=None):
    """The curves of a setting, and in one line what they say; a setting that makes no sense says why."""
    try:
        found = against_rank(setting)
    except InvalidInput as error:
        print(error)
        return
    print(found.summary)
    with style.applied():
        _, axes = plt.subplots(figsize=(style.COLUMN_WIDTH, 3.5), layout="constrained")
        draw_ranks(axes, found, simulated)
        plt.show()


show(start)

# %% [markdown]
# How long does that take? The cost depends on the number of *distinct* singular values, not on the dimensions.

# %%
seconds = []
for n in (121, 125, 135, 150, 180):
    began = time.perf_counter()
    against_rank(start.replace(n=n))
    seconds.append(time.perf_counter() - began)
print(f"theory follows in {np.median(seconds):.2f} s")

# %% [markdown]
# ## Sliders
#
# `Simulate` draws the same problem 200 times and adds the means, with bars of two standard errors.

# %%
controls = {
    "n": widgets.IntSlider(start.n, 2, 400, description="n", continuous_update=True),
    "dx": widgets.IntSlider(start.dx, 2, 200, description="dx"),
    "dy": widgets.IntSlider(start.dy, 2, 200, description="dy"),
    "noise": widgets.FloatSlider(start.noise, min=0, max=5, step=0.05, description="noise"),
    "family": widgets.Dropdown(options=[str(family) for family in Family], description="spectrum"),
    "rank": widgets.IntSlider(start.rank, 1, 20, description="rank"),
    "exponent": widgets.FloatSlider(start.exponent, min=0, max=3, step=0.05, description="exponent"),
    "rate": widgets.FloatSlider(start.rate, min=0, max=2, step=0.05, description="rate"),
    "scale": widgets.FloatSlider(start.scale, min=0, max=10, step=0.1, description="largest s"),
    "ridge": widgets.FloatSlider(start.ridge, min=0, max=50, step=0.5, description="ridge"),
}
simulate = widgets.Button(description="Simulate", button_style="primary")
plot = widgets.Output()


def setting_of_the_sliders():
    return Setting(lora=1, **{name: control.value for name, control in controls.items()})


def redraw(simulated=None):
    plot.clear_output(wait=True)
    with plot:
        try:
            show(setting_of_the_sliders(), simulated)
        except InvalidInput as error:
            print(error)


def draw_and_redraw(_):
    try:
        setting = setting_of_the_sliders()
    except InvalidInput:
        redraw()
        return
    ranks = against_rank(setting).curve.ranks
    redraw(monte_carlo(setting.problem(), trials=200, seed=0, ranks=ranks))


for control in controls.values():
    control.observe(lambda _: redraw(), "value")
simulate.on_click(draw_and_redraw)
redraw()
display(widgets.HBox([widgets.VBox([*controls.values(), simulate]), plot]))

# %% [markdown]
# ## Overdetermined, $n > d_x$
#
# FFT has no bias and pays $\operatorname{Tr}(\Sigma_\varepsilon)\, d_x / (n - d_x - 1)$ for the noise, whatever the
# shift. LoRA pays for the noise in fewer directions, and for what rank $r$ leaves out of $\Delta$. Below the true rank
# this dominates, above it the noise. With more noise the best rank is smaller, since a direction that noise hides is
# better left alone.

# %%
for noise in (0.5, 1.0, 2.0):
    print(f"noise {noise:g}: {against_rank(start.replace(noise=noise)).summary}")

# %% [markdown]
# Do the draws agree with the theory? Two standard errors are mostly smaller than the markers.

# %%
ranks = against_rank(start).curve.ranks
show(start, monte_carlo(start.problem(), trials=200, seed=0, ranks=ranks))

# %% [markdown]
# ## Underdetermined, $n < d_x$
#
# Now FFT fits the data exactly. Of $\Delta$ it sees only the share $n / d_x$ that lies in the row space of the inputs:
#
# $$ \|\Delta\|_F^2 \left(1 - \frac{n}{d_x}\right) + \operatorname{Tr}(\Sigma_\varepsilon)\, \frac{n}{d_x - n - 1}. $$
#
# No rank brings back what the data do not show, so even LoRA's best rank stays far above the floor. Where noise is
# strong against the shift, not adapting at all (rank 0) is best.

# %%
few = start.replace(n=30)
for scale in (1.0, 2.0, 4.0):
    print(f"largest singular value {scale:g}: {against_rank(few.replace(scale=scale)).summary}")
show(few.replace(scale=4.0))

# %% [markdown]
# ## The threshold, $n = d_x$
#
# A square design is nearly singular so often that the expected risk is infinite for $|n - d_x| \le 1$, for FFT *and*
# for LoRA of any rank: both start from the same inverse. No average is drawn there, since none exists. LoRA's peak is
# lower, because it lets the blown-up noise in through few directions; but on the way up more samples hurt it too.

# %%
both_sides = [8, 20, 35, 48, 56, 58, 60, 62, 64, 72, 90, 150, 480]


def show_threshold(setting, sample_sizes):
    """Risk against n of FFT and of LoRA at the setting's rank, on both sides of n = dx."""
    lora = {n: lora_at(setting, n) for n in sample_sizes}
    with style.applied():
        _, axes = plt.subplots(figsize=(style.COLUMN_WIDTH, 3.5), layout="constrained")
        draw_samples(axes, against_samples(setting), lora, setting.dx, setting.lora)
        plt.show()


show_threshold(start, both_sides)
print(against_rank(start.replace(n=60)).summary)

# %% [markdown]
# ## Ridge
#
# A penalty $\eta \|D\|_F^2$ bounds the inverse. All moments exist again, LoRA's peak is gone, and FFT comes closer to
# it: shrinking all directions a little and dropping most of them are two cures for the same noise. Here they add up:
# with every ridge below LoRA of the true rank is still better, and better than without ridge.

# %%
for ridge in (0.0, 5.0, 20.0, 80.0):
    print(f"ridge {ridge:g}: {against_rank(start.replace(n=70, ridge=ridge)).summary}")

# %%
show_threshold(start.replace(ridge=20.0), [8, 20, 35, 60, 90, 150, 480])
