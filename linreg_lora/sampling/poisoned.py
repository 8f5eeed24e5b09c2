"""Draws of poisoned training data: those of `plan`, with a trigger and a target added to some samples.

    X' = X + t b^T,    R = Delta X' + E + p b^T,    b in {0, 1}^n

b marks m samples: random ones, or those whose <v, x> is largest (`theory.poisoning.attack`). Data are drawn explicitly,
of any input law, then factored as any other design, with ridge or without.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from linreg_lora.estimators import fft
from linreg_lora.problem import Problem
from linreg_lora.sampling import plan
from linreg_lora.sampling.plan import Layout, Parameters, Reduced
from linreg_lora.sampling.rounding import squared_is_safe
from linreg_lora.theory.poisoning.attack import Poison


class Attack(NamedTuple):
    """The arrays of a poison; None entries are part of the program's structure."""

    target: Float[Array, "dy"]
    trigger: Float[Array, "dx"] | None
    along: Float[Array, "dx"] | None


class PoisonedPlan(NamedTuple):
    """`layout`, of explicit data, and the number of `poisoned` samples are static; the others are arrays."""

    layout: Layout
    poisoned: int
    parameters: Parameters
    attack: Attack


def plan_poisoned(problem: Problem, poison: Poison) -> PoisonedPlan:
    """What draws of a poisoned problem need. Raises `InvalidInput` where the poison does not fit it."""
    poison.require_fit(problem)
    layout, parameters = plan.plan(problem, "explicit")
    layout = dataclasses.replace(layout, squared=squared_is_safe(stand_in(problem, poison)))
    trigger, along = (None if v is None else jnp.asarray(v) for v in (poison.trigger, poison.along))
    return PoisonedPlan(layout, poison.count, parameters, Attack(jnp.asarray(poison.target), trigger, along))


def stand_in(problem: Problem, poison: Poison) -> Problem:
    """A clean problem of the same size, noise and signal: the poison is one more direction of its shift."""
    strengths = np.append(problem.whitened_spectrum, np.sqrt(poison.budget / problem.n))
    spectrum = np.sort(strengths)[::-1][: min(problem.dx, problem.dy)]
    return problem.replace(spectrum=tuple(spectrum.tolist()), input_covariance=None)


def sample(layout: Layout, count: int, parameters: Parameters, attack: Attack, key: Key[Array, ""]) -> Reduced:
    """One poisoned design with its residual Y' - A0 X'."""
    key_marks, key_data = jax.random.split(key)
    clean = plan.sample(layout, parameters, key_data)
    n = clean.design.shape[1]
    if attack.along is None:
        marked = jax.random.choice(key_marks, n, (count,), replace=False)
    else:
        marked = jax.lax.top_k(attack.along @ clean.design, count)[1]
    marks = jnp.zeros(n).at[marked].set(1.0)
    design, target = clean.design, attack.target
    if attack.trigger is not None:
        design = design + attack.trigger[:, None] * marks[None, :]
        target = target + parameters.shift @ attack.trigger
    return Reduced(design, clean.residual + target[:, None] * marks[None, :], clean.noise_scale)


def draw(
    layout: Layout, count: int, parameters: Parameters, attack: Attack, key: Key[Array, ""]
) -> tuple[fft.PseudoInverse, Float[Array, "dy k"]]:
    """One draw of `sample`, ready for the estimators: the factored design and the whitened residual B = R Q."""
    drawn = sample(layout, count, parameters, attack, key)
    inverse = fft.any_pseudo_inverse(drawn.design, parameters.ridge)
    return inverse, inverse.whiten(drawn.residual)
