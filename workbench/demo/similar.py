"""The pooled cleartext answer of the ranking example: who is similar to a patient, and how they fare by regimen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.demo import resistance
from workbench.demo.curves import TAU, Floats, Ints, by_strata, kaplan_meier, on_grid
from workbench.demo.population import Population
from workbench.demo.vocabulary import MARKERS, REGIMENS, STAGES
from workbench.demo.weights import Even, judge_weights


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
SMALLEST: Final = 10
"""The smallest number of persons behind anything shown."""
LEAST_INFORMATION: Final = 20
"""The smallest effective size of a regimen shown."""


@dataclass(frozen=True)
class ArmTruth:
    """One regimen among similar patients. ``overlap``: no stratum of the similar patients is empty; ``at_tau``:
    persons still followed at TAU; ``finished``: every stratum is followed to TAU or has come down to zero;
    ``information``: 1 / sum of squared weights over the persons followed completely. ``persons_left``,
    ``at_tau_left``, ``events_left``: the fewest that are left when an asking hospital subtracts its own. ``even``: whether
    one person, or one event, weighs too much in ``mean``. ``risk`` of failure before TAU, standardised as ``mean``."""

    persons: int
    persons_left: int
    overlap: bool
    at_tau: int
    at_tau_left: int
    finished: bool
    information: float
    events: int
    events_left: int
    crude: float
    mean: float
    error: float
    causal: float
    even: Even
    risk: float
    risk_error: float


class Similar:
    """The ranking example's patients and what similar ones of any patient show."""

    def __init__(self, population: Population, receiving: Sequence[int] = (0, 1, 2)) -> None:
        """``receiving``: the hospitals whose physicians ask, and could subtract their own patients."""
        self.receiving = tuple(receiving)
        people = population.resistance
        known = people["eligible"] & people["cd4_known"] & people["stage_known"]
        self.people = people[known].reset_index(drop=True)
        self.markers = self.people[marker_columns()].to_numpy()
        self.hospital = self.people["hospital"].to_numpy()
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
        """Number and persons of the strictest tier with two supported regimens.

        Without such a tier: the number past the last, and nobody.
        """
        for number, tier in enumerate(LADDER):
            similar = self.within(facts, tier)
            if self._supported(similar).sum() >= 2:
                return number, similar
        return len(LADDER), np.zeros(len(self.people), dtype=bool)

    def _supported(self, similar: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Regimens with `MINIMUM_SUPPORT` persons, `SMALLEST` of them followed to TAU, and both still true of
        `SMALLEST` without those of each hospital whose physicians ask, which could subtract their own; with an
        effective size of `LEAST_INFORMATION`, and nobody followed completely who weighs more than a `SMALLEST`-th."""
        followed = similar & (self.months >= TAU)
        supported = (self.sizes(similar) >= MINIMUM_SUPPORT) & (self.sizes(followed) >= SMALLEST)
        supported &= self._represented(similar)
        for hospital in self.receiving:
            others = self.hospital != hospital
            supported &= self.sizes(similar & others) >= SMALLEST
            supported &= self.sizes(followed & others) >= SMALLEST
        return supported

    def _represented(self, similar: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Regimens (regimens,) whose completely followed persons are enough for the mix of all similar ones."""
        complete = similar & ((self.months >= TAU) | (self.events == 1))
        place = self.regimen[complete] * STRATA + self.strata[complete]
        counts = np.bincount(place, minlength=REGIMENS * STRATA).reshape(REGIMENS, STRATA)
        mix = np.bincount(self.strata[similar], minlength=STRATA) / max(1, int(similar.sum()))
        light = (SMALLEST * mix <= counts).all(axis=1)
        spread = (mix**2 / np.maximum(counts, 1)).sum(axis=1)
        return np.asarray(light & (spread * LEAST_INFORMATION <= 1))

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

    def left(self, members: NDArray[np.bool_]) -> int:
        """The fewest of ``members`` that are left when a receiving hospital takes its own away."""
        outside = [int((members & (self.hospital != hospital)).sum()) for hospital in self.receiving]
        return min([int(members.sum()), *outside])

    def _arm(self, members: NDArray[np.bool_], mix: Floats, causal: float) -> ArmTruth:
        months, events, strata = self.months[members], self.events[members], self.strata[members]
        counts = np.bincount(strata, minlength=STRATA)
        weights = np.where(counts > 0, mix, 0.0)
        weights = weights / weights.sum()
        mixed = by_strata(months, events, strata, weights)
        return ArmTruth(
            persons=int(members.sum()),
            persons_left=self.left(members),
            overlap=bool(((mix == 0) | (counts > 0)).all()),
            at_tau=int((months >= TAU).sum()),
            at_tau_left=self.left(members & (self.months >= TAU)),
            finished=all(_finished(months[strata == s], events[strata == s]) for s in np.flatnonzero(counts)),
            information=_information(months, events, strata, weights),
            events=int(events[months < TAU].sum()),
            events_left=self.left(members & (self.months < TAU) & (self.events == 1)),
            crude=kaplan_meier(months, events).mean,
            mean=mixed.mean,
            error=mixed.mean_error,
            causal=causal,
            even=judge_weights(months, events, strata, self.hospital[members], mix, self.receiving, SMALLEST),
            risk=1 - float(mixed.survival[TAU - 1]),
            risk_error=float(mixed.standard_error[TAU - 1]),
        )


def _finished(months: Ints, events: Ints) -> bool:
    """Whether somebody is followed to TAU, or the curve has come down to zero before."""
    return bool((months >= TAU).any() or kaplan_meier(months, events).survival[TAU - 1] == 0)


def _information(months: Ints, events: Ints, strata: Ints, weights: Floats) -> float:
    """1 / sum_g w_g^2 / c_g, c_g the persons of stratum g who are followed to TAU or have the event before."""
    complete = np.bincount(strata[(months >= TAU) | (events == 1)], minlength=STRATA)
    used = weights > 0
    if (complete[used] == 0).any():
        return 0.0
    return float(1 / (weights[used] ** 2 / complete[used]).sum())


def marker_columns() -> list[str]:
    """The markers' names in the study and in the generator's table."""
    return [f"marker_{number:02d}" for number in range(1, MARKERS + 1)]
