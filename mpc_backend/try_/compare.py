"""`tessera try compare`: two treatments compared under propensity score weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from mpc_backend.analyses.comparative_parameters import MOST_TIMES, ComparativeParameters, Covariate
from mpc_backend.analyses.comparative_result import (
    ComparativeResult,
    Compared,
    CovariateBalance,
    EffectContrast,
    Positivity,
    WeightedArm,
)
from mpc_backend.analyses.effect_ratios import Estimate
from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.analyses.grid import Unit, column
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.try_.data import by_site, complete, levels, outcome_columns, require_grid
from mpc_backend.try_.declare import codes_of
from mpc_backend.try_.output import TAIL, Output, OutputPart, cell_words, number, p_words
from mpc_backend.try_.running import Answer, Setting, answer

MOST_LEVELS = 20


@dataclass(frozen=True)
class CompareChoice:
    """The options of the command; ``tau`` counts units of ``grid``, ``negative_control`` is a column of times and one of
    events."""

    time: str
    event: str
    arm: str
    covariates: tuple[str, ...]
    balance: tuple[str, ...]
    year: str | None
    weights: str
    truncation: float
    allow_crude: bool
    negative_control: tuple[str, ...]
    tau: int
    unit: Unit
    grid: Unit
    site: str | None


class ArmOutput(OutputPart):
    """One arm: counts, effective size as a band, restricted mean and risk at tau."""

    arm: str
    n: int | None
    events: int | None
    extreme: int | None
    effective_size: tuple[int, int] | None
    rmst: Estimate | None
    risk: Estimate | None
    why_not: str | None


class ControlOutput(OutputPart):
    """The negative control."""

    outcome: str
    arms: list[ArmOutput]
    contrast: EffectContrast | None


class CompareOutput(Output):
    """What `tessera try compare --json` prints."""

    label: str
    weights: str
    tau: int
    arms: list[ArmOutput]
    contrast: EffectContrast | None
    balance: list[CovariateBalance]
    positivity: Positivity | None
    negative_control: ControlOutput | None


def compare(frame: pd.DataFrame, choice: CompareChoice, setting: Setting) -> Answer:
    """Run the analysis; persons with a missing value in a used column do not count."""
    if choice.negative_control and len(choice.negative_control) != 2:
        raise ParametersRefused("--negative-control takes a column of times and one of events: T2,E2")
    names = _names(choice)
    ready = pd.DataFrame({"arm": column(frame, choice.arm).reset_index(drop=True)})
    for name, values in outcome_columns(frame, choice.time, choice.event).items():
        ready[name] = values
    if choice.negative_control:
        for name, values in outcome_columns(frame, *choice.negative_control).items():
            ready[name.replace("outcome", "control")] = values
    for old, new in names.items():
        ready[new] = column(frame, old).reset_index(drop=True)
    known = complete(ready)
    if known.empty:
        raise LocalDataError("no row knows all of the columns named")
    parameters = parse_parameters("comparative_effectiveness", _parameters(choice, frame, known, names))
    sites = by_site(ready, frame, choice.site)
    back = {new: old for old, new in names.items()}
    done = answer(analysis("comparative_effectiveness"), parameters, setting, sites, names=back)
    assert isinstance(done.result, ComparativeResult)
    named = _named(done.result, cast("ComparativeParameters", parameters), back)
    return Answer(named, done.protocol, done.seconds)


def _names(choice: CompareChoice) -> dict[str, str]:
    """The user's covariates -> names inside the study."""
    given = [*((choice.year,) if choice.year else ()), *choice.covariates, *choice.balance]
    if len(set(given)) != len(given):
        raise ParametersRefused("a column is named twice among --covariates, --balance and --year")
    return {old: f"covariate{number}" for number, old in enumerate(given)}


def _parameters(
    choice: CompareChoice, frame: pd.DataFrame, known: pd.DataFrame, names: Mapping[str, str]
) -> dict[str, Any]:
    require_grid("--tau asks for", choice.tau, MOST_TIMES, choice.grid)
    arms = levels(frame, choice.arm)
    if len(arms) != 2:
        raise ParametersRefused(f"column {choice.arm} has {len(arms)} values; two treatments can be compared")
    made = {old: _covariate(known, old, new) for old, new in names.items()}
    for old, covariate in made.items():
        if "scale" in covariate:
            covariate["codes"] = codes_of(
                frame, old, choice.site, (choice.time, choice.event, choice.arm, *names)
            )
    return {
        "outcome": "outcome",
        "arm": "arm",
        "arms": arms,
        "period": made[choice.year] if choice.year else "not available",
        "score": [made[name] for name in choice.covariates],
        "balance": [made[name] for name in choice.balance],
        "hospital": choice.site is not None,
        "weights": choice.weights,
        "truncation": choice.truncation,
        "allow_crude": choice.allow_crude,
        "negative_control": "control" if choice.negative_control else None,
        "time_unit": choice.unit,
        "unit": choice.grid,
        "tau": choice.tau,
    }


def _covariate(known: pd.DataFrame, old: str, new: str) -> dict[str, Any]:
    """Texts, and numbers of two values, as levels; other numbers by mean and standard deviation."""
    values = known[new]
    if values.nunique() < 2:
        raise LocalDataError(f"column {old} has one value in all rows that count; it is no covariate")
    if not pd.api.types.is_numeric_dtype(values) or values.nunique() == 2:
        try:
            return {"variable": new, "levels": list(levels(known, new, MOST_LEVELS))}
        except LocalDataError as error:
            raise LocalDataError(str(error).replace(new, old)) from error
    numbers = values.to_numpy(dtype=np.float64)
    return {"variable": new, "centre": float(numbers.mean()), "scale": float(numbers.std())}


def _named(
    result: ComparativeResult, parameters: ComparativeParameters, names: Mapping[str, str]
) -> ComparativeResult:
    """The result with the user's own names of columns."""
    labels = [
        label.replace(covariate.variable, names[covariate.variable], 1)
        for covariate in parameters.all_covariates
        for label in covariate.labels
    ]
    balance = [
        each.model_copy(update={"covariate": label})
        for each, label in zip(result.balance, labels, strict=True)
    ]
    head, _, _ = result.label.partition("; score of ")
    score = [names[covariate.variable] for covariate in parameters.in_score]
    hospital = ["hospital"] if parameters.hospital else []
    said = result.label if head == result.label else f"{head}; score of {', '.join([*score, *hospital])}"
    withheld = [
        each.model_copy(update={"what": _renamed(each.what, parameters.all_covariates, names)})
        for each in result.suppressed
    ]
    return result.model_copy(update={"balance": balance, "label": said, "suppressed": withheld})


def _renamed(text: str, covariates: tuple[Covariate, ...], names: Mapping[str, str]) -> str:
    """A sentence with names of covariates in it; longer ones first, as one may begin with another."""
    for covariate in sorted(covariates, key=lambda each: -len(each.variable)):
        text = text.replace(covariate.variable, names[covariate.variable])
    return text


def as_json(result: ComparativeResult) -> dict[str, Any]:
    """The JSON form (docs/schemas/try-compare.json), without what every object ends with."""
    control = result.negative_control
    output = CompareOutput(
        label=result.label,
        weights=result.weights,
        tau=result.tau,
        arms=[_arm(arm) for arm in result.primary.arms],
        contrast=result.primary.contrast,
        balance=result.balance,
        positivity=result.positivity,
        negative_control=None if control is None else _control(control),
    )
    return output.model_dump(mode="json", exclude=set(TAIL))


def _control(control: Compared) -> ControlOutput:
    return ControlOutput(
        outcome=control.outcome, arms=[_arm(arm) for arm in control.arms], contrast=control.contrast
    )


def _arm(arm: WeightedArm) -> ArmOutput:
    return ArmOutput(
        arm=arm.arm,
        n=number(arm.n),
        events=number(arm.events),
        extreme=None if arm.extreme is None else number(arm.extreme),
        effective_size=arm.effective_size,
        rmst=arm.rmst,
        risk=arm.risk,
        why_not=arm.why_not,
    )


def in_words(result: ComparativeResult) -> list[str]:
    """What was compared and how, one line an arm, the contrast, balance and positivity."""
    lines = [result.estimand, result.label, *_compared(result.primary)]
    if result.negative_control is not None:
        lines += ["negative control:", *_compared(result.negative_control)]
    lines.append(f"{'standardised difference':<28} {'before':>8} {'after':>8}")
    for each in result.balance:
        numbers = ["hidden" if value is None else f"{value:.3f}" for value in (each.before, each.after)]
        outside = "" if each.in_score else "  (outside the score)"
        lines.append(f"{each.covariate:<28} {numbers[0]:>8} {numbers[1]:>8}{outside}")
    if result.positivity is not None:
        shares = ", ".join(
            f"{arm} {'hidden' if share is None else f'{share:.1%}'}"
            for arm, share in result.positivity.share.items()
        )
        lines.append(f"scores beyond {result.positivity.limit:g}: {shares}")
    return lines


def _compared(compared: Compared) -> list[str]:
    lines = [
        f"{arm.arm:<20} n {cell_words(arm.n)}, events {cell_words(arm.events)}, {_numbers(arm)}"
        for arm in compared.arms
    ]
    found = compared.contrast
    if found is not None:
        lines.append(
            f"{found.arm} less {found.reference}: mean {_interval(found.rmst_difference)}{p_words(found.p)}; risk "
            f"{_interval(found.risk_difference)}"
        )
        if found.risk_ratio is not None and found.e_value is not None:
            lines.append(
                f"risk ratio {_interval(found.risk_ratio)}; E-value {found.e_value:.3g}, of the limit nearer to 1 "
                f"{found.e_value_limit:.3g}"
            )
    return lines


def _numbers(arm: WeightedArm) -> str:
    if arm.rmst is None or arm.risk is None or arm.effective_size is None:
        return f"hidden ({arm.why_not})"
    low, high = arm.effective_size
    size = str(low) if low == high else f"{low} to {high}"
    return f"effective size {size}, mean {_interval(arm.rmst)}, risk {_interval(arm.risk)}"


def _interval(each: Estimate) -> str:
    return f"{each.estimate:.4g} ({each.lower:.4g} to {each.upper:.4g})"
