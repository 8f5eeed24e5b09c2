"""Predictions of how far adapters can move the output of a deep network, and their rivals."""

import numpy as np

from linreg_lora.claims.library.depth import NetworkSize
from linreg_lora.claims.registry import Sample, register_prediction


def _bounds(size: NetworkSize, sample: Sample, *, lipschitz: float, linear_output: bool = False) -> np.ndarray:
    from linreg_lora.theory.depth import output_gap_bound

    draws = zip(*(sample.context[name] for name in ("weights", "adapters", "input")), strict=True)
    return np.array(
        [
            output_gap_bound([w] * size.layers, phi, lipschitz=lipschitz, input_norm=x, linear_output=linear_output)
            for w, phi, x in draws
        ]
    )


@register_prediction("network-gap.bound")
def bound(size: NetworkSize, sample: Sample) -> np.ndarray:
    """||x|| [ prod_k (L W + L ||Phi_k||) - (L W)^N ]."""
    return _bounds(size, sample, lipschitz=float(sample.context["lipschitz"]))


@register_prediction("network-gap.bound-linear-output")
def bound_linear_output(size: NetworkSize, sample: Sample) -> np.ndarray:
    """The same with L = 1 on the last layer."""
    return _bounds(size, sample, lipschitz=float(sample.context["lipschitz"]), linear_output=True)


@register_prediction("network-gap.first-order")
def first_order(size: NetworkSize, sample: Sample) -> np.ndarray:
    """||x|| L^N W^{N-1} sum_k ||Phi_k||: the adapters of different layers do not interact."""
    draws, layers = sample.context, size.layers
    path = float(draws["lipschitz"]) ** layers * draws["weights"] ** (layers - 1)
    return draws["input"] * path * draws["adapters"].sum(axis=1)


@register_prediction("network-gap.one-activation")
def one_activation(size: NetworkSize, sample: Sample) -> np.ndarray:
    """L ||x|| [ prod_k (W + ||Phi_k||) - W^N ]: the activation counts once."""
    return float(sample.context["lipschitz"]) * _bounds(size, sample, lipschitz=1.0)
