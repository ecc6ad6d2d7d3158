"""Neutral records from the truth about each person: what a hospital would hold of them."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.demo import diabetes
from workbench.demo.vocabulary import CODES, MARKERS, STAGES, marker, regimen

KEYS: Final = pd.CategoricalDtype(["", *CODES])
"""Codes of a record, by their key in `CODES`."""

Days = NDArray[np.datetime64]
Records = list[pd.DataFrame]


def ordered(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    return frame.sort_values(by, kind="stable", ignore_index=True)


def days(frame: pd.DataFrame, offset: object) -> Days:
    """Index date plus whole days."""
    shift = np.asarray(offset, dtype=np.int64).astype("timedelta64[D]")
    return np.asarray(frame["index"].to_numpy().astype("datetime64[D]") + shift)


def persons(frame: pd.DataFrame, story: str, rng: np.random.Generator) -> pd.DataFrame:
    start = _start(frame)
    year = frame["index"].dt.year.to_numpy() - frame["age"].to_numpy()
    birth = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]") + rng.integers(0, 365, len(frame))
    death = np.where(frame["death"], days(frame, frame["follow_up"]), np.datetime64("NaT", "D"))
    columns = {"person": frame["person"], "hospital": frame["hospital"], "story": story}
    columns |= {"female": frame["female"], "birth": birth, "start": start}
    return pd.DataFrame(columns | {"end": days(frame, frame["follow_up"]), "death": death})


def _start(frame: pd.DataFrame) -> Days:
    """First day of observation: ``history`` days before index (ranking) or before diagnosis (diabetes)."""
    before = frame["history"] + (frame["diagnosed"] if "therapy" in frame else 0)
    return days(frame, -before)


def visits(frame: pd.DataFrame, rng: np.random.Generator) -> Records:
    """Outpatient visits at the first and the last day of observation and at index."""
    dates = (_start(frame), days(frame, 0), days(frame, frame["follow_up"]))
    return [_visit(frame["person"], "outpatient", date, date) for date in dates]


def _visit(person: pd.Series, kind: str, start: Days, end: Days) -> pd.DataFrame:
    return pd.DataFrame({"person": person.to_numpy(), "kind": kind, "start": start, "end": end})


def stays(frame: pd.DataFrame) -> pd.DataFrame:
    """Inpatient stays for heart failure, up to five days within observation."""
    ill = frame[_failed_alive(frame)]
    last = np.minimum(ill["failure_days"] + 5, ill["follow_up"])
    return _visit(ill["person"], "inpatient", days(ill, ill["failure_days"]), days(ill, last))


def _failed_alive(frame: pd.DataFrame) -> pd.Series:
    """Persons whose observed event is not death."""
    return (frame["event"] == 1) & ~frame["death"]


def _event(frame: pd.DataFrame, key: object, offset: object) -> pd.DataFrame:
    """Records (person, key, date), the date ``offset`` days from the index."""
    keys = _keys(key, len(frame))
    return pd.DataFrame({"person": frame["person"].to_numpy(), "key": keys, "date": days(frame, offset)})


def _keys(key: object, count: int) -> pd.Categorical:
    """One key for every record, or one for each."""
    if isinstance(key, str):
        return pd.Categorical.from_codes(np.full(count, KEYS.categories.get_loc(key)), dtype=KEYS)
    return pd.Categorical(np.asarray(key, dtype=object), dtype=KEYS)


def ranking_conditions(frame: pd.DataFrame) -> Records:
    failed = frame[_failed_alive(frame)]
    return [
        _event(frame, "icd_hiv", -frame["diagnosed"]),
        _event(failed, "failure", failed["failure_days"]),
    ]


def ranking_drugs(frame: pd.DataFrame, rng: np.random.Generator) -> Records:
    keys = np.array([regimen(n) for n in range(1, 101)])
    started = _event(frame, keys[frame["regimen"] - 1], 0)
    failed = frame[_failed_alive(frame) & (rng.random(len(frame)) < 0.3)]
    later = np.minimum(failed["failure_days"] + 14, failed["follow_up"])
    switched = _event(failed, rng.choice(keys[:20], len(failed)), later)
    return [table.assign(days=30) for table in (started, switched)]


def ranking_results(frame: pd.DataFrame, rng: np.random.Generator) -> Records:
    """Panel, the markers detected in it (absent ones leave no record), stage and CD4, before index."""
    frame = frame.assign(tested=-rng.integers(1, 60, len(frame)), staged=-rng.integers(0, 60, len(frame)))
    tested = frame[frame["panel"]]
    records = [_result(tested, "genotype_panel", tested["tested"])]
    for n in range(1, MARKERS + 1):
        found = tested[tested[f"marker_{n:02d}"] == 1]
        records.append(_result(found, marker(n), found["tested"]))
    staged, counted = frame[frame["stage_known"]], frame[frame["cd4_known"]]
    answers = np.array([f"stage_{stage}" for stage in STAGES])[staged["stage"]]
    records.append(_result(staged, "stage", staged["staged"], answer=answers))
    return [*records, _result(counted, "cd4", counted["staged"], value=counted["cd4"], unit="cells_ul")]


def _result(
    frame: pd.DataFrame,
    key: str,
    offset: object,
    *,
    value: object = np.nan,
    unit: str = "",
    answer: object = "",
) -> pd.DataFrame:
    count = len(frame)
    values = np.broadcast_to(np.asarray(value, dtype=float), count)
    return _event(frame, key, offset).assign(
        value=values, unit=_keys(unit, count), answer=_keys(answer, count)
    )


def diabetes_conditions(frame: pd.DataFrame, rng: np.random.Generator) -> Records:
    type_2 = frame[frame["kind"] <= 2]
    code = np.where(
        type_2["kidney"] == 1, "icd_t2dm_kidney", np.where(type_2["high"] == 1, "icd_t2dm_high", "icd_t2dm")
    )
    code = np.where(rng.random(len(type_2)) < 0.5, "icd_t2dm", code)
    kidney = frame[frame["kidney"] == 1]
    weak = frame[frame["excluded"] == "heart failure"]
    doubtful = type_2[type_2["excluded"] == "type 1"]
    ill = frame[_failed_alive(frame)]
    forms = rng.choice(["icd_hf", "icd_hf_systolic", "icd_hf_diastolic"], len(ill), p=[0.6, 0.25, 0.15])
    return [
        _event(type_2, code, -type_2["diagnosed"]),
        _event(type_2, "icd_t2dm", -30),
        _event(kidney, "icd_ckd3", -rng.integers(30, 110, len(kidney))),
        _event(weak, "icd_hf", -100),
        _event(doubtful, "icd_t1dm", -doubtful["diagnosed"]),
        _event(ill, forms, ill["failure_days"]),
        _event(frame[frame["kind"] == 3], "icd_t1dm", -100),
        _event(frame[frame["kind"] == 4], "icd_hypertension", -100),
    ]


def diabetes_drugs(frame: pd.DataFrame) -> Records:
    treated, second = frame[frame["on_metformin"]], frame[frame["kind"] == 0]
    therapies = np.array(diabetes.THERAPIES)[second["therapy"]]
    on_insulin = frame[(frame["excluded"] == "insulin") | (frame["kind"] == 3)]
    tables = [
        _event(treated, "metformin", -treated["metformin"]),
        _event(treated, "metformin_any", -30),
        _event(second, therapies, 0),
        _event(on_insulin, "insulin_glargine", -90),
    ]
    return [table.assign(days=90) for table in tables]


def diabetes_results(frame: pd.DataFrame, rng: np.random.Generator) -> Records:
    """HbA1c in the 85 days before index, and an earlier one that picking the first value would take."""
    known = frame[(frame["kind"] <= 1) & frame["hba1c_known"]]
    earlier = np.round(rng.uniform(6.5, 11.5, len(known)), 1)
    return [
        _result(known, "hba1c", -rng.integers(90, 115, len(known)), value=earlier, unit="percent"),
        _result(known, "hba1c", -rng.integers(0, 85, len(known)), value=known["hba1c"], unit="percent"),
    ]
