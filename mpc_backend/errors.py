"""What can go wrong in the computing engine.

EngineError
├── ProtocolAbort        another node cheated, failed or went silent: the job ends and nothing is opened
│   ├── PeerLost         no message within the deadline, or the connection is gone
│   └── PeerAborted      another node ended the job and said so
├── ShareMismatch        the replicated copies of a share do not agree at the recipient
├── ShareFormatError     an encoded share is not what the schema says
├── LocalDataError       a site's own data cannot give a column that the study asks for
└── UnknownProtocol      the federation names a protocol this software does not have

Messages carry node indices, steps, lengths; never a value, a share or a key.
"""


class EngineError(Exception):
    """Base of every error this package raises on purpose."""


class ProtocolAbort(EngineError):
    """A check between nodes failed: some node deviated, or its messages were changed on the way."""


class PeerLost(ProtocolAbort):
    """A node sent nothing within the deadline, or closed its connection in the middle of a job."""


class PeerAborted(ProtocolAbort):
    """Another node ended the job and said so; its own error says why."""


class ShareMismatch(EngineError):
    """Nodes that hold copies of the same share delivered different ones; the result is not to be trusted."""


class ShareFormatError(EngineError, ValueError):
    """Bytes that should encode a share have the wrong length, tag or schema."""


class LocalDataError(EngineError, ValueError):
    """A site's data cannot give a column of the study; names the column, never a value."""


class UnknownProtocol(EngineError, ValueError):
    """No protocol of that name is built into this software."""
