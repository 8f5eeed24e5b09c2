"""A mean of the inputs from Python, from files and from the command line: one meaning, one refusal."""

import json
import pickle

import numpy as np
import pytest
from refusals import refused
from typer.testing import CliRunner

import linreg_lora as ll
from linreg_lora.cli import app
from linreg_lora.files.problems import ProblemSpec

BASE = {"n": 30, "dx": 4, "dy": 3, "spectrum": (2.0, 1.0), "noise_std": 0.5}
SIZES = ["--n", "30", "--dx", "4", "--dy", "3", "--noise-std", "0.5", "--spectrum", "2,1"]
MEAN = [1.0, -2.0, 0.0, 0.5]


def test_no_mean_is_one_value_and_others_tell_problems_apart():
    same = [ll.Problem(**BASE), *(ll.Problem(**BASE, input_mean=zero) for zero in (None, 0, 0.0, -0.0, [0.0] * 4))]
    assert len(set(same)) == 1
    assert "input_mean" not in same[0].to_dict()
    one = ll.Problem(**BASE, input_mean=0.5)
    assert one == ll.Problem(**BASE, input_mean=[0.5] * 4) == ll.Problem(**BASE, input_mean=np.full(4, 0.5))
    assert len({same[0], one, ll.Problem(**BASE, input_mean=MEAN), ll.Problem(**BASE, input_mean=-0.5)}) == 4
    assert one.replace(input_mean=None) == one.centred() == same[0]
    assert one.replace(n=31).input_mean.tolist() == [0.5] * 4


def test_it_survives_copies_and_cannot_be_written():
    given = ll.Problem(**BASE, input_mean=MEAN)
    for copy in (
        pickle.loads(pickle.dumps(given)),
        ll.Problem(**json.loads(json.dumps(given.to_dict()))),
        given.replace(),
    ):
        assert copy == given
        assert hash(copy) == hash(given)
        with pytest.raises(ValueError, match="read-only"):
            copy.input_mean[0] = 1.0


@pytest.mark.parametrize("value", ["a", [1.0, 2.0], np.nan, np.inf, [[1.0] * 4], 1e31, [1, 2, 3, None], {}])
def test_what_is_no_mean_is_refused_in_one_line(value):
    with refused("input_mean"):
        ll.Problem(**BASE, input_mean=value)


def test_the_risk_of_not_adapting_counts_the_mean():
    given = ll.Problem(**BASE, input_mean=MEAN)
    assert given.pretrained_risk == pytest.approx(5.0 + 4.0 + 4.0)
    assert np.sum(given.whitened_spectrum**2) == pytest.approx(given.pretrained_risk)
    explicit = ll.Problem(**{**BASE, "spectrum": None}, task_shift=given.shift, input_mean=MEAN)
    assert explicit.pretrained_risk == pytest.approx(13.0)
    assert ll.theory.least_risk(given, 0) == pytest.approx(13.0)
    second = np.eye(4) + np.outer(MEAN, MEAN)
    np.testing.assert_allclose(given.with_second_moment().sigma, second)
    np.testing.assert_allclose(given.risk_root @ given.risk_root.T, second)


@pytest.mark.parametrize(("given", "mean"), [(0.5, [0.5] * 4), (MEAN, MEAN), (None, None)])
def test_files_say_it_as_python_does(given, mean):
    spec = ProblemSpec(**{**BASE, "spectrum": [2.0, 1.0]}, input_mean=given)
    assert spec.problem() == ll.Problem(**BASE, input_mean=mean)


def test_a_gaussian_shift_of_a_file_is_a_matrix_where_a_mean_gives_directions_a_meaning():
    family = {"family": "gaussian", "rank": 2, "scale": 1.0, "seed": 1}
    fields = {"n": 30, "dx": 4, "dy": 3, "noise_std": 0.5, "spectrum": family}
    assert ProblemSpec(**fields).problem().task_shift is None
    assert ProblemSpec(**fields, input_mean=1.0).problem().task_shift is not None


def run(*arguments):
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(("text", "mean"), [("0.5", [0.5] * 4), ("1,-2,0,0.5", MEAN), ("1,-2", [1.0, -2.0, 0.0, 0.0])])
def test_the_command_line_says_it(text, mean):
    found = run("risk", *SIZES, "--input-mean", text, "--method", "theory", "--format", "json")
    assert found.exit_code == 0
    said = json.loads(found.stdout)
    assert said["problem"]["input_mean"] == mean
    problem = ll.Problem(**BASE, input_mean=mean)
    assert said["problem"].items() >= json.loads(json.dumps(problem.to_dict())).items()


def test_compare_takes_methods_with_a_bias_and_a_mean_from_a_file(tmp_path):
    np.savez(tmp_path / "arrays.npz", other=np.ones(3), input_mean=np.array(MEAN))
    np.save(tmp_path / "mean.npy", np.array(MEAN))
    for name in ("arrays.npz", "mean.npy"):
        methods = "lora:1+bias,fft,fft+bias,bitfit"
        found = run("compare", *SIZES, "--input-mean", str(tmp_path / name), "--adapt", methods, "--trials", "16",
                    "--format", "json")  # fmt: skip
        assert found.exit_code == 0, found.output
        said = json.loads(found.stdout)
        assert said["problem"]["input_mean"] == MEAN
        asked = sorted(said["methods"], key=lambda row: row["asked"])
        assert [row["method"] for row in asked] == methods.split(",")
        assert said["without_best_ridge"].startswith("input_mean: expected 0 for a best ridge by theory")


def test_tables_say_that_there_is_a_mean():
    for command in (["risk"], ["compare", "--adapt", "lora:1,bitfit"]):
        for mean, said in (([], False), (["--input-mean", "3"], True)):
            found = run(*command, *SIZES, *mean, "--trials", "16")
            assert found.exit_code == 0, found.output
            assert ("inputs with a mean of norm 6" in found.stdout.replace("\n", " ")) == said
    said = ll.expected_risk(ll.Problem(**BASE, input_mean=1.0), method="lora:1")
    assert "Sigma + mu mu'" in said.formula
    assert any("second moment" in note for note in said.notes)


@pytest.mark.parametrize("text", ["a", "1,2,3,4,5", "", "nowhere.npz", "1e40"])
def test_a_mean_that_is_none_is_one_line(text):
    found = run("risk", *SIZES, "--input-mean", text)
    assert found.exit_code != 0
    assert isinstance(found.exception, ll.InvalidInput)
    assert "\n" not in str(found.exception)


def test_crossovers_and_sweeps_know_a_mean():
    problem = ll.Problem(n=60, dx=8, dy=6, spectrum=(2.0, 1.0), noise_std=0.5, input_mean=1.0)
    found = ll.crossover(problem, rank=2, over="noise_std", low=0.01, high=10.0)
    assert isinstance(found, list)
    assert found.flagged or not found
    best = ll.best_rank(problem)
    assert best.flagged
    assert best.risk <= ll.expected_risk(problem).risk.min() + 1e-12
    grid = ll.phase_grid(problem, {"noise_std": [0.1, 10.0]})
    assert grid["best_rank"].values.tolist()[0] > 0
    assert bool(grid["flagged"].values[0])
