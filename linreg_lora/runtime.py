"""The numerical environment: float64, one XLA thread pool that cannot deadlock, a compilation cache.

Importing `linreg_lora` calls `configure`, so the command line, worker processes, tests and notebooks all run
in the same environment. Everything is set through environment variables, before JAX is imported; nothing here
imports JAX.
"""

import atexit
import contextlib
import functools
import os
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

#: XLA's CPU client hangs when two batched LAPACK calls run at the same time on its thread pool, whether inside
#: one program or from two threads (jax 0.10). One thread per client avoids it; parallelism is by process.
_ENVIRONMENT = {
    "PJRT_NPROC": "1",
    "JAX_ENABLE_X64": "1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
#: jaxlib versions whose fused reductions can be wrong, without a word: sum((A @ B) * A) where B is constant along its
#: rows reads memory that nothing was written to. Reported for crashes as jax-ml/jax issue 39257.
_WRONG_REDUCTIONS = ("0.10.2", "0.11.0")
_REDUCTIONS_FLAG = "--xla_cpu_experimental_ynn_fusion_type"
#: LAPACK is what takes the time here. Code around it that is optimised less compiles in two thirds of the time, runs as
#: fast, and gives the same bits.
_LEVEL_FLAG, _LEVEL = "--xla_backend_optimization_level", 1
#: The older of XLA's two code generators for fused loops, and vectors of two numbers: programs compile in three fifths
#: of the time that level 1 leaves, run as fast, and differ in rounding alone. XLA ends the process at a flag that it
#: does not know, so these are set for the versions of jaxlib that they were measured with.
_MEASURED = ("0.10.2",)
_MEASURED_FLAGS = {"--xla_cpu_use_fusion_emitters": "false", "--xla_cpu_prefer_vector_width": "128"}
#: Set to 1 where programs are kept lowered beside compiled ones (`simulation.lowered`), to 0 where they must not be.
_KEEPING = "LINREG_LORA_KEEP_PROGRAMS"
_device_lock = threading.Lock()


def cache_dir() -> Path:
    """Folder for compiled programs, in the user's cache folder (`LINREG_LORA_CACHE` overrides it)."""
    override = os.environ.get("LINREG_LORA_CACHE")
    if override:
        return Path(override)
    import platformdirs

    return Path(platformdirs.user_cache_dir("linreg-lora"))


def keep_programs() -> None:
    """Programs are kept lowered from here on, by this process and those that it starts, unless the variable says 0."""
    os.environ.setdefault(_KEEPING, "1")


def keeps_programs() -> bool:
    """Whether `keep_programs` was called."""
    return os.environ.get(_KEEPING) == "1"


def configure() -> None:
    """Set the environment once. Idempotent; effective also when the user imported JAX first.

    When JAX is already imported, float64 and the cache are switched on through its configuration, and XLA's flags are
    read at the first compilation; but its thread pool can no longer be chosen. Draws then stay safe because every draw
    chains its LAPACK calls by data dependencies and `exclusive_device` admits one thread at a time.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["JAX_ENABLE_X64"] = "1"
    flags = os.environ.get("XLA_FLAGS", "")
    if version("jaxlib") in _WRONG_REDUCTIONS and _REDUCTIONS_FLAG not in flags:
        flags = f"{flags} {_REDUCTIONS_FLAG}=-reduce"
    if _LEVEL_FLAG not in flags:
        flags = f"{flags} {_LEVEL_FLAG}={_LEVEL}"
    if version("jaxlib") in _MEASURED:
        flags = " ".join([flags, *(f"{name}={value}" for name, value in _MEASURED_FLAGS.items() if name not in flags)])
    os.environ["XLA_FLAGS"] = flags.strip()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_dir() / "xla"))
    if "jax" in sys.modules:
        import jax

        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def end_process(code: int) -> NoReturn:
    """End this process: exit functions run and what was printed is flushed, but nothing is taken apart.

    To take the interpreter apart object by object costs a tenth of a second, half a second with JAX or xarray in it.
    Where other threads have work to end, or what was printed cannot be flushed, the process ends in the ordinary way.
    """
    working = [thread for thread in threading.enumerate() if not thread.daemon]
    if working == [threading.current_thread()]:
        functions: Any = atexit
        functions._run_exitfuncs()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    sys.exit(code)


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """NumPy's and SciPy's linear algebra on one thread.

    At these sizes more only get in each other's way (ten times the time on a busy machine), and results must not depend
    on how many processes share the work: a threaded factorisation rounds differently. JAX takes LAPACK from SciPy when
    it first needs it; it has to be there before its threads can be limited.
    """
    with _thread_pools().limit(limits=1, user_api="blas"):
        yield


@contextlib.contextmanager
def one_numpy_thread() -> Iterator[None]:
    """As `one_blas_thread`, where NumPy is all that runs: SciPy's library, a quarter of a second, is not loaded."""
    with _numpy_pools().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _numpy_pools():
    import numpy as np  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@functools.cache
def _thread_pools():
    """The thread pools of this process. To look for them takes milliseconds; JAX's LAPACK has to be there by then."""
    import scipy.linalg.cython_lapack  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextlib.contextmanager
def exclusive_device() -> Iterator[None]:
    """Hold the device: one thread of this process runs compiled linear algebra, on one BLAS thread."""
    with _device_lock, one_blas_thread():
        yield
