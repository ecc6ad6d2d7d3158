"""One entry for the three kinds of extract."""

from pathlib import Path
from typing import Literal

from fhir_mappings.errors import ProfileError
from fhir_mappings.profile import Profile
from fhir_mappings.report import LoadReport
from fhir_mappings.sources.csv import load_csv
from fhir_mappings.sources.fhir import load_fhir
from fhir_mappings.sources.omop import load_omop

Kind = Literal["fhir", "omop", "csv"]


def load_extract(
    kind: Kind,
    folder: Path,
    database: Path,
    vocabulary: Path | None = None,
    profile: Profile | None = None,
    mapping: Path | None = None,
) -> LoadReport:
    """Load ``folder`` as ``kind`` into ``database``, which is replaced only when everything went well.

    ``mapping``: the CSV mapping file; without it ``profile.csv_mapping``, taken relative to ``folder``. Raises
    MappingError; see ``load_fhir``, ``load_omop`` and ``load_csv``.
    """
    profile = profile or Profile()
    if kind == "fhir":
        return load_fhir(folder, database, vocabulary, profile)
    if kind == "omop":
        return load_omop(folder, database, vocabulary, profile)
    if mapping is None and profile.csv_mapping is None:
        raise ProfileError("a CSV extract needs a mapping file; name it in the profile as csv_mapping")
    return load_csv(folder, database, vocabulary, profile, mapping or folder / str(profile.csv_mapping))
