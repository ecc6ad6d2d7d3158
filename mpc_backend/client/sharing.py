"""From plaintext columns to what each node may hold: split, pad, salt, seal, and the manifest that is signed for it.

Only a hospital's connector and a physician's client run this; it is where plaintext becomes shares.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from governance.canonical import sha256_hex
from governance.envelope import Envelope, sign_document
from governance.federation import Federation
from governance.keys import SigningKey
from governance.manifest import DataFacts, ManifestTable, UploadManifest
from governance.run_request import RunRequest
from governance.study import StudyProtocol
from mpc_backend.analyses.errors import InputsRefused
from mpc_backend.analyses.plain import padded
from mpc_backend.node.software import software_digest
from mpc_backend.packages import Package, Part, SealContext, encode_package, new_salt, seal_chunks
from mpc_backend.planned import PlannedTable, planned_tables
from mpc_backend.protocols.sharing import layout, split
from mpc_backend.tables import Array, Arrays, Column

Tables = Mapping[str, Mapping[str, Arrays]]
"""Plaintext columns by analysis id, then table name, as `Analysis.local` gives them."""


@dataclass(frozen=True)
class SealedShares:
    """Shares of some tables: one sealed package per node id, and the salted digest of each share by its index."""

    sealed: Mapping[str, bytes]
    digests: Mapping[str, str]

    @property
    def commitments(self) -> dict[str, str]:
        """SHA-256 (hex) of each sealed package, by node id."""
        return {node: sha256_hex(data) for node, data in self.sealed.items()}


@dataclass(frozen=True)
class Upload:
    """What `NodeSet.upload` takes: the signed manifest and each node's sealed package."""

    manifest: Envelope
    sealed: Mapping[str, bytes]


def share_upload(
    federation: Federation,
    study: StudyProtocol,
    site: str,
    tables: Tables,
    *,
    key: SigningKey,
    snapshot: str,
    now: datetime,
    run: RunRequest | None = None,
    data: DataFacts | None = None,
) -> Upload:
    """Share everything a study asks of one site (or of one run, in a feasibility study).

    Args:
        tables: the columns of every planned table, unpadded.
        key: the site's connector key.
        snapshot: salted digest of the frozen database they were computed from.
        data: what results say of that database.

    Raises:
        InputsRefused: a table or column is missing, foreign, of another length than planned or not of
            numbers, or a value lies outside its declared range; names the column.
    """
    planned = planned_tables(study, run)
    ready = {table.name: _padded(table, tables) for table in planned}
    foreign = {f"{a}/{name}" for a, found in tables.items() for name in found} - set(ready)
    if foreign:
        raise InputsRefused(f"tables {sorted(foreign)} are not what the study asks for ({sorted(ready)})")
    upload_id = secrets.token_hex(16)
    shared = seal_tables(federation, study.digest, site, upload_id, [(t, ready[t.name]) for t in planned])
    manifest = UploadManifest(
        study_digest=study.digest,
        federation=federation.digest,
        run=run.run_id if run is not None else None,
        site=site,
        upload_id=upload_id,
        created_at=now,
        not_after=study.validity.not_after,
        snapshot=snapshot,
        tables=tuple(_manifest_table(table, ready[table.name]) for table in planned),
        shares=dict(shared.digests),
        sealed=shared.commitments,
        software=software_digest(),
        data=data,
    )
    return Upload(sign_document(manifest, key), shared.sealed)


def _manifest_table(table: PlannedTable, columns: Arrays) -> ManifestTable:
    names = tuple(column.name for column in table.spec.columns)
    return ManifestTable(
        analysis=table.analysis, name=table.spec.name, rows=len(columns[names[0]]), columns=names
    )


def _padded(table: PlannedTable, tables: Tables) -> Arrays:
    """The columns of one planned table, filled with zero rows up to its bucket if it is a table of persons."""
    found = tables.get(table.analysis, {}).get(table.spec.name)
    if found is None:
        raise InputsRefused(f"table {table.name} is missing; the study asks for it")
    return padded(table.spec, dict(found))


def seal_tables(
    federation: Federation,
    study: str,
    sender: str,
    upload: str,
    tables: Iterable[tuple[PlannedTable, Arrays]],
) -> SealedShares:
    """Split tables into shares and seal to each node the shares it holds, with the salts of those shares.

    Raises:
        InputsRefused: a column is not of numbers, or a value lies outside its declared range.
    """
    plan = layout(federation.protocol)
    salts = {share: new_salt() for share in range(plan.shares)}
    parts = [
        Part(table.name, column.name, share, data)
        for table, columns in tables
        for column in table.spec.columns
        for share, data in sorted(_split(plan.protocol, column, columns[column.name]).items())
    ]
    sealed = {}
    for node in federation.nodes:
        held = plan.held[node.index]
        package = Package(
            {share: salts[share] for share in held}, tuple(part for part in parts if part.share in held)
        )
        context = SealContext(study, sender, node.id, upload)
        sealed[node.id] = seal_chunks(encode_package(package), node.sealing_key, context)
    digests = Package(salts, tuple(parts)).digests()
    return SealedShares(sealed, {str(share): digest for share, digest in digests.items()})


def _split(protocol: str, column: Column, values: Array) -> dict[int, bytes]:
    """Shares of one column. Only arrays of numbers go in: converting anything else, numpy would quote the
    cell it fails at.
    """
    found = np.asarray(values).dtype
    if found.kind not in "biuf":
        raise InputsRefused(f"column {column.name}: expected numbers, found {found}")
    try:
        return split(protocol, column, values)
    except ValueError as error:
        raise InputsRefused(str(error)) from error
