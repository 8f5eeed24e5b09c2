"""Ctrl-C, and what people see before they think of it: progress."""

import functools
import io
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from linreg_lora import console
from linreg_lora.problem import Problem
from linreg_lora.sweeps import curves
from linreg_lora.theory import crossings

PROBLEM = ("--n", "200", "--dx", "40", "--dy", "40", "--noise-std", "1", "--spectrum", "3,2,1")
SWEEP = (
    "problem: {n: 200, dx: 40, dy: 40, spectrum: [3, 2, 1]}\n"
    "axes: {noise_std: [1, 2, 3]}\ntrials: 1000000\nranks: [1]\ncomputed_by: [monte-carlo]\n"
)
#: Each of them works for minutes.
COMMANDS = {
    "risk": ("risk", *PROBLEM, "--trials", "100000000"),
    "crossover": (
        "crossover", "--n", "4000", "--dx", "1500", "--dy", "1400", "--spectrum", "power-law:0.3:9", "--rank", "300",
        "--over", "noise_std", "--low", "0.01", "--high", "100", "--input-spectrum", "power-law:0.5:1",
    ),
    "check": ("check", "--workers", "2"),
    "figures": ("figures", "risk-vs-true-rank", "--out", "{folder}/figures", "--trials", "1000000"),
    "sweep": ("sweep", "{folder}/sweep.yaml", "--out", "{folder}/out.nc", "--workers", "2"),
    "train": ("train", *PROBLEM, "--ranks", "2", "--trials", "64", "--steps", "1000000"),
    "attack": ("attack", *PROBLEM, "--count", "4", "--target", "outside:6", "--trials", "100000000"),
}  # fmt: skip
#: Seconds for a command to be at work, and to end.
PATIENCE = 120


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "told"), [*((name, "by Ctrl-C") for name in COMMANDS), ("check", "to end"), ("sweep", "to end")]
)
def test_it_ends_with_one_line(name, told, tmp_path):
    """A terminal sends SIGINT to all processes of the command, `timeout` SIGTERM to the first, at any moment."""
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    words = [word.format(folder=tmp_path) for word in COMMANDS[name]]
    code = "import sys; from linreg_lora.__main__ import run; print('ready', file=sys.stderr, flush=True); run()"
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([sys.executable, "-c", code, *words], **options) as process:
        assert process.stderr.readline() == "ready\n"
        time.sleep(random.Random(name).uniform(0.1, 8))
        assert process.poll() is None
        if told == "to end":
            process.terminate()
        else:
            os.killpg(process.pid, signal.SIGINT)
        try:
            _, err = process.communicate(timeout=PATIENCE)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 2
    assert err.startswith("linreg-lora: interrupted")
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("*.nc"))
    assert not list(tmp_path.glob(".*"))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal(monkeypatch, delay):
    """Standard error as a terminal, on which what takes longer than `delay` shows progress."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(console, "_PROGRESS_DELAY", delay)
    monkeypatch.setattr("rich.console.Console", functools.partial(Console, force_terminal=True))
    return shown


def test_work_in_one_piece_shows_how_long_it_takes(monkeypatch):
    shown = terminal(monkeypatch, 0.0)
    with console.waiting("theory"):
        deadline = time.monotonic() + 10
        while "theory" not in shown.getvalue() and time.monotonic() < deadline:
            time.sleep(0.02)
    assert "0:00:0" in shown.getvalue()


def test_quick_work_shows_nothing(monkeypatch):
    shown = terminal(monkeypatch, 60.0)
    began = time.monotonic()
    with console.waiting("theory"):
        pass
    assert shown.getvalue().strip() == ""
    assert time.monotonic() - began < 30


def test_crossover_and_dry_runs_tell_every_step():
    steps = []
    problem = Problem(n=40, dx=4, dy=3, spectrum=(2.0,), noise_std=1.0)
    crossings.crossover(problem, 1, "noise_std", 0.5, 2.0, progress=steps.append)
    assert sum(steps) == crossings.STEPS
    for values in ([1.0], [0.5, 1.0, 2.0]):
        steps.clear()
        curves.estimate(
            problem.replace, {"noise_std": values}, ranks=[0], computed_by=["theory"], progress=steps.append
        )
        assert sum(steps) == curves.TIMINGS
