"""Programs kept lowered: the same bits, of the right program, whatever is in the folder."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linreg_lora import runtime
from linreg_lora.problem import Problem
from linreg_lora.simulation import draws, lowered
from linreg_lora.simulation.curve import monte_carlo
from linreg_lora.simulation.programs import ConditionalMeans


def _one(power, arrays, key):
    return {"drawn": arrays["scale"] * jax.random.normal(key, (3,)) ** power, "sum": jnp.sum(arrays["shift"])}


ARRAYS = {"scale": np.array([1.0, 2.0, 3.0]), "shift": np.ones((2, 2))}
RESULT = {"drawn": 0, "sum": 0}


def values(power=2, arrays=ARRAYS, result=RESULT):
    ((_, found),) = draws.chunks(draws.Draws(_one, (power,), arrays, 4, result), 5, 4)
    return found


def same(found, expected):
    return jax.tree.all(jax.tree.map(np.array_equal, found, expected))


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where this test's programs are kept; none is compiled yet, as in a new process."""
    monkeypatch.setattr(lowered, "folder", lambda: tmp_path / "lowered")
    monkeypatch.setattr(lowered, "_compiled", {})
    return tmp_path / "lowered"


@pytest.fixture
def traced(monkeypatch):
    """The programs traced so far."""
    found = []
    exported = lowered._exported

    def counted(function, arguments):
        found.append(function)
        return exported(function, arguments)

    monkeypatch.setattr(lowered, "_exported", counted)
    return found


def new_process():
    lowered._compiled.clear()


def test_a_later_process_traces_nothing_and_gives_the_same_bits(folder, traced):
    expected = values(result=None)
    assert not folder.exists()
    for _ in range(2):
        assert same(values(), expected)
        new_process()
    assert len(traced) == 1
    assert len(list(folder.iterdir())) == 1


def test_a_damaged_or_foreign_file_is_replaced(folder, traced):
    expected = values(3)
    (other,) = folder.iterdir()
    right = values()
    (path,), described = set(folder.iterdir()) - {other}, list(lowered._compiled)[1]
    whole, wrong = path.read_bytes(), bytearray(path.read_bytes())
    wrong[-100] ^= 1
    damages = {
        "cut short": whole[:-10],
        "another byte": bytes(wrong),
        "empty": b"",
        "no text": bytes(range(256)),
        "another program": other.read_bytes(),
    }
    assert not same(right, expected)
    for count, content in enumerate(damages.values(), start=3):
        path.write_bytes(content)
        new_process()
        assert same(values(), right)
        assert len(traced) == count
        assert lowered._read(path, described) is not None


def test_a_file_that_says_it_is_whole_but_is_no_program_is_replaced(folder, traced):
    expected = values()
    (path,) = folder.iterdir()
    described = next(iter(lowered._compiled))
    for content in (b"{}\nno program", b'{"outputs": [[[4, 3], "float64"], [[4], "float64"]], "convention": 10}\nnone'):
        lowered._write(path, described, content)
        new_process()
        assert same(values(), expected)
        assert lowered._read(path, described) != content
    assert len(traced) == 3


def test_what_decides_a_program_names_it(folder, monkeypatch):
    wider = {"scale": np.ones(3), "shift": np.ones((2, 3))}
    names = []
    for change in (values, functools.partial(values, 3), functools.partial(values, 2, wider)):
        change()
        names.append(len(list(folder.iterdir())))
    values(arrays={**ARRAYS, "shift": np.full((2, 2), 7.0)})
    assert names == [1, 2, 3]
    assert len(list(folder.iterdir())) == 3
    for place, changed in (("_environment", lambda: "other code"), ("_BESIDE", lowered.re.compile("^$"))):
        monkeypatch.setattr(lowered, place, changed)
        values()
    assert len(list(folder.iterdir())) == 5


def test_a_folder_that_cannot_be_written_is_done_without(folder):
    folder.write_text("a file")
    assert same(values(), values(result=None))


@pytest.mark.parametrize("part", ["Exported", "export"])
def test_other_versions_of_jax_trace_as_ever(part, folder, monkeypatch):
    def refuses(*_, **__):
        raise (TypeError if part == "Exported" else AttributeError)("another signature")

    monkeypatch.setattr(jax.export, part, refuses)
    assert same(values(), values(result=None))
    assert not folder.exists()


@pytest.mark.parametrize("ranks", [[1, 2], [40]], ids=["the leading directions", "all of them"])
def test_programs_of_risks_are_kept(ranks, folder, traced, monkeypatch):
    problem = Problem(n=120, dx=64, dy=64, spectrum=(3.0, 2.0), noise_std=1.0)
    for _ in range(2):
        new_process()
        found = monte_carlo(problem, ranks=ranks, trials=20, seed=1)
    assert len(traced) == len(list(folder.iterdir())) == 1
    monkeypatch.setattr(lowered, "folder", lambda: None)
    assert np.array_equal(found.risk, monte_carlo(problem, ranks=ranks, trials=20, seed=1).risk)


def test_what_cannot_be_kept_is_tried_once(folder, traced, monkeypatch):
    monkeypatch.setattr(lowered, "_PLAIN", {**lowered._PLAIN, "nr_devices": 2})
    expected = values(result=None)
    for _ in range(3):
        assert same(values(), expected)
    assert len(traced) == 1
    assert not folder.exists()


def test_only_the_command_line_keeps_programs(monkeypatch):
    monkeypatch.delenv("LINREG_LORA_KEEP_PROGRAMS", raising=False)
    assert not runtime.keeps_programs()
    monkeypatch.setenv("LINREG_LORA_KEEP_PROGRAMS", "0")
    runtime.keep_programs()
    assert not runtime.keeps_programs()
    monkeypatch.delenv("LINREG_LORA_KEEP_PROGRAMS")
    runtime.keep_programs()
    assert runtime.keeps_programs()


def test_seeds_are_those_of_jax():
    for seed in (0, 1, 2**32 - 1, 2**32, 2**63 - 5):
        assert np.array_equal(jax.random.key_data(draws._key(seed)), jax.random.key_data(jax.random.key(seed)))


@pytest.mark.heavy
def test_conditional_means_are_the_same_bits_kept_or_not(folder, traced):
    problem = Problem(n=4, dx=9, dy=3, spectrum=(2.0, 1.0), noise_std=0.5)
    program = ConditionalMeans.of(problem, 2)
    key = draws._key(3)
    kept = program.finish(program.start(key, 64), key, 64)
    program._result = None
    assert same(tuple(kept), tuple(program.finish(program.start(key, 64), key, 64)))
    assert len(traced) == 1
