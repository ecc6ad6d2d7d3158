"""What a process that holds keys or patients' rows does first."""

from __future__ import annotations

import os
import resource


def harden() -> None:
    """No core dumps, which would hold what is in memory, and files for their owner alone."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
