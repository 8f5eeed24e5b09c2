"""Checking a claims file: which claims, in which order, with which seed, in how many processes."""

import contextlib
import difflib
import pickle
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from linreg_lora import validation
from linreg_lora.claims import plugins
from linreg_lora.claims.file import load_claims
from linreg_lora.claims.processes import Outcome, on_processes, release_memory
from linreg_lora.claims.schema import LARGEST_TRIALS, Claim, ClaimsFile
from linreg_lora.claims.vocabulary import Budget
from linreg_lora.errors import InvalidInput, LinregLoraError
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
    ids = [claim.id for claim in claims.claims]
    unknown = sorted(set(only) - set(ids))
    if unknown:
        near = [match for wrong in unknown for match in difflib.get_close_matches(wrong, ids, n=3)]
        expected = "ids of claims" + (f", such as {' or '.join(dict.fromkeys(near))}" if near else "")
        remedy = f"choose among the {len(ids)} of these files; `linreg-lora claims --all` lists every file's"
        raise InvalidInput("only", expected, ", ".join(unknown), remedy)
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
    known: "Callable[[Claim, bool], Judgement | None]" = lambda claim, near: None,
    learned: "Callable[[Judgement], None]" = lambda _: None,
    could_not_run: Callable[[Claim, str], None] | None = None,
) -> "list[Judgement]":
    """Judge the claims of a file, in its order.

    `file`: what `load_claims` returned, or the path of a claims file; None: the package's own. `only`: ids; `seed`: of
    all draws; `budget`: how many draws; `workers`: processes at most (1: this one, None: one a core), on which no
    number depends; `neighbours`: whether claims must hold near their cases too, which takes as long again (None: those
    that do not ship with this package, whose own its tests ask). `progress` is called with 1 after each claim. Other
    processes know what plug-ins registered, not what a script or notebook did. `known`: a claim, and whether it is
    asked near its cases -> its judgement where that is known already, else None. `learned` is called with each other
    judgement at once. `could_not_run`: is told of a claim whose experiment or predictions do not run, and why in one
    line, and the claim is left out; None: that is raised.
    Raises `InvalidInput` for a file that is not a claims file, and for no worker.

    >>> import linreg_lora as ll
    >>> (judgement,) = ll.check_claims(only=["lemma2-square"])
    >>> f"{judgement.claim.source.locator}: {judgement.verdict}"
    'eq. 148: holds'
    """
    file, seed = file if isinstance(file, ClaimsFile) else load_claims(file), valid_seed(seed)
    workers = executors.available_cores() if workers is None else validation.positive_integer("workers", workers)
    by_id = {claim.id: claim for claim in file.claims}
    chosen = [_within(budget, claim) for claim in select(file, only)]
    judged: dict[str, Judgement] = {}
    work = []
    for claim in chosen:
        near = is_asked_near(file, claim.id, neighbours)
        found = known(claim, near)
        if found is None:
            correction = by_id.get(claim.correction or "")
            work.append(_Work(claim, correction and _within(budget, correction), near))
        else:
            judged[claim.id] = found
            progress(1)
    processes = min(workers, -(-len(work) // _CLAIMS_A_PROCESS))
    unable: dict[str, str] = {}
    outcomes = _here(work, seed) if processes <= 1 else _elsewhere(work, seed, processes)
    with contextlib.closing(outcomes):
        for place, judgement, error in outcomes:
            claim = work[place].claim
            if error is None:
                judged[claim.id] = judgement
                learned(judgement)
            elif could_not_run is None:
                raise error
            else:
                unable[claim.id] = str(error)
            progress(1)
    for claim in chosen:
        if could_not_run is not None and claim.id in unable:
            could_not_run(claim, unable[claim.id])
    return [judged[claim.id] for claim in chosen if claim.id in judged]


def is_asked_near(file: ClaimsFile, claim_id: str, neighbours: bool | None) -> bool:
    """Whether a claim must hold near its cases too: as `neighbours` says, or where the claim is not this package's."""
    return claim_id not in file.shipped if neighbours is None else neighbours


def _here(work: Sequence[_Work], seed: int) -> Generator[Outcome]:
    for place, one in enumerate(work):
        try:
            outcome = Outcome(place, _judge(one, seed), None)
        except LinregLoraError as error:
            outcome = Outcome(place, None, error)
        if len(work) > _CLAIMS_A_PROCESS:
            release_memory()
        yield outcome


def _elsewhere(work: Sequence[_Work], seed: int, processes: int) -> Generator[Outcome]:
    loaded = plugins.loaded_files()
    calls = [(_judge_there, (loaded, pickle.dumps(one), seed)) for one in work]
    with contextlib.closing(on_processes([one.claim for one in work], calls, processes)) as outcomes:
        for outcome in outcomes:
            error = outcome.error
            if error is not None and not isinstance(error, InvalidInput):
                error = LinregLoraError(f"{work[outcome.place].claim.id}: {error}")
            yield outcome._replace(error=error)


def _judge_there(loaded: dict[str, str], work: bytes, seed: int) -> "Judgement":
    """Judges in a process that may know no plug-in yet; a claim may be made of a plug-in's classes."""
    plugins.load_as_elsewhere(loaded)
    judgement = _judge(pickle.loads(work), seed)
    release_memory()
    return judgement


def _judge(work: _Work, seed: int) -> "Judgement":
    from linreg_lora.claims.judge import judge_claim

    return judge_claim(work.claim, seed, work.correction, near=work.near)


def _within(budget: Budget, claim: Claim) -> Claim:
    if budget is Budget.CI:
        return claim
    trials = min(_MORE_DRAWS * claim.experiment.trials, LARGEST_TRIALS)
    return claim.model_copy(update={"experiment": claim.experiment.model_copy(update={"trials": trials})})
