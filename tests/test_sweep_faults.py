"""Sweeps that are killed, starved and cut off: what is finished is kept, and the end is the same to the byte."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("linreg-lora"))
CONFIG = """
problem: {n: 12, dx: 4, dy: 4, spectrum: [2, 1]}
axes:
  noise_std: {linear: [0.1, 10, CELLS]}
ranks: [1, 2]
trials: 16
computed_by: [monte-carlo]
"""
CELLS = 600
#: An empty journal has a log of 25 kB, and each cell adds 4 kB.
BYTES_WITH_CELLS = 30_000


#: Seconds after which a step counts as hung. Alone it takes a few, on a busy machine some tens.
PATIENCE = 300


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return written(tmp_path_factory.mktemp("config") / "sweep.yaml", CELLS)


@pytest.fixture(scope="module")
def expected(config, tmp_path_factory):
    """The bytes of a sweep that nothing disturbs, computed in one process."""
    out = tmp_path_factory.mktemp("expected") / "out.nc"
    assert_finished(sweep(config, out, "--workers=1"), out)
    return out.read_bytes()


def written(path, cells):
    path.write_text(CONFIG.replace("CELLS", str(cells)))
    return path


@contextlib.contextmanager
def running(words, **options):
    """A process in a group of its own; in the end, what is left of the group is killed."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    with subprocess.Popen(words, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def ended(process):
    """The process when it has ended, with its exit code, standard output and standard error."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"no end after {PATIENCE} s: {process.args}; it said {process.communicate()}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_until(reached, what):
    """Until a state is reached, however long it takes within PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        if time.monotonic() > deadline:
            pytest.fail(f"expected {what}, not there after {PATIENCE} s")
        time.sleep(0.01)


def command(config, out, *options):
    return [COMMAND, "sweep", str(config), "--out", str(out), *options]


def sweeping(config, out, *options):
    """A running sweep."""
    return running(command(config, out, *options))


def sweep(config, out, *options):
    """A sweep that has ended."""
    with sweeping(config, out, *options) as process:
        return ended(process)


def journal_of(out):
    return out.with_name(f"{out.name}.journal")


def logged(out):
    """Bytes of the journal's log. The journal is locked, so only these tell how far a sweep is."""
    try:
        return out.with_name(f"{out.name}.journal-wal").stat().st_size
    except FileNotFoundError:
        return 0


def wait_for_log(out, process, size):
    """Until the journal's log has more than `size` bytes, or the sweep has ended."""
    wait_until(lambda: logged(out) > size or process.poll() is not None, f"more than {size} bytes in the journal's log")


def wait_for_cells(out, process):
    """Until the first few of many cells are in the journal, while the sweep runs."""
    wait_for_log(out, process, BYTES_WITH_CELLS)
    if process.poll() is not None:
        pytest.fail(f"the sweep ended before it was disturbed: {ended(process)}")


def assert_finished(done, out):
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}\n", "")


def assert_one_line(done):
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("linreg-lora: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr


# -- killed -----------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_sweep_killed_at_random_moments_ends_in_the_same_bytes(config, expected, tmp_path):
    """First while it makes its journal, then after so many more bytes of it, unless it has ended by then."""
    out = tmp_path / "out.nc"
    clock = random.Random()
    for attempt, bytes_more in enumerate((0, *(clock.randrange(900_000) for _ in range(3)))):
        moment = logged(out) + bytes_more
        with sweeping(config, out, "--resume", f"--workers={1 + attempt % 2}") as process:
            wait_for_log(out, process, moment)
            process.kill()
        assert not out.exists() or out.read_bytes() == expected
    for _ in range(2):
        assert_finished(sweep(config, out, "--resume", "--workers=2"), out)
        assert out.read_bytes() == expected


@pytest.mark.heavy
def test_an_interrupted_sweep_says_how_to_go_on(config, expected, tmp_path):
    out = tmp_path / "out.nc"
    with sweeping(config, out, "--workers=2") as process:
        wait_for_cells(out, process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does at Ctrl-C
        done = ended(process)
    assert_one_line(done)
    assert "interrupted; what is finished is in" in done.stderr
    assert not out.exists()
    assert_finished(sweep(config, out, "--resume", "--workers=1"), out)
    assert out.read_bytes() == expected


@pytest.mark.heavy
def test_a_killed_worker_costs_only_time(config, expected, tmp_path):
    out = tmp_path / "out.nc"
    with sweeping(config, out, "--workers=2") as process:
        wait_for_cells(out, process)
        os.kill(children(process.pid)[-1], signal.SIGKILL)
        assert_finished(ended(process), out)
    assert out.read_bytes() == expected


def children(pid):
    """The worker processes of a sweep."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and f"\nPPid:\t{pid}\n" in (folder / "status").read_text():
                command = (folder / "cmdline").read_text()
                found += [int(folder.name)] if "spawn_main" in command else []
    return found


# -- refused ----------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_what_exists_is_refused_and_left_alone(config, tmp_path):
    small = written(tmp_path / "small.yaml", 3)
    out = tmp_path / "out.nc"
    assert_finished(sweep(small, out, "--workers=1"), out)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other_seed = tmp_path / "seed.yaml"
    other_seed.write_text(small.read_text() + "seed: 1\n")
    del before["small.yaml"]
    for path, options, said in [
        (small, [], "out: expected a path where no file is"),
        (other_seed, ["--resume"], "with seed 1, received one with seed 0"),
        (config, ["--resume"], "with axis noise_std"),
        (small, ["--resume", "--journal", str(tmp_path / "none")], "a file whose journal is there to resume"),
        (small, ["--resume", "--journal", str(small)], "three different paths"),
        (small, ["--resume", "--journal", str(other_seed)], "a journal of this package"),
        (small, ["--resume", "--workers=0"], "workers: expected an integer >= 1"),
        (small, ["--resume", "--workers=2", "--scheduler=x"], "either --workers or --scheduler"),
    ]:
        done = sweep(path, out, *options)
        assert_one_line(done)
        assert said in done.stderr
    out.unlink()
    done = sweep(small, out)
    assert_one_line(done)
    assert "journal: expected a path where no file is" in done.stderr
    assert journal_of(out).read_bytes() == before["out.nc.journal"]


@pytest.mark.heavy
def test_two_sweeps_do_not_share_a_journal(config, expected, tmp_path):
    """The first is stopped meanwhile, so that it cannot end before the second has looked."""
    out = tmp_path / "out.nc"
    with sweeping(config, out, "--workers=1") as process:
        wait_for_cells(out, process)
        process.send_signal(signal.SIGSTOP)
        done = sweep(config, out, "--resume", "--workers=1")
        assert_one_line(done)
        assert "one that no other process uses" in done.stderr
        process.send_signal(signal.SIGCONT)
        assert_finished(ended(process), out)
    assert out.read_bytes() == expected


@pytest.mark.parametrize("out", ["missing/out.nc", "file/out.nc", "folder"])
def test_an_output_that_cannot_be_written_is_found_out_first(tmp_path, out):
    small = written(tmp_path / "small.yaml", 3)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    done = sweep(small, tmp_path / out)
    assert_one_line(done)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "small.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_found_out_first(tmp_path):
    small = written(tmp_path / "small.yaml", 3)
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    done = sweep(small, folder / "out.nc")
    assert_one_line(done)


# -- a full disk ------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize("limit", [60_000, 150_000])
def test_a_full_disk_keeps_what_was_done(config, expected, tmp_path, limit):
    """A file-size limit stands for the disk's end: first in the journal, and later in the output."""
    out = tmp_path / "out.nc"
    # Not `preexec_fn`: it forks this process in a way that JAX, if it has run here, warns of.
    limited = f"""
        import os, resource, sys
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        os.execv(sys.argv[1], sys.argv[1:])
    """
    words = [sys.executable, "-c", textwrap.dedent(limited), *command(config, out, "--workers=1")]
    with running(words, env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0"}) as process:
        done = ended(process)
    assert_one_line(done)
    assert not out.exists()
    assert sorted(path.suffix for path in tmp_path.iterdir()) in ([".journal"], [".journal", ".journal-wal"])
    assert_finished(sweep(config, out, "--resume", "--workers=1"), out)
    assert out.read_bytes() == expected


# -- a cluster --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def dask(folder, *words):
    """A dask process."""
    program = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
    with (
        (folder / f"{words[0]}.log").open("a") as log,
        running(program, stdout=log, stderr=log, cwd=folder) as process,
    ):
        yield process


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers on loopback: the address, and the three processes."""
    file = tmp_path / "scheduler.json"
    with contextlib.ExitStack() as stack:
        scheduler = stack.enter_context(
            dask(tmp_path, "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        )
        wait_until(
            lambda: scheduler.poll() is not None or (file.exists() and file.read_text()), "an address in its file"
        )
        assert scheduler.poll() is None, (tmp_path / "scheduler.log").read_text()
        address = json.loads(file.read_text())["address"]
        words = ["worker", address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1"]
        workers = [stack.enter_context(dask(tmp_path, *words)) for _ in range(2)]
        yield address, scheduler, workers


def printed(script):
    """The lines that a Python script prints. A process of its own, because threads of dask outlive their client."""
    with running([sys.executable, "-c", textwrap.dedent(script)]) as process:
        done = ended(process)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.heavy
def test_a_cluster_survives_a_worker_and_its_end_is_resumable(config, expected, cluster, tmp_path):
    address, scheduler, workers = cluster
    out, again = tmp_path / "out.nc", tmp_path / "again.nc"
    with sweeping(config, out, f"--scheduler={address}") as process:
        wait_for_cells(out, process)
        workers[0].kill()
        assert_finished(ended(process), out)
    assert out.read_bytes() == expected

    with sweeping(config, again, f"--scheduler={address}") as process:
        wait_for_cells(again, process)
        scheduler.kill()
        done = ended(process)
    assert_one_line(done)
    assert "the scheduler does not answer" in done.stderr
    assert not again.exists()
    assert_finished(sweep(config, again, "--resume", "--workers=1"), again)
    assert again.read_bytes() == expected


def test_a_cluster_returns_values_and_errors(cluster):
    address, _, _ = cluster
    assert printed(f"""
        import os
        from linreg_lora.sweeps import executors
        with executors.cluster({address!r}) as executor:
            print(executor.submit(pow, 2, 3).result())
            print(type(executor.submit(os.listdir, "/no/such/folder").exception()).__name__)
    """) == ["8", "FileNotFoundError"]


def test_a_scheduler_that_is_not_there_is_one_line():
    addresses = ["tcp://127.0.0.1:1", "nowhere", "tcp://", "", "tcp://127.0.0.1:99999999"]
    lines = printed(f"""
        from linreg_lora.sweeps import executors
        from linreg_lora.errors import InvalidInput
        executors._SECONDS_TO_CONNECT = 1
        for address in {addresses!r}:
            try:
                executors.cluster(address).__enter__()
            except InvalidInput as error:
                print(error)
    """)
    assert len(lines) == len(addresses)
    assert {line.partition(", ")[0] for line in lines} == {"scheduler: expected the address of a dask scheduler"}
