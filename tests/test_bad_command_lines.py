"""Bad command lines, 200 or, if `heavy`, 1000: each is one clear line, draws nothing and leaves nothing behind."""

import itertools
import random

import pytest
from bad_input import EXAMPLES, as_yaml, assert_one_clear_line, run_in_folder, tries
from hypothesis import given
from hypothesis import strategies as st
from test_claims_schema import document

from linreg_lora.claims import judge
from linreg_lora.proofs import steps
from linreg_lora.simulation import draws
from linreg_lora.sweeps import curves as sweeps
from linreg_lora.sweeps import grid
from linreg_lora.training import descent

#: What the folder holds in which every line runs.
FILES = {
    "claims.yaml": as_yaml(document()).encode(),
    "sweep.yaml": b"{problem: {n: 12, dx: 4, dy: 4, spectrum: [2, 1]}, axes: {noise_std: [0.5, 1.0]}, ranks: [1]}",
    "binary": b"\xff\xfe\x00",
    "empty": b"",
    "broken.py": b"import linreg_lora as ll\nll.claims.register_prediction(3)\n1 / 0\n",
    "folder/file": b"",
}

# -- values that are bad wherever they stand --------------------------------------------------------------------

#: Not the name of anything, not a number and not a list of numbers; no command line holds a NUL.
WORD = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12).map("x".__add__)
LONG = st.sampled_from(["x" * 10**5, "x y " * 10**4, "1" * 5000 + "x", "x\x1b[2J\r\n" * 1000])
ODD = st.sampled_from(["", " ", "--", "-", "+", "½", "0x1f", "1 2", "1e", "--1", "\x1b[31m", "\u202e1", "\udcff"])
NOT_A_NUMBER = WORD | ODD | LONG | st.sampled_from(["1;2", "1,5", "9" * 5000 + "."])
NOT_AN_INTEGER = NOT_A_NUMBER | st.sampled_from(["1.5", "1e3", "nan", "inf"]) | st.floats(0.01, 0.99).map(str)
NEGATIVE = st.integers(max_value=-1).map(str)
TOO_SMALL = st.integers(max_value=0).map(str)
NOT_A_SIZE = NOT_AN_INTEGER | TOO_SMALL | (st.integers(2**53 + 1, 10**40) | st.just(10**400)).map(str)
NOT_A_DIMENSION = NOT_A_SIZE | st.integers(10**7 + 1, 2**53).map(str)
NOT_A_SEED = NOT_AN_INTEGER | NEGATIVE | st.integers(min_value=2**63).map(str)
UNREAL = st.sampled_from(["nan", "inf", "-inf", "1e31", "1e999", "-1e-9", "9" * 400])
NOT_A_SCALE = NOT_A_NUMBER | UNREAL | st.floats(max_value=-1e-9).map(str)
NOT_A_LIST = st.one_of(
    WORD, LONG, st.sampled_from([",", "1,,1", "1,", ",1", "1;1", "1 1", "1,x", "½", "1,0x1", "1," * 10**4, "[1]"])
)
NO_FILE = st.one_of(
    st.sampled_from(["", ".", "/", "missing", "folder", "folder/missing", "empty/x", "/dev/null/x", "binary", "empty"]),
    st.sampled_from(["x" * 300, "x/" * 3000, "x" * 10**5, "\x1b[2J", "\udcff", "folder/../missing", "~", "*", "-"]),
    WORD,
)
NO_FOLDER = st.sampled_from(
    ["binary", "binary/x", "folder/file/x/y", "/dev/null", "/dev/null/x", "/proc/x", "/proc/self/x", "x" * 300,
     "new/" + "x" * 300, "new/er/" + "x" * 300, "x" * 10**5, "x/" * 3000]
)  # fmt: skip
NO_PLACE = st.sampled_from(
    ["", ".", "..", "/", "folder", "binary", "sweep.yaml", "missing/x.nc", "binary/x.nc", "/dev/null", "/dev/null/x.nc",
     "/proc/x.nc", "x" * 300, "x" * 10**5, "folder/" + "x" * 256, "missing/../x.nc"]
)  # fmt: skip


def listed(numbers):
    return ",".join(map(repr, numbers))


def among(count, values):
    """Lists of so many ones, with one of `values` among them."""
    return st.builds(
        lambda place, value: ",".join(["1"] * place + [value] + ["1"] * (count - 1 - place)),
        st.integers(0, count - 1),
        values,
    )


INCREASING = st.lists(st.floats(0, 1e3), min_size=2, max_size=5, unique=True).map(sorted).map(listed)
NOT_A_SPECTRUM = st.one_of(
    NOT_A_LIST, INCREASING, st.integers(6, 10**4).map(lambda count: listed([1] * count)), among(3, UNREAL)
)


def not_variances(count):
    lengths = st.integers(0, 3 * count).filter(lambda length: length != count).map(lambda length: listed([1] * length))
    return st.one_of(NOT_A_LIST, lengths, among(count, UNREAL), st.just(listed([0] * count)))


# -- lines ------------------------------------------------------------------------------------------------------


def bad(**values):
    """One option with a bad value, or left out (None)."""
    return [st.fixed_dictionaries({name.replace("_", "-"): value}) for name, value in values.items()]


def clash(**values):
    """Options that are bad together."""
    return st.just({name.replace("_", "-"): value for name, value in values.items()})


PROBLEM = {"n": "30", "dx": "6", "dy": "5", "spectrum": "3,2,1", "noise-std": "0.5"}
LEFT_OUT = {name: bad(**{name: st.none()})[0] for name in PROBLEM}
BAD_PROBLEM = [
    *bad(n=NOT_A_SIZE, dx=NOT_A_DIMENSION, dy=NOT_A_DIMENSION, noise_std=NOT_A_SCALE, ridge=NOT_A_SCALE),
    *bad(spectrum=NOT_A_SPECTRUM, input_spectrum=not_variances(6), noise_spectrum=not_variances(5)),
    *LEFT_OUT.values(),
]
NOT_A_FORM = WORD | ODD | LONG
NOT_A_NAME = WORD | LONG | st.sampled_from(["", " ", "½", "\x1b[31m", "\udcff", "risk-vs-sample-size", "1"])
NOT_A_METHOD = st.sampled_from(
    ["lora", "lora:", "lora:-1", "lora:1.5", "lora:x", "lora:1:2", "bitfit:1", "frozen-a", "frozen-a:0", "frozen-a:nan",
     "frozen-b:2@abc", "fft,fft", "fft,,bitfit", ",", "lora:" + "9" * 5000, "fft;bitfit", "lora:1e999"]
)  # fmt: skip
#: A good line, ways to spoil it, and how many bad lines of a thousand.
COMMANDS = {
    "risk": (
        PROBLEM,
        [
            *BAD_PROBLEM,
            *bad(ranks=NOT_A_LIST | NEGATIVE | st.sampled_from(["", "1.5", "1,5,6", "9" * 5000])),
            *bad(ranks=among(3, st.integers(6, 10**30).map(str))),
            *bad(method=NOT_A_FORM, trials=NOT_A_SIZE | st.just("1"), seed=NOT_A_SEED, format=NOT_A_FORM),
            st.fixed_dictionaries({"forgetting": st.just(True), "pretraining-spectrum": not_variances(6)}),
            st.fixed_dictionaries({"pretraining-spectrum": st.just("1,1,1,1,1,1") | NOT_A_LIST}),
            clash(n="20000", dx="20000", dy="20000"),
            clash(n="9" * 15, dx="9999999", dy="9999999", method="theory"),
            clash(dx="10001", forgetting=True),
            clash(dx="9999999", forgetting=True, method="theory", ranks="1"),
            clash(input_spectrum="1,1,1,1,1,0", forgetting=True),
            clash(n="3", ranks="4"),
            clash(input_spectrum="1,1,0,0,0,0", ranks="3"),
        ],
        190,
    ),
    "compare": (
        {**PROBLEM, "adapt": "bitfit,lora:2,frozen-a:2"},
        [
            *BAD_PROBLEM,
            *bad(adapt=WORD | ODD | LONG | NOT_A_METHOD | st.none()),
            *bad(method=NOT_A_FORM, trials=NOT_A_SIZE | st.just("1"), seed=NOT_A_SEED, format=NOT_A_FORM),
            *bad(pretrained_seed=NOT_A_SEED),
            clash(dx="9999999", dy="9999999", **{"pretrained-seed": "1"}),
        ],
        80,
    ),
    "crossover": (
        {**PROBLEM, "rank": "1", "over": "noise_std", "low": "0.1", "high": "10"},
        [
            *(one for one in BAD_PROBLEM if one is not LEFT_OUT["noise-std"]),  # which is varied
            *bad(over=NOT_A_FORM, rank=NOT_AN_INTEGER | TOO_SMALL | st.integers(min_value=5).map(str)),
            *bad(low=NOT_A_SCALE | st.just("0"), high=NOT_A_SCALE | st.just("0"), format=NOT_A_FORM),
            *bad(over=st.none(), rank=st.none(), low=st.none(), high=st.none()),
            st.fixed_dictionaries({"low": st.floats(1, 9).map(str), "high": st.floats(0.1, 1).map(str)}),
            clash(over="n", low="5", high="5"),
            clash(over="n", low="5.2", high="5.9"),
            clash(over="n", low="5", high="1e17"),
            clash(over="n", low="6", high="7"),
            clash(n="6"),
        ],
        170,
    ),
    "check": (
        {"claims": "claims.yaml"},
        bad(
            claims=NO_FILE,
            only=WORD | ODD | LONG,
            paper=NOT_A_NAME,
            plugin=NO_FILE | st.sampled_from(["broken.py", "claims.yaml"]),
            seed=NOT_A_SEED,
            format=NOT_A_FORM,
        ),
        120,
    ),
    "report": (
        {"out": "new.html", "claims": "claims.yaml"},
        bad(
            out=NO_FOLDER.filter(lambda path: path != "binary") | st.sampled_from(["folder", ".", "", "claims.yaml"]),
            claims=NO_FILE,
            paper=NOT_A_NAME,
            plugin=NO_FILE,
            seed=NOT_A_SEED,
            budget=NOT_A_FORM,
        ),
        60,
    ),
    "prove": ({"proof": "truncation-error"}, bad(proof=NOT_A_NAME, format=NOT_A_FORM), 40),
    "figures": (
        {"out": "new/folder", "workers": "1"},
        bad(
            figure=NOT_A_NAME,
            out=NO_FOLDER,
            trials=NOT_A_SIZE | st.just("1"),
            seed=NOT_A_SEED,
            workers=NOT_A_SIZE,
        ),
        110,
    ),
    "sweep": (
        {"sweep": "sweep.yaml", "out": "new.nc", "workers": "1"},
        [
            *bad(sweep=NO_FILE | st.sampled_from([None, "claims.yaml"]), out=NO_PLACE | st.none(), journal=NO_PLACE),
            *bad(workers=NOT_A_SIZE),
            st.fixed_dictionaries({"workers": st.sampled_from(["1", "2"]), "scheduler": WORD | ODD | LONG}),
            clash(out="new.nc", journal="new.nc"),
            clash(out="new.nc", journal="sweep.yaml"),
            clash(out="folder/file", resume=True),
            clash(out="new.nc", journal="binary", resume=True),
            clash(out="new.nc", journal="folder", resume=True),
            clash(workers="0", **{"dry-run": True}),
            clash(out="binary", **{"dry-run": True}),
        ],
        120,
    ),
    "train": (
        {**PROBLEM, "steps": "3", "trials": "2"},
        [
            *BAD_PROBLEM,
            *bad(ranks=NOT_A_LIST | NEGATIVE | st.sampled_from(["", "0", "1.5", "1,5,6", "9" * 5000])),
            *bad(trials=NOT_A_SIZE | st.sampled_from(["1", "9" * 12]), seed=NOT_A_SEED, steps=NOT_A_SIZE),
            *bad(optimiser=NOT_A_FORM, schedule=NOT_A_FORM, scaling=NOT_A_FORM, start=NOT_A_FORM, format=NOT_A_FORM),
            *bad(learning_rate=NOT_A_SCALE | st.just("0"), ratio=NOT_A_SCALE | st.just("0"), weight_decay=NOT_A_SCALE),
            *bad(alpha=NOT_A_SCALE | st.just("0"), at=NOT_A_LIST | st.sampled_from(["0.5", "2,1", "4", "-1"])),
            *bad(picture=st.sampled_from(["x.jpg", "x", "", "missing/x.png", "folder"])),
            clash(ranks="1-6", dx="9", dy="9", n="20", picture="x.png"),
            clash(input_spectrum="1,1,1,1,1,0"),
        ],
        70,
    ),
}  # fmt: skip
#: Options that are given without their names, and what else a complaint about an option may call it.
POSITIONAL = ("figure", "proof", "sweep")
ALSO = {
    "proof": ["id: "],
    "sweep": ["config.yaml", "problem"],
    "only": ["claims"],
    "plugin": ["path"],
    "adapt": ["method"],
    "out": ["path"],
    "journal": ["path"],
}

UNKNOWN = WORD.map("--x".__add__) | st.sampled_from(
    ["--nois=1", "--N", "-n", "-x3", "--no-forgetting", "---", "--x=" + "x" * 10**5]
)


def written(command, options):
    """The words of a line, in an order and a form that depend on nothing but the options."""
    chance = random.Random(repr(options))
    words = []
    for name, value in options.items():
        if value is True:
            words.append([f"--{name}"])
        elif value is not None and name in POSITIONAL:
            words.append([value])
        elif value is not None:
            words.append(chance.choice([[f"--{name}={value}"], [f"--{name}", value]]))
    chance.shuffle(words)
    return [command, *itertools.chain(*words)]


@st.composite
def spoilt_lines(draw, command):
    """Lines with one bad value, or one clash, and the options that are bad."""
    good, spoilers, _ = COMMANDS[command]
    spoilt = draw(st.one_of(spoilers))
    return written(command, good | spoilt), set(spoilt)


def broken_lines():
    """Lines that are bad in their form: no such command, option or argument, and no value."""
    whole = st.sampled_from([written(command, good) for command, (good, *_) in COMMANDS.items()])
    valueless = ["--n", "--claims", "--only", "--out", "--seed", "--trials", "--workers", "--format", "--version=1"]
    return st.one_of(
        (WORD | ODD | LONG | st.sampled_from(["Risk", "risks", "risk ", "claims.yaml"])).map(lambda word: [word]),
        UNKNOWN.map(lambda word: [word]),
        st.builds(lambda word, line: [word, *line], UNKNOWN, whole),
        st.builds(lambda line, word: [*line, word], whole, UNKNOWN),
        st.builds(lambda line, word: [*line, "extra", word], whole, WORD),
        st.builds(lambda line, word: [*line, word], whole, st.sampled_from(valueless)),
        st.builds(
            lambda line, word: [*line, word], whole, st.sampled_from(["--forgetting=1", "--resume=1", "--help=1"])
        ),
    )


def worked(*_, **__):
    raise AssertionError("a bad line was taken for a good one")


@pytest.fixture
def nothing_works(monkeypatch):
    """What would draw, judge or prove raises instead."""
    monkeypatch.setattr(draws, "chunks", worked)
    monkeypatch.setattr(sweeps, "finished_cells", worked)
    monkeypatch.setattr(grid, "finished_cells", worked)
    monkeypatch.setattr(judge, "judge_claim", worked)
    monkeypatch.setattr(steps, "run", worked)
    monkeypatch.setattr(descent, "descend", worked)


@EXAMPLES
@pytest.mark.parametrize("command", COMMANDS)
def test_bad_lines_are_one_line_each_and_leave_nothing(command, examples, nothing_works):
    @tries(COMMANDS[command][-1] * examples // 1000)
    @given(spoilt_lines(command))
    def check(line):
        words, spoilt = line
        ended = run_in_folder(FILES, *words)
        assert_one_clear_line(ended)
        said = ended.err.lower().replace("_", "-")
        assert any(name in said for option in spoilt for name in (option, *ALSO.get(option, [])))

    check()


def test_lines_of_no_form_are_one_line_each_and_leave_nothing(nothing_works):
    @tries(1000 - sum(count for *_, count in COMMANDS.values()))
    @given(broken_lines())
    def check(words):
        assert_one_clear_line(run_in_folder(FILES, *words))

    check()
