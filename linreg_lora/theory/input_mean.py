"""FFT and LoRA without a bias on inputs with a mean, x ~ N(mu, Sigma): one exact formula, and one to first order.

FFT, ridgeless, n > dx + 1, with m = mu^T Sigma^{-1} mu:

    E risk = Tr(Sigma_eps) / (n - dx - 1)  [ dx - 1 + (1 + m) 1F1(1; n/2; -n m/2) ],      exact

In coordinates with Sigma = I and mu along the first input X X^T is Wishart of rank-one non-centrality. Its inverse has
the mean 1 / (n - dx - 1) on the other dx - 1 inputs, and on the first that of 1 / chi'^2, with n - dx + 1 degrees of
freedom, whose non-centrality n m times a Beta variable is what the other inputs leave of the mean. Their mixture sums
to 1F1. It is dx / (n - dx - 1) at m = 0 and a little less for m > 0.

Everything else: the equivalent of the problem of mean zero with the second moment Sigma + mu mu^T in place of Sigma. x
is not Gaussian about zero, so it is right to first order only, and flagged. Against simulation of nine problems with dx
and dy of 8 to 60, n of 16 to 120 and |mu| of 1 and 4, LoRA was off by up to 2 %, and by up to 6 % at ranks that the
centred equivalent would flag as well; smallest problems are worst (tests/test_input_mean.py).

A bias makes the mean immaterial (`methods.WithBias`). Source: derived here.
"""

import math

import numpy as np

from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.problem import Moments, Problem, Regime
from linreg_lora.risk_curve import RiskCurve, valid_ranks
from linreg_lora.theory import curve as centred_curve
from linreg_lora.theory import notes
from linreg_lora.theory.fft import FFTRisk
from linreg_lora.theory.fft import fft_risk as centred_fft_risk

WITH_MEAN = "Tr(Sigma_eps) (dx - 1 + (1 + m) 1F1(1; n/2; -n m/2)) / (n - dx - 1), m = mu' Sigma^-1 mu, exact"
SECOND_MOMENT = "with Sigma + mu mu' for Sigma, right to first order: "
#: The largest share of the smallest variance that rounding may take in the second moment.
_LOST = 1e-6
#: From this m on 1F1 is its asymptotic series, which so many terms sum to rounding.
_LONG, _TERMS = 100.0, 12


def fft_risk(problem: Problem) -> FFTRisk:
    """`theory.fft_risk` of a problem whose inputs have a mean. Raises `InvalidInput` for those that are not Gaussian.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=12, dx=2, dy=2, spectrum=(1.0,), noise_std=1.0, input_mean=1.0)
    >>> found = ll.theory.fft_risk(problem)
    >>> f"{found.risk:.3f}; {ll.theory.fft_risk(problem.centred()).risk:.3f} for inputs of mean zero"
    '0.427; 0.444 for inputs of mean zero'
    """
    problem.centred().require_gaussian("inputs with a mean by theory")
    if problem.moments is Moments.NO_MEAN:
        return FFTRisk(math.nan, math.inf, problem.moments_note)
    if problem.ridge > 0 or problem.regime is not Regime.OVERDETERMINED:
        found = centred_fft_risk(_with_second_moment(problem))
        note = "; ".join(filter(None, [found.note, f"FFT {notes.FIRST_ORDER}"]))
        return found._replace(formula=SECOND_MOMENT + found.formula, flagged=True, exact=False, note=note)
    n, dx, m = problem.n, problem.input_rank, mean_energy(problem)
    return FFTRisk(0.0, problem.noise_trace * (dx - 1 + (1 + m) * _kummer(n, m)) / (n - dx - 1), WITH_MEAN)


def mean_energy(problem: Problem) -> float:
    """m = mu^T Sigma^{-1} mu, the squared length of the mean in units of the inputs; 0 for inputs of mean zero.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=12, dx=2, dy=2, spectrum=(1.0,), noise_std=1.0, input_mean=3.0, input_covariance=[1, 9])
    >>> ll.theory.mean_energy(problem)
    10.0
    """
    reduced = problem.without_null_inputs()
    mean, covariance = reduced.input_mean, reduced.input_covariance
    if mean is None:
        return 0.0
    if covariance is None or covariance.ndim == 1:
        return float(np.sum(mean**2 / (1.0 if covariance is None else covariance)))
    return float(mean @ np.linalg.solve(covariance, mean))


def expected_risk(problem: Problem, ranks: object, *, correction: bool, flags: bool) -> RiskCurve:
    """`theory.expected_risk` of a problem whose inputs have a mean; `flags` false leaves out what is flagged.

    Rank 0 is exact, full rank is FFT, ranks between them are LoRA of the second moment, all flagged.
    """
    problem.centred().require_gaussian("inputs with a mean by theory")
    chosen = valid_ranks(ranks, problem)
    said: list[str] = []
    try:
        full = fft_risk(problem)
        said += [full.note] if full.flagged else []
    except LinregLoraError as failure:
        full = FFTRisk(math.nan, math.nan, "none")
        said.append(str(failure))
    ends = (chosen == 0) | (chosen == problem.max_rank)
    risk = np.where(chosen == 0, problem.pretrained_risk, np.where(ends, full.risk, np.nan))
    flagged, formula = ends & (chosen > 0) & full.flagged, full.formula
    if problem.moments is Moments.NO_MEAN:
        risk = np.where(chosen == 0, problem.pretrained_risk, np.inf)
        said = [problem.moments_note]
    elif not np.all(ends):
        inside = ~ends
        formula = f"LoRA: {SECOND_MOMENT}deterministic equivalent; FFT: {full.formula}"
        try:
            found = centred_curve.expected_risk(_with_second_moment(problem), chosen[inside], correction=correction)
            risk[inside], flagged[inside] = found.risk, True
            said += [*(note for note in found.notes if not note.startswith("FFT")), f"LoRA {notes.FIRST_ORDER}"]
        except LinregLoraError as failure:
            said.append(str(failure))
    return RiskCurve(
        problem=problem,
        computed_by="theory",
        ranks=chosen,
        risk=risk,
        stderr=None,
        fft_risk=full.risk,
        fft_stderr=None,
        difference=risk - full.risk if np.isfinite(full.risk) else np.full(len(chosen), np.nan),
        difference_stderr=None,
        moments=problem.moments,
        formula=formula,
        notes=tuple(dict.fromkeys(note for note in said if note)),
        flagged=flagged & flags,
        fft_flagged=full.flagged and flags,
        fft_formula=full.formula,
    )


def _kummer(n: int, m: float) -> float:
    """1F1(1; n/2; -n m/2), n > 2; for long means by its asymptotic series, (n/2 - 1) sum_k (2 - n/2)_k / z^(k+1).

    Terms of the series fall as 1/m^k, and what it leaves out is of the size of exp(-z), z = n m/2.
    """
    b, z = n / 2, n * m / 2
    if m <= _LONG:
        from scipy.special import hyp1f1

        return float(hyp1f1(1, b, -z))
    terms = np.cumprod(np.concatenate([[1.0], (2 - b + np.arange(_TERMS)) / z]))
    return (b - 1) / z * float(np.sum(terms))


def _with_second_moment(problem: Problem) -> Problem:
    """The problem of mean zero with Sigma + mu mu^T. Raises `InvalidInput` where rounding loses Sigma beside it."""
    reduced = problem.without_null_inputs()
    assert reduced.input_mean is not None
    length = float(np.linalg.norm(reduced.input_mean))
    largest = math.sqrt(_LOST * reduced.smallest_variance / (reduced.dx * np.finfo(float).eps))
    if length > largest:
        raise InvalidInput(
            "input_mean",
            f"a norm of at most {largest:.3g} beside a variance of {reduced.smallest_variance:.3g}",
            f"{length:.3g}",
            "rounding loses the inputs' variance; train a bias, as in lora:3+bias",
        )
    return reduced.with_second_moment()
