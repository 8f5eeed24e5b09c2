"""The problem: a linear map, pretrained and shifted, to be recovered from n noisy samples.

    y = (A0 + Delta) x + eps,    x ~ N(mu, Sigma) in R^dx,    eps ~ N(0, Sigma_eps) in R^dy,    n samples

mu = 0 unless `input_mean` says otherwise. The excess risk of x -> (A0 + D) x + b is

    risk(D, b) = ||(D - Delta) Sigma^{1/2}||_F^2 + ||(D - Delta) mu + b||^2

Other laws of x and eps with these covariances: `input_law`.
A `Problem` only describes: it validates, names its regime and says which moments of the risk exist. It holds
NumPy data and never imports JAX.
"""

import dataclasses
import functools
import hashlib
import json
import math
from enum import StrEnum
from typing import Any

import numpy as np

from linreg_lora import validation
from linreg_lora.covariance import Covariance, symmetric_sqrt
from linreg_lora.errors import InvalidInput
from linreg_lora.input_law import GAUSSIAN, IidEntries, InputLaw, parse


class Regime(StrEnum):
    """Where n lies against the interpolation threshold n = rank(Sigma)."""

    OVERDETERMINED = "overdetermined"
    THRESHOLD = "threshold"
    UNDERDETERMINED = "underdetermined"


class Moments(StrEnum):
    """Which moments of a risk exist."""

    FINITE = "mean and variance exist"
    NO_VARIANCE = "the variance is infinite"
    NO_MEAN = "the mean is infinite"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """Multivariate linear regression from a pretrained map, with a planted task shift.

    | argument           | symbol             | meaning                                                           |
    |--------------------|--------------------|-------------------------------------------------------------------|
    | `n`                | n                  | number of samples                                                 |
    | `dx`, `dy`         | dx, dy             | input and output dimension                                        |
    | `spectrum`         | s_1 >= s_2 >= ...  | singular values of Delta; Delta = diag(s) unless `task_shift`     |
    | `noise_std`        | sigma              | noise standard deviation, in units of y                           |
    | `input_covariance` | Sigma              | None: identity; length-dx vector: diag(vector); dx x dx matrix    |
    | `noise_covariance` | Sigma_eps/sigma^2  | None: identity; length-dy vector; dy x dy matrix; shape only      |
    | `ridge`            | eta                | penalty eta ||D||_F^2 on the update (added to the sum of squares) |
    | `task_shift`       | Delta              | explicit dy x dx matrix, instead of `spectrum`                    |
    | `pretrained`       | A0                 | dy x dx; no excess risk of an additive method depends on it       |
    | `input_law`        | law of x and eps   | an `input_law`, or its text: gaussian, t:6, ar1:0.6, rademacher   |
    | `input_mean`       | mu                 | None: 0; a number: the mean of every input; length-dx vector      |

    The noise covariance is Sigma_eps = sigma^2 * `noise_covariance`, so that a sweep over `noise_std` scales it.
    An input covariance given as a vector is diagonal in the coordinates of Delta's columns, in any order: with
    `spectrum`, entry i is the variance of the input direction that s_i acts on. Singular covariances are allowed;
    directions without variance carry no risk, and the interpolation threshold is then at n = rank(Sigma). Variances
    have units: of a diagonal Sigma every positive one counts, however small beside the others. The rank of another
    matrix is numerical: eigenvalues up to dx eps times the largest are rounding. A mean lies in the range of Sigma: an
    input that is constant is an offset, which methods with a bias train (lora:3+bias).

    Instances are immutable and compare by value; `sampling.plan` turns them into JAX pytrees (`Parameters`). Raises
    `InvalidInput` with field, expected and received.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{problem.regime}, ranks 0..{problem.max_rank}, risk of not adapting {problem.pretrained_risk}"
    'overdetermined, ranks 0..20, risk of not adapting 14.0'
    >>> problem.replace(n=25).moments_note
    'the mean is infinite (|n - dx| > 1 is needed, here n = 25 and dx = 24); move n or set ridge > 0'
    """

    n: int
    dx: int
    dy: int
    spectrum: tuple[float, ...] | None = None
    noise_std: float
    input_covariance: np.ndarray | None = None
    noise_covariance: np.ndarray | None = None
    ridge: float = 0.0
    task_shift: np.ndarray | None = None
    pretrained: np.ndarray | None = None
    input_law: InputLaw = GAUSSIAN
    input_mean: np.ndarray | None = None

    def __post_init__(self) -> None:
        put = functools.partial(object.__setattr__, self)
        put("n", self._samples())
        for name in ("dx", "dy"):
            put(name, validation.dimension(name, getattr(self, name)))
        for name in ("noise_std", "ridge"):
            put(name, validation.nonnegative_number(name, getattr(self, name)))
        shape = (self.dy, self.dx)
        put("task_shift", validation.matrix("task_shift", self.task_shift, shape))
        put("pretrained", validation.matrix("pretrained", self.pretrained, shape))
        put("input_covariance", validation.input_covariance("input_covariance", self.input_covariance, self.dx))
        put("noise_covariance", validation.covariance("noise_covariance", self.noise_covariance, self.dy))
        put("spectrum", self._consistent_spectrum())
        law = parse(self.input_law)
        law.require_samples(self.n)
        put("input_law", GAUSSIAN if law.is_gaussian else law)
        if isinstance(law, IidEntries) and self._inputs.diagonal is None and self.input_rank < self.dx:
            raise InvalidInput("input_law", "gaussian or weighted samples where a matrix Sigma is singular", law.text)
        put("input_mean", validation.mean("input_mean", self.input_mean, self.dx))
        if self.input_mean is not None:
            self._inputs.require_mean("input_mean", self.input_mean)

    def _samples(self) -> int | float:
        return validation.positive_integer("n", self.n)

    def _consistent_spectrum(self) -> tuple[float, ...]:
        size = min(self.dx, self.dy)
        if self.task_shift is None:
            if self.spectrum is None:
                raise InvalidInput("spectrum", "the singular values of the task shift", "nothing",
                                   "give spectrum=(...) or task_shift=matrix; () means no shift")  # fmt: skip
            return validation.spectrum("spectrum", self.spectrum, size)
        values = np.linalg.svd(self.task_shift, compute_uv=False)
        if self.spectrum is not None:
            given = np.zeros(size)
            stated = validation.spectrum("spectrum", self.spectrum, size)
            given[: len(stated)] = stated
            if not np.allclose(given, values, rtol=1e-8, atol=1e-8 * max(1.0, values[0])):
                raise InvalidInput("spectrum", "the singular values of task_shift", stated,
                                   "leave spectrum out when task_shift is given")  # fmt: skip
        return tuple(values.tolist())

    # -- the matrices ---------------------------------------------------------------------------------------

    @functools.cached_property
    def shift(self) -> np.ndarray:
        """Delta, dy x dx: `task_shift`, or diag(spectrum)."""
        if self.task_shift is not None:
            return self.task_shift
        delta = np.zeros((self.dy, self.dx))
        index = np.arange(len(self.spectrum or ()))
        delta[index, index] = self.spectrum
        return validation.frozen(delta)

    @functools.cached_property
    def _inputs(self) -> Covariance:
        return Covariance(self.input_covariance, self.dx)

    @functools.cached_property
    def _noise_shape(self) -> Covariance:
        return Covariance(self.noise_covariance, self.dy)

    @property
    def sigma(self) -> np.ndarray:
        """Sigma, the dx x dx input covariance."""
        return self._inputs.matrix

    @functools.cached_property
    def sigma_eps(self) -> np.ndarray:
        """Sigma_eps = noise_std^2 * noise_covariance, the dy x dy noise covariance."""
        return validation.frozen(self.noise_std**2 * self._noise_shape.matrix)

    @property
    def sigma_sqrt(self) -> np.ndarray:
        """Sigma^{1/2}, symmetric."""
        return self._inputs.sqrt

    @functools.cached_property
    def sigma_eps_sqrt(self) -> np.ndarray:
        """Sigma_eps^{1/2}, symmetric."""
        return validation.frozen(symmetric_sqrt(self.sigma_eps))

    @functools.cached_property
    def risk_root(self) -> np.ndarray:
        """C with risk(D, 0) = ||(D - Delta) C||_F^2: Sigma^{1/2}, and mu as one more column where there is a mean."""
        if self.input_mean is None:
            return self.sigma_sqrt
        return validation.frozen(np.column_stack([self.sigma_sqrt, self.input_mean]))

    @property
    def noise_trace(self) -> float:
        """Tr(Sigma_eps), the noise power over all outputs."""
        return self.noise_std**2 * self._noise_shape.trace

    @functools.cached_property
    def pretrained_risk(self) -> float:
        """Excess risk of not adapting, ||Delta Sigma^{1/2}||_F^2 + ||Delta mu||^2: the risk at rank 0."""
        if self.input_rank < self.dx:
            return self.without_null_inputs().pretrained_risk
        return self._risk_of_centred + (0.0 if self.input_mean is None else float(np.sum(self.shifted_mean**2)))

    @functools.cached_property
    def shifted_mean(self) -> np.ndarray:
        """Delta mu, the mean of the outputs that the pretrained map misses."""
        if self.input_mean is None:
            return validation.frozen(np.zeros(self.dy))
        if self.task_shift is not None:
            return validation.frozen(self.task_shift @ self.input_mean)
        values = np.asarray(self.spectrum)
        moved = np.zeros(self.dy)
        moved[: len(values)] = values * self.input_mean[: len(values)]
        return validation.frozen(moved)

    @property
    def _risk_of_centred(self) -> float:
        """||Delta Sigma^{1/2}||_F^2, Sigma of full rank."""
        covariance = self.input_covariance
        if self.task_shift is None and (covariance is None or covariance.ndim == 1):
            values = np.asarray(self.spectrum)
            return float(np.sum(values**2 * (1.0 if covariance is None else covariance[: len(values)])))
        if covariance is None or covariance.ndim == 1:
            return float(np.sum(self.shift**2 * (1.0 if covariance is None else covariance)))
        return float(np.sum((self.shift @ self.sigma_sqrt) ** 2))

    @functools.cached_property
    def whitened_spectrum(self) -> np.ndarray:
        """Singular values of Delta Sigma^{1/2}, largest first: what the excess risk sees of the shift.

        With a mean those of Delta (Sigma + mu mu^T)^{1/2}.
        """
        if self.isotropic_scale is not None and self.input_mean is None:
            return validation.frozen(math.sqrt(self.isotropic_scale) * np.asarray(self.spectrum))
        values = np.linalg.svd(self.shift @ self.risk_root, compute_uv=False)
        return validation.frozen(values[: min(self.dx, self.dy)])

    @property
    def isotropic_scale(self) -> float | None:
        """c where Sigma = c I with c > 0, else None."""
        return self._inputs.isotropic_scale

    @property
    def isotropic_noise_scale(self) -> float | None:
        """c where Sigma_eps = c sigma^2 I with c > 0 (1 where sigma = 0), else None."""
        return 1.0 if self.noise_std == 0 else self._noise_shape.isotropic_scale

    # -- where the problem lies -----------------------------------------------------------------------------

    @property
    def input_rank(self) -> int:
        """rank(Sigma): dx for a full-rank covariance. The interpolation threshold is at n = input_rank.

        The number of positive variances where Sigma is diagonal; of eigenvalues above dx eps times the largest
        otherwise, because those below cannot be told from rounding.
        """
        return self._inputs.rank

    @property
    def smallest_variance(self) -> float:
        """The smallest positive eigenvalue of Sigma, as `input_rank` counts them."""
        return self._inputs.smallest_positive

    @property
    def distance_from_threshold(self) -> int:
        """n - rank(Sigma); negative when underdetermined."""
        return self.n - self.input_rank

    @property
    def regime(self) -> Regime:
        """Overdetermined, underdetermined, or exactly at the interpolation threshold."""
        if self.distance_from_threshold == 0:
            return Regime.THRESHOLD
        return Regime.OVERDETERMINED if self.distance_from_threshold > 0 else Regime.UNDERDETERMINED

    @property
    def max_rank(self) -> int:
        """min(n, dx, dy), with rank(Sigma) for dx: at this rank LoRA is FFT."""
        return min(self.n, self.input_rank, self.dy)

    @property
    def tail_index(self) -> float:
        """Tail index a of the risk of FFT and of LoRA with rank >= 1: E risk^k is finite iff k < a.

            a = (|n - rank(Sigma)| + 1) / 2    for ridgeless estimators and noise;  inf otherwise

        Without noise the ridgeless update is a projection of Delta, with ridge X^+ is bounded: all moments exist. Other
        input laws have the same index: weights are positive, with moments of 1/w, and densities of entries are bounded.
        A mean leaves it as it is, for the density of X stays bounded.
        Sparse entries have 1/2: a row of X may have one entry that is not 0, of any size. (Entries of +-1 have all
        moments, but those that Gaussian inputs lack are made in draws too rare to be seen.)
        """
        if self.ridge > 0 or self.noise_trace == 0:
            return math.inf
        if self._is_sparse:
            return 0.5
        return (abs(self.distance_from_threshold) + 1) / 2

    @property
    def moments(self) -> Moments:
        """Which moments of the risk of FFT and LoRA (rank >= 1) exist."""
        if self.tail_index <= 1:
            return Moments.NO_MEAN
        return Moments.NO_VARIANCE if self.tail_index <= 2 else Moments.FINITE

    @property
    def moments_note(self) -> str:
        """One line on the moments, with the numbers that decide; empty when mean and variance exist."""
        if self.moments is Moments.FINITE:
            return ""
        if self._is_sparse:
            return f"{self.moments} ({self.input_law.text}: rows of X with one entry that is not 0); set ridge > 0"
        least = 1 if self.moments is Moments.NO_MEAN else 3
        size = "dx" if self.input_rank == self.dx else "rank(Sigma)"
        return (
            f"{self.moments} (|n - {size}| > {least} is needed, here n = {self.n} and {size} = {self.input_rank}); "
            "move n or set ridge > 0"
        )

    @property
    def _is_sparse(self) -> bool:
        return isinstance(self.input_law, IidEntries) and self.input_law.kind == "sparse"

    def require_gaussian(self, what: str) -> None:
        """Raise `InvalidInput` where the inputs are not Gaussian, iid samples with iid noise, or have a mean.

        >>> import linreg_lora as ll
        >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0,), noise_std=1.0, input_law="t:6")
        >>> try:
        ...     problem.require_gaussian("this bound")
        ... except ll.InvalidInput as error:
        ...     print(error)
        input_law: expected gaussian for this bound, received t:6; simulate it (monte_carlo), or leave input_law out
        """
        if not self.input_law.is_gaussian:
            remedy = "simulate it (monte_carlo), or leave input_law out"
            raise InvalidInput("input_law", f"gaussian for {what}", self.input_law.text, remedy)
        self.require_centred(what)

    def require_centred(self, what: str) -> None:
        """Raise `InvalidInput` where the inputs have a mean; `what` knows inputs of mean zero only.

        >>> import linreg_lora as ll
        >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0,), noise_std=1.0, input_mean=0.5)
        >>> try:
        ...     problem.require_centred("this bound")
        ... except ll.InvalidInput as error:
        ...     print(error)
        input_mean: expected 0 for this bound, received a mean of norm 2.45; train a bias (lora:3+bias), or simulate
        """
        if self.input_mean is not None:
            remedy = "train a bias (lora:3+bias), or simulate"
            raise InvalidInput(
                "input_mean", f"0 for {what}", f"a mean of norm {np.linalg.norm(self.input_mean):.3g}", remedy
            )

    # -- values ---------------------------------------------------------------------------------------------

    def replace(self, **changes: Any) -> "Problem":
        """A copy with some fields changed, validated anew. A new `spectrum` replaces an explicit `task_shift`."""
        if "spectrum" in changes and "task_shift" not in changes:
            changes["task_shift"] = None
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if changes.get("task_shift", fields["task_shift"]) is not None and "spectrum" not in changes:
            fields["spectrum"] = None
        return type(self)(**{**fields, **changes})

    def without_null_inputs(self) -> "Problem":
        """The same problem in the range of a singular Sigma: no estimator moves, and no risk sees, the rest.

        Of a diagonal Sigma the inputs with variance are kept as they are, in their order.
        """
        return self if self.input_rank == self.dx else self._reduced

    @functools.cached_property
    def _reduced(self) -> "Problem":
        shift: dict[str, Any]
        if self._inputs.diagonal is not None:
            kept = np.flatnonzero(self._inputs.diagonal)
            variances, shift = self._inputs.diagonal[kept], self._shift_on(kept)
            pretrained = None if self.pretrained is None else self.pretrained[:, kept]
            mean = None if self.input_mean is None else self.input_mean[kept]
        else:
            variances, basis = self._inputs.modes
            mean = None if self.input_mean is None else basis.T @ self.input_mean
            shift = {"task_shift": self.shift @ basis}
            pretrained = None if self.pretrained is None else self.pretrained @ basis
        return type(self)(
            n=self.n,
            dx=self.input_rank,
            dy=self.dy,
            noise_std=self.noise_std,
            input_covariance=variances,
            noise_covariance=self.noise_covariance,
            ridge=self.ridge,
            pretrained=pretrained,
            input_law=self.input_law,
            input_mean=mean,
            **shift,
        )

    def centred(self) -> "Problem":
        """The same problem with inputs of mean zero: what a method with a bias makes of it."""
        return self if self.input_mean is None else self.replace(input_mean=None)

    def with_second_moment(self) -> "Problem":
        """The problem of mean zero whose Sigma is the second moment of this one's inputs, Sigma + mu mu^T."""
        if self.input_mean is None:
            return self
        return self.replace(input_mean=None, input_covariance=self.sigma + np.outer(self.input_mean, self.input_mean))

    def _shift_on(self, kept: np.ndarray) -> dict[str, Any]:
        """Delta on some of the inputs, in order: by its `spectrum` where every s_i > 0 keeps its place."""
        seen = np.trim_zeros(np.asarray(self.spectrum), "b")
        if self.task_shift is None and np.array_equal(kept[: len(seen)], np.arange(len(seen))):
            return {"spectrum": tuple(seen.tolist())}
        return {"task_shift": self.shift[:, kept]}

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values; None fields are left out, and `input_law` where it is Gaussian."""
        out: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, InputLaw):
                out |= {} if value.is_gaussian else {field.name: value.to_dict()}
            elif value is not None:
                out[field.name] = value.tolist() if isinstance(value, np.ndarray) else value
        if self.task_shift is None:
            out["spectrum"] = list(self.spectrum or ())
        else:
            del out["spectrum"]
        return out

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the fields: the identity of this problem in seeds, caches and provenance."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, validation.frozen(value) if isinstance(value, np.ndarray) else value)
