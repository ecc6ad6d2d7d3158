"""The diabetes story: second-line therapy after metformin, and what truly decides heart failure or death.

Physicians choose the DPP-4 inhibitor for patients with chronic kidney disease, with high HbA1c and in later
years, and these patients have the worse outcome whatever they take: the crude comparison makes the better
therapy look worse. Given kidney disease, HbA1c band and period, choice is independent of outcome; comparing
within these strata recovers the true effect (hazard ratio `EFFECT`). The outcome comes after an exponential
time with the monthly hazard

    base * exp(kidney + high + late + age + EFFECT[therapy])        of which a third is death
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.demo.resistance import Floats, Ints, follow_up

THERAPIES: Final = ("glimepiride", "sitagliptin", "empagliflozin")
EFFECT: Final = np.array([0.0, -0.4, -0.5])
"""True log hazard of each therapy, relative to glimepiride."""
HIGH_FROM: Final = 8.5
LATE_FROM: Final = 2018
_BASE: Final = 0.0035
_KIDNEY: Final = 1.35
_HIGH: Final = 0.8
_LATE: Final = 0.35
_AGE_PER_DECADE: Final = 0.15
_DEATH_SHARE: Final = 1 / 3
_AGE_BY_HOSPITAL: Final = np.array([61.0, 57.0, 65.0])
_KIDNEY_BY_HOSPITAL: Final = np.array([0.32, 0.24, 0.42])
_LATE_BY_HOSPITAL: Final = np.array([0.5, 0.6, 0.45])

KINDS: Final = ("second_line", "metformin_only", "no_metformin", "type_1", "no_diabetes")
_EXCLUDED: Final = (0.89, 0.04, 0.04, 0.03)
_KIND_SHARES: Final = (0.68, 0.10, 0.08, 0.07, 0.07)


def hazard(frame: pd.DataFrame, therapy: Ints) -> Floats:
    """Monthly hazard of heart failure or death under the 0-based ``therapy`` of each row."""
    log_hazard = _KIDNEY * frame["kidney"] + _HIGH * frame["high"] + _LATE * frame["late"]
    log_hazard = log_hazard + _AGE_PER_DECADE * (frame["age"] - 60) / 10
    return np.asarray(_BASE * np.exp(log_hazard + EFFECT[therapy]), dtype=np.float64)


def draw(hospital: Ints, rng: np.random.Generator) -> pd.DataFrame:
    """Persons of the diabetes story, one per element of ``hospital`` (0, 1, 2).

    Columns: hospital, kind (index into `KINDS`), female, age (at index), kidney, hba1c (percent), high, late,
    index (date second-line therapy starts, or would), therapy (0-based), diagnosed and metformin (days before
    index), excluded ('' | 'insulin' | 'heart failure' | 'type 1'), and the columns of `resistance.follow_up`.
    """
    n = len(hospital)
    frame = pd.DataFrame({"hospital": hospital, "kind": rng.choice(len(KINDS), n, p=_KIND_SHARES)})
    frame["female"] = (rng.random(n) < 0.46).astype(np.int64)
    frame["age"] = np.clip(rng.normal(_AGE_BY_HOSPITAL[hospital], 11.0), 12, 92).astype(np.int64)
    frame["kidney"] = (rng.random(n) < _KIDNEY_BY_HOSPITAL[hospital]).astype(np.int64)
    frame["high"] = (rng.random(n) < 0.42).astype(np.int64)
    frame["hba1c"] = _hba1c(frame["high"].to_numpy(), rng)
    frame["late"] = (rng.random(n) < _LATE_BY_HOSPITAL[hospital]).astype(np.int64)
    frame["index"] = _index_dates(frame["late"].to_numpy(), rng)
    frame["therapy"] = _therapy(frame, rng)
    frame["metformin"] = rng.integers(120, 1100, n)
    frame["diagnosed"] = frame["metformin"] + _diagnosis_lead(n, rng)
    frame["excluded"] = rng.choice(["", "insulin", "heart failure", "type 1"], n, p=_EXCLUDED)
    monthly = hazard(frame, frame["therapy"].to_numpy())
    ends = follow_up(frame["index"].to_numpy(), monthly, monthly * _DEATH_SHARE, 0.006, rng)
    return frame.join(ends)


def _hba1c(high: Ints, rng: np.random.Generator) -> Floats:
    """Percent, one decimal: from 6.8 below `HIGH_FROM`, or from there to 11.9."""
    return np.where(high == 1, rng.integers(85, 120, len(high)), rng.integers(68, 85, len(high))) / 10


def _therapy(frame: pd.DataFrame, rng: np.random.Generator) -> Ints:
    """0 glimepiride, 1 sitagliptin, 2 empagliflozin (one in eight, whatever the patient)."""
    log_odds = -1.1 + 1.3 * frame["kidney"] + 0.8 * frame["high"] + 0.4 * frame["late"]
    dpp4 = rng.random(len(frame)) < 1 / (1 + np.exp(-log_odds))
    return np.where(rng.random(len(frame)) < 0.125, 2, dpp4.astype(np.int64))


def _diagnosis_lead(n: int, rng: np.random.Generator) -> Ints:
    """Days from first diagnosis to metformin: within 90 for four in five, up to two years for the others."""
    return np.where(rng.random(n) < 0.8, rng.integers(1, 90, n), rng.integers(91, 730, n))


def _index_dates(late: Ints, rng: np.random.Generator) -> NDArray[np.datetime64]:
    year = np.where(
        late == 1, rng.integers(LATE_FROM, 2022, len(late)), rng.integers(2014, LATE_FROM, len(late))
    )
    start = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]")
    return np.asarray(start + rng.integers(0, 365, len(late)).astype("timedelta64[D]"))
