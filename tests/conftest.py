"""Every test runs in the package's own numerical environment, with JAX at its strictest."""

import linreg_lora  # noqa: F401  (sets float64 and the XLA environment before JAX is imported)

import jax  # isort: skip

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
