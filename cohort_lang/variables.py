"""Variables of a study: what is taken from each cohort entry and in which window around the index date.

These are the declarations only; a site evaluates them with ``cohort_lang.evaluate_variables``. Each
produces one column (``time_to_event`` two: ``<name>_time`` and ``<name>_event``). Concepts are named
either by a concept set declared in the cohort's text, or by a list of OMOP concept ids, which means
exactly those ids and no descendants.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

ConceptId = Annotated[int, Field(ge=0, le=2**31 - 1)]
ConceptSetName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Concepts = ConceptSetName | Annotated[tuple[ConceptId, ...], Field(min_length=1)]
"""A concept set declared in the cohort's text, by name; or exactly these concept ids."""

Label = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Days = Annotated[int, Field(ge=-36525, le=36525)]

RecordDomain = Literal[
    "condition",
    "condition era",
    "drug exposure",
    "drug era",
    "procedure",
    "measurement",
    "observation",
    "device exposure",
    "visit",
]
"""Kinds of clinical record a variable may read, each one table of the OMOP CDM (see docs/cohort-language.md)."""

VALUED_DOMAINS = ("measurement", "observation")
"""Domains whose records carry a value (number with unit, or concept)."""

Pick = Literal["first", "last"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DayWindow(_Frozen):
    """Days relative to the index date, both ends included; ``None`` is open: any time before, or any time after.

    Only records inside the observation period that contains the index date count, as in Circe.
    """

    start: Days | None = None
    end: Days | None = 0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start is not None and self.end is not None and self.start > self.end:
            raise ValueError(f"the window starts on day {self.start}, after its end on day {self.end}")
        return self

    @property
    def reaches_after_index(self) -> bool:
        """Whether the window sees days after time zero, which makes a baseline variable condition on the future."""
        return self.end is None or self.end > 0


class Age(_Frozen):
    """Age at index in whole years, as Circe computes it: year of index minus year of birth. Column: Int64."""

    kind: Literal["age"]


class Sex(_Frozen):
    """Recorded sex at birth: ``"male"`` (8507), ``"female"`` (8532), missing for any other concept.
    Column: string.
    """

    kind: Literal["sex"]


class IndexYear(_Frozen):
    """Calendar year of the index date. Column: Int64."""

    kind: Literal["index_year"]


class Category(_Frozen):
    """The label of the first or last record in the window whose concept falls in one of the levels. Column: string.

    ``of = "concept"`` compares the record's concept; ``of = "value"`` its value concept, among records
    whose concept is in ``concepts``. Records of the same day: the level declared first wins. No record in
    any level: missing.
    """

    kind: Literal["category"]
    domain: RecordDomain
    levels: dict[Label, Concepts] = Field(min_length=1)
    window: DayWindow = DayWindow()
    pick: Pick = "last"
    of: Literal["concept", "value"] = "concept"
    concepts: Concepts | None = None

    @model_validator(mode="after")
    def _of_value_needs_concepts(self) -> Self:
        if self.of == "value" and self.concepts is None:
            raise ValueError("a category of values needs `concepts`: the records whose value is read")
        if self.of == "value" and self.domain not in VALUED_DOMAINS:
            raise ValueError(
                f"records of domain {self.domain!r} carry no value; use measurement or observation"
            )
        if self.of == "concept" and self.concepts is not None:
            raise ValueError(
                "`concepts` belongs to a category of values; with of = concept the levels name the concepts"
            )
        return self


class Presence(_Frozen):
    """1 where at least one record of the concepts lies in the window, else 0; never missing. Column:
    Int64.
    """

    kind: Literal["presence"]
    domain: RecordDomain
    concepts: Concepts
    window: DayWindow = DayWindow()


class Value(_Frozen):
    """The numeric value of the first or last record in the window. Column: Float64.

    ``unit`` is a UCUM code such as ``"%"`` or the id of a unit concept; records in another unit, without
    a number, or outside ``minimum``..``maximum`` (plausible range, both included) are passed over, never
    converted. Several values on the picked day: their mean.
    """

    kind: Literal["value"]
    domain: Literal["measurement", "observation"] = "measurement"
    concepts: Concepts
    unit: ConceptId | Annotated[str, StringConstraints(min_length=1, max_length=50)] | None = None
    window: DayWindow = DayWindow()
    pick: Pick = "last"
    minimum: float | None = Field(default=None, allow_inf_nan=False)
    maximum: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} exceeds maximum {self.maximum}")
        return self


class EventDefinition(_Frozen):
    """Any record of the concepts in the domain."""

    domain: RecordDomain
    concepts: Concepts


class TimeToEvent(_Frozen):
    """Time from index to the first of the events, else to censoring. Columns: ``_time`` Int64, ``_event`` 0/1 Int64.

    Clinical events count from the day after index; death counts from the index date itself. Follow-up
    ends at the earliest of the horizon and the end named by ``censor``: of the cohort entry, or of the
    observation period that contains the index date. Events on the last day of follow-up count; death is
    looked for in the same follow-up. Days become weeks (7) or months (365.25 / 12) by ceiling.
    """

    kind: Literal["time_to_event"]
    events: tuple[EventDefinition | Literal["death"], ...] = Field(min_length=1)
    horizon_days: int = Field(ge=1, le=36525)
    unit: Literal["day", "week", "month"] = "day"
    censor: Literal["cohort", "observation"] = "observation"


Variable = Annotated[
    Age | Sex | IndexYear | Category | Presence | Value | TimeToEvent,
    Field(discriminator="kind"),
]


def named_concept_sets(variable: Any) -> tuple[str, ...]:
    """The names of the concept sets a variable refers to, in order of appearance, each once."""
    match variable:
        case Category(levels=levels, concepts=concepts):
            found: list[Any] = [*levels.values(), concepts]
        case Presence(concepts=concepts) | Value(concepts=concepts):
            found = [concepts]
        case TimeToEvent(events=events):
            found = [event.concepts for event in events if isinstance(event, EventDefinition)]
        case _:
            found = []
    return tuple(dict.fromkeys(name for name in found if isinstance(name, str)))


def columns(name: str, variable: Any) -> tuple[str, ...]:
    """The columns a variable of that name adds to the table of entries."""
    return (f"{name}_time", f"{name}_event") if isinstance(variable, TimeToEvent) else (name,)


def ceil_days(days: int, unit: Literal["day", "week", "month"]) -> int:
    """Whole days to the grid's unit by ceiling, in integers: a month is 365.25 / 12 = 487 / 16 days."""
    numerator, denominator = DAYS_PER_UNIT[unit]
    return -(-days * denominator // numerator)


DAYS_PER_UNIT: dict[str, tuple[int, int]] = {"day": (1, 1), "week": (7, 1), "month": (487, 16)}
"""Length of a unit in days as an exact fraction (numerator, denominator)."""
