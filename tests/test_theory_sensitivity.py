"""Sensitivities against central differences of the same formula, exact derivatives, limits, and what is refused."""

import numpy as np
import pytest

import linreg_lora as ll
from linreg_lora import Problem
from linreg_lora.theory.continued import continued
from linreg_lora.theory.equivalent import partial_equivalent

_RNG = np.random.default_rng(20261129)
_BASIS = np.linalg.qr(_RNG.normal(size=(12, 12)))[0]
_STEEP = tuple(3.0 * 0.7 ** np.arange(9))
_VARIANCES = np.linspace(0.4, 2.0, 16)

#: Twenty-one problems: both regimes, at, next to and far from the threshold, any ridge, spectrum and covariance.
PROBLEMS = {
    "n > dx": Problem(n=40, dx=16, dy=10, spectrum=(3.0, 2.0, 1.0), noise_std=1.0),
    "n > dx, one output": Problem(n=40, dx=16, dy=2, spectrum=(3.0,), noise_std=0.5),
    "n > dx, ties": Problem(n=30, dx=12, dy=12, spectrum=(2.0, 2.0, 2.0, 1.0, 1.0), noise_std=1.0),
    "n > dx, full rank": Problem(n=40, dx=16, dy=9, spectrum=_STEEP, noise_std=0.4),
    "n > dx, no shift": Problem(n=40, dx=16, dy=10, spectrum=(), noise_std=1.0),
    "n > dx, near": Problem(n=20, dx=16, dy=10, spectrum=(3.0, 1.0), noise_std=1.0),
    "n > dx, diagonal": Problem(n=40, dx=16, dy=9, spectrum=_STEEP, noise_std=0.6, input_covariance=_VARIANCES),
    "n > dx, two noise levels": Problem(
        n=30, dx=16, dy=10, spectrum=(3.0, 1.0), noise_std=1.0, noise_covariance=np.repeat([0.5, 2.0], 5)
    ),
    "n > dx, null inputs": Problem(
        n=40, dx=16, dy=8, spectrum=(3.0, 1.0), noise_std=1.0, input_covariance=np.r_[_VARIANCES[4:], np.zeros(4)]
    ),
    "n > dx, matrices": Problem(
        n=30, dx=12, dy=5, task_shift=_RNG.normal(size=(5, 12)) / 2, noise_std=0.7, ridge=1.5,
        input_covariance=_BASIS @ np.diag(np.linspace(0.3, 2, 12)) @ _BASIS.T, noise_covariance=np.linspace(0.5, 2, 5),
    ),
    "n > dx, ridge": Problem(n=30, dx=16, dy=10, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, ridge=3.0),
    "n > dx, little ridge": Problem(n=30, dx=16, dy=10, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, ridge=1e-3),
    "n > dx, much ridge": Problem(n=30, dx=16, dy=10, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, ridge=100.0),
    "n > dx, ridge, diagonal": Problem(
        n=40, dx=16, dy=9, spectrum=_STEEP, noise_std=0.6, ridge=4.0, input_covariance=_VARIANCES[::-1].copy()
    ),
    "n = dx, ridge": Problem(n=16, dx=16, dy=10, spectrum=(3.0, 1.0), noise_std=1.0, ridge=1.0),
    "n < dx": Problem(n=14, dx=30, dy=10, spectrum=(4.0, 2.0), noise_std=0.8),
    "n < dx, loud": Problem(n=14, dx=24, dy=10, spectrum=(2.0, 1.0), noise_std=2.0),
    "n < dx, diagonal": Problem(
        n=12, dx=32, dy=9, spectrum=_STEEP, noise_std=0.6, input_covariance=np.linspace(0.4, 2.0, 32)
    ),
    "n < dx, ridge": Problem(n=14, dx=24, dy=10, spectrum=(4.0, 2.0), noise_std=1.0, ridge=2.0),
    "n < dx, near, ridge": Problem(n=22, dx=24, dy=10, spectrum=(4.0, 2.0), noise_std=1.0, ridge=3.0),
    "n < dx, ridge, diagonal": Problem(
        n=14, dx=16, dy=9, spectrum=_STEEP, noise_std=0.6, ridge=4.0, input_covariance=_VARIANCES
    ),
}  # fmt: skip
QUICK = (
    "n > dx, two noise levels",
    "n > dx, ties",
    "n > dx, null inputs",
    "n > dx, ridge",
    "n = dx, ridge",
    "n < dx",
    "n < dx, ridge, diagonal",
)
#: Of the derivative or, where that is more, of risk / parameter.
TOLERANCE = 1e-5


def moved(problem, name, by):
    """The problem, one parameter moved by a share of itself; of the spectrum the last value that is not 0."""
    if name != "spectrum":
        return continued(problem).replace(**{name: getattr(problem, name) * (1 + by)})
    place = last(problem)
    if problem.task_shift is None:
        return continued(problem).replace(spectrum=_times(np.array(problem.spectrum), place, 1 + by))
    left, values, right = np.linalg.svd(problem.task_shift, full_matrices=False)
    return continued(problem).replace(task_shift=(left * _times(values, place, 1 + by)) @ right)


def last(problem):
    return int(np.count_nonzero(problem.spectrum)) - 1


def _times(values, place, factor):
    return tuple(np.where(np.arange(len(values)) == place, factor, 1.0) * values)


def central(problem, ranks, name, share):
    """Risk, difference and FFT's risk per unit of the parameter, and its value."""

    def at(by):
        found = partial_equivalent(moved(problem, name, by), ranks, flags=False)
        return np.array([found.risk, found.difference, np.full(len(ranks), found.fft_risk)])

    value = problem.spectrum[last(problem)] if name == "spectrum" else getattr(problem, name)
    return (at(share) - at(-share)) / (2 * share * value), value


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.heavy) for n in PROBLEMS])
def test_equal_central_differences(name):
    """Of risks accurate to some 1e-10 a step of 1e-4 leaves 1e-6, and 1e-8 of the third derivative."""
    problem = PROBLEMS[name]
    most = problem.max_rank
    ranks = np.unique([0, 1, 2, most // 2, most - 1, most])
    found, curve = ll.sensitivity(problem, ranks), ll.expected_risk(problem, ranks, flags=False)
    assert not found.failures
    for parameter in ("noise_std", "n", "spectrum", "ridge"):
        if (parameter == "ridge" and problem.ridge == 0) or (parameter == "spectrum" and not problem.spectrum):
            continue
        slope, (expected, value) = getattr(found, parameter), central(problem, ranks, parameter, 1e-4)
        risk, difference, full = slope.risk, slope.difference, slope.fft_risk
        if parameter == "spectrum":
            risk, full, difference = (part[..., last(problem)] for part in slope)
        for ours, theirs, size in (
            (risk, expected[0], curve.risk),
            (difference, expected[1], np.maximum(curve.risk, curve.fft_risk)),
            (full, expected[2], curve.fft_risk),
        ):
            assert np.all(np.abs(ours - theirs) <= TOLERANCE * np.maximum(np.abs(theirs), size / value)), parameter


def test_exact_derivatives():
    """FFT without ridge, n > dx: v = sigma^2 dy dx / (n - dx - 1); and the risk at rank 0."""
    problem = Problem(n=40, dx=16, dy=10, spectrum=(3.0, 2.0, 1.0), noise_std=1.5)
    found, risk = ll.sensitivity(problem, [0, 10]), 1.5**2 * 160 / 23
    assert found.noise_std.risk == pytest.approx([0.0, 2 * risk / 1.5], rel=1e-8)
    assert found.n.risk == pytest.approx([0.0, -risk / 23], rel=1e-6)
    np.testing.assert_allclose(found.spectrum.risk, [[6.0, 4.0, 2.0], [0.0, 0.0, 0.0]], rtol=1e-8, atol=1e-8)
    # d/d eta of sigma^2 dy E Tr W (W + eta)^{-2} at 0 is -2 sigma^2 dy E Tr W^{-2}.
    squared = 16 * 39 / (24 * 23 * 21)
    assert found.ridge.fft_risk == pytest.approx(-2 * 1.5**2 * 10 * squared, rel=1e-6)
    assert found.ridge.difference[1] == 0.0


@pytest.mark.parametrize("sizes", [{"n": 40, "dx": 16}, {"n": 14, "dx": 30}])
def test_the_slope_at_no_ridge_is_the_limit_of_quotients(sizes):
    """Three ridges, whose quotients leave the third order: 1e-3 of what the smallest eigenvalue is, cubed."""
    problem = Problem(dy=10, spectrum=(4.0, 2.0), noise_std=1.0, **sizes)
    ranks, step = [1, 2, 5, 10], 3e-3
    slope = ll.sensitivity(problem, ranks, to=["ridge"]).ridge.risk
    none, *some = (ll.expected_risk(problem.replace(ridge=k * step), ranks, flags=False).risk for k in range(4))
    quotient = (18 * (some[0] - none) - 9 * (some[1] - none) + 2 * (some[2] - none)) / (6 * step)
    np.testing.assert_allclose(slope, quotient, rtol=1e-4)
    # Close to no ridge the slope has no jump, though 1 / ridge takes the digits of what it is made of.
    near = ll.sensitivity(problem.replace(ridge=6e-3), ranks, to=["ridge"]).ridge.risk
    above, below = (ll.expected_risk(problem.replace(ridge=at), ranks, flags=False).risk for at in (7e-3, 5e-3))
    np.testing.assert_allclose(near, (above - below) / 2e-3, rtol=1e-4)


def test_little_noise():
    """Where noise is next to nothing, risks from the planted rank on are proportional to sigma^2."""
    problem = Problem(n=40, dx=16, dy=10, spectrum=(3.0, 2.0, 1.0), noise_std=1e-5)
    found, curve = ll.sensitivity(problem, to=["noise_std"]), ll.expected_risk(problem, flags=False)
    np.testing.assert_allclose(found.noise_std.risk[3:], 2 * curve.risk[3:] / 1e-5, rtol=1e-3)
    silent = ll.sensitivity(problem.replace(noise_std=0.0), to=["noise_std", "spectrum"])
    assert not np.any([*silent.noise_std.risk, silent.noise_std.fft_risk])
    np.testing.assert_allclose(silent.spectrum.risk[:3], ll.sensitivity(problem).spectrum.risk[:3], atol=1e-8)


def test_units():
    """Outputs in units 10^4 smaller, inputs in units 10^3 larger: each derivative scales with its units."""
    problem = Problem(n=30, dx=16, dy=10, spectrum=(3.0, 1.0), noise_std=1.0, ridge=2.0)
    other = problem.replace(
        spectrum=(3e7, 1e7), noise_std=1e4, ridge=2e-6, input_covariance=np.full(16, 1e-6)
    )  # fmt: skip
    one, two = ll.sensitivity(problem, [1, 2, 5]), ll.sensitivity(other, [1, 2, 5])
    for name, units in (("noise_std", 1e4), ("spectrum", 1e1), ("n", 1e8), ("ridge", 1e14)):
        ours, theirs = getattr(two, name), getattr(one, name)
        np.testing.assert_allclose(ours.risk / units, theirs.risk, rtol=TOLERANCE, atol=TOLERANCE)


def test_what_does_not_exist_is_said():
    problem = Problem(n=18, dx=16, dy=10, spectrum=(3.0, 1.0), noise_std=1.0)
    found = ll.sensitivity(problem, [0, 1, 10], to=["ridge"])
    assert found.noise_std is None
    assert found.ridge.risk[0] == 0.0
    assert np.all(np.isnan([*found.ridge.risk[1:], found.ridge.fft_risk]))
    assert "no derivative in so small a ridge" in found.notes[0]
    assert "n = 18 and dx = 16" in found.notes[0]
    assert np.all(np.isfinite(ll.sensitivity(problem, [1, 5], to=["n"]).n.risk))
    for arguments, field in (
        ({"to": ["sigma"]}, "to"),
        ({"to": "n"}, "to"),
        ({"ranks": [11]}, "ranks"),
    ):
        with pytest.raises(ll.InvalidInput) as error:
            ll.sensitivity(problem, **arguments)
        assert error.value.field == field
    with pytest.raises(ll.InvalidInput, match="the mean is infinite"):
        ll.sensitivity(problem.replace(n=17))
    with pytest.raises(ll.InvalidInput, match="input_law"):
        ll.sensitivity(problem.replace(n=40, input_law="t:6"))
