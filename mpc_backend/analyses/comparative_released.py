"""The result of a comparison of two treatments from opened outputs. In the clear, at the recipient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Opened, Suppressed
from mpc_backend.analyses.cells import Cell, HiddenCount, ReleasedCount, cell
from mpc_backend.analyses.comparative_parameters import ComparativeParameters
from mpc_backend.analyses.comparative_result import (
    ComparativeResult,
    Compared,
    CovariateBalance,
    Positivity,
    WeightedArm,
    contrast,
)
from mpc_backend.analyses.comparative_secret import (
    FEW,
    RARE,
    SHORT,
    SHOWN,
    THIN,
    UNEVEN,
    UNUSABLE,
)
from mpc_backend.analyses.curve_display import SMALLEST_ROUNDING
from mpc_backend.analyses.curve_heights import HEIGHT_DECIMALS, worth
from mpc_backend.analyses.distributions import normal_reach
from mpc_backend.analyses.effect_ratios import Estimate, wald
from mpc_backend.analyses.life_table import log_log_interval
from mpc_backend.analyses.linked_words import UNLINKED
from mpc_backend.analyses.secret_curves import error_of, mean_decimals
from mpc_backend.analyses.survival_exact import exact_cell
from mpc_backend.analyses.weighted_curves import WeightedTables, weighted_estimates

CRUDE = "crude: not adjusted for anything"
METHODS = {
    "iptw": "weighted by the inverse probability of the treatment received, to the mix of all persons",
    "overlap": "weighted by the probability of the other treatment, to the mix where both treatments are given",
    "strata": "weighted within fifths of the propensity score, to the mix of all persons",
}
NOTES = (
    "Observational; not a trial. Confounding by what is not in the score remains; the E-value says how much it would take.",
    UNLINKED,
    "Standard errors are robust and take the weights as known.",
)
ROUNDED = (
    "Risks are rounded to what five persons of the arm are worth; standard errors and intervals hold that."
)
NO_SCORE = "the propensity score cannot be estimated: treatments are separated, or a stratum lacks one"
Floats = NDArray[np.float64]


def exact_result(
    parameters: ComparativeParameters, policy: DisclosurePolicy, opened: Opened
) -> ComparativeResult:
    """From the full weighted tables."""
    scored = "usable" in opened
    usable = not scored or bool(np.asarray(opened["usable"])[0])
    outcomes = [
        _exact(parameters, policy, opened, place, usable) for place in range(len(parameters.endpoints))
    ]
    anybody = bool(np.asarray(opened["persons"], dtype=np.int64).min() > 0)
    flags = np.asarray(opened["varies"], dtype=bool) & anybody
    return _result(parameters, policy, outcomes, _balance(parameters, opened, flags, flags & usable, 1.0))


def released_result(
    parameters: ComparativeParameters, policy: DisclosurePolicy, opened: Opened
) -> ComparativeResult:
    """From rounded and masked outputs."""
    outcomes = [_released(parameters, policy, opened, place) for place in range(len(parameters.endpoints))]
    before, after = (
        np.asarray(opened[name], dtype=bool) for name in ("balance_shown", "balance_after_shown")
    )
    return _result(parameters, policy, outcomes, _balance(parameters, opened, before, after, 1000.0))


def label(parameters: ComparativeParameters) -> str:
    """What was adjusted for, in words."""
    if parameters.weights == "none":
        return CRUDE
    names = [covariate.variable for covariate in parameters.in_score]
    hospital = ["hospital"] if parameters.hospital else []
    return f"{METHODS[parameters.weights]}; score of {', '.join([*names, *hospital])}"


def _result(
    parameters: ComparativeParameters,
    policy: DisclosurePolicy,
    outcomes: list[Compared],
    balance: list[CovariateBalance],
) -> ComparativeResult:
    notes = [*NOTES, *([] if policy.release == "exact" else [ROUNDED])]
    if parameters.period == "not available":
        notes.append("The data hold no index date: not adjusted for calendar period.")
    if parameters.weights == "overlap":
        notes.append("Overlap weights balance the score's own covariates exactly; look at the others.")
    primary = outcomes[0]
    reference, arm = parameters.arms
    return ComparativeResult(
        estimand=f"restricted mean time to {parameters.outcome} and risk of it at {parameters.tau} {parameters.unit}s, {arm} "
        f"against {reference}, as treated at the start",
        label=label(parameters),
        weights=parameters.weights,
        unit=parameters.unit,
        tau=parameters.tau,
        confidence=parameters.confidence,
        primary=primary,
        negative_control=outcomes[1] if len(outcomes) > 1 else None,
        balance=balance,
        positivity=_positivity(parameters, primary.arms),
        suppressed=_withheld(outcomes, balance),
        notes=notes,
        release=policy.footnote(),
    )


def _positivity(parameters: ComparativeParameters, arms: list[WeightedArm]) -> Positivity | None:
    if parameters.weights == "none":
        return None
    share = {arm.arm: _share(arm.extreme, arm.n) for arm in arms}
    return Positivity(limit=parameters.truncation, share=share)


def _share(part: Cell | None, whole: Cell) -> float | None:
    if isinstance(part, ReleasedCount) and isinstance(whole, ReleasedCount) and whole.value > 0:
        return round(part.value / whole.value, 3)
    return None


def _exact(
    parameters: ComparativeParameters, policy: DisclosurePolicy, opened: Opened, place: int, usable: bool
) -> Compared:
    names = ("exits", "events", "exit_squares", "event_squares")
    # What is zero may open as a hair less, which would make variances negative where nobody failed.
    sums = [np.asarray(opened[f"{name}{place}"], dtype=np.float64).clip(min=0) for name in names]
    found = weighted_estimates(WeightedTables(*sums))
    arms = []
    for row, arm in enumerate(parameters.arms):
        at_risk = int(np.asarray(opened["at_risk"])[row, place])
        finished = at_risk > 0 or float(found.risk[row]) > 1 - 1e-9
        why = NO_SCORE if not usable else None if finished else "follow-up too short"
        mean = wald(float(found.mean[row]), float(np.sqrt(found.mean_variance[row])), parameters.confidence)
        risk = _risk(float(found.risk[row]), float(np.sqrt(found.risk_variance[row])), parameters.confidence)
        size = round(float(found.effective[row]))
        scored = usable and "extreme" in opened
        extreme = exact_cell(int(np.asarray(opened["extreme"])[row]), policy) if scored else None
        arms.append(
            WeightedArm(
                arm=arm,
                n=exact_cell(int(np.asarray(opened["persons"])[row]), policy),
                events=exact_cell(int(np.asarray(opened["events"])[row, place]), policy),
                extreme=extreme,
                effective_size=(size, size) if usable else None,
                rmst=None if why else mean,
                risk=None if why else risk,
                curve=None if why else [float(value) for value in found.survival[row]],
                why_not=why,
            )
        )
    return _compared(parameters, place, arms)


def _compared(parameters: ComparativeParameters, place: int, arms: list[WeightedArm]) -> Compared:
    found = contrast(arms, parameters.tau, parameters.confidence)
    return Compared(outcome=parameters.endpoints[place], arms=arms, contrast=found)


def _risk(estimate: float, se: float, confidence: float) -> Estimate:
    """The interval from that of the survival curve on the log-log scale; Wald where it is 0 or 1."""
    safe = max(1 - estimate, 1e-300)
    lower, upper = log_log_interval(np.array([1 - estimate]), np.array([(se / safe) ** 2]), confidence)
    if np.isnan(lower[0]):
        reach = normal_reach(confidence) * se
        return Estimate(
            estimate=estimate, se=se, lower=max(0.0, estimate - reach), upper=min(1.0, estimate + reach)
        )
    return Estimate(estimate=estimate, se=se, lower=1 - float(upper[0]), upper=1 - float(lower[0]))


def _released(
    parameters: ComparativeParameters, policy: DisclosurePolicy, opened: Opened, place: int
) -> Compared:
    step, places = max(policy.rounding, SMALLEST_ROUNDING), mean_decimals(parameters.tau)
    arms = []
    for row, arm in enumerate(parameters.arms):
        state = int(np.asarray(opened[f"state{place}"])[row])
        counts = [
            _cell(policy, opened, row, chain, 1, step)
            for chain in range(len(np.asarray(opened["count_state"])))
        ]
        number = {
            name: np.asarray(opened[f"{name}{place}"])[row]
            for name in ("mean", "mean_variance", "risk", "risk_variance")
        }
        size = int(np.asarray(opened["effective"])[row])
        mean = float(number["mean"]) / 10.0**places, float(error_of(number["mean_variance"], places))
        n = _cell(policy, opened, row, place, 0, step)
        arms.append(
            WeightedArm(
                arm=arm,
                n=n,
                events=counts[place],
                extreme=counts[len(parameters.endpoints)] if parameters.weights != "none" else None,
                effective_size=(size - step // 2, size + (step - 1) // 2) if size else None,
                rmst=wald(*mean, parameters.confidence) if state == SHOWN else None,
                risk=_risk(*_risk_shown(number, worth(n.value or 0)), parameters.confidence)
                if state == SHOWN
                else None,
                why_not=_why(state, policy),
            )
        )
    return _compared(parameters, place, arms)


def _risk_shown(number: dict[str, Any], unit: float) -> tuple[float, float]:
    """A risk opened in multiples of ``unit``, and its standard error with that of a number so rounded, unit / sqrt(12)."""
    error = error_of(number["risk_variance"], HEIGHT_DECIMALS)
    return float(number["risk"]) * unit, math.hypot(float(error), unit / math.sqrt(12))


def _cell(policy: DisclosurePolicy, opened: Opened, arm: int, chain: int, place: int, step: int) -> Cell:
    """One count of the chains (arms, chains, 2)."""
    state, value = (
        int(np.asarray(opened[name])[chain, arm, place]) for name in ("count_state", "count_value")
    )
    return cell(state, value, policy, step)


def _why(state: int, policy: DisclosurePolicy) -> str | None:
    k = policy.minimum_cell
    return {
        SHOWN: None,
        UNUSABLE: NO_SCORE,
        FEW: f"fewer than {k} persons",
        THIN: f"effective size below {k}",
        SHORT: "follow-up too short",
        RARE: f"fewer than {k} events",
        UNEVEN: f"one person or event would weigh more than 1/{k} of all under the weights",
    }[state]


def _balance(
    parameters: ComparativeParameters,
    opened: Opened,
    before: NDArray[Any],
    after: NDArray[Any],
    unit: float,
) -> list[CovariateBalance]:
    values = {name: np.asarray(opened[name], dtype=np.float64) / unit for name in ("before", "after")}
    inside = sum(len(covariate.labels) for covariate in parameters.in_score)
    return [
        CovariateBalance(
            covariate=name,
            in_score=place < inside and parameters.weights != "none",
            before=float(values["before"][place]) if before[place] else None,
            after=float(values["after"][place]) if after[place] else None,
        )
        for place, name in enumerate(parameters.columns)
    ]


def _withheld(outcomes: list[Compared], balance: list[CovariateBalance]) -> list[Suppressed]:
    found = []
    for one in outcomes:
        for arm in one.arms:
            for name in ("n", "events", "extreme"):
                count = getattr(arm, name)
                if isinstance(count, HiddenCount) and (name == "events" or one is outcomes[0]):
                    found.append(Suppressed(what=f"{one.outcome}: {arm.arm}: {name}", why=count.why))
            if arm.why_not:
                what = f"{one.outcome}: {arm.arm}: restricted mean and risk"
                found.append(Suppressed(what=what, why=arm.why_not))
    hidden = [each.covariate for each in balance if each.before is None]
    if hidden:
        why = "constant, or a level, a code or an arm with too few persons"
        found.append(Suppressed(what=f"balance of {', '.join(hidden)}", why=why))
    return found
