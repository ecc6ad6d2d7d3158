"""The wire format, against literal bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc_backend.transport.errors import FrameError
from mpc_backend.transport.frames import HEADER_BYTES, FrameHeader, FrameKind, decode_header, encode_header

LITERAL = {
    FrameHeader(FrameKind.DATA, 0, 3, 0x1122334455667788, 5, 1024): (
        "54535231 01 00 03 00 8877665544332211 0500000000000000 0004000000000000"
    ),
    FrameHeader(
        FrameKind.CONTROL, 2, 1, 0, 0, 2
    ): "54535231 02 02 01 00 0000000000000000 0000000000000000 0200000000000000",
    FrameHeader(
        FrameKind.ABORT, 3, 0, 1, 2**40, 0
    ): "54535231 03 03 00 00 0100000000000000 0000000000010000 0000000000000000",
    FrameHeader(
        FrameKind.END, 1, 2, 255, 1, 0
    ): "54535231 04 01 02 00 ff00000000000000 0100000000000000 0000000000000000",
}


@pytest.mark.parametrize(
    ("header", "text"), LITERAL.items(), ids=lambda value: getattr(value, "kind", None) and value.kind.name
)
def test_header_is_these_32_bytes(header: FrameHeader, text: str) -> None:
    data = bytes.fromhex(text.replace(" ", ""))
    assert encode_header(header) == data
    assert len(data) == HEADER_BYTES
    assert decode_header(data) == header


@given(st.binary(min_size=0, max_size=64))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        assert encode_header(decode_header(data)) == data


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 0x55, "not a frame"),
        (4, 9, "unknown kind"),
        (7, 1, "not a frame"),
        (30, 0xFF, "more than the cap"),
    ],
)
def test_a_changed_header_is_refused(place: int, value: int, message: str) -> None:
    data = bytearray(encode_header(FrameHeader(FrameKind.DATA, 0, 1, 2, 3, 4)))
    data[place] = value
    with pytest.raises(FrameError, match=message):
        decode_header(data)
