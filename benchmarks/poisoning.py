"""How far the limits for LoRA on poisoned data are from simulation: `python benchmarks/poisoning.py` (minutes).

Writes benchmarks/results/poisoning.md: clean risk and success by the formula of `theory.poisoned_risk`, by simulation,
and the distance; ranks at a tie, where the draws decide and formulas need not hold, are flagged.
"""

from pathlib import Path

import numpy as np

import linreg_lora as ll
from linreg_lora.theory import Poison

RESULTS = Path(__file__).parent / "results" / "poisoning.md"
TRIALS, SEED = 1000, 2026


def unit(place: int, size: int, length: float = 1.0) -> np.ndarray:
    return length * np.eye(size)[place]


def problem(n: int, dx: int, dy: int, spectrum: tuple[float, ...], noise_std: float = 1.0) -> ll.Problem:
    return ll.Problem(n=n, dx=dx, dy=dy, spectrum=spectrum, noise_std=noise_std)


MANY, FEW = problem(400, 60, 50, (3.0, 2.0, 1.0)), problem(40, 100, 60, (6.0, 4.0, 2.0))
CHOSEN = problem(300, 30, 20, (2.0, 1.5, 1.0), 0.5)
#: What is poisoned, the problem, the poison, and ranks.
ROWS = [
    ("backdoor, p = 6", MANY, Poison(count=40, target=unit(49, 50, 6), trigger=unit(59, 60, 2)), [1, 2, 3, 4, 8]),
    ("backdoor, p = 30", MANY, Poison(count=40, target=unit(49, 50, 30), trigger=unit(59, 60, 2)), [1, 2, 3, 4]),
    ("labels, p = 2", MANY, Poison(count=40, target=unit(49, 50, 2)), [2, 3, 4]),
    ("labels, p = 6", MANY, Poison(count=40, target=unit(49, 50, 6)), [2, 3, 4]),
    ("labels, p = 10", MANY, Poison(count=40, target=unit(49, 50, 10)), [2, 3, 4]),
    (
        "backdoor that meets the task in part", MANY,
        Poison(
            count=40, target=unit(0, 50, 3) + unit(2, 50, 2) + unit(49, 50, 5),
            trigger=unit(0, 60) - unit(1, 60, 0.5) + unit(59, 60, 1.5),
        ),
        [1, 2, 3, 4],
    ),
    ("backdoor, n < dx", FEW, Poison(count=8, target=unit(59, 60, 12), trigger=unit(99, 100, 4)), [1, 2, 3, 4, 8]),
    ("chosen samples, p = 2", CHOSEN, Poison(count=30, target=unit(19, 20, 2), along=unit(20, 30)), [2, 3, 4]),
    ("chosen samples, p = 7", CHOSEN, Poison(count=30, target=unit(19, 20, 7), along=unit(20, 30)), [2, 3, 4]),
]  # fmt: skip


def mean(value: float, stderr: float) -> str:
    return f"{value:.4f} +- {stderr:.4f}"


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def lines() -> list[str]:
    found = []
    for name, at, poison, ranks in ROWS:
        theory = ll.theory.poisoned_risk(at, poison, ranks)
        ties = {one.rank for one in ll.theory.poison_verdicts(at, poison, ranks) if one.tie}
        drawn = ll.simulate_poisoned(at, poison, trials=TRIALS, seed=SEED, ranks=ranks)
        for i, rank in enumerate(ranks):
            off = 100 * (theory.risk[i] / drawn.risk[i] - 1)
            success = ["-", "-"]
            if poison.trigger is not None:
                success = [f"{theory.success[i]:.4f}", mean(drawn.success[i], drawn.success_stderr[i])]
            measured = [f"{theory.risk[i]:.4f}", mean(drawn.risk[i], drawn.risk_stderr[i]), f"{off:+.1f} %"]
            found.append(line(name, str(rank), *measured, *success, "tie" if rank in ties else ""))
        z = (theory.fft_risk - drawn.fft_risk) / drawn.fft_risk_stderr
        success = ["-", "-"]
        if poison.trigger is not None:
            success = [f"{theory.fft_success:.4f}", mean(drawn.fft_success, drawn.fft_success_stderr)]
        measured = [f"{theory.fft_risk:.4f}", mean(drawn.fft_risk, drawn.fft_risk_stderr), f"{z:+.1f} se"]
        found.append(line(name, "FFT", *measured, *success, ""))
    return found


def main() -> None:
    head = [
        "# LoRA on poisoned data: limits against simulation",
        "",
        f"Made by `python benchmarks/poisoning.py`: {TRIALS} draws each, seed {SEED}. FFT is exact: its distance is in "
        "standard errors.",
        "",
        line("poison", "rank", "clean risk by formula", "simulated", "off by", "success by formula", "simulated", ""),
        line(*["---"] * 8),
    ]
    RESULTS.write_text("\n".join([*head, *lines()]) + "\n")


if __name__ == "__main__":
    main()
