from .entries import IidEntries
from .law import GAUSSIAN, Gaussian, InputLaw
from .text import parse
from .weighted import (
    CorrelatedSamples,
    MultivariateT,
    SampleWeights,
    ScaleMixture,
    Scales,
    Weighted,
    two_point,
    two_point_noise,
)

__all__ = [
    "GAUSSIAN",
    "CorrelatedSamples",
    "Gaussian",
    "IidEntries",
    "InputLaw",
    "MultivariateT",
    "SampleWeights",
    "ScaleMixture",
    "Scales",
    "Weighted",
    "parse",
    "two_point",
    "two_point_noise",
]
