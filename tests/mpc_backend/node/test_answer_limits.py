"""However much a node answers, a client takes in a bounded part of it, over real connections."""

from __future__ import annotations

import gzip
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from resource import RUSAGE_SELF, getrusage

import httpx
import pytest

from governance.federation import NodeEntry
from mpc_backend.client import connection
from mpc_backend.client.answers import KINDS, MIB, OTHER, RESULT, STATUS, STUDY_LIST
from mpc_backend.client.connection import NodeClient
from mpc_backend.client.errors import AnswerTooLarge, BadAnswer, NodeUnreachable

from .conftest import Party
from .test_docs_and_setup import DOCS

Answer = Callable[[BaseHTTPRequestHandler], None]
RUN = "0" * 64
IN_FLIGHT = 16 * MIB
"""What may be under way in sockets when the client cuts the connection."""


class Liar:
    """Answers in node-a's place, with its certificate, whatever ``answer`` writes; counts the bytes sent."""

    def __init__(self, party: Party, answer: Answer) -> None:
        folder = party.directory(0)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder.tls_certificate, folder.tls_key)
        self.ended = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:
                try:
                    answer(handler)
                except OSError:
                    """The client has cut the connection."""
                handler.close_connection = True
                self.ended.set()

            def log_message(handler, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.entry: NodeEntry = party.federation.nodes[0].model_copy(
            update={"control_url": f"https://127.0.0.1:{self.server.server_port}"}
        )
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture
def liar(party: Party) -> Iterator[Callable[[Answer], NodeClient]]:
    """``liar(answer)``: a client of node-a, in whose place somebody answers this."""
    made: list[tuple[Liar, NodeClient]] = []

    def make(answer: Answer) -> NodeClient:
        one = Liar(party, answer)
        made.append((one, NodeClient(one.entry)))
        return made[-1][1]

    yield make
    for one, client in made:
        client.close()
        assert one.ended.wait(10), "the liar still sends"
        one.stop()


def endless(handler: BaseHTTPRequestHandler, sent: list[int], status: int = 200) -> None:
    """An answer without end, of which no length is told; ``sent`` gets the size of each piece taken."""
    handler.send_response(status)
    handler.end_headers()
    while True:
        sent.append(handler.wfile.write(b" " * MIB))


@pytest.mark.parametrize(
    ("ask", "limit"),
    [
        (lambda node: node.status(), STATUS.limit),
        (lambda node: node.studies(), STUDY_LIST.limit),
        (lambda node: node.result(RUN), RESULT.limit),
        (lambda node: node.get("/v1/log/checkpoint"), OTHER.limit),
    ],
)
def test_an_answer_without_end_is_cut_at_its_limit(
    liar: Callable[[Answer], NodeClient], ask: Callable[[NodeClient], object], limit: int
) -> None:
    sent: list[int] = []
    node = liar(lambda handler: endless(handler, sent))
    with pytest.raises(AnswerTooLarge, match=rf"^node-a: .*larger than the limit of {limit} bytes"):
        ask(node)
    assert sum(sent) < limit + IN_FLIGHT


def test_a_refusal_without_end_is_cut_at_the_limit_of_refusals(
    liar: Callable[[Answer], NodeClient],
) -> None:
    sent: list[int] = []
    node = liar(lambda handler: endless(handler, sent, 409))
    with pytest.raises(AnswerTooLarge, match=f"limit of {OTHER.limit} bytes"):
        node.result(RUN)
    assert sum(sent) < OTHER.limit + IN_FLIGHT


def test_few_bytes_that_unpack_to_many_are_not_unpacked(liar: Callable[[Answer], NodeClient]) -> None:
    """Zipped twice, 512 MiB of blanks are a few kB; no memory is spent on them."""
    bomb = gzip.compress(gzip.compress(b" " * 8 * MIB) * 64)
    assert len(bomb) < MIB // 16

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip, gzip")
        handler.send_header("Content-Length", str(len(bomb)))
        handler.end_headers()
        handler.wfile.write(bomb)

    node, before = liar(answer), getrusage(RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadAnswer, match="encoded as 'gzip, gzip', unasked"):
        node.studies()
    assert getrusage(RUSAGE_SELF).ru_maxrss - before < 64 * 1024, "kilobytes"


class Trickler:
    """Takes one TLS connection in node-a's place: sends ``first`` at once and ``rest`` a byte a second. With
    ``reading`` it reads the request a byte a second instead; without ``greeting`` it never answers the handshake.
    """

    def __init__(
        self, party: Party, first: bytes, rest: bytes, *, reading: bool = False, greeting: bool = True
    ) -> None:
        folder = party.directory(0)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder.tls_certificate, folder.tls_key)
        self._first, self._rest, self._reading, self._greeting = first, rest, reading, greeting
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        self.entry = party.federation.nodes[0].model_copy(
            update={"control_url": f"https://127.0.0.1:{self._socket.getsockname()[1]}"}
        )
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        plain, _ = self._socket.accept()
        with suppress(OSError), plain:  # the client cuts the connection
            if not self._greeting:
                self._stopped.wait(20)
                return
            with self._context.wrap_socket(plain, server_side=True) as secured:
                secured.sendall(self._first)
                for byte in self._rest:
                    if self._stopped.wait(1):
                        return
                    secured.recv(1) if self._reading else secured.sendall(bytes([byte]))

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(5)
        self._socket.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "rest", "how"),
    [
        (b"", HEAD, {}),
        (HEAD[:20], HEAD[20:], {}),
        (HEAD, b"{" + b" " * 98, {}),
        (b"", HEAD, {"reading": True}),
        (b"", HEAD, {"greeting": False}),
    ],
    ids=["status line", "header", "body", "reading", "greeting"],
)
def test_a_node_that_trickles_a_byte_a_second_is_given_up_in_time(
    party: Party, monkeypatch: pytest.MonkeyPatch, first: bytes, rest: bytes, how: dict[str, bool]
) -> None:
    """Each byte comes well before the timeout of a single step; the request as a whole has a deadline."""
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 2.2)
    monkeypatch.setattr(connection, "SLOWEST_BYTES_PER_SECOND", 1e12)
    trickler = Trickler(party, first, rest, **how)
    node, began = NodeClient(trickler.entry), time.monotonic()
    try:
        with pytest.raises(NodeUnreachable, match=r"^node-a does not answer at .* did not end within 2\.2 s"):
            if "reading" in how:
                node.post("/v1/uploads", bytes(64 * MIB))
            else:
                node.status()
        assert 2 < time.monotonic() - began < 4
    finally:
        node.close()
        trickler.stop()


def test_a_request_has_more_time_the_more_it_moves(party: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    @contextmanager
    def noted(seconds: float) -> Iterator[float]:
        given.append(seconds)
        yield 0.0

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        return httpx.Response(200, json=[])

    monkeypatch.setattr(connection, "within", noted)
    node = NodeClient(party.federation.nodes[0], httpx.MockTransport(answer))
    node.studies()
    node.post("/v1/uploads", iter([bytes(3 * MIB)] * 2), 6 * MIB)
    assert given == [60 + 2 * STUDY_LIST.limit // MIB, 60 + 2 * (6 + OTHER.limit // MIB)]


def test_every_limit_is_documented() -> None:
    table = DOCS.read_text().split("takes in no more than this")[1].split("Refusals are")[0]
    documented = {
        name: int(limit) for name, limit in re.findall(r"^\| (.+?) \| (\d+) \|$", table, re.MULTILINE)
    }
    assert documented == {kind.name: kind.limit // MIB for kind in KINDS}
