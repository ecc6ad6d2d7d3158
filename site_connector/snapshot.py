"""Freezing the database a study is computed from, so that what left can be shown and checked later.

A load replaces the database file whole and never changes it in place. A hard link therefore freezes it at no
cost; on a file system without links the file is copied.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from fhir_mappings.report import LoadReport
from governance.canonical import canonical_json, parse_json
from governance.files import replace_file
from governance.manifest import DataFacts
from site_connector.directory import SiteDirectory
from site_connector.loading import last_report


@dataclass(frozen=True)
class Snapshot:
    """A frozen database. ``commitment``: SHA-256(salt || load digest), hexadecimal, which is what others see, beside ``data``.

    The salt stays here: without it nobody can test a guess of the data against the commitment.
    """

    database: Path
    load: str
    commitment: str
    data: DataFacts | None


def freeze(directory: SiteDirectory, name: str) -> Snapshot:
    """The snapshot called ``name``, made now or found as it was made before.

    Raises:
        NoData: nothing was loaded yet.
    """
    database, record = directory.snapshots / f"{name}.duckdb", directory.snapshots / f"{name}.json"
    if not record.exists():
        with directory.data_locked():
            report = last_report(directory)
            _link(directory.loaded_database(), database)
        said = facts(report).model_dump(mode="json")
        kept = {"load": report.snapshot, "salt": secrets.token_hex(32), "data": said}
        replace_file(record, canonical_json(kept))
    kept = parse_json(record.read_bytes())
    salted = bytes.fromhex(kept["salt"]) + bytes.fromhex(kept["load"])
    data = DataFacts.model_validate(kept["data"]) if "data" in kept else None
    return Snapshot(database, kept["load"], hashlib.sha256(salted).hexdigest(), data)


def facts(report: LoadReport) -> DataFacts:
    """What results say of loaded data."""
    return DataFacts(
        extract_date=report.extract_date,
        observation_period=report.observation_period_rule,
        death=report.death_rule,
    )


def release(directory: SiteDirectory, name: str) -> None:
    """Let go of a frozen database; its record, which proves what was used, stays."""
    (directory.snapshots / f"{name}.duckdb").unlink(missing_ok=True)


def thaw(directory: SiteDirectory, name: str) -> None:
    """Undo a freeze from which nothing left."""
    release(directory, name)
    (directory.snapshots / f"{name}.json").unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        os.link(source, scratch)
    except OSError:
        shutil.copyfile(source, scratch)
    os.replace(scratch, target)
