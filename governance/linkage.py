"""Recognising one person at several hospitals without saying who it is: identifiers written alike, and keyed tokens of them.

The linkage secret is known to hospitals alone (see `governance.linkage_key`). For every study a key of its own follows from
it, and a person's token is 128 bits of HMAC-SHA256 under that key. Without the key nobody can try identifiers out, and
tokens of two studies have nothing in common.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Annotated, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import Field, model_validator

from governance.canonical import canonical_json
from governance.document import Part

SECRET_BYTES, TOKEN_BYTES = 32, 16
KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""Which linkage secret: 64 bits that follow from it and tell nothing about it."""


class Identifier(StrEnum):
    """What persons can be recognised by."""

    NATIONAL_ID = "national_id"
    INSURANCE_ID = "insurance_id"
    FAMILY_NAME = "family_name"
    GIVEN_NAME = "given_name"
    BIRTH_DATE = "birth_date"
    SEX = "sex"
    POSTAL_CODE = "postal_code"


ENOUGH = (
    {Identifier.NATIONAL_ID},
    {Identifier.INSURANCE_ID},
    {Identifier.FAMILY_NAME, Identifier.GIVEN_NAME, Identifier.BIRTH_DATE},
)
_SEXES = {
    "m": "male",
    "male": "male",
    "8507": "male",
    "f": "female",
    "w": "female",
    "female": "female",
    "8532": "female",
}


class Linkage(Part):
    """By what a study recognises persons, and under which secret of the hospitals: ``key`` is its `KeyId`."""

    key: KeyId
    identifiers: Annotated[tuple[Identifier, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _enough(self) -> Self:
        found = set(self.identifiers)
        if len(found) != len(self.identifiers):
            raise ValueError("an identifier is named twice")
        if not any(needed <= found for needed in ENOUGH):
            choices = "; ".join(" and ".join(sorted(needed)) for needed in ENOUGH)
            raise ValueError(
                f"{', '.join(self.identifiers)} cannot tell persons apart; name at least {choices}"
            )
        return self


def normalised(kind: Identifier, text: str) -> str:
    """An identifier as all hospitals write it; empty where it says nothing or cannot be read.

    Letters are taken apart (Unicode NFKD), marks, spaces and punctuation left out, case folded: "Müller-Lüdenscheidt" and
    "MULLER LUDENSCHEIDT" are one name, "Mueller" is another. Dates are ISO 8601 (1970-01-31, 19700131, a time after them is
    cut off). Sex is male or female, as M, F, W, in words or as the concepts 8507, 8532; anything else is unknown.
    """
    plain = plain_text(text)
    if kind is Identifier.SEX:
        return _SEXES.get(plain, "")
    if kind is Identifier.BIRTH_DATE:
        return _day(text.strip())
    return plain


def plain_text(text: str) -> str:
    """Letters and digits alone, without marks and case."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(letter for letter in apart if letter.isalnum())


def _day(text: str) -> str:
    length = 10 if text[4:5] == "-" else 8
    if text[length : length + 1] not in ("", "T", " "):
        return ""
    try:
        return date.fromisoformat(text[:length]).isoformat()
    except ValueError:
        return ""


class LinkageSecret:
    """What hospitals share, and nobody else knows."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"a linkage secret has {SECRET_BYTES} bytes, found {len(secret)}")
        self._secret = secret

    @classmethod
    def generate(cls) -> Self:
        """A fresh secret from the operating system's randomness."""
        return cls(secrets.token_bytes(SECRET_BYTES))

    def reveal(self) -> bytes:
        """The secret itself, to be sealed or kept in a file of mode 0600."""
        return self._secret

    @property
    def id(self) -> str:
        """Its `KeyId`."""
        return self._derived(b"tessera linkage key id")[:8].hex()

    def for_study(self, digest: str) -> StudyTokens:
        """The tokens of one study."""
        return StudyTokens(self._derived(b"tessera linkage study " + bytes.fromhex(digest)))

    def _derived(self, info: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=SECRET_BYTES, salt=None, info=info).derive(self._secret)

    def __repr__(self) -> str:
        return f"<LinkageSecret {self.id}>"


class StudyTokens:
    """Tokens of persons in one study."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, identifiers: Mapping[str, str]) -> bytes:
        """16 bytes that are the same wherever a person has the same normalised identifiers."""
        return hmac.digest(self._key, canonical_json(dict(identifiers)), hashlib.sha256)[:TOKEN_BYTES]

    def tokens(self, persons: Sequence[Mapping[str, str]]) -> list[bytes]:
        """A token for each; who lacks an identifier gets one at random, and is nobody else."""
        return [
            self.token(found) if found and all(found.values()) else secrets.token_bytes(TOKEN_BYTES)
            for found in persons
        ]

    def __repr__(self) -> str:
        return "<StudyTokens>"
