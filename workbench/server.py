"""Serve the workbench: Streamlit behind the gate, on one port."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from workbench.context import Workbench, workbench
from workbench.errors import PortTaken
from workbench.gate import SIGN_IN_HEADER, Gate
from workbench.settings import SETTINGS_VARIABLE, WorkbenchSettings, check_certificate, write_settings

# Not beside pages/: Streamlit would take that folder for pages of its own and run them past the shell.
SCRIPT = Path(__file__).parent / "parts" / "app.py"


def streamlit_options(settings: WorkbenchSettings) -> dict[str, object]:
    """Streamlit's options: nothing phones home, no error's inside reaches a page, no developer's toolbar."""
    options: dict[str, object] = {
        "server.address": settings.host,
        "server.port": settings.port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.trustedUserHeaders": json.dumps({SIGN_IN_HEADER: "sign_in"}),
        "server.maxUploadSize": 5,
        "server.enableAgentApi": False,
        "browser.gatherUsageStats": False,
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.toolbarMode": "minimal",
        "client.showSidebarNavigation": True,
        "theme.base": "light",
        "theme.primaryColor": "#005a87",
        "theme.backgroundColor": "#ffffff",
        "theme.secondaryBackgroundColor": "#f3f6f8",
        "theme.textColor": "#17242d",
        "theme.baseRadius": "6px",
        "theme.baseFontSize": 15,
    }
    if settings.tls_certificate is not None:
        options |= {
            "server.sslCertFile": str(settings.tls_certificate),
            "server.sslKeyFile": str(settings.tls_key),
        }
    return options


def application(bench: Workbench) -> st.App:
    """The ASGI application; `serve` runs it."""
    settings = bench.settings
    gate = Middleware(
        Gate,
        accounts=bench.accounts,
        title=settings.title,
        kind=settings.kind,
        secure=settings.secure_cookies,
        forget=bench.jobs.forget,
    )
    return st.App(SCRIPT, middleware=[gate])


def serve(settings: WorkbenchSettings) -> None:
    """Serve until interrupted. The pages read the very settings given here, through a file of the state folder.

    Raises:
        SettingsError: the certificate cannot be served with the key.
        PortTaken: another process listens at the address.
    """
    check_certificate(settings)
    _check_port(settings)
    serving = settings.state_dir / "serving.toml"
    write_settings(serving, settings)
    os.environ[SETTINGS_VARIABLE] = str(serving)
    # Left alone, uvicorn believes X-Forwarded-For from any process of this machine, and sign-ins are limited by address.
    os.environ["FORWARDED_ALLOW_IPS"] = settings.trusted_proxy
    bench = workbench()
    threading.Thread(target=_take_up_again, args=(bench,), name="tessera-resume", daemon=True).start()
    application(bench).run(config=streamlit_options(settings))


def _check_port(settings: WorkbenchSettings) -> None:
    """Streamlit would say so too, and end with a status that means something else."""
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        raise PortTaken(
            f"cannot listen at {settings.host}:{settings.port}: {error.strerror}; end what listens there, or give another "
            "port with --port"
        ) from error


def _take_up_again(bench: Workbench) -> None:
    from workbench.runs import take_up_again  # noqa: PLC0415  (brings the engine, which takes seconds)

    take_up_again(bench)
