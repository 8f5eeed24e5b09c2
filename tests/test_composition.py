"""Adapters that are added, and tasks one after another: theory against plain NumPy, both sides of the threshold."""

import json

import numpy as np
import pytest
from comparisons import assert_means_agree, critical_z
from refusals import refused

import linreg_lora as ll
from linreg_lora.theory.expected_update import _of_full
from linreg_lora.theory.functionals import functionals
from linreg_lora.theory.mean_shrinkage import mean_shares

DX, DY, DRAWS = 20, 14, 4000
#: The error that an equivalent may have where it is not flagged, relatively.
UNFLAGGED = 0.01


def covariance(rng, size):
    root = rng.standard_normal((size, 2 * size)) / np.sqrt(2 * size)
    return root @ root.T


def tasks_of(sizes, seed=0, isotropic=False, **more):
    """Problems whose shifts of rank two overlap, with one Sigma."""
    rng = np.random.default_rng(seed)
    sigma = np.full(DX, 1.5) if isotropic else covariance(rng, DX)
    shared = rng.standard_normal((DY, 1)) @ rng.standard_normal((1, DX)) / 4
    found = []
    for n in sizes:
        shift = shared + rng.standard_normal((DY, 1)) @ rng.standard_normal((1, DX)) / 3
        settings = {"task_shift": shift, "input_covariance": sigma, "noise_covariance": covariance(rng, DY), **more}
        found.append(ll.Problem(n=n, dx=DX, dy=DY, noise_std=0.8, **settings))
    return found


def drawn_updates(problem, rng, ranks, draws=DRAWS, moved=0.0):
    """Updates (draws x dy x dx) of each rank on the same data, from a base that was moved already.

    The residual's least squares D by normal equations, in whichever of the two sizes is not singular, and its best
    rank in the metric of X X^T + ridge.
    """
    x = np.linalg.cholesky(problem.sigma) @ rng.standard_normal((draws, problem.dx, problem.n))
    noise = np.linalg.cholesky(problem.sigma_eps) @ rng.standard_normal((draws, problem.dy, problem.n))
    residual = (problem.shift - moved) @ x + noise
    gram = x @ x.mT + problem.ridge * np.eye(problem.dx)
    if problem.n < problem.dx and not problem.ridge:
        full = residual @ np.linalg.solve(x.mT @ x, x.mT)
    else:
        full = np.linalg.solve(gram, x @ residual.mT).mT
    u = np.linalg.eigh(full @ gram @ full.mT)[1]
    return [kept @ (kept.mT @ full) for kept in (u[..., problem.dy - min(rank, problem.dy) :] for rank in ranks)]


def risks(updates, problem):
    errors = updates - problem.shift
    return np.einsum("kij,jl,kil->k", errors, problem.sigma, errors, optimize=True)


def mean_of(samples):
    """Mean and standard error over the last axis."""
    return np.mean(samples, axis=-1), np.std(samples, axis=-1, ddof=1) / np.sqrt(np.shape(samples)[-1])


def stated_error(flagged, expected, correction=0.0):
    """What an equivalent may be off by: 1 % where it is not flagged, there as much as its first correction."""
    return np.maximum(UNFLAGGED * np.abs(expected), flagged * np.abs(correction))


# -- the mean of the update ---------------------------------------------------------------------------------------

SETTINGS = {
    "overdetermined": (tasks_of([60])[0], 2),
    "underdetermined": (tasks_of([10], seed=1)[0], 2),
    "ridge at the threshold": (tasks_of([DX], seed=2, ridge=4.0)[0], 1),
    "isotropic": (ll.Problem(n=60, dx=DX, dy=DY, spectrum=(3.0, 2.0, 1.0), noise_std=1.0), 3),
    "underdetermined, isotropic": (ll.Problem(n=9, dx=DX, dy=DY, spectrum=(4.0, 3.0), noise_std=0.5), 2),
}


def along(updates, directions):
    return np.einsum("kij,dij->dk", updates, directions, optimize=True)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_mean_update_is_that_of_plain_fits(name):
    """Along Delta Sigma, of which the error is stated, and along four directions at random.

    1e-6 false alarms over all 25, beside the stated error: 1 % of the overlap, where flagged its first correction; of
    ||M|| times the direction's length along others. Power: no shrinkage would be seen where there is some.
    """
    problem, rank = SETTINGS[name]
    rng = np.random.default_rng(3)
    directions = np.stack([problem.shift @ problem.sigma, *rng.standard_normal((4, DY, DX))])
    (updates,) = drawn_updates(problem, rng, [rank])
    mean, stderr = mean_of(along(updates, directions))
    found = ll.mean_update(problem, rank)
    (expected,) = along(found.update[None], directions).T
    moved = functionals(problem, np.array([float(rank)]), correction=True).correction[0, 2]
    size = np.linalg.norm(found.update) * np.linalg.norm(directions, axis=(1, 2))
    slack = np.array([stated_error(found.flagged, expected[0], moved), *UNFLAGGED * size[1:]])
    bound = critical_z(25) * stderr + slack
    assert np.all(np.abs(expected - mean) < bound), (expected, mean, stderr, slack)
    (rival,) = along(problem.shift[None], directions[:1]).T
    if problem.n < DX or problem.ridge:
        assert np.abs(rival - mean)[0] > bound[0], "no shrinkage would be seen"


#: Where FFT shrinks by an equivalent: variances of the inputs, n, ridge, and whether that is flagged.
SHRUNK = {
    "few samples, uneven": (np.arange(1, 21) ** -1.0, 5, 0.0, False),
    "a ridge, uneven": (np.arange(1, 21) ** -1.0, 17, 10.0, False),
    "a ridge at the threshold": (np.ones(8), 8, 1.0, False),
    "two samples of eight": (np.array([10.0, 3, 1, 1, 1, 1, 0.1, 0.1]), 2, 0.0, True),
    "one sample and a ridge": (np.array([10.0, 3, 1, 1, 1, 1, 0.1, 0.1]), 1, 1.0, True),
}


@pytest.mark.parametrize("name", SHRUNK)
def test_full_fine_tuning_shrinks_by_its_corrected_share(name):
    """The overlap with Delta Sigma where every direction has shift: 1e-6 false alarms over five, beside 1 %.

    Power: the limit without its correction, off by 2 to 7 %, is rejected in each.
    """
    variances, n, ridge, flagged = SHRUNK[name]
    dx = len(variances)
    problem = ll.Problem(n=n, dx=dx, dy=dx, task_shift=np.eye(dx), input_covariance=variances, noise_std=0.5)
    x = np.sqrt(variances)[:, None] * np.random.default_rng(4).standard_normal((20_000, dx, n))
    kept = x @ np.linalg.solve(x.mT @ x + ridge * np.eye(n), x.mT)
    mean, stderr = mean_of(np.einsum("kii,i->k", kept, variances))
    found = _of_full(problem.replace(ridge=ridge))
    overlap = np.sum(found.update.diagonal() * variances)
    limit, correction = (np.sum(part * variances) for part in mean_shares(variances, n, ridge))
    assert overlap == pytest.approx(limit + correction, rel=1e-12)
    assert found.flagged == flagged
    bound = critical_z(5) * stderr + stated_error(flagged, overlap, correction)
    assert abs(overlap - mean) < bound, (overlap, mean, stderr, correction)
    assert abs(limit - mean) > critical_z(5) * stderr


@pytest.mark.parametrize("name", SETTINGS)
def test_its_overlap_with_the_shift_is_that_of_the_risk(name):
    """Two ways to T2: a matrix integrated here, a trace by the sweep over bands or its contours."""
    problem, rank = SETTINGS[name]
    found = ll.mean_update(problem, rank)
    overlap = np.sum((found.update @ problem.sigma) * problem.shift)
    parts = functionals(problem, np.array([float(rank)]), correction=True)
    assert overlap == pytest.approx(parts.raw[0, 2], rel=1e-8)
    assert found.flagged == (abs(parts.correction[0, 2]) > 0.01 * abs(overlap))


def test_isotropic_means_are_diagonal_and_full_ranks_are_those_of_fft():
    problem, _ = SETTINGS["isotropic"]
    found = ll.mean_update(problem, 2).update
    np.testing.assert_allclose(found, np.diag(np.diagonal(found)) @ np.eye(DY, DX), atol=1e-10)
    assert np.array_equal(ll.mean_update(problem, DY).update, problem.shift)
    assert not ll.mean_update(problem, 0).update.any()
    few, _ = SETTINGS["underdetermined, isotropic"]
    np.testing.assert_allclose(ll.mean_update(few, 9).update, few.shift * 9 / DX)
    general, _ = SETTINGS["underdetermined"]
    (updates,) = drawn_updates(general, np.random.default_rng(4), [DY])
    ((mean,), (stderr,)) = mean_of(along(updates, (general.shift @ general.sigma)[None]))
    found = ll.mean_update(general, 10)
    expected = np.sum((found.update @ general.sigma) * general.shift)
    assert not found.flagged
    assert abs(mean - expected) < critical_z(1) * stderr + UNFLAGGED * expected


def test_a_singular_sigma_moves_nothing_that_has_no_variance():
    rng = np.random.default_rng(5)
    root = rng.standard_normal((DX, 8))
    problem = tasks_of([30])[0].replace(input_covariance=root @ root.T)
    found = ll.mean_update(problem, 2).update
    null = np.eye(DX) - root @ np.linalg.pinv(root)
    np.testing.assert_allclose(found @ null, 0, atol=1e-9 * np.linalg.norm(found))


def test_refusals_of_the_mean():
    problem = tasks_of([60])[0]
    with refused("ranks", "integers in 0..14"):
        ll.mean_update(problem, 15)
    with refused("problem", "a mean that exists"):
        ll.mean_update(problem.replace(n=DX), 2)
    with refused("input_law", "gaussian for the mean of the update"):
        ll.mean_update(problem.replace(input_law="t:8"), 2)


# -- task arithmetic ----------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize("sizes", [(60, 45), (10, 60)])
def test_task_arithmetic_is_the_mean_of_plain_sums(sizes):
    """Three weightings, both tasks: 1e-6 false alarms over all, beside 1 %; the rival has no cross term."""
    tasks = tasks_of(sizes, seed=6)
    best = ll.theory.task_arithmetic(tasks, (2, 1))
    weightings = [best.weights, np.array([1.0, 1.0]), np.array([0.5, 0.0])]
    rng = np.random.default_rng(7)
    (one,), (two,) = (drawn_updates(task, rng, [rank]) for task, rank in zip(tasks, (2, 1), strict=True))
    mean, stderr = mean_of([[risks(a * one + b * two, task) for task in tasks] for a, b in weightings])
    found = np.array([ll.theory.task_arithmetic(tasks, (2, 1), weights=a).risks for a in weightings])
    assert not best.flagged
    bound = critical_z(12) * stderr + UNFLAGGED * mean
    assert np.all(np.abs(found - mean) < bound), (found, mean, stderr)
    np.testing.assert_allclose(best.risks, found[0], rtol=1e-12)
    moves = [ll.mean_update(task, rank).update for task, rank in zip(tasks, (2, 1), strict=True)]
    cross = 2 * np.sum((moves[0] @ tasks[0].sigma) * moves[1])
    assert np.all(np.abs(found[1] - cross - mean[1]) > bound[1]), "without the cross term it would be seen"


def test_simulated_sums_are_those_of_plain_fits():
    """A LoRA and a full fit in another regime: 1e-6 false alarms over two. Power: weights of the other order."""
    tasks = tasks_of((30, 8), seed=29, pretrained=np.ones((DY, DX)))
    rng = np.random.default_rng(30)
    (one,), (two,) = (drawn_updates(task, rng, [rank]) for task, rank in zip(tasks, (1, DY), strict=True))
    mean, stderr = mean_of([risks(0.8 * one - 0.3 * two, task) for task in tasks])
    drawn = ll.simulation.simulate_sum(tasks, ["lora:1", "fft"], (0.8, -0.3), trials=1000, seed=1)
    assert_means_agree(drawn.risks, drawn.stderr, mean, stderr)
    rival, _ = mean_of([risks(-0.3 * one + 0.8 * two, task) for task in tasks])
    assert np.all(np.abs(rival - mean) > 2 * critical_z(2) * np.hypot(stderr, drawn.stderr))
    with refused("weights", "2 numbers", "shape (1,)"):
        ll.simulation.simulate_sum(tasks, "fft", (1.0,), trials=4, seed=0)


def test_aligned_tasks_have_the_singular_values_and_the_cosines():
    for c in (0.0, 0.6, 1.0):
        shifts = ll.theory.aligned_shifts([(3.0, 2.0), (2.0, 1.0), (1.5,)], c, 7, 9)
        for shift, values in zip(shifts, [(3, 2), (2, 1), (1.5, 0)], strict=True):
            np.testing.assert_allclose(np.linalg.svd(shift, compute_uv=False)[:2], values, atol=1e-12)
        gram = np.einsum("aij,bij->ab", shifts, shifts)
        among = c**2 if c == 1 else c**4  # later tasks have cosines c^2 on either side, where they are not the same
        expected = [[13, 8 * c**2, 4.5 * c**2], [8 * c**2, 5, 3 * among], [4.5 * c**2, 3 * among, 2.25]]
        np.testing.assert_allclose(gram, expected, atol=1e-12)
    with refused("task", "at most min(dx, dy) = 3 directions", "4"):
        ll.theory.aligned_shifts([(3.0, 2.0), (2.0, 1.0)], 0.5, 3, 9)
    with refused("alignment", "a cosine in 0..1"):
        ll.theory.aligned_shifts([(3.0,), (2.0,)], 1.5, 3, 9)


def test_theory_and_draws_side_by_side(run):
    """The command line against the functions, and a theory that is not there."""
    sizes = ["--dx=20", "--dy=14", "--noise-std=1", "--task=3,2", "--task=2", "--alignment=0.5", "--format=json"]
    shifts = ll.theory.aligned_shifts([(3.0, 2.0), (2.0,)], 0.5, DY, DX)
    tasks = [ll.Problem(n=n, dx=DX, dy=DY, task_shift=s, noise_std=1.0) for n, s in zip((60, 10), shifts, strict=True)]
    code, out, err = run("compose", "--n=60,10", *sizes, "--adapt=fft", "--how=sequence", "--trials=50", "--seed=4")
    assert (code, err) == (0, "")
    said, exact = json.loads(out), ll.theory.sequential_fft(tasks)
    np.testing.assert_allclose([stage["theory"] for stage in said["stages"]], exact)
    drawn = ll.simulate_sequence(tasks, "fft", trials=50, seed=4)
    np.testing.assert_allclose([stage["monte_carlo"]["mean"] for stage in said["stages"]], drawn.risks)
    (forgotten,) = said["forgetting"]
    assert forgotten["theory"] == pytest.approx(exact[2, 0] - exact[1, 0])
    assert forgotten["mean"] == pytest.approx(drawn.risks[2, 0] - drawn.risks[1, 0])
    code, out, err = run("compose", "--n=60", *sizes, "--adapt=lora:2,lora:1", "--method=theory")
    best = ll.theory.task_arithmetic([tasks[0], tasks[1].replace(n=60)], (2, 1))
    said = json.loads(out)
    assert said["weights"] == {"values": pytest.approx(best.weights.tolist()), "given": False}
    assert said["stages"][1]["theory"] == pytest.approx(best.risks.tolist())
    code, out, err = run("compose", "--n=60", *sizes, "--adapt=bitfit", "--weights=1,0", "--trials=50")
    said = json.loads(out)
    assert said["stages"][1]["theory"] == [None, None]
    assert "received bitfit" in said["note"]


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--n=60,10,5"], "n: expected one value, or one for each of 2 tasks, received 3 values"),
        (["--n=x"], "n: expected integers, as in 60 or 60,40"),
        (["--n=0"], "n: expected"),
        (["--task=1,2"], "task: expected"),
        (["--task=power-law:x"], "task: expected"),
        (["--task=1,1,1,1,1,1,1,1,1,1,1,1,1"], "task: expected at most min(dx, dy) = 14 directions"),
        (["--alignment=2"], "alignment: expected a cosine in 0..1"),
        (["--adapt=lora:2,fft"], "adapt: expected one value, or one for each of 3 tasks, received 2 values"),
        (["--adapt=bitfit"], "method: expected lora:RANK or fft, whose mean update theory knows, received bitfit"),
        (["--adapt=lora:15"], "ranks: expected integers in 0..14"),
        (["--weights=1"], "weights: expected one for each of 2 tasks, received 1 values"),
        (["--weights=1,0", "--how=sequence"], "weights: expected none for a sequence"),
        (["--n=20"], "problems: expected tasks whose risk has a mean"),
        (["--dx=100000", "--dy=100000"], "dx: expected a shift of at most 1e+07 entries"),
        (["--how=both"], "how"),
    ],
)
def test_what_cannot_be_composed_is_one_line(run, words, field):
    given = {word.split("=")[0] for word in words} - {"--task"}
    usual = ["--n=60", "--dx=20", "--dy=14", "--noise-std=1", "--adapt=lora:1", "--task=3,2", "--task=2"]
    more = [word for word in usual if word.split("=")[0] not in given]
    if words == ["--adapt=lora:2,fft"]:
        more.append("--task=1")
    code, out, err = run("compose", *more, *words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert field in err.lower() or field in err


def test_no_other_weights_are_better():
    tasks = tasks_of((60, 45, 80), seed=8, isotropic=True, noise_covariance=None)
    best = ll.theory.task_arithmetic(tasks, 2)
    for step in 0.05 * np.vstack([np.eye(3), -np.eye(3)]):
        near = ll.theory.task_arithmetic(tasks, 2, weights=best.weights + step)
        assert near.risks.sum() > best.risks.sum()
    alone = ll.theory.task_arithmetic(tasks, 2, weights=(1, 0, 0))
    assert alone.risks[0] == pytest.approx(ll.expected_risk(tasks[0], [2]).risk[0], rel=1e-9)


def test_fft_of_two_tasks_is_exact():
    tasks = tasks_of((60, 45), seed=9)
    found = ll.theory.task_arithmetic(tasks, DY, weights=(1, 1)).risks
    sigma = tasks[0].sigma
    noise = sum(ll.theory.fft_risk(task).risk for task in tasks)
    for own, other in ((0, 1), (1, 0)):
        shift = tasks[other].shift
        assert found[own] == pytest.approx(noise + np.sum((shift @ sigma) * shift), rel=1e-12)


def test_what_is_no_family_of_tasks_is_refused():
    tasks = tasks_of((60, 45))
    with refused("problems", "one Sigma and one A0", "problem 1"):
        ll.theory.task_arithmetic([tasks[0], tasks[1].replace(input_covariance=None)], 2)
    with refused("problems", "one Sigma and one A0"):
        ll.theory.task_arithmetic([tasks[0], tasks[1].replace(pretrained=np.ones((DY, DX)))], 2)
    with refused("problems", "a list of problems"):
        ll.theory.task_arithmetic([], 2)
    with refused("problems", "whose risk has a mean"):
        ll.theory.task_arithmetic([tasks[0].replace(n=DX)], 2)
    with refused("ranks", "one for each of 2"):
        ll.theory.task_arithmetic(tasks, [2])
    with refused("weights", "2 numbers", "shape (3,)"):
        ll.theory.task_arithmetic(tasks, 2, weights=(1, 1, 1))


# -- distillation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [60, 9])
def test_a_student_learns_the_teachers_error(n):
    """1e-6 false alarms over four, beside 1 %, where flagged twice that; the rival is the risk on its own problem."""
    (problem,) = tasks_of([n], seed=10)
    error = np.random.default_rng(11).standard_normal((DY, DX)) / 5
    student, ranks = problem.replace(task_shift=problem.shift + error), (2, problem.max_rank)
    drawn = drawn_updates(student, np.random.default_rng(12), (2, DY))
    mean, stderr = mean_of([risks(updates, problem) for updates in drawn])
    each = [ll.theory.distilled_risk(problem, error, rank) for rank in ranks]
    found = np.array([one.risks[0] for one in each])
    assert [one.flagged for one in each] == [n == 9] * 2
    bound = critical_z(4) * stderr + UNFLAGGED * (1 + np.array([one.flagged for one in each])) * mean
    assert np.all(np.abs(found - mean) < bound), (found, mean, stderr)
    assert abs(ll.expected_risk(student, [2]).risk[0] - mean[0]) > bound[0]
    with refused("teacher_error", "dy x dx = 14 x 20"):
        ll.theory.distilled_risk(problem, np.zeros((DX, DY)), 2)


# -- one after another --------------------------------------------------------------------------------------------

SEQUENCES = {
    "forgets all": (tasks_of((40, 60), seed=13), False),
    "keeps a share": (tasks_of((60, 8), seed=14, isotropic=True), True),
    "few, then fewer": (tasks_of((12, 9), seed=15, isotropic=True), True),
    "few, then many": (tasks_of((8, 40), seed=16, isotropic=True), False),
    "three tasks": (tasks_of((50, 10, 14), seed=17, isotropic=True), True),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequential_fft_is_the_mean_of_plain_fits(name):
    """Exact: 1e-6 false alarms over all stages and tasks; what overwrites everything would be seen."""
    tasks, some_is_left = SEQUENCES[name]
    rng, moved, seen = np.random.default_rng(18), 0.0, []
    for task in tasks:
        moved = moved + drawn_updates(task, rng, [DY], moved=moved)[0]
        seen.append([risks(moved, each) for each in tasks])
    mean, stderr = mean_of(seen)
    found = ll.theory.sequential_fft(tasks)
    z = np.abs(found[1:] - mean) / stderr
    assert np.all(z < critical_z(5 * 9)), z
    np.testing.assert_allclose(found[0], [task.pretrained_risk for task in tasks])
    fresh = ll.theory.sequential_fft(tasks[-1:])[1, 0]
    assert (abs(fresh - mean[-1, -1]) > critical_z(45) * stderr[-1, -1]) == some_is_left


def test_sequential_fft_on_one_task_is_fft_and_again_is_more_data_on_neither_side():
    (first,) = tasks_of((50,), seed=19)
    found = ll.theory.sequential_fft([first])
    assert found[1, 0] == pytest.approx(ll.theory.fft_risk(first).risk, rel=1e-12)
    few = tasks_of((8,), seed=19, isotropic=True)[0]
    twice = ll.theory.sequential_fft([few, few])
    assert twice[1, 0] == pytest.approx(ll.theory.fft_risk(few).risk, rel=1e-12)


def test_sequences_that_are_not_exact_are_refused():
    tasks = tasks_of((60, 8), seed=20)
    with refused("input_covariance", "a multiple of the identity, or n > dx at every stage"):
        ll.theory.sequential_fft(tasks)
    with refused("ridge", "0 for full fine-tuning", "2.0"):
        ll.theory.sequential_fft(tasks_of((60, 50), ridge=2.0))
    with refused("problems", "whose risk has a mean"):
        ll.theory.sequential_fft(tasks_of((60, DX), isotropic=True))
    with refused("update", "dy x dx"):
        ll.theory.after_merging(tasks[0], np.zeros((2, 2)))


def test_given_the_first_update_a_second_lora_is_lora_on_what_is_left():
    """Given each of five merged updates, against plain second fits: 1e-6 over two comparisons, beside 1 %."""
    tasks = tasks_of((60, 50), seed=21, isotropic=True)
    tasks = [task.replace(noise_covariance=None) for task in tasks]
    rng, theory, seen = np.random.default_rng(22), [], []
    for first in drawn_updates(tasks[0], rng, [1], draws=20)[0]:
        curve = ll.expected_risk(ll.theory.after_merging(tasks[1], first), [2])
        if curve.flagged[0] or len(theory) == 5:
            continue
        theory.append(curve.risk[0])
        (second,) = drawn_updates(tasks[1], rng, [2], draws=800, moved=first)
        seen.append(risks(first + second, tasks[1]))
    assert len(theory) == 5, "of twenty first updates at least five leave a problem that is not flagged"
    mean, stderr = np.mean(seen), np.sqrt(np.sum(mean_of(seen)[1] ** 2)) / 5
    bound = critical_z(2) * stderr + UNFLAGGED * mean
    assert abs(np.mean(theory) - mean) < bound
    assert abs(ll.expected_risk(tasks[1], [2]).risk[0] - mean) > bound, "a fresh LoRA would be seen"


#: A sequence of LoRA of rank 1, then 2, in each regime.
LORA_SEQUENCES = {
    "overdetermined": tasks_of((40, 30), seed=24),
    "underdetermined": tasks_of((8, 12), seed=25),
    "many, then few": tasks_of((60, 9), seed=26),
    "a ridge at the threshold": tasks_of((DX, DX), seed=27, ridge=3.0),
}


@pytest.mark.parametrize(
    "name",
    [name if name in ("overdetermined", "underdetermined") else pytest.param(name, marks=pytest.mark.heavy)
     for name in LORA_SEQUENCES],
)  # fmt: skip
def test_simulated_lora_in_sequence_is_that_of_plain_fits(name):
    """Both tasks after both stages: 1e-6 false alarms over sixteen. Power: a second LoRA from A0 would be seen."""
    tasks = LORA_SEQUENCES[name]
    rng, moved, seen = np.random.default_rng(28), 0.0, []
    for task, rank in zip(tasks, (1, 2), strict=True):
        (fresh,) = drawn_updates(task, rng, [rank])
        moved = moved + drawn_updates(task, rng, [rank], moved=moved)[0]
        seen.append([risks(moved, each) for each in tasks])
    mean, stderr = mean_of(seen)
    drawn = ll.simulate_sequence(tasks, ["lora:1", "lora:2"], trials=1000, seed=3)
    assert_means_agree(drawn.risks[1:], drawn.stderr[1:], mean, stderr, comparisons=16)
    rival, rival_stderr = mean_of(risks(fresh, tasks[1]))
    assert abs(rival - drawn.risks[2, 1]) > critical_z(16) * np.hypot(rival_stderr, drawn.stderr[2, 1])
    assert drawn.risks[2, 0] - drawn.risks[1, 0] > critical_z(16) * np.hypot(*drawn.stderr[1:, 0]), "it is forgotten"


def test_simulated_sequences_take_any_method_and_say_what_has_no_mean():
    tasks = tasks_of((40, 60), seed=23, pretrained=np.ones((DY, DX)))
    mixed = ll.simulate_sequence(tasks, ["bitfit", "qlora:2"], trials=64, seed=0)
    one = ll.monte_carlo(tasks[0], trials=2000, seed=1, method="bitfit")
    assert abs(mixed.risks[1, 0] - one.risk) < critical_z(1) * np.hypot(mixed.stderr[1, 0], one.stderr)
    with refused("problems", "stages whose risk has a mean", "ia3 at n = 2"):
        ll.simulate_sequence([tasks[0].replace(n=2)], "ia3", trials=4, seed=0)
    with refused("methods", "one for each of 2 problems"):
        ll.simulate_sequence(tasks, ["fft"], trials=4, seed=0)
    short = [task.replace(n=DX + 3) for task in tasks]
    assert np.all(np.isnan(ll.simulate_sequence(short, "fft", trials=4, seed=0).stderr[1:]))
