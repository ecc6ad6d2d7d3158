"""From shares at rest to values a session computes with."""

from __future__ import annotations

from governance.envelope import Envelope, open_document
from governance.manifest import DataFacts, UploadManifest
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.base import Inputs
from mpc_backend.errors import ProtocolAbort, ShareFormatError
from mpc_backend.node.core import NodeCore
from mpc_backend.node.database import UploadRow
from mpc_backend.node.uploads import check_digests
from mpc_backend.node.vault import read_encrypted
from mpc_backend.packages import Package, SealContext, decode_package, unseal_chunks
from mpc_backend.planned import Encoded, PlannedTable, arrange, check_tables, planned_tables, query_tables
from mpc_backend.protocols.sharing import layout
from mpc_backend.session import Session
from mpc_backend.values import SecretValue

QUERY = "query"
"""The pseudo-site of a requester's own table."""

Loaded = dict[str, dict[str, dict[str, SecretValue]]]


def load_inputs(
    core: NodeCore,
    study: StudyProtocol,
    request: RunRequest,
    uploads: dict[str, UploadRow],
    session: Session,
    query: Package | None,
) -> Inputs:
    """The tables of one analysis from every site, and the query if there is one: inputs[table][site][column].

    Raises:
        VaultError: shares at rest cannot be read.
        Refusal: they are not those the manifest was signed for.
    """
    run = request if study.feasibility is not None else None
    planned = planned_tables(study, run)
    mine = [table for table in planned if table.analysis == request.analysis]
    loaded: Loaded = {table.spec.name: {} for table in mine}
    for site, upload in uploads.items():
        encoded, rows = _site_shares(core, upload, planned)
        for table in mine:
            columns = session.input_shares(table.spec, rows[table.name], encoded[table.name])
            loaded[table.spec.name][site] = columns
    if query is not None:
        tables = query_tables(study, study.analysis(request.analysis), request)
        encoded = arrange(tables, query.parts, layout(study.protocol).held[core.index])
        for table in tables:
            columns = session.input_shares(table.spec, _fixed_rows(table), encoded[table.name])
            loaded[table.spec.name] = {QUERY: columns}
    return loaded


def facts_of(uploads: dict[str, UploadRow]) -> dict[str, DataFacts]:
    """What each hospital signed about its data, by site; without those that did not tell."""
    manifests = {
        site: UploadManifest.from_canonical(Envelope.from_canonical(upload.manifest).body)
        for site, upload in uploads.items()
    }
    return {site: manifest.data for site, manifest in manifests.items() if manifest.data is not None}


def _fixed_rows(table: PlannedTable) -> int:
    assert table.spec.rows is not None  # by the validator of TableSpec
    return table.spec.rows


def _site_shares(
    core: NodeCore, upload: UploadRow, planned: tuple[PlannedTable, ...]
) -> tuple[Encoded, dict[str, int]]:
    """One site's encoded shares, checked against its signed manifest again, and the rows of its tables."""
    key = core.federation.site(upload.site).connector_key
    manifest = open_document(Envelope.from_canonical(upload.manifest), UploadManifest, by=key)
    with core.database.read() as session:
        secret = core.vault.existing_key(session, upload.study, upload.site)
    package = decode_package(
        read_encrypted(core.directory.shares / upload.upload_id, secret, upload.upload_id)
    )
    check_digests(core, package, manifest)
    held = layout(core.federation.protocol).held[core.index]
    return arrange(planned, package.parts, held), check_tables(planned, manifest.tables)


def open_query(core: NodeCore, study: StudyProtocol, request: RunRequest) -> Package | None:
    """The requester's shares, or None if the run brings none.

    Raises:
        governance.errors.SealError, ProtocolAbort: they do not open, or are no package of this node's shares.
    """
    if not request.commitments:
        return None
    sealed = (core.directory.queries / request.run_id).read_bytes()
    context = SealContext(study.digest, QUERY, core.entry.id, request.nonce)
    try:
        package = decode_package(unseal_chunks(sealed, core.sealing, context))
    except ShareFormatError as error:
        raise ProtocolAbort(f"the requester's query is malformed: {error}") from error
    if set(package.salts) != set(layout(study.protocol).held[core.index]):
        raise ProtocolAbort("the requester's query does not bring the shares this node is to hold")
    return package
