"""Where training starts: the factors A(0) and B(0).

| name             | A(0), r x dx                          | B(0), dy x r | kappa = mean squared row norm of A(0) |
|------------------|---------------------------------------|--------------|---------------------------------------|
| `kaiming`        | iid uniform on +-1/sqrt(dx)           | 0            | 1/3 (Hugging Face peft's default)     |
| `gaussian`       | iid N(0, 1/r^2)                       | 0            | dx/r^2 (peft's "gaussian")            |
| `normal`         | iid N(0, 1/r)                         | 0            | dx/r                                  |
| `orthogonal:K`   | A A^T = K I, directions Haar          | 0            | K; 1/3 unless given                   |
| `balanced:D`     | sqrt(D/g) V^T, V Haar                 | sqrt(D/g) U  | D/g; singular values of g B A: D      |
| `spectral:T`     | (sigma/g)^{1/2} V^T                   | (sigma/g)^{1/2} U | g B A = (T/lmax(S)) trunc_r(H)   |

`spectral` starts at the best rank-r part of one gradient step of full fine-tuning, of T times the largest eigenvalue's
inverse, as LoRA-One does (and as PiSSA does with A0 instead of the gradient); nothing is taken off the base.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput

#: Names, with the number that each takes; None: it takes none.
STARTS: dict[str, float | None] = {
    "kaiming": None,
    "gaussian": None,
    "normal": None,
    "orthogonal": 1.0 / 3.0,
    "balanced": 1e-3,
    "spectral": 1.0,
}


@dataclasses.dataclass(frozen=True)
class Start:
    """A start by name, with its number where it takes one; `parse` reads kaiming, orthogonal:2 and so on.

    >>> from linreg_lora import training
    >>> training.Start.parse("balanced:0.01")
    Start(name='balanced', size=0.01)
    """

    name: str
    size: float | None = None

    @classmethod
    def parse(cls, text: object) -> "Start":
        """The start that a text names. Raises `InvalidInput` for another."""
        if isinstance(text, cls):
            return text
        expected = f"one of {', '.join(_written(name) for name in STARTS)}"
        name, colon, rest = text.partition(":") if isinstance(text, str) else ("", "", "")
        if name not in STARTS or (colon and STARTS[name] is None):
            raise InvalidInput("start", expected, text)
        if not colon:
            return cls(name, STARTS[name])
        try:
            size = float(rest)
        except ValueError:
            raise InvalidInput("start", expected, text) from None
        if not 0 < size < 1e15:
            raise InvalidInput("start", f"{expected}, with a positive number", text)
        return cls(name, size)

    @property
    def text(self) -> str:
        """As it is written: `parse` reads it."""
        return self.name if self.size is None else f"{self.name}:{self.size:g}"


def _written(name: str) -> str:
    return name if STARTS[name] is None else f"{name}[:NUMBER]"


def factors(
    start: Start,
    rng: np.random.Generator,
    rank: int,
    scale: float,
    gram: Float[np.ndarray, "dx dx"],
    moment: Float[np.ndarray, "dy dx"],
) -> tuple[Float[np.ndarray, "dy r"], Float[np.ndarray, "r dx"]]:
    """B(0) and A(0) of one draw; `scale` g, `gram` S, `moment` H = R X^T / n.

    >>> import numpy as np
    >>> from linreg_lora.training import starts
    >>> start, rng = starts.Start.parse("orthogonal:2"), np.random.default_rng(0)
    >>> b, a = starts.factors(start, rng, 3, 2.0, np.eye(5), np.ones((4, 5)))
    >>> bool(np.allclose(a @ a.T, 2 * np.eye(3))), float(np.abs(b).max())
    (True, 0.0)
    """
    dy, dx = moment.shape
    zero = np.zeros((dy, rank))
    if start.name == "kaiming":
        return zero, rng.uniform(-(dx**-0.5), dx**-0.5, (rank, dx))
    if start.name == "gaussian":
        return zero, rng.standard_normal((rank, dx)) / rank
    if start.name == "normal":
        return zero, rng.standard_normal((rank, dx)) / rank**0.5
    assert start.size is not None
    if start.name == "orthogonal":
        return zero, start.size**0.5 * _haar(rng, dx, rank).T
    if start.name == "balanced":
        root = (start.size / scale) ** 0.5
        return root * _haar(rng, dy, rank), root * _haar(rng, dx, rank).T
    u, s, vt = np.linalg.svd(moment, full_matrices=False)
    root = np.sqrt(start.size * s[:rank] / (np.linalg.eigvalsh(gram)[-1] * scale))
    return u[:, :rank] * root, root[:, None] * vt[:rank]


def _haar(rng: np.random.Generator, size: int, rank: int) -> Float[np.ndarray, "size rank"]:
    """Orthonormal columns, Haar on the Stiefel manifold."""
    q, r = np.linalg.qr(rng.standard_normal((size, rank)))
    return q * np.sign(np.diagonal(r))
