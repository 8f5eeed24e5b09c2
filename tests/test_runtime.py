"""The numerical environment, the cost of importing, errors, and files that are never half written."""

import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from linreg_lora import runtime
from linreg_lora.errors import InvalidInput, LinregLoraError, NumericalFailure

COMMAND = Path(sys.executable).with_name("linreg-lora")
SETTINGS = ("PJRT_NPROC", "JAX_ENABLE_X64", "JAX_COMPILATION_CACHE_DIR", "LINREG_LORA_CACHE", "XLA_FLAGS")


def in_fresh_process(script, **environment):
    """Run a script without this process's settings; it prints one JSON value."""
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**clean, **environment}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# -- the end of a process ---------------------------------------------------------------------------------------


def ended(script, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=False,
        **options,
    )  # fmt: skip


def test_a_process_ends_with_what_it_printed_and_after_its_exit_functions_alone():
    """An object that lives to the end is not taken apart: that is what takes the time."""
    done = ended("""
        import atexit
        from linreg_lora import runtime
        class Kept:
            def __del__(self):
                print("taken apart")
        kept = Kept()
        atexit.register(print, "exit function")
        print("printed")
        runtime.end_process(3)
    """)
    assert (done.returncode, done.stdout, done.stderr) == (3, "printed\nexit function\n", "")


def test_a_thread_that_works_is_waited_for():
    done = ended("""
        import threading, time
        from linreg_lora import runtime
        threading.Thread(target=lambda: (time.sleep(0.5), print("worked"))).start()
        runtime.end_process(1)
    """)
    assert (done.returncode, done.stdout) == (1, "worked\n")


def test_what_cannot_be_printed_is_complained_of_as_ever():
    script = "print('x' * 10); from linreg_lora import runtime; runtime.end_process(0)"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env=buffered
        )
    assert done.returncode == 120
    assert "No space left" in done.stderr


def test_the_command_ends_with_the_code_of_its_answer():
    for words, code in (("['theory-nothing']", 2), ("['--help']", 0), ("['cite']", 0)):
        done = ended(f"""
            import sys
            from linreg_lora.__main__ import run
            sys.argv[1:] = {words}
            run()
        """)
        assert (done.returncode, bool(done.stdout)) == (code, code == 0)


# -- importing --------------------------------------------------------------------------------------------------


def test_importing_the_package_imports_nothing_slow():
    loaded = in_fresh_process("import json, sys, linreg_lora; print(json.dumps(sorted(sys.modules)))")
    assert not {"jax", "jaxlib", "numpy", "xarray", "matplotlib", "scipy", "sympy", "pydantic"} & set(loaded)


def test_problems_spectra_and_fft_theory_need_no_jax():
    script = """
        import json, sys
        import linreg_lora.problem, linreg_lora.spectra, linreg_lora.theory.fft
        risk = linreg_lora.theory.fft.fft_risk(linreg_lora.Problem(n=60, dx=20, dy=5, spectrum=(3,), noise_std=2)).risk
        print(json.dumps([risk, sorted(sys.modules)]))
    """
    risk, loaded = in_fresh_process(script)
    assert risk == pytest.approx(400 / 39, rel=1e-15)
    assert not {"jax", "jaxlib", "xarray", "matplotlib", "sympy"} & set(loaded)


FFT_BY_FORMULA = "risk --n 400 --dx 60 --dy 50 --noise-std 1 --spectrum 3,2,1 --ranks 0,50 --method theory"


#: Together they are what an answer takes longer than half a second for.
SLOW = {"jax", "xarray", "matplotlib", "sympy", "optimistix", "dask", "panel", "scipy.stats", "pandas"}


@pytest.mark.parametrize(
    "words", ["--help", "--version", FFT_BY_FORMULA, "risk --n 0", "check --claims LICENSE", "papers --paper zeng-2024"]
)
def test_what_needs_no_jax_imports_nothing_slow(words):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", COMMAND, *words.split()],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    loaded = set(re.findall(r"^import time:[ |\d]+\| +(\S+)$", done.stderr, re.MULTILINE))
    assert "linreg_lora.cli" in loaded
    assert not SLOW & loaded


# -- environment ------------------------------------------------------------------------------------------------

PRINT_SETTINGS = f"""
    import json, os, linreg_lora
    print(json.dumps({{name: os.environ.get(name) for name in {SETTINGS!r}}}))
"""


CONSTANT_PRODUCTS = """
    import json
    {first}
    import linreg_lora
    import jax, jax.numpy as jnp, numpy as np
    worst = 0.0
    for rows, columns in [(50, 96), (100, 48), (100, 64), (200, 32), (200, 96)]:
        a = np.random.default_rng(0).standard_normal((rows, columns))
        b = np.full((columns, columns), 1.5)
        got = jax.jit(lambda a: jnp.sum((a @ jnp.full((columns, columns), 1.5)) * a))(a)
        got_of_scalar = jax.jit(lambda a, s: jnp.sum((a @ jnp.broadcast_to(s, b.shape)) * a))(a, 1.5)
        size = np.sum(np.abs(a @ b) * np.abs(a))
        for value in (got, got_of_scalar):
            error = abs(float(value) - np.sum((a @ b) * a)) / size
            worst = max(worst, error if np.isfinite(error) else 1e300)
    print(json.dumps(worst))
"""


@pytest.mark.parametrize("first", ["pass", "import jax"], ids=["package first", "jax first"])
def test_products_with_constant_matrices_are_right(first):
    """Some versions of jaxlib read unwritten memory here; rounding is at most columns eps of the absolute sum."""
    assert in_fresh_process(CONSTANT_PRODUCTS.format(first=first)) < 96 * 2.3e-16


def test_importing_sets_float64_one_thread_pool_and_a_cache(tmp_path):
    settings = in_fresh_process(PRINT_SETTINGS, LINREG_LORA_CACHE=str(tmp_path))
    assert settings["PJRT_NPROC"] == "1"
    assert settings["JAX_ENABLE_X64"] == "1"
    assert settings["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "xla")


def test_the_users_settings_are_kept_except_for_float64():
    level = "--xla_backend_optimization_level=3 --xla_cpu_prefer_vector_width=256"
    settings = in_fresh_process(
        PRINT_SETTINGS, PJRT_NPROC="2", JAX_ENABLE_X64="0", JAX_COMPILATION_CACHE_DIR="/other", XLA_FLAGS=level
    )
    assert level in settings["XLA_FLAGS"]
    assert settings["XLA_FLAGS"].count("optimization_level") == 1
    assert settings["XLA_FLAGS"].count("vector_width") == 1
    assert settings["PJRT_NPROC"] == "2"
    assert settings["JAX_ENABLE_X64"] == "1"
    assert settings["JAX_COMPILATION_CACHE_DIR"] == "/other"


def test_flags_that_xla_may_not_know_are_set_where_they_were_measured_alone(monkeypatch):
    """XLA ends the process at a flag that it does not know."""
    for jaxlib, known in (("0.10.2", True), ("0.8.0", False)):
        monkeypatch.setenv("XLA_FLAGS", "")
        monkeypatch.setattr(runtime, "version", lambda _, jaxlib=jaxlib: jaxlib)
        for _ in range(2):
            runtime.configure()
        assert os.environ["XLA_FLAGS"].count("--xla_cpu_use_fusion_emitters=false") == known
        assert os.environ["XLA_FLAGS"].count("--xla_cpu_prefer_vector_width=128") == known


def test_float64_and_the_cache_are_on_when_jax_was_imported_first(tmp_path):
    script = """
        import json
        import jax
        before = jax.config.jax_enable_x64
        from linreg_lora import Problem, draw_risks
        risks = draw_risks(Problem(n=9, dx=3, dy=2, spectrum=(1.0,), noise_std=1.0), trials=2, seed=0)
        after = jax.config.jax_enable_x64
        print(json.dumps([before, after, jax.config.jax_compilation_cache_dir, str(risks.lora.dtype)]))
    """
    before, after, cache, dtype = in_fresh_process(script, LINREG_LORA_CACHE=str(tmp_path))
    assert (before, after) == (False, True)
    assert cache == str(tmp_path / "xla")
    assert dtype == "float64"
    assert any((tmp_path / "xla").iterdir())


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("LINREG_LORA_CACHE", str(tmp_path))
    assert runtime.cache_dir() == tmp_path
    monkeypatch.delenv("LINREG_LORA_CACHE")
    assert runtime.cache_dir().name == "linreg-lora"


def test_the_device_is_held_on_one_blas_thread_from_the_first_factorisation_on():
    script = """
        import json
        from linreg_lora import runtime
        with runtime.exclusive_device():
            import jax.numpy as jnp
            from threadpoolctl import threadpool_info
            jnp.linalg.eigh(jnp.eye(5)).eigenvalues.block_until_ready()
            print(json.dumps([pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]))
    """
    assert set(in_fresh_process(script)) == {1}


def test_one_thread_at_a_time_holds_the_device():
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        with runtime.exclusive_device():
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


# -- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("n", "an integer >= 1", 0),
        InvalidInput("spectrum", "numbers", (1.0, 2.0), "sort it"),
        NumericalFailure("kappa: expected a residual below 1e-9 n, received 1"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling(error):
    """They cross process boundaries in sweeps."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert isinstance(again, LinregLoraError)


def test_invalid_input_is_a_value_error_of_one_line():
    error = InvalidInput("matrix", "a matrix", [[1.0, 2.0]] * 100, "give less")
    assert isinstance(error, ValueError)
    assert str(InvalidInput("n", "an integer >= 1", "a\nb\u2028c")) == "n: expected an integer >= 1, received a b c"
    assert str(error).startswith("matrix: expected a matrix, received [[1.0, 2.0], [1.0")
    assert str(error).endswith("...; give less")
    assert len(str(error)) < 140


@pytest.mark.parametrize(
    ("received", "shown"),
    [
        ("", "''"),
        (" \n", "' \\n'"),
        ("a\x1b[31m\u202e\udcff", "a\\x1b[31m\\u202e\\udcff"),
        ("x" * 10**6, "x" * 77 + "..."),
        ({"b": 1, "a": (2, [])}, "{'a': (2, []), 'b': 1}"),
        ([10**5000], "an integer of thousands of digits"),
    ],
    ids=["empty", "blank", "control characters", "long", "nested", "huge"],
)
def test_what_was_received_is_short_and_printable(received, shown):
    assert str(InvalidInput("a", "b", received)) == f"a: expected b, received {shown}"


def test_lists_that_contain_one_another_many_times_are_shown_at_once():
    shown = []

    class Counted:
        def __repr__(self):
            shown.append(self)
            return "x"

    for depth in (1, 2, 3, 100):
        value = Counted()
        for _ in range(depth):
            value = [value] * 100
        assert len(str(InvalidInput("a", "b", value))) < 120
    assert 0 < len(shown) < 30_000


def test_lines_are_never_long():
    message = str(InvalidInput("a " * 10**5, "b" * 10**5, "c", "d " * 10**5))
    assert len(message) <= 2000
    assert message.startswith("a a a")
    assert message.endswith("d d")
