"""Which number predicts whether LoRA or full fine-tuning wins: task complexity beside its rivals, on random problems.

    python benchmarks/task_complexity.py [--problems 1000] [--first 0] [--workers 2] [--draws 400]

Problem k is drawn from seed `first` + k: dx and dy in 8..28, n on both sides of dx with |n - dx| > 3, a shift of one of
seven families (power law, exponential, flat of low rank, spikes over a flat tail, a Gaussian matrix of full rank,
lognormal, and low rank alone), its energy an entry over the noise of FFT's estimate of one even in log between 1/10 and
10. The winner at a rank uniform in 1..R - 1 is that of paired draws by plain NumPy, decided where their mean difference
is more than three standard errors from 0. The best rank is chosen on half of the draws and judged on the other. Each
problem is written to `results/task_complexity.jsonl` when it is done, and those that are there are not done again;
`results/task_complexity.md` is the table.
"""

import argparse
import itertools
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import scipy.stats

import linreg_lora as ll

RESULTS = Path(__file__).parent / "results"
FAMILIES = ("power", "exponential", "flat", "spikes", "gaussian", "lognormal", "low-rank")
DECIDED, GOAL = 3.0, 0.985
BINS = (0.0, 0.5, 0.8, 1.0, 1.25, np.inf)
#: Numbers that may say who wins; the first two have their threshold, 1, beforehand.
PREDICTORS = {
    "C_r, in closed form": "complexity",
    "odds of signal in what is dropped": "odds",
    "risk ratio of the spiked model": "spiked",
    "detectable directions": "detectable",
    "detectable directions / r": "detectable_share",
    "n ||Delta||^2 / (sigma^2 dx dy)": "snr",
    "tail_r^2 / ||Delta||^2": "tail_share",
    "nuclear^2 / Frobenius^2": "nuclear",
    "entropy effective rank": "entropy",
    "stable rank": "stable",
    "rank": "rank_of_shift",
}


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
    halves = sample[: draws // 2].mean(axis=0), sample[draws // 2 :].mean(axis=0)
    chosen = int(np.argmin(halves[0]))
    doubt = np.std(sample[draws // 2 :, best.rank] - sample[draws // 2 :, chosen], ddof=1) / np.sqrt(draws / 2)
    s = np.asarray(problem.spectrum)
    share = s / s.sum()
    share = share[share > 0]
    spiked = ll.theory.spiked_risk(problem)
    detectable = int(np.sum(ll.theory.spikes(problem).detectable))
    return {
        "seed": seed, "family": family, "n": problem.n, "dx": problem.dx, "dy": problem.dy, "rank": rank, "full": full,
        "difference": float(sample[:, rank].mean()), "stderr": float(stderr[rank]),
        "predicted": float(dropped.difference[0]), "flagged": bool(dropped.flagged[0]),
        "sure": bool(closed.sure[0]), "says_lora": verdict.lora_wins, "by": verdict.by,
        "complexity": float(closed.complexity[0]), "odds": float(dropped.odds[0]),
        "best_rank": best.rank, "best_by": by, "best_of_draws": chosen, "full_fit": full,
        "best_regret": float(halves[1][best.rank] - halves[1][chosen]), "best_doubt": float(doubt),
        "lora_is_best": float(halves[1][:full].min() if chosen == full else halves[1][chosen]),
        "spiked": float(spiked[rank] / spiked[full]), "detectable": detectable, "detectable_share": detectable / rank,
        "snr": float(problem.n * np.sum(s**2) / (problem.noise_std**2 * problem.dx * problem.dy)),
        "tail_share": float(np.sum(s[rank:] ** 2) / np.sum(s**2)), "nuclear": float(s.sum() ** 2 / np.sum(s**2)),
        "entropy": float(np.exp(-np.sum(share * np.log(share)))), "stable": float(np.sum(s**2) / s[0] ** 2),
        "rank_of_shift": int(np.sum(s > 0)),
    }  # fmt: skip


def judge(path: Path, seeds: range, draws: int, workers: int) -> list[dict[str, Any]]:
    """Every problem of `seeds`, those that are in the file already and the rest."""
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    left = sorted(set(seeds) - {row["seed"] for row in known})
    started = time.monotonic()
    with ProcessPoolExecutor(workers) as pool, path.open("a") as file:
        for done, row in enumerate(pool.map(judged, [(seed, draws) for seed in left], chunksize=4), start=1):
            known.append(row)
            file.write(json.dumps(row) + "\n")
            if done % 50 == 0:
                file.flush()
                rest = (time.monotonic() - started) / done * (len(left) - done)
                print(f"{done} of {len(left)}, {rest:.0f} s left", flush=True)
    return sorted((row for row in known if row["seed"] in seeds), key=lambda row: row["seed"])


def right(rows: list[dict[str, Any]], says: str = "says_lora") -> str:
    """Share of rows whose winner was named, and how many there are."""
    if not rows:
        return "-"
    good = sum((row["complexity"] < 1 if says == "C_r" else row[says]) == (row["difference"] < 0) for row in rows)
    return f"{100 * good / len(rows):.1f} % of {len(rows)}"


def table(rows: list[dict[str, Any]], draws: int) -> str:
    decided = [row for row in rows if abs(row["difference"]) > DECIDED * row["stderr"]]
    inside, outside = ([row for row in decided if row["sure"] is sure] for sure in (True, False))
    met = sum((row["complexity"] < 1) == (row["difference"] < 0) for row in inside) >= GOAL * len(inside)
    goal = "met" if met else "missed"
    lines = [
        "# Task complexity", "",
        f"`python benchmarks/task_complexity.py --problems {len(rows)} --draws {draws}`: {len(rows)} random problems, "
        f"{len(decided)} of them decided at {DECIDED:g} standard errors of {draws} paired draws.", "",
        "## Who wins at a given rank", "",
        "| cases | C_r | C_r where `sure`, else the equivalent's difference |", "|---|---|---|",
        f"| all decided | {right(decided, 'C_r')} | {right(decided)} |",
        f"| inside the domain, `sure` | {right(inside, 'C_r')} (goal {100 * GOAL:g} %: {goal}) | |",
        f"| outside | {right(outside, 'C_r')} | {right(outside)} |",
    ]  # fmt: skip
    for above in (True, False):
        some = [row for row in decided if (row["n"] > row["dx"]) is above]
        lines.append(f"| n {'>' if above else '<'} dx | {right(some, 'C_r')} | {right(some)} |")
    for family in FAMILIES:
        some = [row for row in decided if row["family"] == family]
        lines.append(f"| {family} | {right(some, 'C_r')} | {right(some)} |")
    for low, high in ((0, 0.35), (0.35, 0.7), (0.7, 1)):
        some = [row for row in decided if low < row["rank"] / row["full"] <= high]
        lines.append(f"| r/R in ({low:g}, {high:g}] | {right(some, 'C_r')} | {right(some)} |")
        some = [row for row in some if row["family"] == "gaussian"]
        lines.append(f"| r/R in ({low:g}, {high:g}], gaussian | {right(some, 'C_r')} | {right(some)} |")
    for low, high in itertools.pairwise(BINS):
        some = [row for row in decided if low <= row["complexity"] < high]
        lines.append(f"| C_r in [{low:g}, {high:g}) | {right(some, 'C_r')} | {right(some)} |")
    lines += [
        "",
        "## Predictors",
        "",
        "| predictor | AUC | accuracy at its own best cut | Spearman with the difference |",
    ]
    lines += ["|---|---|---|---|"]
    for name, field in PREDICTORS.items():
        auc, cut, spearman = predicts(decided, field)
        own = f"{100 * cut:.1f} %"
        if field in ("complexity", "odds"):
            good = np.mean([(row[field] < 1) == (row["difference"] < 0) for row in decided])
            own = f"{100 * good:.1f} % at 1"
        lines.append(f"| {name} | {auc:.3f} | {own} | {spearman:.3f} |")
    lines += [
        "",
        "## Best rank",
        "",
        "| cases | no rank is surely better | the same rank | within 1 |",
    ]
    lines += ["|---|---|---|---|"]
    for by in ("complexity", "difference"):
        some = [row for row in rows if row["best_by"] == by]
        if some:
            fine = np.mean([row["best_regret"] <= DECIDED * row["best_doubt"] for row in some])
            near = [abs(row["best_rank"] - row["best_of_draws"]) for row in some]
            lines.append(
                f"| decided by {by} | {100 * fine:.1f} % of {len(some)} | {100 * np.mean(np.equal(near, 0)):.1f} % | "
                f"{100 * np.mean(np.less_equal(near, 1)):.1f} % |"
            )
    return "\n".join(lines) + "\n"


def predicts(rows: list[dict[str, Any]], field: str) -> tuple[float, float, float]:
    """AUC for FFT as the winner (at least one half), the accuracy of the best cut, and the rank correlation."""
    values = np.nan_to_num(np.array([row[field] for row in rows]), posinf=1e300)
    fft = np.array([row["difference"] > 0 for row in rows])
    ranks = scipy.stats.rankdata(values)
    auc = (ranks[fft].sum() - fft.sum() * (fft.sum() + 1) / 2) / (fft.sum() * (~fft).sum())
    cuts = np.unique(values)
    accuracy = max(max(a, 1 - a) for a in (np.mean((values > cut) == fft) for cut in cuts))
    spearman = scipy.stats.spearmanr(values, [row["difference"] for row in rows]).statistic
    return float(max(auc, 1 - auc)), float(accuracy), float(abs(spearman))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--draws", type=int, default=400)
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.problems)
    rows = judge(RESULTS / "task_complexity.jsonl", seeds, asked.draws, asked.workers)
    (RESULTS / "task_complexity.md").write_text(table(rows, asked.draws))
    print((RESULTS / "task_complexity.md").read_text())


if __name__ == "__main__":
    main()
