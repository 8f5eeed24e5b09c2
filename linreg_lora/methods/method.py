"""What a fine-tuning method is: its name, its size, its fit, and the problem whose risk it has.

    y ~ (A0 + D) x + b,      risk(D, b) = ||(D - Delta) Sigma^{1/2}||_F^2 + ||(D - Delta) mu + b||^2

A user's method is a frozen dataclass that derives from `Method`, with a `name`, `parameters` and `fit`; where theory
knows its risk, also `reduce` or `expected_risk`. `register_method` gives it a name on the command line.
"""

import abc
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.input_law import IidEntries
from linreg_lora.methods import result
from linreg_lora.problem import Moments, Problem

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from linreg_lora.methods.forgetting import Forgotten


class Update(NamedTuple):
    """What a fit returns: the fine-tuned map is x -> (A0 + D) x + b.

    `map` is D (... dy dx), `offset` is b (... dy).

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> ll.methods.Update.linear(np.ones((2, 3))).offset.tolist()
    [0.0, 0.0]
    """

    map: "Float[Array, '... dy dx']"
    offset: "Float[Array, '... dy']"

    @classmethod
    def linear(cls, map: "Float[Array, '... dy dx']") -> "Update":
        """An update without offset."""
        import jax.numpy as jnp

        return cls(map, jnp.zeros(map.shape[:-1]))


class Reduction(NamedTuple):
    """The LoRA or FFT problem whose risk, plus a constant, is a method's; in law, so that their moments are alike.

    `problem` without the method's restrictions, `constant` in squared units of y: what the method cannot represent,
    `rank` that of LoRA, at most `problem.max_rank`; None: FFT.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> reduced = ll.methods.FrozenA(4).reduce(problem)
    >>> f"FFT on {reduced.problem.dx} inputs; {reduced.constant:.2f} of 14 is out of reach"
    'FFT on 4 inputs; 11.68 of 14 is out of reach'
    """

    problem: Problem
    constant: float
    rank: int | None = None


class Method(abc.ABC):
    """A fine-tuning method. Derive from it in a frozen dataclass: methods are compared, hashed and sent to processes.

    >>> import linreg_lora as ll
    >>> import dataclasses
    >>> @dataclasses.dataclass(frozen=True)
    ... class Nothing(ll.methods.Method):
    ...     name = "nothing"
    ...
    ...     def parameters(self, problem):
    ...         return 0
    ...
    ...     def fit(self, inputs, outputs, pretrained=None, ridge=None):
    ...         return ll.methods.Update.linear(0.0 * outputs @ inputs.mT)
    ...
    ...     def reduce(self, problem):
    ...         return ll.methods.Reduction(problem, 0.0, rank=0)
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> ll.expected_risk(problem, method=Nothing()).risk
    14.0
    """

    #: Text, a class attribute or a property: its name with its settings, as in frozen-a:4, which no other method has.
    name: Any
    #: Whether `fit` takes leading dimensions; otherwise it sees one data set at a time, under `jax.vmap`.
    broadcasts: Any = False
    #: Whether it trains an offset: then no bias can be added to it.
    has_offset: Any = False

    @abc.abstractmethod
    def parameters(self, problem: Problem) -> int:
        """How many numbers it trains."""

    @abc.abstractmethod
    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        """The update of one data set: X (dx x n), Y (dy x n), A0 (dy x dx; None: zero), eta (None: ridgeless).

        It runs under `jax.jit`, so it is written in `jax.numpy`, and `ridge` may be traced.
        """

    def reduce(self, problem: Problem) -> Reduction | None:
        """The LoRA or FFT problem whose risk, plus a constant, is this method's; None: there is none, or none known."""
        return None

    def moments(self, problem: Problem) -> Moments:
        """Which moments of the risk exist; without a reduction, all, unless the method says otherwise.

        Input laws that are not Gaussian have those of Gaussian inputs, but for sparse entries (`Problem.tail_index`).
        """
        reduced = self.reduce(in_size(problem))
        return Moments.FINITE if reduced is None or reduced.rank == 0 else reduced.problem.moments

    def dimension(self, problem: Problem) -> int | None:
        """Of the set of maps that it reaches; None: not known. Of a reduction, that of LoRA or FFT there."""
        reduced = self.reduce(problem)
        if reduced is None:
            return None
        dx, dy = reduced.problem.input_rank, reduced.problem.dy
        return dx * dy if reduced.rank is None else reduced.rank * (dx + dy - reduced.rank)

    def variance_limit(self, problem: Problem) -> float | None:
        """V, the limit of n (risk - least risk of the class) for n -> infinity; None: not known.

        Of a reduction, that of LoRA (`theory.large_sample_limit`) or FFT there; not where it would have to be drawn.
        V / (dx Tr Sigma_eps) is what a sample is worth to the method, in units of what it is worth to FFT, where
        samples are many.
        """
        from linreg_lora.theory.capacity import large_sample_limit

        reduced = self.reduce(problem)
        if reduced is None:
            return None
        other, rank = reduced.problem, reduced.rank
        full = min(other.input_rank, other.dy)
        if rank is None or rank == full:
            return other.noise_trace * other.input_rank
        values = other.whitened_spectrum
        planted = int(sum(values > max(other.dx, other.dy) * float(np.finfo(float).eps) * values[0]))
        return large_sample_limit(other, rank).limit if rank <= planted else None

    def hessian_gap(self, problem: Problem) -> float | None:
        """Rise of the least population loss E||y - A x||^2 after e ~ N(0, I) on A0 and retraining; None: not known."""
        return None

    def forgetting(self, problem: Problem, pretraining_covariance: np.ndarray | None = None) -> "Forgotten | None":
        """E [ ||D Sigma_pre^{1/2}||_F^2 + ||b||^2 ] by theory (`methods.forgetting`); None: not known.

        `pretraining_covariance` Sigma_pre: None for the identity, a length-dx vector or a dx x dx matrix.
        """
        return None

    def expected_risk(self, problem: Problem) -> result.MethodRisk:
        """The expected excess risk by theory. Raises `InvalidInput` where theory knows none."""
        from linreg_lora.theory.curve import expected_risk

        reduced = reduction_of(self, problem)
        curve = expected_risk(reduced.problem, [reduced.rank or 0])
        return result.of_curve(curve, reduced.rank, problem, self.name, self.parameters(problem), reduced.constant)

    def note_on_moments(self, problem: Problem) -> str:
        """One line on the moments of its risk, at any law of the inputs; empty where mean and variance exist."""
        moments = self.moments(problem)
        if moments is Moments.FINITE:
            return ""
        reduced = self.reduce(in_size(problem))
        if reduced is None or reduced.problem.moments is not moments:
            return f"{self.name}: {moments} at n = {problem.n}"
        where = "" if reduced.problem == in_size(problem) else f"of the problem that {self.name} reduces to: "
        return f"{where}{reduced.problem.moments_note}"

    def __str__(self) -> str:
        return str(self.name)


def in_size(problem: Problem) -> Problem:
    """The problem with Gaussian inputs of mean zero, which has the same moments; sparse entries keep their law."""
    law, problem = problem.input_law, problem.centred()
    sparse = isinstance(law, IidEntries) and law.kind == "sparse"
    return problem if law.is_gaussian or sparse else problem.replace(input_law="gaussian")


def require_same_law(method: Method, problem: Problem, reduced: Problem) -> None:
    """Raise `InvalidInput` where a method's reduction has lost the law of the inputs."""
    if reduced.input_law != problem.input_law:
        remedy = "simulate it (monte_carlo)"
        raise InvalidInput("input_law", f"gaussian for {method.name} by theory", problem.input_law.text, remedy)


def reduction_of(method: Method, problem: Problem) -> Reduction:
    """The reduction of a method. Raises `InvalidInput` where there is none, or it is for Gaussian inputs alone."""
    reduced = method.reduce(problem)
    if reduced is not None:
        require_same_law(method, problem, reduced.problem)
    if reduced is None:
        remedy = "simulate it (monte_carlo), or give it reduce or expected_risk"
        raise InvalidInput("method", "one whose expected risk theory knows", method.name, remedy)
    return reduced


def moments_note(method: Method, problem: Problem) -> str:
    """One line on the moments of a method's risk; empty where mean and variance exist."""
    return method.note_on_moments(problem)
