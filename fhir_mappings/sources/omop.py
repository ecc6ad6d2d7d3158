"""A folder of OMOP CDM 5.4 tables (Parquet or CSV) to a validated database of the model.

The extract's own identifiers and concepts are kept. Every row is checked: required values, types, its person, its
dates, its key; what fails is left out and counted with the reason.
"""

# ruff: noqa: S608 -- statements are put together from table and column names of this package only

import time
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb

from fhir_mappings.assemble import finish
from fhir_mappings.cdm_tables import (
    CLINICAL_TABLES,
    CONCEPT_COLUMN,
    EVENT_TABLES,
    HEALTH_SYSTEM_TABLES,
    SPANS,
    Table,
)
from fhir_mappings.errors import SourceEmpty, SourceFormatError, SourceMissing
from fhir_mappings.mapped import check_mapped, unchecked
from fhir_mappings.profile import Profile
from fhir_mappings.report import InputReport, LoadReport
from fhir_mappings.store import replacing
from fhir_mappings.tabular import columns_of, convert, find_table_files, identifier, scan, unreadable
from fhir_mappings.vocabulary import load_vocabulary

AS_GIVEN = "as given in the extract"
LOADED = CLINICAL_TABLES | {name: HEALTH_SYSTEM_TABLES[name] for name in ("location", "care_site")}


def load_omop(folder: Path, database: Path, vocabulary: Path | None, profile: Profile) -> LoadReport:
    """Load the tables of ``folder`` into a new database that replaces ``database`` at the end.

    ``vocabulary``: see ``load_vocabulary``; None takes the vocabulary tables of ``folder`` when it has them.
    Without a table of observation periods they are derived by the profile's rule. Raises SourceMissing,
    SourceFormatError or SourceEncodingError when a file cannot be used whole, SourceEmpty, VocabularyError,
    NothingMapped, LoadFailed. Whatever is raised, ``database`` keeps its previous content.
    """
    started = time.monotonic()
    folder = Path(folder)
    files = find_table_files(folder)
    if "person" not in files:
        raise SourceMissing(f"{folder} holds no person table (person.parquet or PERSON.csv)")
    if vocabulary is None and "concept" in files:
        vocabulary = folder
    with replacing(Path(database)) as connection:
        release = load_vocabulary(connection, vocabulary)
        loader = _Loader(connection, profile, files)
        inputs = tuple(loader.load(name) for name in LOADED if name in files)
        if not inputs[0].loaded:
            raise SourceEmpty(f"no row of {files['person'].name} could be loaded: {inputs[0].rejected}")
        rules = (loader.observation_periods(), AS_GIVEN)
        loader.unmapped()
        warnings = loader.check_mapped(vocabulary is not None)
        return finish(
            connection,
            "OMOP CDM 5.4",
            profile,
            release,
            extract_date=loader.latest,
            inputs=inputs,
            ignored={f"file {name}": 1 for name in _unknown(folder, files)},
            notes=loader.notes | (loader.nonstandard() if vocabulary else {}),
            warnings=warnings,
            started=started,
            rules=rules,
        )


def _unknown(folder: Path, files: dict[str, Path]) -> list[str]:
    used = set(files.values())
    return sorted(
        f.name for f in folder.iterdir() if f.suffix.lower() in (".csv", ".parquet") and f not in used
    )


class _Loader:
    """Loads tables one by one; person first, since the others refer to it."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, profile: Profile, files: dict[str, Path]
    ) -> None:
        self._connection = connection
        self._profile = profile
        self._files = files
        self.notes: dict[str, int] = {}
        self.latest = profile.extract_date or self._release_date() or datetime.now(UTC).date()

    def load(self, name: str) -> InputReport:
        """Load one table and account for its rows."""
        table, file = LOADED[name], self._files[name]
        self._read(table, file)
        rows, lost = self._verdict(table)
        names = ", ".join(table.names)
        self._connection.execute(
            f"INSERT INTO {name} ({names}) SELECT {names} FROM incoming SEMI JOIN accepted USING (line) ORDER BY line"
        )
        duplicates = lost.pop("duplicate", 0)
        loaded = rows - duplicates - sum(lost.values())
        return InputReport(name=name, rows_in=rows, loaded=loaded, duplicates=duplicates, rejected=lost)

    def _release_date(self) -> date | None:
        """The extract's own ``cdm_source.source_release_date``."""
        file = self._files.get("cdm_source")
        if file is None:
            return None
        source = scan(file)
        present = columns_of(self._connection, file, source)
        if "source_release_date" not in present:
            return None
        name, kind = present["source_release_date"]
        field = HEALTH_SYSTEM_TABLES["cdm_source"].field("source_release_date")
        row = self._connection.execute(
            f"SELECT max({convert(field, identifier(name), kind)}) FROM {source}"
        ).fetchone()
        return row[0] if row else None

    def _read(self, table: Table, file: Path) -> None:
        """The file as ``incoming``, typed; ``broken`` lists the columns of a row that did not convert."""
        source = scan(file)
        present = columns_of(self._connection, file, source)
        absent = [name for name in table.required if name not in present]
        if absent:
            raise SourceFormatError(f"{file.name}: table {table.name} lacks the required columns {absent}")
        typed, broken = [], []
        for field in table.fields:
            if field.name not in present:
                typed.append(f"NULL::{field.sql_type} AS {field.name}")
                continue
            column, kind = identifier(present[field.name][0]), present[field.name][1]
            value = convert(field, column, kind)
            typed.append(f"{value} AS {field.name}")
            broken.append(f"CASE WHEN {column} IS NOT NULL AND {value} IS NULL THEN '{field.name}' END")
        try:
            self._connection.execute(
                f"""CREATE OR REPLACE TEMP TABLE incoming AS SELECT row_number() OVER () AS line, {", ".join(typed)},
                list_filter([{", ".join(broken)}], lambda x: x IS NOT NULL) AS broken FROM {source}"""
            )
        except duckdb.Error as error:
            raise unreadable(file, error) from None

    def _verdict(self, table: Table) -> tuple[int, dict[str, int]]:
        """Decide on every row of ``incoming``; returns rows in, and rows left out by reason."""
        reasons = " ".join(f"WHEN {condition} THEN '{reason}'" for condition, reason in self._checks(table))
        key = table.key or ("person_id" if table.name == "death" else "line")
        self._connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE verdict AS
            WITH judged AS (SELECT line, broken, {key} AS key, CASE {reasons} END AS reason,
              md5(row({", ".join(table.names)})::VARCHAR) AS content FROM incoming),
            ranked AS (SELECT *, row_number() OVER same AS n, first_value(content) OVER same AS first
              FROM judged WINDOW same AS (PARTITION BY key, reason IS NULL ORDER BY line))
            SELECT line, broken, CASE WHEN reason IS NOT NULL THEN reason
              WHEN n > 1 AND content = first THEN 'duplicate'
              WHEN n > 1 THEN 'key already used by a different row' END AS reason FROM ranked"""
        )
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE accepted AS SELECT line FROM verdict WHERE reason IS NULL"
        )
        dropped = self._connection.execute(
            """SELECT field, count(*) FROM (SELECT unnest(broken) AS field FROM verdict WHERE reason IS NULL)
            GROUP BY field ORDER BY field"""
        ).fetchall()
        self.notes |= {f"{table.name}.{field}: value not readable, left empty": n for field, n in dropped}
        counts = self._connection.execute(
            "SELECT reason, count(*) FROM verdict GROUP BY reason ORDER BY 1"
        ).fetchall()
        return sum(n for _, n in counts), {reason: n for reason, n in counts if reason is not None}

    def _checks(self, table: Table) -> list[tuple[str, str]]:
        checks = [
            (f"list_contains(broken, '{name}')", f"{name} not readable as {table.field(name).kind}")
            for name in table.required
        ]
        checks += [(f"{name} IS NULL", f"{name} missing") for name in table.required]
        if table.name == "person":
            low, high = self._profile.earliest_date.year, self.latest.year
            checks.append((f"year_of_birth NOT BETWEEN {low} AND {high}", "year_of_birth out of range"))
        elif "person_id" in table.names:
            checks.append(("person_id NOT IN (SELECT person_id FROM person)", "person not in the extract"))
        if table.name in SPANS:
            start, end = SPANS[table.name]
            checks.append(
                (f"{start} < DATE '{self._profile.earliest_date}'", f"{start} before the earliest date")
            )
            checks.append((f"{start} > DATE '{self.latest}'", f"{start} after the extract date"))
            if end:
                checks.append((f"{end} < {start}", f"{end} before {start}"))
        return checks

    def observation_periods(self) -> str:
        """Derive observation periods when the extract brings none; returns the rule in force."""
        if "observation_period" in self._files:
            return AS_GIVEN
        rule = self._profile.observation_period
        spans = [
            (SPANS[name][0], SPANS[name][1] if name == "visit_occurrence" else SPANS[name][0], name)
            for name in EVENT_TABLES
        ]
        seen = " UNION ALL ".join(
            f"SELECT person_id, {start} AS first_day, {end} AS last_day, '{name}' AS tab FROM {name}"
            for start, end, name in spans
        )
        visits = "tab = 'visit_occurrence'"
        start = "min(first_day)" if rule.start == "first-event" else f"min(first_day) FILTER ({visits})"
        end = {
            "last-event": "max(last_day)",
            "last-encounter": f"max(last_day) FILTER ({visits})",
            "extract-date": f"DATE '{self.latest}'",
        }[rule.end]
        self._connection.execute(
            f"""INSERT INTO observation_period WITH span AS (
              SELECT person_id, {start} AS first_day, {end} AS last_day FROM ({seen}) GROUP BY person_id),
            capped AS (SELECT person_id, first_day, least(last_day, DATE '{self.latest}',
                coalesce(death_date, last_day)) AS last_day FROM span LEFT JOIN death USING (person_id))
            SELECT row_number() OVER (ORDER BY person_id), person_id, first_day, last_day, 32882
            FROM capped WHERE first_day <= last_day"""
        )
        return rule.sentence()

    def unmapped(self) -> None:
        """Source values behind concept 0, for the report."""
        parts = []
        for name in EVENT_TABLES:
            value = next(column for column in CLINICAL_TABLES[name].names if column.endswith("source_value"))
            main = f"{CONCEPT_COLUMN[name].removesuffix('_concept_id')}_source_value"
            value = main if main in CLINICAL_TABLES[name].names else value
            parts.append(
                f"SELECT '{name}' AS tab, '(source value)' AS vocabulary_id, {value} AS code, count(*) AS n "
                f"FROM {name} WHERE {CONCEPT_COLUMN[name]} = 0 GROUP BY ALL"
            )
        self._connection.execute(f"CREATE TEMP TABLE unmapped_row AS {' UNION ALL '.join(parts)}")

    def check_mapped(self, vocabulary: bool) -> tuple[str, ...]:
        """Warnings about events without a standard concept, and that none was checked where there is no vocabulary."""
        events = " UNION ALL ".join(
            f"SELECT {CONCEPT_COLUMN[name]} AS concept_id FROM {name}"
            for name in EVENT_TABLES
            if name != "visit_occurrence"
        )
        standard = "AND concept_id IN (SELECT concept_id FROM concept WHERE standard_concept = 'S')"
        row = self._connection.execute(
            f"""SELECT count(*), count(*) FILTER (WHERE concept_id <> 0 {standard if vocabulary else ""})
            FROM ({events})"""
        ).fetchone()
        count, mapped = row or (0, 0)
        warnings = check_mapped(
            self._connection, "OMOP CDM 5.4", events=count, mapped=mapped, vocabulary=vocabulary
        )
        return warnings if vocabulary or not mapped else (*warnings, unchecked(mapped))

    def nonstandard(self) -> dict[str, int]:
        """Rows whose main concept is no standard concept of the loaded vocabulary, by table."""
        found = {}
        for name in EVENT_TABLES:
            column = CONCEPT_COLUMN[name]
            row = self._connection.execute(
                f"""SELECT count(*) FROM {name} WHERE {column} <> 0 AND {column} NOT IN (
                SELECT concept_id FROM concept WHERE standard_concept = 'S')"""
            ).fetchone()
            if row and row[0]:
                found[f"{name}.{column}: not a standard concept of the loaded vocabulary"] = int(row[0])
        return found
