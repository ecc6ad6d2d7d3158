"""`tessera try ranking`: which treatments do best among patients like a given one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mpc_backend.analyses.errors import InputsRefused, LocalDataError, ParametersRefused
from mpc_backend.analyses.grid import Unit, column, level_text
from mpc_backend.analyses.ranking_arms import (
    ArmEstimate,
    HiddenArm,
    NegativeControl,
    OutcomeEstimate,
    RiskEstimate,
)
from mpc_backend.analyses.ranking_contrasts import Balance
from mpc_backend.analyses.ranking_parameters import MOST_TIMES
from mpc_backend.analyses.ranking_result import RankingResult
from mpc_backend.analyses.ranking_tables import ages, missing_facts
from mpc_backend.analyses.registry import analysis
from mpc_backend.tables import bucket
from mpc_backend.try_.data import by_site, levels, listed, outcome_columns, require_grid
from mpc_backend.try_.output import TAIL, Output
from mpc_backend.try_.ranking_balance import (
    Wanted,
    columns_of,
    declared,
    in_the_files_names,
    usual,
    with_balance,
)
from mpc_backend.try_.running import Answer, Setting, answer

MOST_TREATMENTS = 2_000
SMALL_RING = 65_535


@dataclass(frozen=True)
class RankingChoice:
    """The options of the command; ``tau`` counts units of ``grid``, ``caliper`` is column and years, ``harm`` the columns of
    time and event of the harm outcome, ``negative_control`` likewise, ``balance`` what is judged, None for what is
    matched on."""

    treatment: str
    time: str
    event: str
    match: tuple[str, ...]
    caliper: tuple[str, int] | None
    markers: tuple[str, ...]
    max_distance: int
    patient: Mapping[str, object]
    tau: int
    strata: tuple[str, ...]
    unit: Unit
    grid: Unit
    site: str | None
    harm: tuple[str, str] | None = None
    mode: str = "neighbours"
    balance: Wanted | None = None
    negative_control: tuple[str, str] | None = None


def harm_of(event: str | None, time: str | None, default: str) -> tuple[str, str] | None:
    """The columns of time and event of the harm outcome; without a time of its own it is read from ``default``."""
    if event is None and time is not None:
        raise ParametersRefused(f"--harm-time {time} needs --harm, the column of harm events")
    return None if event is None else (time or default, event)


def control_of(text: str | None) -> tuple[str, str] | None:
    """``T2,E2`` as the columns of time and event of the negative control."""
    if text is None:
        return None
    found = listed(text)
    if len(found) != 2:
        raise ParametersRefused(f"--negative-control takes two columns, time and event: T2,E2; found {text}")
    return found[0], found[1]


def caliper_of(text: str | None) -> tuple[str, int] | None:
    """``age=5`` as (column, years)."""
    if text is None:
        return None
    name, _, years = text.partition("=")
    if not name or not years.isdigit():
        raise ParametersRefused(f"--caliper takes a column and whole years, age=5 for example; found {text}")
    return name, int(years)


def patient_of(text: str) -> dict[str, object]:
    """Facts by column from JSON, or from a file after @."""
    source = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
    try:
        facts = json.loads(source)
    except json.JSONDecodeError as error:
        raise InputsRefused(f"--patient is no JSON (line {error.lineno}, column {error.colno})") from error
    if not isinstance(facts, dict):
        raise InputsRefused('--patient is a JSON object of facts by column, {"age": 61} for example')
    return facts


def ranking(frame: pd.DataFrame, choice: RankingChoice, setting: Setting) -> Answer:
    """Run the analysis; persons with a missing value in a used column do not count."""
    require_grid("--tau asks for", choice.tau, MOST_TIMES, choice.grid)
    renamed = _names(choice)
    ready = pd.DataFrame({new: column(frame, old) for old, new in renamed.items()})
    ready["treatment"] = column(frame, choice.treatment)
    for name, values in outcome_columns(frame, choice.time, choice.event).items():
        ready[name] = values
    if choice.harm is not None:
        ready = ready.assign(**outcome_columns(frame, *choice.harm, "harm"))
    if choice.negative_control is not None:
        ready = ready.assign(**outcome_columns(frame, *choice.negative_control, "control"))
    strata = [f"stratum{number}" for number in range(len(choice.strata))]
    for name, source in zip(strata, choice.strata, strict=True):
        ready[name] = column(frame, source)
    wanted = usual(choice.match, choice.caliper) if choice.balance is None else choice.balance
    for name, source in columns_of(wanted).items():
        ready[name] = column(frame, source)
    sites = by_site(ready, frame, choice.site)
    rows = sum(bucket(len(data.frame)) for data in sites.values())
    given = _parameters(frame, choice, renamed, strata, rows)
    parameters = with_balance(given, declared(frame, wanted), asked=choice.balance is not None)
    found = analysis("treatment_ranking")
    facts = _facts(choice, renamed)
    back = {new: old for old, new in renamed.items()}
    names = {**back, **dict(zip(strata, choice.strata, strict=True)), **columns_of(wanted)}
    names["treatment"] = choice.treatment
    done = answer(found, parameters, setting, sites, facts, names)
    assert isinstance(done.result, RankingResult)
    missing = tuple(back[name] for name in missing_facts(parameters, facts))
    told = in_the_files_names(done.result, wanted).model_copy(update={"not_matched_on": missing})
    return Answer(told, done.protocol, done.seconds)


def _names(choice: RankingChoice) -> dict[str, str]:
    """The user's columns to match on -> names inside the study."""
    names = {old: f"marker{number}" for number, old in enumerate(choice.markers)}
    names |= {old: f"match{number}" for number, old in enumerate(choice.match)}
    if choice.caliper is not None:
        names[choice.caliper[0]] = "age"
    if len(names) != len(choice.markers) + len(choice.match) + (choice.caliper is not None):
        raise ParametersRefused("a column is named twice among --markers, --match and --caliper")
    return names


def _parameters(
    frame: pd.DataFrame, choice: RankingChoice, renamed: Mapping[str, str], strata: list[str], rows: int
) -> dict[str, Any]:
    equal = [{"variable": renamed[old], "levels": list(levels(frame, old))} for old in choice.match]
    return {
        "treatment": "treatment",
        "treatments": list(levels(frame, choice.treatment, MOST_TREATMENTS, least=2)),
        "outcome": "outcome",
        "harm": None if choice.harm is None else "harm",
        "negative_control": None if choice.negative_control is None else "control",
        "time_unit": choice.unit,
        "unit": choice.grid,
        "tau": choice.tau,
        "markers": [renamed[old] for old in choice.markers],
        "age": None if choice.caliper is None else "age",
        "equal": equal,
        **_matching(frame, choice, renamed),
        "period": "not available",
        "strata": [
            {"variable": name, "levels": list(levels(frame, old))}
            for name, old in zip(strata, choice.strata, strict=True)
        ],
        "capacity": max(SMALL_RING, rows),
    }


def _matching(frame: pd.DataFrame, choice: RankingChoice, renamed: Mapping[str, str]) -> dict[str, Any]:
    """The tiers of ``neighbours``, or the bands of ``cells``: as asked, then twice as wide."""
    equal = [renamed[old] for old in choice.match]
    if choice.mode == "neighbours":
        return {"tiers": _ladder(choice, equal)}
    if choice.mode != "cells":
        raise ParametersRefused(f"--mode takes neighbours or cells, found {choice.mode}")
    tiers = [
        {
            "name": name,
            "age_cuts": _age_cuts(frame, choice, times),
            "equal": equal,
            "marker_cuts": {"markers": _marker_cuts(choice, times)} if choice.markers else {},
        }
        for name, times in (("as asked", 1), ("twice as wide", 2))
    ]
    names = [renamed[old] for old in choice.markers]
    groups = [{"name": "markers", "markers": names, "cuts": _marker_cuts(choice, 1)}] if names else []
    return {
        "mode": "cells",
        "cells": {"age_cuts": tiers[0]["age_cuts"], "marker_groups": groups, "tiers": tiers},
    }


def _age_cuts(frame: pd.DataFrame, choice: RankingChoice, times: int) -> list[int]:
    """Multiples of the caliper between the youngest and the oldest of the file."""
    if choice.caliper is None:
        return []
    name, years = choice.caliper
    found, known = ages(frame, name)
    if years < 1 or not known.any():
        raise ParametersRefused(f"--caliper {name}={years}: bands are at least a year wide, of known ages")
    return [cut for cut in _multiples(years * times, int(found[known].max())) if cut > found[known].min()]


def _marker_cuts(choice: RankingChoice, times: int) -> list[int]:
    """Bands of how many markers are present; within one, numbers differ by at most the distance asked for."""
    cuts = _multiples((choice.max_distance + 1) * times, len(choice.markers))
    if not cuts and times == 1:
        raise ParametersRefused(
            f"--max-distance {choice.max_distance} puts any number of {len(choice.markers)} markers in one cell: leave "
            "--markers out or ask for less"
        )
    return cuts


def _multiples(step: int, most: int) -> list[int]:
    return list(range(step, most + 1, step))


def _ladder(choice: RankingChoice, equal: list[Any]) -> list[dict[str, Any]]:
    """As asked, then twice as wide."""
    years = None if choice.caliper is None else choice.caliper[1]
    strict = {"name": "as asked", "max_distance": choice.max_distance, "age_within": years, "equal": equal}
    wide = None if years is None else 2 * years
    return [
        strict,
        {**strict, "name": "twice as wide", "max_distance": 2 * choice.max_distance, "age_within": wide},
    ]


def _facts(choice: RankingChoice, renamed: Mapping[str, str]) -> dict[str, object]:
    foreign = sorted(set(choice.patient) - set(renamed))
    if foreign:
        raise LocalDataError(
            f"--patient names {', '.join(foreign)}, which --markers, --match and --caliper do not"
        )
    return {
        renamed[old]: value
        if value is None or renamed[old] == "age" or old in choice.markers
        else level_text(value)
        for old, value in choice.patient.items()
    }


class RankingOutput(Output):
    """What the command prints; ``total`` and ``size`` are bands of patients."""

    measure: str
    harm_measure: str | None
    unit: str
    tau: int
    alpha: float
    tier: str | None
    relaxed: list[str]
    arms: list[ArmEstimate]
    hidden: list[HiddenArm]
    hidden_count: int
    total: tuple[int, int] | None
    cannot_be_ruled_out: list[str]
    verdict: str
    balance: Balance | None
    negative_control: NegativeControl | None
    not_matched_on: tuple[str, ...]
    cannot_receive: tuple[str, ...]


def as_json(result: RankingResult) -> dict[str, Any]:
    """The JSON form (docs/analyses/try.md)."""
    numbers = result.model_dump(include=set(RankingOutput.model_fields) - TAIL)
    return RankingOutput.model_validate(numbers).model_dump(mode="json", exclude=set(TAIL))


def _beside(what: str, found: OutcomeEstimate | None) -> str:
    if found is None:
        return ""
    if found.estimate is None:
        return f"; without {what}: withheld, {found.why_not}"
    return f"; without {what} {found.estimate:.4g} ({found.lower:.4g} to {found.upper:.4g})"


def _risk(found: RiskEstimate) -> str:
    if found.ratio is None:
        return ""
    return (
        f"; risk ratio to {found.reference} {found.ratio:.3g} ({found.lower:.3g} to {found.upper:.3g}), "
        f"E-value {found.e_value:.3g}, of the limit {found.e_value_limit:.3g}"
    )


def in_words(result: RankingResult) -> list[str]:
    """One line per supported treatment."""
    lines = [result.verdict, f"similar patients: {result.tier}" if result.tier else "no tier is supported"]
    lines += [
        f"{arm.treatment:<24} {arm.estimate:.4g} ({arm.lower:.4g} to {arm.upper:.4g}) {result.unit}s, "
        f"{arm.size[0]} to {arm.size[1]} patients{'' if arm.cannot_be_ruled_out else ', ruled out as best'}"
        f"{_beside('harm', arm.harm)}{_beside('the negative control', arm.control)}{_risk(arm.risk)}"
        for arm in result.arms
    ]
    lines += [] if result.balance is None else result.balance.in_words()
    lines += [] if result.negative_control is None else [result.negative_control.verdict]
    return [*lines, f"{result.hidden_count} treatment{'' if result.hidden_count == 1 else 's'} withheld"]
