"""Speed of `linreg-lora compare` at d = 100: what each method's row costs by theory, and by simulation.

    python benchmarks/compare_speed.py [--rounds 3]

Processor time of one core, warm: after one call, on problems that no cache has seen, for each call has another noise.
Exact methods are timed together, as rows of one comparison; an equivalent against `ll.expected_risk` of the problem it
reduces to, at its rank; simulated ones by themselves, 16 fits, once. Medians over rounds. Writes
`results/compare_speed.md`.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import linreg_lora as ll
from linreg_lora.methods import registry

RESULTS = Path(__file__).parent / "results"
SIZES = {"n": 400, "dx": 100, "dy": 100}
EXACT = ("fft", "frozen-a:8", "frozen-b:8", "features:8", "adapter-full", "mica:8", "lora-xs:8", "svf", "mask:4",
         "tangent:8", "ia3", "vera-b:8", "bitfit", "prompt:1", "prefix:8", "frozen-b:4+frozen-a:8",
         "fft+bias")  # fmt: skip
EQUIVALENT = ("lora:5", "chain:1:5", "lora:5+bias", "adapter:8", "qlora:5", "loftq:5", "pissa:5", "qpissa:5")
EXPANSION = ("ia3-in", "vera-d:8")
SIMULATED = ("vera:8", "dora:4", "lora-ga:5")
DRAWS = 16
GOAL_EXACT, GOAL_EQUIVALENT = 0.5, 3.0
_noise = itertools.count()


def problem() -> ll.Problem:
    """One that no cache has seen: a shift of five directions, an A0 that is drawn, a noise of its own."""
    a0 = np.random.default_rng(0).standard_normal((SIZES["dy"], SIZES["dx"]))
    noise = 1.0 + 1e-9 * next(_noise)
    return ll.Problem(**SIZES, spectrum=(4.0, 3.0, 2.0, 1.5, 1.0), noise_std=noise, pretrained=a0)


def timed(call: Callable[[ll.Problem], object], rounds: int) -> float:
    """Median processor time of a call after one that compiles."""
    call(problem())
    times = []
    for _ in range(rounds):
        one = problem()
        started = time.process_time()
        call(one)
        times.append(time.process_time() - started)
    return statistics.median(times)


def by_theory(names: tuple[str, ...]) -> Callable[[ll.Problem], object]:
    def call(one: ll.Problem) -> list[float]:
        rows = ll.compare(one, list(names), computed_by=["theory"])
        missing = [row.method for row in rows if row.theory is None or not np.isfinite(row.theory.risk)]
        assert not missing, missing
        return [row.theory.risk for row in rows if row.theory is not None]

    return call


def alone(name: str) -> Callable[[ll.Problem], object]:
    """`ll.expected_risk` of the problem that a method reduces to, made anew."""
    method = registry.named(name.removesuffix("+bias"))

    def call(one: ll.Problem) -> float:
        reduced = method.reduce(one)
        assert reduced is not None
        return float(ll.expected_risk(reduced.problem, [reduced.rank or 0]).risk[0])

    return call


def fits(name: str) -> Callable[[ll.Problem], object]:
    return lambda one: ll.monte_carlo(one, trials=DRAWS, seed=0, method=name)


def verdict(found: float, goal: float) -> str:
    return "met" if found <= goal else "**missed**"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    together = timed(by_theory(EXACT), rounds)
    lines = [
        "# Speed of compare",
        "",
        "Written by `python benchmarks/compare_speed.py`: n = 400, dx = dy = 100, a shift of five directions,",
        f"processor time of one core, warm, medians of {rounds} rounds. A row is the risk, dimension, benefit, Hessian",
        "gap and forgetting of a method.",
        "",
        f"All {len(EXACT)} exact methods together: {together:.2f} s (goal: {GOAL_EXACT} s, "
        f"{verdict(together, GOAL_EXACT)}).",
        "",
        "| method | row, ms | `ll.expected_risk` of its problem, ms | ratio | goal |",
        "|---|---|---|---|---|",
    ]
    print(lines[-4], flush=True)
    for name in EQUIVALENT:
        row, risk = timed(by_theory((name,)), rounds), timed(alone(name), rounds)
        ratio = row / risk
        lines.append(
            f"| `{name}` | {1e3 * row:.0f} | {1e3 * risk:.0f} | {ratio:.1f} | {GOAL_EQUIVALENT:g} "
            f"{verdict(ratio, GOAL_EQUIVALENT)} |"
        )
        print(lines[-1], flush=True)
    lines += ["", f"| method | how | time, ms ({DRAWS} fits where simulated) |", "|---|---|---|"]
    for name in (*EXACT, *EXPANSION, *SIMULATED):
        how = "exact" if name in EXACT else "expansion" if name in EXPANSION else "simulated"
        simulated = how == "simulated"
        seconds = timed(fits(name) if simulated else by_theory((name,)), 1 if simulated else rounds)
        lines.append(f"| `{name}` | {how} | {1e3 * seconds:.1f} |")
        print(lines[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "compare_speed.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
