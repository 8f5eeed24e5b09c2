"""Methods that train an offset in a subspace of the outputs, and nothing else: their fit and their risk."""

import abc
from typing import TYPE_CHECKING, Any

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.methods.forgetting import OF_OFFSET, Forgotten
from linreg_lora.methods.method import Method, Update
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Moments, Problem

if TYPE_CHECKING:
    from jaxtyping import Array, Float


_FORMULA = "||Delta Sigma^{1/2}||^2 + ||(I - W W') Delta mu||^2 + Tr(W' (Delta Sigma Delta' + Sigma_eps) W) / n"


class RestrictedOffset(Method):
    """b = W W^T R 1 / n, W an orthonormal basis of the span of what `directions` makes of A0.

    Its risk is exact (`theory.offset_risk`) and all its moments exist: b is Gaussian. It needs the problem's
    `pretrained` A0.
    """

    has_offset = True

    @abc.abstractmethod
    def directions(self, pretrained: "Float[Array, '... dy dx']") -> "Float[Array, '... dy k']":
        """Columns that span the offsets within reach."""

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        import jax.numpy as jnp

        from linreg_lora.estimators import arrays
        from linreg_lora.estimators.bitfit import fit_bitfit

        self._require(pretrained)
        x, _, a0 = arrays.data(inputs, outputs, pretrained)
        assert a0 is not None
        left, values, _ = jnp.linalg.svd(self.directions(a0), full_matrices=False)
        kept = values > _rounding(left.shape[-2], values.shape[-1]) * values[..., :1]
        basis = jnp.where(kept[..., None, :], left, 0.0)
        offset = fit_bitfit(inputs, outputs, pretrained)
        restricted = (basis @ (basis.mT @ offset[..., None]))[..., 0]
        return Update(jnp.zeros((*restricted.shape, x.shape[-2])), restricted)

    def basis(self, problem: Problem) -> np.ndarray:
        """W, dy x w. Raises `InvalidInput` without A0, and where it reaches no offset."""
        self._require(problem.pretrained)
        assert problem.pretrained is not None
        directions = np.asarray(self.directions(problem.pretrained))  # type: ignore[arg-type]
        left, values, _ = np.linalg.svd(directions, full_matrices=False)
        kept = values > _rounding(left.shape[0], len(values)) * values[0]
        if not values[0] > 0:
            raise InvalidInput("pretrained", f"an A0 that is not zero, for {self.name}", "zero")
        return left[:, kept]

    def dimension(self, problem: Problem) -> int | None:
        """w, of W."""
        return self.basis(problem).shape[1]

    def variance_limit(self, problem: Problem) -> float | None:
        from linreg_lora.theory.offsets import offset_risk

        return problem.n * offset_risk(problem, self.basis(problem)).variance

    def hessian_gap(self, problem: Problem) -> float | None:
        """dy Tr Sigma, of doing nothing, and (dy - w) |mu|^2: of e mu the offset undoes what lies in W."""
        mean = 0.0 if problem.input_mean is None else float(np.sum(problem.input_mean**2))
        left = problem.dy - self.basis(problem).shape[1]
        return problem.dy * float(problem.sigma.trace()) + left * mean

    def moments(self, problem: Problem) -> Moments:
        return Moments.FINITE

    def expected_risk(self, problem: Problem) -> MethodRisk:
        from linreg_lora.theory.offsets import offset_risk

        basis = self.basis(problem)
        return MethodRisk(
            problem=problem,
            method=self.name,
            parameters=self.parameters(problem),
            computed_by="theory",
            risk=offset_risk(problem, basis).risk,
            moments=Moments.FINITE,
            formula=f"{_FORMULA}, exact; W of {basis.shape[1]} dimensions",
        )

    def forgetting(self, problem: Problem, pretraining_covariance: np.ndarray | None = None) -> Forgotten:
        from linreg_lora.theory.offsets import offset_risk

        basis = self.basis(problem)
        moved = offset_risk(problem, basis).variance
        return Forgotten(float(np.sum((basis.T @ problem.shifted_mean) ** 2)) + moved, OF_OFFSET)

    def _require(self, pretrained: Any) -> None:
        if pretrained is None:
            raise InvalidInput("pretrained", "A0, a dy x dx matrix", "nothing", f"{self.name} acts through A0")


def _rounding(rows: int, columns: int) -> float:
    """Relative singular values up to this are zero, as for `numpy.linalg.matrix_rank`."""
    return max(rows, columns) * float(np.finfo(float).eps)
