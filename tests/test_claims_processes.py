"""Claims in several processes: the order, the same verdicts to the bit, processes that die, and Ctrl-C."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from test_claims_schema import document
from test_executors import alive

from linreg_lora.claims import processes
from linreg_lora.claims.check import check_claims
from linreg_lora.claims.file import load_claims, parse_claims
from linreg_lora.claims.processes import Waiting, on_processes, work_of
from linreg_lora.errors import InvalidInput, LinregLoraError

#: Seconds after which a step counts as hung. Alone it takes a few, on a busy machine some tens.
PATIENCE = 300


def claim(experiment, trials, noise_std=1.0):
    changes = {"experiment__name": experiment, "experiment__trials": trials, "domain__noise_std": [noise_std]}
    return parse_claims(document(**changes)).claims[0]


def refuse():
    raise InvalidInput("field", "this", "that")


def test_the_slowest_come_first_and_programs_stay_where_they_are():
    """Process 0 gets the slowest, process 1 the slowest of another experiment and domain, process 2 the slowest of all
    that is left, which shares with what others have run; then process 1 by its domain, and process 0 by both."""
    wishes = [("fft-risk", 20, 1.0), ("fft-risk", 90, 1.0), ("fft-forgetting", 30, 2.0), ("fft-risk", 10, 2.0),
              ("fft-forgetting", 80, 1.0), ("fft-forgetting", 5, 3.0), ("fft-risk", 40, 1.0)]  # fmt: skip
    waiting = Waiting([claim(*wish) for wish in wishes])
    assert [waiting.take(process) for process in (0, 1, 2, 1, 0)] == [1, 2, 4, 3, 6]
    assert len(waiting) == 2


def test_work_is_draws_times_entries():
    few, many = claim("fft-risk", 20), claim("fft-risk", 60)
    assert work_of(many) == 3 * work_of(few) == 60 * sum(n * dx * dy for n, dx, dy in many.domain.dimensions())


def test_a_call_that_kills_its_process_or_raises_ends_alone():
    claims = [claim("fft-risk", 20)] * 5
    calls = [(os._exit, (1,)), (refuse, ()), (abs, (-2,)), (abs, (-3,)), (os.getpid, ())]
    found = {one.place: one for one in on_processes(claims, calls, 2)}
    assert [found[place].value for place in (2, 3)] == [2, 3]
    assert str(found[1].error) == "field: expected this, received that"
    assert isinstance(found[0].error, LinregLoraError)
    assert "its worker died 3 times" in str(found[0].error)
    assert not alive(found[4].value)


def test_processes_end_with_the_loop_over_them():
    calls = [(os.getpid, ()), (time.sleep, (600,)), (time.sleep, (600,))]
    began = time.monotonic()
    outcomes = on_processes([claim("fft-risk", 20)] * 3, calls, 2)
    first = next(outcomes)
    outcomes.close()
    assert time.monotonic() - began < 60
    assert not alive(first.value)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not count memory maps")
@pytest.mark.parametrize(("most", "left"), [(10**9, 1), (0, 0)])
def test_programs_are_let_go_where_they_are_many(monkeypatch, most, left):
    import jax

    program = jax.jit(lambda x: 2.0 * x)
    assert program(3.0) == 6.0
    monkeypatch.setattr(processes, "_MOST_MAPS", most)
    processes.release_memory()
    assert program._cache_size() == left
    assert program(3.0) == 6.0


@pytest.mark.heavy
def test_verdicts_in_processes_are_those_of_one_to_the_bit():
    ids = [claim.id for claim in load_claims().claims if claim.experiment.trials <= 1024][:12]
    here, elsewhere = (check_claims(only=ids, workers=workers) for workers in (1, 2))
    assert [j.claim.id for j in elsewhere] == ids
    assert [repr(dataclasses.replace(j, seconds=0.0)) for j in here] == [
        repr(dataclasses.replace(j, seconds=0.0)) for j in elsewhere
    ]
    assert [(j.comparisons, j.rivals, j.outside) for j in here] == [
        (j.comparisons, j.rivals, j.outside) for j in elsewhere
    ]


@pytest.mark.heavy
def test_interrupted_it_ends_with_one_line_and_no_process_is_left():
    command = [str(Path(sys.executable).with_name("linreg-lora")), "check", "--workers=2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline, workers = time.monotonic() + PATIENCE, []
        while len(workers) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
            children = psutil.Process(process.pid).children()
            workers = [child.pid for child in children if any("spawn_main" in word for word in child.cmdline())]
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert len(workers) == 2
    assert (process.returncode, out, err) == (2, "", "linreg-lora: interrupted\n")
    assert not any(map(alive, workers))
