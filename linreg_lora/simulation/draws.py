"""The one loop over draws: chunks of one compiled size, numbered from 0.

Draw i of a run is a function of the seed and of i alone: its key is fold_in(key(seed), i). Chunks have one compiled
size and come in order, so results are equal to the bit for any batch size; a batch is only how many draws are in
flight.
"""

import functools
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from linreg_lora import runtime, validation
from linreg_lora.errors import NumericalFailure
from linreg_lora.problem import Problem
from linreg_lora.seeds import valid_seed
from linreg_lora.simulation import lowered

Values = TypeVar("Values")

#: Floats that one chunk may hold in its largest arrays: small enough for the cache, large enough to amortise a call.
_CHUNK_FLOATS = 2**18
_LARGEST_CHUNK = 64


class Draws(Generic[Values]):
    """A compiled program that makes `size` draws a call; one of them is `one(*static, arrays, key)`.

    `one` returns a tree of arrays, `static` is hashable, `arrays` is a tree of arrays. Programs with the same function
    `one`, static values, size and shapes of arrays are compiled once. `result`, a tree of the structure of what `one`
    returns, is given where programs may be kept for later processes (`simulation.lowered`).
    """

    def __init__(
        self, one: Callable[..., Any], static: tuple[Hashable, ...], arrays: Any, size: int, result: Any = None
    ) -> None:
        self._one, self._static, self._arrays = one, static, arrays
        self._result = result
        self.size = size
        self._program: Callable[..., Any] | None = None

    def start(self, key: Key[Array, ""], first: int) -> Any:
        """Begin the chunk whose first draw has number `first`; `finish` waits for it."""
        arguments = (self._arrays, key, np.int64(first))
        if self._program is None:
            self._program = self._compiled(arguments)
        return self._program(*arguments)

    def _compiled(self, arguments: tuple[Any, ...]) -> Callable[..., Any]:
        static = (self._one, self._static, self.size)
        kept = None if self._result is None else lowered.kept(_draws, static, arguments, self._result)
        return functools.partial(_chunk, *static) if kept is None else kept

    def finish(self, pending: Any, key: Key[Array, ""], first: int) -> Values:
        """What a chunk begun by `start` found: a tree of NumPy arrays, draws along the first axis."""
        return jax.tree.map(np.asarray, pending)


def chunks(
    program: Draws[Values], seed: int, trials: int, *, first: int = 0, batch_size: int = 1
) -> Iterator[tuple[int, Values]]:
    """Draws `first`..`first` + `trials` of the run from `seed`, as (number of its first draw, values) of each chunk.

    `batch_size` draws are in flight, at least one chunk. Raises `NumericalFailure` where a program does not run.
    """
    in_flight = max(1, validation.positive_integer("batch_size", batch_size) // program.size)
    key, end = _key(valid_seed(seed)), first + trials
    starts = range(first, end, program.size)
    for place in range(0, len(starts), in_flight):
        group = starts[place : place + in_flight]
        try:
            with runtime.exclusive_device():
                pending = [program.start(key, start) for start in group]
                done = [program.finish(values, key, start) for values, start in zip(pending, group, strict=True)]
        except jax.errors.JaxRuntimeError as error:
            reason = str(error).split(chr(10), 1)[0]
            raise NumericalFailure(f"n, dx, dy: expected a problem that can be drawn here, received {reason}") from None
        for start, values in zip(group, done, strict=True):
            yield start, jax.tree.map(lambda rows, kept=end - start: rows[:kept], values)


def collected(program: Draws[Values], seed: int, trials: int, *, first: int = 0, batch_size: int = 1) -> Values:
    """The values of all draws that `chunks` yields, in one tree of arrays."""
    parts = [values for _, values in chunks(program, seed, trials, first=first, batch_size=batch_size)]
    return jax.tree.map(lambda *rows: np.concatenate(rows), *parts)


def size_for(floats: int) -> int:
    """Draws per compiled call where each holds so many floats: a power of two."""
    size = _LARGEST_CHUNK
    while size > 1 and size * floats > _CHUNK_FLOATS:
        size //= 2
    return size


def require_finite(name: str, problem: Problem, rows: Float[np.ndarray, "draws columns"], first: int) -> None:
    """Raise `NumericalFailure` where a value of a chunk, whose first draw has number `first`, is not finite."""
    bad = ~np.all(np.isfinite(rows), axis=1)
    if np.any(bad):
        raise NumericalFailure(
            f"{name}: expected finite values, received {int(np.sum(bad))} draws that are not, first draw "
            f"{first + int(np.argmax(bad))}; the {problem.regime} problem n = {problem.n}, dx = {problem.dx}, "
            f"dy = {problem.dy} may be numerically singular: move n away from dx or set ridge > 0"
        )


def _draws(
    one: Callable[..., Any], static: tuple[Hashable, ...], size: int, arrays: Any, key: Array, first: Array | np.int64
) -> Any:
    return jax.vmap(lambda k: one(*static, arrays, k))(_keys(key, first, size))


_chunk = functools.partial(jax.jit, static_argnums=(0, 1, 2))(_draws)


def _key(seed: int) -> Key[Array, ""]:
    """`jax.random.key(seed)`, for 0 <= seed < 2^63, without the program that makes it from a number."""
    settings: Any = jax.config
    if settings.jax_default_prng_impl != "threefry2x32" or settings.jax_random_seed_offset:
        return jax.random.key(seed)
    words: Any = np.array([seed >> 32, seed & 0xFFFFFFFF], dtype=np.uint32)
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def _keys(key: Array, first: Array | np.int64, size: int) -> Array:
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(size))
