"""Inputs with iid entries that are not Gaussian: what their fourth moment changes.

    x = Sigma^{1/2} z,    Var(z^T B z) = 2 Tr B^2 + kappa4 sum_i B_ii^2

Ridgeless FFT sees kappa4 in the first order, on both sides of the threshold:

    E Tr Sigma (X X^T)^{-1} = dx / (n - dx - 1) (1 + kappa4 / n + O(1/n^2)),        n > dx, any Sigma
    E Tr X^+ X^{+T} = n / (dx - n - 1) (1 + kappa4 / dx + O(1/dx^2)) / c,           n < dx, Sigma = c I

With a ridge, bias is a mean of (X X^T + eta)^{-2}, in which a variance of S counts three times: its first order is at
most 3 kappa4 / max(n, dx). So the risks of FFT and of LoRA come near those of Gaussian inputs at the rate 1/d, wherever
kappa4 is finite. LoRA's change is about FFT's at bulk ranks, and depends on how Delta lies to the entries elsewhere: it
is an error, not a term.
"""

import math

from linreg_lora.errors import NumericalFailure
from linreg_lora.input_law import IidEntries
from linreg_lora.problem import Problem, Regime
from linreg_lora.theory.fft import FFTRisk

FORMULA = "(1 + kappa4 / max(n, dx)) times the noise part of: "
#: Relative errors above this are flagged.
_UNFLAGGED = 0.01


def relative_error(problem: Problem) -> float:
    """|kappa4| / max(n, dx), about which LoRA's risk may differ from that of Gaussian inputs; inf where kappa4 is.

    Three times that with a ridge. It is the first order at bulk ranks: without a ridge simulated differences go up to
    twice that at low ranks and for large kappa4.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0,), noise_std=1.0, input_law="laplace")
    >>> ll.theory.iid_entries.relative_error(problem)
    0.05
    """
    law = problem.input_law
    times = 3.0 if problem.ridge > 0 else 1.0
    return times * abs(law.kurtosis) / max(problem.n, problem.input_rank) if isinstance(law, IidEntries) else 0.0


def note(problem: Problem) -> str:
    """What is said of LoRA's risk by the formula of Gaussian inputs."""
    law, error = problem.input_law, relative_error(problem)
    assert isinstance(law, IidEntries)
    return (
        f"LoRA by the formula of Gaussian inputs: {law.text} entries, of kurtosis {law.kurtosis:.3g}, "
        f"may move it by about {'3 ' if problem.ridge > 0 else ''}|kappa4| / max(n, dx) = {100 * error:.2g} %"
    )


def entries_fft_risk(problem: Problem, gaussian: FFTRisk) -> FFTRisk:
    """FFT's risk from that of Gaussian inputs: the factor where it is known, else its size as an error.

    What is left is of the order of its square, and of what is left in the risk of Gaussian inputs.
    """
    problem.require_centred("iid entries by theory")
    law = problem.input_law
    assert isinstance(law, IidEntries)
    error = relative_error(problem)
    reduced = problem.without_null_inputs()
    over = reduced.regime is Regime.OVERDETERMINED
    known = problem.ridge == 0 and (
        over or (reduced.regime is Regime.UNDERDETERMINED and reduced.isotropic_scale is not None)
    )
    if problem.noise_trace == 0 and known:
        error = 0.0 if over else error
    elif known and math.isfinite(error):
        factor = 1 + law.kurtosis / max(problem.n, problem.input_rank)
        gaussian = gaussian._replace(
            variance=gaussian.variance * factor, formula=FORMULA + gaussian.formula, exact=False
        )
        distance = abs(reduced.distance_from_threshold)
        error = error**2 + error / distance
    if not math.isfinite(error):
        raise NumericalFailure(
            f"fft_risk: expected entries with a finite fourth moment, received {law.text}: how far FFT is from its "
            "risk on Gaussian inputs is not known; simulate"
        )
    if gaussian.flagged or error <= _UNFLAGGED:
        return gaussian._replace(exact=gaussian.exact and error == 0)
    note = f"FFT's risk may be off by about {100 * error:.2g} %, for its {law.text} entries"
    return gaussian._replace(flagged=True, exact=False, note=note)
