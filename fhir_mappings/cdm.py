"""The common model in DuckDB: create it, connect to it, open a folder of its tables.

DuckDB is never allowed to fetch an extension: a hospital's machine may have no way out, and should not need one.
"""

# ruff: noqa: S608 -- statements are put together from table and column names of this package only

from pathlib import Path

import duckdb
import ibis
from ibis.backends.duckdb import Backend

from fhir_mappings.cdm_tables import TABLES, Table
from fhir_mappings.errors import ModelError, SourceFormatError, SourceMissing
from fhir_mappings.tabular import columns_of, convert, find_table_files, identifier, scan, unreadable

CDM_VERSION = "5.4"
CDM_VERSION_CONCEPT_ID = 756265
OFFLINE = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}


def create(path: Path | str) -> duckdb.DuckDBPyConnection:
    """Create every table of the model in a new DuckDB file and return a read-write connection to it.

    ``path`` may be ``":memory:"``. Raises ModelError when the file already exists.
    """
    if str(path) != ":memory:" and Path(path).exists():
        raise ModelError(f"{path} already exists; the model is only ever created in a new file")
    connection = duckdb.connect(str(path), config=dict(OFFLINE))
    connection.execute("SET enable_progress_bar = false")
    create_tables(connection)
    return connection


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the model's tables in an open, empty database."""
    for table in TABLES.values():
        connection.execute(table.ddl)


def connect(path: Path | str, read_only: bool = True) -> Backend:
    """Open an existing database of the model as an Ibis backend.

    Raises SourceMissing when the file is not there, ModelError when it is not DuckDB or lacks clinical tables.
    """
    if not Path(path).is_file():
        raise SourceMissing(f"{path} does not exist; load an extract first")
    try:
        backend = ibis.duckdb.connect(str(path), read_only=read_only, **OFFLINE)
    except duckdb.IOException as error:
        locked = "Could not set lock" in str(error)
        reason = (
            "is in use by another process" if locked else "is not a DuckDB database this version can read"
        )
        raise ModelError(f"{path} {reason}") from None
    backend.con.execute("SET enable_progress_bar = false")
    missing = {"person", "observation_period", "concept"} - set(backend.list_tables())
    if missing:
        backend.disconnect()
        raise ModelError(f"{path} lacks the tables {sorted(missing)}; it does not hold the common model")
    return backend


def open_folder(folder: Path | str) -> Backend:
    """Open a folder of OMOP tables (Parquet or CSV, names in any case) as typed tables in memory.

    Every table of the model is there afterwards, empty where the folder has no file for it. Columns the
    model does not know are left out, optional columns the file lacks are NULL. Strict: a required column
    that is absent or empty, or a value that does not convert, raises SourceFormatError naming file, column
    and number of rows.
    """
    files = find_table_files(Path(folder))
    if "person" not in files:
        raise SourceMissing(f"{folder} holds no person table (person.parquet or PERSON.csv)")
    backend = ibis.duckdb.connect(":memory:", **OFFLINE)
    backend.con.execute("SET enable_progress_bar = false")
    create_tables(backend.con)
    for name, file in files.items():
        fill(backend.con, TABLES[name], file)
    return backend


def open_omop(path: Path | str) -> Backend:
    """Open a DuckDB file of the model (read-only) or a folder of its tables."""
    return open_folder(path) if Path(path).is_dir() else connect(path, read_only=True)


def fill(connection: duckdb.DuckDBPyConnection, table: Table, file: Path) -> None:
    """Insert a file's rows into ``table``; SourceFormatError when a required value is missing or one is wrong."""
    source = scan(file)
    present = columns_of(connection, file, source)
    absent = [name for name in table.required if name not in present]
    if absent:
        raise SourceFormatError(f"{file.name}: table {table.name} lacks the required columns {absent}")
    fields = [field for field in table.fields if field.name in present]
    _check_values(connection, table, file, source, present)
    values = ", ".join(convert(f, identifier(present[f.name][0]), present[f.name][1]) for f in fields)
    names = ", ".join(field.name for field in fields)
    try:
        connection.execute(f"INSERT INTO {table.name} ({names}) SELECT {values} FROM {source}")
    except duckdb.Error as error:
        raise unreadable(file, error) from None


def _check_values(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    file: Path,
    source: str,
    present: dict[str, tuple[str, str]],
) -> None:
    """Refuse the file when a required value is missing or any value does not convert."""
    checks = {}
    for field in (field for field in table.fields if field.name in present):
        column, sql_type = identifier(present[field.name][0]), present[field.name][1]
        lost = f"{convert(field, column, sql_type)} IS NULL"
        condition = lost if field.required else f"{column} IS NOT NULL AND {lost}"
        checks[field.name] = f"count(*) FILTER (WHERE {condition})"
    try:
        query = f"SELECT {', '.join(checks.values())} FROM {source}"
        row = connection.execute(query).fetchone()
    except duckdb.Error as error:
        raise unreadable(file, error) from None
    bad = {name: count for name, count in zip(checks, row or (), strict=True) if count}
    if bad:
        listed = ", ".join(f"{name} ({count} rows)" for name, count in bad.items())
        raise SourceFormatError(f"{file.name}: missing or unconvertible values in {listed}")
