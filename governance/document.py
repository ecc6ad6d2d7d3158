"""What every signed document has in common: strict fields, canonical bytes, a digest, times in UTC."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

from fhir_mappings.validation import describe, explain
from governance.canonical import canonical_json, parse_canonical, sha256_hex
from governance.errors import DatedAhead, DocumentError

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of ours another party's clock may run."""
SIGNING_KEY_BYTES = 32
SEALING_KEY_BYTES = 1184 + 32
"""ML-KEM-768 encapsulation key, then X25519 public key."""


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs its zone; write it in UTC, for example 2026-01-31T12:00:00Z")
    return value.astimezone(UTC).replace(microsecond=0)


def utc_text(value: datetime) -> str:
    """A time as documents carry it: whole seconds, UTC, ``Z``."""
    return _utc(value).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_not_ahead(what: str, dated: datetime, now: datetime) -> None:
    """Refuse what is dated ahead of our clock by more than `CLOCK_SKEW`.

    Raises:
        DatedAhead: with both times.
    """
    if dated > now + CLOCK_SKEW:
        raise DatedAhead(
            f"{what} is dated {utc_text(dated)}, more than {CLOCK_SKEW.seconds // 60} minutes ahead of "
            f"{utc_text(now)}, which is what the clock here says; set the clock that is wrong and, if it was the "
            f"signer's, sign anew"
        )


def _base64_of(length: int) -> AfterValidator:
    def check(value: str) -> str:
        try:
            raw = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError("not base64") from error
        if len(raw) != length or base64.b64encode(raw).decode() != value:
            raise ValueError(f"expected {length} bytes in base64, found {len(raw)}")
        return value

    return AfterValidator(check)


UtcTime = Annotated[datetime, AfterValidator(_utc), PlainSerializer(utc_text, when_used="json")]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Nonce = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""128 random bits in hexadecimal."""
Words = Annotated[str, Field(min_length=1, max_length=20_000)]
PublicKey = Annotated[str, _base64_of(SIGNING_KEY_BYTES)]
"""Ed25519 verification key, base64 of 32 bytes."""
SealingPublicKey = Annotated[str, _base64_of(SEALING_KEY_BYTES)]


def absent(value: object) -> bool:
    """For ``exclude_if`` of a field that came later: documents without it keep the canonical bytes that they always had."""
    return value is None


class Part(BaseModel):
    """A piece of a document: immutable, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(Part):
    """A document that is signed or hashed as a whole."""

    payload_type: ClassVar[str] = "application/json"

    def canonical(self) -> bytes:
        """The RFC 8785 bytes; what is signed and hashed."""
        return canonical_json(self)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hexadecimal."""
        return sha256_hex(self.canonical())

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's; a copy with other fields has a digest of its own."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("digest", None)
        return copy

    @classmethod
    def from_canonical(cls, data: bytes) -> Self:
        """Read canonical bytes.

        Raises:
            DocumentError: not canonical, an unknown or missing field, a value out of range; names the field's path.
        """
        document = cls.from_value(parse_canonical(data))
        if document.canonical() != data:
            raise DocumentError(
                f"{cls.__name__}: fields with a default must be written out; the digest covers them"
            )
        return document

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """Build from parsed JSON or YAML.

        Raises:
            DocumentError: names the path of the first field at fault and what was expected there.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise DocumentError(explain_validation(cls.__name__, error, cls)) from error


def explain_validation(name: str, error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """On one line, each field at fault: its path, what is expected there, of what kind is what was found.

    Found values are not repeated. ``model`` lets unknown fields be answered with the known ones.
    """
    return f"{name}: {describe(error, model)}"


def explain_faults(faults: Sequence[Any]) -> str:
    """The same of faults as pydantic lists them, where a framework keeps them in an error of its own."""
    return explain(faults)
