"""What is said of a user's own data, as a table for people and as JSON for programs."""

import json
import math

from linreg_lora.cli.numbers import number, value
from linreg_lora.console import print_table
from linreg_lora.own_data.advice import Advice
from linreg_lora.own_data.choice import difference
from linreg_lora.own_data.complexity import EstimatedComplexity
from linreg_lora.theory.notes import spans

_CAVEAT = "nominal, by a Gaussian bootstrap and by standard errors, the farther: too short for dependent samples"
_NORMAL = "nominal, by standard errors: it does not know that the rank was chosen"


def fit_json(found: Advice, level: float, complexity: EstimatedComplexity | None = None) -> None:
    """Print one JSON object. Values that do not exist or are unknown are null."""
    low, high = found.interval(level)
    curve, n = found.curve, found.shape
    out = {
        "samples": n[0],
        "inputs": n[1],
        "outputs": n[2],
        "rank": found.rank,
        "ridge": found.ridge,
        "verdict": found.verdict,
        "near_best": found.near_best,
        "leave_one_out": {
            "ranks": curve.ranks.tolist(),
            "error": [value(x) for x in curve.error.tolist()],
            "stderr": [value(x) for x in curve.stderr.tolist()],
            "samples_left_out": curve.samples_left_out,
        },
        "test_error": {
            "estimate": value(found.error),
            "stderr": value(found.stderr),
            "level": level,
            "interval": [value(low), value(high)],
            "how": found.uncertainty.how,
        },
        "probability_lora_beats_fft": value(found.probability_lora_beats_fft),
        "fft_with_ridge": {
            "ridge": found.fft_ridge.ridge,
            "error": value(found.fft_ridge.error),
            "stderr": value(found.fft_ridge.stderr),
        },
        "spectral": {"weights": found.shrinkage.weights.tolist(), "error": value(found.shrinkage.error)},
        "complexity": complexity_json(complexity, level),
        "theory": theory_json(found, level),
        "noise_std": value(found.noise_std),
        "excess_risk": value(found.excess_risk),
        "largest_leverage": value(found.leverage),
        "offset": found.offset.tolist(),
        "notes": list(found.notes),
    }
    print(json.dumps(out, indent=2, allow_nan=False))


def complexity_json(found: EstimatedComplexity | None, level: float) -> dict[str, object] | None:
    """The estimated task complexity; null where full fine-tuning has no direction to drop."""
    if found is None:
        return None
    ends = [value(x) for x in found.interval(level)]
    estimate = value(found.estimate)
    named = {"rank": found.rank, "estimate": estimate, "level": level, "interval": ends, "note": found.note}
    return {**named, "least_level": found.least_level(level)}


def theory_json(found: Advice, level: float) -> dict[str, object]:
    """What theory expects of Gaussian data that look like these; null where a ridge is chosen."""
    expected = found.expected_errors()
    errors = None if expected is None else [value(x) for x in expected.tolist()]
    return {"expected_errors": errors, "describes": found.is_described(level)}


def fit_table(found: Advice, level: float, complexity: EstimatedComplexity | None = None) -> None:
    """Print a table, one line a rank, and what follows from it."""
    from rich.table import Table

    curve, (n, dx, dy) = found.curve, found.shape
    ridge = f", ridge {found.ridge:.3g}" if found.ridge else ""
    table = Table(title=f"Leave-one-out error: n = {n}, dx = {dx}, dy = {dy}{ridge}", title_justify="left")
    for name in ("rank", "error", "standard error", "less than FFT's by", "standard error"):
        table.add_column(name, justify="right")
    last = int(curve.ranks[-1])
    for rank in curve.ranks.tolist():
        name = f"{rank} (FFT)" if rank == last else str(rank)
        gain, stderr = difference(curve, rank, curve, last)
        paired = ("", "") if rank == last else (number(gain), number(stderr))
        style = "bold green" if rank == found.rank else ""
        table.add_row(name, number(float(curve.error[rank])), number(float(curve.stderr[rank])), *paired, style=style)
    print_table(table)
    print(found.verdict)
    if found.near_best:
        near = spans(found.near_best)
        print(f"Not told from rank {found.rank}, by two standard errors of the paired difference: {near}.")
    low, high = found.interval(level)
    caveat = _CAVEAT if found.uncertainty.how == "bootstrap" else _NORMAL
    print(f"Predicted test error {found.error:.4g}, {100 * level:g} % interval {low:.4g} to {high:.4g} ({caveat}).")
    chance = found.probability_lora_beats_fft
    if not math.isnan(chance):
        below = found.rank if found.rank < last else int(curve.error[:-1].argmin())
        said = f"more than {1 - 1 / 80:.2g}" if chance > 1 - 1 / 80 else f"{chance:.2g}"
        said = f"less than {1 / 80:.2g}" if chance < 1 / 80 else said
        print(f"P(rank {below} has a lower test error than full fine-tuning) = {said}.")
    if complexity is not None and not math.isnan(complexity.estimate):
        low, high = complexity.interval(level)
        print(
            f"Task complexity at rank {complexity.rank}, what it drops of signal over what it drops of noise: "
            f"{number(complexity.estimate)}, {100 * level:g} % interval {number(low)} to {number(high)}; below 1 LoRA "
            "beats full fine-tuning."
        )
        if complexity.note:
            least = complexity.least_level(level)
            held = f"; of any law it holds {100 * least:.0f} % at least, by Chebyshev" if least < level else ""
            print(f"Of that interval: {complexity.note}{held}.")
    full = found.fft_ridge
    print(f"Full fine-tuning with its best ridge, {full.ridge:.3g}: error {full.error:.4g} +- {full.stderr:.2g}.")
    best = found.shrinkage
    print(
        f"Beyond LoRA: with weights on its directions in place of ones and zeros, error {best.error:.4g} (somewhat too "
        "low: the same samples chose them)."
    )
    if found.is_described(level) is False:
        print(
            "The Gaussian theory does not describe these data: the errors that it expects of data like them are not "
            "those of left-out samples."
        )
    for note in found.notes:
        print(f"Note: {note}.")
