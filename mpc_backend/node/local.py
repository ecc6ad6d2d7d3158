"""All nodes of a federation on this machine, each a process of its own: for demonstrations and tests.

The processes are real ones, with their own directories, keys and ports; only the machine is shared.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess  # starts our own interpreter with fixed arguments
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from governance.federation import Federation, NodeEntry
from mpc_backend.kernels.kept import all_kept
from mpc_backend.node.errors import NodeStartError
from mpc_backend.node.setup import init_node
from mpc_backend.transport.certificates import control_client_context

START_SECONDS = 180.0
STOP_SECONDS = 20.0
NODE_IDS = ("node-a", "node-b", "node-c", "node-d")


def free_addresses(count: int) -> list[str]:
    """Loopback addresses with ports nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    finally:
        for one in sockets:
            one.close()


def init_local_nodes(
    folder: Path, organisations: Sequence[str], ids: Sequence[str] = NODE_IDS
) -> list[NodeEntry]:
    """One node directory for each organisation under ``folder``; returns the entries for the federation file."""
    addresses = free_addresses(2 * len(organisations))
    return [
        init_node(
            folder / node_id,
            index=index,
            node_id=node_id,
            organisation=organisation,
            control=addresses[2 * index],
            data=addresses[2 * index + 1],
        )
        for index, (node_id, organisation) in enumerate(
            zip(ids[: len(organisations)], organisations, strict=True)
        )
    ]


def stop_processes(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask processes to stop (SIGTERM), wait until they have, and kill what does not within `STOP_SECONDS`."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    until = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class LocalNodes:
    """Starts, stops and kills the nodes of ``federation`` whose directories lie under ``folder``.

    Output of node X goes to ``folder/X.log``. Use as a context manager: leaving it stops every process it started.
    """

    def __init__(
        self, folder: Path, federation: Federation, environment: Mapping[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._federation = federation
        self._environment = {**os.environ, **(environment or {})}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._file = folder / "federation.json"
        federation.save(self._file)

    def __enter__(self) -> LocalNodes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def compile_kernels(self) -> None:
        """Fill the on-disk cache of compiled kernels unless it is whole: the nodes should not all compile at the same time.

        Raises:
            NodeStartError: the compiler failed; says where its output is.
        """
        if all_kept():
            return
        path = self._log("kernels")
        with path.open("ab") as output:
            done = subprocess.run(
                [sys.executable, "-m", "mpc_backend.kernels"],
                check=False,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        if done.returncode:
            raise NodeStartError(f"compiling the kernels ended with status {done.returncode}; see {path}")

    def start(self, *node_ids: str) -> None:
        """Start these nodes (default: all) and return once each answers; on failure, none of them is left.

        Raises:
            NodeStartError: a process ended, or does not answer in time; says where its output is.
        """
        chosen = node_ids or tuple(node.id for node in self._federation.nodes)
        if not node_ids:
            self.compile_kernels()
        until = time.monotonic() + START_SECONDS
        try:
            for node_id in chosen:
                self._spawn(node_id)
            for node_id in chosen:
                self._await(node_id, until)
        except BaseException:
            for node_id in chosen:
                if node_id in self._processes:
                    self.kill(node_id)
            raise

    def runs(self, node_id: str) -> bool:
        """Whether this node's process was started and lives."""
        process = self._processes.get(node_id)
        return process is not None and process.poll() is None

    def pid(self, node_id: str) -> int:
        """Process id of a node that was started."""
        return self._processes[node_id].pid

    def kill(self, node_id: str) -> None:
        """End a node at once, without warning (SIGKILL)."""
        process = self._processes.pop(node_id)
        process.kill()
        process.wait()

    def stop(self, *node_ids: str) -> None:
        """Ask these nodes (default: all that run) to stop, and wait until they have; kill what does not."""
        stop_processes([self._processes.pop(name) for name in node_ids or tuple(self._processes)])

    def _spawn(self, node_id: str) -> None:
        if node_id in self._processes:
            raise NodeStartError(f"{node_id} runs already, as process {self.pid(node_id)}")
        arguments = ["serve", str(self._folder / node_id), "--federation", str(self._file)]
        with (self._folder / f"{node_id}.log").open("ab") as output:
            self._processes[node_id] = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
                [sys.executable, "-m", "mpc_backend.node", *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _await(self, node_id: str, until: float) -> None:
        node = self._federation.node(node_id)
        process = self._processes[node_id]
        with httpx.Client(verify=control_client_context(node.tls_certificate), timeout=5) as client:
            while time.monotonic() < until:
                if process.poll() is not None:
                    del self._processes[node_id]
                    raise NodeStartError(
                        f"{node_id} ended with status {process.returncode}; see {self._log(node_id)}"
                    )
                try:
                    client.get(f"{node.control_url}/v1/status").raise_for_status()
                except httpx.HTTPError:
                    time.sleep(0.1)
                else:
                    return
        raise NodeStartError(f"{node_id} did not answer within {START_SECONDS:g} s; see {self._log(node_id)}")

    def _log(self, node_id: str) -> Path:
        return self._folder / f"{node_id}.log"
