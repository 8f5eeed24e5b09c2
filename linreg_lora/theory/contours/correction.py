"""The first-order difference between E M^{-1} and G at finite size, at many points at once.

The leading error is the transpose term of the self-consistent equation of a real matrix. With L free to vary in
w = (L + t)^{-1}, and Y_kl = dG / dL_kl (all four entries independent),

    delta G = G K1 - n G (delta w o V) G,         K1 = sum_kl V_kl Y_kl,
    delta w = -w delta t w + w K2,                (K2)_km = (1/n) sum_l Tr(V_kl Y_ml),
    delta t_kl = Tr(V_lk delta G_kl).

The whole of it is the change of the potential Psi (`pencil`) by one log-determinant,

    delta Psi = (1/2) log det(1 - J) - (1/2) log(1 - J_a),
    J_a = n det(w) [ Tr V_10 G_00 V_01 G_11 - Tr V_10 G_01 V_10 G_01 ],

J: the Jacobian of the fixed point, J_a: that of the antisymmetric part of w. So delta N(x) = Im delta Psi(x + i0) / pi.
"""

import numpy as np
from jaxtyping import Complex, Float

from linreg_lora.theory.contours.blocks import summed
from linreg_lora.theory.contours.pencil import PencilEquation


def correction(equation: PencilEquation, z: Complex[np.ndarray, "p"], w: Complex[np.ndarray, "3 p"]) -> np.ndarray:
    """The four traces of delta G, (4 p): directions, energy, overlap, forgetting."""
    n, blocks = equation.n, equation.blocks
    full = np.array([[w[0], w[1]], [w[1], w[2]]])
    response = summed(block.response(z, w) for block in blocks)
    # dw - w (response . dw) w = right side: four unknowns.
    turned = np.einsum("aep,efcdp->afcdp", full, response)
    system = np.eye(4) - np.einsum("afcdp,fbp->pabcd", turned, full).reshape(-1, 4, 4)
    right = -np.einsum("akp,lbp->pabkl", full, full).reshape(-1, 4, 4)
    inverse = np.linalg.inv(system)
    d_w = np.moveaxis(inverse @ right, 0, -1).reshape(2, 2, 2, 2, -1)
    gk1 = summed(block.transposed(z, w, d_w) for block in blocks)
    k2 = -np.einsum("abmkp,kiabp->imp", d_w, response) / n
    t = gk1[:4].reshape(2, 2, -1)
    change = np.einsum("akp,kbp->abp", full, k2) - np.einsum("akp,klp,lbp->abp", full, t, full)
    delta_w = np.einsum("pab,bp->ap", inverse, change.reshape(4, -1)).reshape(2, 2, -1)
    spread = summed(block.spread(z, w, delta_w) for block in blocks)
    t = t - np.einsum("klmqp,mqp->klp", response, delta_w)
    link = equation.link
    return np.stack([-(gk1[4] - spread[0]), -t[0, 0] / link**2, t[0, 1] / link, -(gk1[5] - spread[1]) / link**2])


def moved(
    equation: PencilEquation, z: Complex[np.ndarray, "p"], w: Complex[np.ndarray, "3 p"]
) -> Float[np.ndarray, "p"]:
    """Im delta Psi / pi, up to whole numbers: delta N at cuts z = x + i0."""
    response = summed(block.response(z, w) for block in equation.blocks)
    # 1 - J is the system of Newton's method times the inverse of what dw -> m dw m is there, det m^3, m = w^{-1}.
    area = w[0] * w[2] - w[1] ** 2
    determinant = np.linalg.det(np.moveaxis(equation.step(z, w).system, -1, 0)) * area**3
    twisted = area * (response[0, 1, 0, 1] - response[0, 1, 1, 0])
    return np.angle(determinant / (1 - twisted)) / (2 * np.pi)
