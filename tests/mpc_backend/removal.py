"""Take one check out of the code, to see that it is the one that stops an attack."""

from __future__ import annotations

import inspect
import sys
import textwrap
from types import ModuleType
from typing import Any

import pytest


def remove(
    patch: pytest.MonkeyPatch,
    owner: type | ModuleType,
    function: str,
    check: str,
    instead: str,
    *more: tuple[str, str],
) -> None:
    """Replace ``check`` in the source of a function or method by ``instead`` until the test is over, and ``more`` likewise."""
    original: Any = getattr(owner, function)
    source = textwrap.dedent(inspect.getsource(original))
    for found, given in ((check, instead), *more):
        assert source.count(found) == 1, f"{owner.__name__}.{function} no longer holds {found!r}"
        source = source.replace(found, given)
    code = compile("from __future__ import annotations\n" + source, function, "exec")
    space: dict[str, Any] = {}
    exec(code, vars(sys.modules[original.__module__]), space)  # our own source, one line of it altered
    patch.setattr(owner, function, space[function])
