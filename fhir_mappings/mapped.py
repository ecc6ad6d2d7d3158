"""Whether a load mapped enough to replace what was there: none at all is refused, less than half is warned of."""

import duckdb

from fhir_mappings.errors import NothingMapped

LEAST_SHARE = 0.5
MOST_SYSTEMS = 5

ADVICE = {
    "FHIR R4": "give an Athena export that has them with --vocabulary, or say in the profile under fhir.code_systems "
    "which vocabulary a code system of the site's own is",
    "CSV": "give an Athena export that has them with --vocabulary, or correct vocabularies and maps of the mapping",
    "OMOP CDM 5.4": "give the Athena export the tables were mapped with (--vocabulary), or export them after their codes "
    "were mapped to standard concepts",
}

CODED = ("FHIR R4", "CSV")
"""Kinds of extract whose events name code systems."""


def check_mapped(
    connection: duckdb.DuckDBPyConnection, kind: str, *, events: int, mapped: int, vocabulary: bool
) -> tuple[str, ...]:
    """What the steward must know about the ``mapped`` of ``events`` (visits apart), as sentences.

    ``vocabulary``: whether one was loaded. Raises NothingMapped where there are events and none is mapped.
    """
    if mapped >= events * LEAST_SHARE:
        return ()
    codes = f"; codes without one are of {_systems(connection)}" if kind in CODED else ""
    advice = f"{codes}; {'' if vocabulary else 'no vocabulary was loaded: '}{ADVICE[kind]}"
    if not mapped:
        raise NothingMapped(
            f"no event of the {kind} extract has a standard concept (0 of {events:,}), so it did not replace what was "
            f"loaded before{advice}"
        )
    return (
        f"only {mapped:,} of {events:,} events have a standard concept, and studies see no others{advice}",
    )


def unchecked(events: int) -> str:
    """What is said of an extract that brings its own concepts where no vocabulary was loaded."""
    return (
        f"no vocabulary was loaded, so the concepts of {events:,} events are as the extract gives them and were not "
        "checked; give an Athena export with --vocabulary"
    )


def _systems(connection: duckdb.DuckDBPyConnection) -> str:
    """Code systems of events without a standard concept, from ``unmapped_row``, most frequent first."""
    rows = connection.execute(
        """SELECT vocabulary_id, sum(n)::BIGINT FROM unmapped_row WHERE tab <> 'visit_occurrence'
        GROUP BY vocabulary_id ORDER BY 2 DESC, 1"""
    ).fetchall()
    listed = [f"{str(name)[:80]} ({count:,})" for name, count in rows[:MOST_SYSTEMS]]
    return ", ".join([*listed, f"{len(rows) - MOST_SYSTEMS} more"] if len(rows) > MOST_SYSTEMS else listed)
