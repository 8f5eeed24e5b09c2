"""Checking a claims file: which claims, in which order, with which seed, in how many processes."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from linreg_lora import validation
from linreg_lora.claims import plugins
from linreg_lora.claims.file import load_claims
from linreg_lora.claims.schema import LARGEST_TRIALS, Claim, ClaimsFile
from linreg_lora.claims.vocabulary import Budget
from linreg_lora.errors import InvalidInput
from linreg_lora.seeds import valid_seed
from linreg_lora.sweeps import executors

if TYPE_CHECKING:
    from linreg_lora.claims.judge import Judgement

_MORE_DRAWS = 8
#: A process takes two seconds to start: fewer claims than this do not pay for one.
_CLAIMS_A_PROCESS = 4


class _Work(NamedTuple):
    """A claim, the one that corrects it, and whether they are asked near their cases."""

    claim: Claim
    correction: Claim | None
    near: bool


def select(claims: ClaimsFile, only: Sequence[str]) -> list[Claim]:
    """The claims with these ids, in the file's order; all of them when `only` is empty."""
    unknown = sorted(set(only) - {claim.id for claim in claims.claims})
    if unknown:
        raise InvalidInput("only", f"ids of claims ({', '.join(c.id for c in claims.claims)})", ", ".join(unknown))
    return [claim for claim in claims.claims if not only or claim.id in only]


def check_claims(
    file: ClaimsFile | Path | str | None = None,
    *,
    only: Sequence[str] = (),
    seed: int = 0,
    budget: Budget = Budget.CI,
    workers: int | None = 1,
    neighbours: bool | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> "list[Judgement]":
    """Judge the claims of a file, in its order.

    `file`: what `load_claims` returned, or the path of a claims file; None: the package's own. `only`: ids; `seed`: of
    all draws; `budget`: how many draws; `workers`: processes at most (1: this one, None: one a core), on which no
    number depends; `neighbours`: whether claims must hold near their cases too, which takes as long again (None: those
    that do not ship with this package, whose own its tests ask). `progress` is called with 1 after each claim. Other
    processes know what plug-ins registered, not what a script or notebook did. Raises `InvalidInput` for a file that is
    not a claims file, and for no worker.

    >>> import linreg_lora as ll
    >>> (judgement,) = ll.check_claims(only=["lemma2-square"])
    >>> f"{judgement.claim.source.locator}: {judgement.verdict}"
    'eq. 148: holds'
    """
    file, seed = file if isinstance(file, ClaimsFile) else load_claims(file), valid_seed(seed)
    workers = executors.available_cores() if workers is None else validation.positive_integer("workers", workers)
    by_id = {claim.id: claim for claim in file.claims}
    work = []
    for claim in select(file, only):
        correction = by_id.get(claim.correction or "")
        near = claim.id not in file.shipped if neighbours is None else neighbours
        work.append(_Work(_within(budget, claim), correction and _within(budget, correction), near))
    processes = min(workers, -(-len(work) // _CLAIMS_A_PROCESS))
    judged: dict[int, Judgement] = {}
    for i, judgement in _here(work, seed) if processes <= 1 else _in_processes(work, seed, processes):
        judged[i] = judgement
        progress(1)
    return [judged[i] for i in range(len(work))]


def _here(work: Sequence[_Work], seed: int) -> "Iterator[tuple[int, Judgement]]":
    from linreg_lora.claims.judge import judge_claim

    for i, (claim, correction, near) in enumerate(work):
        yield i, judge_claim(claim, seed, correction, near=near)


def _in_processes(work: Sequence[_Work], seed: int, processes: int) -> "Iterator[tuple[int, Judgement]]":
    """The judgements as they are made, each claim wherever a process is free."""
    with executors.local_processes(processes) as executor:
        loaded = plugins.loaded_files()
        sent = {executor.submit(_judge_there, loaded, pickle.dumps(one), seed): i for i, one in enumerate(work)}
        for future in as_completed(sent):
            yield sent[future], future.result()


def _judge_there(loaded: dict[str, str], work: bytes, seed: int) -> "Judgement":
    """Judges in a process that may know no plug-in yet; a claim may be made of a plug-in's classes."""
    plugins.load_as_elsewhere(loaded)
    from linreg_lora.claims.judge import judge_claim

    claim, correction, near = pickle.loads(work)
    return judge_claim(claim, seed, correction, near=near)


def _within(budget: Budget, claim: Claim) -> Claim:
    if budget is Budget.CI:
        return claim
    trials = min(_MORE_DRAWS * claim.experiment.trials, LARGEST_TRIALS)
    return claim.model_copy(update={"experiment": claim.experiment.model_copy(update={"trials": trials})})
