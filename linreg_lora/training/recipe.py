"""How to train: optimiser, learning rate, schedule, start, scaling of the product, decay."""

import dataclasses
from enum import StrEnum

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.training.starts import Start


class Optimiser(StrEnum):
    """All take the gradient over all samples: the statistics that are kept have no minibatches."""

    GD = "gd"
    MOMENTUM = "momentum"
    ADAM = "adam"
    ADAMW = "adamw"


class Schedule(StrEnum):
    """What multiplies the learning rate at step t = 0, 1, ... of T: 1, or 1 - t/T."""

    CONSTANT = "constant"
    LINEAR = "linear"


class Scaling(StrEnum):
    """g in D = g B A: alpha/r, alpha/sqrt(r) (rsLoRA) or alpha."""

    LORA = "lora"
    RSLORA = "rslora"
    CONSTANT = "constant"


#: Adam moves each entry by about its learning rate at first, whatever the units of the loss.
ADAM_LEARNING_RATE = 1e-2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the factors of D = g B A, or D itself in full fine-tuning, are trained.

    | field           | meaning                                                                                       |
    |-----------------|-----------------------------------------------------------------------------------------------|
    | `optimiser`     | gd, momentum (heavy ball), adam, adamw                                                        |
    | `learning_rate` | of A, and of D in full fine-tuning; None: the rule of `learning_rates`, 0.01 for adam and adamw|
    | `ratio`         | eta_B / eta_A, as in LoRA+                                                                    |
    | `schedule`      | constant, or linear (decay to 0); None: linear for adam and adamw, constant otherwise         |
    | `steps`         | T                                                                                             |
    | `start`         | text of a `Start`: kaiming, gaussian, normal, orthogonal:K, balanced:D, spectral:T            |
    | `alpha`         | of the scaling; None: 2 r for lora, so that g = 2, and 2 otherwise                            |
    | `scaling`       | lora, rslora, constant                                                                        |
    | `weight_decay`  | lam, on both factors (or on D)                                                                |
    | `decoupled`     | whether it is taken off the step (eta lam theta), not the gradient; None: for adamw           |
    | `momentum`      | beta of heavy ball, v <- beta v + gradient                                                    |
    | `betas`, `eps`  | of adam and adamw                                                                             |

    At constant learning rate Adam does not settle: it keeps jumping about the minimum. Raises `InvalidInput` with
    field, expected and received.

    >>> from linreg_lora import training
    >>> recipe = training.Recipe(optimiser="adamw", scaling="rslora")
    >>> f"g = {recipe.scale(4)}, {recipe.used_schedule} schedule, decay {recipe.is_decoupled and 'decoupled'}"
    'g = 1.0, linear schedule, decay decoupled'
    """

    optimiser: Optimiser | str = Optimiser.GD
    learning_rate: float | None = None
    ratio: float = 1.0
    schedule: Schedule | str | None = None
    steps: int = 2000
    start: Start | str = "kaiming"
    alpha: float | None = None
    scaling: Scaling | str = Scaling.LORA
    weight_decay: float = 0.0
    decoupled: bool | None = None
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("optimiser", validation.choice("optimiser", self.optimiser, Optimiser))
        put("scaling", validation.choice("scaling", self.scaling, Scaling))
        if self.schedule is not None:
            put("schedule", validation.choice("schedule", self.schedule, Schedule))
        put("start", Start.parse(self.start))
        put("steps", validation.positive_integer("steps", self.steps))
        for name in ("learning_rate", "alpha"):
            if getattr(self, name) is not None:
                put(name, _positive(name, getattr(self, name)))
        put("ratio", _positive("ratio", self.ratio))
        put("eps", _positive("eps", self.eps))
        put("weight_decay", validation.nonnegative_number("weight_decay", self.weight_decay))
        put("momentum", _share("momentum", self.momentum))
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise InvalidInput("betas", "two numbers in [0, 1)", self.betas)
        put("betas", tuple(_share("betas", beta) for beta in self.betas))
        if self.decoupled is not None and not isinstance(self.decoupled, bool):
            raise InvalidInput("decoupled", "True, False or None", self.decoupled)

    def scale(self, rank: int) -> float:
        """g of a rank."""
        if self.alpha is None:
            return 2.0 / (rank**0.5 if self.scaling is Scaling.RSLORA else 1.0)
        return self.alpha / {Scaling.LORA: rank, Scaling.RSLORA: rank**0.5, Scaling.CONSTANT: 1}[Scaling(self.scaling)]

    @property
    def start_text(self) -> str:
        """The start as it is written."""
        return Start.parse(self.start).text

    @property
    def is_adaptive(self) -> bool:
        """Whether steps are scaled entry by entry."""
        return self.optimiser in (Optimiser.ADAM, Optimiser.ADAMW)

    @property
    def used_schedule(self) -> Schedule:
        """The schedule, by default that of the optimiser."""
        if self.schedule is not None:
            return Schedule(self.schedule)
        return Schedule.LINEAR if self.is_adaptive else Schedule.CONSTANT

    @property
    def decay_in_loss(self) -> float:
        """lam of the loss with (lam/2)(||A||^2 + ||B||^2) whose stationary points are those of the steps.

        Coupled decay is that. Decoupled, plain descent makes the same steps; heavy ball, where at rest v is
        gradient / (1 - beta), has (1 - beta) lam; Adam, whose steps at rest do not know the size of a gradient, none.
        """
        if not self.is_decoupled or self.optimiser is Optimiser.GD:
            return self.weight_decay
        return 0.0 if self.is_adaptive else (1 - self.momentum) * self.weight_decay

    @property
    def is_decoupled(self) -> bool:
        """Whether decay is decoupled, by default as the optimiser has it."""
        return self.optimiser is Optimiser.ADAMW if self.decoupled is None else self.decoupled


def _positive(field: str, value: object) -> float:
    number = validation.nonnegative_number(field, value)
    if number == 0:
        raise InvalidInput(field, "a number > 0", value)
    return number


def _share(field: str, value: object) -> float:
    number = validation.nonnegative_number(field, value)
    if number >= 1:
        raise InvalidInput(field, "numbers in [0, 1)", value)
    return number
