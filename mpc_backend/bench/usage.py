"""What a process of this machine has used, as the kernel tells it under ``/proc``."""

from __future__ import annotations

import os
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Processor time a running process has used so far, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float | None:
    """The most memory a process ever had in use (MiB), or since `count_peak_anew`; None once it has ended."""
    return _mib(pid, "VmHWM:")


def in_use_mib(pid: int) -> float | None:
    """What memory a process has in use (MiB); None once it has ended."""
    return _mib(pid, "VmRSS:")


def _mib(pid: int, field: str) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = [line.split()[1] for line in lines if line.startswith(field)]
    return int(found[0]) / 1024 if found else None


def count_peak_anew() -> bool:
    """Have the kernel count this process's `peak_mib` from now on; says whether it lets processes do so."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:  # kernels without it, and sandboxes
        return False
    return True


def workers_of(pid: int) -> list[int]:
    """The processes that a running process has started."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [
        int(one) for thread in threads for one in (thread / "children").read_text(encoding="ascii").split()
    ]


def cpu_with_workers(pid: int) -> float:
    """`cpu_seconds` of a process and of those that it started and that still run."""
    return sum(cpu_seconds(one) for one in (pid, *workers_of(pid)))


def peak_with_workers(pid: int) -> float:
    """The sum of `peak_mib` over a process and those that it started: at least what they ever had in use together."""
    return sum(peak_mib(one) or 0.0 for one in (pid, *workers_of(pid)))
