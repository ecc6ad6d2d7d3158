"""The door in front of Streamlit, an ASGI middleware: nothing but the sign-in page is served before a sign-in.

A sign-in is an HttpOnly cookie (see `workbench.accounts`). The gate looks it up, tells Streamlit *which*
sign-in it is through one header that browsers cannot set (it is stripped from what they send), and adds the
security headers Streamlit does not send. The pages look the sign-in up again on every run, so an expired
one stops at once.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html import escape
from http.cookies import CookieError, SimpleCookie
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import streamlit
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.accounts import Accounts, SignIn
from workbench.errors import SignInRefused

SIGN_IN_HEADER = "x-tessera-sign-in"
COOKIE = "tessera_sign_in"
SIGN_IN_PATH = "/sign-in"
SIGN_OUT_PATH = "/sign-out"
HEALTH_PATH = "/_stcore/health"
LONGEST_FORM = 8_192


def inline_script_hashes() -> tuple[str, ...]:
    """CSP sources for the inline scripts of Streamlit's shell page, which change with its version."""
    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return tuple(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def content_security_policy() -> str:
    """Everything from this origin alone; no plug-ins, no frames, no eval."""
    rules = {
        "default-src": "'self'",
        "script-src": " ".join(("'self'", *inline_script_hashes())),
        "style-src": "'self' 'unsafe-inline'",  # Streamlit styles its elements inline
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "frame-ancestors": "'none'",
        "form-action": "'self'",
        "base-uri": "'self'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in rules.items())


class Gate:
    """ASGI middleware; see the module docstring.

    Args:
        app: Streamlit's own application.
        accounts: who may sign in.
        title: name of the organisation on the sign-in page.
        kind: ``research`` or ``hospital``, shown on the sign-in page.
        secure: whether browsers come over HTTPS (cookies ``Secure``, HSTS sent).
        forget: drops what is kept in memory for an account; called when it signs out.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        accounts: Accounts,
        title: str,
        kind: str,
        secure: bool,
        forget: Callable[[str], None],
    ) -> None:
        self._app = app
        self._accounts = accounts
        self._title = title
        self._kind = kind
        self._secure = secure
        self._forget = forget
        self._policy = content_security_policy()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        sending = self._with_headers(send) if scope["type"] == "http" else send
        if scope["type"] == "http" and scope["path"] == SIGN_IN_PATH:
            await (await self._sign_in(Request(scope, receive)))(scope, receive, sending)
            return
        person = await run_in_threadpool(self._accounts.by_cookie, _cookie(Headers(scope=scope)))
        if scope["type"] == "http" and scope["path"] == SIGN_OUT_PATH:
            await (await self._sign_out(person))(scope, receive, sending)
        elif person is None and scope["path"] != HEALTH_PATH:
            await self._refuse(scope, receive, sending)
        else:
            await self._app(_telling(scope, person), receive, sending)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4401, "reason": "sign in first"})
            return
        wants_page = "text/html" in Headers(scope=scope).get("accept", "")
        target = scope["path"] + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
        response: Response = PlainTextResponse("sign in first\n", status_code=401)
        if wants_page:
            response = RedirectResponse(f"{SIGN_IN_PATH}?next={quote(target, safe='')}", status_code=303)
        await response(scope, receive, send)

    async def _sign_in(self, request: Request) -> Response:
        following = safe_target(request.query_params.get("next", "/"))
        if request.method == "GET":
            return self._page(following, request.query_params.get("reason", ""))
        if request.method != "POST" or not _same_origin(request):
            return PlainTextResponse("not allowed\n", status_code=405 if request.method != "POST" else 403)
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LONGEST_FORM:
                return PlainTextResponse("form too large\n", status_code=413)
        form = parse_qs(body.decode("utf-8", errors="replace"), keep_blank_values=True)
        name, password = form.get("name", [""])[0], form.get("password", [""])[0]
        address = request.client.host if request.client else "unknown"
        try:
            cookie, person = await run_in_threadpool(self._accounts.sign_in, name, password, address)
        except SignInRefused as error:
            return self._page(following, str(error), status=403)
        response = RedirectResponse(following, status_code=303)
        response.set_cookie(
            COOKIE, cookie, expires=person.expires_at, httponly=True, samesite="lax", secure=self._secure
        )
        return response

    async def _sign_out(self, person: SignIn | None) -> Response:
        if person is not None:
            await run_in_threadpool(self._accounts.sign_out, person.id)
            self._forget(person.account)
        response = RedirectResponse(f"{SIGN_IN_PATH}?reason=out", status_code=303)
        response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=self._secure)
        return response

    def _page(self, following: str, reason: str, status: int = 200) -> HTMLResponse:
        words = {"out": "You are signed out.", "expired": "Your sign-in ended. Sign in again to go on."}
        message = words.get(reason, reason if status != 200 else "")
        template = files("workbench").joinpath("assets/sign_in.html").read_text(encoding="utf-8")
        content = {
            "title": self._title,
            "kind": "Hospital workbench" if self._kind == "hospital" else "Research workbench",
            "action": f"{SIGN_IN_PATH}?next={quote(following, safe='')}",
            "message": message,
            "role": "alert" if status != 200 else "status",
        }
        for name, text in content.items():
            template = template.replace("{{" + name + "}}", escape(text))
        return HTMLResponse(template, status_code=status)

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._harden(MutableHeaders(scope=message))
            await send(message)

        return sending

    def _harden(self, headers: MutableHeaders) -> None:
        headers["Content-Security-Policy"] = self._policy
        headers["X-Frame-Options"] = "DENY"
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"  # "no-referrer" would empty the Origin of our own form
        headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        if self._secure:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        if "text/html" in headers.get("content-type", ""):
            headers["Cache-Control"] = "no-store"


def safe_target(target: str) -> str:
    """The path to go to after a sign-in; anything that could leave this origin becomes ``/``."""
    parts = urlsplit(target)
    plain = target.startswith("/") and not target.startswith("//") and "\\" not in target
    return target if plain and not parts.scheme and not parts.netloc else "/"


def _same_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _cookie(headers: Headers) -> str | None:
    jar = SimpleCookie()
    try:
        jar.load(headers.get("cookie", ""))
    except CookieError:
        return None
    return jar[COOKIE].value if COOKIE in jar else None


def _telling(scope: Scope, person: SignIn | None) -> Scope:
    kept = [(name, value) for name, value in scope["headers"] if name.lower() != SIGN_IN_HEADER.encode()]
    told = [] if person is None else [(SIGN_IN_HEADER.encode(), person.id.encode())]
    return {**scope, "headers": kept + told}
