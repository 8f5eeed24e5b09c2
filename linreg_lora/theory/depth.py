"""How far adapters can move the output of a deep network: a bound by the norms of its layers, and the gap itself.

The network is h_k = phi(W_k h_{k-1}), k = 1..N, without biases, phi L-Lipschitz with phi(0) = 0; adapters replace W_k by
W_k + Phi_k. Let w_k = ||W_k||_2 and alpha_k = L ||Phi_k||_2. Then, for f the adapted and f_0 the pretrained network,

    ||f(x) - f_0(x)|| <= ||x|| [ prod_k (L w_k + alpha_k) - prod_k L w_k ].

By induction: the gap g_k of layer k and the size P_k of its adapted output obey g_k <= L w_k g_{k-1} + alpha_k P_{k-1} and
P_k <= (L w_k + alpha_k) P_{k-1}. Equality holds for linear networks whose layers and adapters are all multiples of one
u u^T, and for ReLU networks where moreover u >= 0. So no smaller function of these norms is a bound.

With w_k = W for all k it is the capacity bound prod_k (L W + alpha_k) - (L W)^N. That bound needs phi on every layer: a
linear last layer divides neither term by L, and for L < 1 the gap can exceed the bound by the factor 1/L.
Source: derived here; arXiv 2505.22355 states a bound of this kind, of which only a summary was available.
"""  # noqa: E501

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Array, Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput


def output_gap_bound(
    weight_norms: Sequence[float | int] | Float[np.ndarray, "_"],
    adapter_norms: Sequence[float | int] | Float[np.ndarray, "_"],
    *,
    lipschitz: float | int = 1.0,
    input_norm: float | int = 1.0,
    linear_output: bool = False,
) -> float:
    """The bound above on ||f(x) - f_0(x)||.

    | argument        | symbol      | meaning                                                       |
    |-----------------|-------------|---------------------------------------------------------------|
    | `weight_norms`  | w_k or W    | spectral norms of the pretrained layers, or bounds on them    |
    | `adapter_norms` | ||Phi_k||_2 | spectral norms of the adapters, one a layer                   |
    | `lipschitz`     | L           | Lipschitz constant of the activation, phi(0) = 0              |
    | `input_norm`    | ||x||       | Euclidean norm of the input                                   |
    | `linear_output` |             | the last layer has no activation: L = 1 there                 |

    Summed from positive terms, so that small adapters lose no digits. Raises `InvalidInput` for negative or non-finite
    numbers and for sequences of different or no length.

    >>> import linreg_lora as ll
    >>> f"{ll.theory.output_gap_bound([1, 1], [0.1, 0.1]):.3f} = 1.1^2 - 1"
    '0.210 = 1.1^2 - 1'
    """
    weights, adapters = (
        [validation.nonnegative_number(name, value) for value in values]
        for name, values in (("weight_norms", weight_norms), ("adapter_norms", adapter_norms))
    )
    if not weights or len(weights) != len(adapters):
        raise InvalidInput("adapter_norms", f"one norm a layer, {len(weights)} layers and at least one", len(adapters))
    slope = validation.nonnegative_number("lipschitz", lipschitz)
    size, gap = validation.nonnegative_number("input_norm", input_norm), 0.0
    for k, (weight, adapter) in enumerate(zip(weights, adapters, strict=True)):
        factor = 1.0 if linear_output and k == len(weights) - 1 else slope
        gap, size = factor * (weight * gap + adapter * size), factor * (weight + adapter) * size
    return gap


def output_gap(
    weights: Sequence[Float[Array, "_ _"]],
    adapters: Sequence[Float[Array, "_ _"]],
    x: Float[Array, "d0"],
    activation: Callable[[Array], Array],
    *,
    linear_output: bool = False,
) -> Float[Array, "dN"]:
    """f(x) - f_0(x): `weights` W_k and `adapters` Phi_k of one shape each, `activation` phi (elementwise).

    A pure function of arrays: differentiate and batch it with JAX.

    >>> import linreg_lora as ll
    >>> import jax
    >>> import jax.numpy as jnp
    >>> layers, adapters = [jnp.eye(2)] * 2, [0.1 * jnp.eye(2)] * 2
    >>> ll.theory.output_gap(layers, adapters, jnp.array([1.0, 0.0]), jax.nn.relu).round(3).tolist()
    [0.21, 0.0]
    """
    pretrained = adapted = x
    for k, (weight, adapter) in enumerate(zip(weights, adapters, strict=True)):
        pretrained, adapted = weight @ pretrained, (weight + adapter) @ adapted
        if not (linear_output and k == len(weights) - 1):
            pretrained, adapted = activation(pretrained), activation(adapted)
    return adapted - pretrained
