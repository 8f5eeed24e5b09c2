"""From a claim's domain to the cases it is checked on."""

from typing import Any

from linreg_lora.claims.domains import Case, Domain
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed


def cases(domain: Domain) -> list[Any]:
    """Every case of a claim's domain: problems, matrix sizes, or what a domain of another kind is made of."""
    return domain.cases()


def describe(case: Problem | Case) -> str:
    """One short line that tells a claim's cases apart."""
    if isinstance(case, Problem):
        mean = "" if case.input_mean is None else f" |mu|={float((case.input_mean**2).sum()) ** 0.5:.3g}"
        return f"n={case.n} dx={case.dx} dy={case.dy} sigma={case.noise_std:g}{mean}"
    return case.description


def seed_of(case: Problem | Case, seed: int) -> int:
    """A seed for this case's draws: equal cases share their draws, different cases do not."""
    return derived_seed(seed, case.fingerprint)
