"""The note: its numbers are those of committed files, none stands in its text, and it compiles to the same bytes."""

import json
import re
import sys
import types
from fractions import Fraction

import numpy as np
import pytest
from note import build, sources, values, verdicts

from linreg_lora import citation

SOURCE = build.SOURCE.read_text()
RESULTS = sources.RESULTS


@pytest.fixture(scope="module")
def numbers():
    return values.collect()


@pytest.fixture
def prepared(numbers, monkeypatch):
    """What the source reads, written; the numbers are collected once."""
    monkeypatch.setattr(values, "collect", lambda: numbers)
    build.prepare()


def prose(source):
    """The text of a Typst source, without formulas, code, labels, comments, keys of references and calls of values."""
    source = re.sub(r"^\s*//.*$", "", source, flags=re.MULTILINE)
    source = re.sub(r"```.*?```|`[^`]*`", "", source, flags=re.DOTALL)
    source = re.sub(r"\$[^$]*\$", "", source)
    source = re.sub(r"<[\w-]+>|@[\w-]+|\"[^\"\n]*\"", "", source)
    return re.sub(r"#?\bv(\.\w+(\(\d+\))?)+", "", source)


def numbers_in(source):
    """Numbers in the text; digits in a name, as in IA3, are none."""
    return re.findall(r"(?<!\w)\d[\w.]*", prose(source))


def test_no_number_stands_in_the_text():
    """Of formulas too none has a decimal point: what was measured or counted is read from values.json."""
    assert re.findall(r"\d+\.\d+", SOURCE) == []
    assert numbers_in(SOURCE) == []


def test_a_number_in_the_text_would_be_found():
    planted = SOURCE.replace("= Related work", "IA3 is right in 97 of them, $x = 2$ of @sec3.\n\n= Related work")
    assert planted != SOURCE
    assert numbers_in(planted) == ["97"]


def test_every_value_and_every_figure_that_the_source_names_is_there(numbers):
    for name in re.findall(r"(?<![\w.])v((?:\.\w+(?:\(\d+\))?)+)", SOURCE):
        found = numbers
        for part in re.findall(r"\.at\((\d+)\)|\.(\w+)", name):
            if part[0]:
                found = found[int(part[0])]
            elif part[1] != "map":
                found = found[part[1]]
    for name in re.findall(r'#picture\("([\w-]+)"', SOURCE):
        assert (sources.FIGURES / f"{name}.pdf").is_file()


def test_every_reference_is_cited_and_every_citation_is_a_reference():
    known = set(re.findall(r"^@\w+\{([\w-]+),", (build.FOLDER / "references.bib").read_text(), re.MULTILINE))
    judged = set(citation.keyed(verdicts.judged()))
    labels = {*re.findall(r"<([a-z][\w-]*)>", SOURCE)} | {*re.findall(r"@([a-z][\w-]*)", SOURCE)}
    years = {name for name in labels if re.search(r"\d{4}$", name)}
    others = build.without_known(citation.bibliography(verdicts.judged()))
    assert set(re.findall(r"^@misc\{([\w-]+),", others, re.MULTILINE)) == judged - known
    assert known <= years <= known | judged


def test_errors_of_the_equivalent_are_those_of_its_page(numbers):
    """From the page, where `collect` reads the file of all columns; the largest errors are among the rows shown."""
    summary, rows, *_ = sources.tables("equivalent_error.md")
    for i, found in enumerate(numbers["accuracy"]["all"]):
        (page,) = (one for one in summary if one["d"] == str(found["d"]))
        assert (found["problems"], found["worst"]) == (int(page["problems"]), page["error, worst"])
        assert float(found["error"]) == pytest.approx(float(page["error, median"]), abs=0.0056)  # rounded twice
        assert float(found["withheld"]) == pytest.approx(float(page["ranks flagged or refused"].split()[0]), abs=0.56)
        errors = {one["family"]: one["error"] for one in rows if one["d"] == str(found["d"])}
        known = {name: float(error) for name, error in errors.items() if error != "none"}
        assert (len(known), len(errors)) == (found["judged"], found["problems"])
        shown = {row["cells"][i]["error"] for row in numbers["accuracy"]["rows"]}
        assert f"{max(known[name] for name in known if not name.startswith('inputs')):.2f}" in shown


def test_the_law_of_complexity_was_right_as_often_as_is_said(numbers):
    """From the problems themselves, where `collect` reads the page."""
    drawn = [json.loads(line) for line in (RESULTS / "task_complexity.jsonl").read_text().splitlines()]
    decided = [one for one in drawn if abs(one["difference"]) > 3 * one["stderr"]]

    def right(chosen, says):
        hits = [says(one) == (one["difference"] < 0) for one in chosen]
        return f"{100 * np.mean(hits):.1f} % of {len(hits)}"

    def by_fraction(one):
        return one["complexity"] < 1

    found = numbers["complexity"]
    assert (found["problems"], found["decided"]) == (str(len(drawn)), str(len(decided)))
    assert found["everywhere"] == right(decided, by_fraction)
    assert found["domain"] == right([one for one in decided if one["sure"]], by_fraction)
    assert found["outside"] == right([one for one in decided if not one["sure"]], lambda one: one["predicted"] < 0)
    assert found["near"] == right([one for one in decided if 0.8 <= one["complexity"] < 1], by_fraction)


def test_regrets_are_those_of_the_problems(numbers):
    drawn = [json.loads(line) for line in (RESULTS / "own_data_choice.jsonl").read_text().splitlines()]
    names = {shown: name for name, shown in values.RULES.items()}
    assert numbers["deletion"]["problems"] == str(len(drawn))
    for rule in numbers["deletion"]["rules"]:
        for over, cells in ((True, rule["cells"][:3]), (False, rule["cells"][3:])):
            regrets = [one["regret"].get(names[rule["name"]]) for one in drawn if one["over"] is over]
            regrets = [value for value in regrets if value is not None and np.isfinite(value)]
            if cells[0] != "–":
                expected = [*np.quantile(regrets, (0.9, 0.95)), max(regrets)]
                assert [float(cell) for cell in cells] == pytest.approx(expected, abs=0.0051)


def test_the_counterexample_to_a_constant_by_hand(numbers):
    """T + N = diag(2.999, 3): its truncation keeps the second entry, and misses T by 3.999 and by 1."""
    missed, second = Fraction("3.999"), 2
    said = f"the left side is {float(missed**2)}, the right side {2 * second**2 + 4}"
    assert numbers["papers"]["constant"].endswith(said)
    assert 2 * second**2 + 4 < missed**2 <= 2 * second**2 + 8


def test_verdicts_add_up_to_all_claims(numbers):
    found = numbers["papers"]
    assert sum(found["cells"]) + found["own"] == found["claims"] + found["undecidable"]
    cells = [*(row["cells"] for row in found["rows"]), found["rest"]]
    assert [sum(column) for column in zip(*cells, strict=True)] == found["cells"]
    assert found["few"] + len(found["rows"]) == found["papers"]
    assert min(sum(row["cells"]) for row in found["rows"]) >= found["least"]
    assert [row["name"] for row in found["rows"] if not row["key"]] == ["surveys"]


def test_numbers_without_their_source_are_an_error():
    with pytest.raises(sources.NotFound, match="expected a row 'C_q'"):
        sources.row("task_complexity.md", "C_q", "AUC")
    with pytest.raises(sources.NotFound, match=r"peft\.md: expected"):
        sources.said(RESULTS / "peft.md", r"the largest is (\d+) metres")


def test_what_is_missing_is_one_line_and_code_2(monkeypatch, capsys):
    def lost():
        raise sources.NotFound("a.md: expected a row 'b', found none")

    monkeypatch.setitem(sys.modules, "typst", None)
    assert build.main() == 2
    assert capsys.readouterr().err == (
        "typst: expected to be installed, received no such package; pip install '.[note]'\n"
    )
    monkeypatch.setitem(sys.modules, "typst", types.SimpleNamespace(TypstError=RuntimeError))
    monkeypatch.setattr(values, "collect", lost)
    assert build.main() == 2
    assert capsys.readouterr().err == "values: a.md: expected a row 'b', found none\n"


def test_it_compiles_to_the_same_bytes_on_eight_to_twelve_pages(prepared):
    pytest.importorskip("typst", reason="the note is compiled by Typst: pip install '.[note]'")
    (made,), (again,) = build.compiled(), build.compiled()
    assert made.startswith(b"%PDF")
    assert made == again
    assert b"CreationDate" not in made
    assert 8 <= len(build.compiled("png", resolution=10.0)) <= 12
