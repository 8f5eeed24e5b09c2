"""Simulated risks with the ridges of a curve by theory: one for each rank, and FFT's."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.seeds import valid_seed
from linreg_lora.simulation.curve import Risks, draw_risks
from linreg_lora.theory import heavy_tails

FORMULA = "mean over draws, each rank with its own ridge; FFT averaged over the noise exactly"


def with_own_ridges(
    tuned: RiskCurve, *, trials: int, seed: int, progress: Callable[[int], None] = lambda _: None
) -> RiskCurve:
    """Expected excess risk by simulation at the ridges of `tuned`, a curve of `expected_risk(ridge="auto")`.

    `trials` draws (at least 2) from `seed`, the same data at every ridge, so that `difference` is paired. FFT, and LoRA
    at full rank, are averaged over the noise exactly. `progress` is called with the number of draws just done,
    `draws_of(tuned, trials)` in all. A standard error is nan where none exists (`monte_carlo`).

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=12, dx=6, dy=5, spectrum=(2.0,), noise_std=0.5)
    >>> tuned = ll.expected_risk(problem, ridge="auto")
    >>> drawn = with_own_ridges(tuned, trials=256, seed=0)
    >>> abs(drawn.fft_risk - tuned.fft_risk) < 5 * drawn.fft_stderr
    True
    """
    if tuned.ridge is None or tuned.fft_ridge is None:
        raise InvalidInput("tuned", 'a curve of expected_risk(ridge="auto")', "one without ridges of its own")
    trials = validation.enough_draws("trials", trials)
    problem, seed, last = tuned.problem, valid_seed(seed), tuned.problem.max_rank
    drawn: dict[float, Risks] = {}
    said: dict[float, str] = {}
    for ridge in _ridges(tuned):
        at = problem.replace(ridge=ridge)
        drawn[ridge] = draw_risks(at, trials=trials, seed=seed)
        said[ridge] = heavy_tails.unfelt_floor(at, trials)
        if at.moments is Moments.NO_VARIANCE:
            said[ridge] = f"no standard error exists: {at.moments_note}"
        progress(trials)

    def rows(ridge: float, rank: int) -> Float[np.ndarray, "draws"]:
        """The risk of each draw."""
        if rank == 0 or math.isinf(ridge):
            return np.full(trials, problem.pretrained_risk)
        return drawn[ridge].lora[:, rank] if ridge in drawn else np.full(trials, np.nan)

    def measured(values: Float[np.ndarray, "draws"], *ridges: float) -> tuple[float, float]:
        unknown = any(said.get(ridge) for ridge in ridges)
        stderr = float(np.std(values, ddof=1)) / math.sqrt(trials)
        return float(np.mean(values)), math.nan if unknown else stderr

    own = tuned.fft_ridge
    full = rows(own, last)
    averaged = drawn[own].fft_given_design if own in drawn else full
    fft = measured(averaged, own)
    risk, difference = np.empty((len(tuned.ranks), 2)), np.empty((len(tuned.ranks), 2))
    for place, (rank, ridge) in enumerate(zip(tuned.ranks.tolist(), tuned.ridge.tolist(), strict=True)):
        values = rows(ridge, rank)
        used = () if rank == 0 else (ridge,)
        risk[place] = fft if rank == last else measured(values, *used)
        difference[place] = measured(values - full, own, *used)
    return RiskCurve(
        problem=problem,
        computed_by="monte-carlo",
        ranks=tuned.ranks,
        risk=risk[:, 0],
        stderr=risk[:, 1],
        fft_risk=fft[0],
        fft_stderr=fft[1],
        difference=difference[:, 0],
        difference_stderr=difference[:, 1],
        moments=tuned.moments,
        formula=FORMULA,
        notes=tuple(dict.fromkeys(note for note in said.values() if note)),
        trials=trials,
        seed=seed,
        ridge=tuned.ridge,
        fft_ridge=tuned.fft_ridge,
    )


def draws_of(tuned: RiskCurve, trials: int) -> int:
    """How many draws `with_own_ridges` makes."""
    return trials * len(_ridges(tuned))


def _ridges(tuned: RiskCurve) -> list[float]:
    """The finite ridges of ranks above 0 and of FFT, in order."""
    assert tuned.ridge is not None
    assert tuned.fft_ridge is not None
    listed = {tuned.fft_ridge, *tuned.ridge[tuned.ranks > 0].tolist()}
    return sorted(ridge for ridge in listed if math.isfinite(ridge))
