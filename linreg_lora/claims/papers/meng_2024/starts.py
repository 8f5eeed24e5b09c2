"""What a start in A0's principal components costs and gains, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction


def _missed(size: MatrixSize, sample: Sample) -> tuple[float, float]:
    """1 - r/dy and 1 - r/dx."""
    r = int(sample.context["rank"])
    return 1 - r / size.rows, 1 - r / size.columns


def _filled(sample: Sample, value: float) -> np.ndarray:
    return np.full(len(sample.statistic), value)


@register_prediction("principal-start-floor.both-sides")
def both_sides(size: MatrixSize, sample: Sample) -> float:
    """(1 - r/dy)(1 - r/dx): what is outside of the r leading rows and columns."""
    outputs, inputs = _missed(size, sample)
    return outputs * inputs


@register_prediction("principal-start-floor.rows")
def rows_alone(size: MatrixSize, sample: Sample) -> float:
    """1 - r/dx: only rows are taken to be free."""
    return _missed(size, sample)[1]


@register_prediction("principal-start-floor.all-of-it")
def all_of_it(size: MatrixSize, sample: Sample) -> float:
    """1: nothing of the shift is taken to be learnt."""
    return 1.0


@register_prediction("principal-start-floor.sum-of-shares")
def sum_of_shares(size: MatrixSize, sample: Sample) -> float:
    """1 - r/dy - r/dx: the shares of both sides are taken not to overlap."""
    outputs, inputs = _missed(size, sample)
    return outputs + inputs - 1


@register_prediction("aligned-start-floor.none")
def aligned_none(size: MatrixSize, sample: Sample) -> np.ndarray:
    """0."""
    return _filled(sample, 0.0)


@register_prediction("aligned-start-floor.of-any-shift")
def aligned_as_any(size: MatrixSize, sample: Sample) -> np.ndarray:
    """(1 - r/dy)(1 - r/dx), that of a shift that knows nothing of A0."""
    return _filled(sample, both_sides(size, sample))


@register_prediction("minor-start-floor.energy")
def minor_energy(size: MatrixSize, sample: Sample) -> np.ndarray:
    """||M||_F^2."""
    return sample.context["minor"]


@register_prediction("minor-start-floor.both-sides")
def minor_both_sides(size: MatrixSize, sample: Sample) -> np.ndarray:
    """(1 - r/dy)(1 - r/dx) ||M||_F^2, its mean beside a strong shift."""
    return both_sides(size, sample) * sample.context["minor"]


@register_prediction("residual-quantisation.nine-tenths")
def residual_nine_tenths(size: MatrixSize, sample: Sample) -> float:
    """9/10."""
    return 0.9


@register_prediction("residual-quantisation.half")
def residual_half(size: MatrixSize, sample: Sample) -> float:
    """1/2."""
    return 0.5


@register_prediction("residual-quantisation.spectral")
def residual_spectral(size: MatrixSize, sample: Sample) -> float:
    """E s_{r+1}^2 / s_1^2: errors are taken to go with the largest singular value."""
    return float(np.mean(sample.context["largest"]))


@register_prediction("first-step-of-lora-less-principal.same")
def same(size: MatrixSize, sample: Sample) -> float:
    """0: both gain the same."""
    return 0.0


@register_prediction("first-step-of-lora-less-principal.half")
def half(size: MatrixSize, sample: Sample) -> float:
    """LoRA is taken to gain half, as one of its two factors moves."""
    return -0.5 * float(np.mean(sample.context["fft"]))


@register_prediction("first-step-of-lora-less-principal.of-b")
def of_b_alone(size: MatrixSize, sample: Sample) -> np.ndarray:
    """LoRA less PiSSA with A frozen: A0's directions alone are taken to gain it."""
    return sample.context["of-b"][:, None]
