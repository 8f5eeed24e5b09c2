"""Methods whose class is D = M diag(l) A: each names M and A, and the rest follows."""

import abc
from typing import TYPE_CHECKING, Any

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.methods import decoupled, factors, restricted
from linreg_lora.methods.forgetting import Forgotten, of_pieces
from linreg_lora.methods.method import Method, Update, in_size
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Moments, Problem
from linreg_lora.theory.decoupled import DecoupledRisk

if TYPE_CHECKING:
    from linreg_lora.theory.linear_class import LinearClassRisk

#: The next term of an expansion, as a share of the risk, above which a number is flagged.
_DOUBT = 0.01
#: Scales up to which c_2 is computed for a class with misfit: it takes p^4 operations.
_CHECKED = 256
#: The largest share of the next order in what falls with n.
_MOST = 0.25
_EXPANDED = "an expansion in 1/n, whose next order is some {:.0%} of what falls with n"
_UNKNOWN = "an expansion in 1/n, whose next order is not known"


class InputScaling(Method):
    """D = M diag(l) A, l by least squares, ridgeless (`theory.linear_class`); exact where it decouples by output."""

    broadcasts = True

    @abc.abstractmethod
    def scaled(self, pretrained: Any, dx: int, dy: int) -> tuple[Any, Any]:
        """M, dy x p, and A, p x dx (None: the identity)."""

    def decoupled(self, left: np.ndarray, right: np.ndarray | None) -> list[Any] | None:
        """The pieces of the class where it decouples by output (`theory.Piece`), else None."""
        return None

    def parameters(self, problem: Problem) -> int:
        return self.scaled(problem.pretrained, problem.dx, problem.dy)[0].shape[1]

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        from linreg_lora.estimators import arrays
        from linreg_lora.estimators.input_scales import fit_input_scales

        if arrays.ridge_or_none(ridge) is not None:
            raise InvalidInput("ridge", f"0 for {self.name}", ridge)
        x, y, _ = arrays.data(inputs, outputs, pretrained)
        left, right = self.scaled(restricted.known(pretrained), x.shape[-2], y.shape[-2])
        return Update.linear(fit_input_scales(inputs, outputs, left, right, pretrained))

    def risk_of(self, problem: Problem) -> "DecoupledRisk | LinearClassRisk":
        """By the exact risk of `theory.decoupled` where the class decouples, else by `theory.linear_class`."""
        from linreg_lora.theory.decoupled import Piece, decoupled_risk
        from linreg_lora.theory.linear_class import InputScales, input_scales_risk

        factors.require_matrices(problem)
        if problem.ridge > 0:
            raise InvalidInput("ridge", "0", problem.ridge)
        left, right = self.scaled(problem.pretrained, problem.dx, problem.dy)
        pieces = self.decoupled(left, right)
        if pieces is None and problem.dy == 1:  # M diag(l) A = l diag(M) A: one output on features of its own
            pieces = [Piece(None, left.T * (np.eye(problem.dx) if right is None else right))]
        return (
            input_scales_risk(problem, InputScales(left, right)) if pieces is None else decoupled_risk(problem, pieces)
        )

    def moments(self, problem: Problem) -> Moments:
        """Those of m: E risk^k exists where m > 2 k; M and A in general position, p scales.

            m = min(n, n dy - p + 1) for n dy >= p,      p - n dy + 1 for n dy < p,      |n - dx| + 1 where D is any map

        All scales but s of them are 0 on a set of s - 1 dimensions, where n min(s, dy) equations must fail together for
        the normal equations to be singular; s = 1 and s = p are the extremes. With fewer equations than scales it is p
        sums over the equations that must vanish, on a set of n dy - 1 dimensions. Of classes that decouple it is that
        of their outputs.
        """
        from linreg_lora.theory.decoupled import DecoupledRisk

        n, dx, dy = problem.n, problem.input_rank, problem.dy
        found = self._class(in_size(problem))
        if isinstance(found, DecoupledRisk):
            return decoupled.moments_of(found, n, problem.ridge)
        if problem.noise_trace == 0 and found.misspecification == 0:
            return Moments.FINITE
        p = found.dimension
        apart = min(n, n * dy - p + 1) if n * dy >= p else p - n * dy + 1
        apart = abs(n - dx) + 1 if p == dx * dy else apart
        return Moments.NO_MEAN if apart <= 2 else Moments.NO_VARIANCE if apart <= 4 else Moments.FINITE

    def expected_risk(self, problem: Problem) -> MethodRisk:
        from linreg_lora.theory.linear_class import LinearClassRisk

        if not problem.input_law.is_gaussian:
            remedy = "simulate it (monte_carlo)"
            raise InvalidInput("input_law", f"gaussian for {self.name} by theory", problem.input_law.text, remedy)
        found, moments = self.risk_of(problem), self.moments(problem)
        expanded = isinstance(found, LinearClassRisk)
        absent = moments is Moments.NO_MEAN
        left_out = self._left_out(problem, found.dimension) if expanded and not absent else 0.0
        doubtful = expanded and not found.error <= _DOUBT
        said = (_EXPANDED.format(left_out),) if left_out <= _MOST else (_UNKNOWN,)
        notes = (f"{self.name}: {moments} at n = {problem.n}",) if absent else said if doubtful else ()
        return MethodRisk(
            problem=problem,
            method=self.name,
            parameters=self.parameters(problem),
            computed_by="theory",
            risk=float("inf") if absent else found.risk,
            flagged=doubtful,
            moments=moments,
            formula=found.formula,
            notes=notes,
        )

    def _left_out(self, problem: Problem, scales: int) -> float:
        """c_2 / (p n), the share of the next order in what falls with n; inf for too many scales to know it.

        Raises `InvalidInput` where there are fewer equations than scales, and where it exceeds a quarter.
        """
        if problem.n * problem.dy < scales:
            expected = f"n dy >= {scales}, as many equations as scales, for an expansion in 1/n"
            raise InvalidInput("n", expected, problem.n, "simulate it (monte_carlo)")
        if scales > _CHECKED:
            return float("inf")
        silent = problem.replace(task_shift=np.zeros((problem.dy, problem.dx)), noise_covariance=None)
        pure = self._class(silent)
        if isinstance(pure, DecoupledRisk):
            return 0.0
        least = pure.second_order / pure.dimension / _MOST
        if problem.n < least:
            expected = f"at least {least:.3g} samples for an expansion in 1/n"
            raise InvalidInput("n", expected, problem.n, "simulate it (monte_carlo)")
        return _MOST * least / problem.n

    def dimension(self, problem: Problem) -> int | None:
        return self._class(problem).dimension

    def variance_limit(self, problem: Problem) -> float | None:
        return self._class(problem).limit

    def hessian_gap(self, problem: Problem) -> float | None:
        return self._class(problem).gap

    def forgetting(self, problem: Problem, pretraining_covariance: np.ndarray | None = None) -> Forgotten | None:
        """Known where the class decouples: elsewhere misfit moves the mean of l in a way that is not."""
        pieces = self.decoupled(*self.scaled(problem.pretrained, problem.dx, problem.dy))
        if pieces is None or problem.ridge > 0:
            return None
        return of_pieces(problem, pieces, pretraining_covariance)

    def _class(self, problem: Problem) -> "DecoupledRisk | LinearClassRisk":
        """What of its risk does not depend on n, also where n is too small for the expansion."""
        return self.risk_of(problem.replace(n=decoupled.MANY))
