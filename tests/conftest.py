"""Fixtures every test may use, and how many tests run side by side."""

import gc
import os
from pathlib import Path

import pytest

from governance.collection import collect_seldom

collect_seldom()


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: tests of real processes and browsers spend much of their time waiting."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long first, in whole: all would wait for one that begins when the others are through."""
    long = {
        item.path for item in items if any(map(item.get_closest_marker, ("slow", "processes", "browser")))
    }
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """What was imported and collected stays: no search for cycles need look at it again."""
    gc.collect()
    gc.freeze()


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
