"""Expected risks where the inputs are not Gaussian: what is known of each input law, and what is said of it.

Weighted samples have equations of their own (`weighted_curve`). Iid entries have the formula of Gaussian inputs, with
the first order of their kurtosis in FFT's noise, and its size as LoRA's error (`iid_entries`).
"""

import numpy as np

from linreg_lora.errors import LinregLoraError, NumericalFailure
from linreg_lora.input_law import IidEntries
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve, valid_ranks
from linreg_lora.theory import curve as gaussian_curve
from linreg_lora.theory import fft, iid_entries, notes, weighted_curve

#: Relative errors above the first are flagged; above the second there is no number.
_UNFLAGGED, _LARGEST_ERROR = 0.01, 0.25
#: By how many times |kappa4| / max(n, dx) entries were found to move LoRA's risk at most, without a ridge.
_AT_MOST = 2.0


def fft_risk(problem: Problem) -> fft.FFTRisk:
    """`theory.fft_risk` of a problem whose inputs are not Gaussian. Refuses a mean."""
    problem.require_centred("inputs that are not Gaussian, by theory")
    if problem.moments is Moments.NO_MEAN:
        return fft.FFTRisk(np.nan, np.inf, problem.moments_note)
    if isinstance(problem.input_law, IidEntries):
        return iid_entries.entries_fft_risk(problem, fft.fft_risk(problem.replace(input_law="gaussian")))
    return weighted_curve.weighted_fft_risk(problem)


def expected_risk(problem: Problem, ranks: object, *, correction: bool, flags: bool) -> RiskCurve:
    """`theory.expected_risk` of a problem whose inputs are not Gaussian.

    `flags` False leaves out what is flagged, though not the notes.
    """
    problem.require_centred("inputs that are not Gaussian, by theory")
    chosen = valid_ranks(ranks, problem)
    said: list[str] = []
    try:
        full = fft_risk(problem)
        said += [full.note] if full.flagged else []
    except LinregLoraError as failure:
        full = fft.FFTRisk(np.nan, np.nan, "none")
        said.append(str(failure))
    ends = (chosen == 0) | (chosen >= _rank_of_full_fit(problem))
    risk = np.where(chosen == 0, problem.pretrained_risk, np.where(ends, full.risk, np.nan))
    flagged = ends & (chosen > 0) & full.flagged
    difference, formula = None, full.formula
    if problem.moments is Moments.NO_MEAN:
        risk = np.where(chosen == 0, problem.pretrained_risk, np.inf)
        said = [problem.moments_note]
    elif not np.all(ends):
        inside = ~ends
        try:
            if isinstance(problem.input_law, IidEntries):
                found = _of_entries(problem, chosen[inside], correction)
                risk[inside], flagged[inside] = found.risk, found.flagged
                difference = np.where(inside, 0.0, risk - full.risk)
                difference[inside] = found.difference
                said, formula = [*said, *found.notes], f"{found.formula}, for Gaussian inputs; FFT: {full.formula}"
            else:
                lora = weighted_curve.lora_risks(problem, chosen[inside], full, correction=correction)
                risk[inside], flagged[inside] = lora.risk, lora.flagged
                said += [*notes.reasons(lora.failures), notes.of_flagged(chosen[inside][lora.flagged].tolist())]
                formula = f"{weighted_curve.LORA}; FFT: {full.formula}"
        except LinregLoraError as failure:
            said.append(str(failure))
    if difference is None:
        difference = risk - full.risk if np.isfinite(full.risk) else np.full(len(chosen), np.nan)
    return RiskCurve(
        problem=problem,
        computed_by="theory",
        ranks=chosen,
        risk=risk,
        stderr=None,
        fft_risk=full.risk,
        fft_stderr=None,
        difference=difference,
        difference_stderr=None,
        moments=problem.moments,
        formula=formula,
        notes=tuple(dict.fromkeys(note for note in said if note)),
        flagged=flagged & flags,
        fft_flagged=full.flagged and flags,
        fft_formula=full.formula,
    )


def _of_entries(problem: Problem, ranks: np.ndarray, correction: bool) -> RiskCurve:
    """The curve of Gaussian inputs, flagged where the kurtosis of the entries may move it by more than 1 %."""
    error = iid_entries.relative_error(problem)
    if error > _LARGEST_ERROR:
        raise NumericalFailure(
            f"input_law: expected an error by the fourth moment of at most {_LARGEST_ERROR:g}, received {error:.3g} "
            f"for {problem.input_law.text}: LoRA's risk is too far from that on Gaussian inputs; raise n, or simulate"
        )
    found = gaussian_curve.expected_risk(problem.replace(input_law="gaussian"), ranks, correction=correction)
    if error * (1.0 if problem.ridge > 0 else _AT_MOST) <= _UNFLAGGED:
        return found
    said = (*found.notes, iid_entries.note(problem))
    return RiskCurve(**{**vars(found), "notes": said, "flagged": np.ones(len(ranks), dtype=bool)})


def _rank_of_full_fit(problem: Problem) -> int:
    """The rank at which LoRA is FFT: max_rank, or without noise that of the shift."""
    if problem.noise_trace > 0:
        return problem.max_rank
    return min(problem.max_rank, int(np.count_nonzero(problem.whitened_spectrum)))
