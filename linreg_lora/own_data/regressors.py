"""scikit-learn estimators: LoRA and full fine-tuning of a pretrained map; they say what they are worth.

They follow scikit-learn's conventions throughout: pipelines, grid searches, clones and pickles work, and samples are
rows. Needs the extra `sklearn`.
"""

import warnings
from typing import Any, Literal

import numpy as np

from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.own_data.advice import Advice, advised
from linreg_lora.own_data.choice import AUTO, choose, fft_with_ridge
from linreg_lora.own_data.deletion import design
from linreg_lora.own_data.samples import Samples, predicted

try:
    from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise LinregLoraError("estimators need scikit-learn 1.6 or newer: pip install 'linreg-lora[sklearn]'") from None

_LEAST_ROWS = 3


class _FineTuned(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """What both estimators share: predictions of the pretrained map, and an update on top of it."""

    base: Any
    ridge: float | str
    fit_intercept: bool

    def fit(self, X: Any, y: Any) -> "_FineTuned":
        """Fit to rows of inputs and rows of outputs (or one output a row)."""
        given = X
        X, y = validate_data(
            self, X, y, multi_output=True, y_numeric=True, dtype=np.float64, ensure_min_samples=_LEAST_ROWS
        )
        if not isinstance(self.fit_intercept, (bool, np.bool_)):
            raise InvalidInput("fit_intercept", "True or False", self.fit_intercept)
        self._single = y.ndim == 1
        known = self.base is None or hasattr(self.base, "predict")
        self.base_: Any = self.base if known else np.array(self.base)
        y = np.asarray(y, dtype=float)
        y = y[:, None] if self._single else y
        residual = y - self._base(X, y.shape[1], given)
        with np.errstate(over="ignore", invalid="ignore"):
            found = self._advice(Samples(X, residual, None))
        self.advice_ = found
        self.update_, self.factors_ = found.update, found.factors
        self.offset_ = found.offset
        self.rank_, self.ridge_, self.max_rank_ = found.rank, found.ridge, int(found.curve.ranks[-1])
        self.ranks_, self.risk_curve_, self.risk_stderr_ = found.curve.ranks, found.curve.error, found.curve.stderr
        self.fft_risk_, self.noise_std_, self.excess_risk_ = (
            found.curve.fft_error, found.noise_std, found.excess_risk,
        )  # fmt: skip
        self.singular_values_, self.leverage_max_ = found.singular_values, found.leverage
        self.recommendation_, self.notes_ = found.verdict, found.notes
        self._set_coefficients(y.shape[1], X.shape[1])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """What the pretrained map and the update say of rows of inputs."""
        check_is_fitted(self)
        given = X
        X = validate_data(self, X, reset=False, dtype=np.float64)
        found = self._base(X, len(self.update_), given) + X @ self.update_.T + self.offset_
        return found[:, 0] if self._single else found

    def __sklearn_clone__(self) -> "_FineTuned":
        """Unfitted, but for the pretrained map, which is what it was fitted to."""
        found: Any = super().__sklearn_clone__()
        if hasattr(self.base, "predict"):
            found.base = self.base
        return found

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Its own parameters; those of the pretrained map are not to be changed."""
        return super().get_params(deep=False)

    def set_params(self, **params: Any) -> "_FineTuned":
        """Set parameters of its own."""
        nested = next((name for name in params if "__" in name), None)
        if nested is not None:
            raise ValueError(
                f"{nested}: the pretrained map of {type(self).__name__} is fitted and stays as it is: set base"
            )
        return super().set_params(**params)

    def risk_interval(self, level: float = 0.9) -> tuple[float, float]:
        """An interval of the test error (`Advice.interval`)."""
        check_is_fitted(self)
        if not 0 < level < 1:
            raise InvalidInput("level", "a number between 0 and 1", level)
        return self.advice_.interval(level)

    @property
    def probability_lora_beats_fft_(self) -> float:
        """`Advice.probability_lora_beats_fft`."""
        check_is_fitted(self)
        return self.advice_.probability_lora_beats_fft

    def _advice(self, given: Samples) -> Advice:
        raise NotImplementedError

    def _base(self, X: np.ndarray, outputs: int, given: Any) -> np.ndarray:
        if hasattr(self.base_, "predict") and hasattr(self.base_, "feature_names_in_"):
            return predicted(self.base_, X, outputs, given)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="X has feature names")
            return predicted(self.base_, X, outputs, X)

    def _set_coefficients(self, outputs: int, inputs: int) -> None:
        """`coef_` and `intercept_` of the whole map, where it is linear."""
        map_, offset = np.zeros((outputs, inputs)), np.zeros(outputs)
        if hasattr(self.base_, "predict"):
            if not (hasattr(self.base_, "coef_") and hasattr(self.base_, "intercept_")):
                return
            map_ = np.asarray(self.base_.coef_, dtype=float).reshape(outputs, inputs)
            offset = np.broadcast_to(np.asarray(self.base_.intercept_, dtype=float), (outputs,))
        elif self.base_ is not None:
            map_ = np.asarray(self.base_, dtype=float).reshape(outputs, inputs)
        coef, intercept = map_ + self.update_, offset + self.offset_
        self.coef_ = coef[0] if self._single else coef
        self.intercept_ = intercept[0] if self._single else intercept


class LoRARegressor(_FineTuned):
    """LoRA of a pretrained linear map, at the rank and the ridge of least leave-one-out error.

    Parameters
    ----------
    rank : "auto" or int, default "auto"
        Of the update; larger than min(rank X, outputs) is full fine-tuning.
    base : None, array of shape (n_targets, n_features) or fitted estimator, default None
        The pretrained map. Of an estimator only `predict` is used; clones share it, fitted as it is. To search over
        several, wrap each in `sklearn.frozen.FrozenEstimator`: a search clones what it tries.
    ridge : "auto" or float, default "auto"
        Penalty ridge ||D||_F^2 on the update.
    fit_intercept : bool, default True
        Whether the update has an offset, which is not penalised.

    Attributes
    ----------
    update_, offset_, factors_ : the update D, its offset, and B, A with D = B A
    coef_, intercept_ : of the whole map; only where the base is linear
    rank_, ridge_, max_rank_ : what was chosen, and the rank that is full fine-tuning
    ranks_, risk_curve_, risk_stderr_ : leave-one-out test error, summed over targets, at every rank
    fft_risk_ : that of full fine-tuning, with the same ridge
    noise_std_, excess_risk_ : where n exceeds what is fitted, else nan
    recommendation_, notes_ : in words; `advice_` has all of it

    Examples
    --------
    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((60, 8))
    >>> y = x[:, :1] @ np.ones((1, 6)) + rng.standard_normal((60, 6))
    >>> model = ll.LoRARegressor().fit(x, y)
    >>> model.rank_, model.predict(x[:2]).shape
    (1, (2, 6))
    """

    def __init__(
        self,
        rank: int | Literal["auto"] = AUTO,
        *,
        base: Any = None,
        ridge: float | Literal["auto"] = AUTO,
        fit_intercept: bool = True,
    ):
        self.rank, self.base, self.ridge, self.fit_intercept = rank, base, ridge, fit_intercept

    def _advice(self, given: Samples) -> Advice:
        at = design(given.inputs, intercept=self.fit_intercept)
        return advised(given, at, choose(given, at, self.rank, self.ridge))


class FullFineTuningRegressor(_FineTuned):
    """Full fine-tuning of a pretrained linear map; without base and ridge it is least squares.

    Parameters and attributes are those of `LoRARegressor` without `rank`; the default is no ridge, "auto" is the one of
    least leave-one-out error.

    Examples
    --------
    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((60, 8))
    >>> model = ll.FullFineTuningRegressor(base=np.eye(8)).fit(x, x + 0.1 * rng.standard_normal((60, 8)))
    >>> model.rank_ == model.max_rank_ == 8
    True
    """

    def __init__(self, *, base: Any = None, ridge: float | Literal["auto"] = 0.0, fit_intercept: bool = True):
        self.base, self.ridge, self.fit_intercept = base, ridge, fit_intercept

    def _advice(self, given: Samples) -> Advice:
        at = design(given.inputs, intercept=self.fit_intercept)
        ridge = self.ridge
        if isinstance(ridge, str):
            if ridge != AUTO:
                raise InvalidInput("ridge", "auto or a number >= 0", ridge)
            ridge = fft_with_ridge(given, at).ridge
        return advised(given, at, choose(given, at, min(given.residual.shape[1], at.right.shape[0]), ridge))
