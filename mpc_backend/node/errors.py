"""What a node refuses or fails at, drawn as a tree.

    NodeError
    ├── NodeSetupError       the node's directory, keys or federation file cannot be used            exit 2
    ├── NodeStartError       a node did not come up, or its addresses are taken                      exit 3
    ├── VaultError           shares at rest cannot be read: destroyed, damaged, or another key       exit 3
    └── Refusal              a request over HTTP is refused; carries a registered problem type       exit 2

Messages carry ids, digests, what was expected and what was found; never a share, a value or a key.
"""

from __future__ import annotations


class NodeError(Exception):
    """Root of everything the node service raises on purpose."""

    exit_code = 2


class NodeSetupError(NodeError):
    """The node's directory, keys or federation file cannot be used; the message says what to do."""


class NodeStartError(NodeError):
    """A node did not come up, or its addresses are taken."""

    exit_code = 3


class VaultError(NodeError):
    """Shares at rest cannot be read: destroyed, damaged, or encrypted under another key."""

    exit_code = 3


class Refusal(NodeError):
    """A request is refused. ``problem`` is a slug registered in `mpc_backend.node.problems`."""

    def __init__(self, problem: str, detail: str, **more: object) -> None:
        super().__init__(detail)
        self.problem = problem
        self.more = more
