"""Expected excess risk of LoRA at several ranks, and of FFT, along one axis: four of the first paper's figures.

The settings are those of the released scripts of arXiv 2605.19018, where these have any: Sigma = I, and task shifts
that are products of two Gaussian factors, of which only the singular values matter here.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora import spectra
from linreg_lora.figures import style, theory_lines
from linreg_lora.figures.datasets import one_problem, problem_of
from linreg_lora.problem import Problem
from linreg_lora.sweeps.curves import sweep

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_SHIFT_SEED = 0


@dataclass(frozen=True)
class RiskAlong:
    """A figure of risks along one axis.

    `axis`: its name and dimension; `values`: where it is drawn; `setting`: a value and dx = dy -> the problem there;
    `dimension`: dx = dy; `ranks`: those of LoRA; `label`: of the axis; `logarithmic`: whether the axis is;
    `caption`: what to see in the figure of a dataset; `risk_scale`: the risk's; `each`: points of the lines by theory
    between two values.
    """

    axis: str
    values: tuple[float, ...]
    setting: Callable[[float, int], Problem]
    dimension: int
    ranks: tuple[int, ...]
    label: str
    logarithmic: bool
    caption: "Callable[[xr.Dataset], str]"
    risk_scale: str = "log"
    each: int = theory_lines.EACH

    @property
    def CELLS(self) -> int:
        """Cells of the sweeps that `data` runs."""
        return len(self.values) + (len(self.values) - 1) * self.each

    def data(
        self,
        trials: int,
        seed: int,
        executor: Executor | None = None,
        progress: Callable[[int], None] = lambda _: None,
        *,
        values: Sequence[float] | None = None,
        dimension: int | None = None,
    ) -> "xr.Dataset":
        """The figure's numbers: a `sweep` along the axis, by theory and by simulation, and theory on a finer grid.

        `fft_best_ridge` is the risk of FFT with its best ridge, by theory.
        """
        size = dimension or self.dimension
        axes = {self.axis: self.values if values is None else tuple(values)}

        def make(**point: float) -> Problem:
            return self.setting(point[self.axis], size)

        dataset = sweep(make, axes, ranks=self.ranks, trials=trials, seed=seed, executor=executor, progress=progress)
        dataset[self.axis].attrs["long_name"] = self.label
        if self.each:
            between = theory_lines.between(axes[self.axis], self.each, logarithmic=self.logarithmic)
            dataset = theory_lines.with_lines(dataset, make, self.axis, between, executor, progress)
        dataset = theory_lines.with_best_ridge(dataset, make, self.axis)
        return dataset.assign_attrs(dx=size, problem=one_problem(make(**{self.axis: axes[self.axis][0]})))

    def draw(self, dataset: "xr.Dataset") -> "Figure":
        """Lines are theory, markers simulated means with bars of one standard error; one line has a ridge."""
        simulated, theory = dataset.sel(computed_by="monte-carlo"), theory_lines.lines(dataset, self.axis)
        x = dataset[self.axis].values.astype(float)
        with style.applied():
            figure, axes = style.single_panel()
            axes.set(xscale="log" if self.logarithmic else "linear", yscale=self.risk_scale)
            style.line(axes, theory.x, theory.fft, style.REFERENCE, "FFT")
            style.means(axes, x, simulated["fft_risk"], simulated["fft_stderr"], style.REFERENCE)
            for rank, series in zip(dataset["rank"].values, style.FIVE_COMPARED, strict=False):
                style.line(axes, theory.x, theory.lora[int(rank)], series, f"LoRA, rank {rank}")
                points = simulated.sel(rank=rank)
                style.means(axes, x, points["risk"], points["stderr"], series)
            style.line(axes, theory.x, dataset["fft_best_ridge"], style.TUNED, "FFT, best ridge")
            for line in axes.lines:
                line.set_markersize(3.2)
            axes.set_xlabel(self.label)
            axes.set_ylabel("expected excess risk")
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, columnspacing=1.2)
        return figure


def _product_of_factors(rank: int, dimension: int) -> spectra.Spectrum:
    """Singular values of U V / sqrt(rank), U and V iid N(0, 1); those of a smaller rank are part of the larger ones."""
    rank = min(rank, dimension)
    rng = np.random.default_rng(_SHIFT_SEED)
    u, v = rng.standard_normal((dimension, dimension)), rng.standard_normal((dimension, dimension))
    return spectra.from_matrix(u[:, :rank] @ v[:rank] / np.sqrt(rank), rank)


def _noise(n: int) -> Callable[[float, int], Problem]:
    def setting(noise_std: float, dimension: int) -> Problem:
        spectrum = _product_of_factors(10, dimension)
        return Problem(n=n, dx=dimension, dy=dimension, spectrum=spectrum, noise_std=noise_std)

    return setting


def _true_rank(rank: float, dimension: int) -> Problem:
    spectrum = _product_of_factors(int(rank), dimension)
    return Problem(n=3 * dimension // 4, dx=dimension, dy=dimension, spectrum=spectrum, noise_std=2.0)


def _decay(rate: float, dimension: int) -> Problem:
    spectrum = spectra.exponential(dimension, rate, 5.0)
    return Problem(n=5 * dimension, dx=dimension, dy=dimension, spectrum=spectrum, noise_std=0.5)


def _underdetermined_caption(dataset: "xr.Dataset") -> str:
    problem = problem_of(dataset)
    loudest = dataset["risk"].sel(computed_by="theory").isel(noise_std=-1)
    return (
        f"Underdetermined, n = {problem.n} < dx = {problem.dx} (n = {problem.n} is our choice: the released script has "
        f"n = 1000), a shift of rank {len(problem.spectrum or ())}: with little noise every rank too small pays for "
        "what it leaves out; with much noise the risk grows with the square of the noise and in order of rank: LoRA of "
        f"rank {int(loudest.idxmin('rank'))} is best and full fine-tuning worst. {_looks(dataset)}"
    )


def _overdetermined_caption(dataset: "xr.Dataset") -> str:
    problem = problem_of(dataset)
    theory, rank = dataset.sel(computed_by="theory"), len(problem.spectrum or ())
    better = (theory["risk"] < theory["fft_risk"]).all("noise_std")
    winners = " or ".join(map(str, dataset["rank"].values[better.values]))
    return (
        f"Overdetermined, n = {problem.n} > dx = {problem.dx}, a shift of rank {rank} (the setting of the released "
        f"script for the noise sweep): ranks below {rank} are flat, held up by their bias, until noise takes over; "
        f"LoRA of rank {winners} beats full fine-tuning at every noise level. {_looks(dataset)}"
    )


def _true_rank_caption(dataset: "xr.Dataset") -> str:
    problem = problem_of(dataset)
    return (
        f"Underdetermined, n = {problem.n} < dx = {problem.dx}: LoRA wins by most where its rank is that of the shift, "
        "and loses to full fine-tuning once the shift has many more directions than it can represent. Rank 32 of the "
        f"original figure is full fine-tuning: no update has a rank above n = {problem.n}. {_looks(dataset)}"
    )


def _decay_caption(dataset: "xr.Dataset") -> str:
    theory = dataset.sel(computed_by="theory")
    best = int(theory["risk"].isel(rate=-1).idxmin("rank"))
    won = float((theory["fft_risk"] / theory["risk"].sel(rank=best)).max())
    return (
        "With a flat spectrum, at the left, full fine-tuning wins and every rank is too small; the faster the singular "
        f"values of the shift decay, the smaller the best rank, until rank {best} wins, by a factor of up to "
        f"{won:.0f}. {_looks(dataset)}"
    )


def _looks(dataset: "xr.Dataset") -> str:
    """What lines and markers are, and how often the best of the ranks wins against FFT without and with ridge."""
    fine = "risk_fine" in dataset
    theory = dataset if fine else dataset.sel(computed_by="theory")
    best = theory["risk_fine" if fine else "risk"].min("rank").values
    plain, tuned = (
        int(np.sum(best < full.values))
        for full in (theory["fft_fine" if fine else "fft_risk"], dataset["fft_best_ridge"])
    )
    return (
        "Lines are theory, markers simulation. Nothing has a ridge but the dashed line, full fine-tuning with its "
        f"best: the best of these ranks beats it at {tuned} of {best.size} points of the lines, without ridge at "
        f"{plain}."
    )


_NOISE_LEVELS = tuple(np.geomspace(1, 100, 40).round(6).tolist())

#: Figure 1b of the text, which calls it underdetermined: n = 50 samples of dx = 100 inputs.
noise_underdetermined = RiskAlong(
    "noise_std", _NOISE_LEVELS, _noise(50), 100, (1, 2, 4, 8, 16), "noise standard deviation  (n = 50, dx = dy = 100)",
    True,
    _underdetermined_caption,
    each=1,
)  # fmt: skip

#: The released script's setting: n = 1000 samples of dx = 100 inputs, overdetermined.
noise_overdetermined = RiskAlong(
    "noise_std", _NOISE_LEVELS, _noise(1000), 100, (1, 2, 4, 8, 16),
    "noise standard deviation  (n = 1000, dx = dy = 100)", True,
    _overdetermined_caption,
    each=1,
)  # fmt: skip

true_rank = RiskAlong(
    "shift_rank", tuple(range(1, 41)), _true_rank, 40, (1, 2, 4, 8),
    "rank r* of the task shift  (n = 30, dx = dy = 40, noise 2)", False,
    _true_rank_caption,
    "linear",
    each=0,
)  # fmt: skip

spectral_decay = RiskAlong(
    "rate", tuple(np.linspace(0, 2.5, 21).tolist()), _decay, 40, (1, 2, 4, 8, 16),
    r"decay rate $\lambda$: $s_i = 5\,e^{-\lambda i}$, $i \geq 0$  (n = 200, dx = dy = 40)", False,
    _decay_caption,
)  # fmt: skip
