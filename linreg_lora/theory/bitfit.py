"""Expected excess risk of BitFit, which trains biases only: exact for every n, mean, Sigma and Sigma_eps.

    E risk = ||Delta Sigma^{1/2}||_F^2 + ( ||Delta Sigma^{1/2}||_F^2 + Tr(Sigma_eps) ) / n

The bias is the mean of n residuals Delta x + eps, so it is off their mean Delta mu by their variance over n; the shift
itself is out of reach. The mean mu of the inputs is fitted, whatever it is: without a bias it costs ||Delta mu||^2.
Only finite variances and uncorrelated samples are used. Source: derived here.
"""

from typing import NamedTuple

from linreg_lora.errors import InvalidInput
from linreg_lora.input_law import CorrelatedSamples
from linreg_lora.problem import Problem


class BitFitRisk(NamedTuple):
    """`misspecification`, the shift itself, which no bias moves, + `variance` = `risk`, in squared units of y."""

    misspecification: float
    variance: float

    @property
    def risk(self) -> float:
        return self.misspecification + self.variance


def bitfit_risk(problem: Problem) -> BitFitRisk:
    """The expected excess risk, in squared units of y. The ridge of the problem penalises no bias.

    Any input law of uncorrelated samples; others are refused (`InvalidInput`).

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.bitfit_risk(problem).risk:.3f} = 14 + (14 + 20) / 60"
    '14.567 = 14 + (14 + 20) / 60'
    """
    if isinstance(problem.input_law, CorrelatedSamples):
        raise InvalidInput(
            "input_law", "uncorrelated samples for BitFit by theory", problem.input_law.text, "simulate it"
        )
    shift = problem.centred().pretrained_risk
    return BitFitRisk(shift, (shift + problem.noise_trace) / problem.n)
