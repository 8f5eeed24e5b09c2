"""Does another processor give the same numbers? To how many digits, and the same verdicts?

    python benchmarks/other_processors.py

Older x86 processors are had by telling the linear algebra (OPENBLAS_CORETYPE) and the compiler (--xla_cpu_max_isa) to
do without newer instructions: sums are then rounded in another order. Each of `PROCESSORS` runs the commands of
`same_numbers.py` but for the figures, from an empty cache. Writes `results/other_processors.md`.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from same_numbers import COMMANDS, PROVENANCE, content, said

HERE = Path(__file__).parent
RESULT = HERE / "results" / "other_processors.md"
#: The kernels of OpenBLAS, and the newest instructions that XLA may use. None: all that this processor has.
PROCESSORS = {
    "the same, once more": None,
    "AVX2 (Haswell, 2013)": ("Haswell", "AVX2"),
    "AVX (Sandy Bridge, 2011)": ("Sandybridge", "AVX"),
    "SSE4.2 (Nehalem, 2008)": ("Nehalem", "SSE4_2"),
}
GROUPS = {
    "`risk`, theory and 400 draws": ("risk-over.json", "risk-under.json", "risk-ridge.json"),
    "`crossover`": ("crossover.json", "crossover-n.json"),
    "`sweep`": ("sweep.nc",),
}


def run_on(processor: tuple[str, str] | None, out: Path) -> Path:
    """The folder of what the commands say on it."""
    variables = {"LINREG_LORA_CACHE": str(out / "cache")}
    if processor is not None:
        variables |= {"OPENBLAS_CORETYPE": processor[0], "XLA_FLAGS": f"--xla_cpu_max_isa={processor[1]}"}
    commands = {name: command for name, command in COMMANDS.items() if not command.startswith(("figures", "prove"))}
    return said(HERE.parent, out, commands, **variables)


def numbers(value: object, where: tuple = ()) -> Iterator[tuple[tuple, float]]:
    """Every floating-point number in what a command said, and where it stands."""
    if isinstance(value, dict) and isinstance(value.get("values"), bytes):
        if value["dtype"] == "float64":
            yield from (((*where, i), float(x)) for i, x in enumerate(np.frombuffer(value["values"])))
    elif isinstance(value, dict):
        for key in sorted(value.keys() - PROVENANCE):
            yield from numbers(value[key], (*where, key))
    elif isinstance(value, list):
        for i, one in enumerate(value):
            yield from numbers(one, (*where, i))
    elif isinstance(value, float):
        yield where, value


def differences(one: Path, other: Path, names: tuple[str, ...]) -> np.ndarray:
    """Of every number that both said, the difference relative to the larger.

    Raises `ValueError` where one of them said a number that the other did not.
    """
    found = []
    for name in names:
        a, b = (dict(numbers(content(folder / name))) for folder in (one, other))
        if a.keys() != b.keys():
            raise ValueError(f"{name}: expected the same numbers, received others: {sorted(a.keys() ^ b.keys())[:3]}")
        found += [_difference(a[key], b[key]) for key in a]
    return np.array(found)


def _difference(one: float, other: float) -> float:
    """0 where both are the same, be it nan; nan where one of them alone is."""
    same = one == other or (np.isnan(one) and np.isnan(other))
    return 0.0 if same else abs(one - other) / max(abs(one), abs(other))


def verdicts(folder: Path) -> dict[str, str]:
    claims = content(folder / "check.json")["claims"]  # type: ignore[index]
    return {claim["id"]: claim["verdict"] for claim in claims}


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        first = run_on(None, Path(scratch) / "first")
        lines = [
            "# The same numbers on another processor",
            "",
            "Written by `python benchmarks/other_processors.py`, on an x86-64 processor with AVX-512: against it, the",
            "same commands, seeds and versions without newer instructions than those of older processors, by which",
            "sums are rounded in another order. Relative differences over all numbers that a command prints or writes.",
            "",
            "| processor | command | numbers | equal to the bit | median difference | largest |",
            "|---|---|---|---|---|---|",
        ]
        below = ["", "| processor | verdicts of `check` that differ |", "|---|---|"]
        for title, processor in PROCESSORS.items():
            other = run_on(processor, Path(scratch) / title.partition(" ")[0])
            for command, names in GROUPS.items():
                off = differences(first, other, names)
                lines.append(
                    f"| {title} | {command} | {off.size} | {100 * np.mean(off == 0):.0f} % | {np.median(off):.1e} "
                    f"| {off.max():.1e} |"
                )
                print(lines[-1], flush=True)
            mine, theirs = verdicts(first), verdicts(other)
            below.append(f"| {title} | {sum(mine[key] != theirs[key] for key in mine)} of {len(mine)} |")
            print(below[-1], flush=True)
    RESULT.write_text("\n".join(lines + below) + "\n")


if __name__ == "__main__":
    main()
