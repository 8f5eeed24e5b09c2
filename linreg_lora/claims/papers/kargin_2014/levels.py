"""How often noise exceeds the median of the Tracy-Widom law, and plausible mistakes."""

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction

#: At m = -1.26857, the median of F_1: the law F_2 of complex matrices, and that of a standard Gaussian.
_TRACY_WIDOM_2, _GAUSSIAN = 0.7205687, 0.1022972


@register_prediction("noise-above-a-quantile.median")
def median(size: MatrixSize, sample: Sample) -> float:
    """1 - F_1(m) = 1/2."""
    return 0.5


@register_prediction("noise-above-a-quantile.complex")
def complex_law(size: MatrixSize, sample: Sample) -> float:
    """1 - F_2(m): the law of complex matrices."""
    return 1 - _TRACY_WIDOM_2


@register_prediction("noise-above-a-quantile.gaussian")
def gaussian(size: MatrixSize, sample: Sample) -> float:
    """1 - Phi(m): the scaled value is taken for a standard Gaussian."""
    return 1 - _GAUSSIAN
