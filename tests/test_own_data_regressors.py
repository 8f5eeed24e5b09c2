"""The scikit-learn estimators: their conventions, what they fit, and what they say of it."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, LeaveOneOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.estimator_checks import check_estimator

import linreg_lora as ll
from linreg_lora import FullFineTuningRegressor, LoRARegressor


def rows(n=60, dx=8, dy=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, dx))
    return x, x[:, :2] @ rng.standard_normal((2, dy)) + rng.standard_normal((n, dy))


@pytest.mark.parametrize(
    "estimator",
    [
        LoRARegressor(),
        FullFineTuningRegressor(),
        pytest.param(LoRARegressor(1, ridge=0.0), marks=pytest.mark.heavy),
        pytest.param(FullFineTuningRegressor(ridge="auto"), marks=pytest.mark.heavy),
    ],
    ids=str,
)
def test_conventions(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(estimator, on_fail=None)
    assert [check["check_name"] for check in found if check["status"] == "failed"] == []
    assert sum(check["status"] == "passed" for check in found) > 40


@pytest.mark.parametrize("intercept", [True, False])
def test_full_fine_tuning_of_nothing_is_least_squares(intercept):
    x, y = rows()
    ours = FullFineTuningRegressor(fit_intercept=intercept).fit(x, y)
    theirs = LinearRegression(fit_intercept=intercept).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-12)
    np.testing.assert_allclose(ours.intercept_, np.zeros(6) + theirs.intercept_, atol=1e-12)


def test_the_curve_is_what_leaving_one_out_gives():
    """scikit-learn refits n times; the closed form does not."""
    x, y = rows(20, 5, 4)
    base = np.random.default_rng(1).standard_normal((4, 5))
    found = LoRARegressor(2, base=base, ridge=0.5).fit(x, y)
    for rank in range(5):
        missed = y - cross_val_predict(LoRARegressor(rank, base=base, ridge=0.5), x, y, cv=LeaveOneOut())
        assert found.risk_curve_[rank] == pytest.approx(np.mean(np.sum(missed**2, axis=1)), rel=1e-10)


def test_predictions_are_those_of_base_and_update():
    x, y = rows()
    base = np.random.default_rng(1).standard_normal((6, 8))
    y = y + x @ base.T
    found = LoRARegressor(base=base).fit(x, y)
    b, a = found.factors_
    np.testing.assert_allclose(found.predict(x), x @ (base + b @ a).T + found.offset_, atol=1e-12)
    np.testing.assert_allclose(found.predict(x), x @ found.coef_.T + found.intercept_, atol=1e-12)
    assert (found.rank_, found.max_rank_, b.shape[1]) == (2, 6, 2)
    assert found.risk_interval()[0] < found.risk_curve_[2] < found.risk_interval()[1]
    assert found.probability_lora_beats_fft_ > 0.5
    assert found.recommendation_.startswith("LoRA of rank 2")
    assert found.noise_std_ == pytest.approx(1.0, abs=5 / np.sqrt(2 * 6 * (60 - 1 - 8)))  # 5 standard errors


def test_a_base_may_be_any_fitted_estimator():
    x, y = rows()
    linear, tree = LinearRegression().fit(x[:30], y[:30]), DecisionTreeRegressor(random_state=0).fit(x[:30], y[:30])
    found = LoRARegressor(base=linear).fit(x[30:], y[30:])
    np.testing.assert_allclose(found.coef_, linear.coef_ + found.update_)
    other = LoRARegressor(base=tree).fit(x[30:], y[30:])
    np.testing.assert_allclose(other.predict(x), tree.predict(x) + x @ other.update_.T + other.offset_, atol=1e-12)
    assert not hasattr(other, "coef_")


def test_a_fitted_base_stays_fitted_in_clones():
    x, y = rows()
    base = LinearRegression().fit(x[:30], y[:30])
    model = LoRARegressor(base=base, ridge=0.0)
    assert clone(model).base is base
    by_hand = np.vstack([LoRARegressor(base=base, ridge=0.0).fit(np.delete(x, i, 0), np.delete(y, i, 0)).predict(x[i : i + 1]) for i in (0, 1)])  # fmt: skip  # noqa: E501
    np.testing.assert_allclose(cross_val_predict(model, x, y, cv=LeaveOneOut())[:2], by_hand)


def test_what_is_fitted_does_not_follow_the_base():
    """Predictions stay those of the coefficients when the matrix changes; the user's own estimator is not reached."""
    x, y = rows()
    matrix = np.ones((6, 8))
    model = LoRARegressor(base=matrix, ridge=0.0).fit(x, y)
    matrix[:] = 7.0
    np.testing.assert_allclose(model.predict(x), x @ model.coef_.T + model.intercept_)
    known = LinearRegression().fit(x, y)
    with pytest.raises(ValueError, match="base"):
        clone(LoRARegressor(base=known)).set_params(base__fit_intercept=False)


def test_frames_keep_their_names():
    pandas = pytest.importorskip("pandas")
    x, y = rows()
    frame = pandas.DataFrame(x, columns=[f"x{i}" for i in range(8)])
    base = LinearRegression().fit(frame, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = LoRARegressor(base=base).fit(frame, y)
        np.testing.assert_allclose(found.predict(frame), LoRARegressor(base=base.coef_).fit(x, y).predict(x), atol=1e-9)
    assert found.feature_names_in_.tolist() == list(frame.columns)
    scaled = make_pipeline(StandardScaler().set_output(transform="pandas"), LoRARegressor()).fit(frame, y)
    assert scaled[-1].feature_names_in_.tolist() == list(frame.columns)


def test_pipelines_searches_clones_and_pickles():
    x, y = rows()
    search = GridSearchCV(make_pipeline(PCA(5), LoRARegressor()), {"loraregressor__rank": [0, 1, 2]})
    assert set(search.fit(x, y).best_params_.values()) <= {0, 1, 2}
    found = LoRARegressor(base=np.ones((6, 8)), ridge=2.0).fit(x, y)
    again = clone(found)
    assert not hasattr(again, "rank_")
    np.testing.assert_array_equal(again.fit(x, y).predict(x), found.predict(x))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).predict(x), found.predict(x))


def test_one_output_has_one_rank():
    x, y = rows()
    found = LoRARegressor(5, ridge=0.0).fit(x, y[:, 0])
    assert (found.rank_, found.predict(x).shape, found.coef_.shape) == (1, (60,), (8,))
    base = LoRARegressor(base=np.ones(8), ridge=0.0).fit(x, y[:, 0] + x @ np.ones(8))
    np.testing.assert_allclose(base.predict(x), found.predict(x) + x @ np.ones(8), atol=1e-12)


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (LoRARegressor(base=np.ones((8, 6))), "transpose"),
        (LoRARegressor(-1), "rank: expected an integer >= 0"),
        (LoRARegressor(ridge=-1.0), "ridge: expected a finite number >= 0"),
        (FullFineTuningRegressor(ridge="best"), "ridge: expected auto or a number"),
    ],
)
def test_what_makes_no_sense_is_one_line(estimator, words):
    with pytest.raises(ll.InvalidInput, match=words):
        estimator.fit(*rows())


def test_without_scikit_learn_the_rest_works():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import linreg_lora as ll\n"
        "ll.own_data.leave_one_out([[1.0], [2], [4]], [1.0, 2, 3])\n"
        "try:\n    ll.LoRARegressor\nexcept ll.LinregLoraError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "estimators need scikit-learn 1.6 or newer: pip install 'linreg-lora[sklearn]'\n"
