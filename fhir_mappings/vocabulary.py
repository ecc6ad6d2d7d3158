"""The OHDSI Standardized Vocabularies of a site, and mapping source codes to standard concepts.

A site loads its own Athena export; nothing licensed is shipped. Codes are resolved set-wise: a mapping run
collects the distinct coded ideas it met in ``stage_code`` and this module turns them into ``code_map``.
"""

# ruff: noqa: S608 -- statements are put together from table and column names of this package only

from pathlib import Path

import duckdb

from fhir_mappings.cdm import OFFLINE, fill
from fhir_mappings.cdm_tables import VOCABULARY_TABLES
from fhir_mappings.codes import ADMINISTRATIVE, PREFERRED_VOCABULARIES
from fhir_mappings.errors import SourceMissing, VocabularyError
from fhir_mappings.tabular import find_table_files, sql_text

DOTTED = ("ICD10CM", "ICD10", "ICD10GM", "ICD9CM")
"""Vocabularies whose codes many sources write without the dot."""


def load_vocabulary(connection: duckdb.DuckDBPyConnection, source: Path | None) -> str:
    """Fill the vocabulary tables from ``source`` and return the vocabulary's release.

    ``source`` is an Athena export folder (``CONCEPT.csv``, ... tab separated), a folder with the same tables
    as Parquet or comma separated CSV, a DuckDB file holding them, or None for the administrative concepts
    alone. Raises SourceMissing, VocabularyError or SourceFormatError.
    """
    if source is not None:
        if source.is_dir():
            _from_folder(connection, source)
        else:
            _from_database(connection, source)
        _check(connection)
    _add_administrative(connection)
    return release(connection)


def release(connection: duckdb.DuckDBPyConnection) -> str:
    """The release named by the vocabulary table's ``None`` row, or ``none``."""
    row = connection.execute(
        "SELECT vocabulary_version FROM vocabulary WHERE vocabulary_id = 'None'"
    ).fetchone()
    return str(row[0]) if row and row[0] else "none"


def _from_folder(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    files = {name: file for name, file in find_table_files(folder).items() if name in VOCABULARY_TABLES}
    missing = {"concept", "concept_relationship"} - set(files)
    if missing:
        raise VocabularyError(f"{folder} lacks {sorted(missing)}; download the bundle again from Athena")
    for name, file in files.items():
        fill(connection, VOCABULARY_TABLES[name], file)


def _from_database(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    if not file.is_file():
        raise SourceMissing(f"{file}: no such vocabulary folder or database")
    try:
        source = duckdb.connect(str(file), read_only=True, config=dict(OFFLINE))
    except (duckdb.IOException, duckdb.ConnectionException):
        raise VocabularyError(
            f"{file.name} is no DuckDB database this version can read, or is in use"
        ) from None
    with source:
        for name, table in VOCABULARY_TABLES.items():
            _copy(source, connection, name, ", ".join(table.names), file)


def _copy(
    source: duckdb.DuckDBPyConnection, target: duckdb.DuckDBPyConnection, name: str, columns: str, file: Path
) -> None:
    """Stream one table from one database to another."""
    try:
        rows = source.execute(f"SELECT {columns} FROM {name}").to_arrow_reader(100_000)
    except (duckdb.CatalogException, duckdb.BinderException):
        raise VocabularyError(
            f"{file.name} does not hold the vocabulary tables of the common model"
        ) from None
    target.register("vocabulary_rows", rows)
    target.execute(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM vocabulary_rows")
    target.unregister("vocabulary_rows")


def _check(connection: duckdb.DuckDBPyConnection) -> None:
    doubled = _scalar(connection, "SELECT count(*) - count(DISTINCT concept_id) FROM concept")
    if doubled:
        raise VocabularyError(
            f"concept holds {doubled} repeated concept ids; load one export, not several mixed"
        )
    if not _scalar(connection, "SELECT count(*) FROM concept WHERE standard_concept = 'S'"):
        raise VocabularyError("the vocabulary holds no standard concept; nothing could be mapped with it")


def _scalar(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _add_administrative(connection: duckdb.DuckDBPyConnection) -> None:
    rows = ", ".join(
        f"({number}, {sql_text(name)}, {sql_text(domain)}, {sql_text(vocabulary)}, {sql_text(code)})"
        for number, name, domain, vocabulary, code in ADMINISTRATIVE
    )
    connection.execute(
        f"""INSERT INTO concept BY NAME
        SELECT id AS concept_id, name AS concept_name, domain AS domain_id, vocabulary AS vocabulary_id,
          domain AS concept_class_id, 'S' AS standard_concept, code AS concept_code,
          DATE '1970-01-01' AS valid_start_date, DATE '2099-12-31' AS valid_end_date
        FROM (VALUES {rows}) AS own (id, name, domain, vocabulary, code)
        WHERE id NOT IN (SELECT concept_id FROM concept)"""
    )


def resolve_codes(connection: duckdb.DuckDBPyConnection) -> None:
    """Turn ``stage_code`` into ``code_map``: one row per coded idea and standard concept it maps to.

    Among several codings of one idea the order is: has a standard concept; vocabulary preferred for the
    domain; the more specific of two related concepts; marked as chosen by the user; first written. A coding
    may carry its concept (``concept_id``) when the site's own map already settled it.
    """
    ranks = [
        f"WHEN s.home = {sql_text(home)} AND s.vocabulary_id = {sql_text(name)} THEN {rank}"
        for home, names in PREFERRED_VOCABULARIES.items()
        for rank, name in enumerate(names)
    ]
    rank = f"CASE {' '.join(ranks)} WHEN s.vocabulary_id IS NOT NULL THEN 50 ELSE 99 END"
    connection.execute(_LOOKUP)
    connection.execute(_CANDIDATE.format(rank=rank))
    connection.execute(_TARGET)
    connection.execute(_CODE_MAP)


_LOOKUP = f"""
CREATE OR REPLACE TEMP TABLE lookup AS
WITH wanted AS (SELECT DISTINCT vocabulary_id FROM stage_code)
SELECT vocabulary_id, concept_code AS code, concept_id, standard_concept, invalid_reason, 0 AS detour
FROM concept SEMI JOIN wanted USING (vocabulary_id)
UNION ALL
SELECT vocabulary_id, replace(concept_code, '.', ''), concept_id, standard_concept, invalid_reason, 1
FROM concept SEMI JOIN wanted USING (vocabulary_id)
WHERE vocabulary_id IN {DOTTED} AND contains(concept_code, '.')
"""

_CANDIDATE = """
CREATE OR REPLACE TEMP TABLE candidate AS
SELECT s.key, s.home, s.pos, s.vocabulary_id, s.system, s.code, s.chosen, s.label, {rank} AS rank,
  s.concept_id AS given, l.concept_id AS source_concept_id, l.standard_concept
FROM stage_code s
LEFT JOIN lookup l ON l.vocabulary_id = s.vocabulary_id AND l.code = s.code
QUALIFY row_number() OVER (
  PARTITION BY s.key, s.pos ORDER BY l.detour, l.invalid_reason IS NOT NULL, l.standard_concept = 'S' DESC) =
  1
"""

_TARGET = """
CREATE OR REPLACE TEMP TABLE target AS
WITH related AS (
  SELECT c.key, c.pos, r.relationship_id, t.concept_id, t.domain_id, t.concept_class_id
  FROM candidate c
  JOIN concept_relationship r ON r.concept_id_1 = c.source_concept_id AND r.invalid_reason IS NULL
       AND r.relationship_id IN ('Maps to', 'Maps to value')
  JOIN concept t ON t.concept_id = r.concept_id_2 AND t.standard_concept = 'S' AND t.invalid_reason IS NULL
  WHERE c.given IS NULL),
value AS (
  SELECT key, pos, min(concept_id) AS value_concept_id FROM related WHERE relationship_id = 'Maps to value'
  GROUP BY key, pos HAVING count(*) = 1),
meaning AS (
  SELECT key, pos, concept_id, domain_id, concept_class_id FROM related WHERE relationship_id = 'Maps to'
  UNION
  SELECT c.key, c.pos, t.concept_id, t.domain_id, t.concept_class_id
  FROM candidate c JOIN concept t ON t.concept_id = coalesce(c.given, c.source_concept_id)
  WHERE t.standard_concept = 'S' AND (c.given IS NOT NULL OR NOT EXISTS (
    FROM related r WHERE r.key = c.key AND r.pos = c.pos AND r.relationship_id = 'Maps to')))
SELECT meaning.*, value_concept_id FROM meaning LEFT JOIN value USING (key, pos)
"""

_CODE_MAP = """
CREATE OR REPLACE TEMP TABLE code_map AS
WITH several AS (SELECT key FROM candidate GROUP BY key HAVING count(*) > 1),
general AS (
  SELECT DISTINCT c.key, c.pos FROM candidate c SEMI JOIN several USING (key)
  JOIN candidate o ON o.key = c.key AND o.vocabulary_id = c.vocabulary_id AND o.pos <> c.pos
  JOIN concept_ancestor a ON a.ancestor_concept_id = c.source_concept_id
       AND a.descendant_concept_id = o.source_concept_id AND a.min_levels_of_separation > 0),
best AS (
  SELECT c.* FROM candidate c
  LEFT JOIN (SELECT DISTINCT key, pos, true AS mapped FROM target) m USING (key, pos)
  LEFT JOIN (SELECT key, pos, true AS broad FROM general) g USING (key, pos)
  QUALIFY row_number() OVER (PARTITION BY c.key
    ORDER BY m.mapped NULLS LAST, c.rank, g.broad NULLS FIRST, c.chosen DESC NULLS LAST, c.pos) = 1)
SELECT b.key, coalesce(b.vocabulary_id, b.system) AS vocabulary_id, b.code, coalesce(b.code, b.label) AS
  source_value, coalesce(b.source_concept_id, 0) AS source_concept_id, coalesce(t.concept_id, 0) AS
  concept_id, t.domain_id, t.concept_class_id, t.value_concept_id,
  row_number() OVER (PARTITION BY b.key ORDER BY t.concept_id) AS n
FROM best b LEFT JOIN target t USING (key, pos)
"""
