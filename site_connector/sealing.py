"""From padded plaintext columns to what leaves: one sealed package per node, and salted digests of every
share."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from governance.federation import Federation
from governance.study import StudyProtocol
from mpc_backend.packages import Package, Part, SealContext, encode_package, new_salt, seal_chunks
from mpc_backend.planned import PlannedTable
from mpc_backend.protocols.sharing import layout, split
from mpc_backend.tables import Arrays
from site_connector.errors import CannotEvaluate


@dataclass(frozen=True)
class SealedUpload:
    """``packages``: ciphertext by node id. ``shares``: SHA-256(salt || share) by share index."""

    upload_id: str
    packages: Mapping[str, bytes]
    shares: Mapping[int, str]


def seal_upload(
    federation: Federation,
    study: StudyProtocol,
    site: str,
    tables: Iterable[PlannedTable],
    columns: Mapping[str, Arrays],
) -> SealedUpload:
    """Split every column into fresh shares and seal to each node those it may hold.

    Raises:
        CannotEvaluate: a value lies outside its column's declared range; names the column.
    """
    upload_id = secrets.token_hex(16)
    plan = layout(study.protocol)
    salts = {share: new_salt() for share in range(plan.shares)}
    parts = [part for table in tables for part in _parts(study.protocol, table, columns[table.name])]
    packages: dict[str, bytes] = {}
    digests: dict[int, str] = {}
    for node in federation.nodes:
        held = set(plan.held[node.index])
        package = Package(
            {share: salts[share] for share in sorted(held)},
            tuple(part for part in parts if part.share in held),
        )
        digests |= package.digests()
        context = SealContext(study.digest, site, node.id, upload_id)
        packages[node.id] = seal_chunks(encode_package(package), node.sealing_key, context)
    return SealedUpload(upload_id, packages, digests)


def _parts(protocol: str, table: PlannedTable, columns: Arrays) -> Iterable[Part]:
    for column in table.spec.columns:
        try:
            shares = split(protocol, column, columns[column.name])
        except ValueError as error:
            raise CannotEvaluate(f"table {table.name}: {error}") from error
        for share, data in sorted(shares.items()):
            yield Part(table.name, column.name, share, data)
