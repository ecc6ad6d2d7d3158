"""The frame that every message between two nodes travels in: a 32-byte header and the payload.

This is the wire format alone, without input or output; `mpc_backend.transport.tls` moves the bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from mpc_backend.transport.errors import FrameError

MAGIC = b"TSR1"
HEADER_BYTES = 32
MAX_PAYLOAD = 1 << 30
"""No frame is longer than this many bytes, whatever its header says."""

_HEADER = struct.Struct("<4sBBBBQQQ")


class FrameKind(IntEnum):
    """What a frame is for."""

    DATA = 1
    """One message of the protocol."""
    CONTROL = 2
    """Greeting of a link before the job runs: canonical JSON."""
    ABORT = 3
    """The sender gave the job up; the payload is canonical JSON: ``kind`` (`AbortKind`), ``reason``, ``who``."""
    END = 4
    """The sender has nothing more to send; an end of stream without it means that the peer was lost."""


@dataclass(frozen=True)
class FrameHeader:
    """One decoded header; see `encode_header` for the layout."""

    kind: FrameKind
    sender: int
    receiver: int
    epoch: int
    sequence: int
    length: int

    def require_place(self, sender: int, receiver: int, epoch: int, sequence: int) -> None:
        """Let a frame of a running job pass only where it belongs.

        Raises:
            FrameError: of another link, start of a job or place in the order; or a greeting.
        """
        due, found = (
            (sender, receiver, epoch, sequence),
            (self.sender, self.receiver, self.epoch, self.sequence),
        )
        if found != due:
            raise FrameError(
                f"frame out of place: (sender, receiver, epoch, sequence) expected {due}, found {found}"
            )
        if self.kind is FrameKind.CONTROL:
            raise FrameError("a greeting after the job has begun")


def encode_header(header: FrameHeader) -> bytes:
    """Encode a header, 32 bytes, all integers little-endian:

    ======  =====  ==============================================================
    offset  bytes  meaning
    ======  =====  ==============================================================
    0       4      magic and version: the ASCII letters ``TSR1``
    4       1      kind: 1 data, 2 control, 3 abort, 4 end
    5       1      index of the sending node
    6       1      index of the receiving node
    7       1      zero
    8       8      epoch: drawn anew for every start of a job
    16      8      sequence: 0, 1, 2, ... for each direction of each pair of nodes
    24      8      length of the payload that follows, in bytes
    ======  =====  ==============================================================
    """
    return _HEADER.pack(
        MAGIC, header.kind, header.sender, header.receiver, 0, header.epoch, header.sequence, header.length
    )


def decode_header(data: bytes | bytearray | memoryview, *, cap: int = MAX_PAYLOAD) -> FrameHeader:
    """Decode a header written by `encode_header`.

    Raises:
        FrameError: not 32 bytes, another magic, an unknown kind, a reserved byte that is not zero, or a
            length above ``cap``.
    """
    if len(data) != HEADER_BYTES:
        raise FrameError(f"a frame header has {HEADER_BYTES} bytes, found {len(data)}")
    magic, kind, sender, receiver, reserved, epoch, sequence, length = _HEADER.unpack(data)
    if magic != MAGIC or reserved:
        raise FrameError("the bytes received are not a frame of this version (TSR1)")
    if kind not in FrameKind.__members__.values():
        raise FrameError(f"a frame of the unknown kind {kind}")
    if length > cap:
        raise FrameError(f"a frame announces {length} bytes, more than the cap of {cap}")
    return FrameHeader(FrameKind(kind), sender, receiver, epoch, sequence, length)
