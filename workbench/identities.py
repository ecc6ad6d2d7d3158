"""The keys of one person at a workbench, one to sign with, one that results are sealed to; and the federation
that this person uses them in, by its digest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from governance.federation import Federation, InvestigatorEntry
from governance.files import replace_file
from governance.keys import SealingKey, SigningKey, key_id
from workbench.errors import ClientError

SIGNING_FILE = "signing.pem"
SEALING_FILE = "sealing.pem"
PIN_FILE = "federation.sha256"
ENTRY_FILE = "entry.json"
LONGEST_ID, LONGEST_NAME, KEY_DIGITS = 63, 40, 6


@dataclass(frozen=True)
class Identity:
    """A person's key pairs. A study names the public halves among its recipients."""

    signing: SigningKey
    sealing: SealingKey


def create_identity(folder: Path, passphrase: bytes | None = None) -> Identity:
    """Make both keys in a folder, or load them where they exist already."""
    if (folder / SIGNING_FILE).exists():
        return load_identity(folder, passphrase)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    identity = Identity(SigningKey.generate(), SealingKey.generate())
    identity.signing.save(folder / SIGNING_FILE, passphrase)
    identity.sealing.save(folder / SEALING_FILE, passphrase)
    return identity


def write_entry(folder: Path, account: str, organisation: str) -> InvestigatorEntry:
    """Write the person's public entry for a federation file that lists its investigators, beside the keys.

    Raises:
        ClientError: the folder holds no keys.
    """
    key = load_identity(folder).signing.public
    entry = InvestigatorEntry(
        id=_entry_id(account, organisation, key), organisation=organisation, signing_key=key
    )
    replace_file(folder / ENTRY_FILE, entry.model_dump_json(indent=2).encode())
    return entry


def _entry_id(account: str, organisation: str, key: str) -> str:
    """Organisation, account and the first digits of the key's id, so that no two keys get the same; what is too long
    is cut from the organisation first.
    """
    end = f"-{_in_id(account)[:LONGEST_NAME]}-{key_id(key)[:KEY_DIGITS]}"
    first = _in_id(organisation)
    first = first if first[:1].isalpha() else f"i-{first}"
    return f"{first[: LONGEST_ID - len(end)].strip('-')}{end}"


def _in_id(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def load_identity(folder: Path, passphrase: bytes | None = None) -> Identity:
    """Read both keys.

    Raises:
        ClientError: the folder holds none.
        governance.errors.KeyFileError: a key is damaged, or the passphrase is missing or wrong.
    """
    if not (folder / SIGNING_FILE).is_file():
        raise ClientError(f"{folder}: no keys there; `tessera workbench users add` makes them")
    signing = SigningKey.load(folder / SIGNING_FILE, passphrase)
    return Identity(signing, SealingKey.load(folder / SEALING_FILE, passphrase))


def pinned_federation(file: Path, folder: Path, pin: str | None = None) -> Federation:
    """A federation file, if it is the one that the person with the keys in ``folder`` relies on.

    Its digest is kept beside the keys at first use, or whenever ``pin`` names it; afterwards any other file is
    refused, since whoever could exchange the file could put other nodes in.

    Raises:
        governance.errors.FederationMismatch: the file has another digest than ``pin``, or than the one that is kept.
        ClientError: the folder holds no keys, or the digest cannot be kept there.
        governance.errors.DocumentError: the file is unreadable or malformed.
    """
    if not (folder / SIGNING_FILE).is_file():
        raise ClientError(f"{folder}: no keys there; `tessera workbench users add` makes them")
    record = folder / PIN_FILE
    kept = record.read_text("ascii").strip() if record.exists() else None
    federation = Federation.load_agreed(file, named=pin, kept=kept)
    if federation.digest != kept:
        try:
            replace_file(record, f"{federation.digest}\n".encode())
        except OSError as error:
            raise ClientError(
                f"{record}: cannot keep the federation's digest there: {error.strerror}"
            ) from error
    return federation
