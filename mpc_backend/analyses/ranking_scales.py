"""How finely the numbers of a ranking are told, and of how many patients at least."""

from __future__ import annotations

import math

from mpc_backend.analyses.base import Released
from mpc_backend.analyses.ranking_parameters import RankingParameters

SPREAD = 10**5
"""The reciprocal of the effective size is opened to five decimals."""
TIE = 2.0**-10
"""Added before a risk is rounded: halves of a step, which few patients often make, go up whatever the risk's last place is."""
RISK_VARIANCE = 10**6
"""A risk is opened in multiples of what `STEP_PERSONS` patients are worth in the middle of the band that is told of a
treatment, and its variance to two significant digits of six decimals."""
COARSE_DIGITS = 2
"""Significant digits of a treatment's variance and effective size where fewer than k patients fail."""
NUMBER_BITS = 32
"""Signed width of a variance or an inverse effective size as it is opened."""


def decimals(parameters: RankingParameters) -> int:
    """Decimals of a released time: three significant digits of tau; its standard error has one more."""
    return max(0, 2 - math.floor(math.log10(parameters.tau)))


def band(released: Released) -> int:
    """Width of the bands in which numbers of patients are told."""
    return max(10, released.policy.rounding)


def minimum(parameters: RankingParameters, released: Released) -> int:
    """Patients a treatment needs to be shown."""
    return max(released.policy.minimum_cell, parameters.minimum_support)
