"""Problems for tests of the family of methods, and its linear classes as generators, built by plain NumPy."""

import numpy as np

import linreg_lora as ll

#: Sizes of the reference problem.
DX, DY = 12, 8
_I, _J = np.arange(DY)[:, None], np.arange(DX)[None]


def reference(n=40):
    """A problem without random numbers."""
    shift = 0.2 * np.cos(0.9 * (_I + 2) * (_J + 1))
    shift[range(3), range(3)] += (3, 2, 1)
    return ll.Problem(
        n=n, dx=DX, dy=DY, task_shift=shift, noise_std=1.0, input_covariance=0.5 + 1.5 * np.arange(DX) / 11,
        noise_covariance=0.5 + np.arange(DY) / 7, pretrained=np.cos(0.7 * (_I + 1) * (2 * _J + 1)),
    )  # fmt: skip


def covariance(size, seed, condition=8.0):
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]
    return (turn * np.geomspace(condition, 1, size) / np.sqrt(condition)) @ turn.T


def drawn(n, dx, dy, seed, **changes):
    """A problem with general covariances, and shift and A0 that are neither aligned nor orthogonal."""
    rng = np.random.default_rng(seed)
    settings = {
        "task_shift": 0.4 * rng.standard_normal((dy, dx)), "pretrained": rng.standard_normal((dy, dx)),
        "noise_std": 1.1, "input_covariance": covariance(dx, seed + 1), "noise_covariance": covariance(dy, seed + 2),
    }  # fmt: skip
    return ll.Problem(n=n, dx=dx, dy=dy, **(settings | changes))


def generators(method, a0):
    """Matrices that span a linear class, p x dy x dx: the class as it is defined, not as the package makes it."""
    dy, dx = a0.shape
    name, *settings = method.name.split("+")[0].split(":")
    size = int(settings[0]) if settings else 0
    u, _, v = np.linalg.svd(a0)
    rows, columns = np.eye(dy), np.eye(dx)

    def outer(left, right):
        return [np.outer(one, other) for one in left for other in right]

    if "+" in method.name:
        frozen_b, frozen_a = method.parts
        return np.array(outer(frozen_b.output_factor(dy).T, columns) + outer(rows, frozen_a.input_factor(dx)))
    if name == "vera-b":
        left, right = method.random(dx, dy)
        return np.array([np.outer(one, row) for one, row in zip(rows, left @ right, strict=True)])
    if name == "vera-d":
        left, right = method.random(dx, dy)
        return np.array([np.outer(one, other) for one, other in zip(left.T, right, strict=True)])
    return np.array({
        "fft": lambda: outer(rows, columns),
        "features": lambda: outer(rows, a0[:size]),
        "adapter": lambda: outer(rows, a0),
        "mica": lambda: outer(u.T[dy - size :], columns),
        "lora-xs": lambda: outer(u.T[:size], v[:size]),
        "svf": lambda: [np.outer(one, other) for one, other in zip(u.T, v, strict=False)],
        "tangent": lambda: outer(u.T[:size], columns) + outer(rows, v[:size]),
        "mask": lambda: [np.outer(rows[i], columns[j]) for i in range(dy) for j in range(dx) if (i + j) % size == 0],
        "ia3": lambda: [np.outer(one, other) for one, other in zip(rows, a0, strict=True)],
        "ia3-in": lambda: [np.outer(one, other) for one, other in zip(a0.T, columns, strict=True)],
    }[name]())  # fmt: skip


def least_squares(basis, x, residual):
    """D of a linear class by one joint least squares on all outputs, on one data set."""
    design = (basis @ x).reshape(len(basis), -1).T
    return np.tensordot(np.linalg.lstsq(design, residual.ravel(), rcond=1e-10)[0], basis, 1)
