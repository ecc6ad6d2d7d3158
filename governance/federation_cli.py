"""``tessera federation``: put the members' entries into one federation file, and say the digest to agree on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from governance.canonical import parse_json
from governance.disclosure import SMALLEST_MINIMUM_CELL
from governance.document import explain_validation
from governance.errors import DocumentError
from governance.federation import Federation, InvestigatorEntry, NodeEntry, SiteEntry
from governance.files import write_new

federation_app = typer.Typer(
    name="federation",
    help="Make a federation file; print the digest to agree on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@federation_app.command()
def make(
    file: Annotated[Path, typer.Argument(help="The federation file to write.")],
    entries: Annotated[
        list[Path],
        typer.Argument(
            metavar="ENTRY...",
            help="The `entry.json` of every node, hospital and investigator, in any order, as `tessera node init`, "
            "`tessera site init` and `tessera workbench users add` wrote them. With no investigator's entry, "
            "anyone may propose studies.",
        ),
    ],
    name: Annotated[str, typer.Option(help="The federation's name.")],
    version: Annotated[int, typer.Option(help="Counts the files that the members agreed on.", min=1)] = 1,
    protocol: Annotated[
        str, typer.Option(help="Protocol between the nodes; it says how many there are.")
    ] = "rep4",
    release_floor: Annotated[
        int, typer.Option(help="No study may release cells smaller than this.", min=SMALLEST_MINIMUM_CELL)
    ] = SMALLEST_MINIMUM_CELL,
) -> None:
    """Write the federation file from the members' public entries. Prints its digest.

    The same entries and options give the same digest for every member that makes the file.
    """
    found = [_entry(entry) for entry in entries]
    federation = Federation.from_value(
        {
            "name": name,
            "version": version,
            "protocol": protocol,
            "release_floor": release_floor,
            # The order in which the files are given does not matter.
            "nodes": sorted((one for one in found if isinstance(one, NodeEntry)), key=lambda one: one.index),
            "sites": sorted((one for one in found if isinstance(one, SiteEntry)), key=lambda one: one.id),
            "investigators": sorted(
                (one for one in found if isinstance(one, InvestigatorEntry)), key=lambda one: one.id
            )
            or None,
        }
    )
    try:
        write_new(file, federation.canonical(), 0o644)
    except FileExistsError:
        raise DocumentError(f"{file}: exists already; members may rely on it, choose another name") from None
    except OSError as error:
        raise DocumentError(f"{file}: cannot be written: {error.strerror}") from error
    typer.echo(federation.digest)


@federation_app.command()
def digest(file: Annotated[Path, typer.Argument(help="A federation file.")]) -> None:
    """Print the digest of a federation file, to compare by another way than the file came."""
    typer.echo(Federation.load(file).digest)


def _entry(file: Path) -> NodeEntry | SiteEntry | InvestigatorEntry:
    """One member's public entry.

    Raises:
        DocumentError: unreadable, or no entry of a node, a hospital or an investigator; names the file.
    """
    try:
        value = parse_json(file.read_bytes())
        fields = value if isinstance(value, dict) else {}
        if "tls_certificate" in fields:
            return NodeEntry.model_validate(value)
        if "signing_key" in fields:
            return InvestigatorEntry.model_validate(value)
        return SiteEntry.model_validate(value)
    except OSError as error:
        raise DocumentError(f"{file}: cannot be read: {error.strerror}") from error
    except (DocumentError, ValueError) as error:
        why = explain_validation("entry", error) if isinstance(error, ValidationError) else str(error)
        raise DocumentError(
            f"{file}: not the `entry.json` that `tessera node init`, `tessera site init` or `tessera workbench users "
            f"add` wrote: {why}"
        ) from error
