"""Identifiers of persons, in a table of the hospital's own database that nothing but tokens is ever made of.

They come from a CSV file beside the extract: a column ``person_id`` or ``person_source_value`` that says whose they are, and
columns named as `governance.linkage.Identifier`. They are normalised as they are loaded, and kept in no other form.
"""

# ruff: noqa: S608 -- statements are put together from names of `Identifier` only

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from ibis.backends.duckdb import Backend
from numpy.typing import NDArray

from fhir_mappings.cdm import OFFLINE
from fhir_mappings.report import LoadReport
from governance.linkage import NORMALISATION, Identifier, normalised
from site_connector.errors import LinkageRefused

TABLE = f"person_identifier_{NORMALISATION}"
"""Of the rules by which its identifiers were written: a table of other rules is not read."""
WHOSE = ("person_id", "person_source_value")


def add_identifiers(database: Path, file: Path, report: LoadReport) -> LoadReport:
    """Write the table into a database that was just loaded; the report with what came of it, and another digest.

    Raises:
        LinkageRefused: the file is no such table, names a person twice, or names nobody of the extract. Nothing is written.
    """
    whose, kinds, rows = _read(file)
    with duckdb.connect(str(database), config=dict(OFFLINE)) as connection:
        matched = _matched(connection, whose, kinds, rows, file)
        connection.register("given_identifiers", matched)
        connection.execute(f"CREATE TABLE {TABLE} AS FROM given_identifiers ORDER BY person_id")
        connection.unregister("given_identifiers")
    notes = {f"linkage: persons with {kind}": _filled(matched, kind) for kind in kinds}
    notes["linkage: persons who share all their identifiers with another"] = _shared(matched, kinds)
    notes["linkage: rows of identifiers whose person was not loaded"] = len(rows) - matched.num_rows
    digest = hashlib.sha256(bytes.fromhex(report.snapshot))
    for line in sorted(zip(*(column.to_pylist() for column in matched.columns), strict=True)):
        digest.update(repr(line).encode())
    return report.model_copy(
        update={"snapshot": digest.hexdigest(), "notes": dict(sorted((report.notes | notes).items()))}
    )


def identifiers_of(
    connection: Backend, persons: NDArray[np.int64], kinds: Sequence[Identifier]
) -> list[Mapping[str, str]]:
    """The identifiers of each person, empty texts where the hospital has none.

    Raises:
        LinkageRefused: none were loaded, or not these; names them.
    """
    names = {name.lower() for name in connection.list_tables()}
    known = set(connection.table(TABLE).columns) if TABLE in names else set()
    missing = [kind.value for kind in kinds if kind.value not in known]
    if missing:
        raise LinkageRefused(
            f"no {' and '.join(missing)} of persons was loaded here; load again with `tessera site load ... --identifiers "
            "FILE`"
        )
    listed = ", ".join(kind.value for kind in kinds)
    rows = connection.con.execute(f"SELECT person_id, {listed} FROM {TABLE}").fetchall()
    found = {row[0]: dict(zip(kinds, row[1:], strict=True)) for row in rows}
    nobody = dict.fromkeys(kinds, "")
    return [{kind.value: text for kind, text in found.get(int(one), nobody).items()} for one in persons]


def _read(file: Path) -> tuple[str, list[Identifier], list[tuple[str, ...]]]:
    """Whose they are by, which identifiers, and the rows: person, then the normalised identifiers."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            whose, kinds = _columns(file, header)
            places = [header.index(kind) for kind in kinds]
            return whose, kinds, list(_rows(file, reader, header.index(whose), kinds, places))
    except UnicodeDecodeError as error:
        raise LinkageRefused(f"{file.name} is not UTF-8; export it again as UTF-8") from error
    except OSError as error:
        raise LinkageRefused(f"{file}: cannot be read: {error.strerror}") from error
    except csv.Error as error:
        raise LinkageRefused(f"{file.name} is no table of comma-separated values") from error


def _columns(file: Path, header: Sequence[str]) -> tuple[str, list[Identifier]]:
    known = [kind.value for kind in Identifier]
    whose = [name for name in header if name in WHOSE]
    foreign = [name for name in header if name not in known and name not in WHOSE]
    if len(whose) != 1 or foreign or len(set(header)) != len(header) or len(header) < 2:
        # What is no such name may be the first person of a file without a header.
        named = ", ".join(name for name in header if name not in foreign) or "none"
        raise LinkageRefused(
            f"{file.name}: expected in its first line one of {' and '.join(WHOSE)}, and each once any of {', '.join(known)}; "
            f"found of these {named}, and {len(foreign)} others"
        )
    return whose[0], [Identifier(name) for name in header if name in known]


def _rows(
    file: Path,
    reader: Iterable[Sequence[str]],
    person: int,
    kinds: Sequence[Identifier],
    places: Sequence[int],
) -> Iterable[tuple[str, ...]]:
    width = 1 + len(kinds)
    for number, row in enumerate(reader, 2):
        if not row:
            continue
        if len(row) != width:
            raise LinkageRefused(f"{file.name}, record {number}: {len(row)} values for {width} columns")
        if any("\n" in value or "\r" in value for value in row):
            raise LinkageRefused(
                f"{file.name}, record {number}: a line ends inside a value; a quotation mark is missing"
            )
        given = (normalised(kind, row[place]) for kind, place in zip(kinds, places, strict=True))
        yield row[person].strip(), *given


def _matched(
    connection: duckdb.DuckDBPyConnection,
    whose: str,
    kinds: Sequence[Identifier],
    rows: Sequence[tuple[str, ...]],
    file: Path,
) -> pa.Table:
    """The rows of loaded persons: person_id and the identifiers."""
    people = connection.execute(
        f"SELECT trim(CAST({whose} AS VARCHAR)), person_id FROM person WHERE {whose} IS NOT NULL"
    ).fetchall()
    known = dict(people)
    if len(known) < len(people):
        raise LinkageRefused(
            f"{file.name}: several loaded persons have one {whose}; say by person_id whose identifiers they are"
        )
    found = [(known[row[0]], *row[1:]) for row in rows if row[0] in known]
    repeated = len(found) - len({row[0] for row in found})
    if repeated:
        raise LinkageRefused(
            f"{file.name}: {repeated} persons stand in it more than once; give each person one row"
        )
    if not found:
        kept = "" if whose == "person_id" else "; the profile's keep_source_ids decides whether they are kept"
        raise LinkageRefused(f"{file.name}: no {whose} in it is that of a loaded person{kept}")
    columns = list(zip(*found, strict=True))
    types = [pa.int64(), *[pa.string()] * len(kinds)]
    arrays = [pa.array(values, type=kind) for values, kind in zip(columns, types, strict=True)]
    return pa.Table.from_arrays(arrays, names=["person_id", *(kind.value for kind in kinds)])


def _shared(table: pa.Table, kinds: Sequence[Identifier]) -> int:
    """Persons who would count as one with another of this hospital."""
    found = Counter(zip(*(table[kind.value].to_pylist() for kind in kinds), strict=True))
    return sum(count for texts, count in found.items() if count > 1 and all(texts))


def _filled(table: pa.Table, kind: Identifier) -> int:
    return sum(bool(text) for text in table[kind.value].to_pylist())
