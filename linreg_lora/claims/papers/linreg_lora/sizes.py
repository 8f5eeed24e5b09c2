"""Numbers that surveys print, trained parameters, beside the dimensions of what products of factors reach."""

from collections.abc import Callable
from typing import Any

import numpy as np

from linreg_lora import runtime
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Rank
from linreg_lora.methods import registry
from linreg_lora.methods.method import Method
from linreg_lora.problem import Problem

#: Methods whose map is a product of what they train.
_PRODUCTS = ("lora:{r}", "adapter:{r}", "prompt:{r}", "vera:{r}", "dora:{r}")


@register_experiment("product-dimensions", pathwise=True)
def product_dimensions(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Dimension of what LoRA, a serial adapter, `rank` soft tokens, VeRA and DoRA reach: of their maps' derivatives.

    By automatic differentiation of each parametrisation as it is implemented, at random factors; trials x methods. Of
    DoRA, magnitudes times the normalised rows of A0 + B A. Whole numbers, with no rounding to allow for.
    """
    import jax

    (dy, dx), r = size, int(rank)
    rng, found = np.random.default_rng(seed), []
    shapes = {"b": (dy, r), "a": (r, dx), "c": (r, dy), "tokens": (dx, r), "d": (r,), "g": (dy,), "a0": (dy, dx)}
    maps: list[tuple[tuple[str, ...], Callable[..., Any]]] = [
        (("b", "a"), lambda trained, fixed: trained["b"] @ trained["a"]),
        (("b", "c"), lambda trained, fixed: trained["b"] @ trained["c"] @ fixed["a0"]),
        (("tokens",), lambda trained, fixed: fixed["a0"] @ trained["tokens"].sum(axis=1) / r),
        (("g", "d"), lambda trained, fixed: trained["g"][:, None] * (fixed["b"] * trained["d"][None, :]) @ fixed["a"]),
        (("g", "b", "a"), _of_magnitudes),
    ]
    derivatives = [jax.jit(jax.jacrev(made)) for _, made in maps]
    with runtime.exclusive_device():
        for _ in range(trials):
            drawn = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
            ranks = []
            for (names, _), derivative in zip(maps, derivatives, strict=True):
                by_factor = derivative({name: drawn[name] for name in names}, drawn)
                columns = [np.asarray(by_factor[name]).reshape(-1, drawn[name].size) for name in names]
                # The first axes are those of the map, of which a prompt's has one: dy.
                ranks.append(np.linalg.matrix_rank(np.hstack(columns)))
            found.append(ranks)
    statistic = np.asarray(found, dtype=float)
    return Sample(statistic, {"rank": np.asarray(r)}, tolerance=np.zeros(trials), scale=np.ones(trials))


def _of_magnitudes(trained: dict[str, Any], fixed: dict[str, Any]) -> Any:
    moved = fixed["a0"] + trained["b"] @ trained["a"]
    return trained["g"][:, None] * moved / (moved**2).sum(axis=1, keepdims=True) ** 0.5


@register_prediction("product-dimensions.reached")
def reached(size: MatrixSize, sample: Sample) -> np.ndarray:
    """r (dx + dy - r), r (min(dx, dy) + dy - r), min(dx, dy), r + dy - 1, r (dx + dy - r) + dy.

    They are what `Method.dimension` says of maps; a prompt's offset has as many dimensions as A0 has rank.
    """
    return _each(size, sample, lambda method, problem: min(size) if method.has_offset else method.dimension(problem))


@register_prediction("product-dimensions.printed")
def printed(size: MatrixSize, sample: Sample) -> np.ndarray:
    """The trained parameters: r (dx + dy), 2 r dy, r dx, r + dy, r (dx + dy) + dy."""
    return _each(size, sample, lambda method, problem: method.parameters(problem))


@register_prediction("product-dimensions.everything")
def everything(size: MatrixSize, sample: Sample) -> np.ndarray:
    """All that there is: dx dy entries, of a prompt dy."""
    return _each(size, sample, lambda method, problem: problem.dy * (1 if method.has_offset else problem.dx))


def _each(size: MatrixSize, sample: Sample, count: Callable[[Method, Problem], int | None]) -> np.ndarray:
    (dy, dx), r = size, int(sample.context["rank"])
    a0 = np.random.default_rng(0).standard_normal((dy, dx))
    problem = Problem(n=2 * (dx + dy), dx=dx, dy=dy, spectrum=(1.0,), noise_std=1.0, pretrained=a0)
    counts = [count(registry.named(name.format(r=r)), problem) for name in _PRODUCTS]
    return np.broadcast_to(np.array(counts, dtype=float), sample.statistic.shape)
