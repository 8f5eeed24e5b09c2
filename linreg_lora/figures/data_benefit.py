"""What one more sample is worth to an adapter, as a share of what it is worth to full fine-tuning.

dx = dy = 20, Sigma = I, sigma = 1, a task shift of rank 4 with singular values 3; r = 4 for every method. The benefit
of a sample is risk(n) - risk(n + 1). Three adapters: LoRA with A frozen to the rows of the shift, which it can then
represent; trained LoRA; and LoRA with A frozen at random. The claim is that the ratio is k/d, the share of parameters
that is trained (arXiv 2505.22355, Theorem 5, as read); here k = r dy for a frozen A and r (dx + dy - r) for a trained
one, d = dx dy.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import numpy as np

from linreg_lora import runtime, spectra
from linreg_lora.figures import style
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

CAPTION = (
    "What a sample is worth to three adapters of rank 4, as a share of what it is worth to full fine-tuning. Far from "
    "the threshold n = dx each share tends to a limit (dotted); it is k/d only where the adapter can represent the "
    "shift, and then with k the dimension of what it reaches. A frozen A that misses the shift gains more per sample "
    "than k/d: what it misses acts as noise, which samples average out."
)

#: Where the benefit is simulated; the variance of FFT's needs some distance from n = dx.
SAMPLE_SIZES = (30, 48, 80)
CELLS = len(SAMPLE_SIZES)
METHODS = ("frozen-a", "lora", "random-a")

_DIMENSION, _RANK, _SCALE = 20, 4, 3.0
#: Draws for each of `trials`: what one sample changes is noisier than a risk.
_DRAWS_A_TRIAL = 6
_FACTOR_SEED = 5
_NAMES = {
    "frozen-a": "A frozen to the shift's rows",
    "lora": "LoRA, both factors trained",
    "random-a": "A frozen at random",
}


def setting(n: int) -> Problem:
    """The figure's problem with n samples."""
    return Problem(n=n, dx=_DIMENSION, dy=_DIMENSION, spectrum=spectra.low_rank(_RANK, _SCALE), noise_std=1.0)


def factors() -> dict[str, np.ndarray]:
    """The frozen factors A, r x dx with orthonormal rows."""
    random = np.random.default_rng(_FACTOR_SEED).standard_normal((_DIMENSION, _RANK))
    return {"frozen-a": np.eye(_RANK, _DIMENSION), "random-a": np.linalg.qr(random)[0].T}


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    sample_sizes: Sequence[int] = SAMPLE_SIZES,
    theory_points: int = 32,
) -> "xr.Dataset":
    """Ratios of marginal benefits to FFT's exact one: by theory at `theory_points` n, simulated at `sample_sizes`.

    Simulated: the mean of risk(n) - risk(n + 1), the same data with one sample more, over FFT's exact benefit. Few
    small problems: `executor` is not used.
    """
    import xarray as xr

    every_n = np.unique(np.geomspace(min(sample_sizes) - 5, max(sample_sizes) * 6, theory_points).round().astype(int))
    theory = np.array([[_ratio(setting(int(n)), method) for n in every_n] for method in METHODS])
    means = np.empty((len(METHODS), len(sample_sizes)))
    stderr = np.empty_like(means)
    for column, n in enumerate(sample_sizes):
        gains = _gains(n, max(sample_sizes) + 1, _DRAWS_A_TRIAL * trials, derived_seed(seed, str(n)))
        means[:, column] = gains.mean(axis=0)
        stderr[:, column] = gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
        progress(1)
    return xr.Dataset(
        {
            "theory": (("adapter", "n_theory"), theory, {"long_name": "benefit over FFT's, by theory"}),
            "simulated": (("adapter", "n"), means, {"long_name": "benefit over FFT's, simulated"}),
            "stderr": (("adapter", "n"), stderr, {"long_name": "standard error of the simulated mean"}),
            "limit": ("adapter", [_limit(method) for method in METHODS], {"long_name": "limit as n grows"}),
            "share": ("adapter", [_share(method) for method in METHODS], {"long_name": "k/d"}),
        },
        {"adapter": list(METHODS), "n_theory": every_n, "n": list(sample_sizes)},
        {"trials": trials, "seed": seed, "problems_sha256": setting(1000).fingerprint},
    )


def _ratio(problem: Problem, method: str) -> float:
    from linreg_lora.theory import data_benefit

    if method == "lora":
        benefit = data_benefit.lora_benefit(problem, _RANK)
    else:
        benefit = data_benefit.frozen_a_benefit(problem, factors()[method])
    return data_benefit.ratio(benefit, data_benefit.fft_benefit(problem))


def _limit(method: str) -> float:
    """The ratio as n grows."""
    from linreg_lora.theory import data_benefit

    problem = setting(1000)
    if method == "lora":
        return data_benefit.ratio_limit(problem, _RANK).value
    inflation = data_benefit.misspecification_factor(problem, factors()[method])
    return _share(method) * float(np.mean(inflation))


def _share(method: str) -> float:
    """k/d: the dimension of what is trained over dx dy."""
    from linreg_lora.theory.capacity import tangent_dimension

    trained = tangent_dimension(_DIMENSION, _DIMENSION, _RANK) if method == "lora" else _RANK * _DIMENSION
    return trained / _DIMENSION**2


@functools.cache
def _compiled(width: int) -> Callable[..., Any]:
    """Risks of the three methods on the first n of `width` samples, compiled once: the others count as zeros."""
    import jax
    import jax.numpy as jnp

    from linreg_lora.estimators import frozen, lora
    from linreg_lora.sampling import gaussian

    problem = setting(width)
    shift, identity = jnp.asarray(problem.shift), jnp.eye(_DIMENSION)

    def risks(x, y, n, frozen_factors):
        kept = (jnp.arange(width) < n).astype(x.dtype)[None, :]
        x, y = x * kept, y * kept
        updates = {name: frozen.fit_frozen_a(x, y, factor) for name, factor in frozen_factors.items()}
        updates["lora"] = lora.fit(x, y, _RANK)
        return jnp.stack([jnp.sum((updates[name] - shift) ** 2) for name in METHODS])

    def gain(key, n, frozen_factors):
        drawn = gaussian.sample(key, width, shift, identity, identity)
        before, after = (risks(drawn.inputs, drawn.outputs, size, frozen_factors) for size in (n, n + 1))
        return before - after

    def gains(key, indices, n, frozen_factors):
        return jax.lax.map(lambda i: gain(jax.random.fold_in(key, i), n, frozen_factors), indices, batch_size=8)

    return jax.jit(gains)


def _gains(n: int, width: int, draws: int, seed: int) -> np.ndarray:
    """risk(n) - risk(n + 1) of each draw and method, over FFT's exact benefit."""
    import jax
    import jax.numpy as jnp

    from linreg_lora.theory.data_benefit import fft_benefit

    with runtime.exclusive_device():
        given = {name: jnp.asarray(factor) for name, factor in factors().items()}
        gains = np.asarray(_compiled(width)(jax.random.key(seed), jnp.arange(draws), n, given))
    return gains / fft_benefit(setting(n)).value


def draw(dataset: "xr.Dataset") -> "Figure":
    """Lines are theory, markers simulation with standard errors, dotted lines limits, written beside k/d."""
    with style.applied():
        figure, axes = style.single_panel()
        axes.set(xscale="log")
        for method, series in zip(METHODS, style.COMPARED[1:4], strict=True):
            of = dataset.sel(adapter=method)
            look: dict[str, Any] = {"color": series.color, "marker": series.marker}
            axes.plot(
                of["n_theory"], of["theory"], label=_NAMES[method], linestyle=series.linestyle, markevery=[], **look
            )
            axes.errorbar(of["n"], of["simulated"], yerr=of["stderr"], linestyle="none", label="_simulated", **look)
            axes.axhline(float(of["limit"]), color=series.color, linestyle=":", linewidth=0.8, zorder=1)
            axes.annotate(
                f"limit {float(of['limit']):.2f}\nk/d {float(of['share']):.2f}", (1.0, float(of["limit"])), (4, 0),
                xycoords=("axes fraction", "data"), textcoords="offset points", va="center", fontsize="small",
                color=style.ANNOTATION,
            )  # fmt: skip
        axes.set_ylim(0, 0.55)
        axes.set_xlabel("number of samples n  (dx = dy = 20)")
        axes.set_ylabel("benefit of a sample over FFT's")
        axes.set_xticks([30, 50, 100, 200, 400], ["30", "50", "100", "200", "400"])
        axes.minorticks_off()
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1, frameon=False)
    return figure
