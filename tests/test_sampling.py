"""Every sufficient-statistic sampler against explicit data, in law."""

import numpy as np
import pytest
import scipy.stats
from comparisons import LEVEL, critical_z

from linreg_lora import draw_risks
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.sampling import plan as sampling_plan
from linreg_lora.sampling.plan import plan

TRIALS = 4096


def rotation(size, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


def rotated(values, seed):
    basis = rotation(len(values), seed)
    return (basis * values) @ basis.T


GENERAL_SHIFT = rotation(6, 1)[:, :3] * np.array([2.0, 1.5, 0.5]) @ rotation(9, 2)[:3]
SINGULAR = rotated(np.r_[np.linspace(0.5, 2, 7), 0.0, 0.0], 3)

PROBLEMS = {
    "n >= dx, dx < dy": Problem(n=30, dx=6, dy=9, spectrum=(2.0, 1.0), noise_std=0.7),
    "n >= dx, dx > dy": Problem(n=30, dx=9, dy=6, spectrum=(2.0, 1.0), noise_std=0.7),
    "n = dx + 5": Problem(n=14, dx=9, dy=6, spectrum=(2.0, 1.0), noise_std=0.7),
    "n = dx - 5": Problem(n=9, dx=14, dy=6, spectrum=(2.0, 1.0), noise_std=0.7),
    "n = dx - 5, rank(Delta) > 5": Problem(n=9, dx=14, dy=10, spectrum=(2.0,) * 8, noise_std=0.7),
    "n < dx, dx < dy": Problem(n=6, dx=12, dy=15, spectrum=(2.0, 1.0), noise_std=0.7),
    "n >= dx, general covariances": Problem(
        n=30, dx=9, dy=6, task_shift=GENERAL_SHIFT, noise_std=0.7,
        input_covariance=rotated(np.geomspace(0.2, 5, 9), 4), noise_covariance=rotated(np.geomspace(0.3, 3, 6), 5),
    ),
    "n >= dx, ridge, general inputs": Problem(
        n=12, dx=9, dy=6, task_shift=GENERAL_SHIFT, noise_std=0.7, ridge=3.0,
        input_covariance=rotated(np.geomspace(0.2, 5, 9), 4),
    ),
    "n >= dx, ridge, scaled inputs": Problem(
        n=12, dx=6, dy=6, spectrum=(2.0, 1.0), noise_std=1.0, ridge=8.0, input_covariance=np.full(6, 4.0),
    ),
    "n < dx, ridge, general noise": Problem(
        n=6, dx=9, dy=6, task_shift=GENERAL_SHIFT, noise_std=0.7, ridge=3.0,
        input_covariance=np.full(9, 2.0), noise_covariance=np.geomspace(0.3, 3, 6),
    ),
    "singular inputs": Problem(
        n=20, dx=9, dy=6, task_shift=GENERAL_SHIFT, noise_std=0.7, input_covariance=SINGULAR,
        pretrained=np.ones((6, 9)),
    ),
}  # fmt: skip


def columns(problem, sampler, seed):
    """Log risks: all their moments exist, also where the risks' own do not."""
    risks = draw_risks(problem, trials=TRIALS, seed=seed, sampler=sampler)
    return np.log(np.column_stack([risks.lora[:, 1:], risks.fft_given_design]))


@pytest.mark.parametrize("name", PROBLEMS)
def test_sufficient_statistics_have_the_law_of_explicit_data(name):
    """Means, variances and all quantiles of the log risks at every rank and of E[FFT risk | X].

    False-alarm level LEVEL a problem, split over three tests a column. Power at least 0.99 against a shift of the mean
    by (z + 2.33) sqrt(2/4096) = 0.17 standard deviations, a relative change of the variance by 0.17 sqrt(kurtosis - 1),
    and a Kolmogorov-Smirnov distance above about 0.11.
    """
    problem = PROBLEMS[name]
    explicit, sufficient = columns(problem, "explicit", 1), columns(problem, "sufficient", 2)
    tests = 3 * explicit.shape[1]
    z = critical_z(tests)
    spread = np.sqrt((explicit.var(axis=0) + sufficient.var(axis=0)) / TRIALS)
    means = np.abs(explicit.mean(axis=0) - sufficient.mean(axis=0)) / spread
    squares = [(x - x.mean(axis=0)) ** 2 for x in (explicit, sufficient)]
    spread = np.sqrt((squares[0].var(axis=0) + squares[1].var(axis=0)) / TRIALS)
    variances = np.abs(squares[0].mean(axis=0) - squares[1].mean(axis=0)) / spread
    p_values = [scipy.stats.ks_2samp(a, b).pvalue for a, b in zip(explicit.T, sufficient.T, strict=True)]
    assert np.all(means < z), f"means differ: z = {means}"
    assert np.all(variances < z), f"variances differ: z = {variances}"
    assert np.all(np.array(p_values) > LEVEL / tests), f"laws differ: p = {p_values}"


@pytest.mark.parametrize(
    "change", [{"n": 31}, {"noise_std": 0.75}, {"spectrum": (2.0, 1.2)}], ids=["n", "noise", "spectrum"]
)
def test_the_law_test_sees_a_small_change_of_the_problem(change):
    """The comparison above is not blind: slightly different problems fail it."""
    problem = PROBLEMS["n >= dx, dx > dy"]
    a, b = columns(problem, "sufficient", 1), columns(problem.replace(**change), "sufficient", 2)
    z = np.abs(a.mean(axis=0) - b.mean(axis=0)) / np.sqrt((a.var(axis=0) + b.var(axis=0)) / TRIALS)
    assert np.max(z) > critical_z(3 * a.shape[1])


def test_the_law_test_sees_a_ridge_in_other_units(monkeypatch):
    """A ridge that is not divided by the variance of the inputs, in the sampler that divides it."""
    exact, problem = sampling_plan._overdetermined, PROBLEMS["n >= dx, ridge, scaled inputs"]

    def wrong(reduced):
        layout, parameters = exact(reduced)
        return layout, parameters._replace(ridge=np.asarray(reduced.ridge))

    explicit = columns(problem, "explicit", 1)
    monkeypatch.setattr(sampling_plan, "_overdetermined", wrong)
    sufficient = columns(problem, "sufficient", 2)
    spread = np.sqrt((explicit.var(axis=0) + sufficient.var(axis=0)) / TRIALS)
    assert np.max(np.abs(explicit.mean(axis=0) - sufficient.mean(axis=0)) / spread) > critical_z(3 * explicit.shape[1])


def test_auto_takes_sufficient_statistics_where_they_exist():
    chosen = {name: plan(problem)[0].design for name, problem in PROBLEMS.items()}
    assert {v for k, v in chosen.items() if k.startswith("n >= dx") or k == "singular inputs"} == {"overdetermined"}
    assert {v for k, v in chosen.items() if k.startswith("n < dx")} == {"underdetermined"}
    anisotropic = PROBLEMS["n < dx, dx < dy"].replace(input_covariance=np.arange(1.0, 13))
    assert plan(anisotropic)[0].design == "explicit"
    with pytest.raises(InvalidInput, match="sampler: expected auto or explicit"):
        plan(anisotropic, "sufficient")
    with pytest.raises(InvalidInput, match="sampler: expected one of auto, explicit, sufficient, received magic"):
        plan(anisotropic, "magic")


def test_the_compiled_program_depends_on_no_number_of_an_overdetermined_problem():
    """Problems that differ in n, noise, spectrum, or scale share shapes and choices, hence one compilation."""
    base = PROBLEMS["n >= dx, dx > dy"]
    others = [
        base.replace(n=10**7),
        base.replace(noise_std=2.0),
        base.replace(spectrum=(5.0,)),
        base.replace(input_covariance=np.geomspace(1, 4, 9)),
    ]
    layout, parameters = plan(base)
    for other in others:
        other_layout, other_parameters = plan(other)
        assert other_layout == layout
        shapes = [None if x is None else (x.shape, x.dtype) for x in parameters]
        assert [None if x is None else (x.shape, x.dtype) for x in other_parameters] == shapes


def test_the_cost_of_an_underdetermined_draw_does_not_depend_on_dx():
    small, large = (plan(Problem(n=10, dx=dx, dy=8, spectrum=(2.0, 1.0), noise_std=1.0)) for dx in (100, 10**6))
    assert small[0] == large[0]
    assert small[1].shift.shape == large[1].shift.shape
