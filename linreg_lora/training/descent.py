"""Descent on all draws at once, in compiled stretches from one recorded step to the next.

    B <- B - eta_t rho step(dL/dB),   A <- A - eta_t step(dL/dA),
    dL/dB = g (g B A S - H) A^T,      dL/dA = g B^T (g B A S - H)

Draws lie along the first axis; every optimiser acts entry by entry, so none sees another draw.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from linreg_lora import runtime
from linreg_lora.training import optimisers
from linreg_lora.training.recipe import Recipe
from linreg_lora.training.result import REACHED
from linreg_lora.training.statistics import Statistics

#: An array, of JAX or NumPy.
Values: TypeAlias = Any


class Measured(NamedTuple):
    """Of each draw at one step; the fields are as in `TrainingRun`."""

    risk: Values
    loss: Values
    gradient: Values
    distance: Values
    error: Values


class Settings(NamedTuple):
    """Numbers that a compiled stretch takes as they come: g, eta and rho, T, what the risk is measured by, and the end.

    `goal` is the minimum of the loss, `projector` on range(X) (None: everything), `unit` what errors are divided by.
    """

    scale: Values
    rate: Float[Values, "draws"]
    ratio: Values
    steps: Values
    shift: Float[Values, "dy dx"]
    risk_root: Float[Values, "dx c"] | Float[Values, "dx"] | None
    closed_risk: Float[Values, "draws"]
    goal: Float[Values, "draws dy dx"]
    projector: Float[Values, "draws dx dx"] | None
    unit: Float[Values, "draws"]


class _State(NamedTuple):
    parameters: dict[str, Values]
    optimiser: Any
    step: Values
    outside: Values
    """The last step at which the risk was not within `REACHED` of the closed form's."""
    peak: Values
    """The largest relative gradient and error in the last tenth of the steps, so far: 2 x draws."""


def descend(
    recipe: Recipe,
    drawn: Statistics,
    settings: Settings,
    start: dict[str, Values],
    at: list[int],
    advance: Callable[[int], None],
) -> tuple[list[Measured], "_State"]:
    """What is measured at the steps `at` (from 0 on, increasing), and the state at the end.

    `start` are the parameters before step 1: a and b, or d. `advance` is called with the number of steps just made.
    Where all draws have overflowed it ends.
    """
    kind = _kind(recipe)
    state = _begin(kind, settings, start)
    rows: list[Measured] = []
    for length in _lengths(at):
        if rows and not np.any(np.isfinite(rows[-1].risk)):
            rows.append(rows[-1])
            continue
        if length:
            with runtime.exclusive_device():
                state = jax.block_until_ready(_stretch(kind, drawn.gram, drawn.moment, settings, state, length))
            advance(length)
        rows.append(measure(recipe, drawn, settings, state.parameters))
    return rows, state


def _kind(recipe: Recipe) -> Recipe:
    """What of a recipe a compiled stretch depends on: its numbers in `Settings` are left out."""
    usual = Recipe()
    return dataclasses.replace(
        recipe, learning_rate=None, ratio=1.0, steps=1, start=usual.start, alpha=None, scaling=usual.scaling,
        schedule=recipe.used_schedule, decoupled=recipe.is_decoupled,
    )  # fmt: skip


def measure(recipe: Recipe, drawn: Statistics, settings: Settings, parameters: dict[str, Values]) -> Measured:
    """What is measured of each draw, in NumPy."""
    with runtime.exclusive_device():
        return jax.tree.map(np.asarray, _measure(_kind(recipe), drawn, settings, parameters))


def product(parameters: dict[str, Values], scale: Values) -> Float[Values, "draws dy dx"]:
    """D."""
    return parameters["d"] if "d" in parameters else scale * (parameters["b"] @ parameters["a"])


def gradients(parameters: dict[str, Values], scale: Values, gram: Values, moment: Values) -> dict[str, Values]:
    """Of the loss, without decay, from S and H; of arrays of JAX or NumPy."""
    if "d" in parameters:
        return {"d": parameters["d"] @ gram - moment}
    b, a = parameters["b"], parameters["a"]
    missed = scale * (b @ (a @ gram)) - moment
    return {"a": scale * (b.mT @ missed), "b": scale * (missed @ a.mT)}


def risk_of(update: Float[Values, "draws dy dx"], settings: Settings) -> Float[Values, "draws"]:
    """Excess risk, of arrays of JAX or NumPy."""
    return energy(update - settings.shift[None], settings)


def energy(error: Values, settings: Settings) -> Float[Values, "draws"]:
    """||error C||^2."""
    root = settings.risk_root
    if root is not None:
        error = error * root[None, None] if root.ndim == 1 else error @ root[None]
    return (error**2).sum(axis=(-2, -1))


def _lengths(at: list[int]) -> Iterator[int]:
    before = 0
    for step in at:
        yield step - before
        before = step


@functools.partial(jax.jit, static_argnums=0)
def _begin(recipe: Recipe, settings: Settings, parameters: dict[str, Values]) -> _State:
    memory = optimisers.transformation(recipe).init(parameters)
    inside = _inside(parameters, settings)
    return _State(parameters, memory, jnp.zeros((), int), jnp.where(inside, -1, 0), jnp.zeros((2, *inside.shape)))


def _inside(parameters: dict[str, Values], settings: Settings) -> Values:
    risk = risk_of(product(parameters, settings.scale), settings)
    return jnp.abs(risk - settings.closed_risk) <= REACHED * settings.closed_risk


@functools.partial(jax.jit, static_argnums=0)
def _stretch(recipe: Recipe, gram: Values, moment: Values, settings: Settings, state: _State, length: Values) -> _State:
    optimiser = optimisers.transformation(recipe)
    ratios = {"a": 1.0, "b": settings.ratio, "d": 1.0}

    def step(_: Any, state: _State) -> _State:
        found = gradients(state.parameters, settings.scale, gram, moment)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integer widths
            moved, memory = optimiser.update(found, state.optimiser, state.parameters)
        steps = cast(dict[str, Values], moved)
        rate = (settings.rate * optimisers.share(recipe, state.step, settings.steps))[:, None, None]
        parameters = {name: value - ratios[name] * rate * steps[name] for name, value in state.parameters.items()}
        count = state.step + 1
        outside = jnp.where(_inside(parameters, settings), state.outside, count)

        def larger() -> Values:
            left = _relative(recipe, found, state.parameters, settings.scale, moment)
            return jnp.maximum(state.peak, jnp.stack([left, _error(parameters, settings)]))

        late = count.astype(float) >= 0.9 * settings.steps
        return _State(parameters, memory, count, outside, jax.lax.cond(late, larger, lambda: state.peak))

    return jax.lax.fori_loop(0, length, step, state)


@functools.partial(jax.jit, static_argnums=0)
def _measure(recipe: Recipe, drawn: Statistics, settings: Settings, parameters: dict[str, Values]) -> Measured:
    update = product(parameters, settings.scale)
    found = gradients(parameters, settings.scale, drawn.gram, drawn.moment)
    gradient = _relative(recipe, found, parameters, settings.scale, drawn.moment)
    left = update - drawn.full
    return Measured(
        risk_of(update, settings),
        jnp.sum((left @ drawn.gram) * left, axis=(-2, -1)) / 2,
        gradient,
        norm(_away(update, settings)) / norm(settings.goal),
        _error(parameters, settings),
    )


def _away(update: Values, settings: Settings) -> Float[Values, "draws dy dx"]:
    """(D - D*) P."""
    away = update - settings.goal
    return away if settings.projector is None else away @ settings.projector


def _error(parameters: dict[str, Values], settings: Settings) -> Float[Values, "draws"]:
    """The relative error of `TrainingRun`."""
    return jnp.sqrt(energy(_away(product(parameters, settings.scale), settings), settings)) / settings.unit


def _relative(
    recipe: Recipe, found: dict[str, Values], parameters: dict[str, Values], scale: Values, moment: Values
) -> Float[Values, "draws"]:
    """The relative gradient of `TrainingRun`, from the gradients of the loss."""
    if recipe.decay_in_loss:
        found = {name: value + recipe.decay_in_loss * parameters[name] for name, value in found.items()}
    unit = norm(moment)
    if "d" in parameters:
        return _share(norm(found["d"]), unit)
    b, a = (scale * unit * norm(parameters[name]) for name in "ba")
    return jnp.maximum(_share(norm(found["b"]), a), _share(norm(found["a"]), b))


def norm(matrix: Float[Values, "draws p q"]) -> Float[Values, "draws"]:
    """Frobenius norms."""
    return jnp.sqrt(jnp.sum(matrix**2, axis=(-2, -1)))


def _share(value: Values, unit: Values) -> Values:
    """value / unit; 0 where both are."""
    return jnp.where(value == 0, 0.0, value / jnp.where(unit > 0, unit, 1.0))
