"""The door in front of Streamlit, driven as ASGI: nothing without a sign-in, no forged identity, no way out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from starlette.applications import Starlette
from starlette.exceptions import StarletteDeprecationWarning
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from workbench.accounts import Accounts
from workbench.gate import COOKIE, SIGN_IN_HEADER, Gate, content_security_policy, safe_target
from workbench.store import open_store

with warnings.catch_warnings():  # the client asks for a successor of httpx we do not need
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    from starlette.testclient import TestClient

PASSWORD = "correct horse battery"


async def _told(request: Request) -> JSONResponse:
    return JSONResponse({"told": request.headers.getlist(SIGN_IN_HEADER)})


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_json({"told": socket.headers.getlist(SIGN_IN_HEADER)})
    await socket.close()


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    made = Accounts(open_store(tmp_path / "workbench.sqlite"), hasher=PasswordHasher(1, 8, 1))
    made.add("researcher", PASSWORD, ["researcher"])
    return made


@pytest.fixture
def forgotten() -> list[str]:
    """The accounts of which the gate had dropped what memory held."""
    return []


@pytest.fixture
def client(accounts: Accounts, forgotten: list[str]) -> Iterator[TestClient]:
    routes = [Route("/", _told), Route("/_stcore/health", _told), WebSocketRoute("/_stcore/stream", _socket)]
    gate = Middleware(
        Gate,
        accounts=accounts,
        title="North <Hospital>",
        kind="research",
        secure=True,
        forget=forgotten.append,
    )
    app = Starlette(routes=routes, middleware=[gate])
    with TestClient(app, base_url="https://workbench.test", follow_redirects=False) as made:
        yield made


def sign_in(client: TestClient, password: str = PASSWORD, **headers: str):
    return client.post(
        "/sign-in?next=%2Fcount", data={"name": "researcher", "password": password}, headers=headers
    )


def test_nothing_is_served_before_a_sign_in(client: TestClient) -> None:
    page = client.get("/?a=1", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in?next=%2F%3Fa%3D1")
    assert client.get("/").status_code == 401
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream"):
        pass
    assert client.get("/_stcore/health").json() == {"told": []}


def test_a_sign_in_reaches_the_pages_and_a_forged_header_does_not(
    client: TestClient, accounts: Accounts, forgotten: list[str]
) -> None:
    answer = sign_in(client)
    assert (answer.status_code, answer.headers["location"]) == (303, "/count")
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "secure", "samesite=lax", "expires="))
    person = accounts.by_cookie(client.cookies[COOKIE])
    assert person is not None
    assert client.get("/", headers={SIGN_IN_HEADER: "forged"}).json() == {"told": [person.id]}
    forged = {SIGN_IN_HEADER: "forged", "cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
    with client.websocket_connect("/_stcore/stream", headers=forged) as socket:
        assert socket.receive_json() == {"told": [person.id]}
    assert forgotten == []
    client.get("/sign-out")
    assert accounts.current(person.id) is None
    assert forgotten == ["researcher"]
    assert client.get("/_stcore/health", headers={SIGN_IN_HEADER: person.id}).json() == {"told": []}


def test_a_wrong_password_says_so_and_sets_no_cookie(client: TestClient) -> None:
    answer = sign_in(client, "wrong")
    assert answer.status_code == 403
    assert "Wrong name or password." in answer.text
    assert "set-cookie" not in answer.headers
    assert "North &lt;Hospital&gt;" in answer.text


def test_another_site_cannot_sign_someone_in(client: TestClient) -> None:
    assert sign_in(client, origin="https://elsewhere.test").status_code == 403
    assert sign_in(client, origin="null").status_code == 403
    assert sign_in(client, origin="https://workbench.test").status_code == 303


def test_a_form_that_is_too_large_is_refused(client: TestClient) -> None:
    assert sign_in(client, "x" * 10_000).status_code == 413


def test_security_headers_are_on_every_answer(client: TestClient) -> None:
    for path in ("/", "/sign-in", "/_stcore/health", "/absent"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == content_security_policy()
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "strict-transport-security" in headers
    assert "unsafe-eval" not in content_security_policy()
    assert "script-src 'self' 'sha256-" in content_security_policy()


@pytest.mark.parametrize(
    "target", ["https://elsewhere.test/", "//elsewhere.test", "/\\elsewhere.test", "javascript:alert(1)", ""]
)
def test_a_sign_in_never_leads_elsewhere(target: str) -> None:
    assert safe_target(target) == "/"


def test_a_sign_in_leads_back_to_where_one_was() -> None:
    assert safe_target("/result?job=3f") == "/result?job=3f"
