"""Keys: Ed25519 to sign (RFC 8032), hybrid ML-KEM-768 with X25519 in HPKE (RFC 9180) to seal.

A sealed message travels today and may be stored for decades; the hybrid keeps it closed as long as either of
the two holds. HPKE's base mode does not name the sender: whoever accepts a sealed message checks a signature
over its digest.

A private key file is PEM (PKCS #8), mode 0600, and never overwritten. A sealing key is two such blocks, ML-KEM first.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from governance.canonical import sha256_hex
from governance.document import SEALING_KEY_BYTES, SIGNING_KEY_BYTES
from governance.errors import DocumentError, KeyFileError, SealError, SignatureError
from governance.files import write_new

_MLKEM_PUBLIC_BYTES = 1184
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def key_id(public: str) -> str:
    """A short name for a public key: the first 16 hexadecimal digits of SHA-256 over its raw bytes."""
    return sha256_hex(base64.b64decode(public))[:16]


class SigningKey:
    """An Ed25519 key pair."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def generate(cls) -> Self:
        """A fresh key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None) -> Self:
        """Read a PEM file.

        Raises:
            KeyFileError: absent, damaged, another kind of key, or the passphrase is missing or wrong.
        """
        private = _load_pem(path, _read(path), passphrase)
        if not isinstance(private, Ed25519PrivateKey):
            raise KeyFileError(f"{path}: expected an Ed25519 private key, found {type(private).__name__}")
        return cls(private)

    def save(self, path: Path, passphrase: bytes | None = None) -> None:
        """Write a PEM file with mode 0600.

        Raises:
            KeyFileError: the file exists, or its folder cannot be written.
        """
        _write_new(
            path, self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, _protection(passphrase))
        )

    @property
    def public(self) -> str:
        """The verification key, base64 of 32 bytes."""
        return base64.b64encode(self._private.public_key().public_bytes_raw()).decode()

    def sign(self, message: bytes) -> bytes:
        """A 64-byte signature."""
        return self._private.sign(message)


def verify_signature(public: str, message: bytes, signature: bytes) -> None:
    """Check one Ed25519 signature.

    Raises:
        SignatureError: it does not verify under this key.
    """
    try:
        Ed25519PublicKey.from_public_bytes(_raw(public, SIGNING_KEY_BYTES)).verify(signature, message)
    except InvalidSignature as error:
        raise SignatureError(f"the signature does not verify under key {key_id(public)}") from error


class SealingKey:
    """A key pair that others seal messages to."""

    def __init__(self, lattice: MLKEM768PrivateKey, curve: X25519PrivateKey) -> None:
        self._lattice = lattice
        self._curve = curve

    @classmethod
    def generate(cls) -> Self:
        """A fresh key from the operating system's randomness."""
        return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None) -> Self:
        """Read a file of two PEM blocks.

        Raises:
            KeyFileError: absent, damaged, another kind of key, or the passphrase is missing or wrong.
        """
        blocks = _read(path).split(b"-----BEGIN ")[1:]
        keys = [_load_pem(path, b"-----BEGIN " + block, passphrase) for block in blocks]
        if (
            len(keys) == 2
            and isinstance(keys[0], MLKEM768PrivateKey)
            and isinstance(keys[1], X25519PrivateKey)
        ):
            return cls(keys[0], keys[1])
        raise KeyFileError(f"{path}: expected an ML-KEM-768 and then an X25519 private key")

    def save(self, path: Path, passphrase: bytes | None = None) -> None:
        """Write both keys as PEM with mode 0600.

        Raises:
            KeyFileError: the file exists, or its folder cannot be written.
        """
        keys = (self._lattice, self._curve)
        blocks = [k.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, _protection(passphrase)) for k in keys]
        _write_new(path, b"".join(blocks))

    @property
    def public(self) -> str:
        """Base64 of the ML-KEM-768 encapsulation key (1,184 bytes) and the X25519 public key (32 bytes)."""
        lattice, curve = self._lattice.public_key(), self._curve.public_key()
        return base64.b64encode(lattice.public_bytes_raw() + curve.public_bytes_raw()).decode()

    def unseal(self, ciphertext: bytes, info: bytes) -> bytes:
        """Open a message sealed to this key under the same ``info``.

        Raises:
            SealError: changed, cut short, sealed to another key or for another context.
        """
        try:
            return _SUITE.decrypt(ciphertext, hpke.MLKEM768X25519PrivateKey(self._lattice, self._curve), info)
        except (InvalidTag, ValueError) as error:
            raise SealError(
                f"a sealed message of {len(ciphertext)} bytes does not open with key {key_id(self.public)}: "
                "it was changed, or sealed to another key or for another purpose"
            ) from error


def seal(public: str, plaintext: bytes, info: bytes) -> bytes:
    """Seal to a public key; ``info`` binds the context (who, for what) and must be the same on opening.

    Layout: HPKE encapsulation (1,120 bytes) || AES-256-GCM ciphertext and tag.
    """
    raw = _raw(public, SEALING_KEY_BYTES)
    try:
        lattice = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES])
        curve = X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_BYTES:])
        return _SUITE.encrypt(plaintext, hpke.MLKEM768X25519PublicKey(lattice, curve), info)
    except ValueError as error:
        raise SealError(f"{key_id(public)} is no usable sealing key") from error


def _raw(public: str, length: int) -> bytes:
    raw = base64.b64decode(public, validate=True)
    if len(raw) != length:
        raise DocumentError(f"a public key of {length} bytes was expected, found {len(raw)}")
    return raw


def _protection(passphrase: bytes | None) -> KeySerializationEncryption:
    return NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot read the key: {error.strerror}") from error


def _load_pem(path: Path, data: bytes, passphrase: bytes | None) -> object:
    try:
        return load_pem_private_key(data, passphrase)
    except TypeError as error:
        needed = "is" if passphrase is None else "is not"
        raise KeyFileError(f"{path}: this key {needed} protected by a passphrase") from error
    except ValueError as error:
        raise KeyFileError(f"{path}: no private key in PEM, or the passphrase is wrong") from error


def _write_new(path: Path, data: bytes) -> None:
    """The key is at no moment readable by others."""
    try:
        write_new(path, data)
    except FileExistsError as error:
        raise KeyFileError(f"{path}: a key is already there; keys are never overwritten") from error
    except OSError as error:
        raise KeyFileError(f"{path}: cannot write the key: {error.strerror}") from error
