"""Predictions of the paper's bounds, limits and lemmas on matrices, and their rivals."""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("truncation.twice-noise")
def truncation_twice_noise(size: MatrixSize, sample: Sample) -> np.ndarray:
    """s_{r+1}(T) + 2 ||N||_2."""
    return sample.context["next_singular_value"] + 2 * sample.context["noise_norm"]


@register_prediction("truncation.once-noise")
def truncation_once_noise(size: MatrixSize, sample: Sample) -> np.ndarray:
    """s_{r+1}(T) + ||N||_2."""
    return sample.context["next_singular_value"] + sample.context["noise_norm"]


def _square(size: MatrixSize, sample: Sample, noise: float) -> np.ndarray:
    return noise * sample.context["noise_norm"] ** 2 + 2 * sample.context["next_singular_value"] ** 2


@register_prediction("truncation-squared.corrected")
def truncation_squared_corrected(size: MatrixSize, sample: Sample) -> np.ndarray:
    """8 ||N||^2 + 2 s_{r+1}^2, the square of Lemma 2 by (a + b)^2 <= 2 a^2 + 2 b^2."""
    return _square(size, sample, 8.0)


@register_prediction("truncation-squared.as-printed")
def truncation_squared_as_printed(size: MatrixSize, sample: Sample) -> np.ndarray:
    """4 ||N||^2 + 2 s_{r+1}^2."""
    return _square(size, sample, 4.0)


@register_prediction("truncation-squared.less-noise")
def truncation_squared_less_noise(size: MatrixSize, sample: Sample) -> np.ndarray:
    """7.9 ||N||^2 + 2 s_{r+1}^2."""
    return _square(size, sample, 7.9)


@register_prediction("spectral-norm.sum-of-roots")
def spectral_norm_bound(size: MatrixSize, sample: Sample) -> float:
    """The smaller of the two bounds."""
    return min((np.sqrt(size.rows) + np.sqrt(size.columns)) ** 2 + 1, 5.0 * max(size))


@register_prediction("spectral-norm.no-cross-term")
def spectral_norm_no_cross_term(size: MatrixSize, sample: Sample) -> float:
    """rows + columns + 1."""
    return size.rows + size.columns + 1.0


@register_prediction("spectral-norm.single-cross-term")
def spectral_norm_single_cross_term(size: MatrixSize, sample: Sample) -> float:
    """rows + columns + sqrt(rows columns) + 1."""
    return size.rows + size.columns + np.sqrt(size.rows * size.columns) + 1


@register_prediction("inverse-eigenvalue.limit")
def inverse_eigenvalue_limit(problem: Problem, sample: Sample) -> float:
    """Propositions 4 and 6: n / (sqrt(n) - sqrt(dx))^2."""
    from linreg_lora.theory import extreme_eigenvalues

    return extreme_eigenvalues.limit(problem).inverse.value


@register_prediction("inverse-eigenvalue.of-the-mean")
def inverse_eigenvalue_of_the_mean(problem: Problem, sample: Sample) -> float:
    """The mean of the inverse, n / |n - dx|, for its largest eigenvalue."""
    return problem.n / abs(problem.n - problem.dx)


@register_prediction("inverse-eigenvalue.wrong-edge")
def inverse_eigenvalue_wrong_edge(problem: Problem, sample: Sample) -> float:
    """The other edge of the spectrum: n / (sqrt(n) + sqrt(dx))^2."""
    return problem.n / (np.sqrt(problem.n) + np.sqrt(problem.dx)) ** 2


@register_prediction("inverse-eigenvalue.sizes-swapped")
def inverse_eigenvalue_sizes_swapped(problem: Problem, sample: Sample) -> float:
    """dx in the numerator."""
    return problem.dx / problem.n * inverse_eigenvalue_limit(problem, sample)


@register_prediction("theorem-bound.as-printed")
def theorem_bound_as_printed(problem: Problem, sample: Sample) -> float:
    """Theorem 2 or 4, with guaranteed extreme eigenvalues."""
    from linreg_lora.theory import bounds
    from linreg_lora.theory.truncation import Version

    theorem = bounds.theorem_2 if problem.n >= problem.dx else bounds.theorem_4
    return theorem(problem, int(sample.context["rank"]), version=Version.PRINTED).bound
