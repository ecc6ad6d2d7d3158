"""Who may connect: exactly the certificate listed for the node, in date, over TLS 1.3, and nobody else."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mpc_backend.errors import PeerLost
from mpc_backend.transport.certificates import (
    ALPN,
    TrustedNodes,
    client_context,
    node_uri,
    self_signed,
    server_context,
)
from mpc_backend.transport.errors import CertificateRefused, FrameError
from mpc_backend.transport.frames import HEADER_BYTES, FrameHeader, FrameKind, encode_header
from mpc_backend.transport.greeting import WAITING_CONNECTIONS, Connection, DataListener, Dialer

from .conftest import Party


@dataclass
class Door:
    """node-a's data listener, and what got through it."""

    listener: DataListener
    accepted: list[Connection]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.port}"

    def refused(self) -> bool:
        until = time.monotonic() + 5
        while not self.listener.refused and time.monotonic() < until:
            time.sleep(0.01)
        return self.listener.refused == 1 and not self.accepted


@pytest.fixture
def door(party: Party) -> Iterator[Door]:
    folder = party.directory(0)
    trusted = TrustedNodes(party.federation)
    accepted: list[Connection] = []
    context = server_context(folder.tls_certificate, folder.tls_key, trusted.certificates)
    listener = DataListener(0, "127.0.0.1:0", context, trusted, accepted.append)
    listener.start()
    yield Door(listener, accepted)
    listener.stop()
    for connection in accepted:
        connection.close()


def knock(door: Door, context: ssl.SSLContext) -> None:
    """Connect and wait for the other side to answer or close; TLS 1.3 clients learn of a refusal on reading."""
    host, port = door.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as plain:
        try:
            with context.wrap_socket(plain) as secured:
                secured.recv(1)
        except OSError:
            pass


def bare_client(**changes: object) -> ssl.SSLContext:
    """A client that accepts any server, so that only the server's checks are tested."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN])
    for name, value in changes.items():
        setattr(context, name, value)
    return context


def write_pair(folder: Path, name: str, uri: str, **options: object) -> tuple[Path, Path]:
    key = Ed25519PrivateKey.generate()
    certificate, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_text(self_signed(uri, ["127.0.0.1"], key, **options))  # type: ignore[arg-type]
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, key_file


def dialer(party: Party, index: int) -> Dialer:
    folder = party.directory(index)
    return Dialer(index, TrustedNodes(party.federation), folder.tls_certificate, folder.tls_key)


def test_a_listed_node_gets_in_and_is_known_by_its_certificate(party: Party, door: Door) -> None:
    connection = dialer(party, 2).dial(0, door.address, 5)
    assert connection.socket.version() == "TLSv1.3"
    until = time.monotonic() + 5
    while not door.accepted and time.monotonic() < until:
        time.sleep(0.01)
    assert door.accepted[0].peer == 2
    connection.close()


def test_no_certificate_is_refused(door: Door) -> None:
    knock(door, bare_client())
    assert door.refused()


def test_tls_1_2_is_refused_even_with_a_listed_certificate(party: Party, door: Door) -> None:
    context = bare_client(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.load_cert_chain(party.directory(1).tls_certificate, party.directory(1).tls_key)
    knock(door, context)
    assert door.refused()


def test_an_unlisted_certificate_with_a_node_s_name_is_refused(door: Door, tmp_path: Path) -> None:
    context = bare_client()
    context.load_cert_chain(*write_pair(tmp_path, "impostor", node_uri("node-b")))
    knock(door, context)
    assert door.refused()


def test_a_certificate_signed_by_any_authority_is_refused(door: Door) -> None:
    authority = trustme.CA()
    context = bare_client()
    authority.issue_cert("127.0.0.1", common_name="node-b").configure_cert(context)
    knock(door, context)
    assert door.refused()


def test_a_certificate_signed_by_a_listed_node_is_refused(party: Party, door: Door, tmp_path: Path) -> None:
    """A node's certificate is no authority: it cannot vouch for another one."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    folder = party.directory(1)
    issuer = x509.load_pem_x509_certificate(folder.tls_certificate.read_bytes())
    issuer_key = load_pem_private_key(folder.tls_key.read_bytes(), None)
    assert isinstance(issuer_key, Ed25519PrivateKey)
    key = Ed25519PrivateKey.generate()
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(issuer.subject)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(issuer_key, None)
    )
    chain, key_file = tmp_path / "chain.pem", tmp_path / "leaf.key"
    chain.write_bytes(certificate.public_bytes(Encoding.PEM) + folder.tls_certificate.read_bytes())
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = bare_client()
    context.load_cert_chain(chain, key_file)
    knock(door, context)
    assert door.refused()


def test_an_expired_listed_certificate_is_refused(party: Party, tmp_path: Path) -> None:
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=60)
    certificate, key = write_pair(tmp_path, "old", node_uri("node-b"), not_before=long_ago, valid_days=30)
    old = party.federation.nodes[1].model_copy(update={"tls_certificate": certificate.read_text()})
    nodes = (party.federation.nodes[0], old, *party.federation.nodes[2:])
    trusted = TrustedNodes(party.federation.model_copy(update={"nodes": nodes}))
    folder, accepted = party.directory(0), []
    context = server_context(folder.tls_certificate, folder.tls_key, trusted.certificates)
    listener = DataListener(0, "127.0.0.1:0", context, trusted, accepted.append)
    listener.start()
    client = bare_client()
    client.load_cert_chain(certificate, key)
    expired = Door(listener, accepted)
    knock(expired, client)
    assert expired.refused()
    listener.stop()
    with serving(server_context(certificate, key, trusted.certificates)) as address:
        caller = Dialer(0, trusted, folder.tls_certificate, folder.tls_key)
        with pytest.raises(PeerLost, match="expired"):
            caller.dial(1, address, 5)


class serving:
    """A TLS server that lets anyone finish the handshake it wants."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._run, daemon=True).start()
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _run(self) -> None:
        try:
            plain, _ = self._listener.accept()
            with plain:
                plain.settimeout(5)
                with self._context.wrap_socket(plain, server_side=True) as secured:
                    secured.recv(1)
        except OSError:
            pass

    def __exit__(self, *_: object) -> None:
        self._listener.close()


def loose_server(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols([ALPN])
    return context


def test_the_dialler_refuses_another_node_at_the_address(party: Party) -> None:
    folder = party.directory(2)
    with (
        serving(loose_server(folder.tls_certificate, folder.tls_key)) as address,
        pytest.raises(PeerLost, match="handshake failed"),
    ):
        dialer(party, 0).dial(1, address, 5)


def test_the_dialler_refuses_an_impostor(party: Party, tmp_path: Path) -> None:
    with (
        serving(loose_server(*write_pair(tmp_path, "impostor", node_uri("node-b")))) as address,
        pytest.raises(PeerLost, match="handshake failed"),
    ):
        dialer(party, 0).dial(1, address, 5)


def test_the_dialler_refuses_tls_1_2(party: Party) -> None:
    folder = party.directory(1)
    context = loose_server(folder.tls_certificate, folder.tls_key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(context) as address, pytest.raises(PeerLost, match="handshake failed"):
        dialer(party, 0).dial(1, address, 5)


def test_the_dialler_refuses_another_application_protocol(party: Party) -> None:
    folder = party.directory(1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder.tls_certificate, folder.tls_key)
    with serving(context) as address, pytest.raises(CertificateRefused, match="tessera/1"):
        dialer(party, 0).dial(1, address, 5)


@pytest.mark.parametrize("uri", ["tessera://site/node-b", "tessera://node/node-c", "https://node-b"])
def test_a_listed_certificate_must_name_its_node(party: Party, tmp_path: Path, uri: str) -> None:
    certificate, _ = write_pair(tmp_path, "other", uri)
    wrong = party.federation.nodes[1].model_copy(update={"tls_certificate": certificate.read_text()})
    nodes = (party.federation.nodes[0], wrong, *party.federation.nodes[2:])
    with pytest.raises(CertificateRefused, match="tessera://node/node-b"):
        TrustedNodes(party.federation.model_copy(update={"nodes": nodes}))


def test_nobody_at_the_address_is_a_clear_error(party: Party) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(PeerLost, match=f"nobody answers at 127.0.0.1:{port}"):
        dialer(party, 0).dial(1, f"127.0.0.1:{port}", 2)


def test_a_silent_connection_does_not_hold_the_door(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpc_backend.transport.greeting.HANDSHAKE_SECONDS", 0.2)
    host, port = door.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5):
        assert door.refused()


def test_no_more_connections_are_greeted_at_a_time_than_there_are_places(party: Party, door: Door) -> None:
    """Whoever fills them keeps others out for as long as a handshake may take, and takes no more threads."""
    host, port = door.address.split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(WAITING_CONNECTIONS):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
        one_more = stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
        assert one_more.recv(1) == b"", "closed at once"
    until = time.monotonic() + 5
    while door.listener.refused < WAITING_CONNECTIONS and time.monotonic() < until:
        time.sleep(0.01)
    dialer(party, 2).dial(0, door.address, 5).close()


def greeted(party: Party, door: Door, send: Callable[[Connection], None]) -> Exception | dict[str, object]:
    caller = dialer(party, 1).dial(0, door.address, 5)
    send(caller)
    until = time.monotonic() + 5
    while not door.accepted and time.monotonic() < until:
        time.sleep(0.01)
    try:
        return door.accepted[0].hear(0.5)
    except Exception as error:
        return error
    finally:
        caller.close()


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (encode_header(FrameHeader(FrameKind.CONTROL, 1, 0, 0, 0, 2)) + b"{}", {}),
        (encode_header(FrameHeader(FrameKind.CONTROL, 3, 0, 0, 0, 2)) + b"{}", FrameError),
        (encode_header(FrameHeader(FrameKind.DATA, 1, 0, 0, 0, 2)) + b"{}", FrameError),
        (encode_header(FrameHeader(FrameKind.CONTROL, 1, 0, 0, 0, 2)) + b"[]", FrameError),
        (encode_header(FrameHeader(FrameKind.CONTROL, 1, 0, 0, 0, 1 << 20)), FrameError),
        (encode_header(FrameHeader(FrameKind.CONTROL, 1, 0, 0, 0, 3)) + b"{}", PeerLost),
        (b"GET / HTTP/1.1\r\nHost: node-a\r\n\r\n", FrameError),
        (b"", PeerLost),
    ],
)
def test_a_greeting_is_in_form_and_in_time(party: Party, door: Door, frame: bytes, expected: object) -> None:
    found = greeted(party, door, lambda connection: connection.socket.sendall(frame))
    assert isinstance(found, expected) if isinstance(expected, type) else found == expected


@pytest.mark.parametrize("at_once", [0, HEADER_BYTES], ids=["header", "payload"])
def test_a_greeting_that_trickles_in_is_not_waited_for(party: Party, door: Door, at_once: int) -> None:
    """Each byte comes in time, the whole does not."""
    caller = dialer(party, 1).dial(0, door.address, 5)
    until = time.monotonic() + 5
    while not door.accepted and time.monotonic() < until:
        time.sleep(0.01)
    frame = encode_header(FrameHeader(FrameKind.CONTROL, 1, 0, 0, 0, 32)) + b"{" + b" " * 30 + b"}"

    def slowly() -> None:
        with contextlib.suppress(OSError):  # the other side has had enough
            caller.socket.sendall(frame[:at_once])
            for place in range(at_once, len(frame)):
                caller.socket.sendall(frame[place : place + 1])
                time.sleep(0.1)

    sender = threading.Thread(target=slowly, daemon=True)
    sender.start()
    began = time.monotonic()
    with pytest.raises(PeerLost, match="stalled its greeting"):
        door.accepted[0].hear(0.4)
    assert 0.35 <= time.monotonic() - began < 2
    caller.close()
    sender.join(5)


def test_contexts_allow_nothing_older_than_tls_1_3(party: Party) -> None:
    folder = party.directory(0)
    for make in (server_context, client_context):
        context = make(folder.tls_certificate, folder.tls_key, TrustedNodes(party.federation).certificates)
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED


def test_only_listed_certificates_belong_to_a_node(party: Party, tmp_path: Path) -> None:
    trusted = TrustedNodes(party.federation)
    stranger, _ = write_pair(tmp_path, "stranger", node_uri("node-b"))
    own = ssl.PEM_cert_to_DER_cert(party.federation.nodes[2].tls_certificate)
    assert trusted.index_of(own) == 2
    with pytest.raises(CertificateRefused, match="not listed"):
        trusted.index_of(ssl.PEM_cert_to_DER_cert(stranger.read_text()))
    with pytest.raises(CertificateRefused, match="no certificate"):
        trusted.index_of(None)
    with pytest.raises(CertificateRefused, match="expected node-a"):
        trusted.require(own, 0)
