"""Protocols: how values are shared among nodes and computed on. Nothing outside this package counts nodes."""

from __future__ import annotations

from mpc_backend.errors import UnknownProtocol
from mpc_backend.protocols.base import Protocol
from mpc_backend.protocols.keys import JobKeys
from mpc_backend.protocols.plain import Plain
from mpc_backend.protocols.rep3 import Rep3
from mpc_backend.protocols.rep4 import Rep4
from mpc_backend.protocols.replicated import Replicated
from mpc_backend.transport.base import Transport

SHARED: dict[str, type[Replicated]] = {kind.name: kind for kind in (Rep3, Rep4)}
"""Protocols that protect what they compute on."""
NAMES = (Plain.name, *SHARED)


def make_protocol(index: int, name: str, transport: Transport, keys: JobKeys | None) -> Protocol:
    """The protocol object of one node; raises UnknownProtocol."""
    if name == Plain.name:
        return Plain(index, transport)
    if name in SHARED and keys is not None:
        return SHARED[name](index, transport, keys)
    raise UnknownProtocol(f"protocol {name!r} is not one of {', '.join(NAMES)}")
