"""VeRA: scales around frozen random factors are trained."""

import dataclasses
from typing import Any

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.methods import decoupled, factors, input_scales
from linreg_lora.methods.method import Method, Update
from linreg_lora.methods.registry import register_method
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed


@dataclasses.dataclass(frozen=True)
class _Random(Method):
    """B, dy x r, and A, r x dx, iid N(0, 1) from a fixed seed (`methods.factors`), the same whatever is trained."""

    rank: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", validation.positive_integer("rank", self.rank))

    def random(self, dx: int, dy: int) -> tuple[np.ndarray, np.ndarray]:
        """B and A."""
        rng = np.random.default_rng(derived_seed(factors.FACTOR_SEED, "vera"))
        if self.rank * max(dx, dy) > factors.LARGEST_MATRIX:
            raise InvalidInput("rank", f"factors of at most {factors.LARGEST_MATRIX:.0e} entries", self.rank)
        return rng.standard_normal((dy, self.rank)), rng.standard_normal((self.rank, dx))


@register_method("vera")
@dataclasses.dataclass(frozen=True)
class VeRA(_Random):
    """D = diag(b) B diag(d) A, b and d trained by turns (`estimators.fit_vera`), ridgeless; rank + dy parameters.

    The class is bilinear, of dimension rank + dy - 1, for b and d share a scale; theory knows no risk at finite n.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=6, dy=5, spectrum=(2.0,), noise_std=1.0)
    >>> method = ll.methods.VeRA(4)
    >>> method.parameters(problem), method.dimension(problem)
    (9, 8)
    """

    broadcasts = True

    @property
    def name(self) -> str:
        return f"vera:{self.rank}"

    def parameters(self, problem: Problem) -> int:
        return self.rank + problem.dy

    def dimension(self, problem: Problem) -> int | None:
        return min(self.rank + problem.dy - 1, problem.dx * problem.dy)

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        from linreg_lora.estimators import arrays
        from linreg_lora.estimators.alternating import fit_vera

        if arrays.ridge_or_none(ridge) is not None:
            raise InvalidInput("ridge", f"0 for {self.name}", ridge)
        x, y, _ = arrays.data(inputs, outputs, pretrained)
        return Update.linear(fit_vera(inputs, outputs, *self.random(x.shape[-2], y.shape[-2]), pretrained))


@register_method("vera-b")
@dataclasses.dataclass(frozen=True)
class VeRAOutputs(_Random, decoupled.Decoupled):
    """VeRA with d = 1 frozen: D = diag(b) B A; dy parameters. Exact: output j sees row j of B A.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=6, dy=5, spectrum=(), noise_std=1.0)
    >>> f"{ll.expected_risk(problem, method=ll.methods.VeRAOutputs(4)).risk:.4f} = 5 / 58"
    '0.0862 = 5 / 58'
    """

    @property
    def name(self) -> str:
        return f"vera-b:{self.rank}"

    def pieces(self, pretrained: Any, dx: int, dy: int) -> list[Any]:
        from linreg_lora.theory.decoupled import Piece

        left, right = self.random(dx, dy)
        return [Piece(None, (left @ right)[:, None, :])]


@register_method("vera-d")
@dataclasses.dataclass(frozen=True)
class VeRAInputs(_Random, input_scales.InputScaling):
    """VeRA with b = 1 frozen: D = B diag(d) A; rank parameters. By an expansion in 1/n, and flagged as such.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=6, dy=5, spectrum=(2.0,), noise_std=1.0)
    >>> ll.methods.VeRAInputs(4).parameters(problem)
    4
    """

    @property
    def name(self) -> str:
        return f"vera-d:{self.rank}"

    def scaled(self, pretrained: Any, dx: int, dy: int) -> tuple[Any, Any]:
        return self.random(dx, dy)
