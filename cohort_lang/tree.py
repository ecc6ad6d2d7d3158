"""The typed, immutable tree of a cohort definition.

Every node maps to a construct of OHDSI Circe, named in its docstring; extensions say so. Dates relative
to an index are whole days. Positions and comments are carried for messages and formatting, and do not
take part in equality.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Generic, Literal, TypeVar

Domain = Literal[
    "condition",
    "condition era",
    "drug exposure",
    "drug era",
    "procedure",
    "measurement",
    "observation",
    "device exposure",
    "visit",
    "visit detail",
    "death",
    "observation period",
]
Edge = Literal["start", "end"]
Limit = Literal["all", "first", "last"]
RangeOp = Literal[
    "at least", "at most", "more than", "less than", "exactly", "not exactly", "between", "not between"
]
AmountColumn = Literal["days supply", "quantity", "refills"]
CountOp = Literal["at least", "at most", "exactly"]
Distinct = Literal["days", "concepts", "visits"]
Bound = TypeVar("Bound", Decimal, date)

MALE, FEMALE = 8507, 8532
"""OMOP concepts of recorded sex."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a node begins in the text; line and column count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Range(Generic[Bound]):
    """Circe NumericRange and DateRange: ``high`` only for between and not between, both ends included."""

    op: RangeOp
    low: Bound
    high: Bound | None = None


NumberRange = Range[Decimal]
DateRange = Range[date]


@dataclass(frozen=True, slots=True)
class ConceptItem:
    """One entry of a concept set: Circe's isExcluded, includeDescendants and includeMapped."""

    concept_id: int
    label: str | None = None
    descendants: bool = False
    mapped: bool = False
    excluded: bool = False
    at: Position | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ConceptSet:
    """Circe ConceptSet: the included items and what they bring, less the excluded ones and what they bring."""

    name: str
    items: tuple[ConceptItem, ...]
    at: Position | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AgeAt:
    """Circe Age: calendar year of the event's start minus year of birth."""

    range: NumberRange


@dataclass(frozen=True, slots=True)
class SexIs:
    """Circe Gender: recorded sex is one of these concepts."""

    concepts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dated:
    """Circe OccurrenceStartDate: the event starts in this calendar range."""

    range: DateRange


@dataclass(frozen=True, slots=True)
class Ended:
    """Circe OccurrenceEndDate: the event ends in this calendar range."""

    range: DateRange


@dataclass(frozen=True, slots=True)
class ValueNumber:
    """Circe ValueAsNumber, of a measurement or observation."""

    range: NumberRange


@dataclass(frozen=True, slots=True)
class UnitIs:
    """Circe Unit: unit concepts by id; a UCUM code as text is an extension, looked up in the site's vocabulary."""

    units: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class ValueAmong:
    """Circe ValueAsConcept: the value concept is in a concept set."""

    concepts: str


@dataclass(frozen=True, slots=True)
class TypeAmong:
    """Circe's record type (ConditionTypeCS and the like): where the record came from is in a concept set."""

    concepts: str


@dataclass(frozen=True, slots=True)
class DuringVisit:
    """Circe VisitType: the visit the record belongs to has a concept of this set."""

    concepts: str


@dataclass(frozen=True, slots=True)
class Lasting:
    """Circe VisitLength, EraLength, PeriodLength: days from start to end."""

    range: NumberRange


@dataclass(frozen=True, slots=True)
class Amount:
    """Circe DaysSupply, Quantity and Refills of a drug exposure."""

    column: AmountColumn
    range: NumberRange


Demographic = AgeAt | SexIs | Dated | Ended
Attribute = (
    AgeAt
    | SexIs
    | Dated
    | Ended
    | ValueNumber
    | UnitIs
    | ValueAmong
    | TypeAmong
    | DuringVisit
    | Lasting
    | Amount
)


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of record: Circe's domain criteria (ConditionOccurrence, DrugExposure, ...).

    ``concepts`` None means any record of the domain; ``source`` matches the source concept (Circe
    ConditionSourceConcept and the like). ``first`` keeps the earliest record of the concepts in the
    person's whole history, before any attribute is looked at, as Circe's First. ``having`` is a nested
    criterion relative to this event (Circe CorrelatedCriteria).
    """

    domain: Domain
    concepts: str | None = None
    source: str | None = None
    first: bool = False
    attributes: tuple[Attribute, ...] = ()
    having: Criterion | None = None
    at: Position | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Count:
    """Circe Occurrence: how many events; ``distinct`` counts calendar days, concepts or visits instead of records."""

    op: CountOp = "at least"
    n: int = 1
    distinct: Distinct | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Circe StartWindow or EndWindow: days relative to an edge of the index event, both included; None is open.

    ``event`` says which date of the record is looked at. An open side ends with the observation period
    that contains the index, unless the occurrence ignores observation periods.
    """

    start: int | None = None
    end: int | None = None
    event: Edge = "start"
    index: Edge = "start"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Circe CorelatedCriteria: a number of events in windows around the index event."""

    event: Event
    count: Count = Count()
    windows: tuple[Window, ...] = ()
    same_visit: bool = False
    ignore_observation: bool = False
    at: Position | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Group:
    """Circe CriteriaGroup: how many of the items must hold; ``n`` only for at least and at most."""

    kind: Literal["all", "any", "at least", "at most"]
    items: tuple[Criterion, ...]
    n: int | None = None
    at: Position | None = field(default=None, compare=False, repr=False)


Criterion = Occurrence | Group | AgeAt | SexIs | Dated | Ended


@dataclass(frozen=True, slots=True)
class Rule:
    """Circe InclusionRule; ``excludes`` negates it (in Circe: at most 0 of)."""

    label: str
    criterion: Criterion
    excludes: bool = False
    at: Position | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """Circe PrimaryCriteria with ObservationWindow and PrimaryCriteriaLimit; AdditionalCriteria and
    QualifiedLimit.
    """

    events: tuple[Event, ...]
    prior_days: int = 0
    later_days: int = 0
    limit: Limit = "all"
    qualify: Criterion | None = None
    qualify_limit: Limit = "all"
    at: Position | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class EndOfObservation:
    """Circe's default exit: the end of the observation period that contains the index."""


@dataclass(frozen=True, slots=True)
class FixedDays:
    """Circe DateOffset: days after the start or end of the entry event, at most the end of observation."""

    days: int
    after: Edge = "start"


@dataclass(frozen=True, slots=True)
class EndOfExposure:
    """Circe CustomEra: the end of the run of drug exposures that contains the index, gaps up to ``gap_days`` bridged.

    ``extra_days`` are added to each exposure's end; ``supply_days``, if given, replaces every exposure's length.
    """

    concepts: str
    gap_days: int = 0
    extra_days: int = 0
    supply_days: int | None = None


Exit = EndOfObservation | FixedDays | EndOfExposure


@dataclass(frozen=True, slots=True)
class Comment:
    """A remark in the text, without its ``#``, and the statement it stands before or beside.

    ``before`` is "head", "tail", "description", "entry", "exit", "keep", "combine", "period", or "concept
    set", "rule" or "censor" followed by a space and the statement's number from 0.
    """

    before: str
    text: str


@dataclass(frozen=True, slots=True)
class Cohort:
    """A whole definition. ``keep`` is Circe's ExpressionLimit, ``combine_days`` its
    CollapseSettings.EraPad and ``period`` its CensorWindow.

    ``keep`` is ``first`` unless the text says otherwise, so that a person enters once.
    """

    name: str
    entry: Entry
    concept_sets: tuple[ConceptSet, ...] = ()
    rules: tuple[Rule, ...] = ()
    exit: Exit = EndOfObservation()
    censors: tuple[Event, ...] = ()
    keep: Limit = "first"
    combine_days: int = 0
    period: DateRange | None = None
    description: str | None = None
    comments: tuple[Comment, ...] = field(default=(), compare=False, repr=False)

    def concept_set(self, name: str) -> ConceptSet:
        """The declared concept set of that name; KeyError if there is none."""
        for declared in self.concept_sets:
            if declared.name == name:
                return declared
        raise KeyError(name)
