"""Real tasks: their data, test errors by an independent route, what leave-one-out predicts of them, and the figure."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
from committed import committed
from comparisons import critical_z

from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.figures import catalogue
from linreg_lora.figures import real_tasks as figure
from linreg_lora.own_data import real_tasks
from linreg_lora.own_data.curve import curve
from linreg_lora.own_data.deletion import deletions, design
from linreg_lora.own_data.losses import directions
from linreg_lora.own_data.samples import Samples

NAME = "real-tasks"


def rows(pool, chosen):
    return Samples(pool.inputs[chosen], pool.residual[chosen], None)


# -- the tasks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", real_tasks.NAMES)
def test_the_base_is_least_squares_on_a_domain_that_shares_no_row_with_the_pool(name):
    (x, y), (u, v) = real_tasks._TASKS[name]()
    found = real_tasks.task(name)
    assert min(x.shape[1], y.shape[1]) >= 8
    design_of = np.column_stack([np.ones(len(x)), x])
    base = np.linalg.lstsq(design_of, y, rcond=None)[0]
    expected = v - np.column_stack([np.ones(len(u)), u]) @ base
    np.testing.assert_allclose(found.pool.residual, expected, atol=1e-8 * np.max(np.abs(v)))
    both = np.vstack([np.hstack([x, y]), np.hstack([u, v])])
    which = np.unique(both, axis=0, return_inverse=True)[1].ravel()
    assert not set(which[: len(x)]) & set(which[len(x) :])
    assert max(found.sizes) < len(u) / 2, "most rows are for testing"


def test_rotation_turns_a_digit():
    """By 90 degrees it is what NumPy turns without interpolation."""
    images, _ = real_tasks._digits()
    turned = real_tasks._rotated(images[:3], 90).reshape(3, 8, 8)
    np.testing.assert_allclose(turned, np.rot90(images[:3].reshape(3, 8, 8), axes=(1, 2)), atol=1e-12)


def test_patches_are_neighbours():
    grey = np.arange(16 * 40.0).reshape(16, 40)
    left, right = real_tasks._pairs(grey)
    assert left.shape == right.shape == (4, 64)
    np.testing.assert_array_equal(left[1].reshape(8, 8), grey[:8, 16:24])
    np.testing.assert_array_equal(right[1].reshape(8, 8), grey[:8, 24:32])


def test_unknown_tasks_are_refused():
    with pytest.raises(InvalidInput, match=r"task: expected one of halves, denoising, .*, received nonsense"):
        real_tasks.task("nonsense")


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [13, 78])
@pytest.mark.parametrize("ridge", [0.0, 3.0])
def test_errors_are_those_of_explicit_fits(n, ridge):
    """LoRA of every rank by plain normal equations, truncated in the metric of its own fit, on the rows that are left.

    Without ridge and n < dx by the pseudo-inverse of the kernel.
    """
    pool = real_tasks.task("halves").pool
    given, tested = rows(pool, slice(0, n)), rows(pool, slice(n, None))
    found = real_tasks.errors_on(given, design(given.inputs, intercept=True), ridge, tested)
    mean, offset = np.mean(given.inputs, axis=0), np.mean(given.residual, axis=0)
    x, r = given.inputs - mean, given.residual - offset
    kernel = x @ x.T
    inverse = np.linalg.pinv(kernel, rcond=1e-10) if ridge == 0 else np.linalg.inv(kernel + ridge * np.eye(n))
    full = r.T @ inverse @ x
    _, vectors = np.linalg.eigh(r.T @ (kernel @ inverse) @ r)
    for rank, error in enumerate(found):
        basis = vectors[:, ::-1][:, :rank]
        update = full if rank == len(found) - 1 else basis @ basis.T @ full
        left = tested.residual - offset - (tested.inputs - mean) @ update.T
        assert error == pytest.approx(np.mean(np.sum(left**2, axis=1)), rel=1e-8)


SPLITS = 250


@pytest.mark.parametrize(
    ("name", "n", "ridge"),
    [
        pytest.param("denoising", 32, 0.0, marks=pytest.mark.heavy),
        ("halves", 78, 1.0),
        ("features", 60, 2.0),
        ("tumours", 40, 5.0),
    ],
)
def test_the_leave_one_out_error_is_the_test_error_of_one_row_less(name, n, ridge):
    """Rows of a random split are exchangeable, so E LOO_r(n) = E test_r(n - 1) exactly, whatever the data.

    Means over independent splits, family-wise level 1e-6 over the ranks. Ridges, or n < dx and noisy inputs, keep tails
    light. The rival keeps the directions that all rows decide: the same splits reject it at some rank, and the errors
    on the rows of the fit themselves.
    """
    pool, rng = real_tasks.task(name).pool, np.random.default_rng(1)
    off, rival_off, in_sample_off = [], [], []
    for _ in range(SPLITS):
        order = rng.permutation(len(pool.inputs))
        given, tested = rows(pool, order[:n]), rows(pool, order[n:])
        at = design(given.inputs, intercept=True)
        predicted = curve(given, at, ridge).error
        deleted = deletions(at, given.residual, ridge)
        target, basis = deleted.share * deleted.target, directions(deleted).basis
        gain = (deleted.missed @ basis) ** 2 - (target @ basis) ** 2
        rival = np.mean(np.sum(target**2, axis=1)) + np.append(0.0, np.cumsum(np.mean(gain, axis=0)))
        fewer = rows(pool, order[: n - 1])
        measured = real_tasks.errors_on(fewer, design(fewer.inputs, intercept=True), ridge, tested)
        inside = real_tasks.errors_on(given, at, ridge, given)
        predicted, rival, inside, measured = (
            real_tasks._padded(errors, pool) for errors in (predicted, rival, inside, measured)
        )
        off.append(predicted - measured)
        rival_off.append(rival - measured)
        in_sample_off.append(inside - measured)
    z, rival_z, in_sample_z = (
        np.mean(values, axis=0) / (np.std(values, axis=0, ddof=1) / np.sqrt(SPLITS))
        for values in (off, rival_off, in_sample_off)
    )
    critical = critical_z(len(z))
    assert np.all(np.abs(z) < critical), z
    assert np.min(rival_z) < -critical
    assert np.min(in_sample_z) < -critical


def test_a_split_is_what_its_parts_say():
    """One split again, with the public functions alone."""
    from sklearn.linear_model import LinearRegression

    import linreg_lora as ll
    from linreg_lora.seeds import derived_seed

    n, name = 30, "tumours"
    found = real_tasks.splits(name, n, 2, 7)
    (x, y), (u, v) = real_tasks._TASKS[name]()
    base = LinearRegression().fit(x, y)
    order = np.random.default_rng(derived_seed(7, f"{name} {n}")).permutation(len(u))
    train, test = order[:n], order[n:]
    advice = ll.own_data.advise(u[train], v[train], base)
    models = {
        "fft": ll.FullFineTuningRegressor(base=base),
        "lora": ll.LoRARegressor(base=base, ridge=0.0),
        "lora-ridge": ll.LoRARegressor(base=base),
        "fft-ridge": ll.FullFineTuningRegressor(base=base, ridge="auto"),
    }
    for place, method in enumerate(real_tasks.METHODS[1:], start=1):
        model = models[method].fit(u[train], v[train])
        left = v[test] - model.predict(u[test])
        assert found.errors[0, place] == pytest.approx(np.mean(np.sum(left**2, axis=1)), rel=1e-9)
        assert found.promised[0, place] == pytest.approx(model.risk_curve_[model.rank_], rel=1e-9)
    none = v[test] - base.predict(u[test]) - np.mean(v[train] - base.predict(u[train]), axis=0)
    assert found.errors[0, 0] == pytest.approx(np.mean(np.sum(none**2, axis=1)), rel=1e-9)
    assert (found.low[0], found.high[0]) == pytest.approx(advice.interval(0.9))
    assert found.probability[0] == advice.probability_lora_beats_fft
    assert found.best[0, 1] <= found.best[0, 0] <= np.min(found.measured[0]) * (1 + 1e-12)
    assert np.all(found.measured[:, -1] == found.errors[:, 1])
    assert not np.any(found.errors[0] == found.errors[1])


# -- the figure ---------------------------------------------------------------------------------------------------

SMALL = ("tumours", "halves")


@pytest.fixture(scope="module")
def small():
    return figure.data(40, 3, tasks=SMALL)


def test_data_do_not_depend_on_who_computes_them(small):
    steps = []
    with ThreadPoolExecutor(2) as executor:
        again = figure.data(40, 3, executor, steps.append, tasks=SMALL)
    assert sum(steps) == 6
    xr.testing.assert_identical(again, small)
    assert small.attrs["problems_sha256"] != committed(NAME).attrs["problems_sha256"]
    assert small.sizes["split"] == 40 // figure.PER_SPLIT


def test_data_are_those_of_the_splits(small):
    found = real_tasks.splits("tumours", 30, 4, 3)
    here = small.sel(task="tumours").isel(size=1)
    assert int(here["n"]) == 30
    np.testing.assert_array_equal(here["errors"], found.errors)
    np.testing.assert_allclose(here["predicted"][:11], np.mean(found.predicted, axis=0), rtol=1e-12)
    assert np.all(np.isnan(here["predicted"][11:]))
    middle = here["measured_quartiles"].sel(quartile=0.5)[:11]
    np.testing.assert_allclose(middle, np.median(found.measured, axis=0), rtol=1e-12)
    said, normal = figure.coverage(here)
    error = found.errors[:, 3]
    assert float(said) == np.mean([low <= e <= high for low, e, high in zip(found.low, error, found.high, strict=True)])
    assert float(normal) == np.mean(np.abs(error - found.promised[:, 3]) <= 1.6448536 * found.stderr)
    assert "4 random splits" in figure.caption(small)


def test_shares_of_the_ridge_are_of_what_lora_wins():
    errors = np.zeros((1, 3, 1, 5))
    errors[0, :, 0] = [[9, 4, 3, 2, 2], [9, 4, 3, 2, 3], [9, 2, 2, 2, 1]]
    made_up = xr.Dataset(
        {"errors": (("task", "size", "split", "fit"), errors)}, {"fit": ("fit", list(real_tasks.METHODS))}
    )
    np.testing.assert_array_equal(figure.ridge_share(made_up), [[1.0, 0.5, np.nan]])


def test_a_tuned_ridge_takes_most_of_what_lora_wins():
    """The headline, on the committed splits: at a setting the split's own share has a mean, and a sign test says that
    FFT with its ridge beats the best that rank alone can do by leave-one-out; level 1e-6 over the settings.

    Where they are patches, no rank and no ridge gains anything: neither wins.
    """
    stored = committed(NAME)
    assert float(figure.ridge_share(stored).min()) > 0.9
    digits = stored.sel(task=["halves", "denoising", "features"])["errors"]
    won = (digits.sel(fit="fft-ridge") < digits.sel(fit="lora")).sum("split").values
    count, settings = digits.sizes["split"], won.size
    from scipy.stats import binom

    assert np.all(won > binom.isf(1e-6 / settings, count, 0.5))


# -- without scikit-learn ------------------------------------------------------------------------------------------

REASON = "figure real-tasks needs scikit-learn: pip install 'linreg-lora[sklearn]'"


def test_without_scikit_learn_the_figure_is_refused_by_name_and_skipped_among_all(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert run("figures", NAME, f"--out={tmp_path}") == (2, "", f"linreg-lora: {REASON}\n")
    monkeypatch.setattr(catalogue, "NAMES", (NAME,))
    code, out, err = run("figures", f"--out={tmp_path}")
    assert (code, err) == (0, f"linreg-lora: skipped: {REASON}\n")
    assert out.split() == [str(tmp_path / "README.md")]
    assert NAME not in (tmp_path / "README.md").read_text()


def test_without_scikit_learn_tasks_are_one_line():
    program = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from linreg_lora.own_data import real_tasks\n"
        "from linreg_lora.errors import LinregLoraError\n"
        "try: real_tasks.task('halves')\n"
        "except LinregLoraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "real tasks need scikit-learn: pip install 'linreg-lora[sklearn]'\n"


def test_data_need_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(LinregLoraError, match="real tasks need scikit-learn"):
        figure.data(20, 0)
