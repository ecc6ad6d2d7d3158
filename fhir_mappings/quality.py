"""Data quality of a loaded database: conformance, completeness and plausibility, the three kinds of Kahn et al. 2016
(doi:10.13063/2327-9214.1244).

A check counts the rows that fail it among the rows it applies to. Exceeding its limit makes it a finding.
"""

# ruff: noqa: S608 -- statements are put together from table and column names of this package only

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from fhir_mappings.cdm import connect
from fhir_mappings.cdm_tables import CLINICAL_TABLES, CONCEPT_COLUMN, EVENT_TABLES, SPANS

Kind = Literal["conformance", "completeness", "plausibility"]


class Check(BaseModel):
    """One check: ``failing`` of ``rows`` fail; a finding when the share exceeds ``limit``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    table: str
    name: str
    failing: int
    rows: int
    limit: float

    @property
    def share(self) -> float:
        return self.failing / self.rows if self.rows else 0.0

    @property
    def finding(self) -> bool:
        return self.share > self.limit


class QualityReport(BaseModel):
    """Every check, worst findings first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checks: tuple[Check, ...]

    @property
    def findings(self) -> tuple[Check, ...]:
        """Checks beyond their limit."""
        return tuple(check for check in self.checks if check.finding)

    def text(self) -> str:
        """One line a check, findings marked."""
        width = max((len(f"{c.table}: {c.name}") for c in self.checks), default=0)
        lines = [
            f"{'FINDING' if c.finding else 'ok':8}{c.kind:13} {f'{c.table}: {c.name}':{width}}  "
            f"{c.failing} of {c.rows} ({c.share:.1%}, limit {c.limit:.0%})"
            for c in self.checks
        ]
        return "\n".join([f"{len(self.findings)} of {len(self.checks)} checks are findings", *lines])


def quality(database: Path) -> QualityReport:
    """Run every check on a loaded database. Raises SourceMissing or ModelError when it cannot be opened."""
    backend = connect(database, read_only=True)
    checks = []
    try:
        for kind, table, name, failing, applies, limit in _checks():
            row = backend.con.execute(
                f"SELECT count(*) FILTER (WHERE {failing}), count(*) FROM {applies}"
            ).fetchone()
            bad, rows = row if row else (0, 0)
            checks.append(Check(kind=kind, table=table, name=name, failing=bad, rows=rows, limit=limit))
    finally:
        backend.disconnect()
    return QualityReport(
        checks=tuple(sorted(checks, key=lambda c: (not c.finding, -c.share, c.table, c.name)))
    )


_Definition = tuple[Kind, str, str, str, str, float]
"""Kind, table, name, condition of failing, rows it applies to, limit."""


def _checks() -> Iterator[_Definition]:
    yield from _keys()
    yield from _concepts()
    yield from _persons()
    yield from _times()


def _keys() -> Iterator[_Definition]:
    for name, table in CLINICAL_TABLES.items():
        key = table.key or "person_id"
        counted = f"(SELECT count(*) OVER (PARTITION BY {key}) AS n FROM {name})"
        yield "conformance", name, f"{key} repeated", "n > 1", counted, 0.0
        if name != "person":
            orphan = "person_id NOT IN (SELECT person_id FROM person)"
            yield "conformance", name, "person unknown", orphan, name, 0.0


def _concepts() -> Iterator[_Definition]:
    for name in EVENT_TABLES:
        column = CONCEPT_COLUMN[name]
        yield "completeness", name, "without a standard concept", f"{column} = 0", name, 0.2
        unknown = f"{column} NOT IN (SELECT concept_id FROM concept WHERE standard_concept = 'S')"
        mapped = f"(FROM {name} WHERE {column} <> 0)"
        yield "conformance", name, "concept not standard in the vocabulary", unknown, mapped, 0.0


def _persons() -> Iterator[_Definition]:
    yield "completeness", "person", "gender unknown", "gender_concept_id = 0", "person", 0.05
    yield "completeness", "person", "day of birth unknown", "day_of_birth IS NULL", "person", 0.5
    unobserved = "person_id NOT IN (SELECT person_id FROM observation_period)"
    yield "completeness", "person", "without a period of observation", unobserved, "person", 0.1
    empty = "value_as_number IS NULL AND coalesce(value_as_concept_id, 0) = 0 AND value_source_value IS NULL"
    yield "completeness", "measurement", "without a value", empty, "measurement", 0.2
    unit = "coalesce(unit_concept_id, 0) = 0"
    numeric = "(FROM measurement WHERE value_as_number IS NOT NULL)"
    yield "completeness", "measurement", "number without a standard unit", unit, numeric, 0.2
    lived = "(SELECT death_date, year_of_birth, birth_datetime FROM death JOIN person USING (person_id))"
    yield "plausibility", "death", "before birth", f"death_date < {_BORN}", lived, 0.0
    old = "year_of_birth < year((SELECT max(source_release_date) FROM cdm_source)) - 115"
    alive = "(FROM person WHERE person_id NOT IN (SELECT person_id FROM death))"
    yield "plausibility", "person", "older than 115 years and not dead", old, alive, 0.0


_BORN = "coalesce(CAST(birth_datetime AS DATE), make_date(year_of_birth, 1, 1))"


def _times() -> Iterator[_Definition]:
    for name in EVENT_TABLES:
        start, end = SPANS[name]
        last = f"{end} AS last_day" if end else "NULL::DATE AS last_day"
        dated = f"SELECT person_id, {start} AS day, {last} FROM {name}"
        born = f"({dated}) JOIN person USING (person_id)"
        yield "plausibility", name, "before birth", f"day < {_BORN}", born, 0.0
        died = f"({dated}) JOIN death USING (person_id)"
        yield "plausibility", name, "more than 60 days after death", "day > death_date + 60", died, 0.0
        outside = (
            "NOT EXISTS (FROM observation_period o WHERE o.person_id = e.person_id "
            "AND e.day BETWEEN o.observation_period_start_date AND o.observation_period_end_date)"
        )
        yield "plausibility", name, "outside every period of observation", outside, f"({dated}) e", 0.1
        if end:
            yield "plausibility", name, "end before start", "last_day < day", f"({dated})", 0.0
