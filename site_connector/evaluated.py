"""Cohorts of studies as the dry run found them, kept in memory: an upload of the same load computes nothing twice."""

from __future__ import annotations

from collections.abc import Mapping

from mpc_backend.analyses.base import SiteData

KEPT = 8
"""Most studies kept; the oldest goes first, and its upload evaluates anew."""


class Evaluated:
    """By study, the cohorts' rows and the digest of the load they were computed from."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, Mapping[str, SiteData]]] = {}

    def keep(self, study: str, load: str, data: Mapping[str, SiteData]) -> None:
        """Keep what was computed for a study, in place of anything before."""
        self._kept.pop(study, None)
        self._kept[study] = load, data
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]

    def take(self, study: str, load: str) -> Mapping[str, SiteData] | None:
        """What was computed from this very load, if it is still here; it is forgotten either way."""
        found, data = self._kept.pop(study, ("", None))
        return data if found == load else None
