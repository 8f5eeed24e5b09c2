"""What is said of numbers that are missing or in doubt."""

from collections.abc import Sequence

#: By how much numbers that are not flagged may be off, relatively.
UNFLAGGED = 0.01
#: By how much flagged risks may be off, relatively, as measured but for rare ranks.
FLAGGED = 0.1
#: Said of a whole curve.
UNCORRECTED = "LoRA by formula comes without its finite-size correction: Delta couples too many directions"

#: Said of the equivalent with the second moment, of FFT or LoRA.
FIRST_ORDER = (
    "by the second moment Sigma + mu mu', for inputs with a mean: right to first order, off by up to 2 % as measured, "
    "and more near a threshold or a spectral edge"
)


def of_flagged(flagged: Sequence[int]) -> str:
    """One line that names the flagged ranks; empty where there are none."""
    if not flagged:
        return ""
    size = f"{100 * UNFLAGGED:g} %"
    return f"by formula, LoRA may be off by more than {size} near a threshold or a spectral edge: rank {spans(flagged)}"


def spans(ranks: Sequence[int]) -> str:
    """1-3, 7 for [1, 2, 3, 7]."""
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][1] + 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)


def reasons(failures: dict[int, str]) -> list[str]:
    """Why ranks have no number: each reason once, with its ranks."""
    by_reason: dict[str, list[int]] = {}
    for rank, reason in sorted(failures.items()):
        by_reason.setdefault(reason, []).append(rank)
    return [f"rank {spans(ranks)}: {reason}" for reason, ranks in by_reason.items()]
