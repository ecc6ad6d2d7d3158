"""``tessera node``: set up a node, run it, ask it how it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from governance.hardening import harden
from governance.protocols import NODES_OF
from mpc_backend.node.serve import serve_node
from mpc_backend.node.settings import NodeDirectory
from mpc_backend.node.setup import init_node
from mpc_backend.node.status import node_status

FAILED = 3
LAST_INDEX = max(NODES_OF.values()) - 1
node_app = typer.Typer(
    name="node",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@node_app.callback()
def node() -> None:
    """Set up and run a computing node."""
    harden()


Directory = Annotated[Path, typer.Argument(help="The node's directory.")]


@node_app.command()
def init(
    directory: Directory,
    index: Annotated[int, typer.Option(help="Place in the federation, from 0.", min=0, max=LAST_INDEX)],
    node_id: Annotated[str, typer.Option("--id", help="Name in the federation, for example node-a.")],
    organisation: Annotated[str, typer.Option(help="Who operates the node.")],
    control: Annotated[str, typer.Option(help="host:port at which clients reach it.")],
    data: Annotated[str, typer.Option(help="host:port at which the other nodes reach it.")],
    control_listen: Annotated[
        str | None, typer.Option(help="host:port to bind, if another than --control.")
    ] = None,
    data_listen: Annotated[
        str | None, typer.Option(help="host:port to bind, if another than --data.")
    ] = None,
) -> None:
    """Make a node: keys, certificate, settings. Prints its public entry for the federation file."""
    entry = init_node(
        directory,
        index=index,
        node_id=node_id,
        organisation=organisation,
        control=control,
        data=data,
        control_listen=control_listen,
        data_listen=data_listen,
    )
    typer.echo(entry.model_dump_json(indent=2))


@node_app.command()
def serve(
    directory: Directory,
    federation: Annotated[
        Path | None, typer.Option(help="The federation file; its digest is pinned when first given.")
    ] = None,
    pin: Annotated[
        str | None, typer.Option(help="Digest the members agreed on; replaces the pinned one.")
    ] = None,
) -> None:
    """Run the node until it is asked to stop."""
    serve_node(directory, federation, pin)


@node_app.command()
def status(
    directory: Directory,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask the running node, and through the federation file every other one, how it is. Exit status 3 if any does
    not answer or is faulty.
    """
    lines = node_status(NodeDirectory(directory))
    if as_json:
        typer.echo(json.dumps(lines, indent=2))
    else:
        for line in lines:
            typer.echo(f"{line['node']:<12} {line['state']:<12} {line['detail']}")
    if any(line["state"] in {"unreachable", "faulty"} for line in lines):
        raise typer.Exit(FAILED)
