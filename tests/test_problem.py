"""The problem: refusals in one line, regimes and moments by rule, values that nothing can change."""

import copy
import dataclasses
import json
import math
import pickle

import hypothesis
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments, Problem, Regime

BASE = {"n": 30, "dx": 4, "dy": 3, "spectrum": (2.0, 1.0), "noise_std": 0.5}
MATRIX = np.arange(12.0).reshape(3, 4) / 5 - 1


def rotation(size, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


def rotated(values, seed):
    basis = rotation(len(values), seed)
    return (basis * np.asarray(values)) @ basis.T


def problem(**changes):
    return Problem(**{**BASE, **changes})


def shifted(matrix=MATRIX, **changes):
    return problem(spectrum=None, task_shift=matrix, **changes)


def assert_refusal(error, field):
    message = str(error)
    assert error.field == field
    assert message.startswith(f"{field}: expected ")
    assert ", received " in message
    assert len(message.splitlines()) == 1
    assert len(message) < 400


# -- refusals ---------------------------------------------------------------------------------------------------

ASYMMETRIC = np.eye(4) + np.triu(np.full((4, 4), 0.1), 1)
INDEFINITE = np.diag([1.0, 1.0, 1.0, -0.1])
COMPLEX = np.array([2.0 + 1.0j, 1.0])

REFUSED = [
    *[({name: value}, name, "an integer >= 1")
      for name in ("n", "dx", "dy") for value in (0, -3, True, 30.0, 2.5, "30", None, [30], math.nan)],
    *[({name: value}, name, "an integer <= 10000000") for name in ("dx", "dy") for value in (10**7 + 1, 10**400)],
    ({"n": 2**53 + 1}, "n", "an integer <= 2^53"),
    *[({name: value}, name, "a finite number >= 0")
      for name in ("noise_std", "ridge") for value in (-1e-9, math.nan, math.inf, True, "1", None, 1j, [1.0])],
    ({"spectrum": (2.0, math.nan)}, "spectrum", "all finite"),
    ({"spectrum": (math.inf, 1.0)}, "spectrum", "all finite"),
    ({"spectrum": (2.0, -1.0)}, "spectrum", "drop the signs"),
    ({"spectrum": (1.0, 2.0)}, "spectrum", "sort it from large to small"),
    ({"spectrum": (1.0,) * 4}, "spectrum", "non-negative and non-increasing, received 4 values"),
    *[({"spectrum": value}, "spectrum", "at most min(dx, dy) = 3 singular values")
      for value in ("abc", 2.0, ((2.0, 1.0),), [[1.0], [1.0, 2.0]], {2.0}, (1j,), COMPLEX, (None,), object())],
    ({"spectrum": "power-law:1:10"}, "spectrum", "power-law:1:10; give numbers: ll.spectra.power_law(3, 1, 10) "),
    ({"spectrum": None}, "spectrum", "received nothing; give spectrum=(...) or task_shift=matrix"),
    *[({"spectrum": None, "task_shift": value}, "task_shift", "a dy x dx = 3 x 4 matrix")
      for value in (np.ones((4, 3)), np.ones(12), 1.0, "abc", MATRIX * np.nan, MATRIX * 1j, [[1.0], [1.0, 2.0]])],
    ({"spectrum": (2.0, 1.0), "task_shift": MATRIX}, "spectrum", "the singular values of task_shift"),
    *[({"pretrained": value}, "pretrained", "a dy x dx = 3 x 4 matrix")
      for value in (np.ones((4, 3)), np.ones(12), np.full((3, 4), np.inf), "abc")],
    ({"input_covariance": ASYMMETRIC}, "input_covariance", "asymmetry 0.1; use (C + C.T) / 2"),
    ({"input_covariance": INDEFINITE}, "input_covariance", "smallest eigenvalue -0.1"),
    ({"input_covariance": [1.0, 1.0, 1.0, -0.1]}, "input_covariance", "smallest eigenvalue -0.1"),
    ({"input_covariance": np.ones(3)}, "input_covariance", "4 variances or a 4 x 4 symmetric positive semidefinite"),
    ({"input_covariance": np.eye(3)}, "input_covariance", "received shape (3, 3)"),
    ({"input_covariance": 1.0}, "input_covariance", "received shape ()"),
    ({"input_covariance": np.zeros(4)}, "input_covariance", "not zero, received zero"),
    ({"input_covariance": np.zeros((4, 4))}, "input_covariance", "not zero, received zero"),
    ({"input_covariance": [1.0, 1.0, 1.0, np.nan]}, "input_covariance", "all finite"),
    ({"input_covariance": np.eye(4) * np.nan}, "input_covariance", "all finite"),
    ({"input_covariance": "abc"}, "input_covariance", "4 variances"),
    ({"noise_covariance": np.ones(4)}, "noise_covariance", "3 variances or a 3 x 3 symmetric positive semidefinite"),
    ({"noise_covariance": ASYMMETRIC[:3, :3]}, "noise_covariance", "use (C + C.T) / 2"),
    ({"noise_covariance": INDEFINITE[1:, 1:]}, "noise_covariance", "smallest eigenvalue -0.1"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "field", "fragment"), REFUSED)
def test_bad_input_is_refused_in_one_line(changes, field, fragment):
    with pytest.raises(InvalidInput) as caught:
        problem(**changes)
    assert_refusal(caught.value, field)
    assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"noise_std": 10**400}, "noise_std"),
        ({"ridge": 10**400}, "ridge"),
        ({"spectrum": (10**400,)}, "spectrum"),
        ({"n": -(10**5000)}, "n"),
    ],
    ids=["noise_std", "ridge", "spectrum", "n"],
)
def test_integers_beyond_the_float_range_are_refused(changes, field):
    with pytest.raises(InvalidInput) as caught:
        problem(**changes)
    assert_refusal(caught.value, field)


def describe(given):
    """Everything a description says without a dense matrix."""
    return (
        given.regime, given.moments, given.moments_note, given.tail_index, given.input_rank, given.max_rank,
        given.pretrained_risk, given.noise_trace, given.isotropic_scale, given.isotropic_noise_scale, given.fingerprint,
    )  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 10**400},
        {"noise_std": 1e200},
        {"spectrum": (1e200, 1.0)},
        {"spectrum": None, "task_shift": MATRIX * 1e200},
        {"input_covariance": [1e308] * 4},
        {"input_covariance": np.eye(4) * 1.5e308},
        {"noise_covariance": [1e308] * 3},
    ],
    ids=["n", "noise_std", "spectrum", "task_shift", "input variances", "input covariance", "noise variances"],
)
def test_numbers_whose_risk_overflows_are_refused_or_described(changes):
    try:
        given = problem(**changes)
    except InvalidInput as error:
        assert_refusal(error, next(name for name in reversed(changes)))
        return
    describe(given)
    assert math.isfinite(given.pretrained_risk)
    assert math.isfinite(given.noise_trace)


@pytest.mark.parametrize("tiny", [[1.0, 1.0, -1e-17, 1.0], np.diag([1.0, 1.0, -1e-17, 1.0])], ids=["vector", "matrix"])
def test_a_variance_that_is_negative_only_by_rounding_is_zero(tiny):
    given = shifted(input_covariance=tiny)
    assert given.input_rank == 3
    assert np.all(np.isfinite(given.sigma_sqrt))
    np.testing.assert_allclose(given.sigma_sqrt, np.diag([1.0, 1.0, 0.0, 1.0]), atol=1e-15)
    np.testing.assert_allclose(given.pretrained_risk, np.sum(MATRIX[:, [0, 1, 3]] ** 2), rtol=1e-13)


NUMBERS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(10**400), 10**400), st.floats(), st.complex_numbers()
)
ARRAYS = npst.arrays(
    st.sampled_from([np.float64, np.float32, np.int64, np.bool_, np.complex128, "M8[D]", "U3", object]),
    st.sampled_from([(), (0,), (1,), (2,), (3,), (2, 2), (2, 3), (3, 2), (3, 3), (1, 1, 1)]),
)
JUNK = st.one_of(
    NUMBERS,
    st.text(max_size=5),
    st.binary(max_size=3),
    st.builds(object),
    st.dictionaries(st.text(max_size=1), NUMBERS, max_size=2),
    st.lists(NUMBERS, max_size=4),
    st.lists(st.lists(st.floats(), max_size=3), max_size=3),
    st.lists(st.floats(min_value=0), max_size=3).map(lambda values: sorted(values, reverse=True)),
    ARRAYS,
)
SMALL = {"n": 6, "dx": 3, "dy": 2, "spectrum": (2.0, 1.0), "noise_std": 0.5}
FIELDS = [field.name for field in dataclasses.fields(Problem)]


@hypothesis.settings(
    deadline=None, derandomize=True, max_examples=600, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
@hypothesis.given(st.dictionaries(st.sampled_from(FIELDS), JUNK, min_size=1, max_size=2))
def test_any_value_of_any_field_makes_a_problem_or_one_line(changes):
    try:
        given = Problem(**{**SMALL, **changes})
    except InvalidInput as error:
        assert_refusal(error, *{error.field}.intersection(FIELDS))
        return
    describe(given)


# -- regimes and moments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 14))
def test_regime_and_moments_follow_the_distance_from_the_threshold(n):
    """Tail index (|n - dx| + 1)/2: no mean within 1 of the threshold, no variance within 3."""
    given = problem(n=n, dx=7)
    distance = n - 7
    assert given.distance_from_threshold == distance
    assert (
        given.regime is {1: Regime.OVERDETERMINED, 0: Regime.THRESHOLD, -1: Regime.UNDERDETERMINED}[np.sign(distance)]
    )
    assert given.tail_index == (abs(distance) + 1) / 2
    expected = Moments.NO_MEAN if abs(distance) <= 1 else Moments.NO_VARIANCE if abs(distance) <= 3 else Moments.FINITE
    assert given.moments is expected
    assert given.max_rank == min(n, 7, 3)


@pytest.mark.parametrize("n", range(5, 10))
@pytest.mark.parametrize("change", [{"ridge": 1e-6}, {"noise_std": 0.0}], ids=["ridge", "no noise"])
def test_all_moments_exist_with_ridge_or_without_noise(n, change):
    given = problem(n=n, dx=7, **change)
    assert given.tail_index == math.inf
    assert given.moments is Moments.FINITE
    assert given.moments_note == ""


def test_notes_name_the_numbers_that_decide():
    assert problem(n=8, dx=7).moments_note == (
        "the mean is infinite (|n - dx| > 1 is needed, here n = 8 and dx = 7); move n or set ridge > 0"
    )
    assert "(|n - dx| > 3 is needed, here n = 10 and dx = 7)" in problem(n=10, dx=7).moments_note
    singular = problem(n=6, dx=7, input_covariance=[1, 1, 0, 1, 1, 0, 1])
    assert "(|n - rank(Sigma)| > 1 is needed, here n = 6 and rank(Sigma) = 5)" in singular.moments_note


@pytest.mark.parametrize(
    "covariance",
    [np.array([2.0, 0, 1, 0.5, 0, 0.1, 3]), rotated([2.0, 1, 0.5, 0.1, 3, 0, 0], 1)],
    ids=["vector", "matrix"],
)
def test_directions_without_variance_move_the_threshold(covariance):
    moments = {
        5: Moments.NO_MEAN,
        6: Moments.NO_MEAN,
        7: Moments.NO_VARIANCE,
        8: Moments.NO_VARIANCE,
        9: Moments.FINITE,
    }
    for n, expected in moments.items():
        given = problem(n=n, dx=7, input_covariance=covariance)
        assert given.input_rank == 5
        assert given.distance_from_threshold == n - 5
        assert given.moments is expected
    assert problem(n=5, dx=7, input_covariance=covariance).regime is Regime.THRESHOLD
    assert problem(n=6, dx=7, dy=9, input_covariance=covariance).max_rank == 5


def test_isotropy_is_exact():
    assert problem().isotropic_scale == 1.0
    assert problem(input_covariance=np.full(4, 2.5)).isotropic_scale == 2.5
    assert problem(input_covariance=2.5 * np.eye(4)).isotropic_scale == 2.5
    assert problem(input_covariance=[2.5, 2.5, 2.5, 2.6]).isotropic_scale is None
    assert problem(input_covariance=[0.0, 2.5, 2.5, 2.5]).isotropic_scale is None
    assert problem(input_covariance=np.full((4, 4), 2.5)).isotropic_scale is None
    assert problem().isotropic_noise_scale == 1.0
    assert problem(noise_covariance=np.full(3, 2.0)).isotropic_noise_scale == 2.0
    assert problem(noise_covariance=[1.0, 2.0, 1.0]).isotropic_noise_scale is None
    assert problem(noise_covariance=[1.0, 2.0, 1.0], noise_std=0.0).isotropic_noise_scale == 1.0


# -- values -----------------------------------------------------------------------------------------------------

FULL = {
    "task_shift": MATRIX,
    "spectrum": None,
    "ridge": 0.25,
    "input_covariance": rotated([2.0, 1.0, 0.5, 0.0], 1),
    "noise_covariance": [1.0, 2.0, 3.0],
    "pretrained": np.ones((3, 4)) / 3,
}
PROBLEMS = {
    "spectrum": problem(),
    "no shift": problem(spectrum=()),
    "vectors": problem(input_covariance=[1.0, 2.0, 3.0, 0.0], noise_covariance=[1.0, 2.0, 3.0]),
    "everything": problem(**FULL),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_cannot_be_assigned(name):
    given = problem(**FULL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(given, name, 1)


@pytest.mark.parametrize("name", ["task_shift", "pretrained", "input_covariance", "noise_covariance"])
def test_arrays_cannot_be_written(name):
    given = problem(**FULL)
    for each in (given, pickle.loads(pickle.dumps(given)), copy.deepcopy(given), given.replace(n=31)):
        with pytest.raises(ValueError, match="read-only"):
            getattr(each, name)[0] = 7.0


@pytest.mark.parametrize("name", ["shift", "sigma", "sigma_eps", "sigma_sqrt", "sigma_eps_sqrt"])
def test_derived_matrices_cannot_be_written(name):
    """They are cached: a write would change every later answer of the same problem."""
    for given in PROBLEMS.values():
        with pytest.raises(ValueError, match="read-only"):
            getattr(given, name)[0] = 7.0


def test_the_callers_arrays_are_copied():
    shift, covariance = MATRIX.copy(), np.ones(4)
    given = shifted(shift, input_covariance=covariance)
    before = given.fingerprint
    shift[:], covariance[:] = 9.0, 9.0
    assert shifted(MATRIX, input_covariance=np.ones(4)).fingerprint == before
    np.testing.assert_array_equal(given.task_shift, MATRIX)


def test_equal_values_are_equal_problems():
    same = [
        problem(),
        problem(spectrum=[2, 1], ridge=0, n=np.int64(30)),
        problem(spectrum=np.array([2.0, 1.0]), noise_std=np.float32(0.5)),
        problem(ridge=-0.0),
    ]
    assert len(set(same)) == 1
    assert problem(spectrum=(2.0, 0.0)) == problem(spectrum=(2.0, -0.0))
    assert problem(input_covariance=[1, 2, 3, 0]) == problem(input_covariance=np.array([1.0, 2.0, 3.0, -0.0]))
    assert problem() != "a problem"


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 31}, {"dx": 5}, {"dy": 4}, {"spectrum": (2.0, 1.0 + 1e-15)}, {"noise_std": 0.25}, {"ridge": 1e-300},
        {"input_covariance": [1.0, 1.0, 1.0, 2.0]}, {"noise_covariance": [1.0, 1.0, 2.0]},
        {"pretrained": np.ones((3, 4))}, {"spectrum": None, "task_shift": MATRIX},
    ],
    ids=lambda changes: next(reversed(changes)),
)  # fmt: skip
def test_different_values_are_different_problems(changes):
    other = problem(**changes)
    assert other != problem()
    assert other.fingerprint != problem().fingerprint
    assert len({other, problem()}) == 2


@pytest.mark.parametrize("given", PROBLEMS.values(), ids=PROBLEMS)
def test_round_trips(given):
    copies = [
        pickle.loads(pickle.dumps(given)),
        copy.copy(given),
        copy.deepcopy(given),
        given.replace(),
        Problem(**given.to_dict()),
        Problem(**json.loads(json.dumps(given.to_dict(), allow_nan=False))),
    ]
    for each in copies:
        assert each == given
        assert hash(each) == hash(given)
        assert each.fingerprint == given.fingerprint
        assert each.to_dict() == given.to_dict()
        assert each.spectrum == given.spectrum


def test_pickles_hold_fields_only():
    """Derived matrices are computed again, not sent to every worker."""
    fresh, used = problem(**FULL), problem(**FULL)
    assert used.sigma_sqrt is used.sigma_sqrt
    assert len(pickle.dumps(used)) == len(pickle.dumps(fresh))


def test_replace_validates_anew():
    with pytest.raises(InvalidInput, match="ridge: expected a finite number >= 0, received -1"):
        problem().replace(ridge=-1)
    with pytest.raises(InvalidInput, match=r"task_shift: .*received shape \(3, 4\)"):
        problem(**FULL).replace(dx=5)
    assert problem().replace(n=5).n == 5
    assert problem().n == 30


def test_replace_exchanges_spectrum_and_task_shift():
    explicit = problem().replace(task_shift=MATRIX)
    np.testing.assert_array_equal(explicit.shift, MATRIX)
    np.testing.assert_allclose(explicit.spectrum, np.linalg.svd(MATRIX, compute_uv=False), rtol=1e-14)
    assert explicit == shifted()
    assert explicit.replace(spectrum=(2.0, 1.0)) == problem()
    assert explicit.replace(noise_std=0.5) == explicit
    assert explicit.replace(task_shift=2 * MATRIX) == shifted(2 * MATRIX)
    with pytest.raises(InvalidInput, match="spectrum: expected the singular values of task_shift"):
        explicit.replace(spectrum=(2.0, 1.0), task_shift=MATRIX)


def test_a_spectrum_may_accompany_the_matrix_it_belongs_to():
    values = np.linalg.svd(MATRIX, compute_uv=False)
    given = shifted().replace(task_shift=MATRIX, spectrum=tuple(values[:2]))
    assert values[2] < 1e-8
    assert given == shifted()


# -- derived quantities -----------------------------------------------------------------------------------------

COVARIANCES = {
    "identity": None,
    "vector": [0.5, 2.0, 3.0, 0.0],
    "matrix": rotated([0.5, 2.0, 3.0, 1.0], 2),
    "diagonal matrix": np.diag([0.5, 2.0, 3.0, 0.0]),
    "singular matrix": rotated([0.5, 2.0, 0.0, 0.0], 3),
}


@pytest.mark.parametrize("covariance", COVARIANCES.values(), ids=COVARIANCES)
@pytest.mark.parametrize("dy", [3, 6])
@pytest.mark.parametrize("explicit", [False, True])
def test_pretrained_risk_is_the_dense_trace(covariance, dy, explicit):
    """||Delta Sigma^{1/2}||^2 = Tr(Delta Sigma Delta^T), by another route than the square root."""
    spectrum = (2.0, 1.5, 0.5)
    delta = np.random.default_rng(0).standard_normal((dy, 4)) if explicit else np.zeros((dy, 4))
    if not explicit:
        delta[range(3), range(3)] = spectrum
    shape = {"spectrum": None, "task_shift": delta} if explicit else {"spectrum": spectrum}
    given = problem(dy=dy, input_covariance=covariance, **shape)
    sigma = np.eye(4) if covariance is None else np.asarray(covariance)
    sigma = np.diag(sigma) if sigma.ndim == 1 else sigma
    np.testing.assert_array_equal(given.shift, delta)
    np.testing.assert_allclose(given.sigma, sigma, rtol=0, atol=1e-15)
    np.testing.assert_allclose(given.sigma_sqrt @ given.sigma_sqrt, sigma, rtol=0, atol=1e-14)
    np.testing.assert_allclose(given.pretrained_risk, np.trace(delta @ sigma @ delta.T), rtol=1e-13)


@pytest.mark.parametrize(
    ("covariance", "trace"),
    [(None, 3.0), ([1.0, 2.0, 0.0], 3.0), (rotated([1.0, 2.0, 4.0], 4), 7.0)],
    ids=["identity", "vector", "matrix"],
)
def test_noise_trace_scales_the_shape_by_the_noise_variance(covariance, trace):
    given = problem(noise_std=0.5, noise_covariance=covariance)
    np.testing.assert_allclose(given.noise_trace, 0.25 * trace, rtol=1e-14)
    np.testing.assert_allclose(np.trace(given.sigma_eps), 0.25 * trace, rtol=1e-14)
    np.testing.assert_allclose(given.sigma_eps_sqrt @ given.sigma_eps_sqrt, given.sigma_eps, rtol=0, atol=1e-14)


LARGE = 10**6


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dy": LARGE},
        {"input_covariance": np.full(LARGE, 2.0)},
        {"input_covariance": np.linspace(1.0, 2.0, LARGE)},
        {"spectrum": None, "task_shift": np.ones((1, LARGE)), "dy": 1},
        {"spectrum": None, "task_shift": np.ones((1, LARGE)), "dy": 1, "input_covariance": np.full(LARGE, 2.0)},
    ],
    ids=["dx", "dx and dy", "scale", "variances", "one row", "one row, scale"],
)
def test_large_problems_build_no_dense_matrix(changes, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a dense matrix was built")

    for name in ("shift", "sigma", "sigma_sqrt", "sigma_eps", "sigma_eps_sqrt"):
        if name != "shift" or "task_shift" not in changes:
            monkeypatch.setattr(Problem, name, property(refuse))
    given = problem(dx=LARGE, **changes)
    scale = 1.0 if given.input_covariance is None else given.input_covariance[:2]
    expected = LARGE * np.max(scale) if "task_shift" in changes else np.sum(np.array([4.0, 1.0]) * scale)
    np.testing.assert_allclose(given.pretrained_risk, expected, rtol=1e-12)
    assert given.input_rank == LARGE
    assert given.regime is Regime.UNDERDETERMINED
    assert given.moments is Moments.FINITE
    assert given.noise_trace == 0.25 * given.dy


# -- units of the inputs ------------------------------------------------------------------------------------------

MIXED_UNITS = [1e-18, 1.0, 0.0, 2.0]


@pytest.mark.parametrize("covariance", [MIXED_UNITS, np.diag(MIXED_UNITS)], ids=["vector", "diagonal matrix"])
def test_every_positive_variance_of_a_diagonal_covariance_counts(covariance):
    given = problem(spectrum=(1e9, 1.0), input_covariance=covariance)
    assert given.input_rank == 3
    assert given.smallest_variance == 1e-18
    reduced = given.without_null_inputs()
    np.testing.assert_array_equal(reduced.input_covariance, [1e-18, 1.0, 2.0])
    assert reduced.without_null_inputs() is reduced
    assert reduced.smallest_variance == given.smallest_variance
    assert reduced.spectrum == given.spectrum
    assert given.pretrained_risk == reduced.pretrained_risk == 1e9**2 * 1e-18 + 1.0


@pytest.mark.parametrize(("covariance", "keeps"), [([1, 2, 3, 0], True), ([1, 2, 0, 3], True), ([0, 1, 2, 3], False)])
def test_without_null_inputs_every_singular_value_acts_on_its_input(covariance, keeps):
    given = problem(input_covariance=covariance, ridge=0.5, pretrained=MATRIX)
    kept = np.flatnonzero(covariance)
    reduced = given.without_null_inputs()
    assert (reduced.task_shift is None) == keeps
    for name in ("shift", "pretrained"):
        np.testing.assert_array_equal(getattr(reduced, name), getattr(given, name)[:, kept])
    np.testing.assert_array_equal(reduced.sigma, given.sigma[np.ix_(kept, kept)])
    assert (reduced.n, reduced.dy, reduced.ridge) == (given.n, given.dy, given.ridge)


@pytest.mark.parametrize("covariance", [*COVARIANCES.values(), rotated([1e-18, 1.0, 1.0, 1.0], 5)])
def test_a_problem_and_its_reduction_have_one_pretrained_risk(covariance):
    given = shifted(input_covariance=covariance)
    assert given.pretrained_risk == given.without_null_inputs().pretrained_risk


def test_a_long_vector_with_zeros_is_reduced_without_a_dense_matrix():
    covariance = np.ones(LARGE)
    covariance[-2:] = 0.0, 1e-20
    reduced = problem(dx=LARGE, input_covariance=covariance).without_null_inputs()
    assert reduced.dx == LARGE - 1
    assert reduced.smallest_variance == 1e-20


@pytest.mark.parametrize("tiny", [5e-324, 1e-301])
def test_a_variance_whose_inverse_overflows_is_refused(tiny):
    for covariance in ([1.0, tiny, 1.0, 1.0], np.diag([1.0, tiny, 1.0, 1.0])):
        with pytest.raises(InvalidInput) as caught:
            problem(input_covariance=covariance)
        assert_refusal(caught.value, "input_covariance")
        assert "variances that are 0 or at least 1e-300" in str(caught.value)
