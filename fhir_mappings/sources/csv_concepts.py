"""Every vocabulary, concept id and constant code a CSV mapping names must be there: checked before a row is read."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from fhir_mappings.errors import ProfileError, VocabularyError
from fhir_mappings.sources.csv_mapping import Cell, Code, EventRow, Mapping
from fhir_mappings.vocabulary import resolve_codes

DOMAINS = {
    "gender": "Gender",
    "race": "Race",
    "ethnicity": "Ethnicity",
    "kind": "Visit",
    "unit": "Unit",
    "type_concept_id": "Type Concept",
}
"""Field -> the only domain its concepts may be of; ``concept`` and ``value`` may be of any."""

MOST_LISTED = 10


@dataclass(frozen=True)
class _Field:
    """A field of a mapped row that names concepts; ``place`` is how a message names it."""

    place: str
    name: str
    cell: Cell


@dataclass(frozen=True)
class _Named:
    """A concept id as the mapping gives it, with the words that introduce it in a message."""

    said: str
    given: str | int | float
    domain: str | None


def check_concepts(connection: duckdb.DuckDBPyConnection, mapping: Mapping, loaded: bool) -> None:
    """Add the mapping's own concepts, then check all it names. ``loaded``: whether the site gave a vocabulary.

    The stages must be there and empty, and are so again afterwards. Raises ProfileError when concepts of the
    site's own collide, VocabularyError naming every place at fault.
    """
    _add_own(connection, mapping)
    fields = list(_fields(mapping))
    advice = (
        "correct the mapping, or give an Athena export that has them with --vocabulary"
        if loaded
        else "no vocabulary was loaded: give an Athena export with --vocabulary, or correct the mapping"
    )
    _check_vocabularies(connection, fields, advice)
    faults = [*_wrong_ids(connection, mapping, fields), *_unresolved(connection, fields)]
    if faults:
        raise VocabularyError(
            f"the mapping names concepts that cannot be used: {_listed(faults)}; {advice}; write 0 where a "
            "value is to stay without a concept"
        )


def _add_own(connection: duckdb.DuckDBPyConnection, mapping: Mapping) -> None:
    counts = Counter(local.concept_id for local in mapping.concepts)
    if twice := [str(concept) for concept, count in counts.items() if count > 1]:
        raise ProfileError(
            f"concepts: {', '.join(twice)} declared more than once; give each an id of its own"
        )
    if taken := sorted(_known(connection, list(counts))):
        raise ProfileError(
            f"concepts: the loaded vocabulary already has {', '.join(map(str, taken))}; choose other ids from "
            "2000000000 on, or leave out what the vocabulary has"
        )
    for local in mapping.concepts:
        connection.execute(
            """INSERT INTO concept BY NAME SELECT ? AS concept_id, ? AS concept_name, ? AS domain_id,
            'Local' AS vocabulary_id, 'Local' AS concept_class_id, 'S' AS standard_concept, ? AS concept_code,
            DATE '1970-01-01' AS valid_start_date, DATE '2099-12-31' AS valid_end_date""",
            [local.concept_id, local.name, local.domain, local.code],
        )


def _fields(mapping: Mapping) -> Iterator[_Field]:
    for file in mapping.files:
        for index, row in enumerate(file.rows):
            for name in type(row).model_fields:
                cell = getattr(row, name)
                if isinstance(cell, Code) or (isinstance(cell, Cell) and name in DOMAINS):
                    yield _Field(f"{file.path}: rows[{index}] ({row.table}) {name}", name, cell)


def _known(connection: duckdb.DuckDBPyConnection, ids: list[int]) -> dict[int, tuple[str, bool]]:
    """Those of ``ids`` that are concepts, with their domain and whether they are standard."""
    rows = connection.execute(
        """SELECT concept_id, domain_id, standard_concept = 'S' FROM concept
        WHERE concept_id IN (SELECT unnest(?::BIGINT[]))""",
        [ids],
    ).fetchall()
    return {concept: (domain, bool(standard)) for concept, domain, standard in rows}


def _check_vocabularies(connection: duckdb.DuckDBPyConnection, fields: list[_Field], advice: str) -> None:
    known = {row[0] for row in connection.execute("SELECT DISTINCT vocabulary_id FROM concept").fetchall()}
    faults = [
        f"{field.place} names {name!r}"
        for field in fields
        if isinstance(field.cell, Code)
        for name in (field.cell.vocabulary, *field.cell.vocabularies.values())
        if name and name not in known
    ]
    if faults:
        raise VocabularyError(
            f"the mapping names vocabularies that are not loaded: {_listed(faults)}; loaded are "
            f"{', '.join(sorted(known))}; {advice}"
        )


# -- concept ids


def _wrong_ids(
    connection: duckdb.DuckDBPyConnection, mapping: Mapping, fields: list[_Field]
) -> Iterator[str]:
    named = [*(one for field in fields for one in _ids(field)), *_types(mapping)]
    numbers = [_number(one.given) for one in named]
    known = _known(connection, [number for number in numbers if number is not None])
    for one, number in zip(named, numbers, strict=True):
        if number is None:
            yield f"{one.said} {one.given!r}, which is no concept id"
        elif number == 0:
            continue
        elif number not in known:
            yield f"{one.said} {number}, which the vocabulary does not have"
        elif not known[number][1]:
            yield f"{one.said} {number}, which is no standard concept"
        elif one.domain not in (None, known[number][0]):
            yield f"{one.said} {number}, which is of the domain {known[number][0]}, not {one.domain}"


def _ids(field: _Field) -> Iterator[_Named]:
    """The concept ids of a field; a constant is one itself unless it is a code or the map says what it means."""
    cell, domain = field.cell, DOMAINS.get(field.name)
    for written, meant in cell.map.items():
        yield _Named(f"{field.place}: {written!r} means", meant, domain)
    if cell.constant is not None and not cell.map and not isinstance(cell, Code):
        yield _Named(f"{field.place}: constant", cell.constant, domain)


def _types(mapping: Mapping) -> Iterator[_Named]:
    for file in mapping.files:
        for index, row in enumerate(file.rows):
            if isinstance(row, EventRow):
                place = f"{file.path}: rows[{index}] ({row.table}) type_concept_id"
                yield _Named(f"{place}:", row.type_concept_id, DOMAINS["type_concept_id"])


def _number(given: str | int | float) -> int | None:
    """A concept id as a number, None where it is none."""
    text = str(given)
    return int(text) if text.isascii() and text.isdigit() and int(text) < 2**31 else None


# -- constant codes


def _unresolved(connection: duckdb.DuckDBPyConnection, fields: list[_Field]) -> Iterator[str]:
    coded: list[tuple[_Field, str, str]] = []
    for field in fields:
        code = str(field.cell.constant)
        if field.cell.constant is None or code in field.cell.map:
            continue
        if isinstance(field.cell, Code) and field.cell.vocabulary:
            coded.append((field, field.cell.vocabulary, code))
        elif field.cell.map:
            yield f"{field.place}: constant {code!r}, which its map does not name"
    for (field, vocabulary, code), (source, concept) in zip(
        coded, _resolved(connection, [(vocabulary, code) for _, vocabulary, code in coded]), strict=True
    ):
        if not source:
            yield f"{field.place}: constant {code!r}, which is no code of the vocabulary {vocabulary!r}"
        elif not concept:
            yield f"{field.place}: constant {code!r} of {vocabulary!r}, which leads to no standard concept"


def _resolved(connection: duckdb.DuckDBPyConnection, codes: list[tuple[str, str]]) -> list[tuple[int, int]]:
    """Source and standard concept of each code, 0 where there is none, found as a load finds them."""
    if not codes:
        return []
    connection.executemany(
        "INSERT INTO stage_code BY NAME SELECT ? AS key, '' AS home, 0 AS pos, ? AS vocabulary_id, ? AS code",
        [(key, *code) for key, code in enumerate(codes)],
    )
    resolve_codes(connection)
    connection.execute("DELETE FROM stage_code")
    return connection.execute(
        "SELECT source_concept_id, concept_id FROM code_map WHERE n = 1 ORDER BY key"
    ).fetchall()


def _listed(faults: list[str]) -> str:
    distinct = list(dict.fromkeys(faults))
    more = f"; and {len(distinct) - MOST_LISTED} more" if len(distinct) > MOST_LISTED else ""
    return "; ".join(distinct[:MOST_LISTED]) + more
