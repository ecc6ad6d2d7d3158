"""The list of checks between two nodes, from bytes to agreed keys. Each stops some attack: without it, that goes through.

Those of the protocols above are in tests/mpc_backend/engine/test_checks.py.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import NamedTuple, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from governance.keys import SigningKey
from mpc_backend import keys
from mpc_backend.errors import ProtocolAbort
from mpc_backend.keys import GIVEN_BYTES
from mpc_backend.transport import frames, greeting
from mpc_backend.transport.certificates import TrustedNodes, client_context, server_context
from mpc_backend.transport.errors import CertificateRefused, FrameError
from mpc_backend.transport.frames import FrameHeader, FrameKind, decode_header, encode_header
from mpc_backend.transport.greeting import Connection, DataListener, Dialer
from tests.mpc_backend.removal import remove

from .conftest import Mesh, Party
from .test_keys import agree, binding
from .test_tls_misuse import bare_client


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


def key_of_no_secret(scene: Scene) -> str:
    """Node 3 offers a point of small order, of which every exchange gives the same secret, known to anyone."""
    honest, exchange, small = keys._Agreement._offer_to, keys._exchange, set()

    def offer_to(self: keys._Agreement, peer: int, private: X25519PrivateKey) -> bytes:
        if self._index != 3:
            return honest(self, peer, private)
        small.add(private)
        body = self._bound(3, peer) + bytes(32)
        return body + self._sign(body)

    def known(private: X25519PrivateKey, public: bytes, peer: int) -> bytes:
        return bytes(32) if private in small else exchange(private, public, peer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys._Agreement, "_offer_to", offer_to)
        patch.setattr(keys, "_exchange", known)
        return said(agree(scene.party, [binding(scene.party)] * 4))


def altered_parts(scene: Scene) -> str:
    def flip(sender: int, receiver: int, index: int, payload: bytes) -> bytes:
        return bytes([payload[0] ^ 1]) + payload[1:] if (sender, receiver, index) == (3, 0, 1) else payload

    return said(agree(scene.party, [binding(scene.party)] * 4, tamper=flip))


def called(scene: Scene, index: int, *, alpn: bool = True, old: bool = False) -> str:
    """Whether node 0 refuses a caller with the certificate of node ``index``.

    ``old``: both ends may speak TLS 1.2, as if the context of node 0 did not forbid it.
    """
    home, caller, trusted = (
        scene.party.directory(0), scene.party.directory(index), TrustedNodes(scene.party.federation),
    )  # fmt: skip
    context, client = server_context(home.tls_certificate, home.tls_key, trusted.certificates), bare_client()
    client.load_cert_chain(caller.tls_certificate, caller.tls_key)
    if not alpn:
        client.set_alpn_protocols(["h2"])
    if old:
        context.minimum_version = client.minimum_version = ssl.TLSVersion.TLSv1_2
        client.maximum_version = ssl.TLSVersion.TLSv1_2
    accepted: list[Connection] = []
    listener = DataListener(0, "127.0.0.1:0", context, trusted, accepted.append)
    listener.start()
    plain = socket.create_connection(("127.0.0.1", listener.port), timeout=5)
    with plain, contextlib.suppress(OSError), client.wrap_socket(plain):
        pass  # whether the other end takes it shows there
    until = time.monotonic() + 5
    while not (accepted or listener.refused) and time.monotonic() < until:
        time.sleep(0.005)
    listener.stop()
    for connection in accepted:
        connection.close()
    assert len(accepted) + listener.refused == 1
    return "refused" if listener.refused else ""


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


def stranger(scene: Scene) -> bytes:
    """A certificate that the federation does not list."""
    *listed, last = _der(scene, 2)
    return bytes([*listed, last ^ 1])


def listed(scene: Scene) -> str:
    """What is said of a federation file that lists each other's certificates for two nodes."""
    first, second, *others = scene.party.federation.nodes
    swapped = [
        first.model_copy(update={"tls_certificate": second.tls_certificate}),
        second.model_copy(update={"tls_certificate": first.tls_certificate}),
        *others,
    ]
    try:
        TrustedNodes(scene.party.federation.model_copy(update={"nodes": swapped}))
    except CertificateRefused as error:
        return str(error)
    return ""


def greeted(payload: bytes, kind: FrameKind = FrameKind.CONTROL, sender: int = 1) -> str:
    """What node 0 says of a greeting on the link from node 1."""
    here, there = socket.socketpair()
    with here, there:
        there.sendall(encode_header(FrameHeader(kind, sender, 0, 0, 0, len(payload))) + payload)
        try:
            Connection(0, 1, cast("ssl.SSLSocket", here)).hear(5)
        except FrameError as error:
            return str(error)
    return ""


def dialled(scene: Scene) -> str:
    """What is said of node 2 that answers where node 1 should, as if the context of the caller trusted every node."""
    answering, home, trusted = (
        scene.party.directory(2), scene.party.directory(0), TrustedNodes(scene.party.federation),
    )  # fmt: skip
    context = server_context(answering.tls_certificate, answering.tls_key, trusted.certificates)
    listener = DataListener(2, "127.0.0.1:0", context, trusted, Connection.close)
    listener.start()
    caller = Dialer(0, trusted, home.tls_certificate, home.tls_key)
    caller._contexts = [client_context(home.tls_certificate, home.tls_key, trusted.certificates)] * 4
    try:
        caller.dial(1, f"127.0.0.1:{listener.port}", 5).close()
    except CertificateRefused as error:
        return str(error)
    finally:
        listener.stop()
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
        "a key that gives a secret",
        keys, "_exchange",
        'raise KeyAgreementError(f"node {peer} offers an X25519 key that gives no secret") from error',
        "return bytes(32)",
        key_of_no_secret, "gives no secret",
    ),
    Check(
        "parts of keys are authenticated",
        keys._PairSecrets, "decrypt",
        "return AESGCM(key).decrypt(bytes(12), ciphertext, self._transcript)",
        "return AESGCM(key).encrypt(bytes(12), ciphertext, self._transcript)[:-32]",
        altered_parts, "does not decrypt under the agreed key",
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
        FrameHeader, "require_place", "if found != due:", "if False:",
        lambda scene: received(scene, FrameKind.DATA, 5), "frame out of place",
    ),
    Check(
        "no greeting after the job has begun",
        FrameHeader, "require_place", "if self.kind is FrameKind.CONTROL:", "if False:",
        lambda scene: received(scene, FrameKind.CONTROL, 0), "a greeting after",
    ),
    Check(
        "a header has its length",
        frames, "decode_header", "if len(data) != HEADER_BYTES:", "data = data[:HEADER_BYTES]\n    if False:",
        lambda scene: header(scene, lambda good: good + b"\0"), "has 32 bytes, found 33",
    ),
    Check(
        "and names a kind that there is",
        frames, "decode_header",
        'raise FrameError(f"a frame of the unknown kind {kind}")', "kind = FrameKind.DATA",
        lambda scene: header(scene, lambda good: good[:4] + b"\x09" + good[5:]), "unknown kind",
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
        "a greeting before the job begins",
        Connection, "hear", "if header.kind is not FrameKind.CONTROL:", "if False:",
        lambda _: greeted(b"{}", FrameKind.DATA), "expected a greeting",
    ),
    Check(
        "from the node at the other end",
        Connection, "hear", "if (header.sender, header.receiver) != (self.peer, self.index):", "if False:",
        lambda _: greeted(b"{}", sender=2), "a greeting from 2 to 0",
    ),
    Check(
        "which has the form of one",
        Connection, "hear", "if not isinstance(message, dict):", "if False:",
        lambda _: greeted(b"[]"), "no JSON object",
    ),
    Check(
        "and is JSON",
        Connection, "hear",
        'raise FrameError(f"a greeting that is not JSON: {error}") from error', "message = {}",
        lambda _: greeted(b"{"), "is not JSON",
    ),
    Check(
        "certificates are listed for the nodes that they name",
        TrustedNodes, "__init__", "if uris(node.tls_certificate) != [node_uri(node.id)]:", "if False:",
        listed, "the certificate listed for",
    ),
    Check(
        "a certificate that is listed",
        TrustedNodes, "index_of",
        'raise CertificateRefused(f"certificate {found.hex()[:16]} is not listed in the federation file")', "return 0",
        lambda scene: presented(scene, stranger(scene), 0), "is not listed",
    ),
    Check(
        "or any",
        TrustedNodes, "index_of", 'raise CertificateRefused("the peer presented no certificate")', "return 0",
        lambda scene: presented(scene, None, 0), "presented no certificate",
    ),
    Check(
        "the certificate of the node that was called",
        TrustedNodes, "require", "if found != index:", "if False:",
        lambda scene: presented(scene, _der(scene, 2), 1), "the certificate presented is that of",
    ),
    Check(
        "of which a caller sees that it answers",
        Dialer, "dial", "self._trusted.require(secured.getpeercert(binary_form=True), peer)", "pass",
        dialled, "the certificate presented is that of",
    ),
    Check(
        "who calls speaks this protocol",
        DataListener, "_secure", "_require_protocol(secured)", "pass",
        lambda scene: called(scene, 1, alpn=False), "refused",
    ),
    Check(
        "over TLS 1.3",
        greeting, "_require_protocol", 'secured.version() != "TLSv1.3" or ', "",
        lambda scene: called(scene, 1, old=True), "refused",
    ),
    Check(
        "and is another node",
        DataListener, "_secure", "if peer == self._index:", "if False:",
        lambda scene: called(scene, 0), "refused",
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
