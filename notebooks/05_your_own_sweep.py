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
# # Your own sweep
#
# From a question to a figure: at which noise, and with how many samples, does LoRA of which rank pay? A sweep file, a
# run that survives interruption, an `xarray.Dataset`, and a figure that can be made again from what was saved.

# %%
import json
import tempfile
from pathlib import Path

import numpy as np
import scipy.stats
import xarray as xr
from IPython.display import Image, display

from linreg_lora import InvalidInput, Problem, expected_risk, sweep
from linreg_lora.figures import style
from linreg_lora.files import atomic_path, write_atomically, write_dataset
from linreg_lora.sweeps import SweepRequest, failures, plan_sweep, run_sweep

temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)

# %% [markdown]
# ## The question, as a file
#
# `problem` has the fields of `Problem`, `axes` what varies. On the command line:
# `linreg-lora sweep sweep.yaml --out results.nc`, and `--dry-run` says how much work it is.

# %%
config, out = folder / "sweep.yaml", folder / "results.nc"
config.write_text("""
problem:
  dx: 12
  dy: 10
  spectrum: [3, 2, 1]
axes:
  noise_std: [0.5, 1.5, 4]
  n: [6, 8, 12, 15, 30, 80]
ranks: [1, 2, 3]
trials: 400
""")
request = SweepRequest.of(config, out, None, resume=False)
print(plan_sweep(request, workers=1))

# %% [markdown]
# ## Interrupted, and resumed
#
# Every finished cell goes to a journal before it is reported. We play Ctrl-C after ten cells. Without `resume` the
# journal is not touched; with it the sweep goes on, and ends in the same bytes as a sweep that nothing disturbed.

# %%
done = 0


def impatient(cells):
    global done
    done += cells
    if done >= 10:
        raise KeyboardInterrupt


try:
    sweep(**request.arguments, progress=impatient)
except KeyboardInterrupt:
    print("interrupted after", done, "cells; the journal has", request.journal.stat().st_size, "bytes")

try:
    SweepRequest.of(config, out, None, resume=False)
except InvalidInput as error:
    print(str(error).replace(str(folder), "..."))

resumed = SweepRequest.of(config, out, None, resume=True)
print(plan_sweep(resumed, workers=1).splitlines()[0])
failed = run_sweep(resumed, workers=1, scheduler=None)
assert failed == []

undisturbed = SweepRequest.of(config, folder / "again.nc", None, resume=False)
run_sweep(undisturbed, workers=1, scheduler=None)
assert out.read_bytes() == undisturbed.out.read_bytes()

# %% [markdown]
# ## What comes out
#
# Dimensions are the axes, `rank`, and `computed_by`: simulation and theory side by side. The attributes keep the sweep
# file, the seed and all versions.

# %%
dataset = xr.open_dataset(out)
print(dataset.sizes)
for name, variable in dataset.data_vars.items():
    print(f"{name:18s} {variable.dims}: {variable.attrs['long_name']}")
print({key: dataset.attrs[key] for key in ("source", "trials", "seed")})

# %% [markdown]
# `moments` marks the cells around the interpolation threshold $n = d_x = 12$. Where the mean is infinite, `risk` is
# infinite too, and nothing was drawn. Where only the variance is infinite, LoRA's conditional means may still have a
# standard error; where none exists, `stderr` is nan. Leave such cells out, or show them as what they are.

# %%
moments = dataset["moments"]
words = moments.attrs["flag_meanings"].split()
print("n: moments, risk of rank 3 at noise 1.5")
for n in dataset["n"].values:
    cell = dataset.sel(noise_std=1.5, n=n, rank=3, computed_by="monte-carlo")
    print(
        f"{n:3d}: {words[int(cell['moments'])]:12s} risk {float(cell['risk']):7.3f}, stderr {float(cell['stderr']):.3f}"
    )
has_mean = moments != words.index("no_mean")
assert has_mean["n"].where(~has_mean.any("noise_std"), drop=True).values.tolist() == [12]
assert np.isfinite(dataset["risk"].where(has_mean, 0.0)).all()

# %% [markdown]
# ## Theory against simulation
#
# Compare wherever the mean exists. For $n > d_x$ FFT's risk is exact, so its $z$ must stay below a critical value; that
# test needs a finite variance. LoRA's risk by theory is an expansion in the inverse of the dimension, and 12 is a tiny
# dimension: we look at its relative error instead. It grows towards the threshold, and where a direction of the shift
# is just detectable.

# %%
simulated, theory = (dataset.sel(computed_by=method) for method in ("monte-carlo", "theory"))
exact = dataset["n"] > 12 + 3
fft_z = ((simulated["fft_risk"] - theory["fft_risk"]) / simulated["fft_stderr"]).where(exact, drop=True)
critical = scipy.stats.norm.isf(1e-6 / 2 / fft_z.size)  # false alarm 1e-6 over all cells
print(f"FFT: largest |z| = {float(abs(fft_z).max()):.2f} of {fft_z.size}, critical {critical:.2f}")
assert (abs(fft_z) < critical).all()

error = (theory["risk"] / simulated["risk"] - 1).where(has_mean)
noise = simulated["stderr"] / simulated["risk"]
table = xr.Dataset(
    {"largest error": abs(error).max(("noise_std", "rank")), "its stderr, at most": noise.max(("noise_std", "rank"))}
)
print("LoRA, relative:")
print(table.drop_vars("computed_by").to_dataframe().dropna().round(4).to_string())
far = dataset["n"] >= 30
assert (abs(error) < 0.03 + critical * noise).where(far, True).all()  # 3 %: what is left at d = 12, beside the noise

# %% [markdown]
# ## Which rank, and how sure
#
# `idxmin` gives the best rank of each cell. A minimum of noisy means is not sure by itself: `close` counts the ranks
# within three joint standard errors of it. (Ranks share draws, so their differences are sharper than that.) Against FFT
# the sweep has the paired `difference` with its own standard error.

# %%
risk = simulated["risk"].where(has_mean)
best = risk.where(has_mean, np.inf).idxmin("rank").where(has_mean)
joint = np.hypot(simulated["stderr"], simulated["stderr"].sel(rank=best.fillna(1).astype(int)))
close = (risk <= risk.min("rank") + 3 * joint).sum("rank").where(has_mean)
print("best rank (rows: noise; nan: no mean)", best.to_pandas().to_string(), sep="\n")
print("ranks that could be best", close.to_pandas().to_string(), sep="\n")

z = simulated["difference"] / simulated["difference_stderr"]
winner = xr.where(abs(z) > 3, np.sign(-z), 0).where(has_mean)
print("rank 1 against FFT (1: wins by three standard errors, -1: loses by three)")
print(winner.sel(rank=1).to_pandas().to_string())
assert winner.sel(rank=1, noise_std=0.5, n=80) == -1
assert (winner.sel(rank=1, noise_std=4).dropna("n") == 1).all()
assert best.sel(noise_std=0.5, n=80) == 3  # weak noise: the whole shift is worth its noise
assert best.sel(noise_std=4, n=30) == 1  # strong noise: the weak directions are not

# %% [markdown]
# ## Cells without numbers
#
# Three kinds, and none is silent. Infinite means are marked in `moments`. Where theory has no answer its numbers are
# nan, and the curve of that one problem says why in its `notes`: at $n = d_x$ without noise and ridge LoRA has no
# deterministic equivalent. A cell whose computation raises fails alone: the others finish, the variable `failure` has
# its error, and a warning counts such cells.

# %%
noiseless = Problem(n=24, dx=12, dy=10, spectrum=(3.0, 2.0, 1.0), noise_std=0.0)
partial = sweep(noiseless, {"n": [12, 24]}, ranks=[1, 2], computed_by=["theory"])
print(partial["risk"].isel(computed_by=0).to_pandas().to_string())
print(*expected_risk(noiseless.replace(n=12), [1, 2]).notes, sep="\n")
assert partial["risk"].isel(computed_by=0).isnull().all("rank").values.tolist() == [True, False]
assert failures(dataset) == failures(partial) == []  # no computation raised

# %% [markdown]
# ## A figure of your own
#
# A function from the dataset to a figure: nothing else goes in, so the saved data redraw it. `style` gives each series
# a colour, a marker and dashes, legible without colour. Lines (theory) break, and a band stands, where no mean exists.
# Bars are three standard errors of the paired difference. Next to the threshold the markers leave the lines: the theory
# flags itself there.

# %%
RANK = 3


def draw(dataset):
    """LoRA's risk over FFT's against n, at rank RANK: lines are theory, markers simulation."""
    simulated, theory = (dataset.sel(computed_by=method) for method in ("monte-carlo", "theory"))
    with style.applied():
        figure, axes = style.single_panel(height=3.2)
        for noise_std, series in zip(dataset["noise_std"].values, style.COMPARED[1:], strict=True):
            one, line = (part.sel(noise_std=noise_std, rank=RANK) for part in (simulated, theory))
            exists = np.isfinite(one["risk"].values)
            ratio = (one["risk"] / one["fft_risk"])[exists]
            spread = 3 * (one["difference_stderr"] / one["fft_risk"])[exists]
            axes.errorbar(
                dataset["n"][exists],
                ratio,
                spread,
                fmt=series.marker,
                color=series.color,
                label=f"$\\sigma$ = {noise_std:g}",
            )
            by_theory = (line["risk"] / line["fft_risk"]).where(np.isfinite(line["risk"]))
            axes.plot(dataset["n"], by_theory, color=series.color, linestyle=series.linestyle)
        axes.axhline(1, color=style.REFERENCE.color, linewidth=0.8)
        axes.axvspan(11, 13, color="0.9")
        axes.text(12, 0.5, "no mean", color=style.ANNOTATION, rotation="vertical", ha="center", va="center")
        axes.text(100, 1.01, "FFT", ha="right", va="bottom")
        axes.set(xscale="log", xlabel="samples $n$  ($d_x$ = 12)", ylabel=f"risk of LoRA, rank {RANK} / risk of FFT")
        axes.set(xlim=(5, 105), ylim=(0, 1.1))
        axes.set_xticks(dataset["n"].values, dataset["n"].values)
        axes.set_xticks([], minor=True)
        axes.legend(title="noise", loc="lower right")
    return figure


style.save(draw(dataset), folder / "preview.png")
display(Image(folder / "preview.png", width=500))

# %% [markdown]
# ## Saved with what it was made from
#
# Data, picture and provenance side by side, each file written completely or not at all. Whoever has them can redraw the
# picture, to the byte with the same versions, or run the sweep again.

# %%
with atomic_path(folder / "my-figure.pdf") as path:
    style.save(draw(dataset), path)
write_dataset(dataset, folder / "my-figure.nc")
keys = ("config", "trials", "seed", "problems_sha256", "versions")
provenance = {key: value.item() if isinstance(value := dataset.attrs[key], np.generic) else value for key in keys}
write_atomically(folder / "my-figure.json", json.dumps(provenance, indent=2).encode())
print(json.dumps(provenance, indent=2))

with xr.open_dataset(folder / "my-figure.nc") as saved:
    style.save(draw(saved), folder / "again.pdf")
assert (folder / "again.pdf").read_bytes() == (folder / "my-figure.pdf").read_bytes()

# %%
dataset.close()
temporary.cleanup()

# %% [markdown]
# ## Exercises
#
# Some assertions above state facts about this problem. In another one they may fail: take them out, or say why.
#
# 1. Add `6` to `noise_std`. Which rank wins at `n = 80`? And which at `n = 6`: is the answer sure?
# 2. Give the problem `ridge: 5` and keep the axes. Which cells gain a mean, and what happens to the peak at the
#    threshold?
# 3. Replace the spectrum by a family, `spectrum: {family: power-law, exponent: 1, scale: 3}`, and make its exponent an
#    axis, `spectrum.exponent: [0, 1, 2]`. Where does LoRA stop winning?
