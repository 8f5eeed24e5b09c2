"""Time and memory of `risk` by dimension, for who asks how large dx and dy may be.

    python benchmarks/time_by_dimension.py [--largest 4096]

Whole processes of the command line with warm caches, one after the other: processor time, user and system, and peak
memory. dx = dy = d, n = 2 d, singular values 10/k, ranks 0, 1, 2, 4, 8, 16; anisotropic inputs have the variances
10/k. Writes `results/time_by_dimension.md`.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

RESULT = Path(__file__).parent / "results" / "time_by_dimension.md"
SIZES = (50, 100, 200, 400, 800, 1600, 4096)
_RANKS = "0,1,2,4,8,16"
#: What is run: its name, its options, and the largest size that it is run at.
WAYS = {
    "theory": ("--method theory", 4096),
    "theory, anisotropic inputs": ("--method theory --input-spectrum power-law:1:10", 1600),
    "theory, all ranks": ("--method theory --ranks all", 400),
    "theory, each rank's best ridge": ("--method theory --ridge auto", 200),
    "100 draws": ("--method monte-carlo --trials 100", 800),
    "100 draws, anisotropic inputs": ("--method monte-carlo --trials 100 --input-spectrum power-law:1:10", 800),
}


def cost(size: int, options: str) -> str:
    """Processor time and peak memory of one process, after one that fills the caches."""
    problem = f"--n {2 * size} --dx {size} --dy {size} --noise-std 1 --spectrum power-law:1:10"
    ranks = "" if "--ranks" in options else f"--ranks {_RANKS}"
    words = f"risk {problem} {ranks} {options.replace('--ranks all', '')}".split()
    used = None
    for _ in range(2):
        child = subprocess.Popen([sys.executable, "-m", "linreg_lora", *words], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"{' '.join(words)}: exit code {child.returncode}")
    assert used is not None
    return f"{used.ru_utime + used.ru_stime:.2g} s, {used.ru_maxrss / 2**20:.2g} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--largest", type=int, default=max(SIZES))
    largest = parser.parse_args().largest
    sizes = [size for size in SIZES if size <= largest]
    lines = [
        "# Time and memory by dimension",
        "",
        "Written by `python benchmarks/time_by_dimension.py`: processor time and peak memory of `linreg-lora risk`,",
        "whole processes with warm caches. dx = dy = d, n = 2 d, singular values 10/k, ranks 0, 1, 2, 4, 8, 16;",
        "anisotropic inputs have variances 10/k. `-`: not run.",
        "",
        f"| d | {' | '.join(WAYS)} |",
        f"|---:|{'---|' * len(WAYS)}",
    ]
    for size in sizes:
        cells = [cost(size, options) if size <= most else "-" for options, most in WAYS.values()]
        lines.append(f"| {size} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    RESULT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
