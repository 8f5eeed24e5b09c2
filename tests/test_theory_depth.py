"""The bound on an adapted network's output gap: random networks, adversarial networks, and where it fails."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from linreg_lora.errors import InvalidInput
from linreg_lora.theory.depth import output_gap, output_gap_bound

LAYERS, WIDTH = 3, 4
ACTIVATIONS = {
    "linear": (lambda h: h, 1.0),
    "ReLU": (lambda h: jnp.maximum(h, 0.0), 1.0),
    "half ReLU": (lambda h: 0.5 * jnp.maximum(h, 0.0), 0.5),
    "leaky, slopes 2 and -1": (lambda h: jnp.where(h > 0, 2 * h, -h), 2.0),
    "tanh": (jnp.tanh, 1.0),
}


def bounds(weights, adapters, x, lipschitz, *, linear_output=False):
    """`output_gap_bound` of every network in a batch, with one W per network and with one norm per layer."""
    norms = np.linalg.norm(np.stack([weights, adapters]), 2, axis=(-2, -1))
    sizes = np.linalg.norm(x, axis=-1)
    uniform, layerwise = [], []
    for w, phi, size in zip(*norms, sizes, strict=True):
        options = {"lipschitz": lipschitz, "input_norm": size, "linear_output": linear_output}
        uniform.append(output_gap_bound([np.max(w)] * len(w), phi, **options))
        layerwise.append(output_gap_bound(w, phi, **options))
    return np.array(uniform), np.array(layerwise)


@functools.partial(jax.jit, static_argnums=(3, 4))
def gaps(weights, adapters, x, activation, linear_output=False):
    def one(w, phi, x):
        return jnp.linalg.norm(output_gap(list(w), list(phi), x, activation, linear_output=linear_output))

    return jax.vmap(one)(weights, adapters, x)


def networks(count, seed=0):
    """Gaussian networks whose layers and adapters have norms over three orders of magnitude; some of rank one."""
    rng = np.random.default_rng(seed)
    matrices = rng.standard_normal((2, count, LAYERS, WIDTH, WIDTH))
    rank_one = rng.standard_normal((2, count, LAYERS, WIDTH, 1)) * rng.standard_normal((2, count, LAYERS, 1, WIDTH))
    chosen = np.where(rng.random((2, count, 1, 1, 1)) < 0.3, rank_one, matrices)
    chosen *= 10 ** rng.uniform(-1.5, 1.5, (2, count, LAYERS, 1, 1))
    return chosen[0], chosen[1], rng.standard_normal((count, WIDTH))


def test_by_hand():
    """(2 + 1)(3 + 1/2) - 2 * 3 = 9/2; L = 1/2 halves every factor; W = 2: 3 * 2.5 - 4; with one L only, half that."""
    assert output_gap_bound([2, 3], [1, 0.5]) == 4.5
    assert output_gap_bound([2, 3], [1, 0.5], lipschitz=0.5, input_norm=2.0) == 2.25
    assert output_gap_bound([2, 2], [1, 0.5]) == 3.5
    assert output_gap_bound([2, 2], [1, 0.5], lipschitz=0.5, linear_output=True) == 1.75
    assert output_gap_bound([2, 3], [0, 0]) == 0.0


def test_small_adapters_lose_no_digits():
    w, phi = [3.0, 0.7, 11.0, 2.0], [1e-18, 3e-17, 0.0, 2e-18]
    product = functools.reduce(lambda p, f: p * f, (Fraction(a) + Fraction(b) for a, b in zip(w, phi, strict=True)))
    exact = product - functools.reduce(lambda p, f: p * f, map(Fraction, w))
    np.testing.assert_allclose(output_gap_bound(w, phi), float(exact), rtol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_random_network_exceeds_the_bound(name):
    """4096 networks. Rounding of the forward pass is below 1e-13 of the adapted network's largest possible output."""
    activation, lipschitz = ACTIVATIONS[name]
    weights, adapters, x = networks(4096)
    gap = np.asarray(gaps(*map(jnp.asarray, (weights, adapters, x)), activation))
    uniform, layerwise = bounds(weights, adapters, x, lipschitz)
    norms = np.linalg.norm(np.stack([weights, adapters]), 2, axis=(-2, -1))
    rounding = 1e-13 * np.prod(lipschitz * (norms[0] + norms[1]), axis=1) * np.linalg.norm(x, axis=1)
    assert np.all(gap <= layerwise + rounding)
    assert np.all(layerwise <= uniform * (1 + 1e-14))
    # Without the interaction of adapters, sum_k alpha_k prod_{j != k} L w_j, it is no bound.
    first_order = np.array([output_gap_bound(w, 1e-9 * phi) * 1e9 for w, phi in zip(*norms, strict=True)])
    assert np.any(gap > 1.5 * lipschitz**LAYERS * first_order * np.linalg.norm(x, axis=1))


@pytest.mark.parametrize("name", ["linear", "ReLU", "half ReLU"])
def test_aligned_rank_one_layers_attain_the_bound(name):
    activation, lipschitz = ACTIVATIONS[name]
    rng = np.random.default_rng(2)
    u = np.abs(rng.standard_normal((64, WIDTH)))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    scales = 10 ** rng.uniform(-2, 1, (2, 64, LAYERS, 1, 1))
    weights, adapters = scales * (u[:, :, None] * u[:, None, :])[:, None]
    gap = np.asarray(gaps(*map(jnp.asarray, (weights, adapters, u)), activation))
    norms = np.prod(lipschitz * np.sum(scales, axis=0)[..., 0, 0], axis=1)
    np.testing.assert_allclose(gap, bounds(weights, adapters, u, lipschitz)[1], rtol=0, atol=1e-13 * np.max(norms))


# -- adversarial networks -----------------------------------------------------------------------------------------


def smooth_norm(matrix):
    """(Tr (M^T M)^16)^(1/32): at least the spectral norm, equal to it at rank one, and smooth."""
    gram = matrix.T @ matrix
    scale = jnp.trace(gram)
    gram = gram / scale
    for _ in range(4):
        gram = gram @ gram
    return jnp.sqrt(scale) * jnp.trace(gram) ** (1 / 32)


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
@jax.numpy_dtype_promotion("standard")  # optax mixes integer widths
def ascend(weights, adapters, x, activation, lipschitz, linear_output):
    """Adam on log(gap / bound), every network of the batch by itself."""

    def objective(network):
        w, phi, x = network
        gap = output_gap(list(w), list(phi), x, activation, linear_output=linear_output)
        base, added = (lipschitz * jax.vmap(smooth_norm)(part) for part in (w, phi))
        bound = jnp.prod(base + added) - jnp.prod(base)
        return jnp.log(jnp.sum(gap**2) + 1e-30) / 2 - jnp.log(bound) - jnp.log(jnp.linalg.norm(x))

    solver = optax.adam(0.03)

    def run(network):
        def step(carry, _):
            network, state = carry
            gradient = jax.tree.map(jnp.negative, jax.grad(objective)(network))
            updates, state = solver.update(gradient, state)
            return (optax.apply_updates(network, updates), state), None

        return jax.lax.scan(step, (network, solver.init(network)), None, length=400)[0][0]

    return jax.vmap(run)((weights, adapters, x))


def adversarial(name, *, linear_output=False):
    """64 networks before and after ascent, each as a gap and a network."""
    activation, lipschitz = ACTIVATIONS[name]
    rng = np.random.default_rng(3)
    start = (*rng.standard_normal((2, 64, LAYERS, WIDTH, WIDTH)), np.abs(rng.standard_normal((64, WIDTH))))
    found = ascend(*map(jnp.asarray, start), activation, lipschitz, linear_output)
    return [
        (np.asarray(gaps(*map(jnp.asarray, network), activation, linear_output)), tuple(map(np.asarray, network)))
        for network in (start, found)
    ]


@pytest.mark.parametrize("name", ["linear", "ReLU"])
def test_adversarial_networks_approach_the_bound_and_never_pass_it(name):
    """No bound that is smaller by 1e-4 holds. Random networks, where the ascent starts, reach less than half of it."""
    start, end = (gap / bounds(*network, 1.0)[1] for gap, network in adversarial(name))
    assert np.median(start) < 0.5
    assert np.all(end <= 1 + 1e-12)
    assert np.max(end) > 1 - 1e-4


def test_a_linear_last_layer_passes_the_bound_by_the_factor_1_over_l():
    """L = 1/2. Every adversarial network stays below twice the bound, and the ascent comes within 1e-4 of that."""
    _, (gap, network) = adversarial("half ReLU", linear_output=True)
    claimed, valid = (bounds(*network, 0.5, linear_output=linear)[1] for linear in (False, True))
    np.testing.assert_allclose(valid, 2 * claimed, rtol=1e-13)
    assert np.all(gap <= valid * (1 + 1e-12))
    assert np.max(gap / claimed) > 2 * (1 - 1e-4)
    one = [jnp.eye(1), jnp.eye(1)]
    exact = output_gap(one, one, jnp.ones(1), ACTIVATIONS["half ReLU"][0], linear_output=True)
    assert float(exact[0]) == 1.5 == 2 * output_gap_bound([1, 1], [1, 1], lipschitz=0.5)


def test_a_linear_last_layer_is_harmless_from_l_1_on():
    activation, lipschitz = ACTIVATIONS["leaky, slopes 2 and -1"]
    weights, adapters, x = networks(512)
    gap = np.asarray(gaps(*map(jnp.asarray, (weights, adapters, x)), activation, True))
    assert np.all(gap <= bounds(weights, adapters, x, lipschitz)[1] / 2 * (1 + 1e-12))


def test_an_activation_that_moves_zero_breaks_the_bound():
    """phi(h) = h + 1 is 1-Lipschitz; at x = 0 the bound is 0 and the second adapter sees phi(0) = 1."""
    one = [jnp.eye(1), jnp.eye(1)]
    assert float(output_gap(one, one, jnp.zeros(1), lambda h: h + 1)[0]) == 1.0
    assert output_gap_bound([1, 1], [1, 1], input_norm=0.0) == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [1.0, 2.0], {}), "adapter_norms: expected one norm a layer, 1 layers and at least one, received 2"),
        (([], [], {}), "adapter_norms: expected one norm a layer"),
        (([-1.0], [1.0], {}), "weight_norms: expected a finite number >= 0, received -1.0"),
        (([1.0], [np.inf], {}), "adapter_norms: expected a finite number >= 0"),
        (([1.0], [1.0], {"lipschitz": -1}), "lipschitz: expected a finite number >= 0"),
        (([1.0], [1.0], {"input_norm": np.nan}), "input_norm: expected a finite number >= 0"),
    ],
)
def test_bad_norms_are_refused(arguments, message):
    weights, adapters, options = arguments
    with pytest.raises(InvalidInput, match=message):
        output_gap_bound(weights, adapters, **options)
