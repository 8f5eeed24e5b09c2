"""All ranks from one sweep over the bands of a spectrum, for problems without ridge whose equation is a curve.

Each band needs some dozens of points, however many ranks lie in it. A sweep is certified, or is none: bands hold whole
numbers of directions, all that there are; the closed forms of N and delta N (`contours.pencil`, `contours.correction`)
agree at the cut of every rank, and states there are proper.
"""

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora.problem import Problem
from linreg_lora.theory import fft
from linreg_lora.theory.bands.integrals import Band
from linreg_lora.theory.bands.spectrum import WHOLE, Spectrum, spectrum_of
from linreg_lora.theory.contours.measured import Measured, Side, is_outside
from linreg_lora.theory.contours.modes import Pretraining

#: How near cuts come to their ranks, delta N to its closed form, and FFT to its own, relatively.
_COUNT, _MOVED, _FFT = 1e-8, 1e-6, 1e-7
_STEPS = 30
#: As for cuts found one by one (`contours.cuts`, `contours.shift`).
_HALF, _LONGEST_HALF, _CLOSE, _LONGEST, _FARTHEST, _SHIFTS = 0.5, 0.5, 1e-9, 0.3, 0.3, 12


def sweep(
    problem: Problem, ranks: Float[np.ndarray, "m"], *, correction: bool, pretraining: Pretraining = None
) -> Measured | None:
    """What lies above the cuts of ranks strictly between 0 and full rank; None where contours must find it."""
    if problem.ridge > 0:
        return None
    spectrum = spectrum_of(problem, pretraining, correction=correction)
    if spectrum is None or not _is_whole(problem, spectrum):
        return None
    return _measured(spectrum, ranks)


def _is_whole(problem: Problem, spectrum: Spectrum) -> bool:
    """Whether all bands together are FFT."""
    last = spectrum.bands[-1]
    whole = last.above + last.whole
    raw, change = (part[1] - 2 * part[2] for part in (whole[:4], whole[4:] if len(whole) > 4 else np.zeros(4)))
    total = problem.pretrained_risk + raw + change * fft.pole_factor(problem)
    off = abs(total - fft.as_lora(problem, correction=len(whole) > 4))
    return bool(off <= _FFT * problem.pretrained_risk + _FFT * total)


def _measured(spectrum: Spectrum, ranks: Float[np.ndarray, "m"]) -> Measured | None:
    bands, columns, m = spectrum.bands, spectrum.equation.columns, len(ranks)
    corrected = columns > 4
    values, density, x, width, more = (np.zeros((m, *s)) for s in ((columns,), (columns,), (), (), (8,)))
    known = np.zeros(m, dtype=bool)
    for place, part in enumerate(bands):
        last = part.above[0] + part.whole[0]
        on_gap = np.abs(ranks - last) <= WHOLE
        if np.any(on_gap) and place + 1 < len(bands):
            low, high = (np.log(b.scale.z(np.array([t]))[0]) for b, t in ((bands[place + 1], 0.0), (part, np.pi)))
            x[on_gap], width[on_gap] = np.exp((low + high) / 2), high - low
            outliers = [atom.masses for atom in spectrum.atoms[place + 1] if np.log(atom.z) > (low + high) / 2]
            values[on_gap] = part.above + part.whole + np.sum(outliers, axis=0)
        inside = np.flatnonzero((ranks > part.above[0] + WHOLE) & (ranks < last - WHOLE))
        if not inside.size:
            continue
        theta = _cuts(part, ranks[inside])
        at = part.at(theta)
        x[inside], values[inside] = part.scale.z(theta), at.values
        density[inside] = (x[inside] / part.scale.slope(theta))[:, None] * at.slope
        if not _is_certified(spectrum, part, theta, ranks[inside], at.values):
            return None
        if corrected:
            moved, ok = _moved(part, theta, ranks[inside], x[inside], density[inside])
            more[inside[ok]] = part.at(moved[ok]).values - values[inside[ok]]
            known[inside[ok]] = True
    if np.any(x == 0):
        return None
    sides, spread = None, np.ones(m)
    delta = values[:, 4:] if corrected else np.zeros((m, 4))
    if corrected:
        sides, spread = _sides(spectrum, x, density)
    return Measured(ranks, values[:, 0], density[:, :4], width, values[:, :4], delta, known, more, sides, spread, {})


def _cuts(part: Band, ranks: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    """theta where N is each rank, by Newton's method from a grid, inside the bracket that its neighbours make."""
    intervals = 4 * len(part.density)
    grid, counts = np.linspace(0, np.pi, intervals + 1), part.counts(intervals)
    place = np.clip(np.searchsorted(counts, ranks), 1, len(grid) - 1)
    low, high = grid[place - 1], grid[place]
    theta = low + (high - low) * (ranks - counts[place - 1]) / (counts[place] - counts[place - 1])
    for _ in range(_STEPS):
        at = part.at(theta)
        error = at.values[:, 0] - ranks
        low, high = np.where(error < 0, theta, low), np.where(error > 0, theta, high)
        if np.all(np.abs(error) <= _COUNT * _COUNT + 4 * np.finfo(float).eps * ranks):
            break
        step = theta - error / at.slope[:, 0]
        theta = np.where((step > low) & (step < high), step, (low + high) / 2)
    return theta


def _is_certified(
    spectrum: Spectrum, part: Band, theta: np.ndarray, ranks: np.ndarray, values: Float[np.ndarray, "m c"]
) -> bool:
    """Whether N and delta N are those of their closed forms at cuts."""
    x, equations = part.scale.z(theta), spectrum.equation.at(theta)
    states = spectrum.equation.states(part.zeta(theta), x + 0j)
    count = equations.solver.equation.count(x + 0j, states.w)
    good = bool(np.all(states.proper)) and bool(np.all(np.abs(count - ranks) <= _COUNT * (1 + ranks)))
    if not (good and equations.shares):
        return good
    off = equations.moved_inside(x + 0j, states.w) - values[:, 4]
    return bool(np.all(np.abs(off - np.round(2 * off) / 2) <= _MOVED))


def _moved(
    part: Band, theta: np.ndarray, ranks: np.ndarray, x: np.ndarray, density: Float[np.ndarray, "m c"]
) -> tuple[Float[np.ndarray, "m"], Bool[np.ndarray, "m"]]:
    """theta where N + delta N is each rank, by Newton's method, and where it was found (`contours.shift`)."""
    at, slope = part.at(theta), density[:, 0]
    found = np.zeros(len(ranks), dtype=bool)
    for _ in range(_SHIFTS):
        error = at.values[:, 0] + at.values[:, 4] - ranks
        found = np.abs(error) < _CLOSE
        if np.all(found | ~np.isfinite(error)):
            break
        x = x * np.exp(np.where(found, 0.0, np.clip(error / slope, -_LONGEST, _LONGEST)))
        theta = part.scale.theta(x)
        at = part.at(theta)
        slope = x / part.scale.slope(theta) * (at.slope[:, 0] + at.slope[:, 4])
    found = np.abs(at.values[:, 0] + at.values[:, 4] - ranks) < _CLOSE
    near = np.abs(at.values[:, 0] - ranks) < _FARTHEST
    return theta, found & near & (slope > 0)


def _sides(
    spectrum: Spectrum, x: Float[np.ndarray, "m"], density: Float[np.ndarray, "m 8"]
) -> tuple[tuple[Side, Side], Float[np.ndarray, "m"]]:
    """Half a direction above and below each cut, by its density."""
    with np.errstate(divide="ignore"):
        step = np.minimum(_HALF / density[:, 0], _LONGEST_HALF)
    sides, counts = [], []
    own = spectrum.at(x)[0][:, 0]
    for turn in (1, -1):
        values, there = spectrum.at(x * np.exp(turn * step))
        outside = is_outside(there[:, 0], density[:, 0])
        sides.append(Side(np.where(outside, own, values[:, 0]), np.where(outside[:, None], density, there)))
        counts.append(values[:, 0])
    return (sides[0], sides[1]), counts[1] - counts[0]
