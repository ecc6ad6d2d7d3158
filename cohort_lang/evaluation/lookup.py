"""Asking a site's own vocabulary about concepts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ibis.backends import BaseBackend

from cohort_lang.evaluation.site import Site
from cohort_lang.lints.base import ConceptFacts


class SiteConcepts:
    """A ``ConceptLookup`` on the concept table of a site's database."""

    def __init__(self, connection: BaseBackend):
        self._connection = connection

    def find(self, concept_ids: Iterable[int]) -> Mapping[int, ConceptFacts]:
        """Facts of those concepts that the vocabulary knows. Raises MissingTable."""
        wanted = sorted(set(concept_ids))
        if not wanted:
            return {}
        concept = Site(self._connection, ()).table("concept", "looking up concepts")
        columns = ("concept_id", "concept_name", "domain_id", "standard_concept", "invalid_reason")
        rows = concept.filter(concept.concept_id.isin(wanted)).select(*columns).to_pyarrow().to_pylist()
        return {
            int(row["concept_id"]): ConceptFacts(
                row["concept_name"],
                row["domain_id"],
                row["standard_concept"] == "S",
                not row["invalid_reason"],
            )
            for row in rows
        }
