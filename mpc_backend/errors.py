"""What can go wrong in the computing engine.

EngineError
├── ProtocolAbort        another node cheated, failed or went silent: the job ends and nothing is opened
│   ├── PeerLost         no message within the deadline, or the connection is gone
│   ├── PeerAborted      another node ended the job and said so: which, and the kind of its reason
│   └── ShardAborted     a worker of this node met one of these in its shard: the kind of its reason
├── WorkerFailed         a worker of this node failed, or its process is gone
├── ShareMismatch        the replicated copies of a share do not agree at the recipient
├── ShareFormatError     an encoded share is not what the schema says
├── LocalDataError       a site's own data cannot give a column that the study asks for
└── UnknownProtocol      the federation names a protocol this software does not have

Messages carry node indices, steps, lengths; never a value, a share or a key.
"""

from enum import StrEnum


class AbortKind(StrEnum):
    """Why a node gives a job up, in a word that it tells the others."""

    LOST = "lost"
    """A node went silent or its connection was lost."""
    CHECK = "check failed"
    """A check between nodes failed."""
    KEYS = "keys differ"
    """The nodes do not agree on what they run, or on its keys."""
    NOT_PERMITTED = "not permitted"
    """The signed documents do not allow it any more."""
    STOPPED = "stopped"
    """The node was told to stop, or a site withdrew."""
    FAILED = "failed"
    """The node failed by itself; its log has the reason."""
    UNSTATED = "unstated"
    """What it said is none of these."""


class EngineError(Exception):
    """Base of every error this package raises on purpose."""


class ProtocolAbort(EngineError):
    """A check between nodes failed: some node deviated, or its messages were changed on the way."""

    kind: AbortKind = AbortKind.CHECK


class PeerLost(ProtocolAbort):
    """A node sent nothing within the deadline, or closed its connection in the middle of a job."""

    kind = AbortKind.LOST


class PeerAborted(ProtocolAbort):
    """Another node ended the job and said so. ``peer``: which; ``kind``: of the reason that it states."""

    def __init__(self, peer: str, kind: AbortKind, reason: str) -> None:
        super().__init__(f"{peer} gave the job up: {reason}")
        self.peer, self.kind = peer, kind


class ShardAborted(ProtocolAbort):
    """A worker of this node gave its shard up because of another node. ``kind``: of its reason."""

    def __init__(self, kind: AbortKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class WorkerFailed(EngineError):
    """A worker of this node failed in a shard, or its process ended; says which, and never what it worked on."""


class ShareMismatch(EngineError):
    """Nodes that hold copies of the same share delivered different ones; the result is not to be trusted."""


class ShareFormatError(EngineError, ValueError):
    """Bytes that should encode a share have the wrong length, tag or schema."""


class LocalDataError(EngineError, ValueError):
    """A site's data cannot give a column of the study; names the column, never a value."""


class UnknownProtocol(EngineError, ValueError):
    """No protocol of that name is built into this software."""
