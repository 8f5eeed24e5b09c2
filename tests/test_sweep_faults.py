"""Sweeps that are killed, starved and cut off: what is finished is kept, and the end is the same to the byte."""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from linreg_lora import executors

pytestmark = pytest.mark.faults

COMMAND = str(Path(sys.executable).with_name("linreg-lora"))
CONFIG = """
problem: {n: 12, dx: 4, dy: 4, spectrum: [2, 1]}
axes:
  noise_std: {linear: [0.1, 10, CELLS]}
ranks: [1, 2]
trials: 16
methods: [monte-carlo]
"""
CELLS = 600


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return written(tmp_path_factory.mktemp("config") / "sweep.yaml", CELLS)


@pytest.fixture(scope="module")
def expected(config, tmp_path_factory):
    """The bytes of a sweep that nothing disturbs, computed in one process."""
    out = tmp_path_factory.mktemp("expected") / "out.nc"
    done = sweep(config, out, "--workers=1")
    assert (done.returncode, done.stderr) == (0, "")
    return out.read_bytes()


def written(path, cells):
    path.write_text(CONFIG.replace("CELLS", str(cells)))
    return path


def arguments(config, out, *options):
    return [COMMAND, "sweep", str(config), "--out", str(out), *options]


def sweep(config, out, *options, timeout=120, **keywords):
    return subprocess.run(
        arguments(config, out, *options), capture_output=True, text=True, timeout=timeout, check=False, **keywords
    )


@contextlib.contextmanager
def sweeping(config, out, *options):
    """A running sweep, which is killed in the end if it still runs."""
    process = subprocess.Popen(
        arguments(config, out, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def journal_of(out):
    return out.with_name(f"{out.name}.journal")


def wait_for_cells(out, process, least_bytes=30_000):
    """Until some cells are in the journal; it is locked, so only its size tells."""
    log = journal_of(out).with_name(f"{out.name}.journal-wal")
    deadline = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size > least_bytes):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def finished(process, timeout=60):
    """Exit code, standard output and standard error of a running sweep."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def assert_one_line(code, out, err):
    assert (code, out) == (2, "")
    assert err.startswith("linreg-lora: ")
    assert len(err.splitlines()) == 1, err


# -- killed -----------------------------------------------------------------------------------------------------


def test_a_sweep_killed_at_random_moments_ends_in_the_same_bytes(config, expected, tmp_path):
    out = tmp_path / "out.nc"
    clock = random.Random()
    for attempt in range(5):
        with sweeping(config, out, "--resume", f"--workers={1 + attempt % 2}") as process:
            time.sleep(clock.uniform(0.5, 4.0))
            process.kill()
        assert not out.exists() or out.read_bytes() == expected
    done = sweep(config, out, "--resume", "--workers=2")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}\n", "")
    assert out.read_bytes() == expected
    assert sweep(config, out, "--resume").returncode == 0
    assert out.read_bytes() == expected


def test_an_interrupted_sweep_says_how_to_go_on(config, expected, tmp_path):
    out = tmp_path / "out.nc"
    with sweeping(config, out, "--workers=2") as process:
        wait_for_cells(out, process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does at Ctrl-C
        code, printed, said = finished(process)
    assert_one_line(code, printed, said)
    assert "interrupted; what is finished is in" in said
    assert not out.exists()
    assert sweep(config, out, "--resume", "--workers=1").returncode == 0
    assert out.read_bytes() == expected


def test_a_killed_worker_costs_only_time(config, expected, tmp_path):
    out = tmp_path / "out.nc"
    with sweeping(config, out, "--workers=2") as process:
        wait_for_cells(out, process)
        victim = children(process.pid)[-1]
        os.kill(victim, signal.SIGKILL)
        assert finished(process) == (0, f"{out}\n", "")
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


def test_what_exists_is_refused_and_left_alone(config, tmp_path):
    small = written(tmp_path / "small.yaml", 3)
    out = tmp_path / "out.nc"
    assert sweep(small, out, "--workers=1").returncode == 0
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
        assert_one_line(done.returncode, done.stdout, done.stderr)
        assert said in done.stderr
    out.unlink()
    done = sweep(small, out)
    assert_one_line(done.returncode, done.stdout, done.stderr)
    assert "journal: expected a path where no file is" in done.stderr
    assert journal_of(out).read_bytes() == before["out.nc.journal"]


def test_two_sweeps_do_not_share_a_journal(config, tmp_path):
    out = tmp_path / "out.nc"
    with sweeping(config, out, "--workers=1") as process:
        wait_for_cells(out, process)
        done = sweep(config, out, "--resume", "--workers=1")
        assert process.poll() is None
        assert_one_line(done.returncode, done.stdout, done.stderr)
        assert "one that no other process uses" in done.stderr


@pytest.mark.parametrize("out", ["missing/out.nc", "file/out.nc", "folder"])
def test_an_output_that_cannot_be_written_is_found_out_first(tmp_path, out):
    small = written(tmp_path / "small.yaml", 3)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    done = sweep(small, tmp_path / out)
    assert_one_line(done.returncode, done.stdout, done.stderr)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "small.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_found_out_first(tmp_path):
    small = written(tmp_path / "small.yaml", 3)
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    done = sweep(small, folder / "out.nc")
    assert_one_line(done.returncode, done.stdout, done.stderr)


# -- a full disk ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [60_000, 150_000])
def test_a_full_disk_keeps_what_was_done(config, expected, tmp_path, limit):
    """A file-size limit stands for the disk's end: first in the journal, and later in the output."""
    out = tmp_path / "out.nc"

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0"}
    done = sweep(config, out, "--workers=1", preexec_fn=limited, env=environment)
    assert_one_line(done.returncode, done.stdout, done.stderr)
    assert not out.exists()
    assert sorted(path.suffix for path in tmp_path.iterdir()) in ([".journal"], [".journal", ".journal-wal"])
    done = sweep(config, out, "--resume", "--workers=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert out.read_bytes() == expected


def test_a_full_disk_leaves_no_partial_output(tmp_path):
    script = f"""
        import resource
        from pathlib import Path
        import numpy as np, xarray as xr
        from linreg_lora import sweeps
        from linreg_lora.errors import InvalidInput
        dataset = xr.Dataset({{"risk": ("n", np.random.default_rng(0).random(100_000))}})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            sweeps.write(dataset, Path({str(tmp_path / "out.nc")!r}))
        except InvalidInput as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("out: expected a file that can be written, received ")
    assert len(done.stdout.splitlines()) == 1
    assert not list(tmp_path.iterdir())


# -- a cluster --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def dask(folder, *words):
    """A dask process, killed in the end."""
    with (folder / f"{words[0]}.log").open("a") as log:
        command = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        with process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers on loopback: the address, and the three processes."""
    file = tmp_path / "scheduler.json"
    with contextlib.ExitStack() as stack:
        scheduler = stack.enter_context(
            dask(tmp_path, "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        )
        deadline = time.monotonic() + 60
        while not file.exists() or not file.read_text():
            assert time.monotonic() < deadline, (tmp_path / "scheduler.log").read_text()
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        words = ["worker", address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1"]
        workers = [stack.enter_context(dask(tmp_path, *words)) for _ in range(2)]
        yield address, scheduler, workers


def test_a_cluster_survives_a_worker_and_its_end_is_resumable(config, expected, cluster, tmp_path):
    address, scheduler, workers = cluster
    with executors.cluster(address) as executor:
        assert executor.submit(pow, 2, 3).result(timeout=60) == 8
        with pytest.raises(FileNotFoundError, match="no/such/folder"):
            executor.submit(os.listdir, "/no/such/folder").result(timeout=60)
    out, again = tmp_path / "out.nc", tmp_path / "again.nc"
    with sweeping(config, out, f"--scheduler={address}") as process:
        wait_for_cells(out, process)
        workers[0].kill()
        assert finished(process) == (0, f"{out}\n", "")
    assert out.read_bytes() == expected

    with sweeping(config, again, f"--scheduler={address}") as process:
        wait_for_cells(again, process)
        scheduler.kill()
        code, printed, said = finished(process)
    assert_one_line(code, printed, said)
    assert "the scheduler does not answer" in said
    assert not again.exists()
    assert sweep(config, again, "--resume", "--workers=1").returncode == 0
    assert again.read_bytes() == expected
