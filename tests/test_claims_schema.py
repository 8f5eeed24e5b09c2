"""The claims file: every malformed one is refused in one line, and the package's own is complete."""

import copy

import pytest
from refusals import refused

from linreg_lora.claims import registry
from linreg_lora.claims.cases import cases
from linreg_lora.claims.check import select
from linreg_lora.claims.collection import collect_claims
from linreg_lora.claims.file import load_claims, parse_claims
from linreg_lora.claims.show import report
from linreg_lora.claims.sources import Source
from linreg_lora.claims.vocabulary import Kind, Status, Verdict
from linreg_lora.files import yaml
from linreg_lora.proofs import steps

CLAIM = {
    "id": "example",
    "title": "An example",
    "source": {"paper": "arXiv 2605.19018", "locator": "Proposition 3"},
    "statement": "E risk = ...",
    "kind": "identity",
    "expected": "holds",
    "domain": {
        "regime": "overdetermined",
        "least_distance": 16,
        "shapes": [{"n": 40, "dx": 20, "dy": 10}],
        "spectrum": {"family": "low-rank", "rank": 2, "scale": 1.0},
        "noise_std": [1.0],
    },
    "prediction": "fft.overdetermined",
    "experiment": {"name": "fft-risk", "trials": 64},
    "false_alarm": 1e-7,
    "detects": 0.1,
    "rivals": [{"prediction": "fft.overdetermined.classical", "mistake": "dx / n"}],
}
#: Over these an error like d^-0.1 falls by 15 %.
GROWING = [{"n": 2 * size, "dx": size, "dy": size} for size in (20, 40, 80)]


def document(**changes):
    content = {"schema_version": 1, "family_wise_level": 1e-6, "claims": [copy.deepcopy(CLAIM)]}
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = content["claims"][0]
        for part in parents:
            target = target[int(part) if part.isdigit() else part]
        target[last] = value
    return content


def test_the_example_is_a_claims_file():
    assert parse_claims(document()).claims[0].id == "example"


@pytest.mark.parametrize(
    ("changes", "field", "expected", "received"),
    [
        ({"prediction": "fft.magic"}, ".prediction", "fft.overdet", "fft.magic"),
        ({"experiment__name": "magic"}, ".experiment", "registered", "magic"),
        ({"kind": "asymptotic"}, "", "a rate", ""),
        ({"rate": 0.5}, "", "a rate", ""),
        ({"kind": "asymptotic", "rate": 0.5}, "", "three sizes", ""),
        ({"kind": "asymptotic", "rate": 0.5, "domain__noise_std": [1.0, 2.0]}, "", "one noise_std", ""),
        ({"kind": "asymptotic", "rate": 0.1, "domain__shapes": GROWING}, "", "falls 1.25 times", ""),
        ({"experiment__settings": {"rank": 2}}, ".experiment", "none; not rank", ""),
        ({"experiment": {"name": "lora-minus-fft", "trials": 9}}, ".experiment", "rank; not none", ""),
        (
            {"experiment": {"name": "lora-minus-fft", "trials": 9, "settings": {"rank": 1.5}}},
            ".experiment.settings.rank",
            "an integer >= 1",
            "1.5",
        ),
        (
            {"experiment": {"name": "lora-minus-fft", "trials": 9, "settings": {"rank": 0}}},
            ".experiment.settings.rank",
            "an integer >= 1",
            "0",
        ),
        (
            {"experiment": {"name": "lora-minus-fft", "trials": 9, "settings": {"rank": 10}}},
            ".experiment.settings.rank",
            "an integer in 1..9",
            "10",
        ),
        (
            {"experiment": {"name": "lora-minus-fft", "trials": 9, "settings": {"rank": float("nan")}}},
            ".experiment.settings.rank",
            "finite",
            "nan",
        ),
        (
            {"experiment": {"name": "fewer-samples-gain", "trials": 9, "settings": {"more": 0.5}}},
            ".experiment.settings.more",
            "an integer >= 1",
            "0.5",
        ),
        (
            {
                "experiment": {"name": "fewer-samples-gain", "trials": 9, "settings": {"more": 5}},
                "domain__regime": "underdetermined",
                "domain__shapes": [{"n": 20, "dx": 40, "dy": 10}],
            },
            "",
            "stays at least 16",
            "",
        ),
        ({"experiment": {"name": "fft-update", "trials": 9}}, "", "measures means", ""),
        (
            {"experiment": {"name": "squared-spectral-norm", "trials": 9}},
            "",
            "squared-spectral-norm is about MatrixSize",
            "",
        ),
        ({"prediction": "truncation.once-noise"}, "", "truncation.once-noise is about MatrixSize", ""),
        ({"domain": {"predicate": "gaussian-matrices", "sizes": [[3, 3]]}}, "", "fft-risk is about Problem", ""),
        ({"experiment__trials": 1}, ".experiment.trials", "2", "1"),
        ({"rivals": []}, "", "at least one rival", ""),
        ({"rivals__0__prediction": "fft.overdetermined"}, "", "differ from the claim's own", ""),
        ({"rivals__0__prediction": "fft.magic"}, ".rivals.0.prediction", "registered", "fft.magic"),
        ({"kind": "obvious"}, ".kind", "'identity'", "obvious"),
        ({"expected": "holds-with-correction"}, "", "a correction", ""),
        ({"correction": "example"}, "", "a correction", ""),
        ({"expected": "holds-under", "condition": "so"}, "", "a condition", ""),
        ({"condition": "so", "outside": CLAIM["domain"]}, "", "a condition", ""),
        (
            {"expected": "holds-under", "condition": "so", "outside": {**CLAIM["domain"], "least_distance": 8}},
            "",
            "least_distance >= 16",
            "",
        ),
        (
            {"expected": "holds-under", "condition": "so", "outside": {"predicate": "matrix-pairs", "sizes": [[3, 3]]}},
            "",
            "same type",
            "",
        ),
        ({"source": {"paper": "p", "locator": "l", "status": "unread"}}, "", "under undecidable", ""),
        ({"detects": 0.5}, "", "detects <= 0.3", ""),
        ({"rivals": [{"prediction": "fft.given-design", "mistake": "m"}] * 2}, "", "from each other", ""),
        ({"expected": "inconclusive"}, "", "under undecidable", ""),
        (
            {"expected": "holds-with-correction", "correction": "magic", "counterexample": "so"},
            ".correction",
            "a claim that holds",
            "magic",
        ),
        ({"expected": "fails"}, "", "a counterexample", ""),
        ({"counterexample": "so"}, "", "a counterexample", ""),
        ({"expected": "maybe"}, ".expected", "'holds'", "maybe"),
        ({"domain__shapes": [{"n": 20, "dx": 20, "dy": 10}]}, ".domain", "not n = 20, dx = 20", ""),
        ({"domain__shapes": [{"n": 30, "dx": 20, "dy": 10}]}, ".domain", "least_distance = 16", ""),
        ({"domain__shapes": [{"n": 0, "dx": 20, "dy": 10}]}, ".domain.shapes.0.n", "1", "0"),
        ({"domain__regime": "underdetermined"}, ".domain", "underdetermined shapes", ""),
        ({"domain__least_distance": 8}, "", "least_distance >= 16", ""),
        ({"domain__noise_std": [0.0]}, ".domain.noise_std.0", "greater than 0", "0.0"),
        ({"domain__spectrum": {"family": "low-rank"}}, ".domain.spectrum.parameters", "rank with family low-rank", ""),
        (
            {"domain__spectrum": {"family": "power-law", "exponent": 1, "rank": 2}},
            ".domain.spectrum.parameters",
            "exponent with family power-law",
            "",
        ),
        ({"domain": {"predicate": "magic", "sizes": [[3, 3]]}}, ".domain.predicate", "registered", "magic"),
        ({"domain": {"predicate": "matrix-pairs", "sizes": [[2, 3]]}}, ".domain", "not 2 x 3", ""),
        ({"false_alarm": 0}, "", "false_alarm: 0", ""),
        ({"false_alarm": 1e-4}, "family_wise_level", "the sum", ""),
        ({"false_alarm": 0.01}, ".false_alarm", "0.001", "0.01"),
        ({"relation": "equals"}, "", "a relation", ""),
        ({"detects": 0}, ".detects", "greater than 0", "0"),
        ({"id": "Not an id"}, "claims.Not an id.id", "pattern", "Not an id"),
        ({"surprise": 1}, "", "among id, title", "surprise"),
        ({"domain__surprise": 1}, ".domain", "among regime", "surprise"),
        ({"domain__shapes__0__surprise": 1}, ".domain.shapes.0", "among n, dx, dy", "surprise"),
        ({" ": 1}, "", "among id, title", " "),
        ({"domain__noise_std": [float("inf")]}, ".domain.noise_std.0", "finite", "inf"),
        ({"domain__spectrum__scale": 1e31}, ".domain.spectrum.scale", "1e+30", "1e+31"),
        ({"domain__spectrum__rank": 11}, ".domain.spectrum.rank", "1..10", "11"),
        ({"domain__input_condition": float("inf")}, ".domain.input_condition", "finite", "inf"),
        ({"domain__shapes": [{"n": 10**9, "dx": 20, "dy": 10}]}, ".domain.shapes.0.n", "5000", "1000000000"),
        ({"domain__shapes": [{"n": "40", "dx": 20, "dy": 10}]}, ".domain.shapes.0.n", "integer", "40"),
        ({"experiment__trials": 10**12}, ".experiment.trials", "10000000", "1000000000000"),
        ({"experiment__trials": 64.5}, ".experiment.trials", "integer", "64.5"),
        ({"false_alarm": "1e-7"}, ".false_alarm", "number", "1e-7"),
        ({"source": {"paper": "x", "locator": "y", "status": "reading"}}, ".source", "how the source is read", ""),
        ({"source": {"paper": "x", "locator": "y", "status": "abstract"}}, ".source", "its status is abstract", ""),
        ({"source": {"paper": "x", "locator": "y", "status": "known"}}, ".source.status", "'memory'", "known"),
        ({"contested": {"question": "surplus-rank", "answer": "no"}}, "", "contested.under", ""),
        (
            {"contested": {"question": "who", "answer": "no", "under": "so"}},
            "contested.question",
            "surplus-rank",
            "who",
        ),
    ],
)
def test_a_malformed_claim_is_refused_in_one_line(changes, field, expected, received):
    """A field that is empty or begins with a dot is that of the claim."""
    with refused(field if field[:1].isalpha() else f"claims.example{field}", expected, received):
        parse_claims(document(**changes))


def test_a_missing_field_is_named():
    content = document()
    del content["claims"][0]["statement"]
    with refused("claims.example.statement", received="nothing"):
        parse_claims(content)


def test_a_correction_must_reject_what_it_corrects():
    content = document(expected="holds-with-correction", correction="corrected", rivals=[], counterexample="so")
    content["claims"][0]["prediction"] = "fft.overdetermined.noise-std"
    content["claims"].append({**copy.deepcopy(CLAIM), "id": "corrected"})
    with refused("claims.corrected.rivals", "fft.overdetermined.noise-std"):
        parse_claims(content)
    content["claims"][1]["rivals"][0]["prediction"] = "fft.overdetermined.noise-std"
    assert parse_claims(content).claims[0].correction == "corrected"


def test_undecidable_statements_say_why_and_have_ids_of_their_own():
    entry = {name: CLAIM[name] for name in ("id", "title", "source", "statement")}
    with refused("undecidable.0.why", received="nothing"):
        parse_claims({**document(), "undecidable": [entry]})
    with refused("claims", "unique ids", "'example' twice"):
        parse_claims({**document(), "undecidable": [{**entry, "why": "because"}]})


def test_the_packages_claims_name_proofs_that_exist():
    named = {proof for claim in load_claims().claims for proof in claim.proof}
    assert set() < named <= set(steps.ids())


def test_a_duplicate_id_is_refused():
    content = document()
    content["claims"].append(copy.deepcopy(CLAIM))
    with refused("claims", "unique ids", "'example' twice"):
        parse_claims(content)


@pytest.mark.parametrize(
    ("text", "field", "expected", "remedy"),
    [
        ("- just\n- a list\n", "claims file", "a mapping", ""),
        ("", "claims file", "a mapping", ""),
        ("a: 1\na: 2\n", "claims file", "YAML", "line 2: found duplicate key"),
        ("a: [1\n", "claims file", "YAML", ""),
        ("%YAML 1.3\n---\na: 1\n", "claims file", "YAML", "version"),
        ("a: !!set {b}\n", "claims file", "YAML", ": a tag"),
        ("a: &a {b: 1}\nc: {<<: *a}\n", "claims file", "YAML", "line 2: a merge key"),
        ("a: &x 1\nb: &x 2\n", "schema_version", "", ""),
        ("a: " + "[" * 10**5, "claims file", "YAML", ""),
        ("a: " + "b" * 10**6, "claims file", "1000000 bytes", ""),
        ("a: !!python/object/apply:os.system ['true']\n", "claims file", "YAML", ": a tag"),
        ("schema_version: 2\nfamily_wise_level: 1e-6\nclaims: []\n", "schema_version", "1", ""),
        ("schema_version: 1\nfamily_wise_level: 1e-6\nclaims: []\n", "claims", "at least 1", ""),
        ("schema_version: 1\nfamily_wise_level: 1e-6\nclaims: 3\n", "claims", "a list", ""),
    ],
)
def test_other_yaml_is_refused_in_one_line(tmp_path, text, field, expected, remedy):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with refused(field, expected, remedy=remedy):
        load_claims(path)


def test_an_unreadable_file_is_refused(tmp_path):
    with refused("claims file", "readable"):
        load_claims(tmp_path / "missing.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with refused("claims file", "readable"):
        load_claims(binary)


def test_the_packaged_claims_are_complete():
    claims = load_claims()
    locators = {claim.source.locator for claim in claims.claims}
    wanted = (
        {f"Proposition {i}" for i in (1, 2, 3, 5, 7)}
        | {f"Lemma {i}" for i in (2, 4, 5, 6)}
        | {"Theorem 1", "Theorem 3"}
    )
    assert wanted <= locators
    regimes = {c.domain.regime for c in claims.claims if c.kind is Kind.QUALITATIVE}
    assert regimes == {"overdetermined", "underdetermined"}
    assert claims.family_wise_level <= 1e-6
    prop2 = [c for c in claims.claims if c.source.locator == "Proposition 2"]
    assert any("unwhitened" in rival.prediction for claim in prop2 for rival in claim.rivals)
    printed = [c for c in claims.claims if c.source.status is Status.READ]
    explicit = [c for c in printed if c.source.locator in ("Proposition 1", "Proposition 2")]
    assert all(case.pretrained is not None for claim in explicit for case in cases(claim.domain))


# -- how sources are known ------------------------------------------------------------------------------------------


def test_a_source_has_the_status_of_its_paper_unless_it_has_its_own():
    content = document()
    content["papers"] = [{"paper": "arXiv 2605.19018", "status": "memory"}]
    content["claims"][0]["source"] = {
        "paper": "arXiv 2605.19018",
        "locator": "on noise",
        "note": "It is said to claim so.",
    }
    other = {**copy.deepcopy(content["claims"][0]), "id": "other", "false_alarm": 1e-8}
    other["source"]["status"] = "summary"
    content["claims"].append(other)
    content["undecidable"] = [{"id": "u", "title": "t", "statement": "s", "why": "w", "source": {**other["source"]}}]
    del content["undecidable"][0]["source"]["status"]
    before = copy.deepcopy(content)
    file = parse_claims(content)
    assert [claim.source.status for claim in file.claims] == [Status.MEMORY, Status.SUMMARY]
    assert file.undecidable[0].source.status is Status.MEMORY
    assert content == before
    content["papers"].append({"paper": "another", "status": "read"})
    assert parse_claims(content).papers[1].status is Status.READ
    content["papers"][0]["paper"] = "arXiv 2605.1901"
    with refused("papers", "also arXiv 2605.19018"):
        parse_claims(content)
    content["papers"] = [before["papers"][0]] * 2
    with refused("papers", "each paper once"):
        parse_claims(content)


def test_words_of_older_files_mean_what_they_did():
    statuses = {"printed": Status.READ, "reading": Status.SUMMARY, "own": Status.OWN, None: Status.READ}
    for word, status in statuses.items():
        source = {"paper": "p", "locator": "l", "note": "n"} | ({} if word is None else {"status": word})
        assert parse_claims(document(source=source)).claims[0].source.status is status


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("locator", "Theorem 3.1"), ("locator", "thm. 2"), ("locator", "Section IV"), ("locator", "eq. (12)"),
        ("locator", "appendix C"), ("locator", "§3"), ("note", "It is said to claim Lemma A.2"),
        ("title", "Props. 1 and 2 as remembered"), ("statement", r"\text{Corollary~4}"),
        ("condition", "as in Figure 2"), ("locator", "Theorem #3"), ("locator", "Theorem-3"),
        ("note", "It is said to claim theorem no. 3"), ("statement", "Theorem $3$"), ("locator", "Lem. 2"),
        ("locator", "Def. 2"), ("note", "It is said to claim this, by (12)"), ("title", "The third theorem"),
        ("locator", "the 2nd lemma"), ("locator", r"Theorem \(3\)"), ("locator", "Theorem number 3"),
    ],
)  # fmt: skip
def test_what_is_known_from_memory_names_no_number(field, text):
    source = {
        "paper": "p",
        "locator": "on rank 4 of 4-bit models",
        "note": "It is said to claim so.",
        "status": "memory",
    }
    where = f"source__{field}" if field in source else field
    changes = {"expected": "holds-under", "condition": text, "outside": CLAIM["domain"]} if field == "condition" else {}
    parse_claims(document(source=source))
    with refused("claims.example.source", "no numbers of statements known from memory"):
        parse_claims(document(source=source, **{**changes, where: text}))
    if field != "condition":
        parse_claims(document(source={**source, "status": "summary"}, **{where: text}))
    content = document()
    content["undecidable"] = [{"id": "u", "title": "t", "statement": "s", "why": "as Theorem 2", "source": source}]
    with refused("undecidable.0.source", "no numbers of statements known from memory"):
        parse_claims(content)


@pytest.mark.parametrize(
    "text",
    [
        r"\mathcal{O}(1) and f(12)", "x^{(2)} of Doe (2019)", "for the second step from zero", "its theorem on noise",
        "for the third layer", "the first claims that",
    ],
)  # fmt: skip
def test_numbers_of_no_statement_are_free_in_what_is_known_from_memory(text):
    source = {"paper": "p", "locator": text, "note": f"It is said to claim so: {text}", "status": "memory"}
    parse_claims(document(source=source, statement=text, title=text))


def test_what_is_known_from_memory_says_that_it_is_said():
    source = {"paper": "p", "locator": "on noise", "note": "A claim about noise.", "status": "memory"}
    with refused("claims.example.source.note", '"is said to" claim', "A claim about noise."):
        parse_claims(document(source=source))
    parse_claims(document(source={**source, "note": "They are said to\nclaim so."}))
    parse_claims(document(source=source, title="Noise is said to help"))
    parse_claims(document(source={**source, "status": "summary"}))
    content = document()
    content["undecidable"] = [{"id": "u", "title": "t", "statement": "s", "why": "w", "source": source}]
    with refused("undecidable.0.source.note", '"is said to" claim'):
        parse_claims(content)


def test_a_slip_of_print_is_one_of_a_source_that_was_read():
    content = document()
    source = {"paper": "p", "locator": "l", "status": "abstract", "note": "n"}
    content["slips"] = [{"source": source, "printed": "a", "correct": "b", "consequence": "c"}]
    with refused("slips.0", "a source that was read"):
        parse_claims(content)


def test_only_what_was_read_in_full_fails_as_such():
    shown = {
        status: report.shown(Verdict.FAILS, Source(paper="p", locator="l", note="n", status=status))
        for status in Status
    }
    readings = {Status.ABSTRACT, Status.SUMMARY, Status.MEMORY}
    assert shown == {s: "this reading fails" if s in readings else "fails" for s in Status}
    assert report.shown(Verdict.HOLDS, Source(paper="p", locator="l", note="n", status="memory")) == "holds"


def test_only_what_was_read_in_full_is_printed_so():
    given = {status: report.given(Source(paper="p", locator="l", note="n", status=status)) for status in Status}
    assert given == {status: "As printed" if status is Status.READ else "As read" for status in Status}


@pytest.mark.parametrize(
    ("locator", "known"), [("Abstract", "as read in the abstract"), ("Introduction", "as read in part")]
)
def test_what_is_no_abstract_is_not_said_to_be_read_there(locator, known):
    source = Source(paper="arXiv 1", locator=locator, note="n", status="abstract")
    assert report.source_line(source) == f"1 {locator} ({known})"


def test_every_file_of_the_package_says_how_it_knows_its_papers_and_what_is_only_said():
    """`status` of every paper, and the words for what is known from memory."""
    for part in collect_claims(everything=True).parts:
        listed = {paper.paper for paper in part.file.papers}
        assert "status: reading" not in part.path.read_text()
        assert "status: printed" not in part.path.read_text()
        for entry in (*part.file.claims, *part.file.undecidable):
            assert entry.source.paper in listed, entry.id
            if entry.source.status is Status.MEMORY:
                assert "is said to claim" in entry.source.note, entry.id


def test_what_was_read_is_the_callers_to_change():
    """A text is parsed once; every reader has its own copy, in which an alias is still its anchor."""
    first = yaml.parsed("a: &x [1]\nb: *x", "a file", aliases=True)
    assert first["b"] is first["a"]
    first["a"].append(2)
    assert yaml.parsed("a: &x [1]\nb: *x", "a file", aliases=True) == {"a": [1], "b": [1]}
    with refused("a file", "or aliases", remedy="line 2: an alias"):
        yaml.parsed("a: &x [1]\nb: *x", "a file")


def test_selecting_an_unknown_claim_names_those_that_are_near():
    with refused("only", "such as prop2-lora-closed-form or", "prop2-lora-closed-fro", "claims --all"):
        select(load_claims(), ["prop2-lora-closed-fro"])
    with refused("only", "ids of claims", "nonsense") as caught:
        select(load_claims(), ["nonsense"])
    assert "such as" not in caught.value.expected


def test_every_registered_name_is_used_by_the_packaged_claims():
    """A prediction that no claim names is dead code."""
    claims = collect_claims(everything=True).file.claims
    used = {c.prediction for c in claims} | {rival.prediction for c in claims for rival in c.rivals}
    assert set(registry._predictions) == used
    assert set(registry._experiments) == {c.experiment.name for c in claims}
