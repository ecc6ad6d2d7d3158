"""Fixtures: the consortium, and its first hospital with data loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fhir_mappings.report import LoadReport
from mpc_backend.analyses.base import SiteData
from site_connector import loading
from site_connector.evaluation import site_data
from site_connector.linked import Recognition
from tests.site_connector.consortium import Consortium
from tests.site_connector.extract import write_extract


@pytest.fixture(autouse=True)
def evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluating cohorts is slow: the same question about the same data is computed once in a test session."""

    def remembered(
        connection: Any, name: str, text: str, variables: Mapping[str, Any], persons_by: Recognition | None
    ) -> SiteData:
        if persons_by is not None:
            return site_data(connection, name, text, variables, persons_by)
        data = connection.con.execute("SELECT count(*), sum(drug_concept_id) FROM drug_exposure").fetchone()
        question = (data, text, json.dumps({k: v.model_dump() for k, v in variables.items()}, default=str))
        if question not in _EVALUATED:
            _EVALUATED[question] = site_data(connection, name, text, variables)
        return _EVALUATED[question]

    for module in ("tables", "dry_run"):
        monkeypatch.setattr(f"site_connector.{module}.site_data", remembered)


_EVALUATED: dict[object, SiteData] = {}


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


@pytest.fixture(scope="session")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_extract(tmp_path_factory.mktemp("extract") / "omop")


@pytest.fixture(scope="session")
def database(extract: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LoadReport]:
    """The extract as a load leaves it, loaded once: tests of what comes after a load take a copy."""
    file = tmp_path_factory.mktemp("database") / "cdm.duckdb"
    return file, loading._run(loading.Extract("omop", extract), file)


@pytest.fixture
def loaded_once(
    extract: Path, database: tuple[Path, LoadReport], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], AbstractContextManager[None]]:
    """Inside it a load of the extract takes a copy of its database; identifiers are added, and all else is done, as ever."""
    file, report = database

    def copied(wanted: loading.Extract, fresh: Path) -> LoadReport:
        assert (wanted.kind, wanted.path) == ("omop", extract)
        shutil.copy(file, fresh)
        return report

    @contextmanager
    def copying() -> Iterator[None]:
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(loading, "_run", copied)
            yield

    return copying


@pytest.fixture
def loaded(
    consortium: Consortium, extract: Path, loaded_once: Callable[[], AbstractContextManager[None]]
) -> Consortium:
    with loaded_once():
        consortium.load(extract)
    return consortium
