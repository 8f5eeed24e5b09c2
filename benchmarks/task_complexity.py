"""Which number predicts whether LoRA or full fine-tuning wins: task complexity beside its rivals, on random problems.

    python benchmarks/task_complexity.py [--problems 1000] [--first 10000] [--workers 2] [--draws 400]

Problem k is drawn from seed `first` + k: dx and dy in 8..28, n on both sides of dx with |n - dx| > 3, a shift of one of
seven families (power law, exponential, flat of low rank, spikes over a flat tail, a Gaussian matrix of full rank,
lognormal, and low rank alone), its energy an entry over the noise of FFT's estimate of one even in log between 1/10 and
10. The winner at a rank uniform in 1..R - 1 is that of paired draws by plain NumPy, decided where their mean difference
is more than three standard errors from 0. Best ranks, of all and below FFT's, are chosen on half of the draws and
judged on the other. Each problem is written to `results/task_complexity.jsonl` when it is done, and those that are
there are not done again. Then the ends of windows in n are solved for (`task_complexity_windows`). The tables are
`results/task_complexity.md`, the figure `results/task_complexity.png`. Inputs and noise are isotropic here;
`task_complexity_covariances` has the others.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import task_complexity_report as report
import task_complexity_windows as windows
from task_complexity_report import FAMILIES

import linreg_lora as ll

RESULTS = Path(__file__).parent / "results"


def drawn(seed: int) -> tuple[str, ll.Problem, int, np.random.Generator]:
    """Family, problem, rank, and the generator that goes on."""
    g = np.random.default_rng([17, seed])
    family = FAMILIES[seed % len(FAMILIES)]
    dx, dy = (int(size) for size in g.integers(8, 29, size=2))
    above = dx < 9 or g.random() < 0.6
    n = int(dx + g.integers(4, 4 * dx)) if above else int(g.integers(3, dx - 3))
    s = spectrum(family, min(dx, dy), (dy, dx), g)
    ratio = 10 ** g.uniform(-1, 1)
    sigma = float(np.sqrt(np.sum(s**2) / (dx * dy) * (abs(n - dx) - 1) / ratio))
    problem = ll.Problem(n=n, dx=dx, dy=dy, spectrum=tuple(s.tolist()), noise_std=sigma)
    return family, problem, int(g.integers(1, problem.max_rank)), g


def spectrum(family: str, size: int, shape: tuple[int, int], g: np.random.Generator) -> np.ndarray:
    """Singular values, the largest first."""
    places = np.arange(size)
    if family == "power":
        values = (1.0 + places) ** -g.uniform(0.3, 2)
    elif family == "exponential":
        values = np.exp(-g.uniform(0.05, 1) * places)
    elif family == "flat":
        values = np.where(places < g.integers(1, size + 1), 1.0, 0.0)
    elif family == "spikes":
        few = int(g.integers(1, max(2, size // 3)))
        values = np.concatenate([g.uniform(2, 8, few), np.full(size - few, g.uniform(0.1, 1))])
    elif family == "gaussian":
        values = np.linalg.svd(g.standard_normal(shape), compute_uv=False)
    elif family == "lognormal":
        values = np.exp(g.uniform(0.3, 1.5) * g.standard_normal(size))
    else:
        values = np.where(places < max(1, size // 4), g.uniform(0.5, 3, size), 0.0)
    return np.sort(values)[::-1]


def differences(problem: ll.Problem, draws: int, g: np.random.Generator) -> np.ndarray:
    """risk(D_r) - risk(FFT) of each draw (rows) at ranks 0..R (columns), on the same data, by plain NumPy.

    D_r is FFT without the directions that it dropped, so the difference is 2 <P Delta, D_FFT> - ||P D_FFT||^2, summed
    over left singular vectors of the residual from the last to rank r.
    """
    n, dx, dy = problem.n, problem.dx, problem.dy
    shift = problem.shift
    x = g.standard_normal((draws, dx, n))
    r = shift @ x + problem.noise_std * g.standard_normal((draws, dy, n))
    if n > dx:
        root = np.linalg.cholesky(x @ x.mT)
        fitted = np.linalg.solve(root, x @ r.mT).mT  # R X^T L^{-T}, whose Gram matrix is that of the fit
        fft = np.linalg.solve(root.mT, fitted.mT).mT
    else:
        fitted, fft = r, r @ np.linalg.solve(x.mT @ x, x.mT)
    left = np.linalg.svd(fitted, full_matrices=False)[0][:, :, : problem.max_rank]
    moved, planted = left.mT @ fft, left.mT @ shift
    each = np.sum(moved * (2 * planted - moved), axis=2)
    return np.concatenate([np.cumsum(each[:, ::-1], axis=1)[:, ::-1], np.zeros((draws, 1))], axis=1)


def judged(task: tuple[int, int]) -> dict[str, Any]:
    """One problem: what happened, and what was predicted."""
    seed, draws = task
    family, problem, rank, g = drawn(seed)
    sample = differences(problem, draws, g)
    stderr = sample.std(axis=0, ddof=1) / np.sqrt(draws)
    full = problem.max_rank
    closed = ll.theory.task_complexity(problem, [rank])
    verdict = ll.theory.winner_at(problem, [rank])[0]
    dropped = ll.theory.discarded_signal(problem, [rank])
    best, by = ll.theory.winning_rank(problem)
    closed_best, solved_best = ll.theory.closed_best_rank(problem), ll.best_rank(problem)
    first, second = sample[: draws // 2], sample[draws // 2 :]
    chosen, lora = int(np.argmin(first.mean(axis=0))), int(np.argmin(first[:, :full].mean(axis=0)))
    s = np.asarray(problem.spectrum)
    share = s / s.sum()
    share = share[share > 0]
    spiked = ll.theory.spiked_risk(problem)
    detectable = int(np.sum(ll.theory.spikes(problem).detectable))
    return {
        "seed": seed, "family": family, "n": problem.n, "dx": problem.dx, "dy": problem.dy, "rank": rank, "full": full,
        "difference": float(sample[:, rank].mean()), "stderr": float(stderr[rank]),
        "relative": float(sample[:, rank].mean() / ll.theory.fft_risk(problem).risk),
        "predicted": float(dropped.difference[0]), "flagged": bool(dropped.flagged[0]),
        "sure": bool(closed.sure[0]), "says_lora": verdict.lora_wins, "by": verdict.by,
        "complexity": float(closed.complexity[0]), "odds": float(dropped.odds[0]),
        "least_complexity": float(ll.theory.task_complexity(problem).complexity.min()),
        "best_rank": best.rank, "best_by": by, "best_of_draws": chosen, "solved_best": solved_best.rank,
        "solved_flagged": solved_best.flagged, "closed_best": closed_best.rank,
        "best_regret": _paired(second[:, best.rank] - second[:, chosen]),
        "closed_regret": _paired(second[:, closed_best.rank] - second[:, chosen]),
        "best_lora": _paired(second[:, lora]),
        "spiked": float(spiked[rank] / spiked[full]), "detectable": detectable, "detectable_share": detectable / rank,
        "snr": float(problem.n * np.sum(s**2) / (problem.noise_std**2 * problem.dx * problem.dy)),
        "tail_share": float(np.sum(s[rank:] ** 2) / np.sum(s**2)), "nuclear": float(s.sum() ** 2 / np.sum(s**2)),
        "entropy": float(np.exp(-np.sum(share * np.log(share)))), "stable": float(np.sum(s**2) / s[0] ** 2),
        "rank_of_shift": int(np.sum(s > 0)),
    }  # fmt: skip


def _paired(sample: np.ndarray) -> list[float]:
    """Mean and standard error."""
    return [float(sample.mean()), float(sample.std(ddof=1) / np.sqrt(len(sample)))]


def _short(x: Any) -> Any:
    """Seven digits of every number, which is more than draws tell."""
    if isinstance(x, dict):
        return {name: _short(value) for name, value in x.items()}
    return [_short(value) for value in x] if isinstance(x, list) else float(f"{x:.7g}") if isinstance(x, float) else x


def judge(
    path: Path, seeds: range, draws: int, workers: int, of: Callable[[tuple[int, int]], dict[str, Any]] = judged
) -> list[dict[str, Any]]:
    """Every problem of `seeds`, those that are in the file already and the rest; `of` (seed, draws) judges one."""
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    left = sorted(set(seeds) - {row["seed"] for row in known})
    started = time.monotonic()
    tasks = [(seed, draws) for seed in left]
    with ProcessPoolExecutor(workers) as pool, path.open("a") as file:
        judging = map(of, tasks) if workers == 1 else pool.map(of, tasks, chunksize=4)
        for done, row in enumerate(judging, start=1):
            known.append(row)
            file.write(json.dumps(_short(row)) + "\n")
            if done % 50 == 0:
                file.flush()
                rest = (time.monotonic() - started) / done * (len(left) - done)
                print(f"{done} of {len(left)}, {rest:.0f} s left", flush=True)
    return sorted((row for row in known if row["seed"] in seeds), key=lambda row: row["seed"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--first", type=int, default=10000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--draws", type=int, default=400)
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.problems)
    rows = judge(RESULTS / "task_complexity.jsonl", seeds, asked.draws, asked.workers)
    ends = windows.ends(drawn, asked.first)
    text = report.tables(rows, asked.draws) + "\n" + windows.table(ends)
    (RESULTS / "task_complexity.md").write_text(text)
    report.draw(rows, RESULTS / "task_complexity.png")
    print(text)


if __name__ == "__main__":
    main()
