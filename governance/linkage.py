"""Recognising one person at several hospitals without saying who it is: identifiers written alike, and keyed tokens of them.

The linkage secret is known to hospitals alone (see `governance.linkage_key`). For every study a key of its own follows from
it, and a person's token is 128 bits of HMAC-SHA256 under that key. Without the key nobody can try identifiers out, and
tokens of two studies have nothing in common.
"""

from __future__ import annotations

import hashlib
import hmac
import re
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
ID_BYTES = 16
KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""Which linkage secret: 128 bits that follow from it and tell nothing about it, and that no other secret has."""
NORMALISATION = 1
"""Of the rules below. Tokens are made of it too: hospitals that write by other rules have no token in common."""


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
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})
"""Latin letters that Unicode does not take apart."""
_WITHOUT_MARKS = ("LATIN", "GREEK", "CYRILLIC")
"""Scripts whose words are the same without marks; in others a mark is a vowel."""
_IDS = frozenset({Identifier.NATIONAL_ID, Identifier.INSURANCE_ID})
_NOBODY = frozenset({"unknown", "unbekannt", "inconnu", "anonymous", "anonym", "notknown", "notavailable"})
_NO_ID = _NOBODY | {"na", "nan", "null", "none", "nil"}
_NO_DAY = frozenset({"1900-01-01"})
_FRACTION = re.compile(r"\d+[.,]0+", re.ASCII)
_DAY = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](?:00:00(?::00(?:\.0+)?)?Z|\d\d:\d\d(?::\d\d(?:\.\d+)?)?))?|(\d{4})(\d\d)(\d\d)",
    re.ASCII,
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

    Letters are taken apart (Unicode NFKD), spaces, punctuation and, in Latin, Greek and Cyrillic, marks left out, case folded:
    "Müller-Lüdenscheidt" and "MULLER LUDENSCHEIDT" are one name, "Mueller" is another. Digits of any script are 0 to 9. Dates
    are ISO 8601 (1970-01-31, 19700131); a time after them is cut off, unless it is one of another zone. Sex is male or female,
    as M, F, W, in words or as the concepts 8507, 8532.

    Anything else says nothing, and so do words such as "unknown", numbers of one digit repeated or that a spreadsheet wrote as
    a fraction (756.0), and 1900-01-01.
    """
    plain = plain_text(text)
    if kind is Identifier.SEX:
        return _SEXES.get(plain, "")
    if kind is Identifier.BIRTH_DATE:
        return _day(text.strip())
    if kind in _IDS:
        spoilt = (
            plain in _NO_ID or (plain.isdigit() and len(set(plain)) == 1) or _FRACTION.fullmatch(text.strip())
        )
        return "" if spoilt else plain
    return "" if plain in _NOBODY else plain


def plain_text(text: str) -> str:
    """Letters and digits alone, without case, and without marks where a script's words are the same without them."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()).translate(_LETTERS)
    kept, bare = [], True
    for letter in apart:
        if letter.isdecimal():
            kept.append(str(unicodedata.decimal(letter)))
        elif letter.isalnum():
            bare = unicodedata.name(letter, "").startswith(_WITHOUT_MARKS)
            kept.append(letter)
        elif not bare and unicodedata.category(letter) in ("Mn", "Mc"):
            kept.append(letter)
    return "".join(kept)


def _day(text: str) -> str:
    found = _DAY.fullmatch(text)
    if found is None:
        return ""
    try:
        day = date(*(int(part) for part in found.groups() if part is not None)).isoformat()
    except ValueError:
        return ""
    return "" if day in _NO_DAY else day


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
        return self._derived(b"tessera linkage key id")[:ID_BYTES].hex()

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
        said = canonical_json({"identifiers": dict(identifiers), "normalisation": NORMALISATION})
        return hmac.digest(self._key, said, hashlib.sha256)[:TOKEN_BYTES]

    def tokens(self, persons: Sequence[Mapping[str, str]]) -> list[bytes]:
        """A token for each; who lacks an identifier gets one at random, and is nobody else."""
        return [
            self.token(found) if found and all(found.values()) else secrets.token_bytes(TOKEN_BYTES)
            for found in persons
        ]

    def __repr__(self) -> str:
        return "<StudyTokens>"
