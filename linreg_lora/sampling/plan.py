"""From a problem to the design that is drawn: the smallest exact reduction, and one draw from it.

`plan` chooses the design and computes, once per problem, the arrays it needs. `draw` is a pure JAX function of these
arrays and a key; n, noise, spectrum and ridge are traced values, so problems that differ in nothing else share one
compiled program (for n >= dx; below, n is a shape).
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import fft
from linreg_lora.input_law import GAUSSIAN, InputLaw
from linreg_lora.problem import Problem
from linreg_lora.sampling import gaussian, laws, sufficient
from linreg_lora.sampling.rounding import squared_is_safe

#: What is drawn for X: X itself, Bartlett's factor of X X^T (n >= dx), or a tall design of few inputs (n < dx).
Design = Literal["explicit", "overdetermined", "underdetermined"]

#: The values of `sampler` that draw data, or statistics that carry all of the risk: all but conditional.
WHOLE_DRAWS = ("auto", "explicit", "sufficient")


@dataclasses.dataclass(frozen=True)
class Layout:
    """Shapes and choices that a compiled program is specialised to."""

    design: Design
    n: int
    """Columns of the drawn design; 0 where the program does not depend on n."""
    rest: int
    """Rows that stand for the directions Delta does not see, n or 0 (underdetermined design)."""
    squared: bool
    """Whether left singular vectors may come from the Gram matrix."""
    law: InputLaw = GAUSSIAN
    """The law of the inputs; explicit data alone have another than Gaussian."""


class Parameters(NamedTuple):
    """The reduced problem's arrays. None entries are part of the program's structure."""

    shift: Array
    """Delta in reduced coordinates, dy x p."""
    diagonal: Array | None
    """Its diagonal, where it is diagonal, Sigma = I and the data are not drawn explicitly."""
    sigma_sqrt: Array | None
    """Sigma^{1/2} in reduced coordinates, p x p; None: identity."""
    noise_root: Array
    """sigma (scalar) or Sigma_eps^{1/2} (dy x dy)."""
    noise_trace: Array
    """Tr(Sigma_eps)."""
    ridge: Array | None
    dof: Array
    """Degrees of freedom of the Bartlett factor."""
    pretrained: Array | None
    """A0, only where outputs are drawn explicitly."""
    mean: Array | None = None
    """mu, only where inputs are drawn explicitly; None: 0."""
    risk_root: Array | None = None
    """C with risk(D) = ||(D - Delta) C||_F^2 where it is not `sigma_sqrt`: with a mean."""


class Draw(NamedTuple):
    """One random design with its residual, ready for the estimators.

    `whitened` B = R Q and `signal`, its mean given the design (noise removed), dy x k.
    """

    inverse: fft.PseudoInverse
    whitened: Float[Array, "dy k"]
    signal: Float[Array, "dy k"]
    noise_scale: Float[Array, "n"] | None = None
    """v, the scale of each sample's noise variance (None: 1)."""


def plan(problem: Problem, sampler: str = "auto") -> tuple[Layout, Parameters]:
    """The layout and parameters that sample `problem`.

    `sampler`: "explicit" draws all data; "sufficient" draws sufficient statistics and refuses where none are known
    (n < dx with anisotropic inputs, inputs that are not Gaussian or have a mean); "auto" takes sufficient statistics
    where they exist.
    """
    if sampler not in WHOLE_DRAWS:
        raise InvalidInput("sampler", f"one of {', '.join(WHOLE_DRAWS)}", sampler)
    reduced = problem.without_null_inputs()
    overdetermined = reduced.n >= reduced.dx
    if sampler == "sufficient":
        problem.require_gaussian("sufficient statistics")
    centred_gaussian = reduced.input_law.is_gaussian and reduced.input_mean is None
    exists = centred_gaussian and (overdetermined or reduced.isotropic_scale is not None)
    if sampler == "sufficient" and not exists:
        raise InvalidInput("sampler", "auto or explicit for n < dx with anisotropic inputs", sampler,
                           "no sufficient statistic smaller than the data is known there")  # fmt: skip
    if sampler == "explicit" or not exists:
        return _explicit(reduced)
    return _overdetermined(reduced) if overdetermined else _underdetermined(reduced)


class Reduced(NamedTuple):
    """One random design and its residual, in reduced coordinates: what the estimators see as data."""

    design: Float[Array, "p m"]
    residual: Float[Array, "dy m"]
    noise_scale: Float[Array, "m"] | None = None


def sample(layout: Layout, parameters: Parameters, key: Key[Array, ""]) -> Reduced:
    """One design with its residual. `parameters` may hold traced values; `layout` is static."""
    shift, root = parameters.shift, parameters.sigma_sqrt
    if layout.design == "explicit":
        pretrained = parameters.pretrained
        target = shift if pretrained is None else pretrained + shift
        data = laws.sample(layout.law, key, layout.n, target, root, parameters.noise_root, parameters.mean)
        return Reduced(data.inputs, fft.residual(data.inputs, data.outputs, pretrained), data.noise_scale)
    key_design, key_noise = jax.random.split(key)
    if layout.design == "overdetermined":
        factor = sufficient.bartlett_factor(key_design, shift.shape[1], parameters.dof)
        design = factor if root is None else root @ factor
    else:
        rho = shift.shape[1] - layout.rest
        design = sufficient.tall_design(key_design, layout.n, rho, layout.rest, parameters.dof)
    noise = gaussian.noise(key_noise, (shift.shape[0], design.shape[1]), parameters.noise_root)
    return Reduced(design, shifted(parameters, design) + noise)


def shifted(parameters: Parameters, design: Float[Array, "p m"]) -> Float[Array, "dy m"]:
    """Delta times a design; a scaling of its rows where Delta is diagonal."""
    diagonal = parameters.diagonal
    if diagonal is None:
        return parameters.shift @ design
    rows = diagonal[:, None] * design[: len(diagonal)]
    return jnp.pad(rows, ((0, parameters.shift.shape[0] - len(diagonal)), (0, 0)))


def draw(layout: Layout, parameters: Parameters, key: Key[Array, ""]) -> Draw:
    """One draw of `sample`, factored."""
    design, residual, noise_scale = sample(layout, parameters, key)
    bartlett = layout.design == "overdetermined" and parameters.sigma_sqrt is None and parameters.ridge is None
    if laws.may_be_singular(layout.law):
        inverse = fft.any_pseudo_inverse(design, parameters.ridge)
    else:
        inverse = fft.pseudo_inverse_of_lower(design) if bartlett else fft.pseudo_inverse(design, parameters.ridge)
    return Draw(inverse, inverse.whiten(residual), inverse.whiten(shifted(parameters, design)), noise_scale)


def _explicit(problem: Problem) -> tuple[Layout, Parameters]:
    sigma_sqrt = None if problem.input_covariance is None else problem.sigma_sqrt
    layout = Layout("explicit", problem.n, 0, squared_is_safe(problem), problem.input_law)
    parameters = _parameters(problem, problem.shift, sigma_sqrt, problem.ridge, pretrained=problem.pretrained)
    if problem.input_mean is None:
        return layout, parameters
    return layout, parameters._replace(mean=jnp.asarray(problem.input_mean), risk_root=jnp.asarray(problem.risk_root))


def _overdetermined(problem: Problem) -> tuple[Layout, Parameters]:
    """Ridgeless risks see (Sigma, Delta) only through Delta Sigma^{1/2}; with ridge Sigma stays, up to its scale."""
    layout = Layout("overdetermined", 0, 0, squared_is_safe(problem))
    scale = problem.isotropic_scale
    diagonal = problem.isotropic_noise_scale is not None
    if scale is not None:
        shift = np.sqrt(scale) * _diagonal_shift(problem)
        return layout, _parameters(problem, shift, None, problem.ridge / scale, problem.n, diagonal=diagonal)
    if problem.ridge > 0:
        return layout, _parameters(problem, problem.shift, problem.sigma_sqrt, problem.ridge, problem.n)
    shift = problem.shift @ problem.sigma_sqrt
    if diagonal:
        shift = _rectangular_diagonal(np.linalg.svd(shift, compute_uv=False), problem.dy, problem.dx)
    return layout, _parameters(problem, shift, None, 0.0, problem.n, diagonal=diagonal)


def _underdetermined(problem: Problem) -> tuple[Layout, Parameters]:
    scale = problem.isotropic_scale
    assert scale is not None, "the underdetermined design is exact for isotropic inputs only"
    values = np.trim_zeros(np.asarray(problem.spectrum), "b")
    rank, dof = len(values), problem.dx - len(values)
    rho, rest = (rank, problem.n) if dof >= problem.n else (problem.dx, 0)
    layout = Layout("underdetermined", problem.n, rest, squared_is_safe(problem))
    shift = np.zeros((problem.dy, rho + rest))
    diagonal = problem.isotropic_noise_scale is not None
    if diagonal:
        shift[:rank, :rank] = np.diag(values)
    else:
        shift[:, :rank] = np.linalg.svd(problem.shift, full_matrices=False)[0][:, :rank] * values
    return layout, _parameters(problem, np.sqrt(scale) * shift, None, problem.ridge / scale, dof, diagonal=diagonal)


def _parameters(
    problem: Problem,
    shift: np.ndarray,
    sigma_sqrt: np.ndarray | None,
    ridge: float,
    dof: int = 0,
    pretrained: np.ndarray | None = None,
    diagonal: bool = False,
) -> Parameters:
    noise_scale = problem.isotropic_noise_scale
    noise_root = problem.sigma_eps_sqrt if noise_scale is None else problem.noise_std * np.sqrt(noise_scale)
    return Parameters(
        shift=jnp.asarray(shift),
        diagonal=jnp.asarray(np.diagonal(shift)) if diagonal else None,
        sigma_sqrt=None if sigma_sqrt is None else jnp.asarray(sigma_sqrt),
        noise_root=jnp.asarray(noise_root),
        noise_trace=jnp.asarray(problem.noise_trace),
        ridge=jnp.asarray(ridge) if ridge > 0 else None,
        dof=jnp.asarray(float(dof)),
        pretrained=None if pretrained is None else jnp.asarray(pretrained),
    )


def _diagonal_shift(problem: Problem) -> np.ndarray:
    """Delta, or diag(s) where rotating the outputs leaves the noise as it is."""
    if problem.isotropic_noise_scale is None:
        return problem.shift
    return _rectangular_diagonal(np.asarray(problem.spectrum), problem.dy, problem.dx)


def _rectangular_diagonal(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    matrix = np.zeros((rows, columns))
    matrix[np.arange(len(values)), np.arange(len(values))] = values
    return matrix
