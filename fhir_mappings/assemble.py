"""Staged rows to the common model: references, dates and codes are resolved set-wise, then the tables are written.

Every staged record ends in exactly one place: loaded, duplicate or rejected with a reason (``disposition``).
"""

# ruff: noqa: S608 -- statements are put together from table and column names of this package only

import hashlib
import time
from datetime import UTC, date, datetime
from importlib.metadata import version

import duckdb

from fhir_mappings import assemble_sql as sql
from fhir_mappings.cdm import CDM_VERSION, CDM_VERSION_CONCEPT_ID
from fhir_mappings.cdm_tables import CLINICAL_TABLES, CONCEPT_COLUMN
from fhir_mappings.errors import SourceEmpty
from fhir_mappings.mapped import check_mapped
from fhir_mappings.profile import Profile
from fhir_mappings.report import TOP_UNMAPPED, InputReport, LoadReport, TableReport, UnmappedCode
from fhir_mappings.vocabulary import resolve_codes


def assemble(
    connection: duckdb.DuckDBPyConnection,
    kind: str,
    profile: Profile,
    vocabulary_version: str,
    *,
    vocabulary: bool,
    ignored: dict[str, int],
    notes: dict[str, int],
    started: float,
) -> LoadReport:
    """Write the tables from the stages and account for every record.

    ``vocabulary``: whether the site gave one. Raises SourceEmpty without a usable person, NothingMapped without an
    event that has a standard concept.
    """
    _define_dates(connection, profile)
    resolve_codes(connection)
    connection.execute(sql.WINNER)
    extract_date = _set_extract_date(connection, profile)
    connection.execute(sql.PERSON)
    if not _number(connection, "SELECT count(*) FROM person_row WHERE reason IS NULL"):
        raise SourceEmpty(f"the {kind} extract holds no person that could be loaded ({_why(connection)})")
    connection.execute(sql.VISIT)
    connection.execute(sql.EVENT.format(prescription_days=profile.drug_days_without_end))
    connection.execute(sql.DEATH)
    for statement in sql.INSERTS:
        connection.execute(statement.format(keep_ids=str(profile.keep_source_ids).lower()))
    events, mapped = (
        _number(connection, sql.KEPT_EVENTS.format(which=which)) for which in ("true", "concept_id <> 0")
    )
    warnings = check_mapped(connection, kind, events=events, mapped=mapped, vocabulary=vocabulary)
    _observation_periods(connection, profile)
    connection.execute(sql.DISPOSITION)
    found = notes | dict(connection.execute(sql.NOTES).fetchall())
    inputs = _inputs(connection)
    return finish(
        connection,
        kind,
        profile,
        vocabulary_version,
        extract_date=extract_date,
        inputs=inputs,
        ignored=ignored,
        notes={name: count for name, count in sorted(found.items()) if count},
        warnings=warnings,
        started=started,
    )


def finish(
    connection: duckdb.DuckDBPyConnection,
    kind: str,
    profile: Profile,
    vocabulary_version: str,
    *,
    extract_date: date,
    inputs: tuple[InputReport, ...],
    ignored: dict[str, int],
    notes: dict[str, int],
    warnings: tuple[str, ...],
    started: float,
    rules: tuple[str, str] | None = None,
) -> LoadReport:
    """Write ``cdm_source`` and describe what the database now holds. ``rules``: observation period, death."""
    _write_source(connection, profile, kind, vocabulary_version, extract_date)
    codes, total = _unmapped(connection)
    period_rule, death_rule = rules or (profile.observation_period.sentence(), profile.death.sentence())
    return LoadReport(
        kind=kind,
        inputs=inputs,
        tables=tuple(_table(connection, name) for name in CLINICAL_TABLES),
        unmapped_codes=codes,
        unmapped_codes_total=total,
        notes=notes,
        ignored=ignored,
        warnings=warnings,
        observation_period_rule=period_rule,
        death_rule=death_rule,
        extract_date=extract_date,
        snapshot=snapshot_digest(connection),
        profile_digest=hashlib.sha256(profile.model_dump_json().encode()).hexdigest(),
        vocabulary_version=vocabulary_version,
        cdm_version=CDM_VERSION,
        software=software(),
        finished_at=datetime.now(UTC).replace(microsecond=0),
        seconds=round(time.monotonic() - started, 3),
    )


def software() -> str:
    """Name and version of this distribution."""
    return f"tessera-rwe {version('tessera-rwe')}"


def snapshot_digest(connection: duckdb.DuckDBPyConnection) -> str:
    """SHA-256 (hex) naming the content of the clinical tables, whatever the order of their rows.

    Per table the row count and the sums of both halves of each row's MD5 go into it: equal tables give equal
    digests. It identifies a snapshot; it is no commitment against whoever holds the data.
    """
    digest = hashlib.sha256()
    for name in CLINICAL_TABLES:
        row = connection.execute(
            f"""SELECT count(*), coalesce(sum(md5_number_lower(line)), 0),
                coalesce(sum(md5_number_upper(line)), 0)
            FROM (SELECT t::VARCHAR AS line FROM {name} t)"""
        ).fetchone()
        digest.update(f"{name}:{row}\n".encode())
    return digest.hexdigest()


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _define_dates(connection: duckdb.DuckDBPyConnection, profile: Profile) -> None:
    """Define the macros that read a date or moment as written, by the profile's time zone."""
    if profile.time_zone == "as-written":
        moment = "TRY_CAST(substr(x, 1, 19) AS TIMESTAMP)"
        day = "TRY_CAST(substr(x, 1, 10) AS DATE)"
    else:
        connection.execute(f"SET TimeZone = '{profile.time_zone}'")
        moment = f"TRY_CAST(x AS TIMESTAMPTZ) AT TIME ZONE '{profile.time_zone}'"
        day = f"CASE WHEN length(x) > 10 THEN CAST({moment} AS DATE) ELSE TRY_CAST(x AS DATE) END"
    connection.execute(f"CREATE TEMP MACRO moment_of(x) AS CASE WHEN length(x) > 10 THEN {moment} END")
    connection.execute(
        f"""CREATE TEMP MACRO day_of(x) AS CASE
            WHEN regexp_matches(x, '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ]|$)') THEN {day}
            WHEN regexp_full_match(x, '[0-9]{{4}}') THEN TRY_CAST(x || '-01-01' AS DATE)
            WHEN regexp_full_match(x, '[0-9]{{4}}-[0-9]{{2}}') THEN TRY_CAST(x || '-01' AS DATE) END"""
    )
    connection.execute("CREATE TEMP MACRO partial(x) AS length(x) < 10")


def _set_extract_date(connection: duckdb.DuckDBPyConnection, profile: Profile) -> date:
    """The last day the extract can speak of: declared, else newest update, else newest event up to today."""
    found = profile.extract_date
    if found is None:
        row = connection.execute(sql.NEWEST).fetchone()
        found = (row[0] if row else None) or datetime.now(UTC).date()
    connection.execute(
        "CREATE TEMP TABLE bounds AS SELECT ?::DATE AS earliest, ?::DATE AS latest",
        [profile.earliest_date, found],
    )
    return found


def _observation_periods(connection: duckdb.DuckDBPyConnection, profile: Profile) -> None:
    rule = profile.observation_period
    if profile.death.without_date == "last-event":
        connection.execute(sql.DEATH_AT_LAST_EVENT)
    start = "first_event" if rule.start == "first-event" else "first_visit"
    end = {"last-event": "last_event", "last-encounter": "last_visit", "extract-date": "latest"}[rule.end]
    connection.execute(sql.OBSERVATION_PERIOD.format(start=start, end=end))


def _why(connection: duckdb.DuckDBPyConnection) -> str:
    rows = connection.execute(
        "SELECT reason, count(*) FROM person_row GROUP BY ALL ORDER BY 2 DESC, 1 LIMIT 3"
    ).fetchall()
    return "; ".join(f"{reason}: {count}" for reason, count in rows) or "no patient record was found"


def _inputs(connection: duckdb.DuckDBPyConnection) -> tuple[InputReport, ...]:
    reports = []
    for origin, rows, loaded, duplicates in connection.execute(sql.INPUTS).fetchall():
        reasons = connection.execute(
            """SELECT reason, count(*) FROM disposition WHERE origin = ? AND reason IS NOT NULL AND NOT
            duplicate GROUP BY reason ORDER BY reason""",
            [origin],
        ).fetchall()
        reports.append(
            InputReport(
                name=origin, rows_in=rows, loaded=loaded, duplicates=duplicates, rejected=dict(reasons)
            )
        )
    return tuple(reports)


def _table(connection: duckdb.DuckDBPyConnection, name: str) -> TableReport:
    column = CONCEPT_COLUMN.get(name)
    rows = _number(connection, f"SELECT count(*) FROM {name}")
    unmapped = _number(connection, f"SELECT count(*) FROM {name} WHERE {column} = 0") if column else 0
    return TableReport(name=name, rows=rows, mapped=rows - unmapped, unmapped=unmapped)


def _unmapped(connection: duckdb.DuckDBPyConnection) -> tuple[tuple[UnmappedCode, ...], int]:
    """The most frequent codes without a standard concept, from ``unmapped_row``, and how many there are."""
    total = _number(connection, "SELECT count(*) FROM unmapped_row")
    rows = connection.execute(
        """SELECT tab, vocabulary_id, code, n FROM unmapped_row
        ORDER BY n DESC, tab, vocabulary_id, code LIMIT ?""",
        [TOP_UNMAPPED],
    ).fetchall()
    return tuple(UnmappedCode(table=t, vocabulary=v, code=c, count=n) for t, v, c, n in rows), total


def _write_source(
    connection: duckdb.DuckDBPyConnection,
    profile: Profile,
    kind: str,
    vocabulary_version: str,
    extract_date: date,
) -> None:
    connection.execute("DELETE FROM cdm_source")
    connection.execute(
        """INSERT INTO cdm_source BY NAME SELECT $1 AS cdm_source_name, $2 AS cdm_source_abbreviation,
        $3 AS cdm_holder, $4 AS source_description, $5 AS cdm_etl_reference, $6::DATE AS source_release_date,
        $7::DATE AS cdm_release_date, $8 AS cdm_version, $9::INTEGER AS cdm_version_concept_id,
        $10 AS vocabulary_version""",
        [
            profile.source.name,
            profile.source.abbreviation,
            profile.source.holder,
            profile.source.description or f"{kind} extract",
            software(),
            extract_date,
            datetime.now(UTC).date(),
            CDM_VERSION,
            CDM_VERSION_CONCEPT_ID,
            vocabulary_version,
        ],
    )
