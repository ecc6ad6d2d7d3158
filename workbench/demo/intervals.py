"""Intervals, tests and comparisons of released numbers, from the textbook, in floating point.

Nothing here imports the engine or its analyses: these are the numbers the answers on shares are judged by.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import exp, hypot, inf, log, sqrt
from typing import Final

import numpy as np
from scipy.special import expit, logit
from scipy.stats import beta, chi2, norm, studentized_range

from workbench.demo.curves import TAU, Floats

Z: Final = float(norm.ppf(0.975))
"""Normal quantile of a 95 % interval."""


def log_log_limit(survival: float, error: float, side: int) -> float:
    """Lower (-1) or upper (1) 95 % limit of a survival strictly between 0 and 1, on the scale of log(-log S)."""
    spread = Z * error / (survival * abs(log(survival)))
    return float(survival ** exp(-side * spread))


def log_log_band(survival: Floats, errors: Floats, side: int) -> Floats:
    """The limits of a whole curve; 1 before the first event, 0 where nobody is left."""
    return np.array(
        [
            log_log_limit(float(s), float(e), side) if 0 < s < 1 else float(s >= 1)
            for s, e in zip(survival, errors, strict=True)
        ]
    )


def half_time(curve: Floats, months: int) -> float:
    """First month (of 0..``months``) at which a falling curve is at 1/2 or below, the midpoint where it is flat there.

    Infinite if it stays above.
    """
    reached = [month for month in range(months + 1) if curve[month] <= 0.5]
    if not reached:
        return inf
    below = [month for month in reached if curve[month] < 0.5]
    flat = curve[reached[0]] == 0.5
    return (reached[0] + (below[0] if below else months)) / 2 if flat else float(reached[0])


def chi_square_p(statistic: float) -> float:
    """Upper tail with one degree of freedom."""
    return float(chi2.sf(max(statistic, 0.0), 1))


def difference(mean: float, error: float, base: float, base_error: float) -> dict[str, float]:
    """Two independent restricted means: their difference and ratio with 95 % intervals, and p of no difference."""
    apart, spread = mean - base, hypot(error, base_error)
    factor = exp(Z * hypot(error / mean, base_error / base))
    return {
        "difference": apart,
        "se": spread,
        "lower": apart - Z * spread,
        "upper": apart + Z * spread,
        "p": float(2 * norm.sf(abs(apart) / spread)),
        "ratio": mean / base,
        "ratio_lower": mean / base / factor,
        "ratio_upper": mean / base * factor,
    }


@dataclass(frozen=True)
class Ranked:
    """What is released of one treatment: restricted mean and standard error in months, effective size, few failures."""

    mean: float
    error: float
    size: float
    few: bool

    def interval(self, z: float = Z) -> tuple[float, float]:
        """Limits in months: binomial (Clopper and Pearson) with few failures, otherwise normal on the logit."""
        share, error = self.mean / TAU, self.error / TAU
        if self.few or not 0 < share < 1 or error <= 0:
            lower, upper = _binomial(share * self.size, self.size, float(norm.sf(z)))
        else:
            half = z * error / (share * (1 - share))
            lower, upper = expit(logit(share) - half), expit(logit(share) + half)
        return float(lower) * TAU, float(upper) * TAU


def _binomial(passed: float, size: float, tail: float) -> tuple[float, float]:
    missed = size - passed
    lower = beta.ppf(tail, passed, missed + 1) if passed > 1e-9 else 0.0
    upper = beta.isf(tail, passed + 1, missed) if missed > 1e-9 else 1.0
    return float(lower), float(upper)


def may_be_best(
    arms: Sequence[Ranked], alpha: float, withheld: Collection[frozenset[int]] = ()
) -> list[bool]:
    """Which treatments no other beats by more than the margin of all pairwise comparisons (Tukey; Zou and Donner), by
    contrasts that are not ``withheld``: pairs of places."""
    if len(arms) < 2:
        return [True] * len(arms)
    z = float(studentized_range.isf(alpha, len(arms), inf)) / sqrt(2)
    limits = [arm.interval(z) for arm in arms]
    return [
        not any(
            other.mean - arm.mean > hypot(other.mean - lower, limits[place][1] - arm.mean)
            for at, (other, (lower, _)) in enumerate(zip(arms, limits, strict=True))
            if frozenset((at, place)) not in withheld
        )
        for place, arm in enumerate(arms)
    ]


def drawn_together(arms: Sequence[Ranked]) -> list[float]:
    """Means drawn to their common mean: normal-normal, the variance between by DerSimonian and Laird."""
    means = np.array([arm.mean for arm in arms])
    widths = np.array([upper - lower for lower, upper in (arm.interval() for arm in arms)])
    within = (widths / (2 * Z)) ** 2
    fixed = np.average(means, weights=1 / within)
    weights = 1 / within
    spread = weights.sum() - (weights**2).sum() / weights.sum()
    excess = (weights * (means - fixed) ** 2).sum() - (len(arms) - 1)
    between = max(0.0, excess / spread) if spread > 0 else 0.0
    centre = np.average(means, weights=1 / (within + between))
    return [float(one) for one in centre + (means - centre) * between / (between + within)]
