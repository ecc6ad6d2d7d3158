"""``python -m mpc_backend.shards DESCRIPTOR [load]``: one worker, started by its node with a socket to it."""

import signal
import sys

from mpc_backend.memory import keep_freed_memory


def main() -> None:
    """Work until the node closes the socket. The node alone says when: signals to stop are for it, who may let a run end."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    keep_freed_memory()
    from mpc_backend.shards.worker import work  # noqa: PLC0415  (what this imports is worth the line above)

    work(int(sys.argv[1]), load="load" in sys.argv[2:])


if __name__ == "__main__":
    main()
