"""LoRA-GA: factors that start along the gradient of the data, and are taken off the base."""

import dataclasses
import math
from typing import Any

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.methods.displaced import not_what_training_reaches, sees_too_little
from linreg_lora.methods.lora import LoRA
from linreg_lora.methods.method import Method, Update, in_size
from linreg_lora.methods.registry import register_method
from linreg_lora.problem import Moments, Problem


@register_method("lora-ga")
@dataclasses.dataclass(frozen=True)
class LoRAGA(Method):
    """LoRA on the base A0 - N, trained to convergence; N comes from the singular vectors of the gradient at A0.

        R X^T = sum_i g_i u_i v_i^T,      N = scale sqrt(dy / r) sum_{i <= r} u_{r+i} v_i^T

    `scale` is 1 where alpha and gamma of arXiv 2407.05000 are equal. The same data decide N and are fitted, so that the
    risk is not that of a shift Delta + N, and theory knows none: it is simulated. Below the threshold, without ridge,
    training keeps what of N the data do not see, and it is refused. Needs 2 r <= min(dx, dy).

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=8, dy=6, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> drawn = ll.monte_carlo(problem, trials=64, seed=0, method="lora-ga:2")
    >>> drawn.risk > ll.expected_risk(problem, method="lora:2").risk
    True
    """

    rank: int
    scale: float = 1.0
    broadcasts = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", validation.positive_integer("rank", self.rank))
        object.__setattr__(self, "scale", validation.nonnegative_number("scale", self.scale))

    @property
    def name(self) -> str:
        return f"lora-ga:{self.rank}" + ("" if self.scale == 1 else f":{self.scale:g}")

    def parameters(self, problem: Problem) -> int:
        return self.rank * (problem.dx + problem.dy)

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        import jax.numpy as jnp

        from linreg_lora.estimators import arrays, fft
        from linreg_lora.estimators.lora import fit_lora

        x, y, a0 = arrays.data(inputs, outputs, pretrained)
        self._require_directions(x.shape[-2], y.shape[-2])
        if ridge is None and sees_too_little(inputs):
            raise not_what_training_reaches(self.name, "n < dx")
        u, _, vt = jnp.linalg.svd(fft.residual(x, y, a0) @ x.mT, full_matrices=False)
        r = self.rank
        taken = self.scale * math.sqrt(y.shape[-2] / r) * (u[..., r : 2 * r] @ vt[..., :r, :])
        moved = y + taken @ x
        return Update.linear(fit_lora(x, moved, r, a0, ridge) - taken)

    def moments(self, problem: Problem) -> Moments:
        """Those of LoRA: N is bounded."""
        self._require_directions(problem.dx, problem.dy)
        if problem.ridge == 0 and problem.n < problem.input_rank:
            received = f"n = {problem.n} and rank(Sigma) = {problem.input_rank}"
            raise not_what_training_reaches(self.name, received)
        return LoRA(self.rank).moments(in_size(problem))

    def _require_directions(self, dx: int, dy: int) -> None:
        if 2 * self.rank > min(dx, dy):
            expected = f"at most {min(dx, dy) // 2} = min(dx, dy) / 2 for lora-ga, which takes 2 r directions"
            raise InvalidInput("rank", expected, self.rank)
