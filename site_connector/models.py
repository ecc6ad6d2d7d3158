"""What the mailbox carries between connector, steward's page and command line. Stays at the hospital."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from governance.document import Part
from governance.study import StudyProtocol


class StudyState(StrEnum):
    """Where a study stands, as this hospital sees it."""

    WAITING_FOR_US = "waiting for our decision"
    WAITING_FOR_OTHERS = "approved by us, waiting for others"
    DECLINED = "declined by us"
    DECLINED_ELSEWHERE = "declined by another hospital"
    ACTIVE = "active"
    NOT_YET_VALID = "approved, not yet valid"
    REPLACED = "replaced by an amendment"
    WITHDRAWN = "withdrawn by us"
    TOO_FEW_SITES = "too few hospitals remain"
    EXPIRED = "expired"


class AttritionStep(Part):
    """Distinct persons left after one criterion of a cohort."""

    label: str
    persons: int


class UnmappedCode(Part):
    """A source code without a standard concept in the domain a criterion reads."""

    domain: str
    code: str
    records: int
    persons: int


class CohortPreview(Part):
    """One cohort on this hospital's own data. ``emptied_by``: the criterion after which nobody is left, with
    what happened in ``note`` and how many records of what it looked for there are in ``sought``.
    """

    name: str
    population: int
    attrition: tuple[AttritionStep, ...]
    emptied_by: str | None = None
    note: str = ""
    sought: tuple[str, ...] = ()
    unmapped: tuple[UnmappedCode, ...] = ()


class ColumnOut(Part):
    """One column that would leave, as shares. ``width`` numbers a row; ``bits`` is the declared range of a value."""

    name: str
    kind: Literal["bit", "int", "fixed"]
    bits: int
    width: int


class TableOut(Part):
    """One table that would leave. ``rows`` stays here; the nodes see ``shared_rows``, after padding."""

    analysis: str
    kind: str
    table: str
    level: Literal["aggregate", "rows"]
    columns: tuple[ColumnOut, ...]
    rows: int | None = None
    shared_rows: int | None = None

    def column_paths(self) -> tuple[str, ...]:
        """Columns as decisions name them: ``analysis/table/column``."""
        return tuple(f"{self.analysis}/{self.table}/{column.name}" for column in self.columns)


class DryRun(Part):
    """A study on this hospital's own data, with nothing sent. ``problems``: why an upload would fail, if it would.
    ``linkage``: how persons are recognised across hospitals, in words; empty: they are not. ``beside``: what its numbers
    would tell beside those of other studies here.
    """

    snapshot: str
    made_at: datetime
    cohorts: tuple[CohortPreview, ...] = ()
    tables: tuple[TableOut, ...] = ()
    problems: tuple[str, ...] = ()
    linkage: str = ""
    beside: tuple[str, ...] = ()


class SiteStanding(Part):
    """How far one hospital is with a study."""

    site: str
    state: Literal["waiting", "approved", "declined", "withdrawn"]
    reason: str = ""
    since: datetime | None = None


class Upload(Part):
    """One upload: ``prepared`` is sealed and on its way, ``delivered`` is with every node, ``refused`` was
    given up for ``reason``: a node will never take it, or its study expired."""

    upload_id: str
    study: str
    run: str | None
    state: Literal["prepared", "delivered", "refused"]
    created_at: datetime
    delivered_to: tuple[str, ...] = ()
    reason: str = ""


class InboxItem(Part):
    """A study in the mailbox, verified by the connector. ``replaced_by``: digest of the amendment in force."""

    study: StudyProtocol
    digest: str
    received_at: datetime
    state: StudyState
    replaced_by: str | None = None
    standings: tuple[SiteStanding, ...]
    dry_run: DryRun | None = None
    uploads: tuple[Upload, ...] = ()
    note: str = ""


class NodeContact(Part):
    """When a node last answered the connector, and what was wrong if it did not."""

    node: str
    last_answer: datetime | None
    problem: str = ""


class ConnectorStatus(Part):
    """Sign of life of the connector, for people who wait for it."""

    last_round: datetime | None
    nodes: tuple[NodeContact, ...] = ()
    outgoing: int = 0
