"""The parts that JSON objects of several verbs share."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from mpc_backend.analyses.base import Suppressed
from mpc_backend.analyses.cells import Cell, HiddenCount
from mpc_backend.analyses.survival_result import CurvePoint


class OutputPart(BaseModel):
    """An object of the output; null: not reached, withheld, or not asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Output(OutputPart):
    """What every object ends with."""

    suppressed: list[Suppressed] = []
    notes: list[str] = []
    protocol: str = ""
    seconds: float = 0.0


TAIL = frozenset(Output.model_fields)


class TestOutput(OutputPart):
    """A chi-square test."""

    chi2: float
    df: int
    p: float


class StepOutput(OutputPart):
    """One step of a curve."""

    time: int
    estimate: float
    se: float | None
    lower: float | None
    upper: float | None


class CurveRow(OutputPart):
    """The at-risk table with the curve's value at each time; events and censorings are cumulative."""

    time: int
    estimate: float | None
    se: float | None
    lower: float | None
    upper: float | None
    at_risk: int | None
    events: int | None
    censored: int | None


def curve_row(
    steps: Sequence[CurvePoint],
    cut_at: int | None,
    time: int,
    at_risk: Cell,
    events: Cell,
    censored: Cell,
    end: float | None = None,
) -> CurveRow:
    """Counts at a time beside the last step at or before it; null where nothing may be or can be said. A curve that has come
    down to ``end`` stays there.
    """
    before = [step for step in steps if step.time <= time]
    seen = (
        before[-1]
        if before and cut_at is not None and (time <= cut_at or before[-1].estimate == end)
        else None
    )
    return CurveRow(
        time=time,
        estimate=None if seen is None else seen.estimate,
        se=None if seen is None else seen.se,
        lower=None if seen is None else seen.lower,
        upper=None if seen is None else seen.upper,
        at_risk=number(at_risk),
        events=number(events),
        censored=number(censored),
    )


def number(cell: Cell) -> int | None:
    """A count, null where it is hidden."""
    return cell.value


def p_words(p: float | None) -> str:
    """A p-value after other numbers; nothing where there is none."""
    return "" if p is None else f", p {p:.3g}"


def cell_words(cell: Cell) -> str:
    """A count, or that it is hidden."""
    return "hidden" if isinstance(cell, HiddenCount) else str(cell.value)
