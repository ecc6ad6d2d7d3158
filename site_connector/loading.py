"""Bringing an extract into the site's database."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal

from fhir_mappings.profile import Profile
from fhir_mappings.report import LoadReport
from fhir_mappings.sources.csv import load_csv
from fhir_mappings.sources.fhir import load_fhir
from fhir_mappings.sources.omop import load_omop
from governance.document import utc_text
from governance.files import replace_file
from site_connector.directory import SiteDirectory
from site_connector.errors import NoData, SiteSetupError
from site_connector.identifiers import add_identifiers

Kind = Literal["fhir", "omop", "csv"]


@dataclass(frozen=True)
class Extract:
    """What to load: a folder of FHIR NDJSON, of OMOP tables, or of CSV files described by a mapping file.

    ``identifiers``: a file by which persons can be recognised at other hospitals (see `site_connector.identifiers`).
    """

    kind: Kind
    path: Path
    profile: Path | None = None
    vocabulary: Path | None = None
    mapping: Path | None = None
    identifiers: Path | None = None


def load(directory: SiteDirectory, extract: Extract, now: datetime) -> LoadReport:
    """Load an extract; the previous database stays untouched until the new one is whole.

    Raises:
        fhir_mappings.errors.MappingError: the extract, the profile, the mapping or the vocabulary is at
        fault.
        SiteSetupError: no site here, or a mapping file for an extract that takes none.
        LinkageRefused: the file of identifiers is at fault.
    """
    directory.settings()
    fresh = directory.database.with_name("cdm.new.duckdb")
    try:
        report = _run(extract, fresh)
        if extract.identifiers is not None:
            report = add_identifiers(fresh, extract.identifiers, report)
        with directory.data_locked():
            os.replace(fresh, directory.database)
            replace_file(directory.load_report, report.model_dump_json(indent=2).encode())
    finally:
        fresh.unlink(missing_ok=True)
    with directory.ledger() as ledger:
        ledger.append(
            {
                "kind": "load",
                "at": utc_text(now),
                "extract": extract.kind,
                "snapshot": report.snapshot,
                "profile": report.profile_digest,
                "vocabulary": report.vocabulary_version,
            }
        )
    return report


def last_report(directory: SiteDirectory) -> LoadReport:
    """The report of the load that is in place.

    Raises:
        NoData: nothing was loaded yet.
    """
    directory.loaded_database()
    try:
        changed = directory.load_report.stat().st_mtime_ns
        return _parsed(directory.load_report, changed)
    except FileNotFoundError as error:
        raise NoData(
            f"{directory.path}: the load broke off before its report was written; load again"
        ) from error


@lru_cache(maxsize=4)
def _parsed(path: Path, _changed: int) -> LoadReport:
    """A load report, parsed once for each time it was written: the connector asks in every round."""
    return LoadReport.model_validate_json(path.read_bytes())


def _run(extract: Extract, database: Path) -> LoadReport:
    profile = Profile() if extract.profile is None else Profile.load(extract.profile)
    if extract.kind == "csv":
        mapping = _mapping(extract, profile)
        return load_csv(extract.path, database, extract.vocabulary, profile, mapping)
    if extract.mapping is not None:
        raise SiteSetupError(f"--mapping belongs to a CSV extract, not to {extract.kind}")
    loader = load_fhir if extract.kind == "fhir" else load_omop
    return loader(extract.path, database, extract.vocabulary, profile)


def _mapping(extract: Extract, profile: Profile) -> Path:
    """The mapping file: given, or named by the profile relative to itself."""
    if extract.mapping is not None:
        return extract.mapping
    if extract.profile is not None and profile.csv_mapping is not None:
        return extract.profile.parent / profile.csv_mapping
    raise SiteSetupError("a CSV extract needs a mapping file; give --mapping FILE")
