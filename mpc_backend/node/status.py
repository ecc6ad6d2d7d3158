"""What `tessera node status` shows: every node of the pinned federation, as it answers now."""

from __future__ import annotations

from typing import Any

from mpc_backend.client.connection import NodeClient
from mpc_backend.client.nodes import NodeSet
from mpc_backend.node.settings import NodeDirectory
from mpc_backend.node.setup import pin_federation


def node_status(directory: NodeDirectory) -> list[dict[str, Any]]:
    """One line per node: ``node``, ``state`` (idle, running, faulty, unreachable) and ``detail``.

    Raises:
        NodeSetupError: no node here, or it has no federation yet.
    """
    directory.settings()
    federation = pin_federation(directory, None, None)
    with NodeSet(federation) as nodes:
        found, faults = nodes.each_that_answers(NodeClient.status)
    lines = []
    for node in federation.nodes:
        if node.id in faults:
            lines.append({"node": node.id, "state": "unreachable", "detail": str(faults[node.id])})
            continue
        status = found[node.id]
        state = f"running {status.running[:12]}" if status.running else "idle"
        if status.fault:
            lines.append({"node": node.id, "state": "faulty", "detail": status.fault})
            continue
        runs = ", ".join(f"{count} {name}" for name, count in status.runs.items()) or "no runs yet"
        detail = f"{runs}; log of {status.log_size} entries; software {status.software[:12]}"
        lines.append({"node": node.id, "state": state, "detail": detail})
    return lines
