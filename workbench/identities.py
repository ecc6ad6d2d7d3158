"""The keys of one person at a workbench: one to sign with, one that results are sealed to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from governance.keys import SealingKey, SigningKey
from workbench.errors import ClientError

SIGNING_FILE = "signing.pem"
SEALING_FILE = "sealing.pem"


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
