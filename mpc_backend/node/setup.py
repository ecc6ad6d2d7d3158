"""Making a node: its directory, keys, certificate, and the entry that goes into the federation file; and
pinning that file.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from governance.document import explain_validation
from governance.federation import Federation, NodeEntry
from governance.files import is_filled, new_directory, replace_file, write_new
from governance.keys import SealingKey, SigningKey
from mpc_backend.node.errors import NodeSetupError
from mpc_backend.node.settings import NodeDirectory, NodeSettings
from mpc_backend.transport.certificates import node_uri, self_signed

KEK_BYTES = 32


def init_node(
    path: Path,
    *,
    index: int,
    node_id: str,
    organisation: str,
    control: str,
    data: str,
    control_listen: str | None = None,
    data_listen: str | None = None,
) -> NodeEntry:
    """Make a new node and return its entry for the federation file.

    ``control`` and ``data`` are the addresses (host:port) at which others reach it; it binds the same ones
    unless told otherwise. The directory appears whole or not at all.

    Raises:
        NodeSetupError: the directory exists and is not empty, or an address or name is malformed.
    """
    if is_filled(path):
        raise NodeSetupError(f"{path}: already exists; keys are never overwritten, choose a new directory")
    values = {
        "id": node_id,
        "organisation": organisation,
        "control_url": f"https://{control}",
        "data_address": data,
        "control_listen": control_listen or control,
        "data_listen": data_listen or data,
    }
    with new_directory(path) as scratch:
        return _fill(NodeDirectory(scratch), index, values)


def _fill(directory: NodeDirectory, index: int, values: dict[str, str]) -> NodeEntry:
    directory.identity_key.parent.mkdir(mode=0o700)
    identity, sealing = SigningKey.generate(), SealingKey.generate()
    tls_key = Ed25519PrivateKey.generate()
    hosts = sorted({_host(values["control_url"]), _host(f"https://{values['data_address']}")})
    try:
        NodeSettings(**values)  # type: ignore[arg-type]
        certificate = self_signed(node_uri(values["id"]), hosts, tls_key)
        entry = NodeEntry(
            index=index,
            id=values["id"],
            organisation=values["organisation"],
            control_url=values["control_url"],
            data_address=values["data_address"],
            identity_key=identity.public,
            sealing_key=sealing.public,
            tls_certificate=certificate,
        )
    except ValidationError as error:
        raise NodeSetupError(explain_validation("node", error)) from error
    identity.save(directory.identity_key)
    sealing.save(directory.sealing_key)
    write_new(directory.tls_key, tls_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_new(directory.key_encryption_key, secrets.token_bytes(KEK_BYTES))
    write_new(directory.tls_certificate, certificate.encode(), 0o644)
    toml = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
    write_new(directory.settings_file, toml.encode(), 0o644)
    write_new(directory.entry, entry.model_dump_json(indent=2).encode(), 0o644)
    directory.make_folders()
    return entry


def _host(url: str) -> str:
    host = urlsplit(url).hostname
    if not host:
        raise NodeSetupError(f"{url!r} is no address; write host:port")
    return host


def pin_federation(directory: NodeDirectory, file: Path | None, digest: str | None) -> Federation:
    """The federation this node belongs to: the pinned one, or ``file`` pinned now.

    A node that has pinned a federation accepts another file only together with its ``digest``, as the members
    agreed on it; the first file is pinned as it is.

    Raises:
        NodeSetupError: nothing pinned and no file given, or this node's entry does not match its keys.
        governance.errors.FederationMismatch: another digest than the one given, or else the pinned one.
        governance.errors.DocumentError: the file is malformed.
    """
    pinned = directory.pin.read_text("ascii").strip() if directory.pin.exists() else None
    if file is None:
        if pinned is None:
            raise NodeSetupError(
                f"{directory.path}: no federation is pinned yet; `tessera node serve {directory.path} --federation "
                "FILE` pins the file the members agreed on"
            )
        return _own_entry_checked(directory, Federation.load(directory.federation, pinned))
    federation = Federation.load_agreed(file, named=digest, kept=pinned)
    _own_entry_checked(directory, federation)
    if federation.digest != pinned:
        federation.save(directory.federation)
        replace_file(directory.pin, f"{federation.digest}\n".encode())
    return federation


def _own_entry_checked(directory: NodeDirectory, federation: Federation) -> Federation:
    """Refuse a federation file that lists other keys or addresses for this node than it has."""
    settings = directory.settings()
    ids = [node.id for node in federation.nodes]
    if settings.id not in ids:
        raise NodeSetupError(
            f"federation {federation.name!r} lists nodes {ids}, not this one ({settings.id})"
        )
    entry = federation.node(settings.id)
    own = {
        "identity_key": SigningKey.load(directory.identity_key).public,
        "sealing_key": SealingKey.load(directory.sealing_key).public,
        "tls_certificate": directory.tls_certificate.read_text("ascii"),
        "control_url": settings.control_url,
        "data_address": settings.data_address,
    }
    wrong = [name for name, value in own.items() if getattr(entry, name).strip() != value.strip()]
    if wrong:
        raise NodeSetupError(
            f"the federation file lists another {', '.join(wrong)} for {settings.id} than {directory.path} "
            f"holds; give the members {directory.entry} and agree on a new file"
        )
    return federation
