"""Builders shared by the tests of the analyses."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, Result, SiteData
from mpc_backend.analyses.plain import run_here
from mpc_backend.analyses.registry import analysis, parse_parameters

# The folder is no package: its module of generated patients is made importable by name here.
_spec = importlib.util.spec_from_file_location("ranking_data", Path(__file__).with_name("ranking_data.py"))
assert _spec is not None and _spec.loader is not None
sys.modules["ranking_data"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["ranking_data"])


@pytest.fixture
def lung() -> pd.DataFrame:
    """The NCCTG lung data, 228 persons: ``o_time`` in days, ``o_event`` 0/1, ``sex``, ``ecog``."""
    from lifelines.datasets import load_lung

    return load_lung().rename(columns={"status": "o_event", "time": "o_time", "ph.ecog": "ecog"})


@pytest.fixture
def run() -> Callable[..., Result]:
    """run(kind, parameters, {site: frame or SiteData}, policy=..., ...) -> result, on the plain twin by default."""

    def runner(
        kind: str,
        parameters: dict[str, Any],
        sites: dict[str, Any],
        *,
        policy: DisclosurePolicy | None = None,
        receiving: tuple[str, ...] = (),
        facts: dict[str, object] | None = None,
        protocol: str = "plain",
    ) -> Result:
        given = {
            name: data if isinstance(data, SiteData) else SiteData(data.reset_index(drop=True))
            for name, data in sites.items()
        }
        released = Released(policy or DisclosurePolicy(minimum_sites=1), tuple(given), receiving)
        return run_here(
            analysis(kind),
            parse_parameters(kind, parameters),
            released,
            given,
            facts=facts,
            protocol=protocol,
        )

    return runner
