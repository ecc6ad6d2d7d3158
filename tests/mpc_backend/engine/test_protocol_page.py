"""The page that says how to add a protocol names what there is."""

import re
from pathlib import Path

from mpc_backend.protocols.base import Costs, Protocol

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "adding-a-protocol.md").read_text(encoding="utf-8")


def test_its_table_has_every_method_that_a_protocol_must_have() -> None:
    """But for where it keeps the share of public constants, which `Replicated` knows by the layout."""
    first_cells = [row.split("|")[1] for row in PAGE.splitlines() if row.startswith("| `")]
    named = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    assert named == Protocol.__abstractmethods__ - {"public_component"}
    assert "costs" in Protocol.__annotations__ and Costs.__doc__ is not None and "`costs`" in PAGE


def test_files_and_lists_that_it_names_are_there() -> None:
    """Lists in capitals, in the files that are named before them."""
    assert all((ROOT / name).exists() for name in re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE))
    held = {
        "LAYOUTS": "mpc_backend/protocols/sharing.py",
        "SHARED": "mpc_backend/protocols/__init__.py",
        "PROTOCOLS": "tests/mpc_backend/views.py",
        "MASKS": "tests/mpc_backend/engine/test_privacy.py",
        "AGAIN": "tests/mpc_backend/engine/test_privacy.py",
    }
    assert set(re.findall(r"`([A-Z]+)`", PAGE)) == set(held)
    for name, file in held.items():
        assert re.search(rf"^{name}\b", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
