"""What training gave, draw by draw: the path, its distance from the closed form, and whether it converged."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.problem import Problem
from linreg_lora.training.recipe import Recipe

#: A run has converged when its relative gradient is below this: at the end where its steps go to 0, and in all of the
#: last tenth of the steps where they do not, for an optimiser may look at rest between two jumps.
STATIONARY = 1e-6
#: A risk has reached the closed form's when it is within this share of it, and stays.
REACHED = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Training of one rank, or of full fine-tuning, on draws of a problem.

    | field           | meaning                                                                                       |
    |-----------------|-----------------------------------------------------------------------------------------------|
    | `rank`          | r; None: full fine-tuning                                                                     |
    | `at`            | steps, or times of the flow, at which the path was recorded                                   |
    | `unit`          | step or time                                                                                  |
    | `risk`          | excess risk of D at these, in squared units of y                                              |
    | `loss`          | (1/2) ||(D - D_FFT) S^{1/2}||^2: the loss above that of full fine-tuning, without decay's part|
    | `gradient`      | relative gradient, of the loss with coupled decay; 0 where it is stationary                   |
    | `distance`      | ||(D - D_r) P|| / ||D_r||, P on range(X); nan where D_r = 0                                   |
    | `closed_risk`   | risk of D_r, the closed form, on the same draws                                               |
    | `fft_risk`      | risk of D_FFT                                                                                 |
    | `reached`       | first step from which on the risk stays within 1 % of `closed_risk`; -1: it does not          |
    |                 | Of the flow: first recorded time, nan: none                                                   |
    | `converged`     | whether the last relative gradients are below `STATIONARY`                                    |
    | `reasons`       | why not, one for each draw; empty where it is                                                 |
    | `learning_rate` | eta of each draw                                                                              |
    | `final`         | D at the end                                                                                  |
    | `factors`       | B and A at the end; None in full fine-tuning                                                  |

    Relative gradient: the larger of ||dL/dB|| / (g ||H|| ||A||) and ||dL/dA|| / (g ||H|| ||B||), which no units of the
    factors change; of D, ||D S - H|| / ||H||.
    Where n < dx the closed form has no part outside range(X), and descent leaves g B A(0) (I - P) there: D converges,
    its risk need not reach `closed_risk`. Without noise, at a rank that holds the shift, `closed_risk` is rounding, and
    no risk is within 1 % of it.
    """

    problem: Problem
    rank: int | None
    recipe: Recipe
    unit: Literal["step", "time"]
    at: Float[np.ndarray, "k"]
    risk: Float[np.ndarray, "draws k"]
    loss: Float[np.ndarray, "draws k"]
    gradient: Float[np.ndarray, "draws k"]
    distance: Float[np.ndarray, "draws k"]
    closed_risk: Float[np.ndarray, "draws"]
    fft_risk: Float[np.ndarray, "draws"]
    reached: Int[np.ndarray, "draws"] | Float[np.ndarray, "draws"]
    converged: Bool[np.ndarray, "draws"]
    reasons: tuple[str, ...]
    learning_rate: Float[np.ndarray, "draws"]
    final: Float[np.ndarray, "draws dy dx"]
    factors: tuple[Float[np.ndarray, "draws dy r"], Float[np.ndarray, "draws r dx"]] | None
    seed: int

    @property
    def trials(self) -> int:
        """The number of draws."""
        return len(self.closed_risk)

    @property
    def best(self) -> tuple[Float[np.ndarray, "draws"], Float[np.ndarray, "draws"]]:
        """The least risk on the recorded path of each draw, and where it is."""
        place = np.argmin(np.where(np.isfinite(self.risk), self.risk, np.inf), axis=1)
        return self.risk[np.arange(self.trials), place], self.at[place]

    @property
    def median_reached(self) -> float:
        """Median over draws of `reached`, those that do not counted as inf."""
        reached = self.reached.astype(float)
        return float(np.median(np.where(reached >= 0, reached, np.inf)))

    @property
    def note(self) -> str:
        """One line on the draws that did not converge; empty when all did."""
        reasons = [reason for reason in self.reasons if reason]
        if not reasons:
            return ""
        return f"{len(reasons)} of {self.trials} draws: {reasons[0]}"


def why_not(finite: bool, gradient: float, last: float, unit: str, *, late: bool) -> str:
    """The reason of a draw that did not converge, empty where it did; `late`: the gradient is that of late steps."""
    end = f"after {last:g} steps" if unit == "step" else f"at time {last:g}"
    if not finite:
        return f"did not converge: not finite {end}; lower learning_rate"
    if gradient <= STATIONARY:
        return ""
    if late:
        end = f"in the last tenth of {last:g} steps"
    return f"did not converge: relative gradient {gradient:.2g} {end}, expected at most {STATIONARY:g}"
