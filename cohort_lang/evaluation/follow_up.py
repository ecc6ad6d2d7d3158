"""Time from the index date to an event or to censoring."""

from __future__ import annotations

import ibis
from ibis.expr.types import IntegerValue, Table

from cohort_lang.variables import DAYS_PER_UNIT, TimeToEvent


def time_to_event(index: Table, variable: TimeToEvent, outcomes: Table) -> Table:
    """key, time (in the variable's unit), event (0 or 1) of each index row.

    ``outcomes``: person_id, day, least (fewest days after index that count). Follow-up runs from the
    index date to the earliest of the horizon and the end the variable names, both included.
    """
    last = index.end if variable.censor == "cohort" else index.op_end
    followed = index.mutate(last=ibis.least(last, index.start + variable.horizon_days))
    outcomes = outcomes.rename(outcome_person="person_id")
    met = followed.join(outcomes, [("person_id", "outcome_person")])
    met = met.filter(met.day - met.start >= met.least, met.day <= met.last)
    first = met.group_by("key").aggregate(first_day=met.day.min()).rename(first_key="key")
    beside = followed.left_join(first, [("key", "first_key")])
    happened = beside.first_day.notnull()
    days = ibis.ifelse(happened, beside.first_day, beside.last) - beside.start
    return beside.select(
        "key", time=ceiling(days, variable.unit), event=ibis.ifelse(happened, 1, 0).cast("int64")
    )


def ceiling(days: IntegerValue, unit: str) -> IntegerValue:
    """Non-negative days to the unit's grid by ceiling, in integers."""
    numerator, denominator = DAYS_PER_UNIT[unit]
    return ((days * denominator + (numerator - 1)) // numerator).cast("int64")
