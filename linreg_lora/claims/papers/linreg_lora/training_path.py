"""Training LoRA's factors: predictions of its path, its first step, its start and its landscape, and their rivals."""

import numpy as np

from linreg_lora.claims.library.training import Factors
from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem

# -- the path -----------------------------------------------------------------------------------------------------


@register_prediction("factor-path.riccati")
def riccati(case: Factors, sample: Sample) -> np.ndarray:
    """The matrix Riccati equation's solution (`theory.training.lora_path`)."""
    from linreg_lora.theory.training import lora_path

    draws = zip(*(sample.context[name] for name in ("full", "a", "times")), strict=True)
    return np.array([lora_path(full, a, time, scaling=case.scaling)[0] for full, a, time in draws])


@register_prediction("factor-path.balanced")
def balanced(case: Factors, sample: Sample) -> np.ndarray:
    """The same equation with kappa = 0 in it, as if B(0) were as large as A(0)."""
    g, found = case.scaling, []
    for full, a, time in zip(*(sample.context[name] for name in ("full", "a", "times")), strict=True):
        m = np.block([[np.zeros((case.dy, case.dy)), full / g], [full.T / g, np.zeros((case.dx, case.dx))]])
        rates, basis = np.linalg.eigh(m)
        start = basis.T @ np.vstack([np.zeros((case.dy, len(a))), a.T])
        x = g**2 * time * rates
        integral = g**2 * time * np.where(x == 0, 1.0, np.expm1(2 * x) / np.where(x == 0, 1.0, 2 * x))
        grown = basis @ (np.exp(x)[:, None] * start)
        both = grown @ np.linalg.solve(np.eye(len(a)) + start.T @ (integral[:, None] * start), grown.T)
        found.append(g * both[: case.dy, case.dy :])
    return np.array(found)


@register_prediction("factor-path.aligned")
def aligned(case: Factors, sample: Sample) -> np.ndarray:
    """A(0) is taken to lie along the leading right singular vectors, where modes do not meet."""
    from linreg_lora.theory.training import zero_start_mode

    left, f, right = np.linalg.svd(sample.context["full"], full_matrices=False)
    times, r = sample.context["times"], case.rank
    modes = zero_start_mode(f[:, :r], case.kappa, times[:, None], scaling=case.scaling)
    return (left[:, :, :r] * modes[:, None, :]) @ right[:, :r]


@register_prediction("distance-to-frozen.near")
def near_frozen(case: Factors, sample: Sample) -> np.ndarray:
    """A twentieth of the way from the solution of frozen A to D_r."""
    return np.full(len(sample.statistic), 0.05)


@register_prediction("distance-to-frozen.through")
def through_frozen(case: Factors, sample: Sample) -> np.ndarray:
    """0: the path meets the solution of frozen A."""
    return np.zeros(len(sample.statistic))


@register_prediction("early-stopped-rank.relative-gap")
def relative_gap(case: Factors, sample: Sample) -> np.ndarray:
    """sqrt( sum_{f_i > f*} f_i^4 d0^{2 (f_i/f* - 1)} + sum_{f_j < f*} d0^{2 (1 - f_j/f*)} )."""
    return _rank_error(sample, sample.context["level"])


@register_prediction("early-stopped-rank.absolute-gap")
def absolute_gap(case: Factors, sample: Sample) -> np.ndarray:
    """The same with f_i - f* in the exponents."""
    return _rank_error(sample, np.ones_like(sample.context["level"]))


@register_prediction("early-stopped-rank.as-small-as-the-start")
def as_small_as_the_start(case: Factors, sample: Sample) -> np.ndarray:
    """sqrt(r) d0: whatever the gap is."""
    return np.full(len(sample.statistic), np.sqrt(case.rank) * float(sample.context["start"]))


def _rank_error(sample: Sample, unit: np.ndarray) -> np.ndarray:
    f, level, start = sample.context["values"], sample.context["level"][:, None], float(sample.context["start"])
    size = start ** (np.abs(f - level) / unit[:, None]) * np.where(f > level, f**2, 1.0)
    return np.linalg.norm(size, axis=1)


# -- the landscape ------------------------------------------------------------------------------------------------


@register_prediction("saddle-index.pairs-and-empty")
def pairs_and_empty(case: Factors, sample: Sample) -> np.ndarray:
    """#{(i in I, j not in I): f_j > f_i} + (r - k)(q - k)."""
    from linreg_lora.theory.training import saddle_index

    draws = zip(sample.context["kept"], sample.context["modes"], strict=True)
    return np.array([float(saddle_index(np.flatnonzero(kept).tolist(), int(q), case.rank)) for kept, q in draws])


@register_prediction("saddle-index.pairs-only")
def pairs_only(case: Factors, sample: Sample) -> np.ndarray:
    """Without (r - k)(q - k)."""
    used = np.sum(sample.context["kept"], axis=1)
    return pairs_and_empty(case, sample) - (case.rank - used) * (sample.context["modes"] - used)


@register_prediction("saddle-index.no-saddle")
def no_saddle(case: Factors, sample: Sample) -> np.ndarray:
    """0: every critical point is taken for a minimum."""
    return np.zeros(len(sample.statistic))


@register_prediction("critical-update.set-of-modes")
def set_of_modes(case: Factors, sample: Sample) -> np.ndarray:
    """U_I U_I^T D_FFT, I the modes that the update reaches."""
    return _on_modes(sample, sample.context["reach"] > 0.5)


@register_prediction("critical-update.as-many-as-the-rank")
def as_many_as_the_rank(case: Factors, sample: Sample) -> np.ndarray:
    """The same with the r modes that it reaches best, as if all columns were used."""
    place = np.argsort(np.argsort(-sample.context["reach"], axis=1), axis=1)
    return _on_modes(sample, place < case.rank)


@register_prediction("critical-update.leading")
def leading(case: Factors, sample: Sample) -> np.ndarray:
    """D_r: critical points are taken for the minimum."""
    reach = sample.context["reach"]
    return _on_modes(sample, np.broadcast_to(np.arange(reach.shape[1]) < case.rank, reach.shape))


def _on_modes(sample: Sample, kept: np.ndarray) -> np.ndarray:
    left = np.linalg.svd(sample.context["full"], full_matrices=False)[0] * kept[:, None, :]
    return left @ left.mT @ sample.context["full"]


# -- the first step, and the start --------------------------------------------------------------------------------


def _gain(problem: Problem, share: float) -> float:
    from linreg_lora.theory.training import best_first_step

    return share * (problem.pretrained_risk - best_first_step(problem, 1).fft_risk)


@register_prediction("first-step-gain.exact")
def share_of_fft(problem: Problem, sample: Sample) -> float:
    """r / (r + dx + 1) of the gain of FFT's best first step."""
    rank = int(sample.context["rank"])
    return _gain(problem, rank / (rank + problem.dx + 1))


@register_prediction("first-step-gain.share-of-the-inputs")
def share_of_the_inputs(problem: Problem, sample: Sample) -> float:
    """r / dx of it, as if A projected."""
    return _gain(problem, int(sample.context["rank"]) / problem.dx)


@register_prediction("first-step-gain.without-the-one")
def without_the_one(problem: Problem, sample: Sample) -> float:
    """r / (r + dx) of it."""
    rank = int(sample.context["rank"])
    return _gain(problem, rank / (rank + problem.dx))


@register_prediction("start-residue.unseen")
def unseen(problem: Problem, sample: Sample) -> float:
    """a^2 c (dx - n)."""
    return _scale(problem) * (problem.dx - problem.n)


@register_prediction("start-residue.all-inputs")
def all_inputs(problem: Problem, sample: Sample) -> float:
    """a^2 c dx: the data are taken to see nothing."""
    return _scale(problem) * problem.dx


@register_prediction("start-residue.nuclear")
def nuclear(problem: Problem, sample: Sample) -> float:
    """a^2 c (dx - n) with g ||D||_* for g^2 ||B||^2, as if the start were small."""
    return unseen(problem, sample) * float(np.mean(sample.context["nuclear"]))


@register_prediction("start-residue.nothing")
def nothing(problem: Problem, sample: Sample) -> float:
    """0: the end is taken to be the solution of minimum norm."""
    return 0.0


def _scale(problem: Problem) -> float:
    return (problem.isotropic_scale or 1.0) / (3 * problem.dx)


# -- modes --------------------------------------------------------------------------------------------------------


def _logistic(case: Factors, sample: Sample, factor: float) -> np.ndarray:
    f, t, start = (sample.context[name] for name in ("values", "times", "start"))
    return f / (1 + (f / start - 1) * np.exp(-factor * case.scaling * f * t[:, None]))


@register_prediction("balanced-modes.logistic")
def logistic(case: Factors, sample: Sample) -> np.ndarray:
    """f / (1 + (f / d0 - 1) e^{-2 c g f t})."""
    return _logistic(case, sample, 2.0)


@register_prediction("balanced-modes.one-factor")
def one_factor(case: Factors, sample: Sample) -> np.ndarray:
    """The rate c g f, as if one factor moved."""
    return _logistic(case, sample, 1.0)


@register_prediction("balanced-modes.exponential")
def exponential(case: Factors, sample: Sample) -> np.ndarray:
    """f (1 - e^{-c g f t}): no slow start."""
    return sample.context["values"] * -np.expm1(
        -case.scaling * sample.context["values"] * sample.context["times"][:, None]
    )


# -- the first fall of the loss, at four times the rank -------------------------------------------------------------


@register_prediction("first-fall.the-same")
def the_same(case: Factors, sample: Sample) -> float:
    """1: it does not depend on the rank."""
    return 1.0


@register_prediction("first-fall.root")
def root(case: Factors, sample: Sample) -> float:
    """2: it grows like sqrt(r)."""
    return 2.0


@register_prediction("first-fall.inverse")
def inverse(case: Factors, sample: Sample) -> float:
    """1/4: it falls like 1 / r."""
    return 0.25


@register_prediction("first-fall.proportional")
def proportional(case: Factors, sample: Sample) -> float:
    """4: it grows like r."""
    return 4.0
