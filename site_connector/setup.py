"""Setting a site up, in two steps: make its keys and public entry; later pin the federation file all members
agreed on."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from governance.document import explain_validation
from governance.federation import Federation, SiteEntry
from governance.files import is_filled, new_directory, replace_file, write_new
from governance.keys import SealingKey, SigningKey
from site_connector.directory import SiteDirectory, SiteSettings
from site_connector.errors import SiteSetupError

SHORTEST_PASSPHRASE = 8


def init_site(
    path: Path, *, site_id: str, name: str, passphrase: bytes, synthetic: bool = False
) -> SiteEntry:
    """Make a new site and return its entry for the federation file.

    The steward's key is encrypted with ``passphrase``; the connector's is not, since the connector starts
    unattended. ``synthetic``: no patient's data will be loaded. The directory appears whole or not at all.

    Raises:
        SiteSetupError: the directory exists and is not empty, a name is malformed, or the passphrase is short.
    """
    if is_filled(path):
        raise SiteSetupError(f"{path}: already exists; keys are never overwritten, choose a new directory")
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise SiteSetupError(f"the steward's passphrase needs at least {SHORTEST_PASSPHRASE} characters")
    with new_directory(path) as scratch:
        return _fill(SiteDirectory(scratch), site_id, name, passphrase, synthetic=synthetic)


def _fill(
    directory: SiteDirectory, site_id: str, name: str, passphrase: bytes, *, synthetic: bool
) -> SiteEntry:
    connector, steward, sealing = SigningKey.generate(), SigningKey.generate(), SealingKey.generate()
    try:
        SiteSettings(id=site_id, name=name)
        entry = SiteEntry(
            id=site_id,
            name=name,
            connector_key=connector.public,
            steward_key=steward.public,
            sealing_key=sealing.public,
        )
    except ValidationError as error:
        raise SiteSetupError(explain_validation("site", error)) from error
    for folder in (directory.connector_key.parent, directory.snapshots, directory.outbox):
        folder.mkdir(mode=0o700)
    connector.save(directory.connector_key)
    steward.save(directory.steward_key, passphrase)
    sealing.save(directory.sealing_key)
    settings = f"id = {json.dumps(site_id)}\nname = {json.dumps(name)}\n"
    settings += "synthetic_data = true\n" if synthetic else ""
    write_new(directory.settings_file, settings.encode(), 0o644)
    write_new(directory.entry, entry.model_dump_json(indent=2).encode(), 0o644)
    return entry


def pin_federation(directory: SiteDirectory, file: Path, digest: str | None = None) -> Federation:
    """Pin the federation file the members agreed on.

    The first file is pinned as it is, or only with this ``digest`` if one is given. Another file later is
    accepted only together with its digest, which the members pass on by another way than the file.

    Raises:
        SiteSetupError: the file lists other keys for this site.
        governance.errors.FederationMismatch: another digest than the one given, or else the pinned one.
        governance.errors.DocumentError: the file is malformed.
    """
    settings = directory.settings()
    pinned = directory.pin.read_text("ascii").strip() if directory.pin.exists() else None
    federation = Federation.load_agreed(file, named=digest, kept=pinned)
    _check_own_entry(directory, federation, settings.id)
    federation.save(directory.federation_file)
    replace_file(directory.pin, f"{federation.digest}\n".encode())
    return federation


def _check_own_entry(directory: SiteDirectory, federation: Federation, site_id: str) -> None:
    known = [site.id for site in federation.sites]
    if site_id not in known:
        raise SiteSetupError(f"federation {federation.name!r} lists sites {known}, not this one ({site_id})")
    listed = federation.site(site_id)
    own = SiteEntry.model_validate_json(directory.entry.read_bytes())
    names = ["connector_key", "steward_key", *(["sealing_key"] if listed.sealing_key else [])]
    wrong = [name for name in names if getattr(listed, name) != getattr(own, name)]
    if wrong:
        raise SiteSetupError(
            f"the federation file lists another {' and '.join(wrong)} for {site_id} than {directory.path} "
            f"holds; give the members {directory.entry} and agree on a new file"
        )
