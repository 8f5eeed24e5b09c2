"""The poison as one more planted direction: what LoRA's residual F holds beside noise, on few coordinates.

F = R Pi, Pi the projector on the row space of X', is planted signal plus noise. The signal lives on a few orthonormal
directions of that space: those of the inputs C = [V, t, v] that the shift, the trigger and the choice single out, and
one more, w, that of what b has beside them. With C^T X' = Y = (sqrt(n) I + t c^T) z + c_w t w^T, b = c z + c_w w, where
c = sqrt(Q/n) v for chosen samples (0 for random ones) and c_w^2 = m - |c|^2,

    n > dx:  H = Y Y^T,  h = Y b:   signal [Delta H^{1/2} + p h^T H^{-1/2},  p sqrt((m - h^T H^{-1} h) dx/n)]
    n < dx:                         signal Delta Y + p b^T

since for n > dx all but the share dx/n of what is left of b falls out of the row space. An orthogonal poison is then
one singular value more, beside sqrt(n) s_i: with delta^2 = m |t|^2

    theta^2 = m |p|^2 (dx + delta^2)/(n + delta^2)  (n > dx),    m |p|^2  (n < dx),
    chosen, no trigger, n > dx:  theta^2 = |p|^2 [ Q/n + (m - Q/n) dx/n ].

Also needed: G, the energy in X'^+ of these directions (1/n of inputs for n > dx, about 1/g of w; of the random poison's
right vector K / (g (K + delta^2)) in all), Delta X'^{+T}, and X'^+ t, on them. Leading order in the dimension; but for
n < dx, random samples and a trigger, G has the exact means of `full` on the rows it is made of, u = t / |t|:

    E u^T X' X'^+ u = al,  E v^T X' X'^+ v = (n - al)/(dx - 1)  (v orthogonal to t),  E u^T X'^{+T} b = success / |t|,
    E |b^T X'^+|^2 = m e / g

The limit of each part of w would be off by 1/g of an energy that a long trigger along the task multiplies by theta^2.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput
from linreg_lora.theory.poisoning import full
from linreg_lora.theory.poisoning.attack import Whitened
from linreg_lora.theory.poisoning.sums import largest_sum_squared, poisson_mean
from linreg_lora.theory.truncation import numerical_rank

#: Lengths below this share of a vector count as 0.
_NONE = 1e-10
#: m |t|^2 / n, whose product with rounding is the relative error of the signal.
_LONGEST = 1e9


class Planted(NamedTuple):
    """Columns are the few directions of the row space: of inputs first, w last.

    `signal`; `energy` G; `answer` Delta X'^{+T}; `response` X'^+ t (zeros without trigger); `poison`, the right factor
    of the poison's part p poison^T of the signal.
    """

    signal: Float[np.ndarray, "dy b"]
    energy: Float[np.ndarray, "b b"]
    answer: Float[np.ndarray, "dy b"]
    response: Float[np.ndarray, "b"]
    poison: Float[np.ndarray, "b"]


def planted(attacked: Whitened) -> Planted:
    """The planted signal of a poisoned problem and what a fit makes of it.

    Raises `InvalidInput` for a trigger so long that rounding hides everything beside it.
    """
    if attacked.leverage > _LONGEST * attacked.n:
        raise InvalidInput("trigger", f"m |t|^2 of at most {_LONGEST:g} n in the spiked model",
                           f"{attacked.leverage:.3g}", "shorten it, or ask poisoned_fft")  # fmt: skip
    inputs = _inputs(attacked)
    shift, t = attacked.shift @ inputs, inputs.T @ attacked.trigger
    mean = np.zeros(len(t))
    if attacked.along is not None:
        mean = np.sqrt(largest_sum_squared(attacked.n, attacked.poisoned) / attacked.n) * (inputs.T @ attacked.along)
    apart = np.sqrt(max(attacked.poisoned - float(mean @ mean), 0.0))
    build = _many_samples if attacked.overdetermined else _few_samples
    return build(attacked, shift, t, mean, apart)


def _many_samples(attacked: Whitened, shift: np.ndarray, t: np.ndarray, mean: np.ndarray, apart: float) -> Planted:
    n, dx, leverage = attacked.n, attacked.dx, attacked.leverage
    rows = np.sqrt(n) * np.eye(len(t)) + np.outer(t, mean)
    values, vectors = np.linalg.eigh(rows @ rows.T + apart**2 * np.outer(t, t))
    root, inverse = (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T
    seen = inverse @ (rows @ mean + apart**2 * t)
    left = np.sqrt(max(attacked.poisoned - float(seen @ seen), 0.0) * dx / n)
    poison = np.append(seen, left)
    signal = np.column_stack([shift @ root, np.zeros(len(shift))]) + np.outer(attacked.target, poison)
    energy = np.zeros((len(t) + 1, len(t) + 1))
    energy[:-1, :-1] = inverse @ inverse
    energy[-1, -1] = (n * dx + (dx + 1) * leverage) / (attacked.gap * dx * (n + leverage))
    answer = np.column_stack([shift @ inverse, np.zeros(len(shift))])
    return Planted(signal, energy, answer, np.append(inverse @ t, 0.0), poison)


def _few_samples(attacked: Whitened, shift: np.ndarray, t: np.ndarray, mean: np.ndarray, apart: float) -> Planted:
    n, dx = attacked.n, attacked.dx
    rows = np.column_stack([np.sqrt(n) * np.eye(len(t)) + np.outer(t, mean), apart * t])
    poison = np.append(mean, apart)
    signal = shift @ rows + np.outer(attacked.target, poison)
    if attacked.leverage == 0:
        energy = np.diag(np.append(np.full(len(t), 1 / dx), 1 / attacked.gap))
    elif attacked.along is None:
        energy = _energy_of_a_trigger(attacked, rows, t, poison)
    else:
        energy = np.linalg.inv(rows.T @ rows + (dx - n) * np.eye(len(poison)))
    response = energy @ rows.T @ t
    return Planted(signal, energy, shift @ rows @ energy, response, poison)


def _energy_of_a_trigger(attacked: Whitened, rows: np.ndarray, t: np.ndarray, poison: np.ndarray) -> np.ndarray:
    """G from the exact means over the rows C^T X' and b, of which the directions are combinations."""
    n, dx, leverage, length = attacked.n, attacked.dx, attacked.leverage, float(np.linalg.norm(t))
    seen = poisson_mean(lambda j: (n + 2 * j) / (dx + 2 * j), leverage / 2)
    other = (n - seen) / (dx - 1)
    exact = np.zeros((len(poison), len(poison)))
    exact[:-1, :-1] = other * np.eye(len(t)) + (seen - other) * np.outer(t, t) / length**2
    exact[-1, :-1] = exact[:-1, -1] = full.called_forth(n, dx, leverage) * t / length**2
    exact[-1, -1] = attacked.poisoned * full.poison_left(n, dx, leverage)
    back = np.linalg.inv(np.vstack([rows, poison]))
    return back @ exact @ back.T


def _inputs(attacked: Whitened) -> np.ndarray:
    """C, dx x c: an orthonormal basis of the inputs that shift, trigger and choice single out."""
    _, s, vt = np.linalg.svd(attacked.shift, full_matrices=False)
    basis = vt[: numerical_rank(s, attacked.shift.shape)].T
    for vector in (attacked.trigger, attacked.along):
        if vector is None or not np.any(vector):
            continue
        rest = vector - basis @ (basis.T @ vector)
        rest -= basis @ (basis.T @ rest)
        if np.linalg.norm(rest) > _NONE * np.linalg.norm(vector):
            basis = np.column_stack([basis, rest / np.linalg.norm(rest)])
    return basis
