"""Every test runs in the package's own numerical environment, with JAX at its strictest."""

import gc
import os
from pathlib import Path

import pytest

# Two workers whose linear algebra takes two threads each get in each other's way: tests took up to fifty times as long.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import linreg_lora  # noqa: E402, F401  (sets float64 and the XLA environment before JAX is imported)

import jax  # isort: skip  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


# Collections of garbage look at all that two million objects of compiled programs hold: a twentieth of the time.
gc.set_threshold(20_000, 20, 50)

#: Memory maps of a process at which its compiled programs are let go; Linux allows 65530, and aborts beyond.
_MANY_MAPS = 30_000


@pytest.fixture(autouse=True, scope="module")
def _few_programs():
    """Thousands of tests compile thousands of programs in one process, each of which takes memory maps."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > _MANY_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True, scope="session")
def _nothing_kept():
    """Tests change what code does, which no hash sees: verdicts and programs are kept only where a test says where."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("linreg_lora.claims.kept.folder", lambda: Path(os.devnull) / "none")
        patch.setattr("linreg_lora.simulation.lowered.folder", lambda: None)
        yield


@pytest.fixture
def run():
    """The command line in this process, from its words to its exit code, standard output and standard error."""
    from bad_input import run_cli

    return run_cli


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium for the tests marked `browser`; see browser.py for what happens where there is none.

    It ends with its module: Playwright keeps an event loop running in this thread, in which no other one can run.
    """
    from browser import launched

    with launched() as running:
        yield running
