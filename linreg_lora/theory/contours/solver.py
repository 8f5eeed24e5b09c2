"""Solutions of a self-consistent equation at many points at once, each certified to be on the branch of the resolvent.

Newton's method from a guess; where that finds nothing, or a solution that is not `proper`, the state at the same |z|
and a large angle, from where the angle is lowered as far as Newton's method follows. At large angles the nearest state
that is known is a guess, and where there is none near enough damped steps lead from infinity. A proper solution is the
right one wherever its guess came from: for Im z > 0 there is no other.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float

from linreg_lora.theory.contours.pencil import Equation

#: Residuals, relative to the unknowns: below the first Newton's method takes its last step; above the second nothing is
#: solved.
_CLOSE, RESIDUAL = 1e-11, 1e-9
_NEWTON_STEPS = 10
#: Of the largest unknown: what others are measured against at least.
_NOTHING = 1e-6
#: Residuals on the way down, from one angle to the next.
_NEAR = 1e-2
#: Where the way down from infinity starts, by how much the angle shrinks, how often at most, and before z is tried.
_ANGLE, _LOWER, _LEVELS, _TRIED = 1.2, 0.3, 40, 3
#: Damped steps from infinity, and from the last angle where Newton's method does not follow.
_DAMPED, _ATTEMPTS = (12, 60, 240, 640), (8, 64, 512)


class States(NamedTuple):
    """Unknowns w at points z, dw / dz, the residual that was left before the last step, and `proper`."""

    w: Complex[np.ndarray, "s p"]
    slope: Complex[np.ndarray, "s p"]
    residual: Float[np.ndarray, "p"]
    proper: Bool[np.ndarray, "p"]

    @property
    def solved(self) -> Bool[np.ndarray, "p"]:
        return self.proper & (self.residual <= RESIDUAL)

    @property
    def near(self) -> Bool[np.ndarray, "p"]:
        """Near enough to go on from."""
        return self.proper & (self.residual < _NEAR)

    def at(self, index: np.ndarray | slice) -> "States":
        return States(*(part[..., index] for part in self))

    def put(self, index: np.ndarray, other: "States") -> None:
        """Take the states of `other` at `index`."""
        for part, new in zip(self, other, strict=True):
            part[..., index] = new


class Solver:
    """The states of one equation, with anchors: states at a large angle, from which the next ones come down."""

    def __init__(self, equation: Equation) -> None:
        self.equation = equation
        self._anchors: tuple[np.ndarray, States] | None = None

    def __call__(
        self, z: Complex[np.ndarray, "p"], guess: Complex[np.ndarray, "s p"] | None = None, levels: int = _LEVELS
    ) -> States:
        """The states at points z with Im z > 0, by Newton's method from `guess` where there is one.

        Few `levels` leave points that are hard to reach, such as those at spectral edges, unsolved.
        """
        with np.errstate(all="ignore"):
            if guess is None:
                return self._from_above(z, levels)
            found = newton(self.equation, z, guess, hopeful=levels == _LEVELS)
            lost = np.flatnonzero(~found.solved)
            if lost.size:
                found.put(lost, self._from_above(z[lost], levels))
            return found

    def _from_above(self, z: Complex[np.ndarray, "p"], levels: int) -> States:
        target = np.angle(z)
        angle = np.maximum(target, _ANGLE)
        here = np.abs(z) * np.exp(1j * angle)
        found = self._at_large_angles(here, _DAMPED if levels == _LEVELS else _DAMPED[:2])
        reached = angle == target
        away = np.flatnonzero(~reached & found.solved)
        for level in range(levels):
            if not away.size:
                break
            before = found.at(away)
            angle[away] = np.maximum(target[away], _LOWER * angle[away])
            lower = np.abs(z[away]) * np.exp(1j * angle[away])
            states = newton(self.equation, lower, before.w + before.slope * (lower - here[away]), close=_NEAR)
            lost = np.flatnonzero(~states.near)
            if lost.size and levels == _LEVELS:
                states.put(lost, _with_damping(self.equation, lower[lost], before.w[:, lost]))
            here[away] = lower
            found.put(away, states)
            away, states = away[states.near], states.at(states.near)
            if level >= _TRIED - 1:
                there = newton(self.equation, z[away], states.w + states.slope * (z[away] - here[away]), hopeful=False)
                found.put(away[there.solved], there.at(there.solved))
                reached[away[there.solved]] = True
                away = away[~there.solved]
        found.proper[~reached] = False
        return found

    def _at_large_angles(self, z: Complex[np.ndarray, "p"], attempts: tuple[int, ...]) -> States:
        """From the nearest anchors; what they do not reach, by damped steps from infinity, and from the new anchors."""
        w = np.repeat(self.equation.start[:, None], len(z), axis=1)
        found = _unsolved(w)
        lost = self._from_anchors(z, found, np.arange(len(z)))
        for steps in attempts:
            if not lost.size:
                break
            w[:, lost] = _damped(self.equation, z[lost], w[:, lost], steps)
            found.put(lost, newton(self.equation, z[lost], w[:, lost]))
            lost = self._from_anchors(z, found, self._keep(z, found, lost))
        return found

    def _from_anchors(self, z: Complex[np.ndarray, "p"], found: States, lost: np.ndarray) -> np.ndarray:
        """Solve what is `lost` from the nearest anchors as long as these become more; returns what is lost still."""
        while lost.size and self._anchors is not None:
            near, states = self._anchors
            place = np.argmin(np.abs(np.log(near) - np.log(z[lost])[:, None]), axis=1)
            states = states.at(place)
            found.put(lost, newton(self.equation, z[lost], states.w + states.slope * (z[lost] - near[place])))
            before, lost = lost, self._keep(z, found, lost)
            if len(lost) == len(before):
                break
        return lost

    def _keep(self, z: Complex[np.ndarray, "p"], found: States, tried: np.ndarray) -> np.ndarray:
        """Make anchors of those among `tried` that are solved; returns the others."""
        solved = found.solved[tried]
        new = z[tried[solved]], found.at(tried[solved])
        if self._anchors is None:
            self._anchors = new if np.any(solved) else None
        else:
            both = zip(self._anchors[1], new[1], strict=True)
            self._anchors = (
                np.concatenate([self._anchors[0], new[0]]), States(*(np.concatenate(two, axis=-1) for two in both))
            )  # fmt: skip
        return tried[~solved]


def newton(
    equation: Equation,
    z: Complex[np.ndarray, "p"],
    guess: Complex[np.ndarray, "s p"],
    *,
    close: float = _CLOSE,
    hopeful: bool = True,
    together: bool = False,
) -> States:
    """A fixed point near a guess, whatever its branch; points that are done are left out of the further steps, unless
    they are worked on `together`, as they must be where the equation has a ridge for each.

    It stops a step after residuals of `close`, and, if not `hopeful`, where a residual does not fall.
    """
    w, slope = guess.astype(complex), np.zeros_like(guess, dtype=complex)
    residual, active = np.full(len(z), np.inf), np.arange(len(z))
    for _ in range(_NEWTON_STEPS):
        everything = len(active) == len(z)
        here = w if everything else w[:, active]
        step = equation.step(z if everything else z[active], here)
        size = relative_size(step.excess, here)
        change, derivative = solve_small(step.system, step.right, step.slope)
        left = ~(size < close) & np.isfinite(size)
        if not hopeful:
            left &= size < 0.5 * residual[active]
        if everything:
            w, slope, residual = here + change, derivative, size
        else:
            w[:, active], slope[:, active], residual[active] = here + change, derivative, size
        if not np.any(left):
            break
        active = active[left] if np.mean(left) < 0.8 and not together else active
    return States(w, slope, residual, equation.proper(w))


def relative_size(excess: np.ndarray, w: np.ndarray) -> Float[np.ndarray, "p"]:
    """The largest of `excess`, of each unknown against itself, or against the largest where it is next to nothing."""
    size = np.abs(w)
    return (np.abs(excess) / (size + _NOTHING * size.max(axis=0))).max(axis=0)


def _with_damping(equation: Equation, z: np.ndarray, start: np.ndarray) -> States:
    """Newton's method after damped steps; more where that does not do."""
    w, lost, found = start.copy(), np.arange(len(z)), _unsolved(start)
    for steps in _ATTEMPTS:
        w[:, lost] = _damped(equation, z[lost], w[:, lost], steps)
        found.put(lost, newton(equation, z[lost], w[:, lost]))
        lost = lost[~found.solved[lost]]
        if not lost.size:
            break
    return found


def _damped(equation: Equation, z: np.ndarray, w: np.ndarray, steps: int) -> np.ndarray:
    """Fixed-point steps at half length, which stay on the branch."""
    for _ in range(steps):
        w = (w + equation.image(z, w)) / 2
    return w


def _unsolved(w: np.ndarray) -> States:
    """Nothing known at any point but where to start from."""
    points = w.shape[1]
    return States(w.copy(), np.zeros_like(w), np.full(points, np.inf), np.zeros(points, dtype=bool))


def solve_small(m: np.ndarray, *rights: np.ndarray) -> list[np.ndarray]:
    """m x = right at every point, one or three unknowns, by elimination."""
    if len(m) == 1:
        return [right / m[0] for right in rights]
    (a, b, c), (d, e, f), (g, h, i) = m
    a = 1 / a
    d, g = d * a, g * a
    e, f, h, i = e - d * b, f - d * c, h - g * b, i - g * c
    e = 1 / e
    h = h * e
    i = 1 / (i - h * f)
    found = []
    for right in rights:
        p, q, r = right
        x, y, z = solution = np.empty_like(right)
        q = q - d * p
        np.multiply(r - g * p - h * q, i, out=z)
        np.multiply(q - f * z, e, out=y)
        np.multiply(p - b * y - c * z, a, out=x)
        found.append(solution)
    return found
