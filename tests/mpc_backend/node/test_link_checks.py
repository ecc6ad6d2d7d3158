"""The list of checks between two nodes, from bytes to agreed keys. Each stops some attack: without it, that goes through.

Those of the protocols above are in tests/mpc_backend/engine/test_checks.py.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import NamedTuple

import pytest

from governance.keys import SigningKey
from mpc_backend import keys
from mpc_backend.errors import ProtocolAbort
from mpc_backend.keys import GIVEN_BYTES
from mpc_backend.transport import frames
from mpc_backend.transport.certificates import TrustedNodes
from mpc_backend.transport.errors import CertificateRefused, FrameError
from mpc_backend.transport.frames import FrameHeader, FrameKind, decode_header, encode_header
from mpc_backend.transport.tls import TlsTransport
from tests.mpc_backend.removal import remove

from .conftest import Mesh, Party
from .test_keys import agree, binding


class Scene(NamedTuple):
    """What an attack may use."""

    party: Party
    mesh: Callable[..., Mesh]
    patch: pytest.MonkeyPatch


class Check(NamedTuple):
    """A check, what stands there without it, an attack, and what the refusal says; "" where nothing is refused."""

    name: str
    owner: type | ModuleType
    function: str
    check: str
    instead: str
    attack: Callable[[Scene], str]
    says: str


def said(results: list[object]) -> str:
    return " ".join(str(one) for one in results if isinstance(one, Exception))


def other_study(scene: Scene) -> str:
    mine = binding(scene.party)
    return said(agree(scene.party, [mine, mine, mine, replace(mine, study=secrets.token_bytes(32))]))


def other_identity(scene: Scene) -> str:
    signers = [SigningKey.load(scene.party.directory(index).identity_key) for index in range(4)]
    signers[2] = SigningKey.generate()
    return said(agree(scene.party, [binding(scene.party)] * 4, signers=signers))


def given(scene: Scene, change: Callable[[bytes], bytes]) -> str:
    honest = keys._PairSecrets.encrypt

    def encrypt(self: keys._PairSecrets, plaintext: bytes, sender: int) -> bytes:
        return honest(self, change(plaintext) if sender == 3 else plaintext, sender)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys._PairSecrets, "encrypt", encrypt)
        return said(agree(scene.party, [binding(scene.party)] * 4)[:3])


def longer_parts(scene: Scene) -> str:
    return given(scene, lambda parts: parts + b"\0")


def different_parts(scene: Scene) -> str:
    return given(scene, lambda parts: secrets.token_bytes(GIVEN_BYTES) + parts[GIVEN_BYTES:])


def received(scene: Scene, kind: FrameKind, sequence: int) -> str:
    """What node 1 says of a frame that node 0 writes."""
    ends = scene.mesh().transports
    writer = ends[0]._writers[1]
    writer._sequence = sequence
    writer.put(kind, memoryview(b"hello"))
    try:
        ends[1].receive(0)
    except ProtocolAbort as error:
        return str(error)
    return ""


def header(scene: Scene, change: Callable[[bytes], bytes]) -> str:
    good = encode_header(FrameHeader(FrameKind.DATA, 0, 1, 7, 0, 100))
    try:
        decode_header(change(good), cap=100)
    except FrameError as error:
        return str(error)
    return ""


def presented(scene: Scene, der: bytes | None, index: int) -> str:
    try:
        TrustedNodes(scene.party.federation).require(der, index)
    except CertificateRefused as error:
        return str(error)
    return ""


def _der(scene: Scene, index: int) -> bytes:
    return ssl.PEM_cert_to_DER_cert(scene.party.federation.nodes[index].tls_certificate)


CHECKS = (
    Check(
        "a key offer names the same run, study, software and inputs",
        keys._Agreement, "_checked_offer", "if bound != self._bound(peer, self._index):", "if False:",
        other_study, "offers keys for another run",
    ),
    Check(
        "a key offer is signed by the node's identity",
        keys._Agreement, "_checked_offer", "verify_signature(self._binding.identities[peer], body, signature)", "pass",
        other_identity, "not signed by its identity",
    ),
    Check(
        "as many parts of keys as there are keys",
        keys._Agreement, "give", "if len(parts) != GIVEN_BYTES * len(left_out):", "if False:",
        longer_parts, "bytes for 3 keys",
    ),
    Check(
        "both hold the same keys",
        keys._Agreement, "confirm",
        "if not hmac.compare_digest(bytes(self._transport.receive(peer)), self._proof(peer, by=peer)):",
        "if not self._transport.receive(peer):",
        different_parts, "holds other keys",
    ),
    Check(
        "a frame stands in its place",
        TlsTransport, "_check", "if found != (peer, self.index, self.epoch, expected):", "if False:",
        lambda scene: received(scene, FrameKind.DATA, 5), "frame out of place",
    ),
    Check(
        "no greeting after the job has begun",
        TlsTransport, "_check", "if header.kind is FrameKind.CONTROL:", "if False:",
        lambda scene: received(scene, FrameKind.CONTROL, 0), "a greeting after",
    ),
    Check(
        "a frame of this version",
        frames, "decode_header", "if magic != MAGIC or reserved:", "if reserved:",
        lambda scene: header(scene, lambda good: b"TSR2" + good[4:]), "not a frame of this version",
    ),
    Check(
        "reserved bytes are zero",
        frames, "decode_header", "if magic != MAGIC or reserved:", "if magic != MAGIC:",
        lambda scene: header(scene, lambda good: good[:7] + b"\1" + good[8:]), "not a frame of this version",
    ),
    Check(
        "no frame longer than the cap",
        frames, "decode_header", "if length > cap:", "if False:",
        lambda scene: header(scene, lambda good: good[:-8] + (101).to_bytes(8, "little")), "more than the cap",
    ),
    Check(
        "the certificate of the node that was called",
        TrustedNodes, "require", "if found != index:", "if False:",
        lambda scene: presented(scene, _der(scene, 2), 1), "the certificate presented is that of",
    ),
)  # fmt: skip


@pytest.mark.parametrize("one", CHECKS, ids=lambda one: one.name)
def test_the_attack_is_stopped_by_this_check(
    one: Check, party: Party, mesh: Callable[..., Mesh], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(party, mesh, monkeypatch)
    assert one.says in one.attack(scene)
    remove(monkeypatch, one.owner, one.function, one.check, one.instead)
    _use(monkeypatch)
    assert one.says not in one.attack(scene)


def _use(patch: pytest.MonkeyPatch) -> None:
    """Modules hold functions by name; let this one see the altered `decode_header`."""
    patch.setitem(globals(), "decode_header", vars(frames)["decode_header"])
