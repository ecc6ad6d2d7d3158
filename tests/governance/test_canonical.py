"""RFC 8785 against the RFC's own examples, and strict reading."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.canonical import canonical_json, parse_canonical, parse_json, sha256_hex
from governance.errors import DocumentError

# RFC 8785, appendix B: IEEE 754 bits and their ECMAScript text.
NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]

# RFC 8785, section 3.2.2 and 3.2.3.
STRUCTURE_IN = r"""{
  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
  "literals": [null, true, false]
}"""
STRUCTURE_OUT = (
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
    '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
)
SORTING_IN = {
    "\u20ac": "Euro Sign",
    "\r": "Carriage Return",
    "\ufb33": "Hebrew Letter Dalet With Dagesh",
    "1": "One",
    "\U0001f600": "Emoji: Grinning Face",
    "\u0080": "Control",
    "\u00f6": "Latin Small Letter O With Diaeresis",
}
SORTING_OUT = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(("bits", "text"), NUMBERS)
def test_numbers_of_appendix_b(bits: str, text: str) -> None:
    import struct

    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(value) == text.encode()


def test_structure_of_section_3_2_2() -> None:
    assert canonical_json(parse_json(STRUCTURE_IN.encode())) == STRUCTURE_OUT.encode()


def test_keys_sort_by_utf16_code_units() -> None:
    assert list(json.loads(canonical_json(SORTING_IN))) == SORTING_OUT


@given(json_values)
def test_canonical_bytes_read_back_and_are_a_fixed_point(value: object) -> None:
    data = canonical_json(value)
    assert parse_canonical(data) == value
    assert canonical_json(parse_canonical(data)) == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a":1,"a":2}', "appears twice"),
        (b'{"x":{"a":1,"a":1}}', "appears twice"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"1e999", "too large"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b'{"a":', "line 1, column 6"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5000, "too large"),
    ],
)
def test_strict_reading_refuses(data: bytes, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        parse_json(data)


@pytest.mark.parametrize("data", [b'{"b":1,"a":2}', b'{"a": 1}', b"1.0", b'"\\u0041"', b" 1"])
def test_other_spellings_of_the_same_value_are_refused(data: bytes) -> None:
    parse_json(data)
    with pytest.raises(DocumentError, match="RFC 8785"):
        parse_canonical(data)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, {1: 2}, "\ud800"])
def test_what_json_cannot_carry_is_refused(value: object) -> None:
    with pytest.raises(DocumentError, match="canonical JSON"):
        canonical_json(value)


def test_a_very_long_document_is_refused_before_parsing() -> None:
    with pytest.raises(DocumentError, match="longer than"):
        parse_json(b" " * (8 * 1024 * 1024 + 1))


def test_sha256_of_abc() -> None:  # FIPS 180-4 example
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
