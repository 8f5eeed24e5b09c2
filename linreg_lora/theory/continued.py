"""Problems between problems: n that is not whole, and singular values in any order, to differentiate formulas by."""

import dataclasses

from linreg_lora.problem import Problem


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Continued(Problem):
    """A problem as the formulas continue it: n need not be whole, nor need singular values be sorted or positive.

    It describes nothing that could be drawn; only formulas take it.
    """

    n: float | int  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]

    def _samples(self) -> float | int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return float(self.n)

    def _consistent_spectrum(self) -> tuple[float, ...]:
        return super()._consistent_spectrum() if self.spectrum is None else tuple(map(float, self.spectrum))

    @property
    def max_rank(self) -> int:
        """That of the nearest whole n."""
        return min(round(self.n), self.input_rank, self.dy)


def continued(problem: Problem) -> Continued:
    """The problem as one whose parameters may be moved by a little."""
    fields = {field.name: getattr(problem, field.name) for field in dataclasses.fields(Problem)}
    if problem.task_shift is not None:
        fields["spectrum"] = None
    return Continued(**fields)
