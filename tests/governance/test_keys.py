"""Signatures against RFC 8032, sealing, and key files."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.errors import DocumentError, KeyFileError, SealError, SignatureError
from governance.keys import SealingKey, SigningKey, key_id, seal, verify_signature

# RFC 8032, section 7.1, test 3.
SECRET = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"
PUBLIC = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
MESSAGE = bytes.fromhex("af82")
SIGNATURE = (
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


def test_ed25519_known_answer() -> None:
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SECRET)))
    assert base64.b64decode(key.public).hex() == PUBLIC
    assert key.sign(MESSAGE).hex() == SIGNATURE
    verify_signature(key.public, MESSAGE, bytes.fromhex(SIGNATURE))


@given(message=st.binary(max_size=64), bit=st.integers(0, 511))
def test_any_flipped_bit_of_a_signature_is_refused(message: bytes, bit: int) -> None:
    key = SigningKey.generate()
    signature = bytearray(key.sign(message))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        verify_signature(key.public, message, bytes(signature))


def test_another_message_or_key_is_refused() -> None:
    key = SigningKey.generate()
    with pytest.raises(SignatureError):
        verify_signature(key.public, b"b", key.sign(b"a"))
    with pytest.raises(SignatureError, match=key_id(key.public)):
        verify_signature(key.public, b"a", SigningKey.generate().sign(b"a"))


@settings(max_examples=25)
@given(message=st.binary(max_size=2000), info=st.binary(max_size=100))
def test_sealed_messages_open_with_their_key_and_context_only(message: bytes, info: bytes) -> None:
    key = SealingKey.generate()
    sealed = seal(key.public, message, info)
    assert len(sealed) == len(message) + 1136
    assert key.unseal(sealed, info) == message
    for wrong in (
        lambda: key.unseal(sealed, info + b"."),
        lambda: SealingKey.generate().unseal(sealed, info),
    ):
        with pytest.raises(SealError):
            wrong()


@pytest.mark.parametrize("position", [0, 600, 1100, 1119, 1120, 1130, -1])
def test_a_changed_or_cut_ciphertext_does_not_open(position: int) -> None:
    key = SealingKey.generate()
    sealed = bytearray(seal(key.public, b"shares", b"info"))
    sealed[position] ^= 1
    for changed in (bytes(sealed), bytes(sealed[:-1]), b""):
        with pytest.raises(SealError, match="does not open"):
            key.unseal(changed, b"info")


def test_sealing_twice_gives_unrelated_ciphertexts() -> None:
    key = SealingKey.generate()
    assert seal(key.public, b"same", b"") != seal(key.public, b"same", b"")


@pytest.mark.parametrize("kind", [SigningKey, SealingKey])
@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_key_files(
    tmp_path: Path, kind: type[SigningKey] | type[SealingKey], passphrase: bytes | None
) -> None:
    key, path = kind.generate(), tmp_path / "key.pem"
    key.save(path, passphrase)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kind.load(path, passphrase).public == key.public
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        kind.generate().save(path)
    assert path.read_bytes() == before


def test_key_files_at_fault(tmp_path: Path) -> None:
    SigningKey.generate().save(tmp_path / "locked.pem", b"right")
    SigningKey.generate().save(tmp_path / "open.pem")
    (tmp_path / "junk.pem").write_bytes(b"junk")
    faults = [
        (SigningKey, "absent.pem", None, "cannot read"),
        (SigningKey, "locked.pem", None, "is protected"),
        (SigningKey, "locked.pem", b"wrong", "passphrase is wrong"),
        (SigningKey, "open.pem", b"any", "is not protected"),
        (SigningKey, "junk.pem", None, "no private key"),
        (SealingKey, "open.pem", None, "expected an ML-KEM-768"),
        (SealingKey, "junk.pem", None, "expected an ML-KEM-768"),
    ]
    for kind, name, passphrase, message in faults:
        with pytest.raises(KeyFileError, match=message):
            kind.load(tmp_path / name, passphrase)


def test_sealing_to_a_signing_key_is_refused() -> None:
    with pytest.raises(DocumentError, match="1216 bytes was expected, found 32"):
        seal(SigningKey.generate().public, b"", b"")
