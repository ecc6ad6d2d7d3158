"""Bringing an extract into the site's database, and a short account of the quality of what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Literal

from fhir_mappings.profile import Profile
from fhir_mappings.report import LoadReport
from governance.document import utc_text
from site_connector.directory import SiteDirectory, replace
from site_connector.errors import NoData, SiteSetupError

Kind = Literal["fhir", "omop", "csv"]
Loader = Callable[[Path, Path, Path | None, Profile], LoadReport]


@dataclass(frozen=True)
class Extract:
    """What to load: a folder of FHIR NDJSON, of OMOP tables, or of CSV files described by a mapping file."""

    kind: Kind
    path: Path
    profile: Path | None = None
    vocabulary: Path | None = None
    mapping: Path | None = None


def load(directory: SiteDirectory, extract: Extract, now: datetime) -> LoadReport:
    """Load an extract; the previous database stays untouched until the new one is whole.

    Raises:
        fhir_mappings.errors.MappingError: the extract, the profile, the mapping or the vocabulary is at
        fault.
        SiteSetupError: no site here, or a mapping file for an extract that takes none.
    """
    directory.settings()
    report = _loader(extract.kind)(extract.path, directory.database, extract.vocabulary, _profile(extract))
    replace(directory.load_report, report.model_dump_json(indent=2).encode())
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
        return LoadReport.model_validate_json(directory.load_report.read_bytes())
    except FileNotFoundError as error:
        raise NoData(
            f"{directory.path}: the load broke off before its report was written; load again"
        ) from error


def _loader(kind: Kind) -> Loader:
    """The loader for this kind of extract; imported when needed."""
    loader: Loader = getattr(import_module(f"fhir_mappings.sources.{kind}"), f"load_{kind}")
    return loader


def _profile(extract: Extract) -> Profile:
    profile = Profile() if extract.profile is None else Profile.load(extract.profile)
    if extract.mapping is not None:
        if extract.kind != "csv":
            raise SiteSetupError(f"--mapping belongs to a CSV extract, not to {extract.kind}")
        profile = profile.model_copy(update={"csv_mapping": str(extract.mapping.resolve())})
    elif profile.csv_mapping is not None and extract.profile is not None:
        mapping = (extract.profile.parent / profile.csv_mapping).resolve()
        profile = profile.model_copy(update={"csv_mapping": str(mapping)})
    return profile
