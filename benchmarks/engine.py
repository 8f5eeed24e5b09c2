"""Speed of simulation: against the textbook way, against its own floor, with n and dx, and with workers.

    python benchmarks/engine.py [--runs 5]

Every number is a ratio of two times taken in the same run, one right after the other, and the median of several such
pairs; processes keep to one BLAS thread. Writes `results/engine.md` and `results/engine.png`.

- *Textbook*: seconds per draw of `textbook.py` over ours, compiled, one process each, in the settings of the published
  figures of arXiv 2605.19018 (risk against noise, risk against true rank).
- *Floor*: our time per draw over the time of the batched eigendecomposition alone.
- *n* and *dx*: our time per draw at large n (or dx) over that at small.
- *Workers*: throughput of two processes over one.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
from textbook import draw_risks as textbook_draw
from threadpoolctl import threadpool_limits

from linreg_lora.grid import local_processes
from linreg_lora.problem import Problem
from linreg_lora.simulation import monte_carlo
from linreg_lora.spectra import from_matrix, gaussian_factors

RESULTS = Path(__file__).parent / "results"
SEED = 1


def noise_setting(d: int = 100, n: int = 1000) -> tuple[Problem, list[int]]:
    shift = gaussian_factors(d, d, 10, SEED)
    return Problem(n=n, dx=d, dy=d, spectrum=from_matrix(shift)[:10], noise_std=10.0), [1, 2, 4, 8, 16]


def true_rank_setting() -> tuple[Problem, list[int]]:
    shift = gaussian_factors(40, 40, 8, SEED)
    return Problem(n=30, dx=40, dy=40, spectrum=from_matrix(shift)[:8], noise_std=2.0), [1, 2, 4, 8, 32]


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def paired(slow: Callable[[], object], fast: Callable[[], object], runs: int, scale: float = 1.0) -> float:
    """Median over runs of scale * seconds(slow) / seconds(fast), one right after the other."""
    slow(), fast()
    return statistics.median(scale * seconds(slow) / seconds(fast) for _ in range(runs))


def simulate(problem: Problem, ranks: list[int], trials: int) -> None:
    monte_carlo(problem, trials=trials, seed=SEED, ranks=[r for r in ranks if r <= problem.max_rank])


def against_textbook(problem: Problem, ranks: list[int], draws: int, trials: int, runs: int) -> float:
    def slow() -> None:
        with threadpool_limits(limits=1, user_api="blas"):
            for seed in range(draws):
                textbook_draw(problem, ranks, seed)

    return paired(slow, lambda: simulate(problem, ranks, trials), runs, scale=trials / draws)


def over_floor(d: int, trials: int, runs: int) -> float:
    """Our time per draw over that of jnp.linalg.eigh on batches of the same size."""
    import jax
    import jax.numpy as jnp

    problem, ranks = noise_setting(d)
    batch = 16
    matrices = np.random.default_rng(0).standard_normal((batch, d, d))
    gram = jnp.asarray(matrices @ matrices.mT)
    decompose = jax.jit(jnp.linalg.eigh)

    def floor() -> None:
        for _ in range(trials // batch):
            jax.block_until_ready(decompose(gram))

    with threadpool_limits(limits=1, user_api="blas"):
        return paired(lambda: simulate(problem, ranks, trials), floor, runs)


def with_workers(executor: Executor, workers: int, problem: Problem, ranks: list[int], trials: int) -> None:
    futures = [executor.submit(simulate, problem, ranks, trials) for _ in range(workers)]
    for future in futures:
        future.result()


def two_workers(problem: Problem, ranks: list[int], trials: int, runs: int) -> float:
    """Throughput of two processes over one, compiled."""
    with local_processes(2) as executor:
        with_workers(executor, 4, problem, ranks, trials)
        one = [seconds(lambda: with_workers(executor, 1, problem, ranks, trials)) for _ in range(runs)]
        two = [seconds(lambda: with_workers(executor, 2, problem, ranks, trials)) for _ in range(runs)]
        return statistics.median(2 * a / b for a, b in zip(one, two, strict=True))


def measure(runs: int) -> list[tuple[str, float, str]]:
    noise, noise_ranks = noise_setting()
    rank, rank_ranks = true_rank_setting()
    few, many = (noise_setting(n=n)[0] for n in (10**3, 10**7))
    narrow, wide = (Problem(n=100, dx=dx, dy=60, spectrum=(6.0, 4.0, 2.0), noise_std=1.0) for dx in (10**3, 10**6))
    steps: list[tuple[str, Callable[[], float], str]] = [
        ("textbook over ours, risk against noise (dx = dy = 100, n = 1000)",
         lambda: against_textbook(noise, noise_ranks, 4, 512, runs), ">= 50"),
        ("textbook over ours, risk against true rank (dx = dy = 40, n = 30)",
         lambda: against_textbook(rank, rank_ranks, 20, 4096, runs), ">= 15"),
        ("over the eigendecomposition floor, d = 100", lambda: over_floor(100, 256, runs), "<= 1.6"),
        ("over the eigendecomposition floor, d = 400", lambda: over_floor(400, 16, runs), "<= 1.6"),
        ("n = 10^7 over n = 10^3",
         lambda: paired(lambda: simulate(many, [1], 512), lambda: simulate(few, [1], 512), runs), "<= 1.1"),
        ("dx = 10^6 over dx = 10^3, n = 100",
         lambda: paired(lambda: simulate(wide, [1], 512), lambda: simulate(narrow, [1], 512), runs), "<= 1.1"),
        ("two workers over one, d = 100", lambda: two_workers(noise, noise_ranks, 512, runs), ">= 1.7"),
    ]  # fmt: skip
    rows = []
    for name, step, goal in steps:
        rows.append((name, step(), goal))
        print(f"{name}: {rows[-1][1]:.2f} (goal {goal})", flush=True)
    return rows


def draw_plot(rows: list[tuple[str, float, str]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    names, values = [name for name, _, _ in rows][::-1], [value for _, value, _ in rows][::-1]
    axes.barh(names, values, color="#3b6ea5")
    for y, (_, value, goal) in enumerate(rows[::-1]):
        axes.annotate(f" {value:.2f}  (goal {goal})", (value, y), va="center", fontsize=7)
    axes.set(xscale="log", xlabel="ratio of times taken in the same run")
    axes.set_xlim(0.5, 10 * max(values))
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    rows = measure(options.runs)
    problem, ranks = noise_setting(400)
    simulate(problem, ranks, 64)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**20
    lines = [
        "# Speed of simulation",
        "",
        f"Written by `python benchmarks/engine.py`: medians of {options.runs} paired runs, ratios only.",
        "",
        "| ratio | measured | goal |",
        "|---|---|---|",
        *(f"| {name} | {value:.2f} | {goal} |" for name, value, goal in rows),
        f"| peak memory of a process at d = 400, GiB | {peak:.2f} | < 1 |",
    ]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "engine.md").write_text("\n".join(lines) + "\n")
    draw_plot(rows, RESULTS / "engine.png")


if __name__ == "__main__":
    main()
