"""The form every event source is brought into before it becomes the common model.

Sources write rows with textual dates and source identifiers into the ``stage_*`` tables; ``assemble``
resolves references, dates and codes set-wise and decides what is kept. One staged event is one clinical
statement; which table it ends in follows from its concept.
"""

# ruff: noqa: S608 -- statements are put together from table and column names of this package only

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

import duckdb
import pyarrow as pa

BATCH = 20_000

_TYPES = {
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "VARCHAR": pa.string(),
}


def _columns(text: str) -> dict[str, str]:
    return dict(entry.split() for entry in text.strip().split(", "))


RESOURCE = _columns("seq BIGINT, origin VARCHAR, id VARCHAR, updated VARCHAR, reason VARCHAR")
"""One row per input record; ``reason`` says why it yields nothing, ``id`` identifies it among its ``origin``."""

PERSON = _columns(
    "seq BIGINT, id VARCHAR, gender INTEGER, gender_source VARCHAR, birth VARCHAR, race INTEGER, "
    "race_source VARCHAR, ethnicity INTEGER, ethnicity_source VARCHAR"
)
DEATH = _columns("seq BIGINT, person VARCHAR, moment VARCHAR, cause INTEGER")
"""A death of ``person``; ``moment`` is NULL when only the fact is known."""

VISIT = _columns(
    "seq BIGINT, id VARCHAR, person VARCHAR, concept INTEGER, source VARCHAR, start VARCHAR, finish VARCHAR, "
    "ongoing BOOLEAN, admitted INTEGER, admitted_source VARCHAR, discharged INTEGER, "
    "discharged_source VARCHAR"
)
MEDICATION = _columns("seq BIGINT, id VARCHAR, code INTEGER")
"""What a referenced medication consists of, as a key of ``stage_code``."""

EVENT = _columns(
    "seq BIGINT, part INTEGER, person VARCHAR, visit VARCHAR, code INTEGER, medication VARCHAR, "
    "home VARCHAR, fixed BOOLEAN, type INTEGER, start VARCHAR, finish VARCHAR, late VARCHAR, "
    "number DOUBLE, text VARCHAR, value INTEGER, value_concept INTEGER, unit INTEGER, operator INTEGER, "
    "low DOUBLE, high DOUBLE, quantity DOUBLE, days INTEGER, refills INTEGER, route INTEGER, lot VARCHAR, "
    "qualifier INTEGER, qualifier_source VARCHAR, status INTEGER, status_source VARCHAR, stop VARCHAR, "
    "about INTEGER"
)
"""A clinical statement. ``home``: domain when the code has no standard concept. ``fixed``: stays in ``home``
whatever the concept's domain. ``late``: a second-best date. ``code, value, unit, route``: keys of
``stage_code``. ``about``: concept of the statement when the code names its object (an allergy and its substance)."""

_EVENT_FIELDS = namedtuple("_EVENT_FIELDS", tuple(EVENT), defaults=(None,) * (len(EVENT) - 2))  # type: ignore[misc]
EventRow: Callable[..., tuple[Any, ...]] = _EVENT_FIELDS
"""A row of ``stage_event`` by column names; only ``seq`` and ``part`` are required."""

CODE = _columns(
    "key INTEGER, home VARCHAR, pos INTEGER, vocabulary_id VARCHAR, system VARCHAR, code VARCHAR, "
    "chosen BOOLEAN, label VARCHAR, concept_id INTEGER"
)
"""Codings of the coded ideas met; ``key`` identifies the idea, ``pos`` the coding within it."""

STAGES = {
    "stage_resource": RESOURCE,
    "stage_person": PERSON,
    "stage_death": DEATH,
    "stage_visit": VISIT,
    "stage_medication": MEDICATION,
    "stage_event": EVENT,
    "stage_code": CODE,
}


def create_stages(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the empty staging tables; they vanish with the connection."""
    for name, columns in STAGES.items():
        body = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        connection.execute(f"CREATE TEMP TABLE {name} ({body})")


class Stage:
    """Rows for one staging table, written in batches. Rows are tuples in the order of the stage's columns."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._schema = pa.schema([(column, _TYPES[kind]) for column, kind in STAGES[name].items()])
        self.rows: list[Sequence[Any]] = []
        self.add: Callable[[Sequence[Any]], None] = self.rows.append

    def flush(self) -> list[int]:
        """Write what is waiting; returns ``seq`` of rows left out because a value has not its column's type."""
        if not self.rows:
            return []
        misfits: list[int] = []
        try:
            batch = self._table(self.rows)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            fitting = [row for row in self.rows if self._fits(row)]
            misfits = sorted({row[0] for row in self.rows} - {row[0] for row in fitting})
            batch = self._table([row for row in fitting if row[0] not in set(misfits)])
        self._connection.register("staged_batch", batch)
        self._connection.execute(f"INSERT INTO {self._name} SELECT * FROM staged_batch")
        self._connection.unregister("staged_batch")
        self.rows.clear()
        return misfits

    def _table(self, rows: Sequence[Sequence[Any]]) -> pa.Table:
        columns = zip(*rows, strict=True) if rows else [()] * len(self._schema)
        arrays = [
            pa.array(values, type=field.type) for values, field in zip(columns, self._schema, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _fits(self, row: Sequence[Any]) -> bool:
        try:
            self._table([row])
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            return False
        return True


class Codes:
    """Numbers the distinct coded ideas of a source.

    Calling with ``home`` and codings ``((system, code, chosen), ...)`` and a label returns the idea's key,
    or None when there is neither code nor label.
    """

    def __init__(self, vocabularies: dict[str, str]) -> None:
        self._vocabularies = vocabularies
        self._keys: dict[tuple[Any, ...], int] = {}

    def __call__(
        self, home: str, codings: tuple[tuple[str | None, str, bool], ...], label: str | None
    ) -> int | None:
        if codings:
            label = None
        elif label is None:
            return None
        entry = (home, codings, label)
        key = self._keys.get(entry)
        return self._new(entry) if key is None else key

    def _new(self, entry: tuple[Any, ...]) -> int:
        _, codings, label = entry
        texts = [text for system, code, _ in codings for text in (system, code)] + [label]
        if not all(text is None or type(text) is str for text in texts):
            raise TypeError("a code, system or text that is no string")
        return self._keys.setdefault(entry, len(self._keys))

    def stage(self, stage: Stage) -> None:
        """Write every idea met to ``stage_code``."""
        for (home, codings, label), key in self._keys.items():
            if not codings:
                stage.add((key, home, 0, None, None, None, False, label, None))
            for position, (system, code, chosen) in enumerate(codings):
                vocabulary = self._vocabularies.get(system) if system else None
                stage.add((key, home, position, vocabulary, system, code, chosen, None, None))
        stage.flush()
