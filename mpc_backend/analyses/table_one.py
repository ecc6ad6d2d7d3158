"""Table one: groups described by numbers (mean, deviation, quartiles) and categories (counts), with standardised
differences, over all hospitals, from sums and counts that each makes of its own rows. See docs/analyses/table_one.md.
"""

from __future__ import annotations

from typing import ClassVar

from mpc_backend.analyses.base import Analysis, Inputs, Opened, Outputs, Released, SiteData, shaped
from mpc_backend.analyses.disclosure import require_sites
from mpc_backend.analyses.table_one_parameters import TableOneParameters
from mpc_backend.analyses.table_one_release import GroupTables, released_outputs
from mpc_backend.analyses.table_one_result import TableOneResult, table_one_result
from mpc_backend.analyses.table_one_tables import local_tables, specs
from mpc_backend.session import Session
from mpc_backend.tables import Arrays, TableSpec
from mpc_backend.values import SecretFixed, SecretInt


class TableOne(Analysis[TableOneParameters]):
    """See the module's docstring."""

    kind: ClassVar[str] = "table_one"
    parameters = TableOneParameters
    result = TableOneResult

    def tables(self, parameters: TableOneParameters) -> tuple[TableSpec, ...]:
        return specs(parameters)

    def local(self, parameters: TableOneParameters, site: SiteData) -> dict[str, Arrays]:
        found = local_tables(parameters, site)
        return {spec.name: shaped(spec, found[spec.name]) for spec in self.tables(parameters)}

    def compute(
        self, session: Session, parameters: TableOneParameters, released: Released, inputs: Inputs
    ) -> Outputs:
        require_sites(released)
        return released_outputs(session, parameters, released, _gathered(parameters, inputs))

    def finish(self, parameters: TableOneParameters, released: Released, opened: Opened) -> TableOneResult:
        return table_one_result(parameters, released, opened)


def _gathered(parameters: TableOneParameters, inputs: Inputs) -> GroupTables:
    """Counts by hospital (groups, 1 + cells); sums (groups, 2) and counts on the grid (groups, bins) over all, a number."""
    groups, cells = len(parameters.groups), {}
    for site, columns in inputs["cells"].items():
        persons = columns["persons"]
        assert isinstance(persons, SecretInt)
        cells[site] = persons.reshape(groups, -1)
    sums, bins = [], []
    for place in range(len(parameters.numbers)):
        found: dict[str, SecretFixed | SecretInt] = {}
        for columns in inputs[f"number{place}"].values():
            for name in ("sums", "bins"):
                part = columns[name]
                assert isinstance(part, SecretFixed | SecretInt)
                found[name] = found[name] + part if name in found else part
        total, counts = found["sums"], found["bins"]
        assert isinstance(total, SecretFixed) and isinstance(counts, SecretInt)
        sums.append(total.reshape(groups, 2))
        bins.append(counts.reshape(groups, -1))
    return GroupTables(cells, sums, bins)
