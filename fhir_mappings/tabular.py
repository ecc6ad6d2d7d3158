"""Reading OMOP-shaped tables from CSV and Parquet files into typed relations.

A CSV is read as text first and converted column by column, so that a value that does not convert is found,
counted and named by column, never guessed at. Athena's exports (tab separated, unquoted, dates as
``YYYYMMDD``) and ordinary comma separated exports are both understood from the header line.
"""

# ruff: noqa: S608 -- statements are put together from table and column names of this package only

import codecs
import csv
import re
from pathlib import Path

import duckdb

from fhir_mappings.cdm_tables import TABLES, Field
from fhir_mappings.errors import SourceEncodingError, SourceFormatError, SourceMissing

_SUFFIXES = (".parquet", ".csv")
# UTF-32's first, since UTF-16's is the beginning of it.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8",
}
_LINE = re.compile(r"Line:?\s*(\d+)")


def find_table_files(folder: Path) -> dict[str, Path]:
    """Files of ``folder`` named after a table of the model, in any case, e.g. ``PERSON.csv``.

    Raises SourceMissing when the folder does not exist or holds no such file, SourceFormatError when one
    table has two files.
    """
    if not folder.is_dir():
        raise SourceMissing(
            f"{folder} is not a folder; give the folder that holds the tables as Parquet or CSV"
        )
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        table = file.stem.lower()
        if file.suffix.lower() not in _SUFFIXES or table not in TABLES:
            continue
        if table in found:
            raise SourceFormatError(
                f"{folder}: table {table} has two files, {found[table].name} and {file.name}; keep one"
            )
        found[table] = file
    if not found:
        raise SourceMissing(
            f"{folder} holds no file named after an OMOP table (person.parquet, PERSON.csv, ...)"
        )
    return found


def sql_text(value: str) -> str:
    """``value`` as an SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """``name`` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def check_encoding(file: Path, encoding: str = "utf-8") -> None:
    """Raise SourceEncodingError naming the line at which ``file`` stops being ``encoding``."""
    advice = "declare the encoding the file was written in, or export it again as UTF-8"
    if encoding.startswith(("utf-16", "utf-32")):  # line ends are not single bytes there
        number = 0
        try:
            with file.open(encoding=encoding, newline="") as text:
                for _ in text:
                    number += 1
        except UnicodeError:
            raise SourceEncodingError(f"{file.name} after line {number}: not {encoding}; {advice}") from None
        return
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                where = f"{file.name} line {number}: byte {error.start + 1} of the line"
                raise SourceEncodingError(f"{where} is not {encoding}; {advice}") from None


def check_marks(file: Path, encoding: str) -> None:
    """Raise SourceEncodingError when the first bytes of ``file`` show another Unicode encoding than ``encoding``.

    Single-byte encodings read any bytes, and would make of such a file column names that nobody wrote.
    """
    with file.open("rb") as stream:
        head = stream.read(4096)
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            found, why = name, f"it begins with the byte order mark of {name.upper()}"
            break
    else:
        if encoding.startswith(("utf-16", "utf-32")) or head.count(0) * 8 < max(len(head), 1):
            return
        found = "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
        why = "it is full of zero bytes, as UTF-16 is"
    if encoding not in (found, f"{found}-sig"):
        raise SourceEncodingError(
            f"{file.name}: declared {encoding}, but {why}; declare {found}, or export it again as UTF-8"
        )


def scan_csv(file: Path, delimiter: str | None = None, quote: str | None = None) -> str:
    """SQL table function that reads ``file`` (UTF-8) with every column as text and empty fields as NULL."""
    if delimiter is None:
        delimiter = "\t" if "\t" in header_line(file) else ","
    if quote is None:
        quote = "" if delimiter == "\t" else '"'
    return (
        f"read_csv({sql_text(str(file))}, header=true, all_varchar=true, auto_detect=false, nullstr='', "
        f"delim={sql_text(delimiter)}, quote={sql_text(quote)}, escape={sql_text(quote)}, strict_mode=true, "
        f"columns={_columns(file, delimiter, quote)})"
    )


def header_line(file: Path, encoding: str = "utf-8") -> str:
    """The first line of ``file`` without its line end."""
    try:
        with file.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as stream:
            return stream.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SourceEncodingError(f"{file.name} line 1: not {encoding}") from None


def header_names(file: Path, delimiter: str, quote: str, encoding: str = "utf-8") -> list[str]:
    """Column names of the header line; SourceFormatError when one is empty or twice there."""
    line = header_line(file, encoding)
    fields = (
        next(csv.reader([line], delimiter=delimiter, quotechar=quote)) if quote else line.split(delimiter)
    )
    names = [name.strip() for name in fields]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled or "" in names:
        raise SourceFormatError(f"{file.name}: header names an empty or repeated column {doubled or ['']}")
    return names


def _columns(file: Path, delimiter: str, quote: str) -> str:
    pairs = (f"{sql_text(name)}: 'VARCHAR'" for name in header_names(file, delimiter, quote))
    return "{" + ", ".join(pairs) + "}"


def scan(file: Path) -> str:
    """SQL table function reading a Parquet or CSV file."""
    if file.suffix.lower() == ".parquet":
        return f"read_parquet({sql_text(str(file))})"
    check_encoding(file)
    return scan_csv(file)


def columns_of(connection: duckdb.DuckDBPyConnection, file: Path, source: str) -> dict[str, tuple[str, str]]:
    """Lower-cased column name -> (name in the file, SQL type)."""
    try:
        rows = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    except duckdb.Error as error:
        raise unreadable(file, error) from None
    return {name.lower(): (name, kind) for name, kind, *_ in rows}


def unreadable(file: Path, error: duckdb.Error) -> SourceFormatError:
    """The error restated without the file's content, which DuckDB would quote."""
    line = _LINE.search(str(error))
    where = f"{file.name} line {line.group(1)}" if line else file.name
    kind = "CSV" if file.suffix.lower() == ".csv" else "Parquet"
    return SourceFormatError(
        f"{where}: not readable as {kind} (columns, quoting or truncation); export it again"
    )


def convert(field: Field, column: str, sql_type: str) -> str:
    """SQL that turns ``column`` into the field's type, NULL where it does not convert."""
    if field.kind == "text":
        return f"CAST({column} AS VARCHAR)"
    if sql_type != "VARCHAR":
        return f"TRY_CAST({column} AS {field.sql_type})"
    if field.kind in ("id", "concept", "int"):
        whole = f"regexp_extract(trim({column}), '^([+-]?[0-9]+)(\\.0*)?$', 1)"
        return f"TRY_CAST(nullif({whole}, '') AS {field.sql_type})"
    if field.kind == "date":
        day = f"TRY_CAST(TRY_CAST({column} AS TIMESTAMP) AS DATE)"
        return f"coalesce({day}, CAST(try_strptime({column}, '%Y%m%d') AS DATE))"
    return f"TRY_CAST({column} AS {field.sql_type})"
