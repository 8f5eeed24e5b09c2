"""Training by descent and by flow: where it ends, what it keeps, and what it says when it did not get there."""

import dataclasses
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from comparisons import LEVEL, critical_z

import linreg_lora as ll
from linreg_lora import training
from linreg_lora.cli import train_report, train_theory
from linreg_lora.figures import training_steps, training_time
from linreg_lora.training import descent, ends, flow, learning_rates, optimisers, statistics, trained
from linreg_lora.training.result import CLOSE, STATIONARY
from linreg_lora.training.starts import Start, factors

OVER = ll.Problem(
    n=16, dx=5, dy=4, spectrum=(3.0, 2.0), noise_std=0.5, input_covariance=np.array([2.0, 1.5, 1.2, 1.0, 0.8])
)
UNDER = ll.Problem(n=4, dx=5, dy=4, spectrum=(3.0, 2.0), noise_std=0.5)
#: Shifts of rank 1, 2 and 3; rank 2 is trained, so one compiled program serves r >, = and < the shift's.
SHIFTS = ((3.0,), (3.0, 2.0), (4.0, 3.0, 2.0))


def train(problem, rank=2, *, trials=2, seed=1, at=(), **recipe):
    return training.train(problem, rank, training.Recipe(**recipe), trials=trials, seed=seed, at=at)


def test_the_closed_forms_are_truncations_in_the_metric_of_the_inputs():
    """trunc_r(D S^{1/2}) (S^{1/2})^+ with S = X X^T + eta I, by eigenvalues of S, where the code decomposes X."""
    rng = np.random.default_rng(0)
    for n, ridge in ((9, 0.0), (3, 0.0), (9, 2.0), (3, 2.0)):
        x, r = rng.standard_normal((1, 5, n)), rng.standard_normal((1, 4, n))
        got = statistics.of_data(x, r, n, ridge, 2)
        values, vectors = np.linalg.eigh(x[0] @ x[0].T + ridge * np.eye(5))
        values, vectors = values[values > 1e-9], vectors[:, values > 1e-9]
        root, back = (vectors * values**power @ vectors.T for power in (0.5, -0.5))
        np.testing.assert_allclose(got.full[0], r[0] @ x[0].T @ back @ back, atol=1e-12)
        u, s, vt = np.linalg.svd(got.full[0] @ root)
        np.testing.assert_allclose(got.target[0], (u[:, :2] * s[:2]) @ vt[:2] @ back, atol=1e-12)
        assert (got.projector is None) == (n == 9 or ridge > 0)
        if got.projector is not None:
            np.testing.assert_allclose(got.projector[0], x[0] @ np.linalg.pinv(x[0]), atol=1e-12)


@pytest.mark.parametrize("problem", [OVER, UNDER], ids=["overdetermined", "underdetermined"])
@pytest.mark.parametrize("optimiser", ["gd", "momentum", "adam"])
def test_training_ends_at_the_closed_form_on_the_range_of_the_inputs(problem, optimiser):
    """From peft's start, whatever the rank of the shift; for n < dx a part of the start is left outside of range(X)."""
    for shift in SHIFTS:
        run = train(problem.replace(spectrum=shift), optimiser=optimiser, steps=6000)
        assert np.max(run.distance[:, -1]) < 1e-8, (shift, run.note)
        assert np.all(run.converged)
        assert np.all(run.reached >= 0) if problem is OVER else True, run.reached
        if problem is OVER:
            last = run.risk[:, -1] / run.closed_risk
            np.testing.assert_allclose(last, 1, rtol=1e-7)


def numpy_steps(recipe, prepared, steps):
    """B and A after so many steps, draw by draw, with the optimisers of Kingma, Polyak and Loshchilov written out."""
    g, lam = float(prepared.settings.scale), recipe.weight_decay
    out = []
    for draw, rate in enumerate(prepared.settings.rate):
        s, h = prepared.drawn.gram[draw], prepared.drawn.moment[draw]
        theta = {name: prepared.start[name][draw].copy() for name in "ab"}
        first, second = (dict.fromkeys("ab", 0.0) for _ in range(2))
        for t in range(1, steps + 1):
            b, a = theta["b"], theta["a"]
            grad = {"b": g * (g * b @ a @ s - h) @ a.T, "a": g * b.T @ (g * b @ a @ s - h)}
            eta = rate * (1 - (t - 1) / recipe.steps if recipe.used_schedule == "linear" else 1.0)
            for name, factor in (("b", recipe.ratio), ("a", 1.0)):
                down = grad[name] + (0 if recipe.is_decoupled else lam) * theta[name]
                if recipe.optimiser == "momentum":
                    first[name] = down = recipe.momentum * first[name] + down
                elif recipe.is_adaptive:
                    first[name] = 0.9 * first[name] + 0.1 * down
                    second[name] = 0.999 * second[name] + 0.001 * down**2
                    down = first[name] / (1 - 0.9**t) / (np.sqrt(second[name] / (1 - 0.999**t)) + 1e-8)
                theta[name] = theta[name] - eta * factor * (down + (lam if recipe.is_decoupled else 0) * theta[name])
        out.append(g * theta["b"] @ theta["a"])
    return np.stack(out)


@pytest.mark.parametrize(
    "recipe",
    [
        training.Recipe(steps=7, ratio=3.0),
        training.Recipe(steps=7, optimiser="momentum", weight_decay=0.3, start="normal", scaling="rslora"),
        training.Recipe(steps=7, optimiser="adam", weight_decay=0.3, alpha=3.0, start="gaussian"),
        training.Recipe(
            steps=7, optimiser="adamw", weight_decay=0.3, ratio=0.5, scaling="constant", schedule="constant"
        ),
    ],
    ids=lambda recipe: recipe.optimiser,
)
def test_steps_are_those_of_the_optimiser(recipe):
    prepared = trained.prepare(OVER, 2, recipe, trials=2, seed=1)
    run = training.train(OVER, 2, recipe, trials=2, seed=1, at=[0])
    np.testing.assert_allclose(run.final, numpy_steps(recipe, prepared, 7), atol=1e-12)
    b, a = run.factors
    np.testing.assert_allclose(recipe.scale(2) * b @ a, run.final, atol=1e-12)


def test_full_fine_tuning_is_the_spectral_filter():
    """D(t) = D_FFT (I - (I - eta S)^t), and the loss and risk on the way are those of it."""
    run = train(UNDER, None, steps=30, at=[0, 7])
    drawn = statistics.drawn_statistics(UNDER, None, trials=2, seed=1)
    for place, t in enumerate((0, 7, 30)):
        filters = np.stack(
            [np.linalg.matrix_power(np.eye(5) - e * s, t) for e, s in zip(run.learning_rate, drawn.gram, strict=True)]
        )
        update = drawn.full @ (np.eye(5) - filters)
        left = update - drawn.full
        np.testing.assert_allclose(run.risk[:, place], np.sum((update - UNDER.shift) ** 2, axis=(1, 2)), rtol=1e-12)
        np.testing.assert_allclose(
            run.loss[:, place], np.einsum("dij,djk,dik->d", left, drawn.gram, left) / 2, atol=1e-13
        )
    np.testing.assert_array_equal(run.risk[:, 0], UNDER.pretrained_risk)


def test_adam_at_a_constant_rate_is_said_not_to_have_converged():
    """It keeps jumping about the minimum; the gradient of the run that decays is smaller by four orders and more."""
    settles, jumps = (train(OVER, optimiser="adam", schedule=how, steps=4000) for how in ("linear", "constant"))
    assert settles.converged.all()
    assert not settles.note
    assert not jumps.converged.any()
    assert np.all(jumps.gradient[:, -1] > 1e4 * settles.gradient[:, -1])
    assert "did not converge: relative gradient" in jumps.note
    assert "in the last tenth of 4000 steps" in jumps.note


def test_a_rest_of_adam_at_a_constant_rate_is_not_its_end():
    """After 1000 steps one draw is at the minimum to rounding; at rest its steps are unstable, and it leaves again."""
    rests, later = (train(OVER, optimiser="adam", schedule="constant", steps=steps) for steps in (1000, 1300))
    assert rests.gradient[0, -1] < 1e-12
    assert rests.error[0, -1] < 1e-12
    assert later.gradient[0, -1] > STATIONARY
    assert not rests.converged.any()
    assert rests.reasons[0].endswith("at a constant rate Adam leaves the minimum again; use a linear schedule")


@pytest.mark.parametrize("beta", [0.5, 0.9])
@pytest.mark.parametrize(
    ("of_b", "of_a", "ratio", "lam"), [(None, None, 1.0, 0.7), (0.2, 1.0, 6.0, 0.0), (1.5, 0.1, 1.0, 0.0)]
)
def test_adam_is_said_to_leave_a_rest_from_the_rate_on_at_which_its_linear_steps_grow(of_b, of_a, ratio, lam, beta):
    """Steps at rest, theta and m with v = 0, grow where their matrix has an eigenvalue above 1; the curvature is that
    of one factor, from Kronecker products: only B (six times as fast), only A, or D with its decay."""
    rng, rates, eps, g = np.random.default_rng(3), np.geomspace(0.5, 200, 120), 1e-3, 1.7
    recipe = training.Recipe(
        optimiser="adam", betas=(beta, 0.999), eps=eps, ratio=ratio, weight_decay=lam, decoupled=False
    )
    x = rng.standard_normal((5, 12))
    gram, end = x @ x.T / 12, {}
    curvature = np.linalg.eigvalsh(gram)[-1] + lam
    if of_b is not None:
        b, a = of_b * rng.standard_normal((4, 2)), of_a * rng.standard_normal((2, 5))
        of_a_fixed = ratio * np.kron(g**2 * a @ gram @ a.T, np.eye(4))
        of_b_fixed = np.kron(g**2 * b.T @ b, gram)
        curvature = max(np.linalg.eigvalsh(of_a_fixed)[-1], np.linalg.eigvalsh(of_b_fixed)[-1])
        end = {"b": np.tile(b, (len(rates), 1, 1)), "a": np.tile(a, (len(rates), 1, 1))}
    steps = [
        np.array([[beta, (1 - beta) * curvature], [-rate * beta, 1 - rate * (1 - beta) * curvature]])
        for rate in rates / curvature
    ]
    grows = np.array([np.max(np.abs(np.linalg.eigvals(step))) > 1 for step in steps])
    drawn = SimpleNamespace(gram=np.tile(gram, (len(rates), 1, 1)))
    assert 10 < np.sum(grows) < len(rates) - 10
    np.testing.assert_array_equal(ends.leaves(recipe, g, rates * eps / curvature, drawn, end), grows)


def test_errors_are_in_units_of_the_ends_own_or_of_rounding():
    """S of condition 1e4, X of 1e2, and a direction without data, which has no part in it."""
    gram = np.stack([np.diag([1.0, 0.1, 1e-4, 0.0])] * 2)
    drawn = SimpleNamespace(gram=gram, moment=np.zeros((2, 3, 4)))
    found = ends.units(drawn, np.array([4.0, 0.0]), np.array([5.0, 5.0]))
    np.testing.assert_allclose(found, [2.0, 10 * 4 * np.finfo(float).eps * 1e2 * 5.0 / CLOSE], rtol=1e-12)


def test_what_diverges_and_what_is_too_short_say_so():
    short, wild = train(OVER, steps=3), train(OVER, steps=2000, learning_rate=5.0, at=[0, 1000])
    assert "in the last tenth of 3 steps, expected at most 1e-06" in short.note
    assert not short.converged.any()
    assert wild.note == "2 of 2 draws: did not converge: not finite after 2000 steps; lower learning_rate"
    assert np.all(wild.reached == -1)
    assert wild.median_reached == np.inf
    np.testing.assert_array_equal(wild.best[1], 0)


def test_reached_is_the_first_step_from_which_on_the_risk_stays():
    run = train(OVER, steps=400, at=range(401))
    inside = np.abs(run.risk - run.closed_risk[:, None]) <= 0.01 * run.closed_risk[:, None]
    for draw, reached in enumerate(run.reached):
        assert inside[draw, reached:].all()
        assert not inside[draw, reached - 1]
    np.testing.assert_array_equal(run.best[0], run.risk.min(axis=1))


def test_the_flow_keeps_the_balance_of_the_factors_by_the_ratio_of_their_rates():
    """A A^T - B^T B / rho: descent of half the rate is off by half as much, and without rho it is off by much more."""
    off = []
    for rate in (0.02, 0.01, 0.005):
        recipe = training.Recipe(ratio=4.0, learning_rate=rate, steps=round(4 / rate))
        start = trained.prepare(OVER, 2, recipe, trials=2, seed=1).start["a"]
        b, a = training.train(OVER, 2, recipe, trials=2, seed=1, at=()).factors
        gap = a @ a.mT - start @ start.mT
        off.append(np.linalg.norm(gap - b.mT @ b / 4))
        assert np.linalg.norm(gap - b.mT @ b) > 5 * off[0]
    np.testing.assert_allclose(np.divide(off[1:], off[:-1]), 0.5, atol=0.05)


def test_off_the_range_of_the_inputs_descent_leaves_a_as_it_was_and_adam_does_not():
    for optimiser, moved in (("gd", False), ("momentum", False), ("adam", True)):
        recipe = training.Recipe(optimiser=optimiser, steps=6000 if moved else 1500)
        prepared = trained.prepare(UNDER, 2, recipe, trials=2, seed=1)
        run = training.train(UNDER, 2, recipe, trials=2, seed=1, at=())
        off = np.eye(5) - prepared.drawn.projector
        b, a = run.factors
        kept = prepared.start["a"] @ off
        far = np.linalg.norm(a @ off - kept) / np.linalg.norm(kept)
        assert far > 0.1 if moved else far < 1e-12
        if not moved:
            residue = 2 * b @ kept
            np.testing.assert_allclose(run.final - prepared.drawn.target, residue, atol=1e-6)
            assert np.all(np.linalg.norm(residue, axis=(1, 2)) > 0.1)


def certificate(run, mu):
    """How far D is from the optimum of (1/2n) ||R - D X||^2 + mu ||D||_*: ||M||_2 <= mu and <M, D> = mu ||D||_*."""
    drawn = statistics.drawn_statistics(run.problem, run.rank, trials=run.trials, seed=run.seed)
    left = drawn.moment - run.final @ drawn.gram
    nuclear = np.linalg.norm(run.final, "nuc", axis=(1, 2))
    slack = np.linalg.norm(left, 2, axis=(1, 2)) / mu - 1
    return np.maximum(slack, 0).max(), np.abs(np.sum(left * run.final, axis=(1, 2)) / (mu * nuclear) - 1).max()


def test_coupled_decay_is_the_nuclear_norm_of_the_product_and_decoupled_decay_is_not():
    """mu = lam / g, certified for Sigma that is not isotropic; with mu = lam the certificate is off by the factor g."""
    lam = 1.0
    coupled = train(OVER, 3, weight_decay=lam, steps=3000)
    assert max(certificate(coupled, lam / 2)) < 1e-6
    assert max(certificate(coupled, lam)) > 0.4
    assert np.linalg.matrix_rank(coupled.final[0], tol=1e-3) < 3
    decoupled = train(OVER, 3, optimiser="adamw", weight_decay=lam, steps=6000)
    assert max(certificate(decoupled, lam / 2)) > 0.4
    end = statistics.drawn_statistics(OVER, 3, trials=2, seed=1).target
    off = np.linalg.norm(coupled.final - end, axis=(1, 2)) / np.linalg.norm(end, axis=(1, 2))
    assert np.max(decoupled.distance[:, -1]) < 0.05 < np.min(off)
    assert not decoupled.converged.any()


def test_with_decay_training_is_compared_with_the_minimum_of_the_loss_with_it():
    """Plain descent makes the same steps by either decay; heavy ball's decoupled lam is (1 - beta) lam of the loss."""
    lam = 1.0
    coupled, decoupled = (train(OVER, 3, weight_decay=lam, steps=3000, decoupled=how) for how in (False, True))
    np.testing.assert_array_equal(coupled.final, decoupled.final)
    heavy = train(OVER, 3, weight_decay=10 * lam, steps=3000, decoupled=True, optimiser="momentum")
    np.testing.assert_allclose(heavy.final, coupled.final, atol=1e-5)
    full = train(OVER, None, weight_decay=lam, steps=3000)
    drawn = statistics.drawn_statistics(OVER.replace(ridge=OVER.n * lam), None, trials=2, seed=1)
    np.testing.assert_allclose(full.final, drawn.full, atol=1e-12)
    for run in (coupled, decoupled, heavy, full):
        assert run.converged.all(), run.note
        assert np.all(run.reached > 0)
        assert np.max(run.distance[:, -1]) < 1e-6
        np.testing.assert_allclose(run.closed_risk, run.risk[:, -1], rtol=1e-5)


def test_a_gradient_near_0_is_not_taken_for_the_minimum():
    """At little noise and a rank above the shift's, what is left to learn is a millionth of the gradient's unit.

    Every draw is at rest by its gradient, and its risk is off the closed form's by more than 2 %.
    """
    run = train(OVER.replace(noise_std=0.01, input_covariance=None), 3, steps=2000)
    assert np.max(run.gradient[:, -1]) < STATIONARY
    assert np.min(np.abs(run.risk[:, -1] / run.closed_risk - 1)) > 0.02
    assert not run.converged.any()
    assert "0.33 of the closed form's error away from it in the last tenth of 2000 steps" in run.note
    longer = train(OVER.replace(noise_std=1.0, input_covariance=None), 3, steps=2000)
    done = longer.converged
    assert done.any()
    np.testing.assert_allclose(longer.risk[done, -1], longer.closed_risk[done], rtol=2 * CLOSE + CLOSE**2)


def test_first_steps_have_the_exact_moments():
    """E ||D_1||^2 = eta^2 g^4 a^4 r (r + dx + 1) ||H||^2 for Gaussian A, with -6/5 more for peft's uniform one.

    2 x 20000 starts, false alarms at LEVEL. The rival, the other's constant, is more than 9 standard errors away.
    """
    drawn = statistics.drawn_statistics(OVER, 2, trials=1, seed=0)
    gram, moment = drawn.gram[0], drawn.moment[0]
    rng, starts = np.random.default_rng(5), 20_000
    for text, variance, extra in (("gaussian", 1 / 4, 1.0), ("kaiming", 1 / 15, 1.0 - 6 / 5)):
        a = np.stack([factors(Start.parse(text), rng, 2, 2.0, gram, moment)[1] for _ in range(starts)])
        down = descent.gradients({"a": a, "b": np.zeros((1, 4, 2))}, 2.0, gram, moment)["b"]
        assert not np.any(descent.gradients({"a": a, "b": np.zeros((1, 4, 2))}, 2.0, gram, moment)["a"])
        ratio = np.sum((2.0 * -down @ a) ** 2, axis=(1, 2)) / (2.0**4 * variance**2 * np.sum(moment**2))
        z = (np.mean(ratio) - 2 * (2 + 5 + extra)) / (np.std(ratio) / starts**0.5)
        assert abs(z) < critical_z(2, LEVEL), (text, z)
        rival = (np.mean(ratio) - 2 * (2 + 5 + (1 if extra < 1 else -0.2))) / (np.std(ratio) / starts**0.5)
        assert abs(rival) > 9


def test_starts_are_what_they_say():
    rng = np.random.default_rng(0)
    gram, moment = np.diag([4.0, 1, 1, 1, 1]), rng.standard_normal((4, 5))
    b, a = factors(Start.parse("orthogonal:0.7"), rng, 3, 2.0, gram, moment)
    np.testing.assert_allclose(a @ a.T, 0.7 * np.eye(3), atol=1e-14)
    assert not b.any()
    b, a = factors(Start.parse("balanced:0.01"), rng, 3, 2.0, gram, moment)
    np.testing.assert_allclose(np.linalg.svd(2.0 * b @ a, compute_uv=False)[:3], 0.01, rtol=1e-12)
    np.testing.assert_allclose(b.T @ b, a @ a.T, atol=1e-14)
    b, a = factors(Start.parse("spectral:2"), rng, 3, 2.0, gram, moment)
    u, s, vt = np.linalg.svd(moment)
    np.testing.assert_allclose(2.0 * b @ a, (2.0 / 4.0) * (u[:, :3] * s[:3]) @ vt[:3], atol=1e-13)
    assert Start.parse("spectral:2").text == "spectral:2"


@pytest.mark.parametrize("scaling", [1.0, 16.0])
def test_the_default_rate_is_below_what_the_hessian_allows_at_the_start_and_at_the_end(scaling):
    """The Hessian by central differences of the gradient; at the start the rule's eigenvalue is it."""
    recipe = training.Recipe(alpha=2 * scaling, ratio=3.0, steps=3000)
    prepared = trained.prepare(OVER, 2, recipe, trials=2, seed=1)
    run = training.train(OVER, 2, recipe, trials=2, seed=1, at=())
    gram, moment = prepared.drawn.gram[:1], prepared.drawn.moment[:1]

    def sharpness(b, a):
        unit = np.array([3.0**-0.5] * b.size + [1.0] * a.size)

        def gradient(x):
            x = x / unit
            parts = {"b": x[: b.size].reshape(1, 4, 2), "a": x[b.size :].reshape(1, 2, 5)}
            found = descent.gradients(parts, scaling, gram, moment)
            return np.concatenate([found["b"].ravel(), found["a"].ravel()]) / unit

        at = np.concatenate([b.ravel(), a.ravel()]) * unit
        steps = 1e-4 * np.eye(at.size)
        hessian = np.stack([(gradient(at + e) - gradient(at - e)) / 2e-4 for e in steps])
        return np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1]

    b, a = prepared.start["b"][0], prepared.start["a"][0]
    start, end = sharpness(b, a), sharpness(run.factors[0][0], run.factors[1][0])
    rule = (prepared.drawn._replace(projector=None), prepared.start["a"])
    assert learning_rates.at_start(3.0, scaling, *rule)[0] == pytest.approx(start, rel=1e-6)
    bound = learning_rates.at_end(3.0, scaling, *rule)[0]
    assert end <= bound
    assert bound < 3 * end
    assert run.learning_rate[0] == pytest.approx(1 / max(start, bound), rel=1e-6)


def test_the_flow_of_one_mode_is_the_closed_form():
    """Logistic from a balanced start; from B = 0 by w = sqrt(f^2 + k^2), k = g kappa / 2."""
    f, d0, g, c, t = 2.0, 1e-3, 2.0, 0.5, 3.0
    root = np.full((1, 1), (d0 / g) ** 0.5)
    ((b, a),) = flow.integrate((root, root), c * np.eye(1), c * f * np.eye(1), np.array([t]), scale=g)
    assert (g * b @ a).item() == pytest.approx(f / (1 + (f / d0 - 1) * np.exp(-2 * c * g * f * t)), abs=1e-8)
    assert (g * b @ a).item() == pytest.approx(1.975733487, abs=1e-8)
    for f, kappa, g, t, value in ((2.0, 1 / 3, 2.0, 0.5, 1.692021951), (1.0, 1.0, 1.0, 1.0, 0.737849738)):
        start = (np.zeros((1, 1)), np.full((1, 1), kappa**0.5))
        ((b, a),) = flow.integrate(start, np.eye(1), f * np.eye(1), np.array([t]), scale=g)
        assert (g * b @ a).item() == pytest.approx(value, abs=1e-8)


def test_descent_follows_the_flow_up_to_its_rate():
    times = np.array([0.0, 1.0, 2.0])
    flowing = training.gradient_flow(OVER, 2, times, trials=2, seed=1)
    off = []
    for rate in (0.01, 0.005):
        run = train(OVER, learning_rate=rate, steps=round(2 / rate), at=[0, round(1 / rate)])
        off.append(np.abs(run.risk - flowing.risk).max(axis=1))
    np.testing.assert_allclose(off[1] / off[0], 0.5, atol=0.05)
    assert np.all(np.isnan(flowing.reached) | (flowing.reached >= 0))
    assert flowing.unit == "time"


def test_a_flow_that_loses_what_it_keeps_is_not_believed(monkeypatch):
    monkeypatch.setattr(flow, "_RELATIVE", 0.3)
    monkeypatch.setattr(flow, "_ABSOLUTE", 0.3)
    with pytest.raises(ll.NumericalFailure, match="kept, received a drift of"):
        training.gradient_flow(OVER, 2, [0.0, 20.0], trials=1, seed=1)


@pytest.mark.parametrize(
    "changes",
    [{"ridge": 5.0}, {"input_mean": 1.0}, {"input_law": "t:6"}, {"noise_covariance": np.array([1.0, 2.0, 1.0, 1.0])}],
    ids=lambda changes: next(iter(changes)),
)
def test_other_problems_end_at_their_closed_forms_too(changes):
    problem = OVER.replace(**changes)
    run = train(problem, steps=4000)
    assert np.max(run.distance[:, -1]) < 1e-8
    error = (run.final - problem.shift) @ problem.risk_root
    np.testing.assert_allclose(run.risk[:, -1], np.sum(error**2, axis=(1, 2)), rtol=1e-10)
    other = train(OVER, steps=4000)
    assert np.max(np.abs(run.closed_risk - other.closed_risk)) > 1e-2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: train(OVER, 0), "rank: expected an integer >= 1"),
        (lambda: train(OVER, 5), "rank: expected an integer in 1..min(n, dx, dy) = 4, received 5"),
        (lambda: train(OVER, optimiser="lion"), "optimiser: expected one of gd, momentum, adam, adamw, received lion"),
        (lambda: train(OVER, start="pissa"), "start: expected one of kaiming, gaussian, normal, orthogonal[:NUMBER]"),
        (lambda: train(OVER, start="kaiming:2"), "start: expected one of"),
        (lambda: train(OVER, start="balanced:0"), "with a positive number, received balanced:0"),
        (lambda: train(OVER, start=3), "start: expected one of"),
        (lambda: train(OVER, learning_rate=0), "learning_rate: expected a number > 0, received 0"),
        (lambda: train(OVER, momentum=1.0), "momentum: expected numbers in [0, 1), received 1.0"),
        (lambda: train(OVER, betas=(0.9,)), "betas: expected two numbers in [0, 1)"),
        (lambda: train(OVER, decoupled=1), "decoupled: expected True, False or None, received 1"),
        (lambda: train(OVER, steps=0), "steps: expected an integer >= 1, received 0"),
        (lambda: train(OVER, steps=5, at=[3, 2]), "at: expected steps in 0..5, increasing, received [3, 2]"),
        (lambda: train(OVER, steps=5, at=[0.5]), "at: expected steps in 0..5, increasing, received [0.5]"),
        (lambda: train(OVER, trials=0), "trials: expected an integer >= 1, received 0"),
        (lambda: train(OVER.replace(input_covariance=[1.0, 1, 1, 1, 0])), "input_covariance: expected a Sigma of full"),
        (lambda: training.gradient_flow(OVER, 2, [1, 0.5], trials=1, seed=0), "times: expected times from 0 on"),
        (
            lambda: training.gradient_flow(
                OVER, 2, [1.0], training.Recipe(weight_decay=1.0, ratio=2.0), trials=1, seed=0
            ),
            "ratio: expected 1 beside weight_decay, in a flow, received 2",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(make, said):
    with pytest.raises(ll.InvalidInput) as error:
        make()
    assert str(error.value).startswith(said) or said in str(error.value)
    assert "\n" not in str(error.value)


def test_without_optax_training_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optax", None)
    with pytest.raises(ll.InvalidInput, match=r"pip install 'linreg-lora\[train\]'"):
        train(OVER)
    with pytest.raises(ll.InvalidInput, match="optax, which does the steps"):
        optimisers.require_optax()


WORDS = ("train", "--n=16", "--dx=5", "--dy=4", "--spectrum=3,2", "--noise-std=0.5", "--trials=2", "--seed=1")


def test_the_command_says_what_training_and_theory_say(run):
    code, out, err = run(*WORDS, "--steps=40", "--ranks=2", "--at=0,7", "--format=json")
    assert (code, err) == (0, "")
    said, problem = json.loads(out), OVER.replace(input_covariance=None)
    lora, full = said["methods"]
    ours = training.train(problem, 2, training.Recipe(steps=40), trials=2, seed=1, at=[0, 7])
    assert said["steps"] == [0, 7, 40]
    assert lora["risk"]["mean"] == pytest.approx(ours.risk.mean(axis=0))
    assert lora["risk"]["stderr"] == pytest.approx(np.abs(ours.risk[0] - ours.risk[1]) / 2)
    assert lora["closed_form"]["mean"] == pytest.approx(ours.closed_risk.mean())
    assert lora["closed_form"]["theory"] == pytest.approx(ll.expected_risk(problem).at_rank(2).risk)
    assert full["closed_form"]["theory"] == pytest.approx(0.25 * 4 * 5 / (16 - 5 - 1))
    assert (full["method"], full["rank"], lora["scale"]) == ("fft", None, 2.0)
    assert lora["draws_that_converged"] == 0
    assert lora["flow"]["risk"][0] == pytest.approx(problem.pretrained_risk)
    assert lora["flow"]["stderr"][0] == 0 < lora["flow"]["stderr"][-1]
    assert lora["flow"]["flagged"]
    assert "follows the flow but for a share of" in lora["flow"]["note"]
    assert "did not converge" in lora["note"]


def test_the_command_prints_a_table_and_draws(run, tmp_path):
    path = tmp_path / "path.png"
    code, out, err = run(*WORDS, "--steps=40", "--learning-rate=1e9", f"--picture={path}")
    assert (code, err) == (0, "")
    assert "not finite after 40 steps; lower learning_rate" in out
    assert "closed form, theory" in out
    assert "flow, theory" not in out
    assert path.read_bytes().startswith(b"\x89PNG")


def test_theory_beside_descent_is_that_of_its_start_and_its_rate():
    """One input, where a short A(0) leaves late, and FFT, exactly; false alarms at LEVEL.

    From a start of one length the mean risk would be a third of it halfway, 9 standard errors of descent away. Where
    theory's draws do not reach 1 %, and where the rate does not, the values are marked.
    """
    problem = ll.Problem(n=400, dx=1, dy=1, spectrum=(2.0,), noise_std=1.0)
    run = train(problem, 1, trials=400, learning_rate=0.003, steps=256, at=[0, 64, 128])
    found = train_theory.path(run)
    error = np.hypot(run.risk.std(axis=0) / 20, found.stderr)[1:]
    moved = 0.03 * np.abs(np.diff(found.risk))  # twice the share of the time, of what the last half of it does
    assert np.all(np.abs(run.risk.mean(axis=0) - found.risk)[1:] < critical_z(3, LEVEL) * error + moved)
    assert found.flags.tolist() == [False, True, True, True]
    assert (run.risk.mean(axis=0)[2] - 0.427) / (run.risk.std(axis=0)[2] / 20) > 9
    white = OVER.replace(input_covariance=None)
    full = train(white, None, trials=400, learning_rate=0.05, steps=64, at=[0, 4, 16])
    exact = train_theory.path(full)
    z = (full.risk.mean(axis=0) - exact.risk)[1:] / (full.risk.std(axis=0)[1:] / 20)
    assert np.max(np.abs(z)) < critical_z(3, LEVEL)
    assert not exact.flags.any()
    for recipe in ({"optimiser": "momentum"}, {"start": "balanced"}, {"schedule": "linear"}, {"ratio": 2.0}):
        assert train_theory.path(dataclasses.replace(run, recipe=training.Recipe(**recipe))) is None
    assert train_theory.path(dataclasses.replace(run, risk=run.risk * np.inf)) is None


def test_theory_of_the_end_knows_the_decay():
    white = OVER.replace(input_covariance=None)

    def ends(**recipe):
        return train_theory.ends(white, [SimpleNamespace(rank=r, recipe=training.Recipe(**recipe)) for r in (2, None)])

    lora, full = ends(weight_decay=0.5)
    assert np.isnan(lora.risk)
    assert lora.note == "theory has no expected risk of the minimum with decay"
    assert full.risk == ll.expected_risk(white.replace(ridge=0.5 * white.n), [1]).fft_risk
    for end, known in zip(ends(), [*ll.expected_risk(white, [2]).risk, 0.25 * 4 * 5 / 10], strict=True):
        assert end.risk == pytest.approx(known)


def test_the_picture_has_theory_and_a_shift_of_0():
    nothing = OVER.replace(spectrum=(0.0,), input_covariance=None)
    found = train_report.beside_theory(nothing, [train(nothing, rank, steps=8, at=[0, 2, 4]) for rank in (2, None)])
    (axes,) = train_report.picture(found).axes
    by_label = {line.get_label(): line for line in axes.get_lines()}
    np.testing.assert_array_equal(by_label["LoRA, rank 2"].get_ydata(), found[0].path.risk[1:])
    drawn = [line.get_ydata() for line in axes.get_lines()]
    assert any(np.array_equal(y, found[0].run.risk.mean(axis=0)[1:]) for y in drawn)
    assert any(np.array_equal(y, [found[1].end.risk] * 2) for y in drawn)
    end = found[0].end._replace(risk=0.0)
    found = [each._replace(run=dataclasses.replace(each.run, risk=0 * each.run.risk), end=end) for each in found]
    with pytest.raises(ll.InvalidInput, match="picture: expected a risk above 0"):
        train_report.picture(found)


def test_methods_that_do_not_fit_beside_one_another_are_in_tables_below():
    groups = [[[f"LoRA, rank {r}", "1.2345"], ["+-", "0.1"]] for r in range(1, 6)]
    tables = train_report._side_by_side(["step", "0"], groups, 60)
    assert [len(table) for table in tables] == [5, 5, 3]
    for table in tables:
        assert table[0] == ["step", "0"]
        assert 1 + sum(max(map(len, column)) + 3 for column in table) <= 60
    assert [column for table in tables for column in table[1:]] == [column for group in groups for column in group]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ranks=0-2"], "ranks: expected integers in 1..min(n, dx, dy) = 4, received 0-2"),
        (["--trials=1"], "trials: expected at least 2"),
        (["--trials=100000000"], "trials: expected at most"),
        (
            ["--dx=9", "--dy=9", "--ranks=1-6", "--picture=x.png"],
            "ranks: expected at most 5 in a picture, received 1-6",
        ),
        (["--at=3,1"], "at: expected steps in 0..2000, increasing"),
        (["--at=x"], "at: expected comma-separated steps"),
        (["--optimiser=lion"], "optimiser: expected one of gd, momentum, adam, adamw"),
        (["--weight-decay=-1"], "weight_decay: expected a finite number >= 0"),
        (["--start=zero"], "start: expected one of kaiming"),
        (["--picture=x.jpg"], "picture: expected a file that ends in"),
    ],
)
def test_the_command_refuses_in_one_line_and_with_code_2(run, words, said):
    code, out, err = run(*WORDS, *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"linreg-lora: {said}")
    assert err.count("\n") == 1


def test_drawn_statistics_have_the_law_of_data():
    """Mean risks of D_FFT over Bartlett's factors and over explicit X, against exact formulas; level LEVEL in all."""
    wide = OVER.replace(n=40, noise_covariance=np.array([1.0, 2.0, 0.5, 0.5]))
    for problem, exact in (
        (wide, 0.25 * 4.0 * 5 / (40 - 5 - 1)),
        (UNDER.replace(dx=20), 13 * (1 - 4 / 20) + 0.25 * 4 * 4 / (20 - 4 - 1)),
    ):
        drawn = statistics.drawn_statistics(problem, None, trials=3000, seed=3)
        risk = np.sum(((drawn.full - problem.shift) @ problem.sigma_sqrt) ** 2, axis=(1, 2))
        z = (np.mean(risk) - exact) / (np.std(risk) / 3000**0.5)
        assert abs(z) < critical_z(2, LEVEL), z
        assert np.std(risk) / 3000**0.5 < 0.02 * exact


@pytest.mark.heavy
def test_the_figures_say_what_runs_say():
    """Small ones: descent beside the flow of theory, and quartiles of steps."""
    problem = ll.Problem(n=2000, dx=6, dy=5, spectrum=(3.0, 2.0), noise_std=3.0)
    found = training_time.data(400, 0, problem=problem, ranks=(2,), steps=400)
    flow = np.interp(found["descent_time"], found["time"], found["flow"].values[0])
    off = np.abs(found["risk"].values - [flow, found["flow"].interp(time=found["descent_time"]).values[1]])
    assert np.all(off < critical_z(off.size) * found["stderr"].values + 0.05 * found["risk"].values)
    assert found["level"].values[1] == pytest.approx(9 * 5 * 6 / (2000 - 6 - 1))
    steps = training_steps.data(60, 0, ranks=(2,), conditions=(1.0,), steps=60)
    run = train(training_steps.setting(1.0), 2, trials=3, seed=0, steps=60)
    counted = np.where(run.reached >= 0, run.reached, np.inf)
    np.testing.assert_array_equal(steps["reached"].sel(optimiser="gd").values[0, 0], np.sort(counted))
