"""How numbers are written, for people and in JSON."""

import math

#: Beside numbers by theory that are flagged.
MARK = "*"


def value(x: float | None) -> float | None:
    return float(x) if x is not None and math.isfinite(x) else None


def marked(x: float, flagged: bool) -> str:
    return f"{number(x)} {MARK}" if flagged else number(x)


def number(x: float) -> str:
    if math.isnan(x):
        return "none"
    return f"{x:.5g}" if math.isfinite(x) else ("infinite" if x > 0 else "-infinite")
