"""`tessera cohort`: check, explain, format and evaluate definitions.

Exit status: 0 done, 2 refused (the definition or the data are not as they must be), 3 failed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cohort_lang.errors import CohortError
from cohort_lang.formatting import format_cohort
from cohort_lang.lints import Lint, lint
from cohort_lang.parsing import parse
from cohort_lang.prose import explain as explained
from cohort_lang.tree import Cohort

if TYPE_CHECKING:
    from ibis.backends import BaseBackend

    from cohort_lang.evaluation import CohortResult, Diagnosis

cohort_app = typer.Typer(no_args_is_help=True, help="Check, explain, format and evaluate cohort definitions.")

Definition = Annotated[
    Path, typer.Argument(metavar="COHORT", help="A definition's text; - reads standard input.")
]
Omop = Annotated[Path, typer.Option("--omop", help="A DuckDB file, or a folder of Parquet or CSV tables.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@cohort_app.command()
def check(
    definition: Definition,
    omop: Annotated[
        Path | None, typer.Option("--omop", help="Also check concepts against this vocabulary.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remark on what is probably not meant; status 2 if a remark is an error."""
    with _said_plainly():
        cohort = _read(definition)
        remarks = lint(cohort) if omop is None else _lint_at(cohort, omop)
    _show(remarks, as_json)
    if any(remark.severity == "error" for remark in remarks):
        raise typer.Exit(2)


@cohort_app.command()
def explain(definition: Definition) -> None:
    """Say the definition in plain clinical English."""
    with _said_plainly():
        print(explained(_read(definition)), end="")


@cohort_app.command("format")
def format_definition(
    definition: Definition,
    write: Annotated[bool, typer.Option("--write", help="Replace the file's text.")] = False,
) -> None:
    """Print the definition as it is canonically written."""
    with _said_plainly():
        text = format_cohort(_read(definition))
        if write and str(definition) == "-":
            raise CohortError("--write needs a file, not standard input")
        if write:
            definition.write_text(text, encoding="utf-8")
        else:
            print(text, end="")


@cohort_app.command()
def evaluate(
    definition: Definition,
    omop: Omop,
    rows: Annotated[bool, typer.Option("--rows", help=r"Print \[\[person_id, start, end], ...].")] = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate the definition on OMOP tables, in the clear: attrition, or who is in it and when.

    With --rows and --json together: one object with both.
    """
    with _said_plainly():
        cohort = _read(definition)
        connection = _open(omop)
        result, why = _evaluate(connection, cohort)
    if rows and not as_json:
        print(json.dumps(_rows(result)))
    elif as_json:
        print(json.dumps(_as_json(result, why, rows)))
    else:
        print(_as_table(result, why))


# ---- reading


@contextmanager
def _said_plainly() -> Iterator[None]:
    """One message on standard error and status 2 or 3 instead of a traceback, for errors we know."""
    import duckdb  # noqa: PLC0415  after the arguments are known to be right

    from fhir_mappings.errors import MappingError  # noqa: PLC0415
    from fhir_mappings.faults import database_advice  # noqa: PLC0415

    try:
        yield
    except (CohortError, MappingError) as error:
        _stop(str(error), 2)
    except (duckdb.Error, MemoryError) as error:
        # Its own words may quote a cell of the record it failed at.
        _stop(f"the database could not answer ({type(error).__name__}): {database_advice(error)}", 3)


def _stop(message: str, status: int) -> None:
    print(f"tessera cohort: {message}", file=sys.stderr)
    raise typer.Exit(status)


def _read(definition: Path) -> Cohort:
    try:
        data = sys.stdin.buffer.read() if str(definition) == "-" else definition.read_bytes()
        return parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise CohortError(f"{definition} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise CohortError(f"{definition} cannot be read: {error.strerror}") from None


def _open(omop: Path) -> BaseBackend:
    from fhir_mappings.cdm import open_omop  # noqa: PLC0415  loads Ibis

    return open_omop(omop)


def _lint_at(cohort: Cohort, omop: Path) -> list[Lint]:
    from cohort_lang.evaluation import SiteConcepts  # noqa: PLC0415  loads Ibis

    return lint(cohort, SiteConcepts(_open(omop)))


def _evaluate(connection: BaseBackend, cohort: Cohort) -> tuple[CohortResult, Diagnosis | None]:
    from cohort_lang import evaluation  # noqa: PLC0415  loads Ibis

    result = evaluation.evaluate(connection, cohort)
    return result, None if result.persons else evaluation.diagnose(connection, cohort)


# ---- showing


def _show(remarks: list[Lint], as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(remark) for remark in remarks]))
        return
    for remark in remarks:
        print(remark)
    if not remarks:
        print("no remarks")


def _rows(result: CohortResult) -> list[list[Any]]:
    columns = result.entries["person_id"], result.entries["start_date"], result.entries["end_date"]
    return [
        [int(person), str(start.date()), str(end.date())] for person, start, end in zip(*columns, strict=True)
    ]


def _as_json(result: CohortResult, why: Diagnosis | None, rows: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "population": result.population,
        "attrition": [{"label": label, "persons": persons} for label, persons in result.attrition],
        "persons": result.persons,
        "entries": len(result.entries),
    }
    found |= {"rows": _rows(result)} if rows else {}
    return found | ({"diagnosis": asdict(why)} if why else {})


def _as_table(result: CohortResult, why: Diagnosis | None) -> str:
    steps = [("Population", result.population), *result.attrition]
    width = max(len(label) for label, _ in steps)
    lines = [f"{label:<{width}}  {persons:>10,}" for label, persons in steps]
    lines.append(f"{result.persons:,} persons, {len(result.entries):,} entries")
    return "\n".join([*lines, *(_why(why) if why else ())])


def _why(why: Diagnosis) -> Iterator[str]:
    if why.emptied_by is not None:
        yield f"emptied by {why.emptied_by!r}: {why.note}"
    for sought in why.sought:
        of = f" of {sought.concepts}" if sought.concepts else ""
        yield f"  {sought.domain}{of}: {sought.records:,} records, {sought.fitting:,} as required"
    for code in why.unmapped:
        yield f"  unmapped {code.domain} {code.source_value!r}: {code.records:,} records of {code.persons:,} persons"
