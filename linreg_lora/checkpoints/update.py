"""One matrix before and after full fine-tuning: the rank that LoRA would have needed for its update D = W1 - W0."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from linreg_lora.checkpoints import metric as metrics
from linreg_lora.checkpoints import noise as noises
from linreg_lora.checkpoints import ranks as of
from linreg_lora.checkpoints.metric import Metric
from linreg_lora.checkpoints.noise import NoiseRank
from linreg_lora.checkpoints.rounding import Rounding, RoundingErrors
from linreg_lora.checkpoints.spectrum import singular_values
from linreg_lora.errors import InvalidInput
from linreg_lora.validation import LARGEST, nonnegative_number, positive_integer, real_array

#: Pairs of blocks of rows, before and after.
Blocks = Iterable[tuple[Float[np.ndarray, "k c"], Float[np.ndarray, "k c"]]]
_KINDS = {"float16": "F16", "float32": "F32", "bfloat16": "BF16"}
_NOTHING_UNSEEN = 1e-12
#: Less energy than this is not left out by values that are roots of squares.
_FINEST_BY_SQUARES = 1e-6


@dataclass(frozen=True)
class Settings:
    """What is asked of every matrix: `share` of the energy, `samples` n and `noise_std` sigma of the fine-tuning (None:
    not known), `exact`: whether singular values are computed without squares however large the matrix is."""

    share: float = 0.99
    samples: int | None = None
    noise_std: float | None = None
    exact: bool = False

    def __post_init__(self) -> None:
        share = nonnegative_number("share", self.share)
        if not 0 < share <= 1:
            raise InvalidInput("share", "a number above 0, at most 1", self.share)
        if self.samples is not None:
            positive_integer("samples", self.samples)
        if self.noise_std is not None:
            nonnegative_number("noise-std", self.noise_std)

    def require_inputs(self, *, known: bool) -> None:
        """The noise has a known level in their metric alone."""
        if self.noise_std is not None and not known:
            raise InvalidInput("noise-std", "activations or moments beside it", "none")


@dataclass(frozen=True)
class UpdateRanks:
    """What an update D (dy dx) says about rank.

    `values`: singular values of D S^{1/2}, or of D where S is not known (`in_metric`); `plain_values`: of D; `squared`:
    whether they are by squares, `resolved`: whether the smallest are told from rounding (`checkpoints.spectrum`).
    `rank`: the least that keeps the asked share of their energy. `change`: |D|_F / |W0|_F. `unseen`: the share of
    |D|_F^2 on directions that the inputs never have. `noise`: which directions are not noise of the fine-tuning, None
    of no change; `rounding`: or of how W1 is stored. `largest_rank`: at which B and A are still fewer numbers than D.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> rng = np.random.default_rng(0)
    >>> before = rng.standard_normal((12, 16))
    >>> after = before + np.outer(rng.standard_normal(12), rng.standard_normal(16))
    >>> found = ll.checkpoints.update_ranks(before, after)
    >>> found.rank, found.largest_rank, round(found.stable_rank, 6)
    (1, 6, 1.0)
    """

    shape: tuple[int, int]
    values: Float[np.ndarray, "q"] = field(repr=False)
    plain_values: Float[np.ndarray, "p"] = field(repr=False)
    in_metric: bool
    squared: bool
    resolved: bool
    change: float
    unseen: float
    noise: NoiseRank | None
    rounding: Rounding
    notes: tuple[str, ...]
    settings: Settings = field(repr=False)

    @property
    def rank(self) -> int:
        return self.rank_for(self.settings.share)

    @property
    def plain_rank(self) -> int:
        """By the plain singular values of D, which LoRA does not see."""
        return of.rank_for(self.plain_values, self.settings.share, max(self.shape))

    @property
    def energy(self) -> float:
        """sum s_j^2: in the metric the mean squared change of the outputs."""
        return float(np.sum(self.values**2))

    @property
    def stable_rank(self) -> float:
        return of.stable_rank(self.values)

    @property
    def effective_rank(self) -> float:
        return of.effective_rank(self.values)

    @property
    def numerical_rank(self) -> int | None:
        """How many values are more than rounding; None where squares do not say."""
        return None if not self.resolved else of.numerical_rank(self.values, max(self.shape))

    @property
    def largest_rank(self) -> int:
        return of.largest_rank(*self.shape)

    def rank_for(self, share: float) -> int:
        """The least rank that keeps a share of the energy."""
        return of.rank_for(self.values, share, max(self.shape))

    def kept(self, rank: int) -> float:
        """The share of the energy that a rank keeps."""
        lost = of.lost(self.values)
        return float(1 - lost[min(rank, len(lost) - 1)])


def update_ranks(
    before: Any,
    after: Any,
    *,
    activations: Any = None,
    moment: Any = None,
    centred: bool = False,
    share: float = 0.99,
    samples: int | None = None,
    noise_std: float | None = None,
    exact: bool = False,
) -> UpdateRanks:
    """The rank that LoRA would have needed, from W0 and W1 alone or with the inputs of their layer.

    `before`, `after`: W0 and W1 (dy dx), y = W x. `activations`: inputs x in rows, those of the fine-tuning; or
    `moment`: their second moment S (dx dx); of the offset's fine-tuning too, `centred` or the covariance. LoRA of rank
    r on the same data is trunc_r(D S^{1/2}) S^{-1/2} where W1 is a least-squares fit; without S only D itself is known,
    which is LoRA's metric for isotropic inputs alone. `share`: of the energy that the rank keeps. `samples` n: of the
    fine-tuning, by default the rows; `noise_std` sigma: of every output; with a metric. Raises `InvalidInput` for
    arrays that do not fit.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((200, 16)) * ([3.0] * 2 + [0.01] * 14)  # two inputs vary, the others hardly do
    >>> found = ll.checkpoints.update_ranks(np.zeros((12, 16)), rng.standard_normal((12, 16)), activations=x)
    >>> found.rank, found.plain_rank
    (2, 12)
    """
    settings = Settings(share, samples, noise_std, exact)
    first, second = _matrix("before", before), _matrix("after", after)
    if first.shape != second.shape:
        raise InvalidInput("after", f"shape {first.shape}, as before", f"shape {second.shape}")
    if activations is not None and moment is not None:
        raise InvalidInput("moment", "activations or their moment", "both")
    settings.require_inputs(known=activations is not None or moment is not None)
    known = None
    if activations is not None:
        known = metrics.of_rows("activations", [_matrix("activations", activations)], centred=centred)
    elif moment is not None:
        known = metrics.of_moment("moment", _matrix("moment", moment))
    kind = _KINDS.get(getattr(getattr(after, "dtype", None), "name", ""), "F64")
    return ranks_of([(first, second)], (first.shape[0], first.shape[1]), kind, known, settings)


def ranks_of(
    blocks: Blocks,
    shape: tuple[int, int],
    kind: str,
    metric: Metric | None,
    settings: Settings,
    *,
    transposed: bool = False,
) -> UpdateRanks:
    """Of a matrix (dy dx) in blocks of rows as it is stored, W1 in numbers of a `kind`; `transposed`: rows are inputs.

    Raises `InvalidInput` where the metric is of other inputs, and for numbers that are none, of fields "before" and
    "after".
    """
    _require_fit(shape, metric, settings)
    update, size = np.empty(shape), 0.0
    errors = RoundingErrors(kind, shape, None if metric is None else metric.variances)
    start = 0
    for first, second in blocks:
        for name, block in (("before", first), ("after", second)):
            _require_numbers(name, block, start)
        size += float(np.sum(first**2))
        change = second - first
        errors.add(start, second, change, transposed=transposed)
        if transposed:
            update[:, start : start + len(change)] = change.T
        else:
            update[start : start + len(change)] = change
        start += len(change)
    return _judged(update, size, errors, metric, settings)


def _judged(
    update: Float[np.ndarray, "dy dx"], size: float, errors: RoundingErrors, metric: Metric | None, settings: Settings
) -> UpdateRanks:
    shape = (update.shape[0], update.shape[1])
    energy = float(np.sum(update**2))
    exact = settings.exact or 1 - settings.share < _FINEST_BY_SQUARES
    plain = singular_values(update, exact=exact)
    found, unseen = plain, 0.0
    if metric is not None:
        seen = metric.seen(update)
        if metric.basis is not None and energy:
            unseen = max(0.0, 1 - float(np.sum(seen**2)) / energy)
        found = singular_values(seen @ metric.factor, exact=exact)
    values = found.values[: min(shape[0], shape[1] if metric is None else metric.rank)]
    rounding = errors.against(values, metric)
    noise = _noise(values, shape, metric, settings) if np.any(values) else None
    return UpdateRanks(
        shape=shape,
        values=values,
        plain_values=plain.values,
        in_metric=metric is not None,
        squared=plain.squared or found.squared,
        resolved=found.resolved,
        change=float(np.sqrt(energy / size)) if size else float("nan" if energy == 0 else "inf"),
        unseen=unseen if unseen > _NOTHING_UNSEEN else 0.0,
        noise=noise,
        rounding=rounding,
        notes=tuple(_notes(values, unseen, rounding, max(shape), settings.share)),
        settings=settings,
    )


def _noise(
    values: Float[np.ndarray, "q"], shape: tuple[int, int], metric: Metric | None, settings: Settings
) -> NoiseRank:
    if metric is None:
        return noises.without_metric(values, *shape, settings.samples)
    samples = settings.samples or metric.samples
    sigma = None
    if settings.noise_std is not None:
        assert samples is not None
        sigma = settings.noise_std / np.sqrt(samples)
    return noises.in_metric(values, shape[0], metric.rank, sigma)


def _notes(values: Float[np.ndarray, "q"], unseen: float, rounding: Rounding, size: int, share: float) -> Iterator[str]:
    if unseen > max(1 - share, _NOTHING_UNSEEN):
        yield "the change has directions that these inputs never have: they are not all that it was trained on"
    if of.rank_for(values, share, size) > rounding.rank:
        yield "the rank counts how W1 was rounded to be stored: fewer directions are above rounding"


def _require_fit(shape: tuple[int, int], metric: Metric | None, settings: Settings) -> None:
    if metric is not None and len(metric.variances) != shape[1]:
        count = len(metric.variances)
        remedy = "it is stored as inputs x outputs: say so" if count == shape[0] else ""
        raise InvalidInput("activations", f"{shape[1]} inputs", f"{count}", remedy)
    if settings.noise_std is not None and settings.samples is None and metric is not None and metric.samples is None:
        raise InvalidInput("samples", "how many rows the moments are of", "nothing")


def _matrix(field_: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.ndim != 2 or 0 in array.shape:
        raise InvalidInput(field_, "a matrix of real numbers", f"shape {array.shape}")
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        return real_array(field_, value, "a matrix of real numbers")
    array = array.astype(float)
    _require_numbers(field_, array, 0)
    return array


def _require_numbers(name: str, block: Float[np.ndarray, "k c"], before: int) -> None:
    if not np.all(np.abs(block) <= LARGEST):
        row, column = np.argwhere(~(np.abs(block) <= LARGEST))[0].tolist()
        place = f"{block[row, column]} at [{before + row}, {column}]"
        raise InvalidInput(name, f"finite numbers up to {LARGEST:g}", place)
