"""One byte string per document: RFC 8785 (JSON Canonicalization Scheme), and the digests taken over it."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NoReturn

import rfc8785
from pydantic import BaseModel

from governance.errors import DocumentError

LARGEST_DOCUMENT = 8 * 1024 * 1024
"""Bytes; longer input is refused before it is parsed."""

LARGEST_INTEGER = 2**53 - 1
"""RFC 7493: integers up to here survive every JSON reader."""


def canonical_json(obj: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value or a pydantic model.

    Raises:
        DocumentError: a value JSON cannot carry (NaN, an integer beyond 2^53, a lone surrogate, a key that is
            no string).
    """
    value = obj.model_dump(mode="json") if isinstance(obj, BaseModel) else obj
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise DocumentError(f"not representable as canonical JSON: {error}") from error


def parse_json(data: bytes) -> Any:
    """Parse strict JSON in any layout: UTF-8, no duplicate keys, no NaN or infinity.

    Raises:
        DocumentError: anything else, with line and column where the parser knows them.
    """
    if len(data) > LARGEST_DOCUMENT:
        raise DocumentError(f"a document of {len(data)} bytes is longer than the {LARGEST_DOCUMENT} allowed")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
    except UnicodeDecodeError as error:
        raise DocumentError(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise DocumentError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise DocumentError("not JSON we accept: nested too deeply") from error
    except ValueError as error:
        raise DocumentError(f"not JSON we accept: {error}") from error


def parse_canonical(data: bytes) -> Any:
    """Parse bytes that must already be canonical, so that one document has one digest.

    Raises:
        DocumentError: not strict JSON, or JSON written in another way than RFC 8785 writes it.
    """
    value = parse_json(data)
    if canonical_json(value) != data:
        raise DocumentError("the bytes are JSON but not in RFC 8785 form; sign and send canonical bytes only")
    return value


def sha256_hex(data: bytes) -> str:
    """SHA-256 as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a key twice: readers would disagree about which one counts."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DocumentError(f"key {key!r} appears twice in one object")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise DocumentError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise DocumentError("a number is too large for a double")
    return value


def _integer(text: str) -> int | float:
    """JSON numbers are doubles: a whole number beyond 2^53 is one, and RFC 8785 writes some doubles that way."""
    if len(text) > 16 or abs(int(text)) > LARGEST_INTEGER:
        return _finite(text)
    return int(text)
