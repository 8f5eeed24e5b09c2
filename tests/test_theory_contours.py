"""The NumPy engine of LoRA's equivalent: against its JAX twin, against full matrices, and by its own certificates."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_theory_pencil import PROBLEMS, dense_map

from linreg_lora import Problem
from linreg_lora.errors import NumericalFailure
from linreg_lora.theory.contours import corrected, correction, functionals, modes, paths, points, solver, traced
from linreg_lora.theory.contours.cuts import find_cuts
from linreg_lora.theory.contours.measured import from_traced
from linreg_lora.theory.contours.pencil import PencilEquation
from linreg_lora.theory.contours.points import Points
from linreg_lora.theory.contours.ridgeless import RidgelessEquation
from linreg_lora.theory.contours.solver import Solver
from linreg_lora.theory.equivalent import lora_equivalent
from linreg_lora.theory.resolvent import dyson
from linreg_lora.theory.resolvent import functionals as twin
from linreg_lora.theory.resolvent import modes as twin_modes
from linreg_lora.theory.resolvent import pencil as twin_pencil

TURN = np.linalg.qr(np.random.default_rng(4).standard_normal((16, 16)))[0]
DENSE = (TURN * np.geomspace(4, 0.25, 16)) @ TURN.T
SMALL = {
    "n > dx": Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0),
    "n > dx, dx < dy": Problem(n=60, dx=16, dy=24, spectrum=(3.0, 2.0, 1.0), noise_std=1.0),
    "n < dx": Problem(n=12, dx=24, dy=20, spectrum=(4.0, 2.0), noise_std=1.0),
    "n < dx, ill-conditioned": Problem(
        n=12, dx=30, dy=16, spectrum=(5.0, 3.0), noise_std=1.0, input_covariance=np.geomspace(3, 1e-5, 30)
    ),
    "n < dx, misaligned": Problem(n=7, dx=16, dy=12, spectrum=(5.0, 3.0), noise_std=1.0, input_covariance=DENSE),
    "n = dx, ridge": Problem(n=24, dx=24, dy=30, spectrum=(3.0, 2.0), noise_std=1.0, ridge=4.0),
    "ridge, misaligned": Problem(
        n=20, dx=16, dy=12, spectrum=(5.0, 3.0), noise_std=1.0, input_covariance=DENSE, ridge=3.0
    ),
    "noise variances": Problem(
        n=80, dx=24, dy=16, spectrum=(3.0, 2.0), noise_std=1.0, noise_covariance=np.repeat([0.3, 3.0], 8)
    ),
    "ties, all distinct": Problem(n=80, dx=20, dy=20, spectrum=(3.0, 3.0, *np.linspace(2, 0.2, 18)), noise_std=0.5),
    "n = 2": Problem(n=2, dx=9, dy=4, spectrum=(3.0, 2.0), noise_std=1.0, ridge=2.0),
    "strong and weak": Problem(n=4000, dx=20, dy=16, spectrum=(30.0, 1.0), noise_std=0.02),
}
CORRECTED = ["n > dx", "n = dx, ridge", "ridge, misaligned", "n < dx, misaligned"]


def equation_of(problem, ridge=None):
    return PencilEquation(modes.pencil(problem, problem.ridge if ridge is None else ridge))


def of_contours(problem, ranks):
    """LoRA's functionals without a sweep over bands."""
    with np.errstate(all="ignore"):
        seen = functionals.with_planted(problem, ranks)
        found = functionals.assembled(problem, from_traced(traced.trace(problem, seen, correction=True)))
    return found.first(len(ranks))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_map_and_newtons_system(name):
    """The map against full matrices, and Newton's system against central differences of the map."""
    problem, z = PROBLEMS[name], np.array([30.0 + 20.0j])
    equation, w = equation_of(problem), np.array([[0.8 + 0.1j], [0.7 + 0.05j], [-0.2 + 0.1j]])
    np.testing.assert_allclose(equation.image(z, w)[:, 0], dense_map(problem, z[0], w[:, 0]), rtol=1e-10)
    step, h = equation.step(z, w), 1e-5
    np.testing.assert_allclose(step.excess, w - equation.image(z, w), rtol=1e-12)
    units = h * np.eye(3)[:, :, None]
    jacobian = np.stack([(equation.image(z, w + u) - equation.image(z, w - u))[:, 0] for u in units], axis=1) / (2 * h)
    slope = (equation.image(z + h, w) - equation.image(z - h, w))[:, 0] / (2 * h)
    # Newton's step and dw / dz with 1 - J; differences are off by h^2 and 1e-16 / h.
    expected = np.linalg.solve(np.eye(3) - jacobian, -step.excess[:, 0])
    np.testing.assert_allclose(np.linalg.solve(step.system[:, :, 0], step.right[:, 0]), expected, rtol=1e-7)
    expected = np.linalg.solve(np.eye(3) - jacobian, slope)
    np.testing.assert_allclose(np.linalg.solve(step.system[:, :, 0], step.slope[:, 0]), expected, rtol=1e-7)


@pytest.mark.parametrize("name", CORRECTED)
def test_states_traces_and_the_correction_are_the_twins(name):
    """At the nodes of a contour: the same equations in two languages, by two ways of elimination.

    Sums lose 1e-16 times the condition of G and of the systems, below 1e4 away from spectral edges.
    """
    problem = SMALL[name]
    ridge = problem.ridge or (0.0 if problem.n > problem.dx else 0.5)
    equation, parameters = equation_of(problem, ridge), twin_modes.pencil(problem, ridge)
    x_max = modes.largest_eigenvalue_bound(problem)
    z, weights = dyson.contour(jnp.asarray(0.06 * x_max), jnp.asarray(x_max))
    states, residual, branch = dyson.solve_on_contour(twin_pencil.EQUATIONS, parameters, z)
    assert branch
    assert residual < 1e-12
    found = Solver(equation)(np.asarray(z))
    assert np.all(found.solved)
    np.testing.assert_allclose(found.w, np.asarray(states).T, rtol=0, atol=1e-11)

    @dyson.relaxed
    @jax.jit
    def of_twin(z, states):
        return tuple(
            jax.vmap(lambda z, w, f=f: f(parameters, z, w))(z, states)
            for f in (twin_pencil.traces, twin_pencil.correction)
        )

    for ours, theirs in zip(
        (equation.traces(np.asarray(z), found.w), correction.correction(equation, np.asarray(z), found.w)),
        of_twin(z, states),
        strict=True,
    ):
        size = np.max(np.abs(np.asarray(theirs)), axis=0)[:, None]
        assert np.max(np.abs(ours - np.asarray(theirs).T) / size) < 1e-10
    # What has a closed form on the axis is what the contour integrates to, to its 1e-9.
    place = points.evaluate(Solver(equation), np.array([0.06 * x_max]))
    assert place.count[0] == pytest.approx(float(dyson.integrate(weights, of_twin(z, states)[0])[0]), abs=1e-6)
    moved = float(dyson.integrate(weights, of_twin(z, states)[1])[0])
    difference = correction.moved(equation, place.z, place.state.T)[0] - moved
    assert abs(difference - round(2 * difference) / 2) < 1e-6


@pytest.mark.parametrize("name", [n for n in SMALL if "misaligned" not in n])
def test_every_rank_is_the_twins(name, monkeypatch):
    """Both at every rank, to first order: without what is known of thresholds and edges, with cuts moved linearly.

    The twin keeps its numbers of directions within 2e-6, which moves its integrals by that times their slopes, and its
    contours are good to 1e-9; at an edge, where the correction is an inverse square root, its distance multiplies that.
    Gaps are the same.
    """
    monkeypatch.setattr(corrected, "threshold_of", lambda *_: None)
    monkeypatch.setattr(functionals, "band_of_noise", lambda _: None)
    monkeypatch.setattr(traced, "shifted", lambda _e, _m, cut, ranks, _s: (cut, np.zeros(len(ranks), dtype=bool)))
    problem = SMALL[name]
    ranks = np.arange(1.0, problem.max_rank)
    found = of_contours(problem, ranks)
    expected = twin.functionals(problem, ranks, correction=True)
    assert not found.failures
    assert np.array_equal(found.gap > 0, expected.gap > 0)
    scale = problem.pretrained_risk
    assert np.max(np.abs(found.raw - expected.raw)[:, :3]) < 1e-6 * scale
    # Where a gap is about to open, the twin's ridges for n < dx are ten times too large.
    inside = (np.abs(found.moved) < 0.1) & ((found.gap > 0) | (found.spread < 1.25))
    assert np.max(np.abs(found.correction - expected.correction)[inside, :3], initial=0.0) < 1e-6 * scale


def test_integrals_are_certified():
    """The same integrals with four times the nodes, at every rank: 1e-12 of a direction is 1e-11 of the shift."""
    problem = SMALL["n > dx"]
    ranks = np.arange(1.0, 20.0)
    found = of_contours(problem, ranks)
    rules = paths._RULES
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "_RULES", tuple((4 * nodes, clustered) for nodes, clustered in rules))
        finer = of_contours(problem, ranks)
    np.testing.assert_allclose(found.raw, finer.raw, rtol=0, atol=1e-11 * problem.pretrained_risk)
    np.testing.assert_allclose(found.correction, finer.correction, rtol=0, atol=1e-9 * problem.pretrained_risk)


@pytest.mark.parametrize("name", ["n < dx", "n < dx, ill-conditioned", "n < dx, misaligned"])
def test_the_scaled_equation_is_that_of_small_ridges(name):
    """States at a ridge, scaled by diag(sqrt eta, 1), and the guess from the limit next to it."""
    problem, ridge = SMALL[name], 1e-4
    z = np.array([3.0 + 2.0j, 40.0 + 1.0j])
    plain = Solver(equation_of(problem, ridge))(z)
    scaled = Solver(PencilEquation(modes.pencil(problem, 1.0), ridge**0.5))(z)
    assert np.all(plain.solved & scaled.solved)
    # Without scaling the equation is nearly singular: digits are lost like 1 / ridge.
    factors = np.array([ridge, ridge**0.5, 1.0])[:, None]
    np.testing.assert_allclose(scaled.w * factors, plain.w, rtol=1e-8)
    limit = RidgelessEquation(modes.ridgeless(problem))
    guess = limit.linked(z, Solver(limit)(z).w, ridge**0.5)
    assert 0 < np.max(solver.relative_size(guess - scaled.w, scaled.w)) < 1e-2


def test_what_was_not_solved_is_a_failure(monkeypatch):
    """Nodes whose branch is not certified, cuts that are not found, and integrals that disagree with what is known."""
    problem = SMALL["n > dx"]
    monkeypatch.setattr("linreg_lora.theory.bands.sweep.sweep", lambda *_, **__: None)
    right = Solver.__call__

    def broken(self, z, *arguments):
        found = right(self, z, *arguments)
        return found._replace(proper=found.proper & (z.imag < 0.1 * z.real))

    with monkeypatch.context() as patch:
        patch.setattr(Solver, "__call__", broken)
        with pytest.raises(NumericalFailure, match="residual below 1e-09 on the branch of the resolvent"):
            lora_equivalent(problem, [1])
    with monkeypatch.context() as patch:
        patch.setattr(corrected, "moved_at", lambda *a: correction.moved(*a) + 0.1 * (np.arange(len(a[1])) > 0))
        with pytest.raises(NumericalFailure, match="numbers of directions that agree"):
            lora_equivalent(problem, [1])
    one = np.ones(2)
    cut = Points(one, np.array([3.0, 3.1]), np.ones((2, 4)), one[:, None] + 0j, one[:, None] + 0j, one > 0)
    failures = traced._failures(cut, np.array([3.0, 3.0]), 1e-6)
    assert set(failures) == {1}
    assert "expected a cut that keeps 3 directions" in failures[1]


def semicircles(*bulks):
    """Points of a spectrum made of semicircles (mass, low, high), as `find_cuts` wants them."""

    def above(x, mass, low, high):
        u = np.clip((2 * x - low - high) / (high - low), -1, 1)
        return mass * (0.5 - (u * np.sqrt(1 - u**2) + np.arcsin(u)) / np.pi)

    def density(x, mass, low, high):
        u = (2 * x - low - high) / (high - low)
        return mass * 4 / np.pi / (high - low) * np.sqrt(np.clip(1 - u**2, 0, None))

    def evaluate(x, known=None, patient=True):
        evaluated.append(len(x))
        count = sum(above(x, *bulk) for bulk in bulks)
        slope = x * sum(density(x, *bulk) for bulk in bulks)
        state = np.zeros((len(x), 3), dtype=complex)
        return Points(x, count, np.repeat(slope[:, None], 4, axis=1), state, state, np.ones(len(x), dtype=bool))

    evaluated = []
    return evaluate, evaluated


def test_every_rank_and_every_gap():
    evaluate, evaluated = semicircles((1, 90, 110), (1, 50, 60), (20, 2, 10))
    ranks = np.arange(1.0, 22.0)
    found = find_cuts(evaluate, ranks, 1e-10, 200.0, 100, 1e-6)
    assert np.max(np.abs(found.cut.count - ranks)) <= 1e-9
    assert (found.width > 0).tolist() == [True, True] + [False] * 19
    # Halfway in log x, as well as the ends are known (80 %).
    assert 0.8 * np.log(90 / 60) < found.width[0] <= np.log(90 / 60)
    for x, low, high in zip(found.cut.x, (60, 10), (90, 50), strict=False):
        assert abs(np.log(x) - np.log(low * high) / 2) < 0.2 * np.log(high / low)
    assert sum(evaluated) < 64 + 8 * len(ranks) + 20 * 64


@pytest.mark.parametrize("gap", [1e-2, 1e-4])
def test_narrow_gaps(gap):
    """A gap narrower than 0.1 % does not count."""
    evaluate, _ = semicircles((3, 10, 20), (4, 5, 10 / (1 + gap)))
    found = find_cuts(evaluate, np.array([2.0, 3.0, 5.0]), 1e-10, 50.0, 100, 1e-6)
    assert (found.width > 0).tolist() == [False, gap > 1e-3, False]


def test_an_answer_loads_nothing_slow():
    """In a fresh process: neither JAX nor what draws, stores or proves."""
    code = (
        "import sys, linreg_lora as ll\n"
        "p = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)\n"
        "ll.expected_risk(p), ll.best_rank(p), ll.ranks_that_beat_fft(p), ll.crossover(p, 1, 'n', 40, 80)\n"
        "ll.expected_risk(p.replace(n=12)), ll.expected_risk(p.replace(ridge=2.0))\n"
        "print(sorted({'jax', 'jaxlib', 'xarray', 'matplotlib', 'sympy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_search_that_creeps_is_halved():
    """Between the edge of a band, where the density starts like a square root, and rank 3 interpolation crept for 60
    steps. Both neighbours in n were found; the risk grows towards the threshold.
    """
    problem = Problem(n=35, dx=40, dy=30, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    before, here, after = (float(lora_equivalent(problem.replace(n=n), [3]).risk[0]) for n in (34, 35, 36))
    assert before < here < after


def test_points_without_a_solution_do_not_end_the_search_for_cuts():
    """Newton's method fails at points of the first grid here; risks of neighbours in n lie on one curve."""
    rng = np.random.default_rng(759961)
    rng.standard_normal((10, 9))
    shift = sum(rng.standard_normal((10, 1)) @ rng.standard_normal((1, 9)) for _ in range(3)) / 3 * 2
    rng.standard_normal((9, 9))
    noise = rng.standard_normal((10, 10))
    problem = Problem(
        n=30, dx=9, dy=10, task_shift=shift, noise_std=1.0, noise_covariance=noise @ noise.T / 10 + 0.2 * np.eye(10)
    )
    risks = [lora_equivalent(problem.replace(n=n), [4]).risk[0] for n in (29, 30, 31, 32)]
    assert np.all(np.abs(np.diff(risks, 3)) < 0.01 * risks[1])


def test_points_far_below_a_spectrum_are_reached_from_their_neighbours():
    """Fixed-point steps take hundreds there: with 72 of them 28 points of this grid were left."""
    problem = Problem(n=100, dx=100, dy=100, spectrum=(4.0, 3.0, 2.0, 1.5, 1.0), noise_std=1.0, ridge=20.0)
    solved = points.evaluate(Solver(equation_of(problem)), np.geomspace(1.6e4, 1.6e-9, 64), patient=False).solved
    assert np.all(solved)
