"""What the demonstration fails at.

WorkbenchError
└── DemonstrationFailed    a process ended or stays silent, or an answer differs from the pooled one
"""

from __future__ import annotations

from workbench.errors import FAILED, WorkbenchError


class DemonstrationFailed(WorkbenchError):
    """A process ended or stays silent, or an answer differs from the pooled cleartext one."""

    exit_code = FAILED
