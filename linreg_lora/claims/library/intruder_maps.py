"""Singular vectors of fine-tuned maps beside the pretrained one's, and updates that are scaled to forget alike."""

import numpy as np

from linreg_lora.claims.library.plain_data import full_and_truncated, reduced
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import NonNegative, Positive, Rank, Share
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed

#: How many leading directions are looked at, and below which largest |cosine| one is an intruder.
_LEADING, _COSINE = 10, 0.5
#: Draws on which the coefficients of controls are fitted.
_PILOT = 256


@register_experiment("spiked-map", bounded=True)
def spiked_map(problem: Problem, trials: int, seed: int, *, strength: NonNegative) -> Sample:
    """The largest squared singular value of A0 + s u v^T over that of A0's limit, less two controls.

    A0 dy x dx iid N(0, 1), u and v random, s = `strength` (dx dy)^{1/4}. The controls, u^T A0 v and
    ||A0||_F^2 - dx dy, have mean zero and much of the spread. Their coefficients are least squares on `_PILOT` draws
    of their own, so that the rows are independent of these.
    """
    s = strength * (problem.dx * problem.dy) ** 0.25
    pilot, controls = _spiked(problem, _PILOT, derived_seed(seed, "pilot"), s)
    slopes = np.linalg.lstsq(np.column_stack([np.ones(_PILOT), controls]), pilot)[0][1:]
    largest, controls = _spiked(problem, trials, seed, s)
    edge = (np.sqrt(problem.dx) + np.sqrt(problem.dy)) ** 2
    return Sample((largest - controls @ slopes)[:, None] / edge, {"strength": np.asarray(s)})


def _spiked(problem: Problem, trials: int, seed: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """The largest squared singular value of each draw, and its two controls."""
    rng = np.random.default_rng(seed)
    a0 = rng.standard_normal((trials, problem.dy, problem.dx))
    u, v = rng.standard_normal((trials, problem.dy)), rng.standard_normal((trials, problem.dx))
    u, v = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (u, v))
    spiked = a0 + strength * u[:, :, None] * v[:, None, :]
    largest = np.linalg.eigvalsh(spiked @ spiked.mT)[:, -1]
    along = np.einsum("ti,tij,tj->t", u, a0, v)
    return largest, np.column_stack([along, np.sum(a0**2, axis=(1, 2)) - a0[0].size])


@register_experiment("intruders-of-fft-less-lora")
def intruders_of_fft_less_lora(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Intruders by cosine among the ten leading directions: those of FFT less those of LoRA, at least 1 to divide by.

    A0 iid N(0, 1) anew for each draw, of which the data depend on the residual alone.
    """
    from linreg_lora.theory.training import count_intruders

    full, lora = full_and_truncated(*reduced(problem, trials, seed), int(rank))
    rng = np.random.default_rng(derived_seed(seed, "A0"))
    counts = np.array([
        [count_intruders(a0, update, min(_LEADING, *a0.shape), _COSINE).by_cosine for update in pair]
        for a0, pair in zip(
            rng.standard_normal((trials, problem.dy, problem.dx)), zip(full, lora, strict=True), strict=True
        )
    ], dtype=float)  # fmt: skip
    return Sample((counts[:, 0] - counts[:, 1])[:, None], {"fft": np.maximum(counts[:, 1], 1.0)})


@register_experiment("shrunk-intruder")
def shrunk_intruder(problem: Problem, trials: int, seed: int, *, share: Share) -> Sample:
    """How much the risk of LoRA of rank one rises where the leading singular value of A0 + D is lowered by `share` of
    it; context: by how much forgetting, ||D||_F^2, falls. A0 iid N(0, 1) anew for each draw."""
    lora = full_and_truncated(*reduced(problem, trials, seed), 1)[1]
    rng = np.random.default_rng(derived_seed(seed, "A0"))
    u, s, v = np.linalg.svd(rng.standard_normal((trials, problem.dy, problem.dx)) + lora, full_matrices=False)
    shrunk = lora - share * s[:, 0, None, None] * u[:, :, :1] * v[:, :1]
    forgotten = [np.sum(each**2, axis=(1, 2)) for each in (lora, shrunk)]
    rise = [np.sum((each - problem.shift) ** 2, axis=(1, 2)) for each in (shrunk, lora)]
    return Sample((rise[0] - rise[1])[:, None], {"fall": forgotten[0] - forgotten[1]})


@register_prediction("shrunk-intruder.tenth")
def tenth(problem: Problem, sample: Sample) -> float:
    """A tenth of what forgetting falls by."""
    return float(np.mean(sample.context["fall"])) / 10


@register_prediction("shrunk-intruder.hundredth")
def hundredth(problem: Problem, sample: Sample) -> float:
    """A hundredth of what forgetting falls by."""
    return float(np.mean(sample.context["fall"])) / 100


@register_experiment("risk-at-equal-forgetting", pathwise=True)
def risk_at_equal_forgetting(problem: Problem, trials: int, seed: int, *, rank: Rank, forgetting: Positive) -> Sample:
    """Of LoRA's and FFT's updates, scaled to forget `forgetting` ||Delta Sigma^{1/2}||^2, the risk of the one with the
    larger cosine to the shift, norms by Sigma; context: the risks of both."""
    risks, cosines = _at_equal_forgetting(problem, trials, seed, int(rank), forgetting)
    chosen = np.where(cosines[0] > cosines[1], *risks)
    rounding = np.full(trials, 1e2 * np.finfo(float).eps * problem.dx)
    scale = np.full(trials, forgetting * problem.pretrained_risk)
    return Sample(chosen, {"lora": risks[0], "fft": risks[1]}, tolerance=rounding, scale=scale)


@register_experiment("lora-less-fft-at-equal-forgetting", bounded=True)
def lora_less_fft(problem: Problem, trials: int, seed: int, *, rank: Rank, forgetting: Positive) -> Sample:
    """LoRA's risk less FFT's, both updates scaled to forget `forgetting` ||Delta Sigma^{1/2}||^2.

    Context: FFT's, the rank, and the same where the updates are taken without Sigma^{1/2}, and the shift with it.
    """
    (lora, full), _ = _at_equal_forgetting(problem, trials, seed, int(rank), forgetting)
    level, shift = forgetting * problem.pretrained_risk, problem.shift @ problem.sigma_sqrt
    plain_full, plain_lora = (
        level + problem.pretrained_risk
        - 2 * np.sqrt(level) * np.sum(each * shift, axis=(1, 2)) / np.linalg.norm(each, axis=(1, 2))
        for each in full_and_truncated(*reduced(problem, trials, seed), int(rank))
    )  # fmt: skip
    context = {"fft": full, "rank": np.asarray(int(rank)), "plain": plain_lora - plain_full}
    return Sample((lora - full)[:, None], context)


def _at_equal_forgetting(
    problem: Problem, trials: int, seed: int, rank: int, forgetting: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Risks, and inner products of unit updates with the shift, of LoRA and of FFT."""
    full, lora = full_and_truncated(*reduced(problem, trials, seed), rank)
    level, shift = np.sqrt(forgetting * problem.pretrained_risk), problem.shift @ problem.sigma_sqrt
    moved = [updates @ problem.sigma_sqrt for updates in (lora, full)]
    moved = [each / np.linalg.norm(each, axis=(1, 2), keepdims=True) for each in moved]
    return [np.sum((level * each - shift) ** 2, axis=(1, 2)) for each in moved], [
        np.sum(each * shift, axis=(1, 2)) for each in moved
    ]
