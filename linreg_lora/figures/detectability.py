"""When a direction of the shift can be seen: singular value and overlaps of the residual against signal strength.

Setting: a task shift of rank one and strength s, dx = 80, dy = 50, n = 160, Sigma = I, sigma = 1. FFT's fit F = R P,
whose singular vectors LoRA keeps, is a spike of strength s sqrt(n) on noise. Theory: `theory.spiked`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Array

from linreg_lora.figures import datasets, style
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed
from linreg_lora.sweeps.grid import map_cells
from linreg_lora.theory import spiked

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

#: Strengths of the shift, in units of the threshold.
STRENGTHS = (0.2, 0.4, 0.6, 0.75, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6, 1.85, 2.15, 2.5, 3.0)
CELLS = len(STRENGTHS)
_FINE = 400
_NAMES = ("singular_value", "left", "right")


def setting(strength: float, n: int = 160, dx: int = 80, dy: int = 50) -> Problem:
    """The figure's problem, its shift `strength` times as strong as the detection threshold."""
    problem = Problem(n=n, dx=dx, dy=dy, spectrum=(1.0,), noise_std=1.0)
    return problem.replace(spectrum=(strength * spiked.detection_threshold(problem),))


class Leading(NamedTuple):
    """Means over draws and standard errors: the largest singular value lambda of F over sigma sqrt(n), and the squared
    overlaps of its `left` and `right` singular vectors with those of the signal Delta X."""

    singular_value: float
    left: float
    right: float
    singular_value_stderr: float
    left_stderr: float
    right_stderr: float


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    strengths: Sequence[float] = STRENGTHS,
    n: int = 160,
    dx: int = 80,
    dy: int = 50,
) -> "xr.Dataset":
    """The figure's numbers: the fields of `Leading` (strength), the same by theory on a fine grid, and the edge.

    `edge`: the largest singular value of noise alone, by theory.
    """
    import xarray as xr

    problems = [setting(strength, n, dx, dy) for strength in strengths]
    attributes = datasets.provenance("Detectability of a direction", problems, trials, seed)
    found = map_cells(simulate, problems, (trials, seed), executor, progress)
    fine = np.linspace(0.0, max(strengths), _FINE)[1:]
    theory = np.array([_by_theory(setting(float(strength), n, dx, dy)) for strength in fine])
    texts = ("largest singular value of the fit over sigma sqrt(n)", "squared left overlap", "squared right overlap")
    variables = {}
    for i, (name, text) in enumerate(zip(_NAMES, texts, strict=True)):
        variables[name] = datasets.variable("strength", [cell[i] for cell in found], text)
        stderr = [cell[i + len(_NAMES)] for cell in found]
        variables[f"{name}_stderr"] = datasets.variable("strength", stderr, f"standard error of {name}")
        variables[f"{name}_theory"] = datasets.variable("strength_fine", theory[:, i], f"{text}, by theory")
    coordinates = {
        "strength": datasets.variable("strength", list(strengths), "s over the detection threshold"),
        "strength_fine": datasets.variable("strength_fine", fine, "s over the detection threshold"),
    }
    edge = (np.sqrt(dy) + np.sqrt(min(n, dx))) / np.sqrt(n)
    return xr.Dataset(variables, coordinates, {**attributes, "n": n, "dx": dx, "dy": dy, "edge": float(edge)})


def _by_theory(problem: Problem) -> tuple[float, float, float]:
    """As in `Leading`; below the threshold the singular value is that at the threshold, the edge of the noise."""
    found = spiked.spikes(problem)
    if not found.detectable[0]:
        noise = np.sqrt(problem.dy) + np.sqrt(min(problem.n, problem.dx))
        return float(noise / np.sqrt(problem.n)), 0.0, 0.0
    unit = problem.noise_std * np.sqrt(problem.n)
    return float(found.singular_value[0] / unit), float(found.left[0]), float(found.right[0])


def simulate(problem: Problem, trials: int, seed: int) -> Leading:
    """One strength, all data drawn; its seed is derived from `seed` and the problem."""
    from linreg_lora.simulation.statistic import mean_of

    found = mean_of(_leading, problem, trials=trials, seed=derived_seed(seed, problem.fingerprint))
    units = np.array([problem.noise_std * np.sqrt(problem.n), 1.0, 1.0])
    return Leading(*(found.mean / units).tolist(), *(found.stderr / units).tolist())


def _leading(x: Array, y: Array) -> Array:
    """lambda, |u^T u_1|^2, |v^T v_1|^2 of one data set; Delta = s e_1 e_1^T, so v is row 1 of X."""
    import jax.numpy as jnp

    from linreg_lora.estimators import fft

    inverse = fft.pseudo_inverse(x)
    left, values, right = jnp.linalg.svd(inverse.whiten(y), full_matrices=False)
    signal = inverse.whiten(x[:1])[0]
    overlap = (right[0] @ signal) ** 2 / jnp.sum(signal**2)
    return jnp.stack([values[0], left[0, 0] ** 2, overlap])


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    return (
        "Largest singular value of FFT's fit, and the squared overlaps of its singular vectors with those of the "
        "shift, against the strength of a shift of rank one. Below the threshold the leading direction tends to pure "
        "noise as dimensions grow, and LoRA of rank 1 learns noise. Lines are theory in high dimensions; simulation "
        "(dots) at finite size rounds the corner."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: singular value left, overlaps right, the threshold as a dotted line in both."""
    with style.applied():
        figure, (left, right) = style.panels(2, 3.0)
        x, fine = dataset["strength"], dataset["strength_fine"]
        entries = (
            (left, "singular_value", style.REFERENCE, "largest singular value"),
            (right, "left", style.COMPARED[2], "left vectors (outputs)"),
            (right, "right", style.COMPARED[3], "right vectors (samples)"),
        )
        for axes, name, look, label in entries:
            axes.plot(
                fine, dataset[f"{name}_theory"], color=look.color, linestyle=look.linestyle, marker=look.marker,
                markevery=[], label=label,
            )  # fmt: skip
            style.means(axes, x, dataset[name], dataset[f"{name}_stderr"], look)
        left.axhline(
            dataset.attrs["edge"],
            color=style.ANNOTATION,
            linewidth=0.9,
            linestyle=(0, (5, 2)),
            label="edge of the noise",
        )
        left.set_ylabel("singular value of the fit / (σ √n)")
        right.set_ylabel("squared overlap with the shift")
        for axes in (left, right):
            axes.axvspan(0, 1, color="0.93", linewidth=0, zorder=0.4)
            axes.axvline(1.0, color=style.ANNOTATION, linestyle=":", linewidth=0.9, zorder=0.6)
            axes.set_xlim(0, 1.02 * float(fine.max()))
            axes.set_xlabel("strength of the shift / threshold")
            for place, text, alignment in ((0.96, "undetectable", "right"), (1.04, "detectable", "left")):
                axes.text(
                    place,
                    1.02,
                    text,
                    transform=axes.get_xaxis_transform(),
                    ha=alignment,
                    color=style.ANNOTATION,
                    fontsize="small",
                )
        left.legend(loc="upper left")
        right.set_ylim(-0.02, 1.0)
        right.legend(loc="lower right")
    return figure
