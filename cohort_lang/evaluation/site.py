"""A site's database as the evaluation sees it: its tables, the concepts a definition names, and temporary results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import ibis
from ibis.backends import BaseBackend
from ibis.expr.types import IntegerColumn, Table

from cohort_lang.errors import MissingTable, UnknownConcept
from cohort_lang.tree import ConceptItem, ConceptSet

EPOCH = ibis.date(1970, 1, 1)


class Site:
    """The database and the concept sets of one evaluation; a context manager that drops its temporary tables."""

    def __init__(self, connection: BaseBackend, concept_sets: Sequence[ConceptSet]):
        self._connection = connection
        self._held = ExitStack()
        self._names = {name.lower(): name for name in connection.list_tables()}
        self._numbers = {declared.name: number for number, declared in enumerate(concept_sets)}
        self._tables: dict[str, Table] = {}
        self._concept_sets = tuple(concept_sets)
        self._codesets: Table | None = None
        self._found: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def table(self, name: str, needed_by: str) -> Table:
        """An OMOP table with lower-case column names. Raises MissingTable."""
        if name not in self._names:
            raise MissingTable(f"table {name}", needed_by)
        if name not in self._tables:
            table = self._connection.table(self._names[name])
            self._tables[name] = table.rename(str.lower)
        return self._tables[name]

    def hold(self, expression: Table) -> Table:
        """Compute an expression once into a temporary table that lives as long as this evaluation."""
        return self._held.enter_context(expression.cache())

    # ---- concepts

    def concepts(self, name: str) -> Table:
        """The concepts of a declared set at this site: one column, ``concept_id``."""
        found = self._resolved()
        return found.filter(found.set_number == self._numbers[name]).select("concept_id")

    def exact(self, ids: Iterable[int]) -> Table:
        """These concept ids as a one-column table. Raises UnknownConcept."""
        wanted = tuple(dict.fromkeys(ids))
        self._refuse_unknown(wanted)
        return ibis.memtable({"concept_id": list(wanted)}, schema={"concept_id": "int64"})

    def units(self, units: Iterable[int | str]) -> tuple[int, ...]:
        """Unit concept ids; a text is a UCUM code of the site's vocabulary. Raises UnknownConcept."""
        codes = sorted({unit for unit in units if isinstance(unit, str)})
        ids = tuple(unit for unit in units if isinstance(unit, int))
        if not codes:
            return ids
        concept = self.table("concept", "a unit code")
        known = concept.filter(concept.vocabulary_id == "UCUM", concept.concept_code.isin(codes))
        rows = known.select("concept_code", "concept_id").to_pyarrow().to_pylist()
        missing = sorted(set(codes) - {row["concept_code"] for row in rows})
        if missing:
            raise UnknownConcept(f"UCUM {code!r}" for code in missing)
        return ids + tuple(row["concept_id"] for row in rows)

    def check_concepts(self, further: Iterable[int] = ()) -> None:
        """Refuse the definition when one of its concept ids, or of ``further`` ones, is not in the vocabulary.

        One query for all of them. Raises UnknownConcept.
        """
        declared = {item.concept_id for declared in self._concept_sets for item in declared.items}
        self._refuse_unknown(declared | set(further))

    def _refuse_unknown(self, ids: Iterable[int]) -> None:
        wanted = sorted(set(ids) - self._found)
        if not wanted:
            return
        concept = self.table("concept", "looking up concepts")
        found = concept.filter(concept.concept_id.isin(wanted)).concept_id.to_pyarrow().to_pylist()
        self._found |= set(found)
        if missing := sorted(set(wanted) - set(found)):
            raise UnknownConcept(missing)

    def _resolved(self) -> Table:
        if self._codesets is None:
            self.check_concepts()
            parts = [self._resolve(declared, number) for number, declared in enumerate(self._concept_sets)]
            self._codesets = self.hold(ibis.union(*parts) if len(parts) > 1 else parts[0])
        return self._codesets

    def _resolve(self, declared: ConceptSet, number: int) -> Table:
        wanted = self._brought(item for item in declared.items if not item.excluded)
        barred = [item for item in declared.items if item.excluded]
        if barred:
            wanted = wanted.anti_join(self._brought(barred), "concept_id")
        return wanted.distinct().mutate(set_number=ibis.literal(number, "int32"))

    def _brought(self, items: Iterable[ConceptItem]) -> Table:
        listed = tuple(items)
        everything = self._with_descendants(listed)
        if any(item.mapped for item in listed):
            everything = everything.union(self._mapped(tuple(item for item in listed if item.mapped)))
        return everything

    def _with_descendants(self, items: tuple[ConceptItem, ...]) -> Table:
        concept = self.table("concept", "concept sets")
        ids = [item.concept_id for item in items]
        own = concept.filter(concept.concept_id.isin(ids)) if ids else concept.limit(0)
        found = own.select(concept_id=own.concept_id.cast("int64"))
        parents = [item.concept_id for item in items if item.descendants]
        return found.union(self._descendants(parents)) if parents else found

    def _descendants(self, parents: list[int]) -> Table:
        """As Circe: descendants through concept_ancestor, without concepts that are no longer valid."""
        ancestor = self.table("concept_ancestor", "'and descendants'")
        concept = self.table("concept", "concept sets")
        valid = concept.filter(concept.invalid_reason.isnull() | (concept.invalid_reason == ""))
        below = ancestor.filter(ancestor.ancestor_concept_id.isin(parents))
        ids = below.select(concept_id=below.descendant_concept_id.cast("int64"))
        return ids.semi_join(valid.select(concept_id=valid.concept_id.cast("int64")), "concept_id")

    def _mapped(self, items: tuple[ConceptItem, ...]) -> Table:
        """As Circe: concepts that map to one of these (source codes)."""
        relationship = self.table("concept_relationship", "'and mapped'")
        maps = relationship.filter(
            relationship.relationship_id == "Maps to",
            relationship.invalid_reason.isnull() | (relationship.invalid_reason == ""),
        )
        targets = self._with_descendants(items)
        hits = maps.semi_join(targets, [("concept_id_2", "concept_id")])
        return hits.select(concept_id=hits.concept_id_1.cast("int64"))


def day_number(column: ibis.expr.types.DateColumn) -> IntegerColumn:
    """A date column as whole days since 1970-01-01 (int64); times of day are dropped."""
    return column.cast("date").delta(EPOCH, unit="day")


def as_date(column: IntegerColumn) -> ibis.expr.types.DateColumn:
    """The inverse of ``day_number``."""
    return (EPOCH + column.as_interval("D")).cast("date")
