"""A comparison of two treatments as pandas tables. Hidden counts are missing values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mpc_backend.analyses.comparative_result import ComparativeResult, Compared
from mpc_backend.analyses.effect_ratios import Estimate
from workbench.columns import counts, numbers


def arms(result: ComparativeResult) -> pd.DataFrame:
    """The main table: each arm under the weights, for the outcome and then the negative control."""
    frame = pd.DataFrame([row for compared in _outcomes(result) for row in _arms(compared)])
    frame = counts(frame, "persons", "events", "extreme_scores", "effective_size_from", "effective_size_to")
    return numbers(frame, *(name for name in frame.columns if name.startswith(("rmst", "risk"))))


def others(result: ComparativeResult) -> dict[str, pd.DataFrame]:
    """Effects with their E-values, and balance of the covariates."""
    effects = pd.DataFrame([row for compared in _outcomes(result) for row in _effects(compared)])
    balance = pd.DataFrame([each.model_dump() for each in result.balance])
    tables = {
        "effects": numbers(effects, "e_value", "e_value_limit"),
        "balance": numbers(balance, "before", "after"),
    }
    return {name: table for name, table in tables.items() if len(table)}


def _outcomes(result: ComparativeResult) -> list[Compared]:
    return [result.primary, *([result.negative_control] if result.negative_control else [])]


def _arms(compared: Compared) -> Iterator[dict[str, Any]]:
    for arm in compared.arms:
        low, high = arm.effective_size or (None, None)
        yield {
            "outcome": compared.outcome,
            "arm": arm.arm,
            "persons": arm.n.value,
            "events": arm.events.value,
            "extreme_scores": None if arm.extreme is None else arm.extreme.value,
            "effective_size_from": low,
            "effective_size_to": high,
            **_columns("rmst", arm.rmst),
            **_columns("risk", arm.risk),
            "not_shown": arm.why_not or "",
        }


def _effects(compared: Compared) -> Iterator[dict[str, Any]]:
    found = compared.contrast
    if found is None:
        return
    measures = {
        "difference of restricted means": found.rmst_difference,
        "ratio of restricted means": found.rmst_ratio,
        "difference of risks": found.risk_difference,
        "ratio of risks": found.risk_ratio,
    }
    for measure, each in measures.items():
        if each is not None:
            row = {
                "outcome": compared.outcome,
                "arm": found.arm,
                "reference": found.reference,
                "tau": found.tau,
            }
            values = {"estimate": each.estimate, "lower": each.lower, "upper": each.upper}
            risks = each is found.risk_ratio
            e_values = {"e_value": found.e_value, "e_value_limit": found.e_value_limit}
            yield {**row, "measure": measure, **values, **(e_values if risks else dict.fromkeys(e_values))}


def _columns(name: str, each: Estimate | None) -> dict[str, float | None]:
    parts = ("estimate", "se", "lower", "upper")
    return {
        name if part == "estimate" else f"{name}_{part}": None if each is None else getattr(each, part)
        for part in parts
    }
