"""What the datasets of all figures share: variables with names and units, and provenance."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from linreg_lora import validation
from linreg_lora.problem import Problem
from linreg_lora.provenance import release
from linreg_lora.seeds import valid_seed
from linreg_lora.sweeps.grid import Grid

if TYPE_CHECKING:
    import xarray as xr

#: Units of every risk.
RISK = "squared units of y"


def provenance(title: str, problems: Iterable[Problem], trials: int, seed: int) -> dict[str, Any]:
    """Attributes of a figure's dataset: `problems_sha256` is the hash of all `problems` in order, as in a sweep.

    Raises `InvalidInput` for fewer than 2 `trials`, which have no standard error, and for a bad `seed`.
    """
    trials = validation.enough_draws("trials", trials)
    problems = list(problems)
    return {
        "Conventions": "CF-1.11",
        "title": title,
        "source": f"linreg-lora {release()}",
        "problem": one_problem(problems[0]) if problems else "null",
        "problems_sha256": Grid({}, problems).identity,
        "trials": trials,
        "seed": valid_seed(seed),
    }


def one_problem(problem: Problem) -> str:
    """A problem as JSON: one of a figure's, which its axes vary."""
    return json.dumps(problem.to_dict())


def problem_of(dataset: "xr.Dataset") -> Problem:
    """The problem that `one_problem` wrote into the attributes of a figure's dataset."""
    return Problem(**json.loads(dataset.attrs["problem"]))


def variable(dimensions: str | tuple[str, ...], values: Any, long_name: str, units: str = "1") -> tuple[Any, ...]:
    """A variable of a Dataset: its dimensions, values and attributes."""
    return dimensions, np.asarray(values), {"long_name": long_name, "units": units}
