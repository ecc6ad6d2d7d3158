"""What a load did: rows in, mapped, unmapped and rejected, with the rules that were in force.

The report stays at the hospital. It holds counts, codes and file names, never a patient's values or identifiers.
"""

from collections.abc import Sequence
from datetime import date, datetime

from pydantic import BaseModel, ConfigDict

TOP_UNMAPPED = 200


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputReport(Part):
    """One kind of input: a FHIR resource type, a CSV entry, an OMOP table.

    ``rows_in == loaded + duplicates + sum(rejected.values())``.
    """

    name: str
    rows_in: int
    loaded: int
    duplicates: int = 0
    rejected: dict[str, int] = {}


class TableReport(Part):
    """One table of the model; ``unmapped`` counts its rows whose main concept is 0."""

    name: str
    rows: int
    mapped: int
    unmapped: int


class UnmappedCode(Part):
    """A source code without a standard concept. ``code`` is None for entries that carried text only."""

    table: str
    vocabulary: str
    code: str | None
    count: int


class LoadReport(Part):
    """The account of one load."""

    kind: str
    inputs: tuple[InputReport, ...]
    tables: tuple[TableReport, ...]
    unmapped_codes: tuple[UnmappedCode, ...] = ()
    unmapped_codes_total: int = 0
    notes: dict[str, int] = {}
    """Things that were done or left out within loaded rows: imputed dates, ends, dangling encounters, ..."""
    ignored: dict[str, int] = {}
    """Inputs the mapping has no rule for, by resource type or file."""
    warnings: tuple[str, ...] = ()
    """What should be mended before studies use the data, as sentences."""
    observation_period_rule: str
    death_rule: str
    extract_date: date
    snapshot: str
    """SHA-256 over the loaded tables in canonical order; equal data give equal digests."""
    profile_digest: str
    vocabulary_version: str
    cdm_version: str
    software: str
    finished_at: datetime
    seconds: float

    @property
    def persons(self) -> int:
        """Persons written."""
        return next((table.rows for table in self.tables if table.name == "person"), 0)

    def text(self) -> str:
        """The report as plain text tables."""
        return "\n".join(_render(self))


def _grid(header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> list[str]:
    cells = [header, *[tuple(str(value) for value in row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    numeric = [bool(rows) and all(isinstance(row[i], int) for row in rows) for i in range(len(header))]
    lines = [
        "  ".join(
            c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _render(report: LoadReport) -> list[str]:
    inputs = [(i.name, i.rows_in, i.loaded, i.duplicates, sum(i.rejected.values())) for i in report.inputs]
    lines = [f"Loaded {report.kind} extract, snapshot {report.snapshot[:16]}, {report.seconds:.1f} s", ""]
    lines += _grid(("input", "rows in", "loaded", "duplicates", "rejected"), inputs)
    rejected = [(i.name, reason, n) for i in report.inputs for reason, n in sorted(i.rejected.items())]
    if rejected:
        lines += ["", *_grid(("input", "rejected because", "rows"), rejected)]
    tables = [(t.name, t.rows, t.mapped, t.unmapped) for t in report.tables]
    lines += ["", *_grid(("table", "rows", "mapped", "unmapped"), tables)]
    if report.unmapped_codes:
        codes = [
            (u.table, u.vocabulary, u.code or "(text only)", u.count) for u in report.unmapped_codes[:20]
        ]
        lines += ["", f"Codes without a standard concept: {report.unmapped_codes_total}; most frequent:"]
        lines += _grid(("table", "vocabulary", "code", "rows"), codes)
    for title, counts in (("Notes", report.notes), ("No rule for", report.ignored)):
        if counts:
            lines += ["", *_grid((title, "count"), sorted(counts.items()))]
    lines += [
        "",
        f"Observation period: {report.observation_period_rule}",
        f"Death: {report.death_rule}",
        f"Extract date {report.extract_date}, vocabulary {report.vocabulary_version}, "
        f"OMOP CDM {report.cdm_version}",
    ]
    lines += [line for warning in report.warnings for line in ("", f"WARNING: {warning}")]
    return lines
