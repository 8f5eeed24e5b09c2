"""Speed of simulation: against the textbook way, against its own floor, with size, with workers, and its memory.

    python benchmarks/engine.py [--runs 5] [--skip-whole-processes]

Every number is a ratio of two times taken one right after the other, the median of several such pairs; every process
keeps to one BLAS thread. Writes `results/engine.md` and `results/engine.png`.

- *Textbook*: `textbook.py` over ours, in the settings of two published figures of arXiv 2605.19018: per draw in one
  compiled process, over cells spread along the figure's axis, and whole processes from start to file, both with two
  workers and a warm compilation cache.
- *Floor*: our time per draw over the time of the batched eigendecomposition of dy x dy matrices alone.
- *Scaling*: time per draw against the first value of n, dx, dy or the number of draws; throughput with workers.
- *Where the time goes*: shares of a draw's time.
"""

import argparse
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from engine_report import Goal, Line, Report, write
from scipy.linalg import cython_lapack  # noqa: F401  (loads the BLAS that JAX uses, so that it can be limited)
from textbook import draw_risks as textbook_draw
from threadpoolctl import threadpool_limits

from linreg_lora.estimators import lora
from linreg_lora.problem import Problem
from linreg_lora.sampling import directions
from linreg_lora.simulation import leading
from linreg_lora.simulation.curve import monte_carlo
from linreg_lora.simulation.programs import ConditionalMeans
from linreg_lora.sweeps.config import load_sweep
from linreg_lora.sweeps.grid import local_processes

HERE = Path(__file__).parent
SEED = 1
WORKERS = 2


class Setting(NamedTuple):
    problem: Problem
    ranks: Sequence[int]


def published(name: str, cells: int) -> list[Setting]:
    """Cells of a published figure, at the middles of equal parts of its axis."""
    config = load_sweep(HERE / "published" / f"{name}.yaml")
    ((axis, points),) = config.grid_axes.items()
    chosen = [points[(2 * cell + 1) * len(points) // (2 * cells)] for cell in range(cells)]
    ranks = [int(rank) for rank in config.rank_values]
    return [Setting(config.make(**{axis: point}), ranks) for point in chosen]


def square(d: int) -> Problem:
    return Problem(n=10 * d, dx=d, dy=d, spectrum=tuple(np.linspace(12, 6, 10)), noise_std=10.0)


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def paired(slow: Callable[[], object], fast: Callable[[], object], runs: int, scale: float = 1.0) -> float:
    """Median over runs of scale * seconds(slow) / seconds(fast), one right after the other, after one call of each."""
    slow()
    fast()
    return statistics.median(scale * seconds(slow) / seconds(fast) for _ in range(runs))


def simulate(problem: Problem, ranks: Sequence[int] | None, trials: int) -> None:
    monte_carlo(problem, trials=trials, seed=SEED, ranks=None if ranks is None else list(ranks))


def per_draw(settings: Sequence[Setting], draws: int, trials: int, runs: int) -> float:
    """Textbook over ours, per draw, one compiled process each, `draws` and `trials` at every setting."""

    def slow() -> None:
        rng = np.random.default_rng(SEED)
        for problem, ranks in settings:
            for _ in range(draws):
                textbook_draw(problem.shift, problem.n, problem.noise_std, ranks, rng)

    def fast() -> None:
        for problem, ranks in settings:
            simulate(problem, ranks, trials)

    return paired(slow, fast, runs, scale=trials / draws)


def whole_processes(name: str, runs: int) -> float:
    """Textbook over ours, all of a published figure from start to file."""
    config = HERE / "published" / f"{name}.yaml"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    workers = ("--workers", str(WORKERS))
    with tempfile.TemporaryDirectory() as folder:

        def ours() -> None:
            out = Path(folder) / "out.nc"
            for path in Path(folder).iterdir():
                path.unlink()
            command = [
                str(Path(sys.executable).with_name("linreg-lora")), "sweep", str(config), "--out", str(out), *workers,
            ]  # fmt: skip
            subprocess.run(command, check=True, capture_output=True, env=environment)

        def textbook() -> None:
            command = [sys.executable, str(HERE / "textbook.py"), str(config), *workers]
            subprocess.run(command, check=True, capture_output=True, env=environment)

        ours()
        return statistics.median(seconds(textbook) / seconds(ours) for _ in range(runs))


def over_floor(d: int, ranks: Sequence[int] | None, trials: int, runs: int) -> float:
    """Our time per draw over that of jnp.linalg.eigh on batches of the same size."""
    batch = 16
    matrices = np.random.default_rng(0).standard_normal((batch, d, d))
    gram = jnp.asarray(matrices @ matrices.mT)
    decompose = jax.jit(jnp.linalg.eigh)

    def floor() -> None:
        for _ in range(trials // batch):
            jax.block_until_ready(decompose(gram))

    return paired(lambda: simulate(square(d), ranks, trials), floor, runs)


def relative(problems: Sequence[Problem], trials: Sequence[int], runs: int) -> list[float]:
    """Time per draw of each problem over that of the first, at rank 1 and FFT."""
    first = functools.partial(simulate, problems[0], [1], trials[0])
    return [1.0] + [
        paired(functools.partial(simulate, problem, [1], count), first, runs, scale=trials[0] / count)
        for problem, count in zip(problems[1:], trials[1:], strict=True)
    ]


def throughput(executor: Executor, workers: int, setting: Setting, trials: int) -> float:
    def work() -> None:
        futures = [executor.submit(simulate, *setting, trials) for _ in range(workers)]
        for future in futures:
            future.result()

    return workers / seconds(work)


def two_workers(setting: Setting, trials: int, runs: int) -> float:
    """Throughput of two processes over one, compiled."""
    with local_processes(WORKERS) as executor:
        throughput(executor, 2 * WORKERS, setting, trials)
        return statistics.median(
            throughput(executor, WORKERS, setting, trials) / throughput(executor, 1, setting, trials)
            for _ in range(runs)
        )


def peak_gibibytes(d: int, trials: int) -> float:
    """Peak resident memory of a process of its own that simulates every rank."""
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[1]); from engine import simulate, square; "
        f"simulate(square({d}), None, {trials}); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(HERE)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def shares(problem: Problem, rank: int, runs: int) -> dict[str, float]:
    """Shares of a draw's time: each stage as the time up to its end, less the time up to the one before."""
    shapes, numbers = directions.plan(problem) or sys.exit("no conditional means for this problem")
    program = ConditionalMeans(shapes, numbers, rank)
    key, chunks = jax.random.key(SEED), 16

    def timed(stage: Callable[[jax.Array], object]) -> float:
        compiled = jax.jit(jax.vmap(stage))
        keys = jax.random.split(key, program.size)
        calls = [seconds(lambda: jax.block_until_ready(compiled(keys))) for _ in range(chunks * runs + 1)]
        return statistics.median(calls[1:])

    def gram(key: jax.Array) -> jax.Array:
        whitened = directions.draw(shapes, numbers, key).whitened
        return whitened @ whitened.mT

    def basis(key: jax.Array) -> jax.Array:
        whitened = directions.draw(shapes, numbers, key).whitened
        if leading.pays(rank, shapes.dy):
            return leading.left_singular_basis(whitened, rank).vectors
        return lora.left_singular_basis(whitened, shapes.dy, squared=True)

    upto = [timed(lambda key: directions.draw(shapes, numbers, key).whitened), timed(gram), timed(basis)]
    trials = chunks * program.size
    program.finish(program.start(key, 0), key, 0)
    compiled = [seconds(lambda: program.finish(program.start(key, 0), key, 0)) for _ in range(chunks * runs)]
    whole = [seconds(lambda: simulate(problem, [rank], trials)) / chunks for _ in range(runs)]
    times = [0.0, *upto, statistics.median(compiled), statistics.median(whole)]
    stages = ("random numbers, band", "Gram matrix", "eigendecomposition", "risks, transfer", "means, checks")
    return {stage: max(b - a, 0.0) / times[-1] for stage, a, b in zip(stages, times[:-1], times[1:], strict=True)}


def goals(runs: int, whole: bool) -> list[Goal]:
    noise, rank = published("noise", 4), published("true_rank", 10)
    few, many = (noise[0].problem.replace(n=n) for n in (10**3, 10**7))
    narrow, wide = (Problem(n=100, dx=dx, dy=60, spectrum=(6.0, 4.0, 2.0), noise_std=1.0) for dx in (10**3, 10**6))
    sweep = "risk against noise (dx = dy = 100, n = 1000)"
    true_rank = "risk against true rank (dx = dy = 40, n = 30)"
    steps: list[tuple[str, Callable[[], float], str, float]] = [
        (f"textbook over ours per draw, {sweep}", lambda: per_draw(noise, 3, 512, runs), ">=", 50),
        (f"textbook over ours per draw, {true_rank}", lambda: per_draw(rank, 8, 1024, runs), ">=", 15),
        ("time per draw over the eigendecomposition alone, d = 100, all ranks",
         lambda: over_floor(100, None, 512, runs), "<=", 1.6),
        ("the same, d = 400, all ranks", lambda: over_floor(400, None, 32, runs), "<=", 1.6),
        ("the same, d = 400, ranks up to 16", lambda: over_floor(400, [1, 2, 4, 8, 16], 32, runs), "<=", 1.0),
        ("n = 10^7 over n = 10^3",
         lambda: paired(lambda: simulate(many, [1], 512), lambda: simulate(few, [1], 512), runs), "<=", 1.1),
        ("dx = 10^6 over dx = 10^3, n = 100",
         lambda: paired(lambda: simulate(wide, [1], 512), lambda: simulate(narrow, [1], 512), runs), "<=", 1.1),
        ("two workers over one, d = 100", lambda: two_workers(noise[0], 2048, runs), ">=", 1.7),
        ("peak memory at d = 400, all ranks, 32 draws, GiB", lambda: peak_gibibytes(400, 32), "<=", 1.0),
        ("the same, 512 draws, GiB", lambda: peak_gibibytes(400, 512), "<=", 1.0),
    ]  # fmt: skip
    if whole:
        steps += [
            (f"whole process, textbook over ours, {sweep}, 40 x 100 draws",
             lambda: whole_processes("noise", runs), ">=", 30),
            (f"whole process, textbook over ours, {true_rank}, 40 x 1000 draws",
             lambda: whole_processes("true_rank", runs), ">=", 10),
        ]  # fmt: skip
    found = []
    for name, step, relation, bound in steps:
        found.append(Goal(name, step(), relation, bound))
        print(found[-1], flush=True)
    return found


def scaling(runs: int) -> list[Line]:
    base = Problem(n=1000, dx=100, dy=100, spectrum=(6.0, 4.0, 2.0), noise_std=1.0)
    n = [10**k for k in (3, 4, 5, 6, 7)]
    dx = [10**k for k in (3, 4, 5, 6)]
    trials = [128, 512, 2048, 8192]
    sizes = [25, 50, 100, 200, 400]
    counts = [4096, 2048, 512, 128, 32]
    same = [512] * 5
    lines = [
        Line("n", n, relative([base.replace(n=value) for value in n], same, runs)),
        Line("dx (n = 100)", dx, relative([base.replace(n=100, dx=value, dy=60) for value in dx], same[:4], runs)),
        Line("number of draws", trials, relative([base] * 4, trials, runs)),
        Line("dy", sizes, relative([base.replace(dy=value) for value in sizes], counts, runs)),
    ]
    print(*lines, sep="\n", flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--skip-whole-processes", action="store_true")
    options = parser.parse_args()
    with threadpool_limits(limits=1, user_api="blas"):
        stages = {f"d = {d}, ranks up to {r}": shares(square(d), r, options.runs) for d, r in ((100, 16), (100, 100))}
        report = Report(goals(options.runs, not options.skip_whole_processes), scaling(options.runs), stages)
    write(report, options.runs, HERE / "results")


if __name__ == "__main__":
    main()
