"""What settings of experiments may be: annotations say it, and no value is read as another one."""

import enum
from typing import Annotated, Literal

import numpy as np
import pydantic
import pytest
from refusals import refused
from test_claims_schema import document

from linreg_lora.claims import neighbours, registry, settings
from linreg_lora.claims.collection import collect_claims
from linreg_lora.claims.file import parse_claims
from linreg_lora.claims.registry import MatrixSize
from linreg_lora.claims.schema import Experiment
from linreg_lora.errors import InvalidInput
from linreg_lora.files.models import validated
from linreg_lora.problem import Problem

#: Settings of which every number, or every text, makes sense; methods are looked up by name where they run.
ANY_NUMBER = {"alignment", "power", "quantile", "weight"}
ANY_TEXT = {"method", "other", "beside"}


def own():
    """Experiment and setting -> what it may be, of all that the package registers."""
    experiments = registry.functions()["experiment"]
    return {
        (name, setting): may_be
        for name, run in experiments.items()
        if run.__module__.startswith("linreg_lora.")
        for setting, may_be in settings.of(run).items()
    }


def experiment(name, **given):
    return validated(Experiment, {"name": name, "trials": 9, "settings": given}, what="experiment")


# -- the package's own ----------------------------------------------------------------------------------------------


def test_every_setting_of_the_package_says_what_it_may_be():
    said = {at: may_be.said for at, may_be in own().items()}
    assert len(said) > 200
    assert {at: words for at, words in said.items() if not words} == {}
    assert {setting for (_, setting), words in said.items() if words == "a number"} == ANY_NUMBER
    assert {setting for (_, setting), words in said.items() if words == "text"} == ANY_TEXT
    assert all(set(settings.of(registry.experiment(name).run)) == set(registry.experiment(name).settings)
               for name, _ in said)  # fmt: skip


def test_numbers_are_no_texts_and_counts_no_fractions():
    for (name, setting), may_be in own().items():
        texts = may_be.said == "text" or "'" in may_be.said
        wrong = 1.0 if texts else "1"
        assert may_be.objection(wrong) == may_be.said, (name, setting)
        if may_be.counts:
            assert may_be.objection(2.5) == may_be.objection(-1.0) == may_be.said, (name, setting)
        if may_be.is_rank:
            assert may_be.objection(0.0) == "an integer >= 1", (name, setting)


def test_the_settings_of_claims_are_what_they_were():
    """Numbers stay real numbers, as they are read, and texts texts."""
    given = [c.experiment.settings for part in collect_claims(everything=True).parts for c in part.file.claims]
    assert {type(value) for each in given for value in each.values()} == {float, str}
    assert experiment("rank-less-rank", rank=4, other=2.0).model_dump()["settings"] == {"rank": 4.0, "other": 2.0}


RESCALED = {"optimiser": "gd", "factors": "both", "steps": 3}
SOURCE = {"source_samples": 8, "source_noise": 1}
SHRUNK = {"rank": 2, "threshold": 1, "rank_beside": 2, "threshold_beside": 0}


@pytest.mark.parametrize(
    ("name", "given", "setting", "value", "expected"),
    [
        ("first-fall", {"optimiser": "gd", "power": 1}, "optimiser", "adam", "'gd' or 'sign'"),
        ("first-fall", {"optimiser": "gd", "power": 1}, "optimiser", "GD", "'gd' or 'sign'"),
        ("first-fall", {"optimiser": "gd", "power": 1}, "power", "x", "a number"),
        ("equal-fall", {"optimiser": "gd", "times": 2}, "optimiser", "adam", "'gd' or 'sign'"),
        ("equal-fall", {"optimiser": "gd", "times": 2}, "optimiser", 1, "'gd' or 'sign'"),
        ("rescaled-factors", RESCALED, "factors", "foo", "'both', 'a' or 'b'"),
        ("rescaled-factors", RESCALED, "optimiser", "adamw", "'gd', 'sign' or 'adam'"),
        ("magnitude-with-direction", {"rank": 2, "method": "fft"}, "method", "dora", "'lora' or 'fft'"),
        ("aligned-start-floor", {"rank": 2, "side": "rows"}, "side", "left", "'rows', 'columns' or 'both'"),
        ("more-source-samples", {**SOURCE, "surplus": 8}, "surplus", 1.5, "an integer >= 1"),
        ("more-source-samples", {**SOURCE, "surplus": 8}, "surplus", -1, "an integer >= 1"),
        ("budget-gap", {"rank": 2, "share": 1, "surplus": 0}, "surplus", 1.5, "an integer >= 0"),
        ("budget-gap", {"rank": 2, "share": 1, "surplus": 0}, "surplus", -1, "an integer >= 0"),
        ("transfer-risk", SOURCE, "source_samples", 8.9, "an integer >= 1"),
        ("transfer-risk", SOURCE, "source_samples", 0, "an integer >= 1"),
        ("transfer-risk", SOURCE, "source_noise", -1, "a number >= 0"),
        ("forgetting-of-an-orthogonal-task", {"rank": 2, "inputs": 5}, "inputs", 2.9, "an integer >= 1"),
        ("forgetting-of-an-orthogonal-task", {"rank": 2, "inputs": 5}, "inputs", -1, "an integer >= 1"),
        ("transferred-risk", {"free": 2}, "free", 2.7, "an integer >= 1"),
        ("rank-less-rank", {"rank": 4, "other": 2}, "other", 2.6, "an integer >= 1"),
        ("rank-less-rank", {"rank": 4, "other": 2}, "other", -2, "an integer >= 1"),
        ("shrunk-difference", SHRUNK, "rank_beside", -3, "an integer >= 1"),
        ("shrunk-difference", SHRUNK, "rank_beside", 2.7, "an integer >= 1"),
        ("shrunk-difference", SHRUNK, "threshold", -1, "a number >= 0"),
        ("leading-value-of-a-rank-one-update", {"strength": 3}, "strength", -3, "a number > 2"),
        ("leading-value-of-a-rank-one-update", {"strength": 3}, "strength", 0, "a number > 2"),
        ("overlap-of-a-rank-one-update", {"strength": 3}, "strength", -3, "a number > 0"),
        ("balanced-modes", {"start": 0.01}, "start", 2, "a number in (0, 0.4)"),
        ("interference", {"similarity": 0.3}, "similarity", 3, "a number in [-1, 1]"),
        ("risk-at-equal-forgetting", {"rank": 2, "forgetting": 1}, "forgetting", -1, "a number > 0"),
        ("rank-of-layers", {"rank": 2, "layers": 3}, "layers", 0, "an integer >= 1"),
        ("chain-update", {"rank": 1, "links": 3}, "links", 1, "an integer >= 2"),
        ("gradient-descent", {"steps": 3, "relative_step": 0.5}, "relative_step", 1, "a number in (0, 1)"),
        ("preconditioned-contraction", {"condition": 9, "rate": 0.3}, "rate", 0.5, "a number in (0, 0.5)"),
        ("two-minima", {"condition": 2}, "condition", 1, "a number > 1"),
        ("shifted-source-gain", {**SOURCE, "strength": 4, "along": 1}, "along", 0.5, "0 or 1"),
        ("lora-risk-of-inputs", {"share": 0.5, "most_samples": 80}, "share", 1.5, "a number in [0, 1]"),
        (
            "poisoned-lora-risk",
            {"rank": 2, "count": 3, "length": 1, "where": "outside"},
            "where",
            "inside",
            "'outside'",
        ),
    ],
)
def test_a_value_that_an_experiment_would_read_as_another_is_refused(name, given, setting, value, expected):
    experiment(name, **given)
    with refused(f"settings.{setting}", expected, str(value)):
        experiment(name, **{**given, setting: value})


@pytest.mark.parametrize(
    ("name", "given"), [("rank-less-rank", {"rank": 4, "other": 2}), ("shrunk-difference", SHRUNK)]
)
@pytest.mark.parametrize("value", [10, 99])
def test_ranks_of_any_name_lie_below_the_sizes(name, given, value):
    setting = list(given)[-1] if name == "rank-less-rank" else "rank_beside"
    content = {"kind": "identity", "domain__pretrained": False, "prediction": "difference.zero"}
    parse_claims(document(**content, experiment={"name": name, "trials": 9, "settings": given}))
    with refused(f"claims.example.experiment.settings.{setting}", "an integer in 1..9", str(value)):
        parse_claims(document(**content, experiment={"name": name, "trials": 9, "settings": {**given, setting: value}}))


def problem(**more):
    return Problem(**{"n": 12, "dx": 6, "dy": 5, "spectrum": (2.0, 1.0), "noise_std": 0.5, **more})


@pytest.mark.parametrize(
    ("name", "case", "given", "field", "expected"),
    [
        ("seen-share-spread", MatrixSize(3, 5), {}, "experiment", "fewer columns than rows"),
        ("seen-share-spread", MatrixSize(3, 3), {}, "experiment", "fewer columns than rows"),
        ("lora-from-loftq", problem(n=4, pretrained=np.eye(5, 6)), {"rank": 2}, "experiment", "n >= dx"),
        ("budget-gap", problem(), {"rank": 2, "share": 1.0, "surplus": 4}, "surplus", "an integer in 0..3"),
        ("displaced-start-gain", problem(), {"rank": 3, "length": 1.0}, "rank", "at most half of the 5"),
        ("shorter-source-gain", problem(), {"free": 7, "source_samples": 3, "share": 0.5}, "free", "1 to 6"),
        ("random-minus-chosen", problem(), {"count": 13}, "count", "at most the 12 samples"),
        ("damage-beside-half", problem(), {"rank": 2, "count": 13, "length": 1.0, "trigger": 0}, "count", "the 12"),
        ("chain-update", problem(), {"rank": 2, "links": 3}, "links", "the 5 directions"),
        ("decayed-factors", problem(), {"decay": 2.0, "scale": 1.0}, "decay", "a number < scale = 1"),
        ("layers-on-data", MatrixSize(6, 6), {"rank": 3, "layers": 3}, "layers", "at most 2 of rank 3"),
        ("outside-of-the-gradient", MatrixSize(8, 9), {"noise": 1e3, "steps": 200}, "noise", "does not diverge"),
        ("hybrid-minus-parts", problem(), {"method": "lora:2"}, "method", "parts joined by +"),
    ],
)
def test_what_only_the_experiment_knows_it_refuses_itself(name, case, given, field, expected):
    with refused(field, expected):
        registry.experiment(name).run(case, 8, 0, **given)


# -- anybody's ------------------------------------------------------------------------------------------------------


class Side(enum.StrEnum):
    LEFT = "left"
    RIGHT = "right"


class Unknown:
    """No type that pydantic knows."""


def _even(value):
    if value % 2:
        raise ValueError("an even number")
    return value


def _tens(value):
    if value % 10:
        raise InvalidInput("number", "tens", value)
    return value


def of_anybody(
    case, trials, seed, *, rank, steps: float, x: float, name: str, both: float | str, whole: int, flag: bool,
    side: Side, bare, unknown: Unknown, later: "Nothing", most: float | None,
    digit: Annotated[int, pydantic.Field(lt=10)], even: Annotated[float, pydantic.AfterValidator(_even)],
    tens: Annotated[float, pydantic.AfterValidator(_tens)], one: Literal[1, 2],
    told: Annotated[float, pydantic.Field(gt=0, description="a size in metres")],
):  # fmt: skip
    """An experiment with annotations of all kinds."""


@pytest.mark.parametrize(
    ("name", "said", "admitted", "refusals"),
    [
        ("rank", "an integer >= 1", [1.0, 3.0], [0.0, 2.5, "2"]),
        ("steps", "an integer >= 1", [1.0], [0.0, 2.5, "2"]),
        ("x", "a number", [-1.0, 2.5, 1e30], ["2", "x"]),
        ("name", "text", ["x", "2"], [2.0]),
        ("both", "a number or text", [2.5, "x"], []),
        ("whole", "an integer", [2.0, -1.0], [2.5, "2"]),
        ("flag", "0 or 1", [0.0, 1.0], [0.5, 2.0, "true"]),
        ("side", "'left' or 'right'", ["left"], ["up", 1.0]),
        ("bare", "", [2.5, "x"], []),
        ("unknown", "", [2.5, "x"], []),
        ("later", "", [2.5, "x"], []),
        ("most", "a number", [2.5], ["x"]),
        ("digit", "an integer < 10", [9.0], [10.0, 2.5, "2"]),
        ("one", "1 or 2", [1.0, 2.0], [3.0, 1.5, "1"]),
        ("told", "a size in metres", [1.0], [0.0, "1"]),
    ],
)
def test_annotations_of_plug_ins_are_what_they_say(name, said, admitted, refusals):
    may_be = settings.of(of_anybody)[name]
    assert may_be.said == said
    assert [may_be.objection(value) for value in admitted] == [""] * len(admitted)
    assert [may_be.objection(value) for value in refusals] == [said] * len(refusals)


def test_a_validator_of_a_plug_in_says_itself_what_it_wants():
    may_be = settings.of(of_anybody)
    assert (may_be["even"].objection(3.0), may_be["tens"].objection(3.0)) == ("an even number", "tens")
    assert (may_be["even"].objection(2.0), may_be["tens"].objection(20.0)) == ("", "")


# -- neighbours -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "moved"),
    [
        ("forgetting-of-an-orthogonal-task", {"rank": 2, "inputs": 1}, {"rank": 3, "inputs": 2}),
        ("budget-gap", {"rank": 2, "share": 0.5, "surplus": 0}, {"rank": 3, "share": 0.4, "surplus": 1}),
        ("one-step-minus-lora", {"rank": 2, "scaled": 0}, {"rank": 3}),
        ("one-step-minus-lora", {"rank": 2, "scaled": 1}, {"rank": 3}),
    ],
)
def test_neighbours_have_settings_that_an_experiment_admits(name, given, moved):
    content = {"kind": "identity", "prediction": "difference.zero"}
    file = parse_claims(document(**content, experiment={"name": name, "trials": 9, "settings": given}))
    assert neighbours._numbers(file.claims[0]) == moved
