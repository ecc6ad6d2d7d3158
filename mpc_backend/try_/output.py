"""The parts that JSON objects of several verbs share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from mpc_backend.analyses.base import Suppressed
from mpc_backend.analyses.cells import HiddenCount, ReleasedCount


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


def number(cell: ReleasedCount | HiddenCount) -> int | None:
    """A count, null where it is hidden."""
    return cell.value
