"""From a claim's domain to the cases it is checked on."""

import numpy as np

from linreg_lora import spectra
from linreg_lora.claims.domains import Domain, GaussianDesign, Shape
from linreg_lora.claims.registry import MatrixSize
from linreg_lora.files.problems import SHAPES
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed

#: Seeds of the fixed random matrices that a domain may ask for; the claim is about all of them, one is as good as any.
_BASIS_SEED, _PRETRAINED_SEED = 1, 2


def cases(domain: Domain) -> list[Problem | MatrixSize]:
    """Every problem, or every matrix size, of a claim's domain."""
    if isinstance(domain, GaussianDesign):
        return [_problem(domain, shape, noise_std) for shape in domain.shapes for noise_std in domain.noise_std]
    return [MatrixSize(rows, columns) for rows, columns in domain.sizes]


def describe(case: Problem | MatrixSize) -> str:
    """One short line that tells a claim's cases apart."""
    if isinstance(case, MatrixSize):
        return f"{case.rows} x {case.columns}"
    return f"n={case.n} dx={case.dx} dy={case.dy} sigma={case.noise_std:g}"


def describe_domain(domain: Domain) -> str:
    """A claim's domain in words, without the sizes of its cases where they are matrices."""
    if not isinstance(domain, GaussianDesign):
        sizes = ", ".join(f"{rows} x {columns}" for rows, columns in domain.sizes)
        return f"{domain.predicate} of {sizes}"
    spectrum = domain.spectrum
    (name,) = SHAPES[spectrum.family]
    value = f"{name} {getattr(spectrum, name):g}"
    shape = value if name == "rank" else f"{spectrum.family} with {value}"
    parts = [
        f"{domain.regime}, |n - dx| >= {domain.least_distance}",
        ", ".join(f"(n {size.n}, dx {size.dx}, dy {size.dy})" for size in domain.shapes),
        f"shift: {shape}, scale {spectrum.scale:g}",
        f"noise std {', '.join(f'{value:g}' for value in domain.noise_std)}",
    ]
    if domain.input_scale != 1:
        parts.append(f"input variance {domain.input_scale:g}")
    if domain.input_condition != 1:
        parts.append(f"condition of Sigma {domain.input_condition:g}")
    if domain.noise_condition != 1:
        parts.append(f"condition of Sigma_eps {domain.noise_condition:g}")
    if domain.pretrained:
        parts.append("random A0")
    if domain.ridge:
        parts.append(f"ridge {domain.ridge:g}")
    return "; ".join(parts)


def seed_of(case: Problem | MatrixSize, seed: int) -> int:
    """A seed for this case's draws: equal cases share their draws, different cases do not."""
    identity = case.fingerprint if isinstance(case, Problem) else repr(case)
    return derived_seed(seed, identity)


def _problem(domain: GaussianDesign, shape: Shape, noise_std: float) -> Problem:
    pretrained = None
    if domain.pretrained:
        pretrained = np.random.default_rng(_PRETRAINED_SEED).standard_normal((shape.dy, shape.dx))
    return Problem(
        n=shape.n,
        dx=shape.dx,
        dy=shape.dy,
        spectrum=domain.spectrum.values(min(shape.dx, shape.dy)),
        noise_std=noise_std,
        input_covariance=_covariance(shape.dx, domain.input_condition, domain.input_scale),
        noise_covariance=_covariance(shape.dy, domain.noise_condition, 1.0),
        pretrained=pretrained,
        ridge=domain.ridge,
    )


def _covariance(size: int, condition: float, scale: float) -> np.ndarray | None:
    if condition == 1:
        return None if scale == 1 else np.full(size, scale)
    values = np.array(spectra.log_spaced(size, condition, scale))[::-1]
    basis = np.linalg.qr(np.random.default_rng(_BASIS_SEED).standard_normal((size, size)))[0]
    return (basis * values) @ basis.T
