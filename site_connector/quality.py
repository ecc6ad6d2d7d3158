"""A short report on the quality of what was loaded: coverage, mapping, plausibility. Stays at the hospital."""

from __future__ import annotations

from pathlib import Path

from governance.document import Part
from site_connector.evaluation import opened

EVENTS = (
    ("condition_occurrence", "condition_concept_id", "condition_start_date"),
    ("drug_exposure", "drug_concept_id", "drug_exposure_start_date"),
    ("procedure_occurrence", "procedure_concept_id", "procedure_date"),
    ("measurement", "measurement_concept_id", "measurement_date"),
    ("observation", "observation_concept_id", "observation_date"),
    ("visit_occurrence", "visit_concept_id", "visit_start_date"),
)
"""Table, concept column, start column."""


class TableQuality(Part):
    """One table of events. ``first`` and ``last`` are calendar years."""

    table: str
    rows: int
    persons: int
    unmapped: int
    outside_observation: int
    before_birth: int
    after_death: int
    first: int | None
    last: int | None


class QualityReport(Part):
    """What a data manager looks at first."""

    persons: int
    without_observation: int
    deaths: int
    implausible_birth: int
    unknown_sex: int
    tables: tuple[TableQuality, ...]

    def findings(self) -> tuple[str, ...]:
        """What deserves a look, worst first; empty if nothing does."""
        found = [
            (share, f"{one.table}: {share:.0%} of {one.rows} rows {what}")
            for one in self.tables
            for share, what in (
                (_share(one.unmapped, one.rows), "have no standard concept"),
                (_share(one.outside_observation, one.rows), "lie outside every observation period"),
                (_share(one.before_birth, one.rows), "start before the year of birth"),
                (_share(one.after_death, one.rows), "start more than 60 days after death"),
            )
            if share >= 0.005
        ]
        empty = [f"{one.table}: empty" for one in self.tables if not one.rows]
        persons = [
            (self.without_observation, "persons without an observation period"),
            (self.implausible_birth, "persons with an implausible year of birth"),
            (self.unknown_sex, "persons of unknown sex"),
        ]
        lines = [text for _, text in sorted(found, reverse=True)]
        return (*lines, *(f"{count} {what}" for count, what in persons if count), *empty)

    def text(self) -> str:
        """The report for a terminal."""
        head = f"{self.persons} persons, {self.deaths} deaths"
        header = ("table", "rows", "persons", "unmapped", "outside obs.", "years")
        rows = [_row(one) for one in self.tables]
        widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
        grid = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in (header, *rows)
        ]
        findings = [f"- {line}" for line in self.findings()] or ["nothing stands out"]
        return "\n".join([head, "", *(line.rstrip() for line in grid), "", "To look at:", *findings])


def quality(database: Path) -> QualityReport:
    """Measure the loaded database.

    Raises:
        CannotEvaluate: no database of the common model.
    """
    with opened(database) as connection:
        ask = connection.con.execute
        persons = ask(_PERSONS).fetchone()
        tables = [
            (name, ask(_EVENTS.format(table=name, concept=concept, start=start)).fetchone())
            for name, concept, start in EVENTS
        ]
    assert persons is not None
    fields = (
        "rows",
        "persons",
        "unmapped",
        "outside_observation",
        "before_birth",
        "after_death",
        "first",
        "last",
    )
    return QualityReport(
        **dict(zip(_PERSON_FIELDS, persons, strict=True)),
        tables=tuple(
            TableQuality(table=name, **dict(zip(fields, row or (), strict=True))) for name, row in tables
        ),
    )


_PERSON_FIELDS = ("persons", "without_observation", "deaths", "implausible_birth", "unknown_sex")
_PERSONS = """
SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (FROM observation_period o WHERE o.person_id =
p.person_id)),
  (SELECT count(DISTINCT person_id) FROM death),
  count(*) FILTER (WHERE year_of_birth < 1900 OR year_of_birth > year(current_date)),
  count(*) FILTER (WHERE gender_concept_id NOT IN (8507, 8532))
FROM person p
"""
_EVENTS = """
SELECT count(*), count(DISTINCT e.person_id), count(*) FILTER (WHERE e.{concept} = 0),
  count(*) FILTER (WHERE NOT EXISTS (FROM observation_period o WHERE o.person_id = e.person_id
    AND e.{start} BETWEEN o.observation_period_start_date AND o.observation_period_end_date)),
  count(*) FILTER (WHERE year(e.{start}) < p.year_of_birth),
  count(*) FILTER (WHERE e.{start} > d.death_date + INTERVAL 60 DAY),
  min(year(e.{start})), max(year(e.{start}))
FROM {table} e JOIN person p USING (person_id)
LEFT JOIN (SELECT person_id, min(death_date) AS death_date FROM death GROUP BY person_id) d USING (person_id)
"""


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _row(one: TableQuality) -> tuple[str, ...]:
    years = f"{one.first}-{one.last}" if one.first is not None else ""
    unmapped, outside = _share(one.unmapped, one.rows), _share(one.outside_observation, one.rows)
    return (one.table, str(one.rows), str(one.persons), f"{unmapped:.1%}", f"{outside:.1%}", years)
