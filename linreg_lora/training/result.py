"""What training gave, draw by draw: the path, its distance from the closed form, and whether it converged."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.problem import Problem
from linreg_lora.training.recipe import Recipe

#: A run has converged when its relative gradient is below the first and its error (`ends`) below the second: at the end
#: where its steps go to 0, and in all of the last tenth of the steps where they do not.
STATIONARY, CLOSE = 1e-6, 1e-3
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
    | `gradient`      | relative gradient, of the loss with its decay; 0 where it is stationary                       |
    | `distance`      | ||(D - D*) P|| / ||D*||, P on range(X); nan where D* = 0                                      |
    | `error`         | ||(D - D*) P C|| / ||(D* - Delta) C||, where risk(D) = ||(D - Delta) C||^2                    |
    | `closed_risk`   | risk of D*, the minimum of the loss in closed form, on the same draws                         |
    | `fft_risk`      | risk of D_FFT                                                                                 |
    | `reached`       | first step from which on the risk stays within 1 % of `closed_risk`; -1: it does not          |
    |                 | Of the flow: first recorded time, nan: none                                                   |
    | `converged`     | whether the last gradients are below `STATIONARY` and the last errors below `CLOSE`           |
    | `reasons`       | why not, one for each draw; empty where it is                                                 |
    | `learning_rate` | eta of each draw                                                                              |
    | `final`         | D at the end                                                                                  |
    | `factors`       | B and A at the end; None in full fine-tuning                                                  |

    D* is D_r, or D_FFT in full fine-tuning; with decay in the loss, the minimum with that (`ends`), nan where it was
    not found. What `error` is divided by is at least what rounding leaves of D*. Adam at a constant rate does not
    converge: at rest its steps are unstable.
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
    error: Float[np.ndarray, "draws k"]
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


def why_not(
    finite: bool, gradient: float, error: float, last: float, unit: str, *, late: bool, leaves: bool = False
) -> str:
    """The reason of a draw that did not converge, empty where it did.

    `late`: gradient and error are the largest of late steps; `leaves`: a rest at which Adam does not stay.
    """
    end = f"after {last:g} steps" if unit == "step" else f"at time {last:g}"
    if not finite:
        return f"did not converge: not finite {end}; lower learning_rate"
    if late:
        end = f"in the last tenth of {last:g} steps"
    if not gradient <= STATIONARY:
        return f"did not converge: relative gradient {gradient:.2g} {end}, expected at most {STATIONARY:g}"
    if np.isnan(error):
        return "cannot be said to have converged: the minimum with this decay was not found"
    if error > CLOSE:
        return (
            f"did not converge: {error:.2g} of the closed form's error away from it {end}, expected at most {CLOSE:g}"
        )
    if leaves:
        return "did not converge: at a constant rate Adam leaves the minimum again; use a linear schedule"
    return ""
