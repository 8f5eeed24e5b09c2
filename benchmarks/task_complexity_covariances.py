"""Who wins where neither inputs nor noise are isotropic: C_r for any Sigma and any Sigma_eps, n > dx.

    python benchmarks/task_complexity_covariances.py [--problems 280] [--first 20000] [--workers 1] [--draws 400]

The stratum that `task_complexity` has not. Problem k is drawn from seed `first` + k as there, with n > dx, its shift
turned at random, and dense covariances of inputs and noise whose eigenvalues are even in log over a range of 1 to 30,
of inputs and of noise each. Every second noise is loudest, or quietest, in the first left singular vectors of Delta
Sigma^{1/2}, and so on down to the last. The energy of Delta Sigma^{1/2} an entry, over the mean noise of FFT's estimate
of one, is even in log between 1/10 and 10. The winner at a rank uniform in 1..R - 1 is that of paired draws by plain
NumPy; it is compared with C_r where that is `sure`, and with the equivalent's difference elsewhere, and with C_r of the
trace of the noise alone, sigma^2 = Tr(Sigma_eps) / dy, which a formula for isotropic noise would say. Problems are
written to `results/task_complexity_covariances.jsonl` when they are done, and not done again; the table is the same
name's `.md`.
"""

import argparse
from typing import Any

import numpy as np
import task_complexity
from task_complexity import RESULTS
from task_complexity_report import DECIDED, FAMILIES, GOAL

import linreg_lora as ll

_CONDITION = 30.0


def covariance(size: int, g: np.random.Generator) -> np.ndarray:
    """Dense, of trace `size`."""
    q = np.linalg.qr(g.standard_normal((size, size)))[0]
    values = variances(size, g)
    return (q * values) @ q.T


def variances(size: int, g: np.random.Generator) -> np.ndarray:
    """Of mean 1."""
    values = np.exp(g.uniform(0, np.log(g.uniform(1, _CONDITION)), size))
    return values / values.mean()


def drawn(seed: int) -> tuple[str, ll.Problem, int, np.random.Generator]:
    """Family, problem, rank, and the generator that goes on."""
    g = np.random.default_rng([18, seed])
    family = FAMILIES[seed % len(FAMILIES)]
    dx, dy = (int(size) for size in g.integers(8, 29, size=2))
    n = int(dx + g.integers(4, 4 * dx))
    s = task_complexity.spectrum(family, min(dx, dy), (dy, dx), g)
    v, inputs, ratio = np.linalg.qr(g.standard_normal((dx, len(s))))[0], covariance(dx, g), 10 ** g.uniform(-1, 1)
    outputs = np.linalg.qr(g.standard_normal((dy, dy)))[0]
    shift = (outputs[:, : len(s)] * s) @ v.T
    if seed % 2:
        noise = covariance(dy, g)
    else:
        u = np.linalg.svd(shift @ np.linalg.cholesky(inputs))[0]
        noise = (u * np.sort(variances(dy, g))[:: int(g.choice([-1, 1]))]) @ u.T
    energy = float(np.trace(shift @ inputs @ shift.T))
    sigma = float(np.sqrt(energy / (dx * dy) * (n - dx - 1) / ratio))
    problem = ll.Problem(
        n=n, dx=dx, dy=dy, task_shift=shift, noise_std=sigma, input_covariance=inputs, noise_covariance=noise
    )
    return family, problem, int(g.integers(1, problem.max_rank)), g


def difference(problem: ll.Problem, rank: int, draws: int, g: np.random.Generator) -> np.ndarray:
    """risk(D_r) - risk(FFT) of each draw, from the definitions: 2 <P Delta, P D>_Sigma - ||P D Sigma^{1/2}||^2."""
    of_inputs, of_noise = np.linalg.cholesky(problem.sigma), np.linalg.cholesky(problem.sigma_eps)
    x = of_inputs @ g.standard_normal((draws, problem.dx, problem.n))
    r = problem.shift @ x + of_noise @ g.standard_normal((draws, problem.dy, problem.n))
    root = np.linalg.cholesky(x @ x.mT)
    fitted = np.linalg.solve(root, x @ r.mT).mT
    update = np.linalg.solve(root.mT, fitted.mT).mT @ of_inputs
    left = np.linalg.svd(fitted, full_matrices=False)[0][:, :, rank:]
    moved, planted = left.mT @ update, left.mT @ (problem.shift @ of_inputs)
    return np.sum(moved * (2 * planted - moved), axis=(1, 2))


def judged(task: tuple[int, int]) -> dict[str, Any]:
    """One problem: what happened, and what was predicted."""
    seed, draws = task
    family, problem, rank, g = drawn(seed)
    sample = difference(problem, rank, draws, g)
    closed, verdict = ll.theory.task_complexity(problem, [rank]), ll.theory.winner_at(problem, [rank])[0]
    plain = problem.replace(noise_covariance=None, noise_std=float(np.sqrt(np.trace(problem.sigma_eps) / problem.dy)))
    return {
        "seed": seed, "family": family, "n": problem.n, "dx": problem.dx, "dy": problem.dy, "rank": rank,
        "full": problem.max_rank, "difference": float(sample.mean()),
        "stderr": float(sample.std(ddof=1) / np.sqrt(draws)), "sure": bool(closed.sure[0]),
        "complexity": float(closed.complexity[0]), "says_lora": verdict.lora_wins, "by": verdict.by,
        "of_the_trace": float(ll.theory.task_complexity(plain, [rank]).complexity[0]),
        "noise_condition": float(np.linalg.cond(problem.sigma_eps)),
    }  # fmt: skip


def table(rows: list[dict[str, Any]], draws: int) -> str:
    known = [row for row in rows if abs(row["difference"]) > DECIDED * row["stderr"]]

    def share(some: list[dict[str, Any]], field: str) -> str:
        if not some:
            return "-"
        good = sum((row[field] if field == "says_lora" else row[field] < 1) == (row["difference"] < 0) for row in some)
        return f"{100 * good / len(some):.1f} % of {len(some)}"

    def cells(name: str, some: list[dict[str, Any]]) -> str:
        inside, outside = [row for row in some if row["sure"]], [row for row in some if not row["sure"]]
        found = [share(some, "complexity"), share(inside, "complexity"), share(outside, "says_lora")]
        return f"| {name} | {' | '.join([*found, share(some, 'says_lora'), share(some, 'of_the_trace')])} |"

    inside = [row for row in known if row["sure"]]
    right = np.mean([(row["complexity"] < 1) == (row["difference"] < 0) for row in inside])
    lines = [
        "# Task complexity for any covariances, n > dx", "",
        f"Written by `python benchmarks/task_complexity_covariances.py --problems {len(rows)} --first "
        f"{rows[0]['seed']} --draws {draws}`: {len(rows)} random problems with dense covariances of inputs and noise, "
        f"{len(known)} of them decided at {DECIDED:g} standard errors of {draws} paired draws. Goal in the domain: "
        f"{100 * GOAL:g} %, {'met' if right >= GOAL else 'missed'}.", "",
        "| cases | C_r everywhere | C_r in its domain | the difference outside | both together | C_r of Tr Sigma_eps |",
        "|---|---|---|---|---|---|", cells("all", known),
    ]  # fmt: skip
    lines += [cells(family, [row for row in known if row["family"] == family]) for family in FAMILIES]
    for low, high in ((1, 5), (5, 15), (15, np.inf)):
        some = [row for row in known if low <= row["noise_condition"] < high]
        lines.append(cells(f"noise of condition in [{low:g}, {high:g})", some))
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=280)
    parser.add_argument("--first", type=int, default=20000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--draws", type=int, default=400)
    asked = parser.parse_args()
    seeds, name = range(asked.first, asked.first + asked.problems), "task_complexity_covariances"
    rows = task_complexity.judge(RESULTS / f"{name}.jsonl", seeds, asked.draws, asked.workers, judged)
    text = table(rows, asked.draws)
    (RESULTS / f"{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
