"""Balance of covariates as the recipient of a ranking reads it, and which contrasts of treatments count. In the clear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mpc_backend.analyses.distributions import normal_reach
from mpc_backend.analyses.grid import Ints
from mpc_backend.analyses.ranking_parameters import RankingParameters

LARGE, SMALL = 0.2, 0.1
"""Standardised differences: above the first a contrast is withheld, if its interval excludes the second."""
MOST_NAMED = 6
Marks = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Balance(BaseModel):
    """Balance of ``covariates`` between each two of the treatments shown.

    ``withheld``: pairs between which one is out of balance, so that neither can rule the other out; ``out_of_balance``: the
    covariates that are, between some of them. ``not_judged``: pairs of too few patients to tell balance from imbalance.
    """

    model_config = ConfigDict(frozen=True)

    covariates: list[str]
    out_of_balance: list[str]
    withheld: list[tuple[str, str]]
    not_judged: list[tuple[str, str]]

    def among(self, treatments: Sequence[str]) -> Balance:
        """The same of fewer treatments. Which covariates are out of balance is known of all pairs together alone."""
        kept = set(treatments)
        withheld = [pair for pair in self.withheld if kept.issuperset(pair)]
        return Balance(
            covariates=self.covariates,
            out_of_balance=self.out_of_balance if withheld else [],
            withheld=withheld,
            not_judged=[pair for pair in self.not_judged if kept.issuperset(pair)],
        )

    def in_words(self) -> list[str]:
        """What a reader must know, in sentences; nothing where all covariates are in balance."""
        said = []
        if self.withheld:
            said.append(
                f"Out of balance between some treatments: {', '.join(self.out_of_balance)}. {_named(self.withheld)}, so that "
                "neither of two treatments rules the other out."
            )
        if self.not_judged:
            count = len(self.not_judged)
            pairs = "one pair" if count == 1 else f"{count} pairs"
            said.append(
                f"Balance in {', '.join(self.covariates)} cannot be judged between {pairs} of treatments: too few comparable "
                "patients."
            )
        return said


def _named(pairs: Sequence[tuple[str, str]]) -> str:
    """The contrasts that are withheld; more than a few are counted."""
    if len(pairs) > MOST_NAMED:
        return f"{len(pairs)} contrasts are withheld"
    listed = "; ".join(f"{one} and {other}" for one, other in pairs)
    return (
        f"The contrast of {listed} is withheld"
        if len(pairs) == 1
        else f"The contrasts of {listed} are withheld"
    )


@dataclass(frozen=True)
class OpenedBalance:
    """Released verdicts: by pair of treatments (pairs,), 0 with 1, 0 with 2 and so on, whether a covariate is out of balance,
    and whether it cannot be judged; by covariate (covariates,) whether it is out of balance between some two."""

    imbalanced: Marks
    unjudged: Marks
    covariates: Marks

    def read(self, parameters: RankingParameters) -> Balance:
        """In the study's names."""
        first, second = np.triu_indices(len(parameters.treatments), 1)
        names = parameters.treatments

        def named(marks: Marks) -> list[tuple[str, str]]:
            return [(names[first[at]], names[second[at]]) for at in np.flatnonzero(marks)]

        covariates = [covariate.variable for covariate in parameters.balance]
        return Balance(
            covariates=covariates,
            out_of_balance=[
                name for name, out in zip(covariates, self.covariates.tolist(), strict=True) if out
            ],
            withheld=named(self.imbalanced),
            not_judged=named(self.unjudged),
        )


def comparable(treatments: Sequence[str], balance: Balance | None) -> Marks:
    """Which contrasts count: (treatments, treatments)."""
    counts = np.ones((len(treatments), len(treatments)), dtype=bool)
    places = {name: place for place, name in enumerate(treatments)}
    for one, other in () if balance is None else balance.withheld:
        if one in places and other in places:
            counts[places[one], places[other]] = counts[places[other], places[one]] = False
    return counts


def judged_exactly(widths: Sequence[int], everyone: Ints, counts: Ints, shown: Marks) -> OpenedBalance:
    """The verdicts of an exact release: patients (treatments, strata), and by level (treatments, strata, levels); ``widths``
    levels of each covariate, ``shown`` (treatments,)."""
    portion = counts / np.maximum(everyone, 1)[:, :, None]
    mix = everyone.sum(axis=0) / max(1, int(everyone.sum()))
    weights = mix**2 / np.maximum(everyone, 1)
    share = np.einsum("g,jgc->jc", mix, portion)
    pooled = counts.sum(axis=0) / np.maximum(everyone.sum(axis=0), 1)[:, None]
    error = np.einsum("jg,gc->jc", weights, pooled * (1 - pooled))
    each = np.maximum(share * (1 - share), 0.0)
    first, second = np.triu_indices(len(everyone), 1)
    large, wide = beyond(
        np.abs(share[first] - share[second]),
        each[first] / 2 + each[second] / 2,
        error[first] + error[second],
    )
    seen = (shown[first] & shown[second])[:, None]
    starts = np.cumsum(widths) - np.array(widths)
    covariates = np.logical_or.reduceat(large & seen, starts, axis=1)
    imbalanced: Marks = np.any(covariates, axis=1)
    unjudged: Marks = np.any(wide & seen, axis=1) & ~imbalanced
    return OpenedBalance(imbalanced, unjudged, np.asarray(np.any(covariates, axis=0)))


def beyond(difference: Floats, variance: Floats, error: Floats) -> tuple[Marks, Marks]:
    """Of absolute differences of shares, their V and the variance S of the difference: whether |SMD| is above `LARGE` with a
    lower limit above `SMALL`; and whether, if not, its upper limit is above `LARGE`."""
    # Sums of the same shares differ in their last places: a difference of a billionth is none.
    nothing = 1e-9
    root, reach = np.sqrt(variance), normal_reach(0.95) * np.sqrt(error)
    large = (difference > LARGE * root + nothing) & (difference - reach > SMALL * root)
    return large, ~large & (difference + reach > LARGE * root + nothing)
