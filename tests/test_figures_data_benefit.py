"""The figure of what a sample is worth: its data against theory, and what it draws."""

import numpy as np
import pytest
from comparisons import assert_means_agree

from linreg_lora.figures import data_benefit
from linreg_lora.theory.data_benefit import frozen_a_ratio


@pytest.fixture(scope="module")
def dataset():
    steps = []
    made = data_benefit.data(64, 0, None, steps.append, sample_sizes=(36, 60), theory_points=6)
    assert sum(steps) == 2
    return made


def test_simulated_benefits_are_those_of_theory(dataset):
    """Frozen factors, where theory is exact; family-wise level 1e-6. FFT's share 1 is rejected by the same draws."""
    frozen = dataset.sel(adapter=["frozen-a", "random-a"])
    exact = [
        [data_benefit._ratio(data_benefit.setting(int(n)), str(adapter)) for n in dataset["n"].values]
        for adapter in frozen["adapter"].values
    ]
    assert_means_agree(frozen["simulated"].values.ravel(), frozen["stderr"].values.ravel(), np.ravel(exact), 0.0)
    assert np.all(np.abs(frozen["simulated"] - 1) > 6 * frozen["stderr"])


def test_theory_tends_to_its_limits_and_k_over_d_is_one_of_them_only_without_misspecification(dataset):
    limit, share = dataset["limit"], dataset["share"]
    np.testing.assert_allclose(limit.sel(adapter=["frozen-a", "lora"]), share.sel(adapter=["frozen-a", "lora"]))
    assert share.sel(adapter="lora") == 4 * (20 + 20 - 4) / 20**2
    assert limit.sel(adapter="random-a") > 2 * share.sel(adapter="random-a")
    n = int(dataset["n_theory"][-1])
    np.testing.assert_allclose(dataset["theory"].sel(adapter="frozen-a")[-1], frozen_a_ratio(n, 20, 4), rtol=1e-12)
    gaps = np.abs(dataset["theory"] - limit).values
    assert np.all(np.diff(gaps, axis=1) < 0)


def test_every_adapter_has_a_line_points_and_a_limit(dataset):
    [axes] = data_benefit.draw(dataset).axes
    assert axes.get_ylabel() == "benefit of a sample over FFT's"
    assert axes.get_xlabel() == "number of samples n  (dx = dy = 20)"
    assert len(axes.get_legend().get_texts()) == 3
    assert sum(line.get_linestyle() == ":" for line in axes.lines) == 3
    lines = [line for line in axes.lines if not line.get_label().startswith("_")]
    for line, theory in zip(lines, dataset["theory"].values, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), theory)
    assert len(axes.containers) == 3
    assert len({(line.get_marker(), str(line.get_linestyle())) for line in lines}) == 3
