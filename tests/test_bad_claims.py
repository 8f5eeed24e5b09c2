"""Bad claims files, 200 or, if `heavy`, 1000: each is one clear line, runs no experiment and leaves nothing behind."""

import copy
import functools
import math
import operator
import re
from unittest import mock

import pytest
from bad_input import EXAMPLES, JUNK, Good, as_yaml, assert_one_clear_line, mutated, places, run_in_folder, torn, tries
from hypothesis import given, reject
from hypothesis import strategies as st
from ruamel.yaml import YAML
from test_claims_schema import document

from linreg_lora.claims import judge
from linreg_lora.claims.cases import cases
from linreg_lora.claims.file import default_path
from linreg_lora.errors import InvalidInput

#: The package's own claims: as text, a piece for each and one for what precedes them; and as data.
HEAD, *PIECES = re.split(r"(?m)^(?=  - id: )", default_path().read_text(encoding="utf-8"))
REAL = YAML(typ="safe", pure=True).load(default_path())
#: What stands around a claim: one entry of each other list, so that a file is quickly read.
AROUND = {**REAL, "undecidable": REAL["undecidable"][:1], "slips": REAL["slips"][:1]}

NAMES = st.sampled_from(
    ["fft.overdetermined", "truncation.once-noise", "difference.zero", "fft-risk", "lora-minus-fft", "fft-update",
     "squared-spectral-norm", "gaussian-matrices", "identity", "pathwise", "holds", "equals", "low-rank", "reading",
     "fft.magic", "Fft-Risk", "overdetermined ", "__import__('os')", "os.system"]
)  # fmt: skip
NUMBERS = st.sampled_from(
    [-1, 0, 0.5, 2.5, 7, 99, 10**9, 10**20, 10**400, -1e-9, 1e31, 1e300, math.inf, -math.inf, math.nan, True, "3", [3]]
)


def grouped(wanted):
    """The values of the package's claims that are `wanted`, by field: a claim, and the path in a file of it alone."""
    found = {}
    for claim in REAL["claims"]:
        content = {**AROUND, "claims": [claim]}
        for place in places(content):
            field = [part for part in place if isinstance(part, str)][-1]
            if wanted(field, functools.reduce(operator.getitem, place, content)):
                found.setdefault(field, []).append((claim, place))
    return found


NAMED = grouped(lambda field, _: field in {"kind", "expected", "relation", "prediction", "name", "predicate", "family",
                                           "regime", "status", "id", "rank"})  # fmt: skip
NUMBERED = grouped(lambda _, value: isinstance(value, (int, float)) and not isinstance(value, bool))


@st.composite
def spoilt_content(draw):
    """A small file, or one of the package's claims, with some values changed."""
    content = {**AROUND, "claims": [draw(st.sampled_from(REAL["claims"]))]}
    content = draw(st.sampled_from([document(), content]))
    return as_yaml(draw(mutated(content))).encode()


@st.composite
def replaced(draw, found, values):
    """One of the package's claims, with the value of one of these fields replaced."""
    claim, (*way, last) = draw(st.sampled_from(found[draw(st.sampled_from(sorted(found)))]))
    content = copy.deepcopy({**AROUND, "claims": [claim]})
    functools.reduce(operator.getitem, way, content)[last] = draw(values)
    return as_yaml(content).encode()


@st.composite
def spoilt_text(draw):
    """The head of the package's file and one or two claims, comments, anchors and aliases included, bytes changed."""
    pieces = draw(st.lists(st.sampled_from(PIECES), min_size=1, max_size=2, unique=True))
    return draw(torn((HEAD + "".join(pieces)).encode()))


@st.composite
def chain(draw):
    """Mappings or lists, each made of several of the one before."""
    levels, copies = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    form = draw(st.sampled_from(["[{}]", "[x, {}]", "{{<<: [{}]}}", "{{k: [{}]}}"]))
    lines = ["schema_version: 1", "family_wise_level: 1.0e-6", "a0: &a0 {k: 1}"]
    lines += [f"a{i + 1}: &a{i + 1} " + form.format(", ".join([f"*a{i}"] * copies)) for i in range(levels)]
    return "\n".join([*lines, f"claims: *a{levels}"])


#: Values that are more than data, or look like data and are not.
ODD = st.one_of(
    st.sampled_from(
        ["!!python/object/apply:os.system [ls]", "!!python/name:os.system", "!!python/tuple [1]", "!!set {a, b}",
         "!!omap [a: 1]", "!!pairs [a: 1]", "!!int x", "!!bool x", "!!timestamp x", "!!binary x", "!<%zz> a", "!foo a",
         "&a [*a]", "&a {x: *a}", "{? &a {x: *a} : 1}", "*nowhere", "{? [1, 2] : 3}", "{? {a: 1} : 2}", "{a: 1, a: 2}",
         "{<<: 3}", "{<<: {a: 1}}", "2020-99-99", "0x", "0o9", "1_0", '"\\q"', '"\\Uffffffff"', '"\\ud800"', "'", '"',
         "0x" + "f" * 5000, "9" * 4000, "9" * 5000, "`", "@", "%", "|", ">", "? ", "- ", "[", "{", "]", "}", "x: y: z",
         "x" * 1000, "[" * 20 + "]" * 20, "{a: " * 1000 + "}" * 1000, "[" * 1000, "- " * 1000]
    ),
    st.text(max_size=30), JUNK.map(as_yaml),
)  # fmt: skip


@st.composite
def odd_yaml(draw):
    """A file with such a value in it."""
    before = draw(st.sampled_from(["", "", "", "a: &a 1\nb: &a 2\n", "%YAML 1.1\n---\n", "%YAML 1.3\n---\n", "\ufeff"]))
    field = draw(st.sampled_from(["claims", "claims", "claims", "schema_version", "family_wise_level", "surprise"]))
    forms = ["{}", "[{}]", "[{{id: {}}}]", "[{{id: a, rivals: [{}]}}]", "[{{domain: {}}}]", "{{? {} : 1}}"]
    odd = draw(st.sampled_from(forms)).format(draw(ODD))
    lines = {"schema_version": "1", "family_wise_level": "1.0e-6", "claims": "[{id: a}]", field: odd}
    return (before + "".join(f"{key}: {value}\n" for key, value in lines.items())).encode("utf-8", "surrogatepass")


#: How the file is bad, and how many such files of a thousand.
KINDS = {
    "values": (spoilt_content(), 250),
    "numbers": (replaced(NUMBERED, NUMBERS), 200),
    "names": (replaced(NAMED, NAMES), 150),
    "bytes": (spoilt_text(), 150),
    "odd values": (odd_yaml(), 150),
    "chains of aliases": (chain().map(str.encode), 40),
    "binary": (st.binary(max_size=200), 30),
    "encodings": (st.builds(str.encode, st.sampled_from(PIECES), st.sampled_from(["utf-16", "utf-32", "cp037"])), 30),
}


def would_judge(claim, seed, correction=None, **_):
    try:
        for domain in claim.domains:
            cases(domain)
    except InvalidInput as error:
        raise AssertionError("the claim was accepted, and its domain makes no problem") from error
    raise Good


@EXAMPLES
@pytest.mark.parametrize("kind", KINDS)
def test_bad_files_are_one_line_each_and_leave_nothing(kind, examples):
    files, count = KINDS[kind]

    @tries(count * examples // 1000)
    @given(files, st.sampled_from(["table", "json", "junit"]))
    def check(text, form):
        try:
            ended = run_in_folder({"claims.yaml": text}, "check", "--claims", "claims.yaml", "--format", form)
        except Good:
            reject()
        assert_one_clear_line(ended)
        assert re.fullmatch(r"linreg-lora: \S.*: expected \S.*, received \S.*\n", ended.err)

    assert sum(count for _, count in KINDS.values()) == 1000
    with mock.patch.object(judge, "judge_claim", would_judge):
        check()
