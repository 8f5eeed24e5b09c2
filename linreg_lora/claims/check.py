"""Checking a claims file: which claims, in which order, with which seed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from linreg_lora.claims.file import load_claims
from linreg_lora.claims.schema import LARGEST_TRIALS, Claim, ClaimsFile
from linreg_lora.claims.vocabulary import Budget
from linreg_lora.errors import InvalidInput
from linreg_lora.seeds import valid_seed

if TYPE_CHECKING:
    from linreg_lora.claims.judge import Judgement


_MORE_DRAWS = 8


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
    progress: Callable[[int], None] = lambda _: None,
) -> "list[Judgement]":
    """Judge the claims of a file, in its order.

    `file`: what `load_claims` returned, or the path of a claims file; None: the package's own. `only`: ids; `seed`: of
    all draws; `budget`: how many draws; `progress` is called with 1 after each claim. Raises `InvalidInput` for a file
    that is not a claims file.

    >>> import linreg_lora as ll
    >>> (judgement,) = ll.check_claims(only=["lemma2-square"])
    >>> f"{judgement.claim.source.locator}: {judgement.verdict}"
    'eq. 148: holds'
    """
    file, seed = file if isinstance(file, ClaimsFile) else load_claims(file), valid_seed(seed)
    by_id = {claim.id: claim for claim in file.claims}
    from linreg_lora.claims.judge import judge_claim

    judgements = []
    for claim in select(file, only):
        correction = by_id.get(claim.correction or "")
        judgements.append(judge_claim(_within(budget, claim), seed, correction and _within(budget, correction)))
        progress(1)
    return judgements


def _within(budget: Budget, claim: Claim) -> Claim:
    if budget is Budget.CI:
        return claim
    trials = min(_MORE_DRAWS * claim.experiment.trials, LARGEST_TRIALS)
    return claim.model_copy(update={"experiment": claim.experiment.model_copy(update={"trials": trials})})
