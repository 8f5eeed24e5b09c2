"""Claims files and their verdicts, and what a claim can be made of."""

from .check import check_claims
from .collection import Collection, Part, collect_claims, known_papers
from .designs import GaussianDesign
from .domains import Case, Domain, MatrixFamily, register_domain
from .file import default_path, load_claims, parse_claims
from .judge import Judgement
from .plugins import InstalledPlugin, installed_plugins, load_plugin
from .registry import MatrixSize, Sample, register_experiment, register_predicate, register_prediction
from .schema import Claim, ClaimsFile
from .show.pages import claim_page
from .show.report import summary, to_json, to_junit, verdict_table
from .statistics import MeanTest, mean_test, power_against, trials_needed
from .vocabulary import Budget, Kind, Verdict

__all__ = [
    "Budget",
    "Case",
    "Claim",
    "ClaimsFile",
    "Collection",
    "Domain",
    "GaussianDesign",
    "InstalledPlugin",
    "Judgement",
    "Kind",
    "MatrixFamily",
    "MatrixSize",
    "MeanTest",
    "Part",
    "Sample",
    "Verdict",
    "check_claims",
    "claim_page",
    "collect_claims",
    "default_path",
    "installed_plugins",
    "known_papers",
    "load_claims",
    "load_plugin",
    "mean_test",
    "parse_claims",
    "power_against",
    "register_domain",
    "register_experiment",
    "register_predicate",
    "register_prediction",
    "summary",
    "to_json",
    "to_junit",
    "trials_needed",
    "verdict_table",
]
