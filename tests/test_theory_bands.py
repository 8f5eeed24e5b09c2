"""All ranks from one sweep over the bands of a spectrum, against contours between cuts, and by its own certificates."""

import numpy as np
import pytest

from linreg_lora import Problem
from linreg_lora.theory import fft
from linreg_lora.theory.bands import between, edges, integrals, nodes, spectrum, sweep
from linreg_lora.theory.bands.rational import Overdetermined, curve_of
from linreg_lora.theory.contours.corrected import equations_of, solver_of
from linreg_lora.theory.contours.functionals import assembled, with_planted
from linreg_lora.theory.contours.measured import from_traced
from linreg_lora.theory.contours.traced import trace
from linreg_lora.theory.functionals import functionals

FIVE = (4.0, 3.0, 2.0, 1.5, 1.0)
PROBLEMS = {
    "n > dx": Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=0.7),
    "n > dx, dx < dy": Problem(n=60, dx=20, dy=30, spectrum=(3.0, 2.0, 1.0), noise_std=1.0),
    "n > dx, a band that ends at zero": Problem(n=200, dx=50, dy=50, spectrum=FIVE, noise_std=1.0),
    "n > dx, next to the threshold": Problem(n=27, dx=25, dy=25, spectrum=(3.0, 2.0, 1.0), noise_std=1.0),
    "n > dx, weak directions": Problem(n=100, dx=50, dy=50, spectrum=(0.3, 0.2), noise_std=1.0),
    "n > dx, half the rank": Problem(n=200, dx=50, dy=40, spectrum=(3.0,) * 20, noise_std=1.0),
    "n > dx, no shift": Problem(n=100, dx=40, dy=40, spectrum=(0.0,), noise_std=1.0),
    "n > dx, Sigma": Problem(
        n=90, dx=30, dy=24, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, input_covariance=np.linspace(1, 3, 30)
    ),
    "n > dx, two inputs": Problem(n=90, dx=2, dy=9, spectrum=(3.0,), noise_std=1.0),
    "n < dx": Problem(n=25, dx=50, dy=50, spectrum=(6.0, 4.0, 1.0), noise_std=1.0),
    "n < dx, next to the threshold": Problem(n=22, dx=25, dy=25, spectrum=(3.0, 2.0, 1.0), noise_std=1.0),
    "n < dx, a band that ends at zero": Problem(n=20, dx=25, dy=20, spectrum=(3.0,), noise_std=1.0),
    "n < dx, Sigma and noise variances": Problem(
        n=12, dx=30, dy=16, spectrum=(5.0, 3.0), noise_std=1.0, input_covariance=np.repeat([0.5, 2.0], 15),
        noise_covariance=np.repeat([0.5, 2.0], 8),
    ),
}  # fmt: skip
NEARLY_TOUCHING = Problem(n=400, dx=100, dy=100, spectrum=tuple(np.linspace(4, 2, 10)), noise_std=1.0)


def curve(problem, equation):
    found = curve_of(equation, problem.dx, problem.noise_std**2 * (problem.isotropic_noise_scale or 0))
    assert found is not None
    return found


def bands_of(problem):
    found = spectrum.spectrum_of(problem, None, correction=True)
    assert found is not None
    return found


def ranks_of(problem, correction=True):
    ranks = np.arange(1, min(problem.n, problem.dx, problem.dy)).astype(float)
    return with_planted(problem, ranks) if correction else ranks


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_curve_solves_the_equation(name):
    """z(zeta) and the unknowns against Newton's method from infinity: both are known to rounding."""
    problem = PROBLEMS[name]
    solver = solver_of(problem, None)
    known = curve(problem, solver.equation)
    zeta = known.size * np.array([0.2 + 0.5j, 1 + 1j, 3 + 0.2j])
    at, (w, slope) = known(zeta), known.unknowns(zeta)
    physical = (np.imag(at.z) > 0) & solver.equation.proper(w)
    assert np.any(physical)
    states = solver(at.z[physical])
    assert np.all(states.solved)
    # w_01 does not move with z for n > dx.
    np.testing.assert_allclose(w[:, physical], states.w, rtol=1e-10)
    np.testing.assert_allclose(slope[:, physical], states.slope, rtol=1e-8, atol=1e-10 * np.max(np.abs(slope)))
    h = 1e-6 * zeta
    ahead, behind = known(zeta + h), known(zeta - h)
    np.testing.assert_allclose((ahead.z - behind.z) / (2 * h), at.first, rtol=1e-8)
    np.testing.assert_allclose((ahead.first - behind.first) / (2 * h), at.second, rtol=1e-7)


@pytest.mark.parametrize("correction", [True, False], ids=["corrected", "raw"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_rank_is_that_of_contours(name, correction):
    """Two ways of integrating: contours are certified to 1e-10 of a direction and more, sweeps by their series' tails.

    Below the threshold either takes the limit of no ridge from ridges of its own, 1e-8 of the pole apart.
    """
    problem = PROBLEMS[name]
    ranks = ranks_of(problem, correction)
    before = None if problem.dx != 24 else np.geomspace(1, 3, 24)
    with np.errstate(all="ignore"):
        swept = sweep.sweep(problem, ranks, correction=correction, pretraining=before)
        assert swept is not None
        traced = from_traced(trace(problem, ranks, correction=correction, pretraining=before))
    found, expected = assembled(problem, swept), assembled(problem, traced)
    scale = np.maximum(np.max(np.abs(expected.raw), axis=0), 1e-300)
    np.testing.assert_allclose(found.raw / scale, expected.raw / scale, rtol=0, atol=1e-10)
    scale = np.maximum(np.max(np.abs(expected.correction), axis=0), 1e-2 * scale)
    np.testing.assert_allclose(found.correction / scale, expected.correction / scale, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.moved, expected.moved, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.gap > 0, expected.gap > 0)
    # Contours know four fifths of a gap and more.
    np.testing.assert_allclose(found.gap, expected.gap, rtol=0.25)
    inside = found.gap == 0
    np.testing.assert_allclose(found.spread[inside], expected.spread[inside], rtol=1e-6)
    np.testing.assert_array_equal(found.sharpened, expected.sharpened)
    known = np.isfinite(expected.curvature)
    np.testing.assert_array_equal(np.isfinite(found.curvature), known)
    size = np.max(np.abs(expected.curvature[known]), initial=1e-300)
    np.testing.assert_allclose(found.curvature[known] / size, expected.curvature[known] / size, rtol=0, atol=1e-6)


def test_random_problems_are_swept_or_left():
    """Forty problems of any shape: what is swept agrees with contours, and most are."""
    rng, swept = np.random.default_rng(8), 0
    for _ in range(40):
        n, dx, dy = rng.integers(4, 40, 3).tolist()
        if abs(n - dx) < 2 or min(n, dx, dy) < 3:
            continue
        values = tuple(np.sort(rng.uniform(0.2, 4, rng.integers(1, min(dx, dy, 6))))[::-1])
        problem = Problem(n=n, dx=dx, dy=dy, spectrum=values, noise_std=float(rng.uniform(0.2, 2)))
        ranks = ranks_of(problem)
        with np.errstate(all="ignore"):
            found = sweep.sweep(problem, ranks, correction=True)
            if found is None:
                continue
            swept += 1
            expected = from_traced(trace(problem, ranks, correction=True))
        solved = ~np.isin(np.arange(len(ranks)), list(expected.failures))
        first, second = (assembled(problem, measured) for measured in (found, expected))
        size = np.max(np.abs(second.raw[solved]), axis=0)
        np.testing.assert_allclose(first.raw[solved] / size, second.raw[solved] / size, rtol=0, atol=1e-9)
        off = np.abs(first.correction - second.correction)[solved] / size
        # A pole in a gap lies above its middle or below, and contours know that middle up to a tenth.
        gaps = [atom.masses[4:] for gap in bands_of(problem).atoms for atom in gap]
        loose = np.sum(np.abs(gaps), axis=0) / size if gaps else 0
        allowed = 1e-6 + np.where(first.gap[solved, None] > 0, loose, 0)
        assert np.all(off <= allowed), (problem, off)
    assert swept >= 20


def test_all_bands_together_are_fft():
    """Exactly, poles in gaps included: without these the risk of FFT would be off by a thousandth."""
    problem = PROBLEMS["n > dx, two inputs"]
    swept = bands_of(problem)
    (atom,) = [atom for gap in swept.atoms for atom in gap]
    np.testing.assert_allclose(atom.masses[[0, 4]], 0, atol=1e-12)
    whole = swept.bands[-1].above + swept.bands[-1].whole
    risk = problem.pretrained_risk + whole[1] + whole[5] - 2 * (whole[2] + whole[6])
    assert risk == pytest.approx(fft.fft_risk(problem).risk, rel=1e-10)
    assert abs(atom.masses[5]) > 1e-3 * risk


def test_a_pole_is_where_and_as_large_as_contours_find_it():
    problem = PROBLEMS["n > dx, two inputs"]
    equations = equations_of(problem, None, correction=True)
    known = curve(problem, equations.solver.equation)
    assert isinstance(known, Overdetermined)
    (atom,) = [atom for gap in between.atoms(known, equations, edges.edges_of(known)) for atom in gap]
    turn = np.exp(2j * np.pi * (np.arange(64) + 0.5) / 64)
    z = atom.z * (1 + 0.01 * turn)
    upper = z.imag > 0
    states = equations.solver(z[upper])
    half = (equations.integrand(z[upper], states) * (z[upper] - atom.z)).real
    # What lies below the axis is conjugate.
    np.testing.assert_allclose(-np.sum(half, axis=1) * 2 / 64, atom.masses, atol=1e-10)


@pytest.mark.parametrize(
    "fault", ["a band is missing", "an edge is off", "a density is off", "a pole is missing", "a gap is missing"]
)
def test_what_is_wrong_is_not_certified(fault, monkeypatch):
    problem = PROBLEMS["n > dx, two inputs" if "pole" in fault else "n > dx"]
    good, true = edges.edges_of, integrals.band

    def wrong_edges(known):
        found = good(known)
        if fault == "a band is missing":
            return edges.Edges(*(part[:-1] for part in found))
        if fault == "a gap is missing":
            keep = [0, 2, 3]
            return edges.Edges(found.upper[keep], *(part[[1, 2, 3]] if place else part[keep] for place, part in enumerate((found.lower, found.top, found.bottom))))  # fmt: skip  # noqa: E501
        return found._replace(bottom=found.bottom * (1 + 1e-4))

    def wrong_band(scale, zeta, traces, above):
        found = true(scale, zeta, traces, above)
        found.density[3, 5] += 1e-3 * found.density[0, 5]
        found.density[0, 5] *= 1 + 1e-4
        return found._replace(whole=found.whole * np.where(np.arange(8) == 5, 1 + 1e-4, 1))

    if "band" in fault or "edge" in fault or "gap" in fault:
        monkeypatch.setattr(spectrum, "edges_of", wrong_edges)
    elif "pole" in fault:
        monkeypatch.setattr(spectrum, "atoms", lambda known, equations, found: [[] for _ in found.upper])
    else:
        monkeypatch.setattr(spectrum, "band", wrong_band)
    with np.errstate(all="ignore"):
        assert sweep.sweep(problem, ranks_of(problem), correction=True) is None


def test_bands_that_nearly_touch_are_left_to_contours():
    """Their series would need thousands of terms: that shows after a few."""
    ranks = np.array([1.0, 5.0, 11.0, 12.0])
    assert sweep.sweep(NEARLY_TOUCHING, ranks, correction=True) is None
    found = functionals(NEARLY_TOUCHING, ranks, correction=True)
    with np.errstate(all="ignore"):
        seen = with_planted(NEARLY_TOUCHING, ranks)
        expected = assembled(NEARLY_TOUCHING, from_traced(trace(NEARLY_TOUCHING, seen, correction=True))).first(4)
    np.testing.assert_array_equal(found.raw, expected.raw)


def test_series_reproduce_what_they_are_made_from():
    """A function analytic in exp(i theta), with a pole at one half, from 64 values: 2^-64 is nothing."""
    theta = nodes.midpoints(64)
    values = 1 / (2 - np.exp(1j * theta))
    found, at = nodes.series(values), np.linspace(0.01, 3.1, 50)
    np.testing.assert_allclose(found(at), 1 / (2 - np.exp(1j * at)), rtol=1e-13)
    assert found.tail < 1e-14
