"""The pooled cleartext answers: what one would compute with every hospital's records in one table.

Taken from the generator's own tables, not from the extracts, and computed here from the textbook
definitions in floating point, so that a fault anywhere on the way (extract, mapping, cohort, sharing,
protocol, release) shows as a difference. Nothing here imports the engine or its analyses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2

from workbench.demo import diabetes, resistance
from workbench.demo.population import Population
from workbench.demo.vocabulary import MARKERS, REGIMENS, STAGES

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

HORIZON_DAYS: Final = 730
TAU: Final = 24
"""Months; the horizon of both time-to-event examples."""

ARMS: Final = ("sulfonylurea", "DPP-4 inhibitor")
COMPARED_AT: Final = (6, 12, 18, 24)


# ---- count


def attrition(population: Population) -> list[tuple[str, int]]:
    """Persons left after the entry event and after each criterion of the count example."""
    people = population.diabetes
    steps = {
        "entry": (people["kind"] <= 2) & ~people["short"],
        "18 years or older": ~people["young"],
        "type 1 diabetes recorded at any time": people["excluded"] != "type 1",
        "metformin within 90 days of diagnosis": (people["kind"] <= 1)
        & (people["diagnosed"] - people["metformin"] <= 90),
    }
    left = pd.Series(True, index=people.index)
    counts = []
    for label, kept in steps.items():
        left &= kept
        counts.append((label, int(left.sum())))
    return counts


# ---- time to event


def on_grid(frame: pd.DataFrame) -> tuple[Ints, Ints]:
    """Whole months (by ceiling, 365.25 / 12 days) to the event or the end of follow-up; 1 for an event."""
    event = (frame["event"] == 1) & (frame["failure_days"] <= HORIZON_DAYS)
    days = np.where(event, frame["failure_days"], np.minimum(frame["follow_up"], HORIZON_DAYS))
    return -(-days.astype(np.int64) * 16 // 487), event.to_numpy().astype(np.int64)


@dataclass(frozen=True)
class Curve:
    """Kaplan-Meier on the months 0..TAU: survival, its Greenwood variance, persons at risk, events."""

    survival: Floats
    variance: Floats
    at_risk: Ints
    events: Ints

    @property
    def mean(self) -> float:
        """Restricted mean up to TAU, in months."""
        return float(self.survival[:TAU].sum())

    @property
    def mean_variance(self) -> float:
        """Variance of the restricted mean, as R's ``summary(survfit, rmean)``."""
        total = 0.0
        for month in range(1, TAU):
            d, n = self.events[month], self.at_risk[month]
            if d and n > d:
                total += self.survival[month:TAU].sum() ** 2 * d / (n * (n - d))
        return total


def kaplan_meier(months: Ints, events: Ints) -> Curve:
    """The curve of persons with ``months`` to an event (1) or censoring (0); events first within a month."""
    survival, variance = np.ones(TAU + 1), np.zeros(TAU + 1)
    at_risk = np.array([(months >= month).sum() for month in range(TAU + 1)])
    failed = np.array([((months == month) & (events == 1)).sum() for month in range(TAU + 1)])
    factor, greenwood = 1.0, 0.0
    for month in range(TAU + 1):
        n, d = at_risk[month], failed[month]
        factor *= 1 - d / n if n else 1.0
        greenwood += d / (n * (n - d)) if d and n > d else 0.0
        survival[month], variance[month] = factor, factor**2 * greenwood
    return Curve(survival, variance, at_risk, failed)


@dataclass(frozen=True)
class Standardised:
    """Curves of the strata mixed with fixed weights: survival and error by month, restricted mean."""

    survival: Floats
    standard_error: Floats
    mean: float
    mean_error: float


def standardise(curves: Sequence[Curve], weights: Floats) -> Standardised:
    """Direct standardisation over strata."""
    survival = sum(w * curve.survival for w, curve in zip(weights, curves, strict=True))
    variance = sum(w**2 * curve.variance for w, curve in zip(weights, curves, strict=True))
    mean = sum(w * curve.mean for w, curve in zip(weights, curves, strict=True))
    mean_variance = sum(w**2 * curve.mean_variance for w, curve in zip(weights, curves, strict=True))
    return Standardised(np.asarray(survival), np.sqrt(variance), float(mean), float(np.sqrt(mean_variance)))


def by_strata(months: Ints, events: Ints, strata: Ints, weights: Floats) -> Standardised:
    """One arm's curves within each stratum, mixed with ``weights`` (strata,)."""
    used = [
        kaplan_meier(months[strata == s], events[strata == s]) for s in range(len(weights)) if weights[s] > 0
    ]
    return standardise(used, weights[weights > 0])


def log_rank(months: Ints, events: Ints, arm: Ints, strata: Ints) -> tuple[float, float]:
    """Chi-square and p of the log-rank test of two arms (0, 1), stratified."""
    score = variance = 0.0
    for stratum in np.unique(strata):
        here = strata == stratum
        for month in np.unique(months[here & (events == 1)]):
            risk = here & (months >= month)
            failed = risk & (months == month) & (events == 1)
            n, d, n1 = risk.sum(), failed.sum(), (risk & (arm == 1)).sum()
            score += (failed & (arm == 1)).sum() - d * n1 / n
            variance += d * (n1 / n) * (1 - n1 / n) * (n - d) / (n - 1) if n > 1 else 0.0
    statistic = score**2 / variance
    return float(statistic), float(chi2.sf(statistic, 1))


# ---- the comparison of second-line therapies


@dataclass(frozen=True)
class Comparison:
    """Pooled answers of the survival example, arms in the order of `ARMS`."""

    persons: tuple[int, int]
    events: tuple[int, int]
    crude: tuple[Curve, Curve]
    adjusted: tuple[Standardised, Standardised]
    causal_mean: tuple[float, float]
    log_rank: tuple[float, float]
    stratified_log_rank: tuple[float, float]


def comparison(population: Population) -> Comparison:
    """Second-line therapies among the persons the survival example admits and whose HbA1c is known."""
    people = population.diabetes
    people = people[people["eligible"] & people["hba1c_known"]]
    months, events = on_grid(people)
    arm = people["therapy"].to_numpy()
    strata = (people["kidney"] * 4 + people["high"] * 2 + people["late"]).to_numpy()
    hospital = people["hospital"].to_numpy()
    weights = np.bincount(strata, minlength=8) / len(people)
    selected = [arm == number for number in (0, 1)]
    true_means = [_causal_mean(people, number) for number in (0, 1)]
    return Comparison(
        persons=_pair([int(one.sum()) for one in selected]),
        events=_pair([int(events[one].sum()) for one in selected]),
        crude=_pair([kaplan_meier(months[one], events[one]) for one in selected]),
        adjusted=_pair([by_strata(months[one], events[one], strata[one], weights) for one in selected]),
        causal_mean=_pair(true_means),
        log_rank=log_rank(months, events, arm, hospital),
        stratified_log_rank=log_rank(months, events, arm, hospital * 8 + strata),
    )


def _pair(values: list) -> tuple:  # type: ignore[type-arg]
    first, second = values
    return first, second


def _causal_mean(people: pd.DataFrame, therapy: int) -> float:
    """Restricted mean had everybody been given ``therapy``, from the true hazards."""
    hazard = diabetes.hazard(people, np.full(len(people), therapy))
    return float(resistance.restricted_mean(hazard, TAU).mean())


# ---- the ranking of regimens


@dataclass(frozen=True)
class Tier:
    """Who counts as similar: markers that may differ, years of age, whether the stage must agree."""

    name: str
    distance: int
    years: int
    same_stage: bool


LADDER: Final = (Tier("strict", 2, 8, True), Tier("moderate", 4, 12, True), Tier("loose", 5, 20, False))
STRATA: Final = 4
MINIMUM_SUPPORT: Final = 40


@dataclass(frozen=True)
class ArmTruth:
    """One regimen among similar patients. ``effective``: (sum w)^2 / sum w^2 of the standardising weights;
    ``overlap``: no stratum of the similar patients is empty; ``at_tau``: persons still followed at TAU."""

    persons: int
    effective: float
    overlap: bool
    at_tau: int
    events: int
    crude: float
    mean: float
    error: float
    causal: float


class Similar:
    """The ranking example's patients and what similar ones of any patient show."""

    def __init__(self, population: Population) -> None:
        people = population.resistance
        known = people["eligible"] & people["cd4_known"] & people["stage_known"]
        self.people = people[known].reset_index(drop=True)
        self.markers = self.people[marker_columns()].to_numpy()
        self.age = self.people["age"].to_numpy()
        self.stage = self.people["stage"].to_numpy()
        self.strata = (self.people["late"] * 2 + self.people["severe"]).to_numpy()
        self.regimen = self.people["regimen"].to_numpy() - 1
        self.months, self.events = on_grid(self.people)
        self.truth = resistance.default_truth()

    def facts(self, row: int) -> dict[str, object]:
        """The facts a physician would enter for the person in ``row``."""
        markers = {name: int(v) for name, v in zip(marker_columns(), self.markers[row], strict=True)}
        return {**markers, "age": int(self.age[row]), "stage": STAGES[self.stage[row]]}

    def within(self, facts: Mapping[str, object], tier: Tier) -> NDArray[np.bool_]:
        """Persons similar to a patient with ``facts``; a missing fact is not matched on."""
        distance = np.zeros(len(self.people), dtype=np.int64)
        for number, name in enumerate(marker_columns()):
            if facts.get(name) is not None:
                distance += self.markers[:, number] != facts[name]
        similar = distance <= tier.distance
        age, stage = facts.get("age"), facts.get("stage")
        if isinstance(age, int):
            similar &= np.abs(self.age - age) <= tier.years
        if tier.same_stage and isinstance(stage, str):
            similar &= self.stage == STAGES.index(stage)
        return similar

    def first_tier(self, facts: Mapping[str, object]) -> tuple[int, NDArray[np.bool_]]:
        """Number and persons of the strictest tier with two regimens of `MINIMUM_SUPPORT` persons.

        Without such a tier: the number past the last, and nobody.
        """
        for number, tier in enumerate(LADDER):
            similar = self.within(facts, tier)
            if (self.sizes(similar) >= MINIMUM_SUPPORT).sum() >= 2:
                return number, similar
        return len(LADDER), np.zeros(len(self.people), dtype=bool)

    def sizes(self, similar: NDArray[np.bool_]) -> Ints:
        """Similar persons on each regimen (regimens,)."""
        return np.bincount(self.regimen[similar], minlength=REGIMENS)

    def arms(self, similar: NDArray[np.bool_], smallest: int = MINIMUM_SUPPORT) -> dict[int, ArmTruth]:
        """Regimens (0-based) with at least ``smallest`` similar persons."""
        if not similar.any():
            return {}
        mix = np.bincount(self.strata[similar], minlength=STRATA) / similar.sum()
        causal = self._causal(similar)
        sizes = self.sizes(similar)
        return {
            int(arm): self._arm(similar & (self.regimen == arm), mix, float(causal[arm]))
            for arm in np.flatnonzero(sizes >= smallest)
        }

    def _causal(self, similar: NDArray[np.bool_]) -> Floats:
        """True restricted mean of each regimen had all similar persons been given it (regimens,)."""
        rows = self.people[similar]
        hazard = self.truth.hazard(
            self.markers[similar],
            rows["severe"].to_numpy(),
            rows["late"].to_numpy(),
            self.age[similar].astype(float),
        )
        return np.asarray(resistance.restricted_mean(hazard, TAU).mean(axis=0))

    def _arm(self, members: NDArray[np.bool_], mix: Floats, causal: float) -> ArmTruth:
        months, events, strata = self.months[members], self.events[members], self.strata[members]
        counts = np.bincount(strata, minlength=STRATA)
        present = np.where(counts > 0, mix, 0.0)
        weights = present / max(present.sum(), 1e-12)
        each = weights / np.maximum(counts, 1)
        mixed = by_strata(months, events, strata, weights)
        return ArmTruth(
            persons=int(members.sum()),
            effective=float(1 / (counts * each**2).sum()),
            overlap=bool(((mix == 0) | (counts > 0)).all()),
            at_tau=int((months >= TAU).sum()),
            events=int(events.sum()),
            crude=kaplan_meier(months, events).mean,
            mean=mixed.mean,
            error=mixed.mean_error,
            causal=causal,
        )


def marker_columns() -> list[str]:
    """The markers' names in the study and in the generator's table."""
    return [f"marker_{number:02d}" for number in range(1, MARKERS + 1)]
