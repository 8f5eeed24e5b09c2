"""A few cheap claims of every kind and verdict, judged, for tests of the report's page."""

import functools
from collections.abc import Sequence

from linreg_lora.claims.file import load_claims
from linreg_lora.claims.judge import Judgement, judge_claim
from linreg_lora.claims.schema import ClaimsFile
from linreg_lora.proofs import steps

#: An identity, a bound, what holds on every draw, what needs a correction, an ordering under a condition, a limit.
CLAIMS = (
    "thm1-fft-risk-given-design",
    "lemma4-spectral-norm",
    "lemma2-square",
    "eq148-square-as-printed",
    "lora-needs-a-low-rank-shift",
    "prop6-largest-inverse-eigenvalue",
)
PROOFS = ("lemma-2-square", "rank-dimension")
#: What no browser may take for more than text.
HOSTILE = "<script>document.title = 'bad'</script><img src=x onerror=\"alert(1)\"> & ]]> {{ 7 * 7 }}"


@functools.cache
def sample() -> tuple[ClaimsFile, Sequence[Judgement], Sequence[steps.ProofResult]]:
    """The file, its judgements in its order, and the results of the proofs."""
    whole = load_claims()
    by_id = {claim.id: claim for claim in whole.claims}
    claims = [by_id[name] for name in CLAIMS]
    bound = claims[1]
    source = bound.source.model_copy(update={"note": HOSTILE})
    claims[1] = bound.model_copy(update={"source": source})
    file = whole.model_copy(update={"claims": claims})
    judgements = [judge_claim(claim, 0, by_id.get(claim.correction or "")) for claim in claims]
    return file, judgements, [steps.run(steps.find(name)) for name in PROOFS]
