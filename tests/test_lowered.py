"""Programs kept lowered: the same bits, of the right program, whatever is in the folder."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linreg_lora import runtime
from linreg_lora.claims import processes
from linreg_lora.estimators.lora import fit_lora
from linreg_lora.input_law import IidEntries, InputLaw, MultivariateT, SampleWeights, ScaleMixture
from linreg_lora.problem import Problem
from linreg_lora.sampling.plan import Layout
from linreg_lora.simulation import draws, lowered
from linreg_lora.simulation.curve import draw_risks, monte_carlo
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
    """Where this test's programs are kept; none is compiled yet, as in a new process. Those of this module may be."""
    ours = lowered._is_ours
    monkeypatch.setattr(lowered, "_is_ours", lambda module: module == __name__ or ours(module))
    monkeypatch.setattr(lowered, "folder", lambda: tmp_path / "lowered")
    monkeypatch.setattr(lowered, "_compiled", {})
    return tmp_path / "lowered"


@pytest.fixture
def traced(monkeypatch):
    """The programs traced so far."""
    found = []
    exported = lowered._exported

    def counted(function, *others):
        found.append(function)
        return exported(function, *others)

    monkeypatch.setattr(lowered, "_exported", counted)
    return found


def new_process():
    lowered.forget()


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


SMALL = {"dx": 6, "dy": 4, "spectrum": (3.0, 2.0), "noise_std": 1.0}
WHOLE = {
    "sufficient, n >= dx": ({"n": 20}, "sufficient"),
    "sufficient, n < dx": ({"n": 5}, "sufficient"),
    "sufficient, with a ridge": ({"n": 20, "ridge": 0.3, "input_covariance": np.arange(1.0, 7.0)}, "sufficient"),
    "explicit": ({"n": 20}, "explicit"),
    "explicit, with a mean and a start": ({"n": 5, "input_mean": np.ones(6), "pretrained": np.eye(4, 6)}, "explicit"),
    "weights that are drawn": ({"n": 20, "input_law": "t:6"}, "explicit"),
    "weights that are given": ({"n": 4, "input_law": SampleWeights((0.5, 1.5, 0.25, 1.75))}, "explicit"),
    "designs that may be singular": ({"n": 20, "input_law": "rademacher"}, "explicit"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_draws_are_the_same_bits_kept_or_not(name, folder, traced, monkeypatch):
    fields, sampler = WHOLE[name]
    problem = Problem(**SMALL, **fields)
    for _ in range(2):
        new_process()
        found = draw_risks(problem, trials=20, seed=1, sampler=sampler)
    assert len(traced) == len(list(folder.iterdir())) == 1
    monkeypatch.setattr(lowered, "folder", lambda: None)
    assert same(tuple(found), tuple(draw_risks(problem, trials=20, seed=1, sampler=sampler)))


@pytest.mark.parametrize(("rank", "ridge", "start"), [(2, None, None), (1, 0.3, np.eye(4, 6))])
def test_a_compiled_function_is_the_same_bits_kept_or_not(rank, ridge, start, folder, traced, monkeypatch):
    x, y = (np.random.default_rng(0).standard_normal((5, size, 9)) for size in (6, 4))
    fit = lowered.jit(fit_lora, static_argnums=(2, 4))
    for _ in range(2):
        new_process()
        found = fit(x, y, rank, start, ridge)
    assert len(traced) == len(list(folder.iterdir())) == 1
    assert not np.array_equal(fit(x, y, 3, start, ridge), found)
    assert len(traced) == 2
    monkeypatch.setattr(lowered, "folder", lambda: None)
    assert np.array_equal(fit(x, y, rank, start, ridge), found)
    compiled = jax.jit(fit_lora, static_argnums=(2, 4))(x, y, rank, start, ridge)
    assert np.array_equal(compiled, found)


def test_laws_that_differ_anywhere_have_programs_of_their_own():
    """Long lists too, and numbers that a shorter text would not tell apart."""
    weights = np.linspace(0.5, 1.5, 2000)
    nearly = weights.copy()
    nearly[[1000, 1001]] += 1e-15, -1e-15
    assert np.sum(nearly != weights) == 2
    texts = ("gaussian", "t:6", "two-point:0.25:0.5", "two-point-noise:0.25:0.5", "ar1:0.5", "ar1:-0.5", "rademacher",
             "uniform", "laplace", "iid-t:6", "sparse:0.5")  # fmt: skip
    laws: list = [Problem(n=20, **SMALL, input_law=text).input_law for text in texts]
    laws += [MultivariateT(np.nextafter(6.0, 7)), IidEntries("iid-t", np.nextafter(6.0, 7))]
    laws += [make(tuple(values)) for make in (SampleWeights, ScaleMixture) for values in (weights, nearly)]
    layouts = [Layout("explicit", 2000, 0, False, law) for law in laws]
    described = [lowered._description(draws._draws, (_one, (layout,), 4), (), ()) for layout in layouts[:1]]
    assert described == [None], "this module's function is no part of the package"
    names = [lowered._description(draws._draws, (draws._keys, (layout,), 4), (), ()) for layout in layouts]
    assert None not in names
    assert len(set(names)) == len(laws)


@dataclasses.dataclass(frozen=True, eq=False)
class _OfAnArray(InputLaw):
    law = "of an array"
    values: np.ndarray


@dataclasses.dataclass(frozen=True, repr=False)
class _OfAFunction(InputLaw):
    law = "of a function"
    root: object

    def __repr__(self) -> str:
        return "a law"


@dataclasses.dataclass(frozen=True)
class _OfAPlugin(InputLaw):
    __module__ = "a_plugin"
    law = "of a plug-in"
    dof: float


class _Plain(InputLaw):
    law = "no dataclass"


def _local():
    def one(power, arrays, key):
        return _one(power, arrays, key)

    return one


@pytest.mark.parametrize(
    "law",
    [_OfAnArray(np.arange(2000.0)), _OfAFunction(lambda x: x), _OfAPlugin(6.0), _Plain(), np.float64(2), _local()],
    ids=["array", "function", "plug-in", "no dataclass", "NumPy's", "made by a function"],
)
def test_a_static_value_that_cannot_be_written_down_is_not_kept(law, folder, traced):
    """Though the repr of some is the same for other laws, or for other processes."""
    inside = Layout("explicit", 20, 0, False, law) if isinstance(law, InputLaw) else (law,)
    for static in (inside, (1, inside)):
        ((_, found),) = draws.chunks(draws.Draws(_with_a_law, (static, 2), ARRAYS, 4, RESULT), 5, 4)
        assert same(found, values(result=None))
    assert not traced
    assert not folder.exists()


def _with_a_law(law, power, arrays, key):
    return _one(power, arrays, key)


def test_a_function_that_is_not_the_packages_is_not_kept(folder, traced):
    for one in (_local(), functools.partial(_one)):
        ((_, found),) = draws.chunks(draws.Draws(one, (2,), ARRAYS, 4, RESULT), 5, 4)
        assert same(found, values(result=None))
    assert not traced
    assert not folder.exists()


def test_values_of_another_structure_than_was_said_are_an_error(folder):
    with pytest.raises(TypeError, match="structure"):
        values(result={"drawn": 0, "total": 0})


def test_programs_are_let_go_of_with_the_others(folder, traced, monkeypatch):
    expected = values()
    monkeypatch.setattr(processes, "_MOST_MAPS", 0)
    processes.release_memory()
    assert not lowered._compiled
    assert same(values(), expected)
    assert len(traced) == 1


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
    program._program = program._result = None
    assert same(tuple(kept), tuple(program.finish(program.start(key, 64), key, 64)))
    assert len(traced) == 1
