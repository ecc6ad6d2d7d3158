"""Quantiles and tail probabilities that intervals and tests are made of.

SciPy takes a third of a second to load: it is loaded when first asked, at the recipient, never at a node.
"""

from __future__ import annotations

import math
from statistics import NormalDist

_STANDARD = NormalDist()


def normal_reach(confidence: float) -> float:
    """How many standard errors an interval of this confidence reaches to either side: 1.959964 for 0.95."""
    return _STANDARD.inv_cdf(0.5 + confidence / 2)


def normal_tail(z: float) -> float:
    """P(Z > z), accurate far into the tail."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def two_sided(z: float) -> float:
    """P(|Z| > |z|)."""
    return math.erfc(abs(z) / math.sqrt(2))


def wald_p(estimate: float, se: float) -> float | None:
    """P(|Z| > |estimate / se|): the test of no difference. None where ``se`` is 0, as nothing then says how far
    the estimate may be off (an arm without an event before tau, for example)."""
    return two_sided(estimate / se) if se > 0 else None


def chi_square_tail(statistic: float, df: float) -> float:
    """P(chi-square with ``df`` degrees of freedom > statistic)."""
    from scipy.special import chdtrc  # noqa: PLC0415

    return float(chdtrc(df, statistic))


def student_reach(confidence: float, df: float) -> float:
    """As `normal_reach`, for Student's t with ``df`` degrees of freedom."""
    from scipy.special import stdtrit  # noqa: PLC0415

    return float(stdtrit(df, 0.5 + confidence / 2))


def student_two_sided(t: float, df: float) -> float:
    """P(|T| > |t|) of Student's t with ``df`` degrees of freedom."""
    from scipy.special import stdtr  # noqa: PLC0415

    return 2 * float(stdtr(df, -abs(t)))


def fisher_tail(statistic: float, df: float, residual_df: float) -> float:
    """P(F > statistic)."""
    from scipy.special import fdtrc  # noqa: PLC0415

    return float(fdtrc(df, residual_df, statistic))
