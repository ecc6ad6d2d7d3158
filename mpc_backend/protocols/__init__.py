"""Protocols: how values are shared among nodes and computed on. Nothing outside this package counts nodes."""

from __future__ import annotations

from mpc_backend.errors import UnknownProtocol
from mpc_backend.protocols.base import Protocol
from mpc_backend.protocols.keys import JobKeys
from mpc_backend.protocols.plain import Plain
from mpc_backend.protocols.rep4 import Rep4
from mpc_backend.transport.base import Transport

NAMES = ("plain", "rep4")


def make_protocol(index: int, name: str, transport: Transport, keys: JobKeys | None) -> Protocol:
    """The protocol object of one node; raises UnknownProtocol."""
    if name == Plain.name:
        return Plain(index, transport)
    if name == Rep4.name and keys is not None:
        return Rep4(index, transport, keys)
    raise UnknownProtocol(f"protocol {name!r} is not one of {', '.join(NAMES)}")
