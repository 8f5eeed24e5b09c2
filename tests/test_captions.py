"""What captions say of figures, on the committed data: orders and signs.

The numbers in a caption are made from its data, and need no test but one. Orders are those of theory, which other tests
compare with simulation, or of paired draws at level 1e-6 over the comparisons of a figure.
"""

import numpy as np
import pytest
from committed import committed
from comparisons import critical_z

from linreg_lora import figures
from linreg_lora.figures import bounds, phase_diagram, risk_vs_sample_size
from linreg_lora.theory.curve import expected_risk


def theory(name):
    return committed(name).sel(computed_by="theory")


def simulated(name):
    """The simulated risks, and z of their paired differences from FFT's, with its critical value."""
    found = committed(name).sel(computed_by="monte-carlo")
    z = found["difference"] / found["difference_stderr"]
    return found["risk"], z, critical_z(z.size)


def test_a_caption_says_the_numbers_of_its_data():
    stored = committed("bounds")
    risk = stored["risk"].sel(computed_by="theory").isel(rank=0)
    made_up = stored.assign(ours=2 * risk, printed=8 * risk)
    assert "ours is at least 4 times smaller" in bounds.caption(made_up)
    assert "the best is 2 times the risk at the fewest samples" in bounds.caption(made_up)


@pytest.mark.parametrize("name", figures.NAMES)
def test_a_caption_is_a_paragraph_without_missing_numbers(name):
    text = figures.module(name).caption(committed(name))
    assert text.endswith(".")
    assert "\n" not in text
    assert not {"nan", "inf", "None"} & set(text.replace(",", " ").replace(".", " ").split())


def test_near_the_threshold_it_takes_the_least_noise():
    dataset = committed("phase-diagram")
    n, edges = dataset["n"].values, phase_diagram.boundaries(dataset)
    best = dataset["best_rank"].values
    assert np.all(np.diff(best, axis=1) <= 0), "the noisier, the lower the best rank"
    assert np.all(best[:, -1] == 0), "down to none"
    for edge in (edges[0], edges[-1]):
        nearest = np.argsort(np.abs(n - dataset.attrs["dx"]))
        assert set(nearest[:2]) == set(np.argsort(edge, kind="stable")[:2])


def test_weak_noise_orders_ranks_but_for_the_peak():
    dataset = theory("risk-vs-sample-size-weak-noise")
    difference = dataset["risk"] - dataset["fft_risk"]
    assert np.all(difference.sel(rank=[4, 8]) < 0)
    assert np.all(difference.sel(rank=[1, 2]) > 0)
    far = dataset["risk"].sel(rank=[1, 2], n=dataset["n"][dataset["n"] > 100])
    assert np.all(far / far.isel(n=-1) < 1.05)


def test_strong_noise_favours_the_rank_of_the_shift_and_small_ones_below_the_threshold():
    risk, z, critical = simulated("risk-vs-sample-size-strong-noise")
    best = risk["rank"].values[risk.argmin("rank").values]
    assert best.tolist() == [2, *[4] * (len(best) - 1)]
    below = z.sel(rank=[1, 2], n=z["n"][z["n"] < 100])
    assert np.all(below < -critical)


def test_next_to_the_threshold_strong_noise_favours_smaller_ranks():
    for n in (98, 102):
        problem = risk_vs_sample_size.setting(n, noise_std=risk_vs_sample_size._STRONG)
        ranks = np.array([1, 2, 4, 8])
        assert ranks[np.argmin(expected_risk(problem, ranks).risk)] < 4


def test_in_much_noise_below_the_threshold_the_risk_grows_with_the_rank():
    risk, z, critical = simulated("risk-vs-noise-underdetermined")
    assert np.all(np.diff(risk.isel(noise_std=-1)) > 0)
    assert np.all(z.isel(noise_std=-1) < -critical)


def test_above_the_threshold_small_ranks_are_flat_and_a_rank_above_the_shifts_always_wins():
    risk, z, critical = simulated("risk-vs-noise-overdetermined")
    assert np.all(z.sel(rank=16) < -critical)
    small = risk.sel(rank=[1, 2, 4, 8])
    assert np.all(np.abs(small[:5] / small[0] - 1) < 0.02)


def test_the_rank_of_the_shift_wins_and_a_rank_far_below_loses():
    _, z, critical = simulated("risk-vs-true-rank")
    for rank in (1, 2, 4, 8):
        assert z.sel(rank=rank, shift_rank=rank) < -critical
    assert np.all(z.sel(rank=[1, 2, 4], shift_rank=40) > critical)


def test_the_faster_the_decay_the_smaller_the_best_rank():
    dataset = theory("risk-vs-spectral-decay")
    best = dataset["risk"].idxmin("rank").values
    won = (dataset["fft_risk"] / dataset["risk"].min("rank")).values
    assert won[0] < 1 < won[-1]
    assert np.all(np.diff(best) <= 0)
    assert won.argmax() in np.flatnonzero(best == best[-1])
    risk, z, critical = simulated("risk-vs-spectral-decay")
    assert np.all(z.isel(rate=0) > critical)
    assert np.all(z.isel(rate=-1) < -critical)
    again = risk["rank"].values[risk.argmin("rank").values]
    assert again[-1] < again[4]


def test_the_formula_meets_simulation_down_to_the_last_n_with_a_mean():
    """Within z standard errors, level 1e-6, and a share of 1 / d: LoRA's theory has an error of order 1 / d^2, and more
    at the few ranks at a spectral edge. 1/g + 1/g^2 lacks 1 / g^2 of 1 / (g - 1), g = n - dx: a quarter at two.
    """
    stored = committed("double-descent-by-rank")
    gap = abs(stored["n"] - stored.attrs["dx"]).values
    simulated, computed = (stored["risk"].sel(computed_by=by).values for by in ("monte-carlo", "theory"))
    stderr = stored["stderr"].sel(computed_by="monte-carlo").values / simulated
    known = np.isfinite(stderr)
    assert np.array_equal(known, np.isfinite(computed)), "ranks up to n"
    assert gap.min() == 2
    assert np.all((abs(computed / simulated - 1) < critical_z(known.sum()) * stderr + 1 / stored.attrs["dx"])[known])


def test_the_bounds_are_loose_and_loosest_at_the_threshold():
    """Their order is in `test_bounds_hold_in_their_order`."""
    stored = committed("bounds")
    ratio = (stored["ours"] / stored["risk"].sel(computed_by="theory")[:, 0]).values
    assert np.all(ratio > 1)
    assert abs(stored["n"].values[np.argmax(ratio)] - stored.attrs["dx"]) < 10


def test_every_rank_forgets_more_and_learns_up_to_the_best():
    for n, points in committed("forgetting-vs-learning").groupby("n"):
        known = points.squeeze("n").dropna("rank")
        risk, forgetting = known["risk_theory"].values, known["forgetting_theory"].values
        best = int(np.argmin(risk))
        assert np.all(np.diff(forgetting) > 0), n
        assert np.all(np.diff(risk[: best + 1]) < 0), n
        assert np.all(np.diff(risk[best:]) > 0), n


def test_poison_is_kept_from_its_threshold_on_and_costs_lora_of_too_low_a_rank_more_than_fft():
    stored = committed("poisoning")
    threshold, budget = stored["threshold"].values, stored["budget_simulated"].values
    success, stderr = stored["success_simulated"].values, stored["success_stderr"].values
    exact = float(stored["success"].sel({"method": "FFT"}).isel(budget=0))
    z = critical_z(len(budget))
    assert np.all(np.abs(success[0] - exact) < z * stderr[0])
    for row, kept in zip(success[1:], threshold[1:], strict=True):
        assert np.all(row[budget < kept / 4] < exact / 4)
        assert np.all(row[budget > 2 * kept] > 0.75 * exact)
    risk, error = stored["risk_simulated"].isel(budget_simulated=-1).values, stored["risk_stderr"].values[:, -1]
    last = np.sign(risk[1:] - risk[0])
    assert last.tolist() == [1, -1, -1, -1]
    assert np.all(np.abs(risk - stored["risk"].isel(budget=-1).values)[0] < z * error[0])
