"""Risks of several methods at once, for figures: by theory, and by simulation on the same draws."""

import numpy as np
from jaxtyping import Float

from linreg_lora.methods.method import Method
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed


def by_theory(problem: Problem, methods: tuple[Method, ...]) -> Float[np.ndarray, "2 methods"]:
    """Risk of each method, nan where no mean exists or none is known, and 1 where it may be off by more than 1 %.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> by_theory(problem, (ll.methods.named("bitfit"), ll.methods.named("ia3")))[0].round(3).tolist()
    [14.567, nan]
    """
    from linreg_lora.methods.expected import expected_risks

    found = expected_risks(problem, methods)
    return np.array([[_finite(one.risk) for one in found], [one.flagged for one in found]], dtype=float)


def by_simulation(
    problem: Problem, methods: tuple[Method, ...], trials: int, seed: int
) -> Float[np.ndarray, "2 methods"]:
    """Mean risk of each method over `trials` draws, and its standard error; nan where there is none.

    The draws' seed is derived from `seed` and the problem. Methods that are fitted to explicit data share these.
    """
    from linreg_lora.simulation.methods import simulated_risks

    found = simulated_risks(problem, methods, trials=trials, seed=derived_seed(seed, problem.fingerprint))
    return np.array([[_finite(one.risk) for one in found], [_finite(one.stderr) for one in found]])


def _finite(value: float | None) -> float:
    return np.nan if value is None or not np.isfinite(value) else float(value)
