"""The judged claims as one HTML page that needs no network, no fonts and no other file; or as a page a paper."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from linreg_lora import validation
from linreg_lora.claims.vocabulary import Budget
from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.seeds import valid_seed

if TYPE_CHECKING:
    from linreg_lora.claims.judge import Judgement
    from linreg_lora.claims.schema import Claim


def write(
    out: Path,
    claims: Path | None,
    seed: int,
    budget: Budget,
    *,
    papers: Sequence[str] = (),
    everything: bool = False,
    by_paper: bool = False,
    workers: int | None = 1,
    fresh: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> bool:
    """Judge every claim of a file, run every proof, and write the page, or nothing.

    `claims`, `papers`, `everything`: which claims, as `collect_claims` has them; default: the package's own.
    `by_paper`: `out` is a new folder instead, of a page a paper and an index.

    `seed`, `budget`: of the draws; `workers`: processes at most, None for one a core; `fresh`: judge and prove also
    what this code judged of these files before (`claims.kept`), which else is taken over, and `say` is told. Returns
    whether every verdict is the expected one and no step of a proof fails; the page is written either way. Raises
    `InvalidInput` for a file that is not a claims file, for a path that cannot be written, which is found out before
    the work, and where a claim could not run.
    """
    from linreg_lora.claims.check import check_claims, is_asked_near
    from linreg_lora.claims.collection import collect_claims
    from linreg_lora.claims.kept import KeptVerdicts
    from linreg_lora.console import progress
    from linreg_lora.files.atomic import atomic_folder, atomic_path
    from linreg_lora.proofs import steps
    from linreg_lora.report_page.by_paper import render_all
    from linreg_lora.report_page.page import render
    from linreg_lora.report_page.proving import prove_all
    from linreg_lora.sweeps import executors

    processes = executors.available_cores() if workers is None else validation.positive_integer("workers", workers)

    collection = collect_claims(claims, papers=papers, everything=everything)
    kept = KeptVerdicts(collection.parts, valid_seed(seed), budget)
    file, sources = collection.file, {part.path.resolve() for part in collection.parts}
    reused = []

    def known(claim: "Claim", near: bool) -> "Judgement | None":
        found = None if fresh else kept.find(claim, near)
        if found is not None:
            reused.append(claim.id)
        return found

    if by_paper and (out.exists() or out.is_symlink()):
        raise InvalidInput("out", "the path of a folder that is not there yet", str(out), "there is something")
    if (out.exists() and not out.is_file()) or out.resolve() in sources:
        raise InvalidInput("out", "the path of a file, other than the claims file", str(out))
    with atomic_folder(out) if by_paper else atomic_path(out) as temporary:
        unable: list[str] = []
        with (
            progress("checking", len(file.claims)) as advance,
            kept.keeping(lambda name: is_asked_near(file, name, None)) as learned,
        ):
            judgements = check_claims(
                file, seed=seed, budget=budget, workers=workers, progress=advance, known=known, learned=learned,
                could_not_run=lambda _, reason: unable.append(reason),
            )  # fmt: skip
        if unable:
            raise LinregLoraError(unable[0])
        with progress("proving", len(steps.ids())) as advance:
            results, proved = prove_all(processes, fresh=fresh, progress=advance)
        if reused or proved:
            of = f"{len(reused)} of {len(judgements)} verdicts and {proved} of {len(results)} proofs"
            say(f"{of} are those of earlier runs of this code on these files; --fresh judges again")
        if by_paper:
            for name, page in render_all(file, judgements, results, seed=seed, budget=budget).items():
                (temporary / name).write_text(page, encoding="utf-8", newline="\n")
        else:
            page = render(file, judgements, results, seed=seed, budget=budget)
            temporary.write_text(page, encoding="utf-8", newline="\n")
    return all(j.as_expected for j in judgements) and all(result.holds for result in results)
