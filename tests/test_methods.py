"""Methods as objects: what they fit, what they train, how they are named, and that others can add their own."""

import dataclasses
import pickle

import jax
import numpy as np
import pytest
from comparisons import critical_z
from refusals import refused
from users_methods import FirstInputs, OneScale

import linreg_lora as ll
from linreg_lora.errors import InvalidInput
from linreg_lora.methods import BitFit, FrozenA, FrozenB, FullFineTuning, LoRA, registry
from linreg_lora.methods.expected import expected_risks, require_problem
from linreg_lora.problem import Moments
from linreg_lora.simulation.methods import fitted_risks, simulated_risks
from linreg_lora.theory import curve as theory_curve

RNG = np.random.default_rng(11)
DX, DY = 7, 5
A0 = RNG.standard_normal((DY, DX))
NAMES = ("fft", "lora:2", "frozen-a:3", "frozen-b:2", "bitfit", "ia3")


def covariance(size, rank=None):
    root = RNG.standard_normal((size, rank or 2 * size)) / np.sqrt(rank or 2 * size)
    return root @ root.T


BASE = ll.Problem(
    n=16, dx=DX, dy=DY, task_shift=RNG.standard_normal((DY, DX)), noise_std=0.7, pretrained=A0,
    input_covariance=covariance(DX), noise_covariance=covariance(DY),
)  # fmt: skip


# -- fits against plain least squares -----------------------------------------------------------------------------


def solved(features, target, ridge):
    """The smallest minimiser of ||target - W features||^2 + ridge ||W||^2."""
    k = len(features)
    rows = np.vstack([features.T, np.sqrt(ridge) * np.eye(k)])
    return np.linalg.lstsq(rows, np.vstack([target.T, np.zeros((k, len(target)))]), rcond=None)[0].T


def oracle(method, x, y, ridge):
    """D and b by NumPy's least squares on the residual."""
    residual, none = y - A0 @ x, np.zeros(DY)
    full = solved(x, residual, ridge)
    if isinstance(method, FullFineTuning):
        return full, none
    if isinstance(method, LoRA):
        gram = full @ (x @ x.T + ridge * np.eye(DX)) @ full.T
        top = np.linalg.eigh(gram)[1][:, -method.rank :]
        return top @ top.T @ full, none
    if isinstance(method, FrozenA):
        a = method.input_factor(DX)
        return solved(a @ x, residual, ridge) @ a, none
    if isinstance(method, FrozenB):
        b = method.output_factor(DY)
        return b @ solved(x, b.T @ residual, ridge), none
    if isinstance(method, BitFit):
        return np.zeros((DY, DX)), residual.mean(axis=1)
    scales = [np.linalg.lstsq((a @ x)[:, None], r, rcond=None)[0][0] for a, r in zip(A0, residual, strict=True)]
    return np.diag(scales) @ A0, none


@pytest.mark.parametrize("ridge", [0.0, 0.6])
@pytest.mark.parametrize("n", [1, 4, 12])
@pytest.mark.parametrize("name", NAMES)
def test_fits_are_least_squares(name, n, ridge):
    """As users call it for n = 4, compiled for the others."""
    method = ll.methods.named(name)
    if ridge and name == "ia3":
        with pytest.raises(InvalidInput, match="ridge: expected 0 for ia3"):
            method.fit(np.ones((DX, n)), np.ones((DY, n)), A0, ridge)
        return
    if name == "lora:2" and n < 2:
        return
    x, y = RNG.standard_normal((3, DX, n)), RNG.standard_normal((3, DY, n))
    fit = method.fit if n == 4 else jax.jit(method.fit)
    update = fit(x, y, A0, ridge or None)
    assert update.map.shape == (3, DY, DX)
    assert update.offset.shape == (3, DY)
    for i in range(3):
        map_, offset = oracle(method, x[i], y[i], ridge)
        np.testing.assert_allclose(update.map[i], map_, rtol=0, atol=1e-10 * (1 + np.linalg.norm(map_)))
        np.testing.assert_allclose(update.offset[i], offset, rtol=0, atol=1e-12)


@pytest.mark.heavy
def test_fits_run_compiled_and_one_at_a_time():
    x, y = RNG.standard_normal((3, DX, 9)), RNG.standard_normal((3, DY, 9))
    for name in NAMES:
        method = ll.methods.named(name)
        together = method.fit(x, y, A0)
        single = jax.jit(jax.vmap(lambda a, b, method=method: method.fit(a, b, A0)))(x, y)
        np.testing.assert_allclose(single.map, together.map, atol=1e-9)
        np.testing.assert_allclose(single.offset, together.offset, atol=1e-12)


def test_parameters_are_what_is_trained():
    """The sizes of the trained factors, counted by hand for dx = 7, dy = 5."""
    counts = {name: ll.methods.named(name).parameters(BASE) for name in NAMES}
    assert counts == {"fft": 35, "lora:2": 24, "frozen-a:3": 15, "frozen-b:2": 14, "bitfit": 5, "ia3": 5}


def test_frozen_factors_are_orthonormal_nested_and_independent():
    a, b = FrozenA(4).input_factor(9), FrozenB(4).output_factor(9)
    np.testing.assert_allclose(a @ a.T, np.eye(4), atol=1e-14)
    np.testing.assert_allclose(b.T @ b, np.eye(4), atol=1e-14)
    np.testing.assert_allclose(FrozenA(2).input_factor(9), a[:2], atol=1e-14)
    assert np.linalg.norm(a @ b, 2) < 0.999
    assert np.array_equal(a, FrozenA(4).input_factor(9))


# -- theory against simulation ------------------------------------------------------------------------------------

SINGULAR = BASE.replace(input_covariance=covariance(DX, rank=4), n=12)
PROBLEMS = {
    "overdetermined": BASE,
    "isotropic, fewer samples": ll.Problem(n=5, dx=12, dy=4, spectrum=(2.0, 1.0), noise_std=0.5),
    "ridge": BASE.replace(ridge=3.0, n=40),
    "singular": SINGULAR,
    "one output": ll.Problem(n=9, dx=4, dy=1, spectrum=(1.5,), noise_std=0.5, pretrained=[[1.0, 2.0, 0.0, -1.0]]),
}
FITTED = {
    "overdetermined": ["bitfit", "ia3", "frozen-a:3", "frozen-b:2", FirstInputs(3)],
    "isotropic, fewer samples": ["frozen-a:10", "frozen-b:2"],
    "ridge": ["bitfit", "frozen-a:3", FirstInputs(3)],
    "singular": ["frozen-a:6", "frozen-b:2", "ia3"],
    "one output": ["bitfit", "ia3", "frozen-a:3"],
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_theory_is_the_mean_of_fits(name):
    """False alarms: 1e-6 over all comparisons, where the expected risk is exact; 2 % where it is an equivalent."""
    problem = PROBLEMS[name]
    bound = critical_z(sum(map(len, FITTED.values())))
    for method in FITTED[name]:
        theory = ll.expected_risk(problem, method=method)
        drawn = ll.monte_carlo(problem, trials=1500, seed=5, method=method)
        assert theory.parameters == drawn.parameters
        assert (theory.stderr, drawn.computed_by, drawn.formula) == (
            None,
            "monte-carlo",
            "mean over fits to explicit data",
        )
        slack = 0.02 * theory.risk if "equivalent" in theory.formula else 0.0
        assert abs(theory.risk - drawn.risk) <= bound * drawn.stderr + slack, (theory, drawn)


def test_a_wrong_theory_would_be_seen():
    """The same draws reject frozen A without the misspecification in its noise."""
    method = FrozenA(3)
    drawn = ll.monte_carlo(BASE, trials=1500, seed=5, method=method)
    reduced = method.reduce(BASE)
    wrong = reduced.constant + BASE.noise_trace * 3 / (BASE.n - 3 - 1)
    assert abs(wrong - drawn.risk) > 2 * critical_z(16) * drawn.stderr


def test_lora_and_fft_are_those_of_the_curve():
    problem = ll.Problem(n=16, dx=DX, dy=DY, spectrum=(2.0, 1.0), noise_std=0.7)
    theory, drawn = ll.expected_risk(problem, ranks=[2]), ll.monte_carlo(problem, trials=50, seed=3, ranks=[2])
    one = ll.expected_risk(problem, method="lora:2")
    assert (one.risk, one.flagged) == (theory.at_rank(2).risk, theory.at_rank(2).flagged)
    assert ll.expected_risk(problem, method="fft").risk == theory.fft_risk
    one = ll.monte_carlo(problem, trials=50, seed=3, method=LoRA(2))
    assert (one.risk, one.stderr) == (drawn.at_rank(2).risk, drawn.at_rank(2).stderr)
    one = ll.monte_carlo(problem, trials=50, seed=3, method="fft")
    assert (one.risk, one.stderr) == (drawn.fft_risk, drawn.fft_stderr)


def test_a_draw_depends_on_its_number_alone():
    risks = fitted_risks(BASE, FrozenA(3), trials=80, seed=4)
    assert np.array_equal(fitted_risks(BASE, FrozenA(3), trials=30, seed=4), risks[:30])
    assert ll.monte_carlo(BASE, trials=80, seed=4, method="frozen-a:3", batch_size=1).risk == pytest.approx(
        np.mean(risks), rel=1e-14
    )


def test_where_no_mean_or_variance_exists_it_says_so():
    for n, method, moments in [
        (4, "frozen-a:3", Moments.NO_MEAN),
        (2, "ia3", Moments.NO_MEAN),
        (8, "frozen-b:2", Moments.NO_MEAN),
        (5, "frozen-a:3", Moments.NO_VARIANCE),
        (4, "ia3", Moments.NO_VARIANCE),
    ]:
        problem = BASE.replace(n=n)
        drawn, theory = (
            ll.monte_carlo(problem, trials=8, seed=0, method=method),
            ll.expected_risk(problem, method=method),
        )
        assert drawn.moments is theory.moments is moments
        assert drawn.notes
        assert np.isnan(drawn.stderr)
        assert np.isinf(drawn.risk) == np.isinf(theory.risk) == (moments is Moments.NO_MEAN)
    one = ll.monte_carlo(BASE.replace(n=1), trials=64, seed=0, method="bitfit")
    assert abs(one.risk - ll.theory.bitfit_risk(BASE.replace(n=1)).risk) < critical_z(1) * one.stderr


# -- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, "lora:0", "first-inputs:3"])
def test_names_come_back(name):
    method = ll.methods.named(name)
    assert method.name == str(method) == name
    spelled = ll.methods.named(f" {name.replace('-', '_').upper()} ")
    assert spelled == method
    assert pickle.loads(pickle.dumps(method)) == method
    assert hash(spelled) == hash(method)


@dataclasses.dataclass(frozen=True)
class Wrong(ll.Method):
    """A method whose risk, or size, is less than nothing."""

    risk: float
    count: int
    name = "wrong"

    def parameters(self, problem):
        return self.count

    def fit(self, inputs, outputs, pretrained=None, ridge=None):
        raise NotImplementedError

    def expected_risk(self, problem):
        return ll.MethodRisk(
            problem=problem, method=self.name, parameters=self.count, computed_by="theory", risk=self.risk
        )


@pytest.mark.parametrize("wrong", [Wrong(-0.5, 3), Wrong(0.5, -3)])
def test_a_risk_or_a_size_below_nothing_is_refused(wrong):
    with refused("wrong", "a risk and a number of parameters that are not negative"):
        ll.expected_risk(BASE, method=wrong)
    (compared,) = ll.compare(BASE, [wrong], computed_by=["theory"])
    assert np.isnan(compared.theory.risk)
    assert "a risk and a number of parameters that are not negative" in compared.theory.notes[0]


def test_what_is_no_problem_is_refused():
    with refused("problem", "a Problem", "NoneType"):
        require_problem(None)


def test_given_factors_are_told_apart():
    one, other = FrozenA(factor=np.eye(2, DX)), FrozenA(factor=np.eye(DX)[1:3])
    assert one != other
    assert one.name != other.name
    assert one == FrozenA(factor=np.eye(2, DX)) == pickle.loads(pickle.dumps(one))
    assert not pickle.loads(pickle.dumps(one)).factor.flags.writeable
    assert ll.expected_risk(BASE, method=FrozenB(factor=np.eye(DY))).risk == pytest.approx(
        ll.expected_risk(BASE, method="fft").risk
    )
    assert ll.expected_risk(BASE, method=one).risk == ll.theory.frozen_a_risk(BASE, np.eye(2, DX)).risk


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("lroa:4", "method: expected one of adapter:rank, .*received lroa:4; did you mean lora:rank"),
        ("lora", "method: expected lora:rank, the settings being numbers, received lora$"),
        ("lora:two", "expected lora:rank, the settings"),
        ("lora:-1", "method: expected rank: an integer >= 0, received lora:-1"),
        ("lora:1.5", "method: expected rank: an integer >= 0"),
        ("bitfit:1", "method: expected bitfit alone, received bitfit:1"),
        ("frozen-a", "method: expected frozen-a:rank"),
        ("frozen-a:0", "rank: an integer >= 1"),
        ("frozen-a:8", "rank: expected an integer in 1..7 for frozen-a, received 8"),
        ("lora:6", "rank: expected an integer in 0..5 .*received 6"),
        (FrozenA(factor=np.ones((2, DX))), "input_factor: expected .*orthonormal rows"),
        (FrozenA(factor=np.eye(3)), "input_factor: expected"),
        (LoRA, r"a Method or its name.*call it: LoRA\(...\)"),
        (7, "method: expected a Method or its name, as in lora:4, received 7"),
        (OneScale(), "method: expected one whose expected risk theory knows, received one-scale; simulate it"),
    ],
)
def test_refusals_name_field_expected_and_received(method, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        ll.expected_risk(BASE, method=method)
    assert "\n" not in str(caught.value)


def test_a_name_is_registered_once(monkeypatch):
    ll.methods.names()
    monkeypatch.setattr(registry, "_makes", dict(registry._makes))
    with pytest.raises(
        InvalidInput, match=r"LoRA being linreg_lora.methods.lora:\d+, received LoRA again at test_methods:\d+"
    ):

        @ll.methods.register_method("LoRA")
        def other(rank):
            return LoRA(rank)

    for name in ("", "two words", "a:b", 3):
        with pytest.raises(InvalidInput, match="register_method: expected a name"):
            ll.methods.register_method(name)(lambda: LoRA(1))
    ll.methods.register_method("odd")(lambda: 3)
    with pytest.raises(InvalidInput, match="a Method from test_methods"):
        ll.methods.named("odd")


def test_ranks_and_methods_are_not_mixed():
    with pytest.raises(InvalidInput, match="method: expected no ranks"):
        ll.expected_risk(BASE, [1], method="lora:1")
    with pytest.raises(InvalidInput, match="method: expected no ranks or sampler"):
        ll.monte_carlo(BASE, trials=4, seed=0, ranks=[1], method="lora:1")
    with pytest.raises(InvalidInput, match="trials: expected at least 2"):
        ll.monte_carlo(BASE, trials=1, seed=0, method="bitfit")


# -- users' methods -----------------------------------------------------------------------------------------------


def test_a_users_method_without_theory_is_simulated():
    drawn = ll.monte_carlo(BASE, trials=64, seed=2, method=OneScale())
    assert drawn.stderr > 0
    assert drawn.risk < 2 * BASE.pretrained_risk


class Broken(OneScale):
    name = "broken"

    def __init__(self, returned):
        self.returned = returned

    def fit(self, inputs, outputs, pretrained=None, ridge=None):
        return self.returned(pretrained)

    __hash__ = object.__hash__
    __setattr__ = object.__setattr__


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda a0: a0, r"broken.fit: expected an Update\(map, offset\) of shapes \(5, 7\) and \(5,\), received"),
        (lambda a0: ll.methods.Update.linear(a0.T), r"received shapes \(7, 5\) and \(7,\)"),
        (lambda a0: ll.methods.Update.linear(a0 * np.nan), "risk of broken: expected finite values"),
    ],
)
def test_a_fit_that_returns_something_else_is_refused(returned, message):
    with pytest.raises(ll.LinregLoraError, match=message):
        ll.monte_carlo(BASE, trials=4, seed=2, method=Broken(returned))


def test_all_ranks_share_one_curve(monkeypatch):
    asked = []
    true = theory_curve.expected_risk
    monkeypatch.setattr(theory_curve, "expected_risk", lambda *args, **kw: asked.append(args[1]) or true(*args, **kw))
    methods = registry.each(["lora:1", "fft", "lora:3", "lora:99", "bitfit", "lora:2"])
    found = expected_risks(BASE, methods)
    assert asked == [[1, 2, 3]]
    assert found[0].risk == pytest.approx(true(BASE, [1]).risk[0], rel=1e-9)
    assert np.isnan(found[3].risk)
    drawn = simulated_risks(BASE, methods, trials=20, seed=1)
    curve = ll.monte_carlo(BASE, trials=20, seed=1, ranks=[1, 2, 3])
    assert [drawn[i].risk for i in (0, 5, 2)] == curve.risk.tolist()
    assert drawn[1].risk == curve.fft_risk


def test_what_is_in_doubt_is_said_of_each_method_alone():
    problem = ll.Problem(n=40, dx=24, dy=20, spectrum=(6.0, 5.0, 4.0), noise_std=1.0)
    flagged, trusted, full = expected_risks(problem, registry.each(["lora:2", "lora:3", "fft"]))
    assert (flagged.flagged, trusted.flagged, full.flagged) == (True, False, False)
    assert flagged.notes == (ll.expected_risk(problem, method="lora:2").notes[0],)
    assert flagged.notes[0].endswith(": rank 2")
    assert trusted.notes == full.notes == ()
    problem = problem.replace(n=26, ridge=0.5, input_covariance=1 + 0.01 * np.arange(24))
    near = ll.expected_risk(problem, method="fft")
    assert near.flagged
    assert near.notes[0].startswith("FFT's risk may be off by more than 1 %")
    reduced = ll.expected_risk(problem, method="frozen-a:23")
    assert reduced.flagged
    assert reduced.notes[0].startswith("of the problem that frozen-a:23 reduces to: FFT's risk may be off")
