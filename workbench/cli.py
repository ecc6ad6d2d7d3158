"""The umbrella command `tessera`: mounts each package's commands and says errors the same way everywhere.

A package is imported only when its command is the one used, so `tessera --help` starts neither Streamlit nor
numba. Exit status: 0 done, 2 refused (the request is wrong), 3 failed (it is right, the work did not succeed).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer

from governance.collection import collect_seldom
from mpc_backend.memory import keep_freed_memory
from workbench.errors import exit_status, message_of


@dataclass(frozen=True)
class Mount:
    """Where one sub-command lives: ``module:attribute`` is a `typer.Typer` or a plain function.

    ``single``: the Typer holds one command that takes the mount's own name (``tessera verify RECEIPT``).
    """

    name: str
    module: str
    attribute: str
    help: str
    single: bool = False


MOUNTS = (
    Mount("node", "mpc_backend.node.cli", "node_app", "Set up and run a computing node."),
    Mount(
        "site",
        "site_connector.cli",
        "site_app",
        "A hospital's side: load data, serve, review and sign studies.",
    ),
    Mount("study", "workbench.study_cli", "study_app", "Write, check, explain, submit and run studies."),
    Mount("cohort", "cohort_lang.cli", "cohort_app", "Check, explain and evaluate cohort definitions."),
    Mount(
        "federation",
        "governance.federation_cli",
        "federation_app",
        "Make a federation file; print the digest to agree on.",
    ),
    Mount("verify", "governance.cli", "verify_app", "Verify a receipt, offline.", single=True),
    Mount(
        "workbench", "workbench.workbench_cli", "workbench_app", "Start the workbench; manage its accounts."
    ),
    Mount("try", "mpc_backend.try_cli", "try_app", "Run an analysis on one file, all nodes in this process."),
    Mount(
        "bench",
        "workbench.bench_lines",
        "bench_app",
        "Measure the engine and the hospital's side: a table, or with --json one JSON object a line.",
        single=True,
    ),
    Mount(
        "demo",
        "workbench.demo.cli",
        "demo_app",
        "Four nodes, three hospitals, three answered questions.",
        single=True,
    ),
)

COMPUTING = frozenset({"node", "try", "bench"})
"""Sub-commands whose process computes on shares."""

TYPER_OPTIONS: dict[str, Any] = {
    "no_args_is_help": True,
    "pretty_exceptions_enable": False,
    "add_completion": False,
}


def build_app(selected: str | None) -> typer.Typer:
    """The command tree: only the sub-command ``selected`` is imported, the others are names with help."""
    app = typer.Typer(
        name="tessera", help="Clinical evidence across hospitals, on secret shares.", **TYPER_OPTIONS
    )
    app.callback()(_root)
    for mount in MOUNTS:
        if mount.name == selected:
            _mount(app, mount)
        else:
            app.command(mount.name, help=mount.help)(_placeholder)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("tessera-rwe"))
        raise typer.Exit()


def _root(
    show_version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Options of the umbrella command itself; `_print_version` acts on the only one."""


def _placeholder() -> None:
    """Stands in the help for a command that is not the one used; `main` always mounts the one that is."""


def _mount(app: typer.Typer, mount: Mount) -> None:
    target = getattr(import_module(mount.module), mount.attribute)
    if not isinstance(target, typer.Typer):
        app.command(mount.name, help=mount.help)(target)
    elif mount.single and not target.registered_groups and len(target.registered_commands) == 1:
        command = target.registered_commands[0]
        assert command.callback is not None  # a registered command has the function it was made of
        app.command(mount.name, help=mount.help, context_settings=command.context_settings)(command.callback)
    else:
        app.add_typer(target, name=mount.name, help=mount.help)


def selected_command(arguments: Sequence[str]) -> str | None:
    """The first argument that is not an option: the sub-command's name, or None."""
    return next((argument for argument in arguments if not argument.startswith("-")), None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `tessera`.

    Raises:
        SystemExit: always; see the module docstring for the status.
    """
    collect_seldom()
    words = list(sys.argv[1:] if arguments is None else arguments)
    selected = selected_command(words)
    if selected in COMPUTING:
        keep_freed_memory()
    try:
        build_app(selected)(args=words, prog_name="tessera")
    except Exception as error:
        status = exit_status(error)
        if status is None:
            raise
        typer.echo(f"tessera: {message_of(error)}", err=True)
        sys.exit(status)


if __name__ == "__main__":
    main()
