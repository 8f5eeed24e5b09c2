"""Steps of training until the risk is within 1 % of the closed form's, and stays, by optimiser, rank and conditioning.

    python benchmarks/training_steps.py [--trials 12] [--seed 0]

n = 120, dx = 30, dy = 25, a shift of rank 3, noise 1, alpha = 2 r, from the start of Hugging Face peft: medians over
draws, which are the same for all optimisers. And near the interpolation threshold, n = 60 and dx = 50: the least risk
on the way, beside the closed form's. Writes `results/training_steps.md`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from linreg_lora import training
from linreg_lora.files.atomic import write_atomically
from linreg_lora.problem import Problem
from linreg_lora.training import Recipe, TrainingRun

RESULTS = Path(__file__).parent / "results"
STEPS, RANKS = 4000, (2, 3, 6)
WELL = Problem(n=120, dx=30, dy=25, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
PROBLEMS = {"Sigma = I": WELL, "Sigma_ii = 1/i": WELL.replace(input_covariance=1 / np.arange(1.0, 31.0))}
RECIPES = {
    "gradient descent": Recipe(steps=STEPS),
    "heavy ball, 0.9": Recipe(optimiser="momentum", steps=STEPS),
    "AdamW, 0.01, decay 0.01": Recipe(optimiser="adamw", weight_decay=0.01, steps=STEPS),
    "AdamW, 0.001, decay 0.01": Recipe(optimiser="adamw", weight_decay=0.01, learning_rate=1e-3, steps=STEPS),
}
NEAR, NEAR_RANKS = Problem(n=60, dx=50, dy=40, spectrum=(4.0, 3.0, 2.0), noise_std=1.0), (1, 3, 8)


def cell(run: TrainingRun) -> str:
    """Median steps over draws; how many reach it, where some do not."""
    reach, median = int(np.sum(run.reached >= 0)), run.median_reached
    said = f"{median:.0f}" if np.isfinite(median) else f"more than {run.recipe.steps}"
    return said if reach == run.trials else f"{said} ({reach} of {run.trials})"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    drawn = {"trials": options.trials, "seed": options.seed}
    columns = [f"{name}, r = {rank}" for name in PROBLEMS for rank in RANKS]
    lines = [
        "# Steps of training",
        "",
        f"Written by `python benchmarks/training_steps.py --trials {options.trials} --seed {options.seed}`. Steps "
        f"until the excess risk is within 1 % of the closed form's, and stays to the end ({STEPS} steps): medians "
        f"over {options.trials} draws, n = 120, dx = 30, dy = 25, s = (3, 2, 1), sigma = 1, alpha = 2 r, from peft's "
        "start. Gradient descent and heavy ball take the default learning rate; AdamW's decays to 0 linearly.",
        "",
        "| | " + " | ".join(columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for name, recipe in RECIPES.items():
        cells = [
            cell(training.train(problem, rank, recipe, at=[0], **drawn))
            for problem in PROBLEMS.values()
            for rank in RANKS
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    lines += [
        "",
        "Near the threshold the path passes a risk far below that of its end: n = 60, dx = 50, dy = 40, "
        "s = (4, 3, 2), sigma = 1, heavy ball. Medians over draws.",
        "",
        "| rank | least risk on the way / closed form's | at step | within 1 % from step | distance at the end |",
        "|---|---|---|---|---|",
    ]
    for rank in NEAR_RANKS:
        recipe = Recipe(optimiser="momentum", steps=STEPS)
        run = training.train(NEAR, rank, recipe, at=[*range(150), *range(150, STEPS, 50)], **drawn)
        best, where = run.best
        lines.append(
            f"| {rank} | {np.median(best / run.closed_risk):.2f} | {np.median(where):.0f} | {cell(run)} | "
            f"{np.median(run.distance[:, -1]):.1e} |"
        )
        print(lines[-1], flush=True)
    write_atomically(RESULTS / "training_steps.md", ("\n".join(lines) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
