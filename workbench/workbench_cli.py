"""`tessera workbench`: start it, and manage its accounts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from governance.hardening import harden
from workbench.accounts import Accounts, accounts_of
from workbench.errors import AccountError
from workbench.settings import ROLES, load_settings
from workbench.store import open_store

workbench_app = typer.Typer(invoke_without_command=True, pretty_exceptions_enable=False)
users_app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Manage the accounts.")
workbench_app.add_typer(users_app, name="users")

SettingsPath = Annotated[
    Path | None,
    typer.Option("--settings", envvar="TESSERA_WORKBENCH_SETTINGS", help="The workbench's TOML file."),
]


@workbench_app.callback()
def start(
    context: typer.Context,
    settings: SettingsPath = None,
    port: Annotated[
        int | None, typer.Option(help="Listen on this port instead of the settings' one.")
    ] = None,
) -> None:
    """Start the workbench and serve it until interrupted."""
    harden()
    overrides = {} if port is None else {"port": port}
    context.obj = load_settings(settings, **overrides)
    if context.invoked_subcommand is None:
        from workbench.server import serve  # noqa: PLC0415  (Streamlit is slow to import)

        serve(context.obj)


@users_app.command("add")
def add(
    context: typer.Context,
    name: str,
    role: Annotated[list[str], typer.Option("--role", help=f"One of {', '.join(ROLES)}; may be repeated.")],
    display_name: Annotated[str, typer.Option(help="Shown to the person.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="Read the password from this file.")] = None,
) -> None:
    """Add an account, make its keys and `entry.json`, and print the public keys a study names it by.

    The entry is for a federation file that lists who may propose studies.
    """
    from workbench.identities import ENTRY_FILE, create_identity, write_entry  # noqa: PLC0415

    accounts = _accounts(context)
    accounts.add(name, _password(password_file), role, display_name)
    folder = context.obj.identities / name
    identity = create_identity(folder)
    write_entry(folder, name, context.obj.title)
    typer.echo(f"account {name} added as {', '.join(role)}")
    typer.echo(f"signing_key: {identity.signing.public}\nsealing_key: {identity.sealing.public}")
    typer.echo(f"entry: {folder / ENTRY_FILE}")


@users_app.command("list")
def listing(context: typer.Context) -> None:
    """List the accounts, one a line."""
    for row in _accounts(context).listing():
        state = "disabled" if row.disabled else "active"
        typer.echo(f"{row.name}\t{','.join(row.roles)}\t{state}\t{row.display_name}")


@users_app.command("password")
def password(
    context: typer.Context,
    name: str,
    password_file: Annotated[Path | None, typer.Option(help="Read the password from this file.")] = None,
) -> None:
    """Set a new password and end the account's sign-ins."""
    _accounts(context).set_password(name, _password(password_file))
    typer.echo(f"password of {name} changed")


@users_app.command("disable")
def disable(context: typer.Context, name: str) -> None:
    """Refuse an account's later sign-ins and end the present ones."""
    _accounts(context).disable(name)
    typer.echo(f"account {name} disabled")


def _accounts(context: typer.Context) -> Accounts:
    return accounts_of(open_store(context.obj.database), context.obj)


def _password(path: Path | None) -> str:
    if path is None:
        if not sys.stdin.isatty():
            raise AccountError("no password: give --password-file, or run in a terminal")
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise AccountError(f"{path}: the password file is not UTF-8 text") from None
