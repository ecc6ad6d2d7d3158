"""What can go wrong between two nodes, below any protocol.

    EngineError
    ├── TransportError           the transport cannot do its work
    │   ├── FrameError           bytes that are no frame of ours, or one out of its place
    │   ├── CertificateRefused   the peer is not the node it should be
    │   └── ShapeRefused         the description of a slow link cannot be read
    └── ProtocolAbort
        └── KeyAgreementError    the nodes do not agree on what they run, or on its keys

A lost, slow or half-open peer is `mpc_backend.errors.PeerLost`. Messages carry node ids, addresses and lengths.
"""

from __future__ import annotations

from mpc_backend.errors import AbortKind, EngineError, ProtocolAbort


class TransportError(EngineError):
    """The transport cannot do its work."""


class FrameError(TransportError, ValueError):
    """Bytes that are no frame of ours, or a frame out of its place."""


class CertificateRefused(TransportError):
    """The peer presented no certificate, one that is not listed, or another node's."""


class ShapeRefused(TransportError, ValueError):
    """The description of a slow link cannot be read."""


class KeyAgreementError(ProtocolAbort):
    """The nodes do not agree on what they run, or on its keys."""

    kind = AbortKind.KEYS
