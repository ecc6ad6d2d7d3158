"""Fixtures every test may use."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The developers' reference data, beside the repository; tests that need them carry the marker ``shared``."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(
            f"needs the developers' reference data in {folder}, which are no part of the repository; nothing of the product "
            "depends on them"
        )
    return folder
