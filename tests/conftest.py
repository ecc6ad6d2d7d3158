"""Fixtures every test may use, and how many tests run side by side."""

import os
from pathlib import Path

import pytest


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: tests of real processes and browsers spend much of their time waiting."""
    return (os.cpu_count() or 1) + 1


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
