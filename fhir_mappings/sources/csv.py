"""Flat CSV files and a mapping file to the common model."""

# ruff: noqa: S608 -- statements are put together from checked column names and quoted constants

import difflib
import tempfile
import time
from pathlib import Path

import duckdb

from fhir_mappings.assemble import assemble
from fhir_mappings.errors import ProfileError, SourceEncodingError, SourceMissing
from fhir_mappings.profile import Profile
from fhir_mappings.report import LoadReport
from fhir_mappings.sources.csv_concepts import DOMAINS, check_concepts
from fhir_mappings.sources.csv_mapping import (
    Cell,
    Code,
    DeathRow,
    EventRow,
    File,
    Mapping,
    PersonRow,
    VisitRow,
    When,
)
from fhir_mappings.staging import create_stages
from fhir_mappings.store import replacing
from fhir_mappings.tabular import (
    check_encoding,
    check_marks,
    header_names,
    identifier,
    scan_csv,
    sql_text,
    unreadable,
)
from fhir_mappings.vocabulary import load_vocabulary

HOMES = {
    "condition_occurrence": "Condition",
    "drug_exposure": "Drug",
    "procedure_occurrence": "Procedure",
    "measurement": "Measurement",
    "observation": "Observation",
    "device_exposure": "Device",
}


def load_csv(
    folder: Path, database: Path, vocabulary: Path | None, profile: Profile, mapping: Mapping | Path
) -> LoadReport:
    """Map the CSV files of ``folder`` by ``mapping`` into a new database that replaces ``database`` at the end.

    Raises ProfileError when the mapping does not fit the files (missing column, no date readable), VocabularyError
    when it names a vocabulary, concept or code that is not there, SourceMissing, SourceEncodingError or
    SourceFormatError for the files, NothingMapped, LoadFailed. Whatever is raised, ``database`` keeps its previous content.
    """
    started = time.monotonic()
    mapping = mapping if isinstance(mapping, Mapping) else Mapping.load(Path(mapping))
    for file in mapping.files:
        _check_columns(folder, file)
    with replacing(Path(database)) as connection, tempfile.TemporaryDirectory(prefix="csv-") as scratch:
        release = load_vocabulary(connection, vocabulary)
        create_stages(connection)
        check_concepts(connection, mapping, loaded=vocabulary is not None)
        notes: dict[str, int] = {}
        for number, file in enumerate(mapping.files):
            reader = _FileReader(connection, folder, file, number, Path(scratch))
            notes |= reader.stage()
        given = vocabulary is not None
        return assemble(
            connection,
            "CSV",
            profile,
            release,
            vocabulary=given,
            ignored={},
            notes=notes,
            started=started,
        )


# -- checks before anything is read


def _check_columns(folder: Path, file: File) -> None:
    path = folder / file.path
    if not path.is_file():
        raise SourceMissing(f"{path} does not exist, but the mapping names it")
    _check_text(path, file.encoding)
    names = header_names(path, file.delimiter, file.quote, file.encoding)
    for column, where in _columns_used(file):
        if column not in names:
            near = difflib.get_close_matches(column, names, 1, 0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(names)}"
            raise ProfileError(f"{file.path}: no column {column!r}, which {where} names{hint}")


def _check_text(path: Path, encoding: str) -> None:
    check_marks(path, encoding)
    check_encoding(path, encoding)
    if encoding not in ("iso8859-1", "cp1252", "iso8859-15"):
        return
    data = path.read_bytes()
    if data.isascii():
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return
    raise SourceEncodingError(f"{path.name}: declared {encoding}, but its bytes are UTF-8; declare utf-8")


def _columns_used(file: File) -> list[tuple[str, str]]:
    """Every column the mapping names for ``file``, with the place that names it."""
    used = [(when.column, "where") for when in file.where]
    if file.key:
        used.append((file.key, "key"))
    for index, row in enumerate(file.rows):
        place = f"rows[{index}] ({row.table})"
        used += [(row.person, f"{place} person")] + [(when.column, f"{place} when") for when in row.when]
        for name in type(row).model_fields:
            entry = getattr(row, name)
            if isinstance(entry, Cell) and entry.column:
                used.append((entry.column, f"{place} {name}"))
            if isinstance(entry, Code) and entry.vocabulary_column:
                used.append((entry.vocabulary_column, f"{place} {name}.vocabulary_column"))
        visit = getattr(row, "visit", None)
        used += [(visit, f"{place} visit")] if visit else []
    return used


# -- staging


class _FileReader:
    """Stages one file. Values are trimmed text, NULL where the file's ``missing`` says so."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, folder: Path, file: File, number: int, scratch: Path
    ) -> None:
        self._connection = connection
        self._file = file
        self._path = folder / file.path
        self._table = f"csv_{number}"
        self._scratch = scratch

    def stage(self) -> dict[str, int]:
        """Stage every row of the mapping; returns notes."""
        names = header_names(self._path, self._file.delimiter, self._file.quote, self._file.encoding)
        missing = ", ".join(sql_text(token) for token in self._file.missing) or "''"
        cleaned = ", ".join(
            f"CASE WHEN trim({c}) IN ({missing}) THEN NULL ELSE trim({c}) END AS {c}"
            for c in map(identifier, names)
        )
        source = scan_csv(self._utf8(), self._file.delimiter, self._file.quote)
        try:
            self._connection.execute(
                f"CREATE TEMP TABLE {self._table} AS SELECT row_number() OVER () AS __line, {cleaned} FROM {source}"
            )
        except duckdb.Error as error:
            raise unreadable(self._path, error) from None
        total = self._count("true")
        kept = self._condition(self._file.where)
        for index, row in enumerate(self._file.rows):
            self._stage_row(index, row, f"{kept} AND {self._condition(row.when)}")
        left_out = total - self._count(kept)
        return {f"{self._file.path}: rows left out by where": left_out} if left_out else {}

    def _utf8(self) -> Path:
        """The file, or a copy of it in UTF-8."""
        if self._file.encoding in ("utf-8", "ascii"):
            return self._path
        copy = self._scratch / f"{self._table}.csv"
        with (
            self._path.open(encoding=self._file.encoding, newline="") as source,
            copy.open("w", encoding="utf-8", newline="") as target,
        ):
            for block in iter(lambda: source.read(1 << 20), ""):
                target.write(block)
        return copy

    def _count(self, condition: str) -> int:
        row = self._connection.execute(f"SELECT count(*) FROM {self._table} WHERE {condition}").fetchone()
        return int(row[0]) if row else 0

    def _condition(self, conditions: tuple[When, ...]) -> str:
        parts = ["true"]
        for when in conditions:
            column = identifier(when.column)
            if when.present is not None:
                parts.append(f"{column} IS {'NOT ' if when.present else ''}NULL")
            elif when.none_of is not None:
                parts.append(f"coalesce({column} NOT IN ({_texts(when.none_of)}), true)")
            else:
                wanted = when.one_of if when.one_of is not None else (when.equals or "",)
                parts.append(f"coalesce({column} IN ({_texts(wanted)}), false)")
        return " AND ".join(parts)

    def _stage_row(self, index: int, row: PersonRow | DeathRow | VisitRow | EventRow, condition: str) -> None:
        same = sum(other.table == row.table for other in self._file.rows) > 1
        origin = f"{self._file.path}: {row.table}" + (f" [{index}]" if same else "")
        columns = {"seq": "__seq", **self._fields(row)}
        key = {"person": identifier(row.person), "visit_occurrence": columns.get("id")}.get(
            row.table
        ) or self._key()
        self._connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE csv_row AS
            SELECT (SELECT count(*) FROM stage_resource) + row_number() OVER (ORDER BY __line) AS __seq, *
            FROM {self._table} WHERE {condition}"""
        )
        self._connection.execute(
            f"""INSERT INTO stage_resource BY NAME SELECT __seq AS seq, {sql_text(origin)} AS origin, {key} AS id,
            CASE WHEN {identifier(row.person)} IS NULL THEN 'no person key' END AS reason FROM csv_row"""
        )
        joins = "".join(
            self._stage_codes(code, row.table, name, alias)
            for name, alias in _CODED
            if (code := getattr(row, name, None))
        )
        body = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
        stage = {"person": "person", "death": "death", "visit_occurrence": "visit"}.get(row.table, "event")
        self._connection.execute(f"INSERT INTO stage_{stage} BY NAME SELECT {body} FROM csv_row r {joins}")

    def _key(self) -> str:
        if self._file.key:
            return identifier(self._file.key)
        return "NULL" if self._file.repeated_rows == "each" else f"md5(to_json({self._row_struct()}))"

    def _row_struct(self) -> str:
        names = header_names(self._path, self._file.delimiter, self._file.quote, self._file.encoding)
        return "[" + ", ".join(map(identifier, names)) + "]"

    # -- one mapped row as SQL columns

    def _fields(self, row: PersonRow | DeathRow | VisitRow | EventRow) -> dict[str, str]:
        if isinstance(row, PersonRow):
            return self._person(row)
        person = identifier(row.person)
        if isinstance(row, DeathRow):
            return {"person": person, "moment": self._date(row.date, row.table, "date")}
        if isinstance(row, VisitRow):
            kind = _concept(row.kind, "kind")
            return {
                "id": identifier(row.visit),
                "person": person,
                "concept": f"coalesce({kind}, 0)",
                "source": _raw(row.kind),
                "start": self._date(row.start, row.table, "start"),
                "finish": self._date(row.end, row.table, "end"),
                "ongoing": "false",
            }
        return self._event(row, person)

    def _person(self, row: PersonRow) -> dict[str, str]:
        fields = {"id": identifier(row.person), "birth": self._date(row.birth, "person", "birth")}
        for name in ("gender", "race", "ethnicity"):
            cell = getattr(row, name)
            fields[name] = f"coalesce({_concept(cell, name)}, 0)" if cell else "0"
            fields[f"{name}_source"] = _raw(cell)
        return fields

    def _event(self, row: EventRow, person: str) -> dict[str, str]:
        return {
            "part": "0",
            "person": person,
            "visit": identifier(row.visit) if row.visit else "NULL",
            "code": 'code_key."#key"',
            "value": 'value_key."#key"' if row.value else "NULL",
            "unit": 'unit_key."#key"' if row.unit else "NULL",
            "home": sql_text(HOMES[row.table]),
            "fixed": str(row.keep_table).lower(),
            "type": str(row.type_concept_id),
            "start": self._date(row.start, row.table, "start"),
            "finish": self._date(row.end, row.table, "end"),
            "number": self._number(row.number),
            "text": f"CASE WHEN {self._number(row.number)} IS NULL THEN {_mapped(row.text)} END",
            "quantity": self._number(row.quantity),
            "days": f"TRY_CAST({self._number(row.days_supply)} AS INTEGER)",
            "refills": f"TRY_CAST({self._number(row.refills)} AS INTEGER)",
            "stop": _mapped(row.stop_reason),
        }

    def _number(self, cell: Cell | None) -> str:
        text = _mapped(cell)
        if self._file.decimal == ",":
            text = f"replace(replace({text}, '.', ''), ',', '.')"
        return f"TRY_CAST({text} AS DOUBLE)"

    def _date(self, cell: Cell | None, table: str, field: str) -> str:
        """ISO text of a date by the file's formats; what fits none stays as written and is rejected by row."""
        if cell is None:
            return "NULL"
        text = _mapped(cell)
        formats = "[" + ", ".join(sql_text(entry) for entry in self._file.dates) + "]"
        parsed = f"try_strptime({text}, {formats})"
        row = self._connection.execute(f"SELECT count({text}), count({parsed}) FROM {self._table}").fetchone()
        written, read = row if row else (0, 0)
        if written and not read:
            raise ProfileError(
                f"{self._file.path}: {table}.{field}: none of the {written} values of column {cell.column!r} "
                f"is a date by {list(self._file.dates)}; correct dates in the mapping"
            )
        iso = f"strftime({parsed}, '%Y-%m-%dT%H:%M:%S')"
        return f"coalesce(CASE WHEN {iso} LIKE '%T00:00:00' THEN {iso}[:10] ELSE {iso} END, {text})"

    def _stage_codes(self, code: Code, filled: str, name: str, alias: str) -> str:
        """Add the distinct codes of a field of table ``filled`` to ``stage_code``; returns the join that gives each row
        its key."""
        home = {"value": "Value", "unit": "Unit"}.get(name, HOMES[filled])
        text, vocabulary = _raw(code), _vocabulary(code)
        given = _lookup(code.map, text, "INTEGER")
        table = f"{alias}_codes"
        self._connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE {table} AS
            SELECT (SELECT count(*) FROM stage_code)
              + row_number() OVER (ORDER BY "#code", "#vocabulary") - 1 AS "#key", *
            FROM (SELECT DISTINCT {text} AS "#code", {vocabulary} AS "#vocabulary", {given} AS "#given"
                  FROM csv_row WHERE {text} IS NOT NULL)"""
        )
        self._connection.execute(
            f"""INSERT INTO stage_code BY NAME SELECT "#key" AS key, {sql_text(home)} AS home, 0 AS pos,
            "#vocabulary" AS vocabulary_id, '(own code)' AS system, "#code" AS code, false AS chosen,
            nullif("#given", 0) AS concept_id FROM {table}"""
        )
        return (
            f' LEFT JOIN {table} {alias} ON {alias}."#code" = {text}'
            f' AND {alias}."#vocabulary" IS NOT DISTINCT FROM {vocabulary}'
        )


_CODED = (("concept", "code_key"), ("value", "value_key"), ("unit", "unit_key"))


def _texts(values: tuple[str, ...]) -> str:
    return ", ".join(sql_text(value) for value in values) or "NULL"


def _raw(cell: Cell | None) -> str:
    """The value as written."""
    if cell is None:
        return "NULL::VARCHAR"
    return identifier(cell.column) if cell.column else sql_text(str(cell.constant))


def _mapped(cell: Cell | None) -> str:
    """The value after ``map``; values the map does not name are NULL."""
    if cell is None or not cell.map:
        return _raw(cell)
    return _lookup(cell.map, _raw(cell), "VARCHAR")


def _concept(cell: Cell, field: str) -> str:
    """The concept id of a field; one that a column gives counts only where it is a standard concept of the domain."""
    if not cell.column or cell.map:
        return f"TRY_CAST({_mapped(cell)} AS INTEGER)"
    return f"""(SELECT known.concept_id FROM concept known WHERE known.standard_concept = 'S'
        AND known.domain_id = {sql_text(DOMAINS[field])}
        AND known.concept_id = TRY_CAST(r.{identifier(cell.column)} AS INTEGER))"""


def _lookup(entries: dict[str, str | int] | dict[str, int] | dict[str, str], text: str, kind: str) -> str:
    if not entries:
        return f"NULL::{kind}"
    cases = " ".join(f"WHEN {sql_text(key)} THEN {sql_text(str(value))}" for key, value in entries.items())
    return f"CAST(CASE {text} {cases} END AS {kind})"


def _vocabulary(code: Code) -> str:
    if code.vocabulary:
        return sql_text(code.vocabulary)
    if code.vocabulary_column:
        column = identifier(code.vocabulary_column)
        return _lookup(code.vocabularies, column, "VARCHAR") if code.vocabularies else column
    return "NULL::VARCHAR"
