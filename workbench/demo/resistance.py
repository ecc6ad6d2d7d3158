"""The ranking story: a virus with resistance markers, 100 regimens, and what truly decides when one fails.

Every patient belongs to a latent genotype group; markers are the group's pattern with a few flips, so
similar patients exist. Which regimen a physician starts depends on the genotype, on severity (CD4 below
200) and on the calendar period, and severity and period also act on the outcome: confounding by indication.
Given severity, period and markers, choice is independent of outcome, so stratifying by severity and period
among similar patients recovers the truth.

Failure or death comes after an exponential time with the monthly hazard

    base * exp(efficacy[r] + sum_m resistance[r, m] * marker[m] + severe + early + age) + death(severe)

which makes every regimen's restricted mean time in months, on the monthly grid of the studies, a closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.demo.vocabulary import MARKERS, REGIMENS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

GROUPS: Final = 10
LATE_FROM: Final = 2018
SEVERE_BELOW: Final = 200
END_OF_DATA: Final = np.datetime64("2024-12-31", "D")
DAYS_PER_MONTH: Final = 365.25 / 12
_TRUTH_SEED: Final = 20_260_101
_FLIP: Final = 0.035
_BASE: Final = 0.011
_SEVERE: Final = 1.2
_EARLY: Final = 0.35
_AGE_PER_DECADE: Final = -0.08
_LOSS_PER_MONTH: Final = 0.005
_SEVERE_BY_STAGE: Final = np.array([0.12, 0.38, 0.65])
_STAGES_BY_HOSPITAL: Final = np.array([[0.45, 0.33, 0.22], [0.55, 0.30, 0.15], [0.35, 0.35, 0.30]])
_AGE_BY_HOSPITAL: Final = np.array([46.0, 42.0, 50.0])
_LATE_BY_HOSPITAL: Final = np.array([0.55, 0.62, 0.45])


@dataclass(frozen=True)
class ResistanceTruth:
    """The causal parameters, the same for every seed of the population.

    ``centres`` (groups, markers) 0/1; ``group_weights`` (hospitals, groups); ``efficacy`` (regimens,) log
    hazard; ``resistance`` (regimens, markers) log hazard added by a marker; ``popularity``,
    ``severe_tilt``, ``late_tilt`` (regimens,) log odds of being chosen.
    """

    centres: Ints
    group_weights: Floats
    efficacy: Floats
    resistance: Floats
    popularity: Floats
    severe_tilt: Floats
    late_tilt: Floats

    def hazard(
        self, markers: Ints, severe: Ints, late: Ints, age: Floats, regimen: Ints | None = None
    ) -> Floats:
        """Monthly hazard of failure or death: (n,) under the given 0-based regimens, else (n, regimens)."""
        common = _SEVERE * severe + _EARLY * (1 - late) + _AGE_PER_DECADE * (age - 45) / 10
        death = 0.0006 * (1 + 2 * severe)
        if regimen is None:
            log_hazard = self.efficacy + markers @ self.resistance.T
            return np.asarray(_BASE * np.exp(log_hazard + common[:, None]) + death[:, None])
        log_hazard = self.efficacy[regimen] + np.einsum("nm,nm->n", self.resistance[regimen], markers)
        return np.asarray(_BASE * np.exp(log_hazard + common) + death)

    def choice_log_odds(self, markers: Ints, severe: Ints, late: Ints) -> Floats:
        """Log odds (n, regimens) with which a physician starts each regimen."""
        indicated = self.popularity - 0.6 * (markers @ self.resistance.T)
        return np.asarray(indicated + severe[:, None] * self.severe_tilt + late[:, None] * self.late_tilt)


def restricted_mean(monthly_hazard: Floats, months: int) -> Floats:
    """Expected months without failure up to ``months``, on the monthly grid: sum of S(0 .. months - 1)."""
    kept = np.exp(-monthly_hazard)
    return np.asarray((1 - kept**months) / (1 - kept))


def default_truth() -> ResistanceTruth:
    """The one truth of the demonstration, drawn once from a fixed seed."""
    rng = np.random.default_rng(_TRUTH_SEED)
    rank = np.arange(1, REGIMENS + 1)
    resistance = np.zeros((REGIMENS, MARKERS))
    for regimen in range(REGIMENS):
        vulnerable = rng.choice(MARKERS, size=rng.integers(3, 6), replace=False)
        resistance[regimen, vulnerable] = rng.uniform(0.25, 0.7, len(vulnerable))
    late_tilt = rng.uniform(-0.5, 0.5, REGIMENS)
    severe_tilt = np.where(rng.random(REGIMENS) < 0.5, 1.0, -1.0)
    severe_tilt[:4] = (1.0, -1.0, 1.0, -1.0)
    efficacy = rng.normal(0.0, 0.35, REGIMENS)
    efficacy[:4] = (-0.35, -0.10, 0.0, -0.15)
    return ResistanceTruth(
        centres=_distinct_patterns(rng),
        group_weights=_group_weights(rng),
        efficacy=efficacy,
        resistance=resistance,
        popularity=-0.95 * np.log(rank),
        severe_tilt=severe_tilt,
        late_tilt=late_tilt,
    )


def _distinct_patterns(rng: np.random.Generator) -> Ints:
    """Marker patterns of the groups, any two at Hamming distance 7 or more."""
    patterns: list[Ints] = []
    while len(patterns) < GROUPS:
        candidate = (rng.random(MARKERS) < 0.24).astype(np.int64)
        if all(np.abs(candidate - other).sum() >= 7 for other in patterns):
            patterns.append(candidate)
    return np.array(patterns)


def _group_weights(rng: np.random.Generator) -> Floats:
    """Shares of the groups at the three hospitals: the same groups in another mix."""
    weights = np.linspace(1.5, 0.6, GROUPS) * rng.uniform(0.7, 1.4, (3, GROUPS))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _choose(log_odds: Floats, rng: np.random.Generator) -> Ints:
    """One column per row, with probability softmax(log_odds)."""
    return np.asarray(np.argmax(log_odds + rng.gumbel(size=log_odds.shape), axis=1))


def _rows_of(probabilities: Floats, rng: np.random.Generator) -> Ints:
    """One category per row of (n, categories) probabilities."""
    return np.asarray((rng.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)).sum(axis=1))


def draw(hospital: Ints, truth: ResistanceTruth, rng: np.random.Generator) -> pd.DataFrame:
    """Patients of the ranking story, one per element of ``hospital`` (0, 1, 2).

    Columns: hospital, female, age, stage (0..2), cd4 (cells per microlitre), severe, index (date), late,
    marker_01.., regimen (1-based), failure_days (first day of failure or death after index), death (whether
    that event is death), follow_up (days until follow-up ends, at most the event's day where the event is
    death), event (0/1, observed).
    """
    n = len(hospital)
    group = _rows_of(truth.group_weights[hospital], rng)
    markers = truth.centres[group] ^ (rng.random((n, MARKERS)) < _FLIP)
    age = np.clip(rng.normal(_AGE_BY_HOSPITAL[hospital], 10.0), 19, 80).astype(np.int64)
    stage = _rows_of(_STAGES_BY_HOSPITAL[hospital], rng)
    severe = (rng.random(n) < _SEVERE_BY_STAGE[stage]).astype(np.int64)
    late = (rng.random(n) < _LATE_BY_HOSPITAL[hospital]).astype(np.int64)
    regimen = _choose(truth.choice_log_odds(markers, severe, late), rng)
    frame = pd.DataFrame({"hospital": hospital, "female": (rng.random(n) < 0.3).astype(np.int64), "age": age})
    frame["stage"], frame["severe"], frame["late"] = stage, severe, late
    frame["cd4"] = np.where(
        severe == 1, rng.integers(20, SEVERE_BELOW, n), rng.integers(SEVERE_BELOW, 900, n)
    )
    frame["index"] = _index_dates(late, rng)
    for m in range(MARKERS):
        frame[f"marker_{m + 1:02d}"] = markers[:, m]
    frame["regimen"] = regimen + 1
    hazard = truth.hazard(markers, severe, late, age.astype(np.float64), regimen)
    return frame.join(
        follow_up(
            frame["index"].to_numpy(),
            hazard,
            (0.0006 * (1 + 2 * severe)).astype(np.float64),
            _LOSS_PER_MONTH,
            rng,
        )
    )


def _index_dates(late: Ints, rng: np.random.Generator) -> NDArray[np.datetime64]:
    """A day in 2013-2017 for early and in 2018-2021 for late patients."""
    year = np.where(
        late == 1, rng.integers(LATE_FROM, 2022, len(late)), rng.integers(2013, LATE_FROM, len(late))
    )
    start = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]")
    return np.asarray(start + rng.integers(0, 365, len(late)).astype("timedelta64[D]"))


def follow_up(
    index: NDArray[np.datetime64], hazard: Floats, death_part: Floats, loss: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Event and end of follow-up in whole days after ``index``, from monthly hazards.

    The event (of ``hazard``) is death with probability ``death_part / hazard``. Follow-up ends with loss
    (monthly rate ``loss``), the end of the data, or death.
    """
    n = len(index)
    event_days = np.ceil(rng.exponential(1 / hazard) * DAYS_PER_MONTH).astype(np.int64)
    fatal = rng.random(n) < death_part / hazard
    lost = np.ceil(rng.exponential(1 / loss, n) * DAYS_PER_MONTH).astype(np.int64)
    administrative = (END_OF_DATA - index.astype("datetime64[D]")).astype(np.int64)
    end = np.minimum(lost, administrative)
    observed = event_days <= end
    end = np.where(observed & fatal, event_days, end)
    return pd.DataFrame(
        {
            "failure_days": event_days,
            "death": observed & fatal,
            "follow_up": end,
            "event": observed.astype(np.int64),
        }
    )
