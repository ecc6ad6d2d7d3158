"""Intervals and comparisons of restricted means that hold with few or no events. In the clear, at the recipient.

With ten failures or more: Wald on the logit of mean / tau. With fewer: Clopper and Pearson (Biometrika 26, 1934, 404)
with the effective number of completely followed persons, on the mean as a share of tau. The restricted time as a share
of tau lies in [0, 1], and a sum of such variables is less spread, in convex order, than the binomial with the same mean
(Hoeffding, JASA 58, 1963, 13), so the interval errs on the safe side and is never empty when nobody failed.

Which arms can be ruled out as best: all pairs, with the Tukey-Kramer critical value (studentised range over sqrt 2;
conservative for unequal variances: Hayter, Ann. Statist. 12, 1984, 61), each difference bounded from the two arms' own
intervals at that critical value (Zou and Donner, Stat. Med. 27, 2008, 1693).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.distributions import normal_reach, normal_tail

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Arms:
    """Supported arms (arms,): restricted mean and its standard error as shares of tau, effective number of persons
    followed completely, and whether fewer than ten failed."""

    mean: Floats
    standard_error: Floats
    information: Floats
    few: NDArray[np.bool_]

    def interval(self, z: float) -> tuple[Floats, Floats]:
        """Lower and upper limits at the normal quantile ``z``, each (arms,), as shares of tau."""
        wald_lower, wald_upper = _logit_interval(self.mean, self.standard_error, z)
        lower, upper = _clopper_pearson(self.mean, self.information, normal_tail(z))
        exact = self.few | (self.mean <= 0) | (self.mean >= 1) | (self.standard_error <= 0)
        return np.where(exact, lower, wald_lower), np.where(exact, upper, wald_upper)

    def spread(self) -> Floats:
        """A standard error for weighing the arms: half the 95 % interval over its quantile."""
        z = normal_reach(0.95)
        lower, upper = self.interval(z)
        return (upper - lower) / (2 * z)


def _logit_interval(mean: Floats, standard_error: Floats, z: float) -> tuple[Floats, Floats]:
    inside = np.clip(mean, 1e-9, 1 - 1e-9)
    centre = np.log(inside / (1 - inside))
    half = z * standard_error / (inside * (1 - inside))
    return _logistic(centre - half), _logistic(centre + half)


def _logistic(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), which exp overflows for a mean at the edge that is wide."""
    return np.exp(-np.logaddexp(0.0, -x))


def _clopper_pearson(mean: Floats, persons: Floats, tail: float) -> tuple[Floats, Floats]:
    from scipy.special import betaincinv  # noqa: PLC0415  (slow to import; nodes never come here)

    passed = mean * persons
    missed = persons - passed
    tiny = 1e-12
    lower = betaincinv(np.maximum(passed, tiny), missed + 1, tail)
    upper = betaincinv(passed + 1, np.maximum(missed, tiny), 1 - tail)
    return np.where(passed > tiny, lower, 0.0), np.where(missed > tiny, upper, 1.0)


def not_ruled_out(arms: Arms, alpha: float, counts: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Which arms (arms,) cannot be ruled out as best, a larger mean being better.

    The chance that any arm is ruled out while all are equal is at most ``alpha``. ``counts`` (arms, arms): the contrasts by
    which one may rule the other out, None for all; the critical value stays that of all, so that the chance only falls.
    """
    count = len(arms.mean)
    if count < 2:
        return np.ones(count, dtype=bool)
    from scipy.stats import studentized_range  # noqa: PLC0415  (slow to import; nodes never come here)

    critical = float(studentized_range.ppf(1 - alpha, count, np.inf)) / np.sqrt(2)
    lower, upper = arms.interval(critical)
    difference = arms.mean[None, :] - arms.mean[:, None]
    margin = (arms.mean - lower)[None, :] ** 2 + (upper - arms.mean)[:, None] ** 2
    beaten = difference > np.sqrt(margin)
    return np.asarray(~(beaten if counts is None else beaten & counts).any(axis=1))


def shrunken(arms: Arms) -> Floats:
    """Means (arms,) drawn to their common mean by the normal-normal empirical Bayes rule.

    The variance between arms by the method of moments (DerSimonian and Laird, Control. Clin. Trials 7, 1986, 177).
    """
    variance = np.maximum(arms.spread() ** 2, 1e-12)
    weight = 1 / variance
    centre = float(weight @ arms.mean / weight.sum())
    excess = float(weight @ (arms.mean - centre) ** 2) - (len(arms.mean) - 1)
    scale = float(weight.sum() - (weight**2).sum() / weight.sum())
    between = max(0.0, excess / scale) if scale > 0 else 0.0
    random = 1 / (variance + between)
    centre = float(random @ arms.mean / random.sum())
    return np.asarray(centre + between / (between + variance) * (arms.mean - centre))
