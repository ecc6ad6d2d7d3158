"""The secrets by which hospitals recognise persons, as this hospital keeps them: made or taken, never shown.

Each is a file of mode 0600 named after its id. It leaves the hospital only sealed to the other hospitals.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from governance.document import utc_text
from governance.envelope import Envelope
from governance.errors import DocumentError
from governance.federation import Federation, SiteEntry
from governance.files import replace_file, write_new
from governance.keys import SealingKey, SigningKey
from governance.linkage import SECRET_BYTES, LinkageSecret
from governance.linkage_key import open_linkage, seal_linkage
from site_connector.directory import SiteDirectory
from site_connector.errors import LinkageRefused

SUFFIX = ".key"


def held(directory: SiteDirectory) -> tuple[str, ...]:
    """Ids of the linkage keys that this hospital has."""
    return tuple(sorted(file.stem for file in directory.linkage_keys.glob(f"*{SUFFIX}")))


def secret(directory: SiteDirectory, key: str) -> LinkageSecret:
    """The linkage key with this id.

    Raises:
        LinkageRefused: this hospital has no such key, or its file is damaged.
    """
    file = _file(directory, key)
    try:
        raw = file.read_bytes()
    except FileNotFoundError as error:
        known = ", ".join(held(directory)) or "none"
        raise LinkageRefused(
            f"linkage key {key} is not here (keys here: {known}); take it with `tessera site linkage {directory.path} --take "
            "FILE` from a hospital that has it"
        ) from error
    except OSError as error:
        raise LinkageRefused(f"{file}: cannot read the linkage key: {error.strerror}") from error
    if len(raw) != SECRET_BYTES or (found := LinkageSecret(raw)).id != key:
        raise LinkageRefused(f"{file}: no linkage key, or another one than its name says; take it anew")
    return found


def sealing_key(directory: SiteDirectory) -> SealingKey:
    """This hospital's sealing key; made, and added to its public entry, where the hospital was set up without one."""
    if not directory.sealing_key.exists():
        made = SealingKey.generate()
        made.save(directory.sealing_key)
        entry = SiteEntry.model_validate_json(directory.entry.read_bytes())
        entry = entry.model_copy(update={"sealing_key": made.public})
        replace_file(directory.entry, entry.model_dump_json(indent=2).encode())
    return SealingKey.load(directory.sealing_key)


def share(
    directory: SiteDirectory, file: Path, steward: SigningKey, now: datetime, *, key: str | None = None
) -> str:
    """Write a file with a linkage key sealed to every hospital of the federation; returns the key's id.

    ``key``: which; None: the only one here, or a new one where there is none.

    Raises:
        LinkageRefused: several keys are here and none is named, or ``file`` exists.
        governance.errors.DocumentError: a hospital has no sealing key in the federation file.
    """
    known = held(directory)
    if key is None and len(known) > 1:
        raise LinkageRefused(f"{directory.path} holds linkage keys {', '.join(known)}; name one with --key")
    chosen = key or next(iter(known), None)
    found = secret(directory, chosen) if chosen else LinkageSecret.generate()
    envelope = seal_linkage(directory.federation(), found, directory.settings().id, steward, now)
    try:
        write_new(file, envelope.canonical(), 0o644)
    except FileExistsError as error:
        raise LinkageRefused(f"{file}: exists already; choose another name") from error
    except OSError as error:
        raise LinkageRefused(f"{file}: cannot be written: {error.strerror}") from error
    if chosen is None:
        _keep(directory, found)
    _log(directory, "linkage key shared", found, now)
    return found.id


def take(directory: SiteDirectory, file: Path, now: datetime) -> str:
    """Keep the linkage key that another hospital sealed to this one; returns its id.

    Raises:
        LinkageRefused: the file cannot be read.
        governance.errors.GovernanceError: it is malformed, signed by no steward, or sealed to others.
    """
    try:
        envelope = Envelope.from_canonical(file.read_bytes())
    except OSError as error:
        raise LinkageRefused(f"{file}: cannot be read: {error.strerror}") from error
    except DocumentError as error:
        raise LinkageRefused(f"{file}: not what `tessera site linkage --share` wrote: {error}") from error
    federation: Federation = directory.federation()
    found = open_linkage(federation, envelope, directory.settings().id, sealing_key(directory))
    if not _holds(directory, found):
        _keep(directory, found)
        _log(directory, "linkage key taken", found, now)
    return found.id


def _holds(directory: SiteDirectory, wanted: LinkageSecret) -> bool:
    """Whether the key is here, and undamaged."""
    file = _file(directory, wanted.id)
    return file.exists() and file.read_bytes() == wanted.reveal()


def _file(directory: SiteDirectory, key: str) -> Path:
    return directory.linkage_keys / f"{key}{SUFFIX}"


def _keep(directory: SiteDirectory, found: LinkageSecret) -> None:
    directory.linkage_keys.mkdir(mode=0o700, exist_ok=True)
    replace_file(_file(directory, found.id), found.reveal())


def _log(directory: SiteDirectory, kind: str, found: LinkageSecret, now: datetime) -> None:
    with directory.ledger() as ledger:
        ledger.append({"kind": kind, "at": utc_text(now), "key": found.id})
