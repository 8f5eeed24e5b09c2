"""What lies between bands: poles of a corrected trace in gaps of the spectrum.

Close to a threshold the correction (`contours.threshold`) has poles of its own where 1 + q = 0, q = Tr Sigma_eps Q, and
for n > dx where Tr G_00 = 0. Both are Stieltjes transforms of positive measures but for a constant, so that they change
sign once on a gap at most.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.theory.bands.edges import Edges
from linreg_lora.theory.bands.rational import Curve, Overdetermined
from linreg_lora.theory.contours.corrected import Equations
from linreg_lora.theory.contours.solver import States

_NODES, _RADIUS = 48, 0.4
#: In units of the curve's: zeta at infinity, and to what places are known.
_FAR, _KNOWN = 1e8, 1e-14


class Atom(NamedTuple):
    """A pole at `z` and its masses, of which that of directions is zero."""

    z: float
    masses: Float[np.ndarray, "c"]


def atoms(curve: Curve, equations: Equations, edges: Edges) -> list[list[Atom]]:
    """The poles in the gap above each band."""
    near = equations.near
    if near is None:
        return [[] for _ in edges.upper]
    high = np.append(_FAR * curve.size, edges.lower[:-1])
    # Next to the ends, where a gap may have a pole of the curve, nothing changes sign.
    ends = edges.upper + _KNOWN * np.abs(edges.upper), high - _KNOWN * np.abs(high)
    signs = [np.sign(_growing(curve, equations, end)) for end in ends]
    found = []
    for gap, (low, up) in enumerate(zip(*ends, strict=True)):
        changes = np.flatnonzero(signs[0][:, gap] * signs[1][:, gap] < 0).tolist()
        places = [_zero(curve, equations, which, low, up) for which in changes]
        found.append([])
        for place in places:
            others = [low, up, *(other for other in places if other != place)]
            masses = _masses(curve, equations, place, _RADIUS * min(abs(place - other) for other in others))
            found[-1].append(Atom(float(curve(np.array([place])).z[0]), masses))
    return found


def _growing(curve: Curve, equations: Equations, zeta: Float[np.ndarray, "p"]) -> Float[np.ndarray, "f p"]:
    """What changes sign at poles, at real zeta of gaps."""
    assert equations.near is not None
    traces = np.real(equations.solver.equation.traces(curve(zeta).z, curve.unknowns(zeta)[0]))
    functions = [1 + equations.near.noise * traces[0]]
    return np.stack([*functions, -traces[1]] if isinstance(curve, Overdetermined) else functions)


def _zero(curve: Curve, equations: Equations, which: int, low: float, high: float) -> float:
    from scipy.optimize import root_scalar

    found = root_scalar(
        lambda zeta: float(_growing(curve, equations, np.array([zeta]))[which, 0]),
        bracket=(low, high), method="brentq", xtol=_KNOWN * curve.size,
    )  # fmt: skip
    return float(found.root)


def _masses(curve: Curve, equations: Equations, place: float, radius: float) -> Float[np.ndarray, "c"]:
    """Minus the residues in z at a real zeta."""
    around = radius * np.exp(2j * np.pi * (np.arange(_NODES) + 0.5) / _NODES)
    zeta = place + around
    at = curve(zeta)
    states = States(*curve.unknowns(zeta), np.zeros(_NODES), np.ones(_NODES, dtype=bool))
    return -np.mean(equations.integrand(at.z, states) * at.first * around, axis=1).real
