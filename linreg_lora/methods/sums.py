"""Sums of methods by name, as in frozen-b:2+frozen-a:4: the updates of several classes together."""

import dataclasses
from typing import Any

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.methods import decoupled, frozen_a, frozen_b, restricted
from linreg_lora.methods.method import Method


@dataclasses.dataclass(frozen=True)
class FrozenSum(decoupled.Decoupled):
    """D = U C_1 + C_2 A: frozen outputs U, and frozen features A on the outputs beside them. Exact.

    `parts` are one method that trains outputs (frozen-b, mica) and one that trains features (frozen-a, features, and
    adapter-full), in any order. Outputs in U see all inputs, the others A x, so C_2 counts there alone.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(), noise_std=1.0)
    >>> found = ll.expected_risk(problem, method="frozen-b:2+frozen-a:4")
    >>> f"{found.parameters} parameters, risk {found.risk:.4f} = {2 * 24 / 35 + 18 * 4 / 55:.4f}"
    '120 parameters, risk 2.6805 = 2.6805'
    """

    parts: tuple[Method, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        kinds = [_kind(part) for part in self.parts]
        if sorted(kinds) != ["features", "outputs"]:
            expected = "one of frozen-b, mica and one of frozen-a, features, adapter, whose sum decouples by output"
            raise InvalidInput("method", expected, self.name)

    @property
    def name(self) -> str:
        return "+".join(str(part.name) for part in self.parts)

    def pieces(self, pretrained: Any, dx: int, dy: int) -> list[Any]:
        from linreg_lora.theory.decoupled import Piece

        given: list[Any] = [None, None]
        for part in self.parts:
            u, b = _factors(part, pretrained, dx, dy)
            given[0 if u is not None else 1] = u if u is not None else b
        u, b = given
        if u.shape[1] == dy:
            return [Piece(u)]
        xp = np if isinstance(u, np.ndarray) else u.__array_namespace__()
        beside = xp.linalg.qr(u, mode="complete")[0][:, u.shape[1] :]
        return [Piece(u), Piece(beside, b)]


def _factors(part: Method, pretrained: Any, dx: int, dy: int) -> tuple[Any, Any]:
    if isinstance(part, frozen_a.FrozenA):
        return None, part.input_factor(dx)
    if isinstance(part, frozen_b.FrozenB):
        return part.output_factor(dy), None
    assert isinstance(part, restricted.Restricted)
    if part.inner_rank is not None:
        expected = "parts of which any map is trained, not one of low rank"
        raise InvalidInput("method", expected, part.name, "their sum does not decouple by output")
    return part.factors(pretrained, dx, dy)


def _kind(part: Method) -> str:
    """What a part trains: outputs, features, or something else."""
    from linreg_lora.methods.adapter import SerialAdapter
    from linreg_lora.methods.features import Features
    from linreg_lora.methods.mica import MiCA

    if isinstance(part, (frozen_b.FrozenB, MiCA)):
        return "outputs"
    return "features" if isinstance(part, (frozen_a.FrozenA, Features, SerialAdapter)) else "other"
