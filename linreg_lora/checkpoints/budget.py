"""Ranks of many matrices under one number of parameters: the largest energy that LoRA of these ranks keeps.

Rank r of a matrix (dy dx) costs r (dx + dy) and keeps s_1^2 + ... + s_r^2, times the matrix's weight. Gains fall with
r, so matrices of one cost are one list of falling gains, and what is left is how many to take of each list, few lists
in a network. With fractions allowed the best is by gain for cost, which bounds every choice; branch and bound from
there finds the best whole one, or says how far it may be from it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linreg_lora.checkpoints.ranks import largest_rank
from linreg_lora.errors import InvalidInput
from linreg_lora.validation import nonnegative_integer

#: Steps of the search; what is found until then stands.
_MOST_STEPS = 20_000
#: Gains that agree to so much, relatively, are equal.
_TIE = 1e-12


class Allocation(NamedTuple):
    """`ranks` by name; `parameters` that they cost, at most `budget`; `kept`: the share of all (weighted) energy;
    `most`: what no allocation exceeds, equal to `kept` but for rounding where this one is the best."""

    ranks: dict[str, int]
    parameters: int
    budget: int
    kept: float
    most: float


class _List(NamedTuple):
    """Falling gains of one cost, and what the first 0, 1, ... of them give together."""

    cost: int
    gains: Float[np.ndarray, "m"]
    sums: Float[np.ndarray, "m+1"]


class _Bound(NamedTuple):
    """With fractions: costs and gains of all items by gain for cost, summed."""

    costs: Float[np.ndarray, "k"]
    gains: Float[np.ndarray, "k"]

    def at(self, budget: float) -> float:
        return float(np.interp(budget, self.costs, self.gains))


def allocate(
    values: Mapping[str, Sequence[float] | np.ndarray],
    shapes: Mapping[str, tuple[int, int]],
    budget: int,
    weights: Mapping[str, float] | None = None,
    most: Mapping[str, int] | None = None,
) -> Allocation:
    """The ranks that keep the most energy with at most `budget` parameters.

    `values`: singular values of each update, from large to small; `shapes`: its (dy, dx); `weights`: of each energy, by
    default 1; `most`: the largest rank of each, by default all. No rank is above the largest at which B and A are fewer
    numbers than the matrix. Raises `InvalidInput` for a budget that is none.

    >>> import linreg_lora as ll
    >>> values, shapes = {"q": [3.0, 2.0, 0.5], "mlp": [2.5, 2.4, 2.3]}, {"q": (8, 8), "mlp": (32, 8)}
    >>> found = ll.checkpoints.allocate(values, shapes, 80)
    >>> found.ranks, found.parameters
    ({'q': 2, 'mlp': 1}, 72)
    """
    budget = nonnegative_integer("budget", budget)
    for field, given in (("shapes", shapes), ("weights", weights), ("most", most)):
        if given is not None and given.keys() != values.keys():
            raise InvalidInput(field, f"the {len(values)} names of values", f"{len(given)} names")
    energies = {}
    for name, given in values.items():
        array = np.asarray(given, dtype=float)
        if array.ndim != 1 or not np.all(np.isfinite(array)) or np.any(array < 0) or np.any(np.diff(array) > 0):
            raise InvalidInput("values", "singular values from large to small", f"others for {name}")
        energies[name] = array**2 * (1.0 if weights is None else weights[name])
    total = sum(float(np.sum(energy)) for energy in energies.values())
    usable = {}
    for name, energy in energies.items():
        largest = largest_rank(*shapes[name]) if most is None else min(most[name], largest_rank(*shapes[name]))
        usable[name] = energy[:largest][energy[:largest] > 0]
    costs = sorted({sum(shapes[name]) for name in usable})
    names = {cost: [name for name in usable if sum(shapes[name]) == cost] for cost in costs}
    lists = [_list(cost, np.concatenate([usable[name] for name in names[cost]])) for cost in costs]
    counts, gain, bound = _search(lists, budget)
    ranks = dict.fromkeys(values, 0)
    for (cost, gains, _), count in zip(lists, counts.tolist(), strict=True):
        for name, rank in _shared(gains, count, {name: usable[name] for name in names[cost]}).items():
            ranks[name] = rank
    parameters = sum(rank * sum(shapes[name]) for name, rank in ranks.items())
    if total == 0:
        return Allocation(ranks, parameters, budget, 1.0, 1.0)
    return Allocation(ranks, parameters, budget, gain / total, max(gain, bound) / total)


def _list(cost: int, gains: Float[np.ndarray, "m"]) -> _List:
    ordered = np.sort(gains)[::-1]
    return _List(cost, ordered, np.concatenate([[0.0], np.cumsum(ordered)]))


def _shared(
    gains: Float[np.ndarray, "m"], count: int, energies: Mapping[str, Float[np.ndarray, "r"]]
) -> dict[str, int]:
    """The first `count` gains of a list as ranks of its matrices; of equal gains the first matrices' first."""
    if count == 0:
        return {}
    least = gains[count - 1]
    ranks = {name: int(np.sum(energy > least)) for name, energy in energies.items()}
    left = count - sum(ranks.values())
    for name, energy in energies.items():
        taken = min(left, int(np.sum(energy == least)))
        ranks[name], left = ranks[name] + taken, left - taken
    return ranks


def _search(lists: list[_List], budget: int) -> tuple[Int[np.ndarray, "c"], float, float]:
    """How many of each list, the gain, and a bound of every choice's."""
    best = _greedy(lists, budget)
    gain = float(sum(each.sums[count] for each, count in zip(lists, best.tolist(), strict=True)))
    bounds = [_bound(lists[place:]) for place in range(len(lists))]
    if not lists or bounds[0].costs[-1] <= budget:
        return best, gain, gain
    steps = 0

    def search(place: int, left: int, before: float, counts: list[int]) -> None:
        nonlocal best, gain, steps
        steps += 1
        cost, gains, sums = lists[place]
        most = min(len(gains), left // cost)
        if place == len(lists) - 1:
            if before + sums[most] > gain:
                best, gain = np.array([*counts, most]), before + float(sums[most])
            return

        def reach(count: Int[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
            return before + sums[count] + np.interp(left - count * cost, *bounds[place + 1])

        options = _above(reach, most, gain * (1 + _TIE))
        reached = reach(options)
        for i in np.argsort(-reached, kind="stable").tolist():
            if reached[i] <= gain * (1 + _TIE) or steps > _MOST_STEPS:
                return
            count = int(options[i])
            search(place + 1, left - count * cost, before + float(sums[count]), [*counts, count])

    search(0, budget, 0.0, [])
    return best, gain, gain if steps <= _MOST_STEPS else bounds[0].at(budget)


def _above(
    reach: Callable[[Int[np.ndarray, "m"]], Float[np.ndarray, "m"]], most: int, level: float
) -> Int[np.ndarray, "m"]:
    """The numbers 0..most at which a concave function is above a level."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        here, there = reach(np.array([middle, middle + 1])).tolist()
        low, high = (middle + 1, high) if there > here else (low, middle)
    first = last = low
    step = 1
    while first > 0 and reach(np.array([first]))[0] > level:
        first, step = max(0, first - step), 2 * step
    step = 1
    while last < most and reach(np.array([last]))[0] > level:
        last, step = min(most, last + step), 2 * step
    found = np.arange(first, last + 1)
    return found[reach(found) > level]


def _greedy(lists: list[_List], budget: int) -> Int[np.ndarray, "c"]:
    """By gain for cost, each as far as the budget goes."""
    items = [(gain / each.cost, place) for place, each in enumerate(lists) for gain in each.gains.tolist()]
    counts, left = np.zeros(len(lists), dtype=int), budget
    closed: set[int] = set()
    for _, place in sorted(items, key=lambda item: (-item[0], item[1])):
        if place not in closed and lists[place].cost <= left:
            counts[place] += 1
            left -= lists[place].cost
        else:
            closed.add(place)
    return counts


def _bound(lists: list[_List]) -> _Bound:
    gains = np.concatenate([each.gains for each in lists])
    costs = np.concatenate([np.full(len(each.gains), float(each.cost)) for each in lists])
    order = np.argsort(-gains / costs, kind="stable")
    return _Bound(*(np.concatenate([[0.0], np.cumsum(array[order])]) for array in (costs, gains)))
