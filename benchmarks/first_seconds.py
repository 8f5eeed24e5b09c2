"""What commands cost from start to end: first answers, and whole processes against the textbook way.

    python benchmarks/first_seconds.py [--rounds 5] [--only risk ...] [--check-workers 2] [--whole-runs 1]

Whole processes are measured by the processor time of the child and of what it started (user and system, `wait4`), in
rounds that take turns with the yardstick `python -c "import jax, scipy.linalg"`; ratios are medians over the rounds.
`--only` chooses parts: risk, lists, check, figures, sweep. Writes `results/first_seconds.md`; a run of some parts keeps
the other rows that the file has.
"""

import argparse
import dataclasses
import functools
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULT = HERE / "results" / "first_seconds.md"
#: README's first command.
RISK = ("risk", "--n", "200", "--dx", "40", "--dy", "40", "--noise-std", "1", "--spectrum", "3,2,1", "--ranks", "0,1,2,3,8")  # fmt: skip  # noqa: E501
YARDSTICK = ("-c", "import jax, scipy.linalg")
PARTS = ("risk", "lists", "check", "figures", "sweep")
_MISSED = "**missed**"


class Cost(NamedTuple):
    """What one process took: processor seconds and seconds, and its peak memory, that of its children apart."""

    processor: float
    wall: float
    gibibytes: float


@dataclasses.dataclass(frozen=True)
class Row:
    """`goal`: as in "<= 1.5"; `unit`: what `value` is in."""

    what: str
    value: float
    unit: str
    goal: str
    where: str = ""

    @property
    def met(self) -> bool:
        relation, bound = self.goal.split()
        return self.value >= float(bound) if relation == ">=" else self.value <= float(bound)

    def cells(self) -> list[str]:
        verdict = "met" if self.met else _MISSED
        return [self.what, f"{self.value:.3g} {self.unit}".strip(), self.goal, verdict, self.where]


class Runs:
    """Processes with one folder of caches."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def python(self, words: Sequence[str], cache: Path | None = None, codes: Sequence[int] = (0,)) -> Cost:
        """A process of this Python; `codes`: how it may end."""
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "LINREG_LORA_CACHE": str(cache or self.cache), "PYTHONPATH": paths}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # of what an earlier part imported here
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment[name] = "1"
        with tempfile.TemporaryFile() as said:
            began = time.perf_counter()
            child = subprocess.Popen([sys.executable, *words], stdout=said, stderr=said, env=environment)
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            wall = time.perf_counter() - began
            if child.returncode not in codes:
                said.seek(0)
                sys.exit(f"{' '.join(words)}: exit code {child.returncode}\n{said.read().decode()[-2000:]}")
        return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 2**20)

    def command(self, *words: str, cache: Path | None = None, codes: Sequence[int] = (0,)) -> Cost:
        """A process of the command line."""
        return self.python(("-c", "from linreg_lora.__main__ import run; run()", *words), cache, codes)


def in_turns(calls: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Costs of each call, all of them once a round."""
    found: dict[str, list[Cost]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(call())
            print(name, found[name][-1], flush=True)
    return found


def middle(costs: Sequence[Cost], yardstick: Sequence[Cost] | None = None) -> float:
    """Median processor time, or of its ratio to the yardstick's in the same round."""
    if yardstick is None:
        return statistics.median(cost.processor for cost in costs)
    return statistics.median(a.processor / b.processor for a, b in zip(costs, yardstick, strict=True))


#: Where a warm `risk` spends its time, in its own process: what is said, and the code that does it.
_STAGES = (
    ("parsing the command line", "import linreg_lora.cli; from linreg_lora import runtime; runtime.keep_programs()"),
    ("import of SciPy's LAPACK", "import scipy.linalg"),
    ("import of JAX", "import jax"),
    ("other imports", "from linreg_lora.cli import complexity_report, risk_report; from linreg_lora.simulation import curve, draws, lowered; from linreg_lora.problem import Problem"),  # noqa: E501
    ("planning", "p = Problem(n=200, dx=40, dy=40, noise_std=1.0, spectrum=(3.0, 2.0, 1.0)); program = curve._program(p, 8, 'auto'); key = draws._key(0); first = np.int64(0)"),  # noqa: E501
    ("finding the program", "a = (draws._draws, (program._one, program._static, program.size), (program._arrays, key, first)); text = lowered._description(*a, program._result); import hashlib; content = lowered._read(lowered.folder() / (hashlib.sha256(text.encode()).hexdigest() + '.mlir'), text); assert content"),  # noqa: E501
    ("lowering", "made = lowered._rebuilt(content, a[2])"),
    ("loading of the compiled program", "compiled = made.compile()"),
    ("drawing, first chunk", "jax.block_until_ready(compiled(*jax.tree.leaves(a[2])))"),
    ("drawing, the other chunks", "[jax.block_until_ready(compiled(*jax.tree.leaves(a[2]))) for _ in range(6)]"),
    ("theory, with SciPy's optimisers", "from linreg_lora.theory.curve import expected_risk; expected_risk(p, [0, 1, 2, 3, 8])"),  # noqa: E501
)  # fmt: skip


def shares(runs: Runs, rounds: int) -> str:
    """Shares of a warm risk's processor time, the largest first."""
    code = ["import time; before = time.process_time(); print(before); import numpy as np"]
    for _, stage in _STAGES:
        code.append(f"{stage}\nnow = time.process_time(); print(now - before); before = now")
    environment = {**os.environ, "LINREG_LORA_CACHE": str(runs.cache), "PYTHONPATH": str(ROOT)}
    rows = []
    for _ in range(rounds):
        words = [sys.executable, "-c", "\n".join(code)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        rows.append([float(line) for line in done.stdout.split()])
    names = ["start", *(name for name, _ in _STAGES)]
    times = {name: statistics.median(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    order = sorted(times, key=lambda name: -times[name])
    return ", ".join(f"{name} {times[name] / sum(times.values()):.0%}" for name in order[:8])


def imports(runs: Runs, words: Sequence[str]) -> str:
    """The packages whose import takes longest in a command, by `-X importtime`."""
    environment = {**os.environ, "LINREG_LORA_CACHE": str(runs.cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-X", "importtime", "-c", "from linreg_lora.__main__ import run; run()", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    own: dict[str, float] = {}
    for line in done.stderr.splitlines():
        if found := re.match(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\w+)(?:\.(\w+))?", line):
            name = f"{found[2]}.{found[3]}" if found[2] == "scipy" and found[3] else found[2]
            own[name] = own.get(name, 0.0) + int(found[1])
    whole = sum(own.values())
    return "imports: " + ", ".join(f"{n} {own[n] / whole:.0%}" for n in sorted(own, key=lambda n: -own[n])[:6])


def risk_rows(runs: Runs, rounds: int, folder: Path) -> list[Row]:
    def empty() -> Cost:
        place = Path(tempfile.mkdtemp(dir=folder))
        cost = runs.command(*RISK, cache=place)
        shutil.rmtree(place)
        return cost

    runs.command(*RISK)
    found = in_turns(
        {
            "yardstick": lambda: runs.python(YARDSTICK),
            "empty": empty,
            "warm": lambda: runs.command(*RISK),
            "theory": lambda: runs.command(*RISK, "--method", "theory"),
            "help": lambda: runs.command("--help"),
        },
        rounds,
    )
    yardstick = found["yardstick"]
    cold, warm = middle(found["empty"]), middle(found["warm"])
    rest = f"compiling and tracing {1 - warm / cold:.0%}, the rest is a warm run"
    return [
        Row("first `risk`, empty cache, over the yardstick", middle(found["empty"], yardstick), "", "<= 4.5", rest),
        Row("the same, warm", middle(found["warm"], yardstick), "", "<= 1.5", shares(runs, rounds)),
        Row("the same, `--method theory`", middle(found["theory"], yardstick), "", "<= 1",
            imports(runs, (*RISK, "--method", "theory"))),
        Row("`--help`", middle(found["help"]), "s", "<= 0.3", imports(runs, ("--help",))),
    ]  # fmt: skip


def list_rows(runs: Runs, rounds: int, folder: Path) -> list[Row]:
    out = folder / "figures"
    name = "bounds"
    drawn = ("figures", name, "--out", str(out), "--trials", "20")
    runs.command(*drawn)
    words = {
        "claims": ("claims",),
        "prove --list": ("prove", "--list"),
        "figures --list": ("figures", "--list"),
        f"figures {name}, its data there": drawn,
    }
    found = in_turns({what: functools.partial(runs.command, *line) for what, line in words.items()}, rounds)
    return [
        Row(f"`{what.split(',')[0]}`{what[len(what.split(',')[0]):]}", middle(found[what]), "s", "<= 1.2",
            imports(runs, line))
        for what, line in words.items()
    ]  # fmt: skip


def check_rows(runs: Runs, rounds: int, folder: Path, workers: int) -> list[Row]:
    line = ("check", "--workers", str(workers))
    runs.command(*line, codes=(0, 1))
    found = in_turns(
        {
            "check": lambda: runs.command(*line, codes=(0, 1)),
            "report": lambda: runs.command("report", "--out", str(folder / "report.html"), codes=(0, 1)),
        },
        rounds,
    )
    check, report = found["check"], found["report"]
    where = f"{middle(check):.3g} s of processor time on {workers} processes"
    return [
        Row("`check`, warm, by the clock", statistics.median(c.wall for c in check), "s", "<= 35", where),
        Row("`report` after `check`, by the clock", statistics.median(c.wall for c in report), "s", "<= 10",
            f"{middle(report):.3g} s of processor time"),
        Row("peak memory of `check`, its largest process", max(c.gibibytes for c in check), "GiB", "<= 1"),
    ]  # fmt: skip


def figure_rows(runs: Runs, folder: Path) -> list[Row]:
    name = "risk-vs-true-rank"
    cost = runs.command("figures", name, "--out", str(folder / "fresh"), "--trials", "20", "--workers", "2")
    return [Row(f"peak memory of `figures {name} --trials 20`", cost.gibibytes, "GiB", "<= 1",
                f"{cost.processor:.3g} s of processor time")]  # fmt: skip


def sweep_rows(runs: Runs, folder: Path, whole_runs: int) -> list[Row]:
    config = HERE / "published" / "true_rank.yaml"
    os.environ["LINREG_LORA_CACHE"] = str(runs.cache)
    from engine import whole_processes

    cost = runs.command("sweep", str(config), "--out", str(folder / "sweep.nc"), "--workers", "2")
    rows = [Row("peak memory of a sweep, its largest process", cost.gibibytes, "GiB", "<= 1",
                f"{cost.processor:.3g} s of processor time")]  # fmt: skip
    for name, bound in (("noise", 30), ("true_rank", 15)) if whole_runs else ():
        ratio = whole_processes(name, whole_runs)
        rows.append(Row(f"whole process, textbook over ours, `{name}.yaml`, by the clock", ratio, "", f">= {bound}",
                        "start of workers, each importing, lowering and loading"))  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def written_before() -> list[list[str]]:
    """The rows of the file as it is."""
    if not RESULT.exists():
        return []
    lines = [line for line in RESULT.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def table(rows: Sequence[Row], rounds: int) -> str:
    new = [row.cells() for row in rows]
    names = {cells[0] for cells in new}
    kept = [cells for cells in written_before() if cells[0] not in names]
    head = ["what", "measured", "goal", "", "where the time goes"]
    lines = [
        "# From start to answer", "",
        f"Written by `python benchmarks/first_seconds.py --rounds {rounds}`. Processor time of whole processes with "
        "what they start, user and system; medians of rounds that take turns. The yardstick is "
        '`python -c "import jax, scipy.linalg"`. Shares are of processor time within one process, those of imports by '
        "`-X importtime`. Times by the clock are those of a machine that does other work too.", "",
        f"| {' | '.join(head)} |", "|---|---|---|---|---|",
        *(f"| {' | '.join(cells)} |" for cells in (*new, *kept)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--check-workers", type=int, default=2)
    parser.add_argument("--whole-runs", type=int, default=1, help="Pairs of whole sweeps; 0: none.")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        runs = Runs(folder / "cache")
        parts: dict[str, Callable[[], list[Row]]] = {
            "risk": lambda: risk_rows(runs, options.rounds, folder),
            "lists": lambda: list_rows(runs, options.rounds, folder),
            "check": lambda: check_rows(runs, min(options.rounds, 2), folder, options.check_workers),
            "figures": lambda: figure_rows(runs, folder),
            "sweep": lambda: sweep_rows(runs, folder, options.whole_runs),
        }
        for name in options.only:
            rows += parts[name]()
            RESULT.write_text(table(rows, options.rounds))
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
