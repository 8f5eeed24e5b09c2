"""The claims file: every malformed one is refused in one line, and the package's own is complete."""

import copy

import pytest

from linreg_lora.claims import registry
from linreg_lora.claims.cases import cases
from linreg_lora.claims.check import select
from linreg_lora.claims.file import load_claims, parse_claims
from linreg_lora.claims.schema import Kind
from linreg_lora.errors import InvalidInput
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
    ("changes", "message"),
    [
        (
            {"prediction": "fft.magic"},
            "claims.example.prediction: expected a registered prediction, such as .*fft.overdet.*, received fft.magic",
        ),
        ({"experiment__name": "magic"}, "experiment: expected a registered experiment, received magic"),
        ({"kind": "asymptotic"}, "a rate for asymptotic claims, and only for these"),
        ({"rate": 0.5}, "a rate for asymptotic claims, and only for these"),
        ({"kind": "asymptotic", "rate": 0.5}, "at least three sizes, each twice the one before"),
        (
            {"kind": "asymptotic", "rate": 0.5, "domain__noise_std": [1.0, 2.0]},
            "one noise_std for asymptotic claims",
        ),
        ({"experiment__settings": {"rank": 2}}, "settings of fft-risk: none; not rank"),
        ({"experiment": {"name": "lora-minus-fft", "trials": 9}}, "settings of lora-minus-fft: rank; not none"),
        (
            {"experiment": {"name": "lora-minus-fft", "trials": 9, "settings": {"rank": 1.5}}},
            "an integer >= 1, not 1.5",
        ),
        ({"experiment": {"name": "lora-minus-fft", "trials": 9, "settings": {"rank": 0}}}, "an integer >= 1, not 0"),
        ({"experiment": {"name": "lora-minus-fft", "trials": 9, "settings": {"rank": 10}}}, "integer in 1..9, not 10"),
        ({"experiment": {"name": "lora-minus-fft", "trials": 9, "settings": {"rank": float("nan")}}}, "finite number"),
        (
            {"experiment": {"name": "fewer-samples-gain", "trials": 9, "settings": {"more": 0.5}}},
            "settings.more: an integer >= 1, not 0.5",
        ),
        (
            {
                "experiment": {"name": "fewer-samples-gain", "trials": 9, "settings": {"more": 5}},
                "domain__regime": "underdetermined",
                "domain__shapes": [{"n": 20, "dx": 40, "dy": 10}],
            },
            r"settings.more: so few that \|n - dx\| stays at least 16, not 5",
        ),
        ({"experiment": {"name": "fft-update", "trials": 9}}, "an experiment that measures means, for kind identity"),
        ({"experiment": {"name": "squared-spectral-norm", "trials": 9}}, "is about MatrixSize"),
        ({"prediction": "truncation.once-noise"}, "truncation.once-noise is about MatrixSize"),
        ({"domain": {"predicate": "gaussian-matrices", "sizes": [[3, 3]]}}, "fft-risk is about Problem"),
        ({"experiment__trials": 1}, "experiment.trials: expected at least 2"),
        ({"rivals": []}, "at least one rival: a plausible wrong prediction that the same data must reject"),
        ({"rivals__0__prediction": "fft.overdetermined"}, "rivals that differ from the claim's own prediction"),
        ({"rivals__0__prediction": "fft.magic"}, "prediction: expected a registered prediction, such as"),
        ({"kind": "obvious"}, "kind: expected 'identity'"),
        ({"expected": "holds-with-correction"}, "a correction, the id of the claim that holds instead"),
        ({"correction": "example"}, "for holds-with-correction only"),
        ({"expected": "holds-under", "condition": "so"}, "a condition, and a domain outside of it, for holds-under"),
        ({"condition": "so", "outside": CLAIM["domain"]}, "for holds-under, and only there"),
        (
            {"expected": "holds-under", "condition": "so", "outside": {**CLAIM["domain"], "least_distance": 8}},
            "domain.least_distance >= 16",
        ),
        (
            {
                "expected": "holds-under",
                "condition": "so",
                "outside": {"predicate": "matrix-pairs", "sizes": [[3, 3]]},
            },
            "of the same type as the domain inside",
        ),
        (
            {"source": {"paper": "p", "locator": "l", "status": "unread"}},
            "a source that was read; what was not read belongs under undecidable",
        ),
        ({"detects": 0.5}, "detects <= 0.3"),
        ({"rivals": [{"prediction": "fft.given-design", "mistake": "m"}] * 2}, "and from each other"),
        ({"expected": "inconclusive"}, "what nothing decides here belongs under undecidable"),
        (
            {"expected": "holds-with-correction", "correction": "magic", "counterexample": "so"},
            "correction: expected the id of a claim that holds",
        ),
        ({"expected": "fails"}, "a counterexample, the smallest one found, for a statement that fails"),
        ({"counterexample": "so"}, "for a statement that fails, and only there"),
        ({"expected": "maybe"}, "expected: expected 'holds'"),
        ({"domain__shapes": [{"n": 20, "dx": 20, "dy": 10}]}, "not n = 20, dx = 20"),
        ({"domain__shapes": [{"n": 30, "dx": 20, "dy": 10}]}, "least_distance = 16"),
        ({"domain__shapes": [{"n": 0, "dx": 20, "dy": 10}]}, "n: expected at least 1"),
        ({"domain__regime": "underdetermined"}, "underdetermined shapes"),
        ({"domain__least_distance": 8}, "domain.least_distance >= 16, so that 8 moments exist"),
        ({"domain__noise_std": [0.0]}, "noise_std.0: expected greater than 0"),
        ({"domain__spectrum": {"family": "low-rank"}}, "expected rank with family low-rank"),
        (
            {"domain__spectrum": {"family": "power-law", "exponent": 1, "rank": 2}},
            "expected exponent with family power-law",
        ),
        (
            {"domain": {"predicate": "magic", "sizes": [[3, 3]]}},
            "predicate: expected a registered predicate",
        ),
        ({"domain": {"predicate": "matrix-pairs", "sizes": [[2, 3]]}}, "not 2 x 3"),
        ({"false_alarm": 0}, "false_alarm: 0 for pathwise claims"),
        ({"false_alarm": 1e-4}, "family_wise_level: expected at least the sum"),
        ({"false_alarm": 0.01}, "false_alarm: expected at most 0.001"),
        ({"relation": "equals"}, "a relation for pathwise claims, and only for these"),
        ({"detects": 0}, "detects: expected greater than 0"),
        ({"id": "Not an id"}, "id: expected string should match pattern"),
        ({"surprise": 1}, "claims.example: expected fields among id, title, .*, rivals, .*, received surprise"),
        ({"domain__surprise": 1}, "claims.example.domain: expected fields among regime, .*, received surprise"),
        ({"domain__shapes__0__surprise": 1}, "domain.shapes.0: expected fields among n, dx, dy, received surprise"),
        ({" ": 1}, "claims.example: expected fields among .*, received ' '"),
        ({"domain__noise_std": [float("inf")]}, "noise_std.0: expected a finite number"),
        ({"domain__spectrum__scale": 1e31}, "spectrum.scale: expected a number of at most 1e.30 in magnitude,"),
        ({"domain__spectrum__rank": 11}, "domain.spectrum.rank: expected an integer in 1..10, received 11"),
        ({"domain__input_condition": float("inf")}, "input_condition: expected a finite number"),
        ({"domain__shapes": [{"n": 10**9, "dx": 20, "dy": 10}]}, "n: expected at most"),
        ({"domain__shapes": [{"n": "40", "dx": 20, "dy": 10}]}, "n: expected a valid integer"),
        ({"experiment__trials": 10**12}, "trials: expected at most 10000000"),
        ({"experiment__trials": 64.0}, "trials: expected a valid integer"),
        ({"false_alarm": "1e-7"}, "false_alarm: expected a valid number"),
        ({"source": {"paper": "x", "locator": "y", "status": "reading"}}, "a note that says how the source is read"),
    ],
)
def test_a_malformed_claim_is_refused_in_one_line(changes, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        parse_claims(document(**changes))
    assert "\n" not in str(caught.value)


def test_a_missing_field_is_named():
    content = document()
    del content["claims"][0]["statement"]
    with pytest.raises(InvalidInput, match=r"claims.example.statement: expected a value, received nothing"):
        parse_claims(content)


def test_a_correction_must_reject_what_it_corrects():
    content = document(expected="holds-with-correction", correction="corrected", rivals=[], counterexample="so")
    content["claims"][0]["prediction"] = "fft.overdetermined.noise-std"
    content["claims"].append({**copy.deepcopy(CLAIM), "id": "corrected"})
    with pytest.raises(InvalidInput, match=r"corrected.rivals: expected fft.overdetermined.noise-std among them"):
        parse_claims(content)
    content["claims"][1]["rivals"][0]["prediction"] = "fft.overdetermined.noise-std"
    assert parse_claims(content).claims[0].correction == "corrected"


def test_undecidable_statements_say_why_and_have_ids_of_their_own():
    entry = {name: CLAIM[name] for name in ("id", "title", "source", "statement")}
    with pytest.raises(InvalidInput, match=r"undecidable.0.why: expected a value"):
        parse_claims({**document(), "undecidable": [entry]})
    with pytest.raises(InvalidInput, match="claims: expected unique ids, received 'example' twice"):
        parse_claims({**document(), "undecidable": [{**entry, "why": "because"}]})


def test_the_packages_claims_name_proofs_that_exist():
    named = {proof for claim in load_claims().claims for proof in claim.proof}
    assert named
    assert named <= set(steps.ids())


def test_a_duplicate_id_is_refused():
    content = document()
    content["claims"].append(copy.deepcopy(CLAIM))
    with pytest.raises(InvalidInput, match="claims: expected unique ids, received 'example' twice"):
        parse_claims(content)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- just\n- a list\n", "claims file: expected a mapping"),
        ("", "claims file: expected a mapping"),
        ("a: 1\na: 2\n", "line 2: found duplicate key"),
        ("a: [1\n", "YAML, without duplicate keys, tags or merge keys"),
        ("%YAML 1.3\n---\na: 1\n", "YAML, .*version"),
        ("a: !!set {b}\n", ": a tag"),
        ("a: &a {b: 1}\nc: {<<: *a}\n", "line 2: a merge key"),
        ("a: &x 1\nb: &x 2\n", "schema_version: expected a value"),
        ("a: " + "[" * 10**5, "YAML, "),
        ("a: " + "b" * 10**6, "at most 1000000 bytes"),
        ("a: !!python/object/apply:os.system ['true']\n", ": a tag"),
        ("schema_version: 2\nfamily_wise_level: 1e-6\nclaims: []\n", "schema_version: expected 1"),
        ("schema_version: 1\nfamily_wise_level: 1e-6\nclaims: []\n", "claims: expected at least 1 item"),
        ("schema_version: 1\nfamily_wise_level: 1e-6\nclaims: 3\n", "claims: expected a valid list"),
    ],
)
def test_other_yaml_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=message) as caught:
        load_claims(path)
    assert "\n" not in str(caught.value)


def test_an_unreadable_file_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="claims file: expected a readable UTF-8 file"):
        load_claims(tmp_path / "missing.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="claims file: expected a readable UTF-8 file"):
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
    printed = [c for c in claims.claims if c.source.status == "printed"]
    explicit = [c for c in printed if c.source.locator in ("Proposition 1", "Proposition 2")]
    assert all(case.pretrained is not None for claim in explicit for case in cases(claim.domain))


def test_selecting_an_unknown_claim_names_the_known_ones():
    with pytest.raises(InvalidInput, match=r"only: expected ids of claims .*prop3-.*received nonsense"):
        select(load_claims(), ["nonsense"])


def test_every_registered_name_is_used_by_the_packaged_claims():
    """A prediction that no claim names is dead code."""
    claims = load_claims().claims
    used = {c.prediction for c in claims} | {rival.prediction for c in claims for rival in c.rivals}
    assert set(registry._predictions) == used
    assert set(registry._experiments) == {c.experiment.name for c in claims}
