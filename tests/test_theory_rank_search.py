"""The best rank from dT / dN is that of the whole curve, on problems of all kinds."""

import numpy as np
import pytest

import linreg_lora as ll
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.theory import rank_search
from linreg_lora.theory.contours import promising
from linreg_lora.theory.decisions import doubt_of_best
from linreg_lora.theory.equivalent import partial_equivalent
from linreg_lora.theory.functionals import LEFT_OUT, functionals

SEED = 20
#: Both ways integrate to some 1e-9 of ||Delta Sigma^{1/2}||^2.
CLOSE = 1e-7


def drawn(place: int) -> ll.Problem:
    """A problem of either regime, with or without a ridge, Delta of few, many or equal values, some Sigma."""
    rng = np.random.default_rng([SEED, place])
    dx, dy = rng.integers(14, 40, 2)
    n = int(rng.choice([rng.integers(14, dx - 3) if dx > 17 else 14, rng.integers(dx + 3, 5 * dx), 8 * dx]))
    rank = int(rng.choice([1, 3, min(dx, dy)]))
    spectrum = rng.choice(
        [rng.uniform(1, 5, rank), np.exp(-rng.uniform(0.05, 1) * np.arange(rank)), np.full(rank, 2.0)]
    )
    fields = {"n": n, "dx": int(dx), "dy": int(dy), "spectrum": tuple(np.sort(spectrum)[::-1].tolist())}
    fields["noise_std"] = float(rng.choice([0.0, 0.03, 0.3, 1.0, 3.0, 10.0], p=[0.05, 0.15, 0.25, 0.25, 0.2, 0.1]))
    fields["ridge"] = float(rng.choice([0.0, 1e-3, 1.0, 20.0]))
    kind = rng.integers(3)
    if kind == 1:
        fields["input_covariance"] = rng.uniform(0.3, 2, dx)
    elif kind == 2 and place % 4 == 0:
        root = rng.normal(size=(dx, 2 * dx)) / np.sqrt(2 * dx)
        fields["input_covariance"] = root @ root.T
    return ll.Problem(**fields)


def answer(curve: ll.RiskCurve) -> tuple[int, float, float, bool] | None:
    try:
        best = curve.best_rank
        return best, curve.at_rank(best).risk, curve.at_rank(best).difference, bool(doubt_of_best(curve))
    except (NumericalFailure, InvalidInput):
        return None


def agree(problem: ll.Problem) -> bool:
    """Asserts that both ways agree; whether some ranks were left out."""
    near, whole = rank_search.curve_near_best(problem), ll.expected_risk(problem)
    one, other = answer(near), answer(whole)
    scale = problem.pretrained_risk
    if other is None and one is not None:
        # Ranks that the whole curve does not know were ruled out; those that it knows are no better.
        assert one[1] <= np.nanmin(whole.risk) + CLOSE * scale
        return True
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one[0] == other[0] or abs(one[2] - other[2]) <= CLOSE * scale
        assert one[1] == pytest.approx(other[1], rel=CLOSE, abs=CLOSE * scale)
        assert one[3] == other[3]
    np.testing.assert_equal(near.fft_risk, whole.fft_risk)
    assert set(near.ranks) >= {0, problem.max_rank}
    return len(near.ranks) < len(whole.ranks)


RIDGE = ll.Problem(n=45, dx=30, dy=25, spectrum=(3.0, 2.0, 1.0), noise_std=0.7, ridge=3.0)
#: By kind, with the best rank where it is known beforehand.
KINDS = {
    "ridge": (RIDGE, None, True),
    "n < dx, ridge": (RIDGE.replace(n=20), None, None),
    "strong noise": (RIDGE.replace(noise_std=30.0), 0, True),
    "weak noise on a flat spectrum": (RIDGE.replace(spectrum=(3.0,) * 25, noise_std=0.05, ridge=0.01), 25, None),
    "no noise": (RIDGE.replace(noise_std=0.0, ridge=0.0), 3, None),
    "equal values": (RIDGE.replace(spectrum=(2.0,) * 4), None, True),
    "decaying": (RIDGE.replace(spectrum=tuple(np.exp(-0.3 * np.arange(25))), noise_std=0.2), None, None),
    "ridgeless, many values": (RIDGE.replace(ridge=0.0, spectrum=tuple(np.linspace(3, 0.5, 25))), None, None),
    "diagonal Sigma": (RIDGE.replace(input_covariance=np.linspace(0.5, 2, 30)), None, True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_rank_is_that_of_the_whole_curve(kind):
    problem, rank, saves = KINDS[kind]
    saved = agree(problem)
    assert saves is None or saved == saves
    assert rank is None or ll.best_rank(problem).rank == rank


@pytest.mark.heavy
@pytest.mark.parametrize("part", range(6))
def test_the_best_rank_is_that_of_the_whole_curve_on_problems_of_all_kinds(part):
    saved = [agree(drawn(place)) for place in range(50 * part, 50 * (part + 1))]
    assert np.mean(saved) > 0.2


def test_estimates_are_off_by_their_errors_at_most():
    """The integral of dT / dN against contour integrals, which know nothing of it."""
    search = promising.Search(RIDGE, correction=False)
    found = partial_equivalent(RIDGE, correction=False, choose=search)
    assert search.estimate is not None
    assert {rank for rank, why in found.failures.items() if why == LEFT_OUT} == set(
        search.estimate.ranks[~search.estimate.kept].astype(int)
    )
    whole = partial_equivalent(RIDGE, correction=False)
    off = np.abs(search.estimate.risk - whole.raw[search.estimate.ranks.astype(int)])
    assert np.all(off <= search.estimate.error + CLOSE)
    assert np.max(search.estimate.error / search.estimate.risk) < 0.15


def test_where_estimates_are_worse_than_allowed_the_whole_curve_is_made(monkeypatch):
    class Wrong(promising.Search):
        def __call__(self, evaluate, pool, ranks):
            chosen = super().__call__(evaluate, pool, ranks)
            assert self.estimate is not None
            self.estimate = self.estimate._replace(risk=2 * self.estimate.risk)
            return chosen

    whole = ll.expected_risk(RIDGE)
    assert len(rank_search.curve_near_best(RIDGE).ranks) < len(whole.ranks)
    monkeypatch.setattr(rank_search, "Search", Wrong)
    found = rank_search.curve_near_best(RIDGE)
    assert found.ranks.tolist() == whole.ranks.tolist()
    assert found.best_rank == whole.best_rank


def test_ranks_that_are_left_out_change_nothing_of_the_others():
    """The planted ranks stay, for they tell where noise begins: rank 3 has merged with it, ranks 1 and 2 have not."""
    problem = ll.Problem(n=60, dx=40, dy=40, spectrum=(6.0, 4.0, 0.2), noise_std=1.0, ridge=2.0)
    ranks = np.arange(1.0, 40)
    search = promising.Search(problem, correction=True)
    found = functionals(problem, ranks, correction=True, choose=search)
    assert search.estimate is not None
    assert search.estimate.kept[:3].all()
    assert not search.estimate.kept[3:].all()
    whole = functionals(problem, ranks, correction=True)
    some = functionals(
        problem, ranks, correction=True, choose=lambda _, pool, asked: (np.isin(asked, [1, 2, 3, 6, 20]), pool)
    )
    assert whole.separate == found.separate == some.separate == 2
    rows = [0, 1, 2, 5, 19]
    assert whole.sharpened[rows].tolist() == some.sharpened[rows].tolist() == [False, False, False, True, True]
    np.testing.assert_allclose(some.correction[rows], whole.correction[rows], atol=1e-6)  # counts are good to 1e-6
    assert set(some.failures) == set(range(39)) - set(rows)
