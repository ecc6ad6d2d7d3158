"""What a physician reads: the typed result of a treatment ranking, made from released numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mpc_backend.analyses.base import Result, Suppressed
from mpc_backend.analyses.grid import strata_labels
from mpc_backend.analyses.linked_words import UNLINKED
from mpc_backend.analyses.ranking_arms import (
    FEW_TO_TELL,
    NINETY_FIVE,
    ArmEstimate,
    HiddenArm,
    NegativeControl,
    OutcomeEstimate,
    RiskEstimate,
    conclusion,
    negative_control,
    ranked,
)
from mpc_backend.analyses.ranking_cells import united
from mpc_backend.analyses.ranking_contrasts import Balance, OpenedBalance
from mpc_backend.analyses.ranking_intervals import Arms
from mpc_backend.analyses.ranking_parameters import RankingParameters

SHOWN, FEW, NO_OVERLAP, SHORT, UNEVEN, CLOSE = 0, 1, 2, 3, 4, 5
FEW_FAILURES = 10
LEAST_INFORMATION = 20
"""Effective size below which a treatment has too few comparable patients."""
REASONS = {
    FEW: "too few comparable patients",
    NO_OVERLAP: "no overlap: no comparable patient on it in some stratum",
    SHORT: "follow-up too short",
    UNEVEN: "one patient would weigh too much in the adjusted mean",
    CLOSE: "too close to an earlier answer: the difference could tell of fewer than k patients",
}
HELD_BACK = "Withheld because you were answered for a nearly identical patient before"
WARNING = "Research use only. Not a medical device; not for choosing treatment."
OBSERVATIONAL = "Observational; not a trial."


class RankingResult(Result):
    """The ranking for one patient. ``total``: a band of comparable patients over all treatments, or None. What can be
    ruled out is judged by ``measure`` alone; ``harm_measure`` is shown beside it, None where the study names no harm.
    ``balance``: None where the study names no covariates for it; ``negative_control``: None where it names no such outcome."""

    kind: Literal["treatment_ranking"] = "treatment_ranking"
    measure: str
    harm_measure: str | None = None
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
    balance: Balance | None = None
    negative_control: NegativeControl | None = None
    not_matched_on: tuple[str, ...] = ()
    cannot_receive: tuple[str, ...] = ()
    adjusted_for: list[str]
    release: str

    def without(self, treatments: Sequence[str]) -> RankingResult:
        """The same answer after setting aside treatments this patient cannot receive; nothing new is released."""
        unknown = (
            set(treatments) - {arm.treatment for arm in self.arms} - {arm.treatment for arm in self.hidden}
        )
        if unknown:
            raise ValueError(f"not among the study's treatments: {', '.join(sorted(unknown))}")
        left = [arm for arm in self.arms if arm.treatment not in treatments]
        balance = None if self.balance is None else self.balance.among([arm.treatment for arm in left])
        arms = ranked(left, self.tau, self.alpha, balance)
        changed: dict[str, Any] = {
            "arms": arms,
            "balance": balance,
            "cannot_receive": tuple(sorted(treatments)),
        }
        if self.negative_control is not None:
            measure = self.negative_control.measure
            changed["negative_control"] = negative_control(measure, arms, self.tau, self.alpha, balance)
        return self.model_copy(update={**changed, **conclusion(arms)})

    @property
    def treatments(self) -> list[str]:
        """Every treatment of the study."""
        return [arm.treatment for arm in self.arms] + [arm.treatment for arm in self.hidden]


@dataclass(frozen=True)
class OpenedNumbers:
    """Released numbers of one outcome (arms,): ``state`` as the constants above, times in units of the grid, the effective
    number of patients followed completely, and whether fewer than ten failed."""

    state: NDArray[np.int64]
    estimate: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    information: NDArray[np.int64]
    few: NDArray[np.bool_]

    def beside(self, index: int, tau: int) -> OutcomeEstimate:
        """What is told of this outcome, which is not the benefit, on one shown treatment."""
        if self.state[index] != SHOWN:
            return OutcomeEstimate(why_not=REASONS[int(self.state[index])])
        here = slice(index, index + 1)
        lower, upper = Arms(
            self.estimate[here] / tau,
            self.standard_error[here] / tau,
            self.information[here].astype(np.float64),
            self.few[here],
        ).interval(NINETY_FIVE)
        return OutcomeEstimate(
            estimate=float(self.estimate[index]),
            standard_error=float(self.standard_error[index]),
            lower=float(lower[0] * tau),
            upper=float(upper[0] * tau),
            effective_size=int(self.information[index]),
            fewer_than_ten_events=bool(self.few[index]),
        )


@dataclass(frozen=True)
class OpenedRisks:
    """Released risks of failure before tau and their standard errors (arms,), and where they are told."""

    risk: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    told: NDArray[np.bool_]

    def of(self, index: int) -> RiskEstimate:
        """What is told of one shown treatment."""
        if not self.told[index]:
            return RiskEstimate(why_not=FEW_TO_TELL)
        return RiskEstimate(risk=float(self.risk[index]), standard_error=float(self.standard_error[index]))


@dataclass(frozen=True)
class OpenedRanking:
    """Everything released: ``size`` (arms,) and ``total`` are the lower ends of bands of ``band`` persons; ``total`` None
    where it is withheld; ``tier`` past the last: none. ``harm`` and ``control`` mean something where ``benefit`` is
    shown."""

    tier: int
    benefit: OpenedNumbers
    size: NDArray[np.int64]
    total: int | None
    band: int
    risks: OpenedRisks
    harm: OpenedNumbers | None = None
    balance: OpenedBalance | None = None
    control: OpenedNumbers | None = None


def ranking_result(parameters: RankingParameters, opened: OpenedRanking, release: str) -> RankingResult:
    """The result a physician reads, from released numbers."""
    state = opened.benefit.state
    shown = np.flatnonzero(state == SHOWN)
    balance = None if opened.balance is None else opened.balance.read(parameters)
    found_arms = [_arm(parameters, opened, int(index)) for index in shown]
    arms = ranked(found_arms, parameters.tau, parameters.alpha, balance)
    hidden = [
        HiddenArm(treatment=parameters.treatments[index], reason=REASONS[int(state[index])])
        for index in np.flatnonzero(state != SHOWN)
    ]
    found = opened.tier < len(parameters.ladder)
    control = None
    if parameters.negative_control is not None:
        measure = _measure(parameters, parameters.negative_control)
        control = negative_control(measure, arms, parameters.tau, parameters.alpha, balance)
    return RankingResult(
        measure=_measure(parameters, parameters.outcome),
        harm_measure=None if parameters.harm is None else _measure(parameters, parameters.harm),
        unit=parameters.unit,
        tau=parameters.tau,
        alpha=parameters.alpha,
        tier=parameters.ladder[opened.tier].name if found else None,
        relaxed=relaxations(parameters, opened.tier) if found else [],
        arms=arms,
        hidden=hidden,
        hidden_count=len(hidden),
        total=None if opened.total is None else (opened.total, opened.total + opened.band - 1),
        balance=balance,
        negative_control=control,
        adjusted_for=list(strata_labels(parameters.all_strata)),
        suppressed=[*_suppressed(parameters, arms, hidden, opened.total), *_withheld_contrasts(balance)],
        notes=[WARNING, OBSERVATIONAL, *_notes(parameters, arms, found), *_held_back(hidden)],
        release=release,
        **conclusion(arms),
    )


def _measure(parameters: RankingParameters, outcome: str) -> str:
    return f"standardised restricted mean time to {outcome}, {parameters.tau} {parameters.unit}s"


def _arm(parameters: RankingParameters, opened: OpenedRanking, index: int) -> ArmEstimate:
    size, numbers = int(opened.size[index]), opened.benefit
    return ArmEstimate(
        treatment=parameters.treatments[index],
        estimate=float(numbers.estimate[index]),
        standard_error=float(numbers.standard_error[index]),
        lower=0.0,
        upper=0.0,
        shrunken=0.0,
        size=(size, size + opened.band - 1),
        effective_size=int(numbers.information[index]),
        fewer_than_ten_failures=bool(numbers.few[index]),
        cannot_be_ruled_out=True,
        harm=None if opened.harm is None else opened.harm.beside(index, parameters.tau),
        control=None if opened.control is None else opened.control.beside(index, parameters.tau),
        risk=opened.risks.of(index),
    )


def relaxations(parameters: RankingParameters, tier: int) -> list[str]:
    """What the tier relaxes against the strictest one, in words."""
    if parameters.cells is not None:
        return united(parameters.cells, tier)
    strict, used = parameters.tiers[0], parameters.tiers[tier]
    words = []
    if used.max_distance != strict.max_distance:
        words.append(f"up to {used.max_distance} markers may differ instead of {strict.max_distance}")
    if used.age_within != strict.age_within:
        within = "any age" if used.age_within is None else f"age within {used.age_within} years"
        words.append(f"{within} instead of within {strict.age_within} years")
    words += [f"{name} need not agree" for name in strict.equal if name not in used.equal]
    return words


def _suppressed(
    parameters: RankingParameters, arms: Sequence[ArmEstimate], hidden: Sequence[HiddenArm], total: int | None
) -> list[Suppressed]:
    withheld = [Suppressed(what=arm.treatment, why=arm.reason) for arm in hidden]
    withheld += [
        Suppressed(what=f"{what} on {arm.treatment}", why=beside.why_not)
        for arm in arms
        for what, beside in (("harm", arm.harm), ("negative control", arm.control))
        if beside is not None and beside.why_not is not None
    ]
    if total is None:
        few = "too few, or too close to an earlier answer" if parameters.cells is None else "too few"
        why = "exactly one treatment is withheld; the total would disclose it" if len(hidden) == 1 else few
        withheld.append(Suppressed(what="total of comparable patients", why=why))
    return withheld


def _withheld_contrasts(balance: Balance | None) -> list[Suppressed]:
    if balance is None:
        return []
    why = "covariates are out of balance between them"
    return [Suppressed(what=f"contrast of {one} and {other}", why=why) for one, other in balance.withheld]


def _held_back(hidden: Sequence[HiddenArm]) -> list[str]:
    close = [arm.treatment for arm in hidden if arm.reason == REASONS[CLOSE]]
    if not close:
        return []
    return [
        f"{HELD_BACK}: {', '.join(close)}. Both answers together "
        "could tell of single patients. The earlier answers stay valid; asking with facts changed a little withholds more."
    ]


def _notes(parameters: RankingParameters, arms: Sequence[ArmEstimate], found: bool) -> list[str]:
    if not found:
        return [
            UNLINKED,
            "No tier of the study's ladder has two treatments with enough comparable patients "
            f"({parameters.minimum_support} of each, or k where that is more).",
        ]
    notes = [UNLINKED]
    if parameters.period == "not available":
        notes.append("Not adjusted for calendar period: the data hold no index date.")
    if any(arm.fewer_than_ten_failures for arm in arms):
        notes.append("Fewer than 10 failures on some treatments: their intervals are exact and wide.")
    if not parameters.balance:
        notes.append("Balance not judged: the study names no covariates for it.")
    if parameters.harm is not None:
        notes.append(
            "Harm is shown beside the outcome; which treatments cannot be ruled out is judged without it."
        )
    return notes
