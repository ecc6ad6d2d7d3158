"""Every function of the protocols, links and keys that raises a refusal is in a list of checks that are taken out one by one.

By function and exception: a second refusal in a function that is listed is not found, nor are deadlines (`PeerLost`) and calls
of functions that check.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import mpc_backend
from tests.mpc_backend.engine import test_checks
from tests.mpc_backend.node import test_link_checks

ROOT = Path(mpc_backend.__file__).parent
REFUSALS = {
    "CertificateRefused", "FrameError", "KeyAgreementError", "ProtocolAbort", "ShareFormatError", "ShareMismatch",
}  # fmt: skip
NO_CHECK_OF_OTHERS = {
    ("mpc_backend.transport.base", "send"): "bounds what a node itself sends",
}


def refusing() -> Iterator[tuple[str, str]]:
    """Module and function of everything that raises one of the refusals."""
    files = [
        ROOT / "keys.py",
        ROOT / "session.py",
        *(ROOT / "protocols").glob("*.py"),
        *(ROOT / "transport").glob("*.py"),
    ]
    for file in files:
        module = ".".join(file.relative_to(ROOT.parent).with_suffix("").parts)
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and any(_refuses(node) for node in ast.walk(function)):
                yield module, function.name


def _refuses(node: ast.AST) -> bool:
    made = node.exc if isinstance(node, ast.Raise) else None
    return isinstance(made, ast.Call) and isinstance(made.func, ast.Name) and made.func.id in REFUSALS


def test_every_refusal_is_listed() -> None:
    listed = {
        (one.owner.__name__ if isinstance(one.owner, ModuleType) else one.owner.__module__, one.function)
        for one in (*test_checks.CHECKS, *test_link_checks.CHECKS)
    }
    found = set(refusing())
    assert found - listed == set(NO_CHECK_OF_OTHERS)
