"""`linreg-lora papers` and docs/contested.md: numbers counted by hand, verdicts of a run, what is refused."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from test_claims_schema import document

from linreg_lora.claims.collection import collect_claims
from linreg_lora.claims.contested import own_questions
from linreg_lora.claims.file import default_path, parse_claims
from linreg_lora.claims.library import rank_selection
from linreg_lora.claims.show import contested, errata, legend, papers
from linreg_lora.claims.vocabulary import Verdict

UNREAD = {"paper": "Doe 2020", "locator": "on ranks", "status": "memory", "note": "It is said to claim this."}


def three_claims():
    """Two sources: one read, of which one claim is ours, and one remembered, of which one statement fails."""
    content = document(contested={"question": "surplus-rank", "answer": "no | never", "under": "always"})
    first = content["claims"][0]
    own = {**first, "id": "own", "source": {**first["source"], "status": "own"}, "false_alarm": 1e-8}
    own["contested"] = {"question": "who", "answer": "we", "under": "here"}
    wrong = {**own, "id": "wrong", "source": UNREAD, "expected": "fails", "counterexample": "n = 2"}
    wrong["contested"] = {"question": "surplus-rank", "answer": "yes"}
    content["claims"] += [own, wrong]
    content["undecidable"] = [
        {"id": "u", "title": "Depth", "statement": "s", "why": "No depth here.", "source": UNREAD}
    ]
    content["undecidable"][0]["contested"] = {"question": "surplus-rank", "answer": "at depth"}
    content["questions"] = [{"id": "who", "asks": "Who is right?"}]
    content["papers"] = [
        {"paper": "arXiv 2605.19018", "authors": "Z", "year": 2026, "title": "T", "status": "read"},
        {"paper": "Doe 2020", "status": "memory"},
    ]
    return content


def test_verdicts_are_counted_by_paper_and_status():
    first, second = papers.to_records(parse_claims(three_claims()), {})
    assert (first["paper"], first["title"], first["status"]) == ("arXiv 2605.19018", "T", "read")
    assert [(row["status"], row["holds"], row["fails"]) for row in first["verdicts"]] == [("read", 1, 0), ("own", 1, 0)]
    (row,) = second["verdicts"]
    assert (row["status"], row["fails"], row["undecidable-here"], row["holds"]) == ("memory", 1, 1, 0)
    assert second["claims"][0]["verdict_shown"] == "this reading fails"
    assert second["undecidable"] == [{"id": "u", "title": "Depth", "status": "memory", "why": "No depth here."}]
    assert "nothing of it was at hand" in second["known"]
    assert (first["questions"], second["questions"]) == (["surplus-rank", "who"], ["surplus-rank"])


@pytest.fixture(scope="module")
def everything():
    return collect_claims(everything=True)


def test_every_statement_of_the_package_is_counted_once(everything):
    file, records = everything.file, papers.to_records(everything.file, {})
    found = Counter({v: sum(row[v] for r in records for row in r["verdicts"]) for v in Verdict})
    expected = Counter(c.expected for c in file.claims) + Counter({Verdict.UNDECIDABLE: len(file.undecidable)})
    assert +found == expected
    assert len(records) == len({entry.source.paper for entry in (*file.claims, *file.undecidable)})


def test_verdicts_of_a_run_are_shown_and_an_unexpected_one_exits_with_1(run, tmp_path):
    path, file = tmp_path / "check.json", tmp_path / "mine.yaml"
    file.write_text(json.dumps(three_claims()))
    words = ("papers", "--claims", str(file), "--checked", str(path))
    path.write_text(json.dumps({"claims": [{"id": "own", "verdict": "holds"}]}))
    code, out, _ = run(*words)
    assert (code, out.count("1 of 1"), out.count("0 of 0")) == (0, 1, 2)
    path.write_text(json.dumps({"claims": [{"id": "own", "verdict": "holds"}, {"id": "wrong", "verdict": "holds"}]}))
    code, out, _ = run(*words, "--format", "json")
    record = json.loads(out)["papers"][1]
    assert (code, record["as_expected"], record["checked"], record["verdicts"][0]["holds"]) == (1, False, 1, 1)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"claims": [{"id": "x", "verdict": "maybe"}]}', "[" * 100_000, "\x00"]
)
def test_a_file_that_is_no_run_is_refused(run, tmp_path, text):
    path = tmp_path / "check.json"
    path.write_text(text)
    code, out, err = run("papers", "--checked", str(path))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "checked: expected what `linreg-lora check --format json` writes" in err
    assert run("papers", "--checked", str(tmp_path / "none.json"))[0] == 2


def test_what_fails_of_ours_about_a_paper_of_others_is_a_reading(run, tmp_path):
    """Also of a paper that was read: it does not say so. What fails of our own paper fails."""
    content = three_claims()
    about = content["claims"][1]
    about |= {"expected": "fails", "counterexample": "n = 2"}
    del about["contested"]
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(content))
    out = json.loads(run("papers", f"--claims={path}", "--format=json")[1])["papers"][0]
    assert {claim["id"]: claim["verdict_shown"] for claim in out["claims"]} == {
        "example": "holds", "own": "this reading fails",
    }  # fmt: skip
    table = run("papers", f"--claims={path}")[1]
    assert table.count("1 as read") == 2
    ours = {**about, "id": "ours", "source": {"paper": "mine", "locator": "here", "status": "own"}}
    content |= {"claims": [ours], "papers": [{"paper": "mine", "status": "own"}]}
    content.pop("undecidable", None)
    path.write_text(json.dumps(content))
    out = json.loads(run("papers", f"--claims={path}", "--format=json")[1])["papers"][0]
    assert out["claims"][0]["verdict_shown"] == "fails"


def test_verdicts_of_a_run_on_other_claims_are_refused(run, tmp_path):
    path = tmp_path / "checked.json"
    path.write_text(json.dumps({"claims": [{"id": "another", "verdict": "holds"}]}))
    code, out, err = run("papers", "--paper=yuan-2011", f"--checked={path}")
    assert (code, out) == (2, "")
    assert "checked: expected a run that judged some of these claims" in err


# -- contested questions --------------------------------------------------------------------------------------------


def test_answers_to_a_question_stand_side_by_side_with_where_each_is_right():
    text = contested.markdown(parse_claims(three_claims()), ["mine.yaml"])
    asks = {question.id: question.asks for question in own_questions()}
    section = text.split(f"## {asks['surplus-rank']}")[1].split("##")[0]
    rows = [line.strip("| ").split(" | ") for line in section.strip().splitlines()[2:]]
    assert rows == [
        ["Z 2026, 2605.19018", "read", "no \\| never", "holds", "always", "`example`"],
        ["Doe 2020", "memory", "yes", "this reading fails", "not at n = 2", "`wrong`"],
        ["Doe 2020", "memory", "at depth", "undecidable-here", "No depth here.", "`u`"],
    ]
    assert "| ours, on 2605.19018 | own | we | holds | here | `own` |" in text.split("## Who is right?")[1]
    left = text.split("## Not judged yet")[1]
    assert f"- {asks['intruders']}" in left
    assert asks["surplus-rank"] not in left


def test_errata_begin_with_the_papers_at_a_glance_and_what_verdicts_mean():
    """By hand: of Z one claim holds (ours about it is counted apart), of Doe one fails and one is undecidable."""
    text = errata.markdown(parse_claims(three_claims()), ["mine.yaml"])
    table = text.split("## Papers at a glance")[1].split("\n## ")[0]
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"
    ]
    assert head == [
        "paper", "known from", "holds", "with a correction", "under a condition", "fails", "undecidable",
        "ours about it",
    ]  # fmt: skip
    assert rows == [
        ["Z 2026, 2605.19018", "read", "1", "", "", "", "", "1"],
        ["[Doe 2020](#doe-2020)", "memory", "", "", "", "1", "1", ""],
        ["all", "", "1", "0", "0", "1", "1", "1"],
    ]
    assert '<a id="doe-2020"></a>\n\n## Doe 2020' in text
    assert {verdict.value for verdict in legend.MEANINGS} == {verdict.value for verdict in Verdict}
    for page in (text, contested.markdown(parse_claims(three_claims()), ["mine.yaml"])):
        assert all(f"| *{verdict}*" in page for verdict in Verdict)
        assert "*fails*, *this reading fails*" in page


def test_every_paper_at_a_glance_leads_to_its_errata(everything):
    text = errata.markdown(everything.file, [part.name for part in everything.parts])
    wanted = re.findall(r"\]\(#([^)]+)\) \|", text)
    assert sorted(wanted) == sorted(re.findall(r'<a id="([^"]+)"></a>', text))
    assert len(set(wanted)) == len(wanted) > 30


def test_a_question_has_one_id():
    content = three_claims()
    content["questions"] *= 2
    with pytest.raises(ValueError, match="questions: expected ids of their own, received who; it is asked already"):
        parse_claims(content)
    content["questions"] = [{"id": "surplus-rank", "asks": "Again?"}]
    with pytest.raises(ValueError, match="received surplus-rank"):
        parse_claims(content)


def test_the_contested_questions_in_docs_are_those_of_the_claims(everything):
    text = contested.markdown(everything.file, [part.name for part in everything.parts])
    assert text == (default_path().parent / "docs" / "contested.md").read_text()


def test_a_file_may_be_about_what_is_undecidable_alone(run, tmp_path):
    content = three_claims() | {"claims": []}
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(content))
    code, out, err = run("check", "--claims", str(path))
    assert (code, err) == (0, "")
    assert "0 of 0 claims as expected" in out
    assert "No depth here." in run("papers", "--claims", str(path))[1]
    assert run("claims", "contested", "--claims", str(path))[1].count("| Doe 2020 |") == 1


# -- an instrument ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(4, 16), (5, 5), (12, 3)])
def test_noise_is_selected_as_often_as_singular_values_say(rows, columns):
    """Against numpy's singular values of matrices of iid normals, 40000 draws each: |z| < 5, level 6e-7 a size.

    In the square case a threshold that is off by one unit of a size is told from the right one."""
    draws = 40_000
    matrices = np.random.default_rng(1).standard_normal((draws, rows, columns))
    direct = np.linalg.svd(matrices, compute_uv=False)[:, 0] ** 2 > 2 * (rows + columns)
    found = rank_selection._exceeds(rows, columns, draws, 2, 2.0 * (rows + columns))
    stderr = np.sqrt((direct.var() + found.var()) / draws)
    assert abs(found.mean() - direct.mean()) < 5 * stderr
    if rows == columns:
        one_less = np.linalg.svd(matrices, compute_uv=False)[:, 0] ** 2 > 2 * (rows + columns) - 2
        assert one_less.mean() - found.mean() > 5 * stderr
