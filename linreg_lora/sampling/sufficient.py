"""Sufficient statistics drawn directly: exact in law, with a cost free of n (n >= dx) or of dx (n < dx).

The excess risk of FFT and LoRA depends on the data only through a design that is no larger than min(n, dx) on a side
(plus the rank of Delta when n < dx). These samplers draw that small design; estimators then treat it as data.

n >= dx.  X X^T has the law of C L L^T C^T, C = Sigma^{1/2}, with the Bartlett factor L: lower triangular, independent,
    L_ii = sqrt(chi2_{n-i+1}), i = 1..dx,  N(0, 1) below the diagonal; and given X, E X^T has the law of
    N (C L)^T with N dy x dx, columns iid N(0, Sigma_eps). So (C L, Delta C L + N) replaces (X, R).

n < dx, Sigma = I.  With rho >= rank(Delta) and coordinates that put the row space of Delta first, X = [Z1; Z2], Z1
    rho x n. Rows of Z2 matter only through Z2^T Z2 ~ Wishart_n(dx - rho) = T T^T, T its Bartlett factor. So
    ([Z1; T^T], Delta Z1 + E) replaces (X, R): D D^T and D Delta^T keep their joint law. When dx - rho < n, Z2 itself
    is small: all of X is drawn.

Source: Bartlett 1933; Muirhead, Aspects of Multivariate Statistical Theory, Theorem 3.2.14.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def bartlett_factor(key: Key[Array, ""], size: int, dof: Float[Array, ""]) -> Float[Array, "size size"]:
    """Lower triangular L with L L^T ~ Wishart_size(I, dof), dof >= size (dof may be traced)."""
    key_diagonal, key_lower = jax.random.split(key)
    diagonal = jnp.sqrt(jax.random.chisquare(key_diagonal, dof - jnp.arange(size, dtype=float)))
    lower = jnp.tril(jax.random.normal(key_lower, (size, size)), -1)
    return lower + jnp.diag(diagonal)


def tall_design(key: Key[Array, ""], n: int, rho: int, rest: int, dof: Float[Array, ""]) -> Float[Array, "p n"]:
    """The design [Z1; T^T] of an underdetermined problem with isotropic inputs, p = rho + rest rows.

    `rest` = n rows stand for the dx - rho = `dof` >= n directions that Delta does not see. With `rest` = 0 all
    directions are drawn as they are, rho = dx: fewer than n more would not be worth a distinction.
    """
    key_seen, key_unseen = jax.random.split(key)
    seen = jax.random.normal(key_seen, (rho, n))
    return jnp.concatenate([seen, bartlett_factor(key_unseen, n, dof).mT]) if rest else seen
