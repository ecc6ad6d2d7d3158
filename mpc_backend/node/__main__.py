"""``python -m mpc_backend.node``: the commands of a node without the umbrella command."""

import sys

import typer

from governance.collection import collect_seldom
from mpc_backend.memory import keep_freed_memory


def main() -> None:
    """Run a command; errors of ours become one line and exit status 2 or 3."""
    collect_seldom()
    keep_freed_memory()
    from mpc_backend.node.cli import node_app  # noqa: PLC0415  (what this imports is worth the line above)
    from mpc_backend.node.problems import EXPECTED  # noqa: PLC0415

    try:
        node_app(prog_name="tessera node")
    except EXPECTED as error:
        typer.echo(f"tessera: {error}", err=True)
        sys.exit(getattr(error, "exit_code", 2))


if __name__ == "__main__":
    main()
