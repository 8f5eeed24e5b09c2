"""A problem's blocks (`contours.modes`) as JAX arrays, padded so that similar problems share a compiled program."""

import jax
import jax.numpy as jnp
import numpy as np

from linreg_lora.problem import Problem
from linreg_lora.theory.contours import modes
from linreg_lora.theory.contours.modes import Blocks, Pencil, Pretraining, Ridgeless


def pencil(problem: Problem, ridge: float, pretraining: Pretraining = None) -> Pencil:
    """The pencil of a problem, with `ridge` in place of its own (0: overdetermined problems only)."""
    found = modes.pencil(problem, ridge, pretraining)
    return jax.tree.map(jnp.asarray, found._replace(parts=tuple(_padded(part) for part in found.parts)))


def ridgeless(problem: Problem, pretraining: Pretraining = None) -> Ridgeless:
    """The ridgeless limit of an underdetermined problem."""
    found = modes.ridgeless(problem, pretraining)
    spare = (0, _size(len(found.eigenvalues)) - len(found.eigenvalues))
    return jax.tree.map(jnp.asarray, Ridgeless(*found[:4], *(np.pad(column, spare) for column in found[4:])))


def _padded(part: Blocks) -> Blocks:
    """Scalars with modes that are counted zero times; matrices as they are."""
    if part.copies is None:
        return part
    spare = (0, _size(len(part.inputs)) - len(part.inputs))
    no_input, no_output = (np.pad(absent, spare, constant_values=True) for absent in part.absent)
    inputs, cross, outputs, pretraining = (np.pad(column, spare) for column in part[:4])
    return Blocks(inputs, cross, outputs, pretraining, (no_input, no_output), np.pad(part.copies, spare))


def _size(count: int) -> int:
    """The next of 8, 16, 24, 32, 48, 64, 96, ..."""
    power = 1 << max(count - 1, 1).bit_length()
    return max(8, power * 3 // 4 if power > 16 and count <= power * 3 // 4 else power)
