"""Optimisers as optax writes them: what a gradient becomes before it is multiplied by the learning rate.

    gd        g                                     adam      m / (sqrt(v) + eps), both corrected for their start
    momentum  v <- beta v + g                       adamw     the same
    decay     coupled: g + lam theta goes in; decoupled: lam theta is added to what comes out

Coupled decay is a gradient, of (lam/2)(||A||^2 + ||B||^2): by it the product is penalised by its nuclear norm.
Decoupled decay is not.
"""

from typing import TYPE_CHECKING, Any

from jaxtyping import Array

from linreg_lora.errors import InvalidInput
from linreg_lora.training.recipe import Optimiser, Recipe, Schedule

if TYPE_CHECKING:
    import optax


def require_optax() -> Any:
    """The library. Raises `InvalidInput` where it is not installed."""
    try:
        import optax
    except ImportError:
        raise InvalidInput("optimiser", "optax, which does the steps", "none installed",
                           "pip install 'linreg-lora[train]'") from None  # fmt: skip
    return optax


def transformation(recipe: Recipe) -> "optax.GradientTransformation":
    """Gradients to steps of a recipe, signs and learning rate left out."""
    optax = require_optax()
    if recipe.optimiser is Optimiser.GD:
        step = optax.identity()
    elif recipe.optimiser is Optimiser.MOMENTUM:
        step = optax.trace(decay=recipe.momentum)
    else:
        step = optax.scale_by_adam(*recipe.betas, eps=recipe.eps)
    if recipe.weight_decay == 0:
        return step
    decay = optax.add_decayed_weights(recipe.weight_decay)
    return optax.chain(step, decay) if recipe.is_decoupled else optax.chain(decay, step)


def share(recipe: Recipe, step: Array, steps: Array) -> Array | float:
    """What multiplies the learning rate at a step."""
    return 1.0 if recipe.used_schedule is Schedule.CONSTANT else 1.0 - step.astype(float) / steps
