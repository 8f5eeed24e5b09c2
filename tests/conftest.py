"""Every test runs in the package's own numerical environment, with JAX at its strictest."""

import pytest

import linreg_lora  # noqa: F401  (sets float64 and the XLA environment before JAX is imported)

import jax  # isort: skip

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


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
