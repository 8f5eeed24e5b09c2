"""Local processes: they are replaced when they die, take no call with them, and end with their parent."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from linreg_lora import provenance
from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.sweeps import executors


def die_unless_it_was_tried_before(path):
    """Kills its process the first time."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@pytest.fixture(scope="module")
def two():
    with executors.local_processes(2) as executor:
        yield executor


def test_a_killed_worker_costs_only_time(two, tmp_path):
    calls = [two.submit(die_unless_it_was_tried_before, str(tmp_path / str(i))) for i in range(3)]
    assert [call.result(timeout=60) for call in calls] == ["done"] * 3


def test_a_worker_killed_between_calls_is_replaced(two):
    pids = {two.submit(os.getpid).result(timeout=60) for _ in range(4)}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert two.submit(os.getpid).result(timeout=60) not in pids


def test_a_call_that_always_kills_its_worker_fails_alone(two):
    deadly, harmless = two.submit(os._exit, 1), two.submit(os.getpid)
    with pytest.raises(LinregLoraError, match="its worker died 3 times"):
        deadly.result(timeout=60)
    assert harmless.result(timeout=60) > 0


def test_errors_come_back_as_they_were(two):
    with pytest.raises(FileNotFoundError):
        two.submit(os.listdir, "/no/such/folder").result(timeout=60)


def test_workers_end_at_once_when_the_block_raises():
    began = time.monotonic()
    pids = []

    def interrupted():
        with executors.local_processes(1) as executor:
            pids.append(executor.submit(os.getpid).result(timeout=60))
            executor.submit(time.sleep, 600)
            executor.submit(time.sleep, 600)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - began < 60
    assert not alive(*pids)


def test_workers_end_with_their_parent():
    script = """
        import os, time
        from linreg_lora.sweeps.executors import local_processes
        if __name__ == "__main__":
            with local_processes(1) as executor:
                print(executor.submit(os.getpid).result(), flush=True)
                executor.submit(time.sleep, 600)
                time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 30
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def test_a_script_without_a_guard_is_told(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import os
        from linreg_lora.sweeps.executors import local_processes
        with local_processes(1) as executor:
            executor.submit(os.getpid).result()
    """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.stderr.splitlines()[-1].endswith(executors._START_ADVICE)


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_bad_numbers_of_workers_are_refused(workers):
    with pytest.raises(InvalidInput, match="workers: expected an integer >= 1"):
        executors.LocalProcesses(workers)


def test_a_worker_of_another_version_is_refused():
    assert executors._on_cluster(provenance.versions(), max, (1, 2), {}) == 2
    with pytest.raises(BrokenExecutor, match=r"a worker has linreg-lora .*, expected linreg-lora 0\.0\.0"):
        executors._on_cluster(("linreg-lora 0.0.0", *provenance.versions()[1:]), max, (1, 2), {})


def alive(pid):
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
