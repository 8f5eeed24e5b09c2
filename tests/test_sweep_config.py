"""Sweep files: what they may say, and that everything else is one clear line and leaves nothing behind."""

import copy
import io
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from bad_input import EXAMPLES, UNKNOWN, Good, places, run_cli, tries
from hypothesis import given, reject
from hypothesis import strategies as st
from refusals import refused
from ruamel.yaml import YAML

from linreg_lora import expected_risk, spectra
from linreg_lora.claims.cases import cases
from linreg_lora.claims.designs import GaussianDesign
from linreg_lora.errors import InvalidInput, OldName
from linreg_lora.explorer.setting import Setting
from linreg_lora.files.problems import Family, family_values
from linreg_lora.sweeps import curves as sweeps
from linreg_lora.sweeps.config import load_sweep, parse_sweep
from linreg_lora.sweeps.grid import grid

GOOD = {
    "problem": {
        "n": 40,
        "dx": 6,
        "dy": 5,
        "noise_std": 1.0,
        "spectrum": {"family": "low-rank", "rank": 2, "scale": 3.0},
        "input_covariance": {"family": "power-law", "exponent": 0.5},
        "noise_covariance": [1.0, 2.0, 1.0, 1.0, 1.0],
        "ridge": 0.1,
    },
    "axes": {"noise_std": {"log": [0.1, 10, 3]}, "n": [20, 40], "spectrum.rank": {"range": [1, 5, 2]}},
    "ranks": [0, 1, 2],
    "trials": 16,
    "seed": 3,
    "computed_by": ["monte-carlo"],
}


def changed(path, value):
    """GOOD with one value replaced, or removed where the value is None."""
    content = copy.deepcopy(GOOD)
    *way, last = path
    place = content
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return content


# -- what a file may say ----------------------------------------------------------------------------------------


def test_the_grid_is_that_of_the_file():
    config = parse_sweep(GOOD)
    assert config.grid_axes == {
        "noise_std": pytest.approx([0.1, 1.0, 10.0]),
        "n": [20, 40],
        "spectrum_rank": [1, 3, 5],
    }
    cells = grid(config.make, config.grid_axes)
    assert cells.shape == (3, 2, 3)
    problem = cells.problems[-1]
    assert (problem.n, problem.noise_std, problem.spectrum) == (40, 10.0, (3.0,) * 5)
    np.testing.assert_allclose(problem.input_covariance, np.arange(1, 7) ** -0.5)
    assert problem.noise_covariance.tolist() == GOOD["problem"]["noise_covariance"]


def test_the_canonical_text_says_the_same_and_forgets_how_it_was_written(tmp_path):
    config = parse_sweep(GOOD)
    path = tmp_path / "sweep.yaml"
    path.write_text("# a comment\n" + config.text)
    assert load_sweep(path) == config
    assert load_sweep(path).text == config.text
    assert parse_sweep(dict(reversed(GOOD.items()))).text == config.text
    assert parse_sweep(changed(["seed"], 4)).text != config.text


def test_the_documented_example_is_a_sweep_file():
    config = load_sweep(Path(__file__).parent.parent / "docs" / "sweep.yaml")
    assert len(grid(config.make, config.grid_axes).problems) == 10


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ({"log": [1, 100, 3]}, [1.0, 10.0, 100.0]),
        ({"linear": [0, 1, 5]}, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ({"range": [1, 7, 2]}, [1.0, 3.0, 5.0, 7.0]),
        ({"range": [0.1, 0.5, 0.1]}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"range": [1, 1, 1]}, [1.0]),
        ([1, 2.5], [1.0, 2.5]),
    ],
)
def test_rules_of_an_axis(rule, values):
    found = parse_sweep(changed(["axes", "noise_std"], rule)).grid_axes["noise_std"]
    assert found == pytest.approx(values)
    assert all(isinstance(value, float) for value in found)


def test_rules_of_integer_axes_are_rounded_to_distinct_integers():
    assert parse_sweep(changed(["axes", "n"], {"log": [10, 14, 9]})).grid_axes["n"] == [10, 11, 12, 13, 14]
    assert parse_sweep(changed(["ranks"], {"range": [0, 4, 2]})).rank_values == [0, 2, 4]


def test_whole_numbers_may_be_written_as_powers_of_ten():
    config = parse_sweep(changed(["trials"], 1e3) | {"ranks": [0.0, 2e0], "seed": 1e2})
    assert (config.trials, config.seed, config.rank_values) == (1000, 100, [0, 2])
    assert config == parse_sweep(changed(["trials"], 1000) | {"ranks": [0, 2], "seed": 100})
    found = parse_sweep(changed(["axes", "n"], [2e1, 4e1])).grid_axes["n"]
    assert found == [20, 40]
    assert all(isinstance(n, int) for n in found)
    with refused("trials", "integer", "1000.5"):
        parse_sweep(changed(["trials"], 1000.5))


ZIPPED = {
    "problem": {"dy": 12, "noise_std": 1, "spectrum": {"family": "low-rank", "rank": 3, "scale": 2}},
    "axes": {"size": {"zip": {"n": {"linear": [40, 80, 3]}, "dx": [12, 18, 24]}}, "spectrum.rank": [1, 3]},
    "ranks": [2],
    "computed_by": ["theory"],
}


def test_fields_vary_together_along_one_dimension():
    config = parse_sweep(ZIPPED)
    assert parse_sweep(YAML(typ="safe").load(config.text)) == config
    cells = grid(config.make, config.grid_axes)
    sizes = [(problem.n, problem.dx, sum(s > 0 for s in problem.spectrum)) for problem in cells.problems]
    assert sizes == [(40, 12, 1), (40, 12, 3), (60, 18, 1), (60, 18, 3), (80, 24, 1), (80, 24, 3)]
    found = sweeps.sweep(config.make, config.grid_axes, ranks=[2], computed_by=["theory"])
    assert (found.n.dims, found.n.values.tolist(), found.dx.values.tolist()) == (("size",), [40, 60, 80], [12, 18, 24])
    alone = config.make(size=config.points["size"][1], spectrum_rank=3)
    assert found.risk.sel(size=1, spectrum_rank=3).item() == expected_risk(alone, [2]).risk[0]


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"size": {"zip": {"n": [40, 80], "dx": [12]}}}, ["axes.size.zip", "equally many", "n 2, dx 1"]),
        ({"size": {"zip": {"n": [40], "dz": [12]}}}, ["axes", "fields of the problem", "dz"]),
        ({"size": {"zip": {"n": [40], "dx": [12]}}, "n": [1, 2]}, ["axes", "on one axis", "n"]),
        ({"n": {"zip": {"n": [40], "dx": [12]}}}, ["axes", "as a name for zip", "n"]),
        ({"a b": {"zip": {"n": [40], "dx": [12]}}}, ["axes", "as a name for zip", "a b"]),
        ({"rank": {"zip": {"n": [40], "dx": [12]}}}, None),
        ({"size": {"zip": {}}}, ["axes.size.zip", "at least 1 item"]),
    ],
)
def test_fields_that_cannot_vary_together_are_refused(axes, said):
    if said is None:
        config = parse_sweep(ZIPPED | {"axes": axes})
        with refused("axes", "names other than the dataset's own"):
            sweeps.sweep(config.make, config.grid_axes, ranks=[2])
    else:
        with refused(*said):
            parse_sweep(ZIPPED | {"axes": axes})


def test_families_are_those_of_spectra():
    def values(family, size=5, **parameters):
        return tuple(family_values("spectrum", Family(family=family, **parameters), size).tolist())

    assert values("low-rank", rank=2, scale=3.0) == (3.0, 3.0, 0.0, 0.0, 0.0)
    assert values("log-spaced", size=3, condition=16.0, scale=2.0) == pytest.approx((8.0, 2.0, 0.5))
    assert values("power-law", exponent=1.5, scale=2.0) == spectra.power_law(5, 1.5, 2.0)
    assert values("exponential", rate=0.5) == spectra.exponential(5, 0.5)


def test_gaussian_shifts_are_matrices_where_their_directions_matter():
    family = {"family": "gaussian", "rank": 2, "seed": 7, "scale": 0.5}
    matrix = 0.5 * spectra.gaussian_factors(6, 5, 2, 7)
    content = changed(["problem", "spectrum"], family)
    del content["axes"]["spectrum.rank"]
    config = parse_sweep(content)
    assert np.array_equal(config.make(noise_std=1.0, n=20).task_shift, matrix)
    del content["problem"]["input_covariance"], content["problem"]["noise_covariance"]
    problem = parse_sweep(content).make(noise_std=1.0, n=20)
    assert problem.task_shift is None
    np.testing.assert_allclose(problem.spectrum, spectra.from_matrix(matrix, 2))


def test_a_field_may_be_given_by_its_axis_alone():
    content = changed(["problem", "n"], None)
    assert parse_sweep(content).make(noise_std=1.0, n=20, spectrum_rank=1).n == 20


def test_axes_of_covariances_and_of_spectra():
    content = changed(
        ["axes"], {"spectrum": [[1.0], [2.0, 1.0]], "input_covariance": [1.0, {"family": "exponential", "rate": 1.0}]}
    )
    config = parse_sweep(content)
    cells = grid(config.make, config.grid_axes)
    assert [p.spectrum for p in cells.problems] == [(1.0,), (1.0,), (2.0, 1.0), (2.0, 1.0)]
    assert cells.problems[0].input_covariance.tolist() == [1.0] * 6


# -- what it may not --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "field", "expected", "received", "remedy"),
    [
        (["problem"], None, "problem", "", "nothing", ""),
        (["problem", "dx"], None, "problem.dx", "", "nothing", "noise_std = 0.1"),
        (["problem", "dx"], "6", "problem.dx", "integer", "6", "in the cell"),
        (["problem", "dx"], 0, "problem.dx", ">= 1", "0", "in the cell"),
        (["problem", "colour"], 1, "problem", "among n, dx", "colour", ""),
        (["problem", "spectrum", "scale"], "3", "problem.spectrum.scale", "number", "3", ""),
        (["axes", "spectrum.rank"], [2.5], "problem.spectrum.rank", "integer", "2.5", ""),
        (["problem", "spectrum", "family"], "flat", "problem.spectrum.family", "'low-rank'", "flat", ""),
        (["problem", "spectrum", "exponent"], 1.0, "problem.spectrum.parameters", "rank", "exponent", ""),
        (["problem", "spectrum"], 3, "axes", "of the problem", "spectrum.rank", ""),
        (["problem", "noise_covariance"], [1.0], "problem.noise_covariance", "5 variances", "", ""),
        (["problem", "task_shift"], [[1.0]], "problem.spectrum", "either", "both", ""),
        (["axes"], {}, "axes", "at least 1", "", ""),
        (["axes", "colour"], [1], "axes", "of the problem", "colour", ""),
        (["axes", "spectrum"], [[1.0]], "axes", "of the problem", "spectrum.rank", ""),
        (["axes", "n"], [], "axes.n", "at least 1", "", ""),
        (["axes", "n"], [20, 20], "axes.n", "distinct", "[20, 20]", ""),
        (["axes", "n"], {"log": [1, 10, 2], "range": [1, 2, 1]}, "axes.n.rule", "exactly one", "log, range", ""),
        (["axes", "n"], {"log": [0, 10, 2]}, "axes.n.log", "> 0", "", ""),
        (["axes", "n"], {"range": [1, 10, 0]}, "axes.n.range", "step > 0", "", ""),
        (["axes", "n"], {"range": [1, 10**9, 1]}, "axes.n.range", "1000000 values", "", ""),
        (["axes", "n"], {"steps": 3}, "axes.n", "among log", "steps", ""),
        (["axes", "noise_std"], {"linear": [0, 1, 500_000]}, "axes", "1000000 cells", "3000000", ""),
        (["ranks"], ["1"], "ranks.0", "integer", "1", ""),
        (["trials"], 1, "trials", "2", "1", ""),
        (["seed"], -1, "seed", "0", "-1", ""),
        (["problem", "spectrum"], "3,2", "axes", "of the problem", "spectrum.rank", ""),
        (["problem", "input_covariance"], "flat:1", "problem.input_covariance", "as in low-rank:4:2", "flat:1", ""),
        (["ranks"], 1, "ranks", "a list, in brackets", "1", ""),
        (["computed_by"], ["magic"], "computed_by.0", "'theory'", "magic", ""),
        (["computed_by"], ["theory", "theory"], "computed_by", "once", "", ""),
    ],
)  # fmt: skip
def test_every_refusal_says_field_expected_and_received(path, value, field, expected, received, remedy):
    with refused(field, expected, received, remedy):
        parse_sweep(changed(path, value))


def test_a_bad_cell_far_into_the_grid_is_named():
    config = parse_sweep(changed(["axes", "spectrum.rank"], [1, 2, 9]))
    with refused("problem.spectrum.rank", "1..5", "9", "n = 20"):
        grid(config.make, config.grid_axes)


@pytest.mark.parametrize(
    ("text", "field", "expected", "remedy"),
    [
        ("", "sweep file", "a mapping", ""),
        ("- 1", "sweep file", "a mapping", ""),
        ("a: 1\na: 2", "sweep file", "YAML", "line 2"),
        ("a: [1", "sweep file", "YAML", "line 1"),
        ("a: &x 1\nb: *x", "sweep file", "YAML", "line 2: an alias"),
        ("a: !!python/object/apply:os.system [ls]", "sweep file", "YAML", "line 1: a tag"),
        ("a: !!timestamp no", "sweep file", "YAML", "line 1: a tag"),
        ("a: 2020-99-99", "sweep file", "YAML", ""),
        ("%YAML 1.1\n---\na: 1:60:60\n...", "problem", "", ""),
        ("a: 1\n---\nb: 1", "sweep file", "YAML", ""),
        ("\x00", "sweep file", "YAML", ""),
        ("[" * 5000, "sweep file", "", "more than 10 deep"),
        ("a: " + "9" * 5000, "sweep file", "YAML", ""),
    ],
)
def test_what_is_not_plain_yaml_is_refused(tmp_path, text, field, expected, remedy):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with refused(field, expected, remedy=remedy):
        load_sweep(path)


# -- bad files, 200 or 1000 ---------------------------------------------------------------------------------------

JUNK = st.one_of(
    st.none(), st.booleans(), st.text(max_size=6), st.floats(), st.integers(-5, 10), st.sampled_from([10**20, 10**400]),
    st.lists(st.integers(-2, 2), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.dates(), st.binary(max_size=3), st.just([[1.0, 2.0], [3.0]]), st.just({"log": [1, 2]}),
)  # fmt: skip


@st.composite
def mutated(draw):
    """GOOD with one to three values replaced by junk, removed, or joined by one that nobody knows."""
    content = copy.deepcopy(GOOD)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(content)))
        place = content
        for step in way:
            place = place[step]
        what = draw(st.sampled_from(["junk", "remove", "unknown"]))
        if what == "junk":
            place[last] = copy.deepcopy(draw(JUNK))
        elif what == "remove":
            del place[last]
        elif isinstance(place, dict):
            place[draw(UNKNOWN)] = copy.deepcopy(draw(JUNK))
    return content


def as_yaml(content):
    text = io.BytesIO()
    YAML(typ="safe", pure=True).dump(content, text)
    return text.getvalue()


@st.composite
def torn(draw):
    """The bytes of GOOD, with some of them changed."""
    text = bytearray(as_yaml(GOOD))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(text) - 1))
        text[place : place + draw(st.integers(0, 8))] = draw(
            st.binary(max_size=4) | st.sampled_from([b"!!", b"*", b"{"])
        )
    return bytes(text)


def would_sweep(make, axes, **_):
    grid(make, axes)
    raise Good


@EXAMPLES
def test_bad_files_are_one_line_each_and_leave_nothing(examples):
    @tries(examples)
    @given(st.one_of(mutated().map(as_yaml), mutated().map(as_yaml), torn()))
    def check(text):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(sweeps, "sweep", would_sweep):
            path = Path(folder) / "sweep.yaml"
            path.write_bytes(text)
            try:
                code, out, err = run_cli("sweep", str(path), "--out", str(Path(folder) / "out.nc"), "--workers=1")
            except Good:
                reject()
            assert (code, out) == (2, "")
            assert err.startswith("linreg-lora: ")
            assert "expected" in err
            assert len(err.splitlines()) == 1
            assert "Traceback" not in err
            assert [item.name for item in Path(folder).iterdir()] == ["sweep.yaml"]

    check()


# -- one vocabulary ---------------------------------------------------------------------------------------------


def test_a_family_is_the_same_in_every_file_and_on_the_command_line():
    written = Family.of_text("spectrum", "power-law:1.5:2")
    assert (
        written == Family.of_text("spectrum", "power_law:1.5:2") == Family(family="power-law", exponent=1.5, scale=2.0)
    )
    with pytest.warns(OldName, match=r"spectrum.rate: this field is called exponent now"):
        assert Family(family="power-law", rate=1.5, scale=2.0) == written
    claimed = GaussianDesign.model_validate(
        {"regime": "overdetermined", "least_distance": 16, "shapes": [{"n": 40, "dx": 6, "dy": 5}], "noise_std": [1.0],
         "spectrum": {"family": "power-law", "exponent": 1.5, "scale": 2.0}}
    )  # fmt: skip
    (case,) = cases(claimed)
    content = changed(["problem", "spectrum"], {"family": "power-law", "exponent": 1.5, "scale": 2.0})
    del content["axes"]["spectrum.rank"]
    swept = parse_sweep(content).make(noise_std=1.0, n=20)
    content["problem"] |= {"spectrum": "power-law:1.5:2", "input_covariance": "log-spaced:9"}
    as_text = parse_sweep(content).make(noise_std=1.0, n=20)
    assert as_text.spectrum == swept.spectrum
    np.testing.assert_allclose(as_text.input_covariance[[0, -1]], [3, 1 / 3], rtol=1e-12)
    shown = Setting(n=40, dx=6, dy=5, family="power-law", exponent=1.5, scale=2.0)
    assert case.spectrum == swept.spectrum == shown.problem().spectrum == written.values(5)


@pytest.mark.parametrize(
    "text", ["flat:1", "low-rank", "low-rank:1.5", "low-rank:2:3:4", "power-law:x", "gaussian:2:1", "power-law:-1", ":"]
)
def test_a_family_that_is_none_is_refused(text):
    with pytest.raises(InvalidInput) as caught:
        Family.of_text("spectrum", text)
    assert caught.value.field.startswith("spectrum")


def test_the_old_name_of_computed_by_is_read_with_a_notice():
    content = changed(["computed_by"], ["theory"])
    new = parse_sweep(content)
    content["methods"] = content.pop("computed_by")
    with pytest.warns(OldName, match="methods: this field is called computed_by now"):
        assert parse_sweep(content) == new
    content["computed_by"] = ["theory"]
    with pytest.raises(InvalidInput, match="either computed_by or its old name methods"):
        parse_sweep(content)
