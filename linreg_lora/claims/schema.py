"""What a claim must state before it can be checked.

Names (of predictions, experiments, predicates) are looked up in `registry`. `file` reads claims from a file.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PrivateAttr, SerializeAsAny, Tag, model_validator

from linreg_lora.claims import registry, settings
from linreg_lora.claims.contested import Answer, Question, require_questions
from linreg_lora.claims.designs import GaussianDesign
from linreg_lora.claims.domains import Domain, case_type, require_growing_sizes
from linreg_lora.claims.moves import MOVES
from linreg_lora.claims.sources import Paper, Source, require_listed, with_statuses
from linreg_lora.claims.vocabulary import Kind, Status, Verdict
from linreg_lora.errors import InvalidInput
from linreg_lora.files.models import Integer, Number, Strict, whole
from linreg_lora.files.problems import Family
from linreg_lora.problem import Problem

#: A test on a mean trusts the normal law 5 to 6 standard errors out only where 8 moments exist: |n - dx| >= 16.
LEAST_DISTANCE_OF_MEANS = 16
#: The largest relative discrepancy that a claim may fail to see.
COARSEST_MEAN, COARSEST_PATHWISE = 0.3, 1e-3
#: A limit that no claim meets on purpose, so that a slip of the pen cannot fill the memory.
LARGEST_TRIALS = 10_000_000
#: A claim that could not tell sizes further apart would say little of them.
LARGEST_UNITS = 1_000

SIZES = ("n", "dx", "dy")
_Setting = Annotated[
    Annotated[Number, Tag("<number>")] | Annotated[str, Tag("<name>")],
    Discriminator(lambda value: "<name>" if isinstance(value, str) else "<number>"),
]
_Units = Annotated[Integer, Field(ge=1, le=LARGEST_UNITS)]
_Share = Annotated[Number, Field(ge=0, lt=1)]


class Experiment(Strict):
    """A registered experiment, the number of its draws, and its settings, numbers or names: what its function's
    annotations say (`settings`)."""

    name: str
    trials: Integer = Field(ge=2, le=LARGEST_TRIALS)
    settings: dict[str, _Setting] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_registered(self) -> "Experiment":
        experiment = registry.experiment(self.name)
        needed = set(experiment.settings)
        if set(self.settings) != needed:
            listed = ", ".join(sorted(needed)) or "none"
            raise ValueError(f"settings of {self.name}: {listed}; not {', '.join(sorted(self.settings)) or 'none'}")
        for setting, may_be in settings.of(experiment.run).items():
            if setting in self.settings and (expected := may_be.objection(self.settings[setting])):
                raise InvalidInput(f"settings.{setting}", expected, whole(self.settings[setting]))
        return self


class Rival(Strict):
    """A plausible wrong prediction that the same data must reject."""

    prediction: str
    mistake: str = Field(min_length=1)

    @model_validator(mode="after")
    def _is_registered(self) -> "Rival":
        registry.prediction(self.prediction)
        return self


class Resolves(Strict):
    """The least units of each size, and the least share of the outputs' variance, that a claim's evidence shows.

    One unit, and a share of `detects`, where nothing is said.
    """

    n: _Units = 1
    dx: _Units = 1
    dy: _Units = 1
    rank: _Units = 1
    shift_rank: _Units = 1
    shift: _Share | None = None
    noise: _Share | None = None


class Claim(Strict):
    """One statement, the domain it is made for, and what it takes to believe it.

    `false_alarm`: probability that a true claim is judged otherwise, over all its comparisons. `detects`: relative
    discrepancy that must be found with probability 0.99; for pathwise claims the relative rounding allowed on any draw.
    `relation`, for pathwise claims: the statistic equals, is at most or is at least the prediction. `rate`, for
    asymptotic claims: the relative error falls at least as fast as d^-rate, and `detects` is its band at the largest
    size. `correction`: the
    id of the claim that holds instead of this one, which needs no rivals then, being itself a rival of its correction.
    `resolves`: what the evidence shows where it does not show a mistake of one unit, or a part of the outputs' variance
    as small as `detects`: size (n, dx, dy, rank, shift_rank) -> units, part (shift, noise) -> its share. See
    `resolution`. `assumes`: what the statement does not leave free (noise_std, shift, shift_rank, input_covariance,
    noise_covariance, ridge, pretrained, n, dx, dy, settings of the experiment; cases of another domain): it is about
    the domain's values only. See `neighbours`.
    `condition` and `outside`: what a statement holds under, and a domain where it is not met and the statement fails.
    `counterexample`: the smallest one found to a statement that fails. `proof`: ids of proofs of the algebra behind it.
    `contested`: the question that it answers, where sources answer differently.

    >>> import linreg_lora as ll
    >>> claim = ll.load_claims().claims[0]
    >>> f"{claim.id}, {claim.kind}: {claim.prediction} against {claim.experiment.trials} draws"
    'prop1-fft-closed-form, pathwise: fft-update.least-squares against 1024 draws'
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    title: str = Field(min_length=1)
    source: Source
    statement: str = Field(min_length=1)
    kind: Kind
    expected: Verdict
    domain: SerializeAsAny[Domain]
    prediction: str
    experiment: Experiment
    false_alarm: Number = Field(ge=0, le=1e-3)
    detects: Number = Field(gt=0, lt=1)
    relation: Literal["equals", "at-most", "at-least"] | None = None
    rate: Number | None = Field(default=None, gt=0, le=4)
    rivals: list[Rival] = Field(default_factory=list)
    correction: str | None = None
    counterexample: str = ""
    condition: str = ""
    outside: SerializeAsAny[Domain] | None = None
    proof: list[str] = Field(default_factory=list)
    contested: Answer | None = None
    resolves: Resolves = Field(default_factory=lambda: Resolves())
    assumes: list[str] = Field(default_factory=list)

    @property
    def domains(self) -> list[Domain]:
        """Where the claim is tested: its domain, and what lies outside of its condition."""
        return [self.domain] if self.outside is None else [self.domain, self.outside]

    def _verdict_is_explained(self) -> None:
        """Every verdict has what it needs, and nothing has what belongs to another."""
        if (self.expected is Verdict.HOLDS_WITH_CORRECTION) != (self.correction is not None):
            raise ValueError("a correction, the id of the claim that holds instead, for holds-with-correction only")
        if (self.expected is Verdict.HOLDS_UNDER) != (self.outside is not None and bool(self.condition)):
            raise ValueError("a condition, and a domain outside of it, for holds-under, and only there")
        failing = self.expected in (Verdict.FAILS, Verdict.HOLDS_WITH_CORRECTION)
        if failing != bool(self.counterexample):
            raise ValueError(
                "a counterexample, the smallest one found, for a statement that fails, and only there: a text, as in "
                '"n = 2, dx = 1: the left side is 4, the right side 3"'
            )
        if self.expected in (Verdict.INCONCLUSIVE, Verdict.UNDECIDABLE):
            raise ValueError("a verdict that evidence can give; what nothing decides here belongs under undecidable")
        if self.source.status is Status.UNREAD:
            raise ValueError("a source that was read; what was not read belongs under undecidable")
        if self.contested is not None and (self.expected is Verdict.HOLDS) != bool(self.contested.under):
            raise ValueError(
                "contested.under, where the answer is right, for a claim that holds, and only there: others say it in "
                "their condition, correction or counterexample"
            )
        if not self.rivals and self.correction is None:
            raise ValueError("at least one rival: a plausible wrong prediction that the same data must reject")

    def _assumes_what_there_is(self) -> None:
        known = [*(MOVES if case_type(self.domain) is Problem else ["cases"]), *self.experiment.settings]
        unknown = [name for name in self.assumes if name not in known]
        if unknown:
            raise InvalidInput("assumes", f"names among {', '.join(known)}", ", ".join(unknown))

    def _fits_its_domain(self) -> None:
        """Experiment and predictions are about the domain's cases, and the experiment's statistic suits the kind."""
        case = case_type(self.domain)
        self._differs_in_its_condition_only()
        if any(type(domain) is not type(self.domain) for domain in self.domains):
            raise ValueError("a domain outside of the condition that is of the same type as the domain inside")
        experiment = registry.experiment(self.experiment.name)
        named = [(self.experiment.name, experiment.case)]
        named += [(p, registry.prediction(p).case) for p in (self.prediction, *(r.prediction for r in self.rivals))]
        for name, its_case in named:
            if its_case is not case:
                raise ValueError(f"names about {case.__name__}, as the domain is; {name} is about {its_case.__name__}")
        if experiment.pathwise != (self.kind is Kind.PATHWISE):
            raise ValueError(
                f"an experiment that measures {'single draws' if self.kind is Kind.PATHWISE else 'means'}, for kind "
                f"{self.kind}; {self.experiment.name} does not"
            )
        more = self._number("more") or 0
        for domain in self.domains:
            if more and isinstance(domain, GaussianDesign) and domain.distance(more) < domain.least_distance:
                least = domain.least_distance
                raise ValueError(f"experiment.settings.more: so few that |n - dx| stays at least {least}, not {more:g}")
        too_large = min((min(size) for domain in self.domains for size in domain.dimensions()), default=math.inf)
        for name, setting in settings.of(experiment.run).items():
            rank = self._number(name)
            if setting.is_rank and rank is not None and rank >= too_large:
                raise InvalidInput(f"experiment.settings.{name}", f"an integer in 1..{too_large - 1}", whole(rank))

    def _differs_in_its_condition_only(self) -> None:
        """Outside of a condition one field of the domain changes: of two, either could be the reason."""
        if self.outside is None or type(self.outside) is not type(self.domain):
            return
        if self.changed.count(",") or not self.changed:
            raise ValueError(
                f"an outside that differs from domain in one field, the condition; it does in {self.changed or 'none'}"
            )

    def _number(self, setting: str) -> float | None:
        """A setting of the experiment that is a number if it is there (`Experiment`)."""
        value = self.experiment.settings.get(setting)
        return value if isinstance(value, float | int) else None

    @property
    def changed(self) -> str:
        """The fields of the domain that are others outside of the condition; of its cases, some are as good as all."""
        if self.outside is None:
            return ""
        fields = [name for name in type(self.domain).model_fields if self._differs(name)]
        if "shapes" in fields and isinstance(self.domain, GaussianDesign) and isinstance(self.outside, GaussianDesign):
            at = fields.index("shapes")
            sizes = _changed_sizes(self.domain, self.outside)
            fields[at : at + 1] = sizes
            # The regime follows from n and dx.
            fields = [name for name in fields if name != "regime" or not {"n", "dx"} & set(sizes)]
        return ", ".join(part for name in fields for part in self._parts_that_differ(name))

    def _parts_that_differ(self, field: str) -> list[str]:
        """Of two spectra their family, or the numbers of one family, and their scale."""
        inside, outside = getattr(self.domain, field, None), getattr(self.outside, field, None)
        if not isinstance(inside, Family) or not isinstance(outside, Family):
            return [field]
        of_another = inside.family != outside.family
        names = ["scale"] if of_another else type(inside).model_fields
        differing = [name for name in names if getattr(inside, name, None) != getattr(outside, name, None)]
        return [field] * of_another + [f"{field}.{name}" for name in differing]

    def _differs(self, field: str) -> bool:
        inside, outside = getattr(self.domain, field), getattr(self.outside, field)
        if isinstance(inside, list) and isinstance(outside, list):
            return not all(one in inside for one in outside)
        return inside != outside

    @model_validator(mode="after")
    def _is_testable(self) -> "Claim":
        self.source.require_words_of_memory(self.title, self.statement, self.counterexample, self.condition)
        self._verdict_is_explained()
        self._fits_its_domain()
        self._assumes_what_there_is()
        if (self.kind is Kind.PATHWISE) != (self.relation is not None):
            raise ValueError("a relation for pathwise claims, and only for these")
        if (self.kind is Kind.ASYMPTOTIC) != (self.rate is not None):
            raise ValueError("a rate for asymptotic claims, and only for these")
        if self.rate is not None:
            for domain in self.domains:
                require_growing_sizes(domain, self.rate)
        if (self.kind is Kind.PATHWISE) != (self.false_alarm == 0):
            raise ValueError("false_alarm: 0 for pathwise claims, which test no mean, and only for these")
        named = [self.prediction, *(rival.prediction for rival in self.rivals)]
        if len(set(named)) < len(named):
            raise ValueError("rivals that differ from the claim's own prediction and from each other")
        coarsest = COARSEST_PATHWISE if self.kind is Kind.PATHWISE else COARSEST_MEAN
        if self.detects > coarsest:
            raise ValueError(f"detects <= {coarsest:g}: what sees less would hold for wrong formulas too")
        if self.kind is Kind.PATHWISE or registry.experiment(self.experiment.name).bounded:
            return self
        for domain in self.domains:
            if isinstance(domain, GaussianDesign) and domain.least_distance < LEAST_DISTANCE_OF_MEANS:
                raise ValueError(
                    f"domain.least_distance >= {LEAST_DISTANCE_OF_MEANS}, so that 8 moments exist and the tail of the "
                    f"mean can be trusted, not {domain.least_distance}"
                )
        return self


def _changed_sizes(inside: GaussianDesign, outside: GaussianDesign) -> list[str]:
    """The sizes in which shapes outside of a condition differ from those inside that are nearest to them."""
    changed: set[str] = set()
    for shape in outside.shapes:
        differing = [{name for name in SIZES if getattr(shape, name) != getattr(near, name)} for near in inside.shapes]
        changed |= min(differing, key=len)
    return [name for name in SIZES if name in changed]


class Undecidable(Strict):
    """A statement that nothing computed here can decide, and why."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    title: str = Field(min_length=1)
    source: Source
    statement: str = Field(min_length=1)
    why: str = Field(min_length=1)
    contested: Answer | None = None

    @model_validator(mode="after")
    def _is_said_as_it_is_known(self) -> "Undecidable":
        self.source.require_words_of_memory(self.title, self.statement, self.why)
        if self.contested is not None and self.contested.under:
            raise ValueError("contested without under: the reason why is where nothing decides it")
        return self


class Slip(Strict):
    """A slip that needs no test: a misprint, or a step that wants a word more. `consequence`: for the results."""

    source: Source
    printed: str = Field(min_length=1)
    correct: str = Field(min_length=1)
    consequence: str = Field(min_length=1)

    @model_validator(mode="after")
    def _was_read(self) -> "Slip":
        if self.source.status is not Status.READ:
            raise ValueError(
                f"a source that was read, where print has a slip, and not one whose status is {self.source.status}"
            )
        return self


class ClaimsFile(Strict):
    """All claims, and the false-alarm level of a whole run, which theirs must not exceed in sum.

    `papers`: their sources, with the status of each; where it is there, it has every one that is named. `questions`:
    those that this file asks beside those of the package (`contested`).

    >>> import linreg_lora as ll
    >>> file = ll.load_claims()
    >>> sum(claim.false_alarm for claim in file.claims) <= file.family_wise_level
    True
    """

    schema_version: Literal[1]
    family_wise_level: Number = Field(gt=0, le=1e-3)
    papers: list[Paper] = Field(default_factory=list)
    questions: list[Question] = Field(default_factory=list)
    claims: list[Claim]
    undecidable: list[Undecidable] = Field(default_factory=list)
    slips: list[Slip] = Field(default_factory=list)
    _shipped: frozenset[str] = PrivateAttr(frozenset())

    @property
    def shipped(self) -> frozenset[str]:
        """Ids of claims that this package ships: its tests have asked whether they hold near their cases."""
        return self._shipped

    def mark_shipped(self, ids: Iterable[str]) -> None:
        self._shipped = frozenset(ids)

    @model_validator(mode="before")
    @classmethod
    def _sources_have_the_status_of_their_paper(cls, content: Any) -> Any:
        return with_statuses(content)

    @model_validator(mode="after")
    def _says_something_of_known_papers_and_questions(self) -> "ClaimsFile":
        if not self.claims and not self.undecidable:
            raise InvalidInput("claims", "at least 1 item, or something under undecidable", [])
        sources = [entry.source for entry in (*self.claims, *self.undecidable, *self.slips)]
        require_listed(self.papers, sources)
        for source in sources:
            source.mark_whose({paper.paper: paper.status for paper in self.papers})
        answers = [entry.contested for entry in (*self.claims, *self.undecidable)]
        require_questions(self.questions, [answer for answer in answers if answer is not None])
        return self

    @model_validator(mode="after")
    def _corrections_hold_and_reject_what_they_correct(self) -> "ClaimsFile":
        by_id = {claim.id: claim for claim in self.claims}
        for claim in self.claims:
            if claim.correction is None:
                continue
            corrected = by_id.get(claim.correction)
            if corrected is None or corrected.expected is not Verdict.HOLDS:
                raise InvalidInput(f"claims.{claim.id}.correction", "the id of a claim that holds", claim.correction)
            if claim.prediction not in {rival.prediction for rival in corrected.rivals}:
                raise InvalidInput(
                    f"claims.{corrected.id}.rivals", f"{claim.prediction} among them, which it corrects",
                    ", ".join(rival.prediction for rival in corrected.rivals),
                )  # fmt: skip
        return self

    @model_validator(mode="after")
    def _ids_are_unique_and_levels_add_up(self) -> "ClaimsFile":
        counted = Counter(claim.id for claim in (*self.claims, *self.undecidable))
        repeated = [claim_id for claim_id, count in counted.items() if count > 1]
        if repeated:
            raise InvalidInput("claims", "unique ids", f"{repeated[0]!r} twice")
        total = sum(c.false_alarm for c in self.claims)
        if total > self.family_wise_level * (1 + 1e-9):
            raise InvalidInput(
                "family_wise_level", f"at least the sum of the claims' false_alarm, {total:.3g}", self.family_wise_level
            )
        return self
