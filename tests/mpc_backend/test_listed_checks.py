"""Every refusal that the protocols, links and keys raise is in a list of checks that are taken out one by one.

A check belongs to the refusal whose condition, or own statement, it takes out. Calls of functions that check are not found.
Deadlines and lost peers are listed by the tests that want them.
"""

from __future__ import annotations

import ast
from collections import defaultdict
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
    ("mpc_backend.transport.memory", "take"): "says as an abort what the frame is refused for",
}
"""Functions with one refusal that is no check of others."""
LOST = {
    ("mpc_backend.transport.tls", "receive"): (
        "test_every_receive_has_a_deadline", "test_a_node_that_left_is_noticed_at_once",
    ),
    ("mpc_backend.transport.tls", "close"): ("test_the_end_of_a_job_is_not_waited_for_either",),
    ("mpc_backend.transport.memory", "_require_taken"): ("test_a_node_that_sends_and_never_reads_is_lost",),
    ("mpc_backend.transport.memory", "_await"): (
        "test_bytes_that_trickle_in_are_no_message", "test_a_node_that_left_is_noticed_at_once",
    ),
    ("mpc_backend.transport.greeting", "hear"): ("test_a_greeting_that_trickles_in_is_not_waited_for",),
    ("mpc_backend.transport.greeting", "dial"): (
        "test_nobody_at_the_address_is_a_clear_error", "test_the_dialler_refuses_another_node_at_the_address",
    ),
}  # fmt: skip
"""Tests that want peers given up as lost, one for each place at which a function does."""


def raised(refusals: set[str]) -> dict[tuple[str, str], list[str]]:
    """Where each function raises one of the refusals, by module and function: the source of each `raise`, with the branch that
    it stands in, without spaces.
    """
    files = [
        ROOT / "keys.py",
        ROOT / "session.py",
        *(ROOT / "protocols").glob("*.py"),
        *(ROOT / "transport").glob("*.py"),
    ]
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in files:
        module = ".".join(file.relative_to(ROOT.parent).with_suffix("").parts)
        source = file.read_text(encoding="utf-8")
        for function in ast.walk(ast.parse(source)):
            if isinstance(function, ast.FunctionDef):
                found[module, function.name] += [
                    _bare("\n".join(ast.get_source_segment(source, part) or "" for part in parts))
                    for parts in _branches(function, refusals, [])
                ]
    return {place: branches for place, branches in found.items() if branches}


def _branches(node: ast.AST, refusals: set[str], within: list[ast.AST]) -> Iterator[list[ast.AST]]:
    """Of every `raise` of a refusal the condition that it stands under, or what a handler stands for, and what follows."""
    if isinstance(node, ast.Raise) and _made(node) & refusals:
        yield within or [node]
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.If):
            yield from _branches(child, refusals, [node])
        elif isinstance(node, ast.Try) and isinstance(child, ast.ExceptHandler):
            yield from _branches(child, refusals, [*node.body, child])
        else:
            yield from _branches(child, refusals, within)


def _made(node: ast.Raise) -> set[str]:
    """The exception that a statement raises, also where another function is given it first."""
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}


def _bare(code: str) -> str:
    return "".join(code.split())


def unlisted(place: tuple[str, str], branches: list[str]) -> int:
    """How many refusals of a function no listed check belongs to: each to the smallest branch that holds it."""
    taken = set()
    for one in (*test_checks.CHECKS, *test_link_checks.CHECKS):
        owner = one.owner.__name__ if isinstance(one.owner, ModuleType) else one.owner.__module__
        if (owner, one.function) == place:
            held = [branch for branch in branches if _bare(one.check) in branch]
            taken |= set(sorted(held, key=len)[:1])
    return len(branches) - len(taken)


def test_every_refusal_is_listed() -> None:
    missing = {place: unlisted(place, branches) for place, branches in raised(REFUSALS).items()}
    assert {place: count for place, count in missing.items() if count} == dict.fromkeys(NO_CHECK_OF_OTHERS, 1)


def test_every_place_that_gives_a_peer_up_is_wanted_by_a_test() -> None:
    lost = {place: len(branches) for place, branches in raised({"PeerLost"}).items()}
    assert lost == {place: len(tests) for place, tests in LOST.items()}
    there = {
        function.name
        for file in Path(test_link_checks.__file__).parent.glob("test_*.py")
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
    }
    assert {test for tests in LOST.values() for test in tests} <= there
