"""Builders shared by the tests of the analyses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, Result, SiteData
from mpc_backend.analyses.plain import run_here
from mpc_backend.analyses.registry import analysis, parse_parameters


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
            analysis(kind), parse_parameters(kind, parameters), released, given, facts=facts, protocol=protocol
        )

    return runner
