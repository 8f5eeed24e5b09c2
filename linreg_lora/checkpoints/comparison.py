"""Two checkpoints tensor by tensor: what each update says about rank, and what has none, with the reason.

No more than one pair of tensors is in memory.
"""

import fnmatch
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from linreg_lora.checkpoints import peft
from linreg_lora.checkpoints.activations import LayerInputs
from linreg_lora.checkpoints.budget import Allocation, allocate
from linreg_lora.checkpoints.update import Blocks, Settings, UpdateRanks, ranks_of
from linreg_lora.console import progress
from linreg_lora.errors import InvalidInput
from linreg_lora.files.tensors import Tensor, tensors
from linreg_lora.validation import choice, nonnegative_integer

_BLOCK = 2**26
_FLOATS = ("F64", "F32", "F16", "BF16")
_CONVOLUTIONS = (3, 4, 5)
_LISTED = 3
_A_FACTOR = "a factor of an adapter: merge it first"


class Weigh(StrEnum):
    """What a budget maximises: the kept energies as they are, or each tensor's as a share of its own."""

    ENERGY = "energy"
    SHARE = "share"


class Centre(StrEnum):
    """Whether the metric is the covariance of the inputs: where the layer's bias changed too, always, or never."""

    AUTO = "auto"
    YES = "yes"
    NO = "no"


@dataclass(frozen=True)
class Comparison:
    """What two checkpoints say: `updates` by tensor; `skipped`: the reason by tensor; `allocation` of a budget, None
    without one; `notes` on the whole. `kinds`: of each tensor, before and after. `configuration`: arguments of PEFT's
    LoraConfig with `rank_pattern`: of the budget's ranks if there is one.
    """

    updates: dict[str, UpdateRanks]
    skipped: dict[str, str]
    allocation: Allocation | None
    notes: tuple[str, ...]
    kinds: dict[str, tuple[str, str]] = field(repr=False)

    @property
    def ranks(self) -> dict[str, int]:
        """By tensor: the allocation's, else what each needs."""
        if self.allocation is not None:
            return self.allocation.ranks
        return {name: update.rank for name, update in self.updates.items()}

    @property
    def parameters(self) -> int:
        """Numbers in B and A of these ranks."""
        return sum(rank * sum(self.updates[name].shape) for name, rank in self.ranks.items())

    @property
    def configuration(self) -> dict[str, Any]:
        return peft.configuration(_by_module(self.ranks))


def compare_checkpoints(
    before: Path,
    after: Path,
    *,
    activations: Path | None = None,
    moments: Path | None = None,
    centre: Centre | str = Centre.AUTO,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    fan_in_fan_out: Sequence[str] = (),
    share: float = 0.99,
    samples: int | None = None,
    noise_std: float | None = None,
    budget: int | None = None,
    weigh: Weigh | str = Weigh.ENERGY,
    exact: bool = False,
) -> Comparison:
    """The rank that LoRA would have needed for each weight of a fine-tuned checkpoint.

    `before`, `after`: safetensors files, indices of shards, or folders with either; F64, F32, F16 and BF16. Weights of
    two axes are W (dy dx), of three to five axes convolutions, read as (dy, all others); factors of adapters are not
    compared. `activations`, `moments`: inputs of layers, or their second moments, by module or tensor (`update_ranks`),
    in npz or safetensors; `centre`: "auto", "yes" or "no". `include`, `exclude`: patterns of tensor names, as in
    *.q_proj.*; `fan_in_fan_out`: of those that are stored as inputs x outputs. `share`, `samples`, `noise_std`,
    `exact`: as of `update_ranks`. `budget`: ranks that keep the most under so many parameters, none of them for
    rounding, weighed by "energy" or "share". Raises `InvalidInput` for files and numbers that are none, naming the
    tensor.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> from linreg_lora.files.tensors import write_tensors
    >>> rng = np.random.default_rng(0)
    >>> old = {"q.weight": rng.standard_normal((8, 8)), "q.bias": np.zeros(8)}
    >>> new = old | {"q.weight": old["q.weight"] + np.ones((8, 8))}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = [Path(folder, f"{name}.safetensors") for name in ("old", "new")]
    ...     for path, content in zip(paths, (old, new)):
    ...         write_tensors(path, content, {})
    ...     found = ll.checkpoints.compare_checkpoints(*paths)
    >>> found.updates["q.weight"].rank, found.skipped
    (1, {'q.bias': '1 axis: LoRA is of matrices'})
    >>> found.configuration["rank_pattern"]
    {'q': 1}
    """
    settings = Settings(share, samples, noise_std, exact)
    centre, weigh = choice("centre", centre, Centre), choice("weigh", weigh, Weigh)
    settings.require_inputs(known=activations is not None or moments is not None)
    first, second = _checkpoint("before", before), _checkpoint("after", after)
    inputs = LayerInputs(activations, moments)
    skipped = dict(_skipped((before.name, first), (after.name, second), include, exclude))
    chosen = [name for name in second if name not in skipped]
    if not chosen:
        reason = f"; {next(iter(skipped))}: {next(iter(skipped.values()))}" if skipped else ""
        adapter = _A_FACTOR in skipped.values()
        remedy = "merge the adapter into its weights first" if adapter else "look at names, --include"
        raise InvalidInput("after", "weights that are in both checkpoints", f"none{reason}", remedy)
    _require_some("fan-in-fan-out", fan_in_fan_out, chosen)
    turned = {name for name in chosen if _matches(name, fan_in_fan_out)}
    for name in chosen:
        rows, columns = _sides(second[name])
        inputs.require_fit(name, *((rows, columns) if name in turned else (columns, rows)))
    if budget is not None:
        nonnegative_integer("budget", budget)
        if weigh is Weigh.ENERGY:
            _require_one_metric(chosen, first, second, inputs)
    updates = {}
    with progress("weights", len(chosen)) as advance:
        for name in chosen:
            updates[name] = _update(name, first, second, inputs, centre, settings, transposed=name in turned)
            advance(1)
    allocation = None if budget is None else _allocated(updates, budget, weigh)
    kinds = {name: (first[name].kind, second[name].kind) for name in chosen}
    found = Comparison(updates, skipped, allocation, (), kinds)
    return replace(found, notes=tuple(_notes(found, first, second, inputs, centre)))


def _update(
    name: str,
    first: dict[str, Tensor],
    second: dict[str, Tensor],
    inputs: LayerInputs,
    centre: Centre,
    settings: Settings,
    *,
    transposed: bool,
) -> UpdateRanks:
    tensor = second[name]
    rows, columns = _sides(tensor)
    shape = (columns, rows) if transposed else (rows, columns)
    centred = centre is Centre.YES or (centre is Centre.AUTO and _bias_changed(name, first, second))
    metric = inputs.metric(name, centred=centred)
    try:
        return ranks_of(_pairs(first[name], tensor), shape, tensor.kind, metric, settings, transposed=transposed)
    except InvalidInput as error:
        if error.field in ("before", "after"):
            path = {"before": first, "after": second}[error.field][name].path
            received = str(error.received).replace(" at ", f" at {name} ")
            raise InvalidInput(path.name, error.expected, received, "--exclude leaves it out") from None
        raise InvalidInput(error.field, f"{error.expected} for {name}", error.received, error.remedy) from None


def _pairs(first: Tensor, second: Tensor) -> Blocks:
    return zip(first.rows(_BLOCK), second.rows(_BLOCK), strict=True)


def _require_one_metric(
    chosen: Sequence[str], first: dict[str, Tensor], second: dict[str, Tensor], inputs: LayerInputs
) -> None:
    """Energies of layers with and without inputs are not of one unit; a layer that has not changed has none."""
    bare = [name for name in chosen if inputs.key(name) is None]
    if len(bare) == len(chosen):
        return
    for name in bare:
        if any((old != new).any() for old, new in _pairs(first[name], second[name])):
            raise InvalidInput("weigh", "share, where a layer has no activations", "energy", f"as {name} has none")


def _sides(tensor: Tensor) -> tuple[int, int]:
    """Rows and columns, as it is stored."""
    return tensor.shape[0], math.prod(tensor.shape[1:])


def _bias_changed(name: str, first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether the layer's offset was trained too."""
    module = peft.module_of(name)
    bias = f"{module}.bias"
    if module is None or bias not in first or bias not in second:
        return False
    if first[bias].shape != second[bias].shape:
        return True
    return bool((first[bias].read() != second[bias].read()).any())


def _skipped(
    before: tuple[str, dict[str, Tensor]],
    after: tuple[str, dict[str, Tensor]],
    include: Sequence[str],
    exclude: Sequence[str],
) -> Iterator[tuple[str, str]]:
    """Tensors of either checkpoint that are not compared, and why."""
    (old, first), (new, second) = before, after
    both = [*second, *(name for name in first if name not in second)]
    _require_some("include", [pattern for pattern in include if pattern != "*"], both)
    _require_some("exclude", exclude, both)
    for name in both:
        if not _matches(name, include) or _matches(name, exclude):
            yield name, "not asked for"
        elif peft.is_factor(name):
            yield name, _A_FACTOR
        elif name not in first or name not in second:
            yield name, f"not in {new if name in first else old}"
        elif reason := _reason(first[name], second[name], name):
            yield name, reason


def _reason(first: Tensor, second: Tensor, name: str) -> str:
    axes = len(second.shape)
    if first.shape != second.shape:
        return f"shape {_sized(first.shape)} before, {_sized(second.shape)} after"
    if not {first.kind, second.kind} <= set(_FLOATS):
        return f"{first.kind} before, {second.kind} after: LoRA is of real numbers"
    if 0 in second.shape:
        return "empty"
    if axes < 2:
        return f"{axes} {'axis' if axes == 1 else 'axes'}: LoRA is of matrices"
    if axes > 2 and (axes not in _CONVOLUTIONS or peft.module_of(name) is None):
        return f"{axes} axes, and no weight of a convolution"
    return ""


def _allocated(updates: dict[str, UpdateRanks], budget: int, weigh: Weigh) -> Allocation:
    weights = dict.fromkeys(updates, 1.0)
    if weigh is Weigh.SHARE:
        weights = {name: 1 / update.energy if update.energy else 0.0 for name, update in updates.items()}
    return allocate(
        {name: update.values for name, update in updates.items()},
        {name: update.shape for name, update in updates.items()},
        budget,
        weights,
        {name: update.rounding.rank for name, update in updates.items()},
    )


def _notes(
    found: Comparison, first: dict[str, Tensor], second: dict[str, Tensor], inputs: LayerInputs, centre: Centre
) -> Iterator[str]:
    if not any(found.ranks.values()):
        yield "no weight has a rank: nothing changed, or the budget is too small"
    if inputs.unused:
        yield f"inputs of no weight that is compared: {_listed(inputs.unused)}"
    bare = [name for name, update in found.updates.items() if not update.in_metric]
    if len(bare) == len(found.updates):
        yield "no activations: ranks are of the plain update, which is LoRA's metric for isotropic inputs alone"
    elif bare:
        yield f"no activations, so ranks are of the plain update: {_listed(bare)}"
    raw = [name for name in found.updates if inputs.is_moment(name) and _bias_changed(name, first, second)]
    if raw and centre is Centre.AUTO:
        yield f"the bias was trained too, so the moments must be covariances: {_listed(raw)}"
    orphans = [name for name in found.updates if peft.module_of(name) is None]
    if orphans:
        yield f"no weight of a module, so not in rank_pattern: {_listed(orphans)}"
    large = [name for name, rank in found.ranks.items() if rank > found.updates[name].largest_rank]
    if large:
        yield f"B and A of this rank are more numbers than the matrix, train it in full: {_listed(large)}"
    misled = peft.misled(_by_module(found.ranks))
    if misled:
        yield f"PEFT takes these for targets by the ends of their names: {_listed(misled)}"
    if found.allocation is not None and found.allocation.most > found.allocation.kept * (1 + 1e-9):
        short = found.allocation.most - found.allocation.kept
        yield f"the search for the best ranks was ended; no others keep {short:.2g} more of the energy"


def _by_module(ranks: dict[str, int]) -> dict[str, int]:
    named = {peft.module_of(name): rank for name, rank in ranks.items()}
    return {module: rank for module, rank in named.items() if module is not None}


def _checkpoint(field_: str, path: Path) -> dict[str, Tensor]:
    try:
        return tensors(path)
    except InvalidInput as error:
        name = field_ if error.field == "path" else error.field
        raise InvalidInput(name, error.expected, error.received, error.remedy) from None


def _require_some(field_: str, patterns: Sequence[str], names: Sequence[str]) -> None:
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise InvalidInput(field_, f"a pattern of tensors, among {_listed(names)}", pattern)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _sized(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "of a number"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
