"""Excess risk of an update against the planted shift: population risk, not training error.

risk(D) = ||(D - Delta) Sigma^{1/2}||_F^2,      with a mean ||(D - Delta) [Sigma^{1/2}, mu]||_F^2 (`Problem.risk_root`)
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def excess_risk(
    update: Float[Array, "... dy dx"],
    shift: Float[Array, "... dy dx"],
    sigma_sqrt: Float[Array, "dx c"] | None = None,
) -> Float[Array, "..."]:
    """||(D - Delta) Sigma^{1/2}||_F^2, in squared units of y; `sigma_sqrt` None means Sigma = I.

    >>> import linreg_lora as ll
    >>> import jax.numpy as jnp
    >>> shift = jnp.diag(jnp.array([3.0, 2.0]))
    >>> ll.estimators.excess_risk(jnp.diag(jnp.array([3.0, 0.0])), shift).item()
    4.0
    """
    return jnp.sum(_scaled(update - shift, sigma_sqrt) ** 2, axis=(-2, -1))


def excess_risk_path(
    basis: Float[Array, "... dy q"],
    update: Float[Array, "... dy dx"],
    shift: Float[Array, "... dy dx"] | Float[Array, "k"],
    sigma_sqrt: Float[Array, "dx c"] | None = None,
) -> Float[Array, "... ranks"]:
    """Excess risk of D_r = U_r U_r^T D for r = 0..q, without forming any D_r.

        risk(D_r) = sum_{i<=r} ||u_i^T (D - Delta) C||^2 + sum_{i>r} ||u_i^T Delta C||^2
                    + ||(I - U U^T) Delta C||_F^2,            C = Sigma^{1/2}

    `basis` U (orthonormal columns), `update` D, `shift` Delta or, where Sigma = I, its diagonal. All terms are
    positive: nothing cancels. Where U is square the last is zero.

    >>> import linreg_lora as ll
    >>> import jax.numpy as jnp
    >>> shift = jnp.diag(jnp.array([3.0, 2.0]))
    >>> ll.estimators.excess_risk_path(jnp.eye(2), shift, shift).tolist()
    [13.0, 4.0, 0.0]
    """
    kept = basis.mT @ _scaled(update, sigma_sqrt)
    if shift.ndim == 1:
        size = shift.shape[0]
        missed = basis[..., :size, :].mT * shift.reshape((1,) * (basis.ndim - 1) + (-1,))
        error = jnp.sum(kept[..., size:] ** 2, axis=-1) + jnp.sum((kept[..., :size] - missed) ** 2, axis=-1)
        target = jnp.diag(shift)
    else:
        target = _scaled(shift, sigma_sqrt)
        missed = basis.mT @ target
        error = jnp.sum((kept - missed) ** 2, axis=-1)
        size = basis.shape[-2]
    loss = jnp.sum(missed**2, axis=-1)
    zero = jnp.zeros_like(error[..., :1])
    learned = jnp.concatenate([zero, jnp.cumsum(error, axis=-1)], axis=-1)
    unlearned = jnp.concatenate([jnp.cumsum(loss[..., ::-1], axis=-1)[..., ::-1], zero], axis=-1)
    if basis.shape[-1] == basis.shape[-2]:
        return learned + unlearned
    outside = target - basis[..., :size, :] @ missed
    beyond = jnp.sum((basis[..., size:, :] @ missed) ** 2, axis=(-2, -1))
    return learned + unlearned + (jnp.sum(outside**2, axis=(-2, -1)) + beyond)[..., None]


def _scaled(matrix: Float[Array, "... dy dx"], sigma_sqrt: Float[Array, "dx c"] | None) -> Float[Array, "... dy c"]:
    return matrix if sigma_sqrt is None else matrix @ sigma_sqrt
