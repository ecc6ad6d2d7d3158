"""What a client of the nodes meets, drawn as a tree.

    ClientError
    ├── NodeUnreachable   a node does not answer: which, where, what to do                 exit 3
    ├── NodeRefused       a node refused a request; ``problem`` is its registered type     exit 2
    │   └── BadAnswer     what a node answers is not what nodes answer                     exit 3
    │       └── AnswerTooLarge   it is larger than any answer of its kind: the limit       exit 3
    ├── NothingSent       not every node answers, so nothing was sent to any: which, why   exit 3
    ├── NoUsableAnswer    no node gave an answer that can be used: each node and why       exit 2 or 3
    ├── RunAborted        the run ended without a result: the reason, and at which node    exit 3
    ├── RunRefused        the nodes will not run it: the reason                            exit 2
    ├── RunTimeout        the run is still waiting or running: for what                    exit 3
    └── ResultRefused     what came back is not a result all nodes vouch for               exit 3

Messages name nodes, addresses, runs and reasons; never a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class ClientError(Exception):
    """Base of everything the client raises on purpose."""

    exit_code = 3


class NodeUnreachable(ClientError):
    """A node does not answer; says which, at which address, and what to do."""

    def __init__(self, node: str, address: str, why: str) -> None:
        super().__init__(
            f"{node} does not answer at {address} ({why}); check that it runs and that the network lets you "
            "reach it"
        )
        self.node = node


class NodeRefused(ClientError):
    """A node refused a request. ``problem``: the registered type; ``more``: further members of the problem."""

    exit_code = 2

    def __init__(self, node: str, problem: str, detail: str, more: Mapping[str, object]) -> None:
        super().__init__(f"{node}: {detail}")
        self.node, self.problem, self.detail, self.more = node, problem, detail, dict(more)


class BadAnswer(NodeRefused):
    """What a node answers is not what nodes answer, so that only the other nodes can be heard; ``problem`` is
    ``malformed``.
    """

    exit_code = 3

    def __init__(self, node: str, detail: str) -> None:
        super().__init__(node, "malformed", detail, {})


class AnswerTooLarge(BadAnswer):
    """What a node answers is larger than any answer of its kind; it was not taken in. ``limit``: in bytes."""

    def __init__(self, node: str, what: str, limit: int) -> None:
        super().__init__(
            node, f"cannot take in {what}: larger than the limit of {limit} bytes; ask the node's operator"
        )
        self.limit = limit


class NothingSent(ClientError):
    """Not every node answers, and what all nodes need was therefore sent to none. ``faults``: by node's id."""

    def __init__(self, what: str, faults: Mapping[str, NodeUnreachable | NodeRefused]) -> None:
        said = "; ".join(map(str, faults.values()))
        super().__init__(f"{what} goes to every node or to none, so nothing was sent: {said}; then ask again")
        self.faults = dict(faults)


class NoUsableAnswer(ClientError):
    """No node gave an answer that can be used. ``faults``: each node's, by its id.

    Refused (exit status 2) if every node says no, failed (3) if any of them might have said yes.
    """

    def __init__(self, what: str, faults: Mapping[str, NodeUnreachable | NodeRefused]) -> None:
        super().__init__(f"no node gives {what}: {'; '.join(map(str, faults.values()))}")
        self.faults = dict(faults)
        self.exit_code = max((fault.exit_code for fault in faults.values()), default=3)


class RunAborted(ClientError):
    """The run ended without a result. ``who``: the node at which it failed, if known."""

    def __init__(self, run_id: str, reason: str, who: str) -> None:
        at = f" at {who}" if who else ""
        super().__init__(
            f"run {run_id[:12]} was aborted{at}: {reason}; nothing was released, ask for a new run"
        )
        self.run_id, self.reason, self.who = run_id, reason, who


class RunRefused(ClientError):
    """The nodes will not run it."""

    exit_code = 2

    def __init__(self, run_id: str, reason: str, who: str) -> None:
        super().__init__(f"run {run_id[:12]} was refused{f' by {who}' if who else ''}: {reason}")
        self.run_id, self.reason, self.who = run_id, reason, who


class RunTimeout(ClientError):
    """The run is still waiting or running when the caller's patience ended. ``waits``: for what, whom to ask."""

    def __init__(self, run_id: str, seconds: float, waits: Sequence[str]) -> None:
        later = f"read the answer later with `tessera study results STUDY {run_id}`"
        super().__init__(f"run {run_id[:12]} has no result after {seconds:g} s: {'; '.join([*waits, later])}")
        self.run_id = run_id


class ResultRefused(ClientError):
    """What came back is not a result that all nodes vouch for."""
