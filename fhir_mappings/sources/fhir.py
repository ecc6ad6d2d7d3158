"""FHIR R4 extract to the common model."""

# ruff: noqa: S608 -- statements are put together from table and column names of this package only

import gc
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from fhir_mappings import codes as c
from fhir_mappings.assemble import assemble
from fhir_mappings.profile import Profile
from fhir_mappings.report import LoadReport
from fhir_mappings.sources.fhir_extract import Extractor
from fhir_mappings.sources.fhir_read import Resource, read_resources, resource_files
from fhir_mappings.staging import BATCH, STAGES, Codes, Stage, create_stages
from fhir_mappings.store import replacing
from fhir_mappings.vocabulary import load_vocabulary

NOT_R4 = "not as FHIR R4 defines the resource"
MODIFIED = "carries a modifier this mapping does not know"
NO_ID = "no id"


def load_fhir(folder: Path, database: Path, vocabulary: Path | None, profile: Profile) -> LoadReport:
    """Map every resource under ``folder`` into a new database that replaces ``database`` at the end.

    ``vocabulary``: see ``load_vocabulary``. Raises SourceError when the extract cannot be read whole, is not
    UTF-8 or holds no patient; VocabularyError; NothingMapped; LoadFailed. Whatever is raised, ``database`` keeps its
    previous content.
    """
    started = time.monotonic()
    files = resource_files(Path(folder))
    with replacing(Path(database)) as connection:
        release = load_vocabulary(connection, vocabulary)
        with uncollected():
            ignored, notes = stage_resources(connection, files, profile)
        given = vocabulary is not None
        return assemble(
            connection,
            "FHIR R4",
            profile,
            release,
            vocabulary=given,
            ignored=ignored,
            notes=notes,
            started=started,
        )


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the cycle collector: parsed JSON has no cycles, and walking it over and over costs a quarter."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def stage_resources(
    connection: duckdb.DuckDBPyConnection, files: list[Path], profile: Profile
) -> tuple[dict[str, int], dict[str, int]]:
    """Read ``files`` into the staging tables; returns resources without a rule by type, and the extractor's notes."""
    create_stages(connection)
    stages = {name: Stage(connection, name) for name in STAGES}
    codes = Codes(c.FHIR_SYSTEMS | profile.fhir.code_systems)
    extractor = Extractor(stages, codes, profile.fhir)
    rules = extractor.rules
    ignored: Counter[str] = Counter()
    resources = stages["stage_resource"]
    for seq, resource in enumerate(read_resources(files)):
        kind = resource.get("resourceType")
        rule = rules.get(kind) if type(kind) is str else None
        if rule is None:
            ignored[_type_name(kind)] += 1
            continue
        try:
            reason = _modified(resource) or rule(seq, resource)
            resources.add((seq, kind, _id(resource), _updated(resource), reason))
        except (AttributeError, TypeError, KeyError, ValueError, IndexError):
            resources.add((seq, kind, None, None, NO_ID if "id" not in resource else NOT_R4))
        if len(resources.rows) >= BATCH:
            _flush(connection, stages)
    _flush(connection, stages)
    codes.stage(stages["stage_code"])
    return dict(ignored), dict(extractor.notes)


def _flush(connection: duckdb.DuckDBPyConnection, stages: dict[str, Stage]) -> None:
    """Write all stages; a resource with a value of the wrong JSON type is marked as not FHIR R4."""
    misfits = [[seq] for stage in stages.values() for seq in stage.flush()]
    if misfits:
        connection.executemany(
            f"UPDATE stage_resource SET reason = '{NOT_R4}' WHERE seq = ?",
            misfits,
        )


def _modified(resource: Resource) -> str | None:
    return MODIFIED if "modifierExtension" in resource or "implicitRules" in resource else None


def _id(resource: Resource) -> str | None:
    value = resource.get("id")
    if value is not None and type(value) is not str:
        raise TypeError("id")
    return value


def _updated(resource: Resource) -> str | None:
    meta = resource.get("meta")
    value = meta.get("lastUpdated") if meta else None
    return value if type(value) is str else None


def _type_name(kind: object) -> str:
    return kind if type(kind) is str and kind.isalpha() and len(kind) <= 40 else "(no FHIR resource type)"
