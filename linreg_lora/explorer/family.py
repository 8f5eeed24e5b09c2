"""Other fine-tuning methods on the explorer's problem: which ones, and what theory says of each.

A0, which LoRA and FFT do without, is drawn from a seed. Methods are written as for `ll.compare`; in place of a number,
`r` is the setting's LoRA rank.
"""

import functools
import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.errors import InvalidInput
from linreg_lora.explorer.curves import AgainstRank, drawn_ranks
from linreg_lora.explorer.setting import Setting
from linreg_lora.methods import registry, result
from linreg_lora.methods.expected import expected_risks
from linreg_lora.methods.full import FullFineTuning
from linreg_lora.methods.lora import LoRA
from linreg_lora.methods.method import Method
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Problem
from linreg_lora.sampling.pretrained import drawn_pretrained

#: Methods that are a click away.
COMMON = (
    *("frozen-a:r", "frozen-b:r", "lora-xs:r", "adapter:r", "qlora:r", "pissa:r", "dora:r", "lora:r+bias"),
    *("bitfit", "ia3", "svf", "vera-b:r"),
)
#: As many have a colour and dashes of their own.
MOST = 12
ADAPT, SEED = "adapt", "pretrained_seed"
#: Settings that count directions of the update; others, such as tokens, have no place on an axis of ranks.
_RANKS = ("rank", "count", "directions")
_LORA_RANK = re.compile(r"(?<=:)r(?=[:+]|$)")


class Members(NamedTuple):
    """Methods to show, as they are written, and the seed of A0.

    >>> import linreg_lora as ll
    >>> setting = ll.explorer.Setting(lora=3)
    >>> ll.explorer.Members(("frozen-a:r", "ia3")).names(setting)
    ('frozen-a:3', 'ia3')
    """

    adapt: tuple[str, ...] = ()
    pretrained_seed: int = 0

    def names(self, setting: Setting) -> tuple[str, ...]:
        """The methods by name, each once, without LoRA of the setting's rank and FFT, which are there in any case.

        Raises `InvalidInput` for what is no method, a seed that is none, or too many methods.
        """
        found = tuple(registry.named(written(text, setting)).name for text in self.adapt)
        drawn_pretrained(self.pretrained_seed, 1, 1)
        names = tuple(name for name in dict.fromkeys(found) if name not in (f"lora:{setting.lora}", "fft"))
        if len(names) > MOST:
            raise InvalidInput(ADAPT, f"at most {MOST} methods here", f"{len(names)}", "linreg-lora compare takes more")
        return names

    def query(self) -> dict[str, str]:
        """The parameters of a link; none without methods. `of_query` undoes it."""
        return {ADAPT: ",".join(self.adapt), SEED: str(self.pretrained_seed)} if self.adapt else {}


def of_query(parameters: Mapping[str, str]) -> Members:
    """The methods of a link, not yet looked up. Raises `InvalidInput` for a seed that is none."""
    text = parameters.get(SEED, "0")
    if not re.fullmatch(r"\d{1,18}", text):
        raise InvalidInput(SEED, "an integer in 0..2^63-1", text)
    return Members(split(parameters.get(ADAPT, "")), int(text))


def split(text: str) -> tuple[str, ...]:
    """Methods between commas, as in lora:3+bias, qlora:4."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def written(text: str, setting: Setting) -> str:
    """A method with the setting's LoRA rank for the letter r."""
    return _LORA_RANK.sub(str(setting.lora), text.strip().lower())


def at_ranks(name: str, ranks: Iterable[int]) -> dict[int, str]:
    """The same method at its own rank and at others, in order; nothing for one without a rank, or with several.

    >>> from linreg_lora.explorer.family import at_ranks
    >>> at_ranks("lora:3+bias", [8]), at_ranks("frozen-b:2+frozen-a:4", [8]), at_ranks("ia3", [8])
    ({3: 'lora:3+bias', 8: 'lora:8+bias'}, {}, {})
    """
    found = _ranked(name)
    if found is None:
        return {}
    before, own, after = found
    return {rank: f"{before}{rank}{after}" for rank in sorted({own, *ranks})}


@functools.lru_cache(maxsize=512)
def _ranked(name: str) -> tuple[str, int, str] | None:
    """The rank of a method that has one, and no other, and what stands before and after it."""
    settings = {name: first for name, *rest in (one.split(":") for one in registry.names()) for first in rest[:1]}
    parts = name.split("+")
    ranked = [i for i, part in enumerate(parts) if ":" in part and settings.get(part.partition(":")[0]) in _RANKS]
    if len(ranked) != 1:
        return None
    kind, own, *rest = parts[ranked[0]].split(":")
    before, after = "+".join([*parts[: ranked[0]], kind]), "+".join([":".join(["", *rest]), *parts[ranked[0] + 1 :]])
    return f"{before}:", int(own), after


class Member(NamedTuple):
    """What is known of a method beside its name; None or nan: not known.

    `kind`: exact, equivalent or expansion; simulation where theory knows no risk of it, but draws will; none where it
    has no risk here, `notes` say why.
    """

    method: str
    parameters: int | None
    dimension: int | None
    risk: float
    kind: str
    flagged: bool = False
    notes: tuple[str, ...] = ()


class Along(NamedTuple):
    """A method's expected excess risk against its rank by theory; nan where there is none."""

    ranks: Int[np.ndarray, "k"]
    risk: Float[np.ndarray, "k"]
    flagged: Bool[np.ndarray, "k"]


def problem_of(setting: Setting, seed: int) -> Problem:
    """The setting's problem with A0 (dy dx), iid N(0, 1) from the seed."""
    return setting.problem().replace(pretrained=drawn_pretrained(seed, setting.dy, setting.dx))


@functools.lru_cache(maxsize=512)
def member(setting: Setting, seed: int, name: str) -> Member:
    """A method on the problem of a setting, by theory.

    >>> import linreg_lora as ll
    >>> found = ll.explorer.member(ll.explorer.Setting(n=60, dx=24, dy=20), 0, "frozen-a:4")
    >>> f"{found.parameters} parameters, {found.kind} risk {found.risk:.3f}"
    '80 parameters, exact risk 16.072'
    """
    problem, method = problem_of(setting, seed), registry.named(name)
    return _described(expected_risks(problem, [method])[0], method, problem)


def reference(found: AgainstRank) -> tuple[Member, Member]:
    """LoRA of the setting's rank and FFT, off the curve that is drawn."""
    problem, rank = found.curve.problem, found.setting.lora
    lora, full = LoRA(rank), FullFineTuning()
    shown = min(rank, problem.max_rank)
    each = ((lora, shown), (full, None))
    return tuple(  # type: ignore[return-value]
        _described(
            result.of_curve(found.curve, at, problem, method.name, registry.parameters(method, problem), 0.0),
            method,
            problem,
        )
        for method, at in each
    )


@functools.lru_cache(maxsize=512)
def along_ranks(setting: Setting, seed: int, name: str) -> Along | None:
    """A method's risk at the ranks that are drawn, from 1 on, and at its own.

    None for a method without a rank, and where theory knows no number at any.

    >>> import linreg_lora as ll
    >>> along = ll.explorer.along_ranks(ll.explorer.Setting(n=60, dx=24, dy=20), 0, "frozen-a:4")
    >>> along.ranks[:4].tolist(), along.risk[:4].round(3).tolist()
    ([1, 2, 3, 4], [15.767, 16.051, 16.583, 16.072])
    """
    texts = at_ranks(name, [rank for rank in drawn_ranks(setting.problem(), setting).tolist() if rank])
    if not texts:
        return None
    found = expected_risks(problem_of(setting, seed), [registry.named(text) for text in texts.values()])
    risk = np.array([one.risk if math.isfinite(one.risk) else np.nan for one in found])
    if not np.any(np.isfinite(risk)):
        return None
    return Along(np.array(list(texts)), risk, np.array([one.flagged for one in found]))


def _described(found: MethodRisk, method: Method, problem: Problem) -> Member:
    kind = found.kind or "none"
    if math.isinf(found.risk):
        kind = "none"
    notes = found.notes
    if math.isnan(found.risk):
        kind = "none"
        if _only_simulated(method, problem):
            kind, notes = "simulation", ()
    return Member(
        found.method, found.parameters, _dimension(method, problem), found.risk, kind, found.flagged, tuple(notes)
    )


def _only_simulated(method: Method, problem: Problem) -> bool:
    try:
        return method.reduce(problem) is None
    except Exception:  # a user's method may raise anything; its risk says why
        return False


def _dimension(method: Method, problem: Problem) -> int | None:
    try:
        return method.dimension(problem)
    except Exception:  # likewise
        return None


def by_risk(members: Iterable[Member], drawn: Mapping[str, float]) -> list[Member]:
    """The least risk first, by theory or, where it knows none, as drawn; those without a number last."""

    def key(one: Member) -> float:
        risk = drawn.get(one.method, math.inf) if math.isnan(one.risk) else one.risk
        return risk if math.isfinite(risk) else math.inf

    return sorted(members, key=key)
