"""Perturbed test inputs in `attack`: what fits of clean data lose by them, as a table and as JSON."""

from dataclasses import dataclass

import numpy as np

from linreg_lora.cli.numbers import MARK, marked, number, value
from linreg_lora.console import print_table
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Problem
from linreg_lora.simulation.perturbed_inputs import InputRise
from linreg_lora.simulation.spectral_norms import SpectralNorms
from linreg_lora.theory import expected_fft_rise, expected_forgetting, fft_norm, lora_norm, mean_update

_SAID = (
    "by training on clean data; random: x + tau e, e ~ N(0, I); worst: the worst x + d, |d| <= tau, of each sample; "
    "large tau costs tau^2 ||A0 + D||^2 in spectral norm"
)
_LIMIT = (
    "norms by theory: means over A0 iid N(0, alpha^2) in many dimensions; that of one A0 differs, by some alpha where "
    "a direction of the task stands out"
)
#: Up to which share of a norm its spread over A0 goes unmarked.
_SPREAD = 0.01
_MARKED = f"{MARK} may be off by more than a per cent"


@dataclass(frozen=True)
class Theory:
    """`random` rises and spectral `norm`s at ranks, and of FFT; nan is not known, and `note` says why.

    `flagged` are rises in doubt, `norm_flagged` norms whose spread over A0, alpha to first order for an outlier and
    less for an edge, is more than a hundredth: u^T A0 v is N(0, alpha^2) for the direction u v^T that stands out.
    """

    random: np.ndarray
    norm: np.ndarray
    flagged: np.ndarray
    norm_flagged: np.ndarray
    fft_norm_flagged: bool
    fft_random: float
    fft_norm: float
    note: str

    @property
    def any_flagged(self) -> bool:
        return bool(np.any(self.flagged) or np.any(self.norm_flagged) or self.fft_norm_flagged)


@dataclass(frozen=True)
class Perturbed:
    """A problem with A0, a length tau, and what was found by theory and by simulation."""

    ranks: np.ndarray
    radius: float
    pretrained_std: float
    pretrained_seed: int
    computed: Theory | None
    random: InputRise | None
    worst: InputRise | None
    norms: SpectralNorms | None


def simulated(
    problem: Problem, ranks: np.ndarray, radius: float, trials: int, seed: int
) -> tuple[InputRise, InputRise, SpectralNorms]:
    """Random rises, worst rises and spectral norms."""
    from linreg_lora.simulation import simulate_norm, simulate_rise, simulate_worst_rise

    chosen = ranks.tolist()
    return (
        simulate_rise(problem, trials=trials, seed=seed, ranks=chosen, perturbation_std=radius),
        simulate_worst_rise(problem, radius=radius, trials=trials, seed=seed, ranks=chosen),
        simulate_norm(problem, trials=trials, seed=seed, ranks=chosen),
    )


def theory(problem: Problem, ranks: np.ndarray, radius: float, pretrained_std: float) -> Theory:
    """tau^2 (||A0||^2 + 2 <A0, E D> + E ||D||^2), exact for FFT, else by the equivalent; and the limits of the norm."""
    before, notes = problem.pretrained, []
    assert before is not None
    random, norm = np.full(len(ranks), np.nan), np.full(len(ranks), np.nan)
    flagged = np.zeros(len(ranks), dtype=bool)
    of_fft = fft_limit = np.nan
    try:
        longer = expected_forgetting(problem, ranks)
        for i, rank in enumerate(ranks.tolist()):
            moved = mean_update(problem, rank)
            random[i] = radius**2 * float(np.sum(before * (before + 2 * moved.update)) + longer.forgetting[i])
            flagged[i] = moved.flagged
        flagged |= longer.flagged
    except (InvalidInput, NumericalFailure) as refused:
        notes.append(f"random: {refused}")
    try:
        of_fft = expected_fft_rise(problem, perturbation_std=radius)
        random[ranks == problem.max_rank] = of_fft
        flagged[ranks == problem.max_rank] = False
    except InvalidInput as refused:
        notes.append(f"random, FFT: {refused}")
    for i, rank in enumerate(ranks.tolist()):
        try:
            norm[i] = lora_norm(problem, rank, pretrained_std=pretrained_std)
        except InvalidInput as refused:
            notes.append(
                f"norm, rank {rank} and others: {refused}" if rank < ranks[-1] else f"norm, rank {rank}: {refused}"
            )
            break
    try:
        fft_limit = fft_norm(problem, pretrained_std=pretrained_std)
        norm[ranks == problem.max_rank] = fft_limit
    except InvalidInput as refused:
        notes.append(f"norm, FFT: {refused}")
    spread = pretrained_std / _SPREAD
    return Theory(
        random, norm, flagged, spread > norm, bool(spread > fft_limit), of_fft, fft_limit, "; ".join(notes)
    )  # fmt: skip


def as_json(found: Perturbed) -> dict[str, object]:
    """The part of the command's JSON object. Values that do not exist or are unknown are null."""
    out: dict[str, object] = {
        "radius": found.radius,
        "pretrained_std": found.pretrained_std,
        "pretrained_seed": found.pretrained_seed,
    }
    fft: dict[str, object] = {}
    if found.random is not None and found.worst is not None and found.norms is not None:
        kinds = {"random": found.random, "worst": found.worst}
        listed: dict[str, object] = {}
        for name, one in kinds.items():
            listed[name], listed[f"{name}_stderr"] = _values(one.rise), _values(one.stderr)
            listed[f"{name}_difference"] = _values(one.difference)
            listed[f"{name}_difference_stderr"] = _values(one.difference_stderr)
        listed |= {"norm": _values(found.norms.norm), "norm_stderr": _values(found.norms.stderr)}
        notes = [note for one in (*kinds.values(), found.norms) for note in one.notes]
        out["monte_carlo"] = {**listed, "note": "; ".join(dict.fromkeys(notes))}
        fft["monte_carlo"] = {
            **{name: value(one.fft_rise) for name, one in kinds.items()},
            **{f"{name}_stderr": value(one.fft_stderr) for name, one in kinds.items()},
            "norm": value(found.norms.fft_norm),
            "norm_stderr": value(found.norms.fft_stderr),
        }
    if found.computed is not None:
        computed = found.computed
        out["theory"] = {
            "random": _values(computed.random),
            "norm": _values(computed.norm),
            "large_radius": _values((found.radius * computed.norm) ** 2),
            "flagged": found.ranks[computed.flagged].tolist(),
            "norm_flagged": found.ranks[computed.norm_flagged].tolist(),
            "note": computed.note,
        }
        fft["theory"] = {
            "random": value(computed.fft_random),
            "norm": value(computed.fft_norm),
            "large_radius": value((found.radius * computed.fft_norm) ** 2),
            "norm_flagged": computed.fft_norm_flagged,
        }
    return {**out, "fft": fft}


def print_perturbed(found: Perturbed) -> None:
    """Print a table, one line a rank and one for FFT."""
    from rich.table import Table

    table = Table(
        title=f"Test inputs perturbed by tau = {found.radius:g}: rise of the loss (A0 iid N(0, "
        f"{found.pretrained_std:g}^2), seed {found.pretrained_seed})",
        title_justify="left",
    )
    rows = [["LoRA", str(rank)] for rank in found.ranks.tolist()] + [["FFT", "-"]]
    headings = ["method", "rank"]
    computed = found.computed
    if found.random is not None and found.worst is not None and found.norms is not None:
        for name, one in (("random", found.random), ("worst", found.worst)):
            headings += [name, "standard error" + " " * (name == "worst")]
            _append(rows, one.rise, one.fft_rise)
            _append(rows, one.stderr, one.fft_stderr)
        headings += ["worst, less FFT's", "standard error  ", "norm", "standard error   "]
        _append(rows, found.worst.difference, 0.0)
        _append(rows, found.worst.difference_stderr, 0.0)
        _append(rows, found.norms.norm, found.norms.fft_norm)
        _append(rows, found.norms.stderr, found.norms.fft_stderr)
    if computed is not None:
        headings += ["random by theory", "norm by theory"]
        for row, rise, flag in zip(
            rows, [*computed.random, computed.fft_random], [*computed.flagged, False], strict=True
        ):
            row.append(marked(rise, bool(flag)))
        for row, norm, flag in zip(
            rows, [*computed.norm, computed.fft_norm], [*computed.norm_flagged, computed.fft_norm_flagged], strict=True
        ):
            row.append(marked(norm, bool(flag)))
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for row in rows:
        table.add_row(*row, style="bold" if row[0] == "FFT" else None)
    notes = [_SAID]
    for one in (found.random, found.worst, found.norms):
        notes += list(one.notes) if one is not None else []
    if computed is not None:
        notes += [_LIMIT, _MARKED if computed.any_flagged else "", computed.note]
    table.caption = "\n".join(dict.fromkeys(filter(None, notes)))
    table.caption_justify = "left"
    print_table(table)


def _append(rows: list[list[str]], values: np.ndarray, last: float) -> None:
    for row, one in zip(rows, [*values.tolist(), last], strict=True):
        row.append(number(one))


def _values(array: np.ndarray) -> list[object]:
    return [value(x) for x in array]
