"""``tessera site``: set a hospital's side up, load data, run the connector, review and sign studies.

Commands import what they use when they run: help and wrong arguments are answered without loading databases.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from governance.clock import utc_now
from governance.hardening import harden
from site_connector.errors import SiteSetupError

if TYPE_CHECKING:
    from governance.federation import Federation
    from governance.keys import SigningKey
    from site_connector.decisions import StewardDesk
    from site_connector.directory import SiteDirectory
    from site_connector.loading import Kind
    from site_connector.mailbox import Mailbox
    from site_connector.models import InboxItem

REFUSED, FAILED = 2, 3

site_app = typer.Typer(
    name="site",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@site_app.callback()
def site() -> None:
    """A hospital's side: load data, run the connector, review and sign studies."""
    harden()


F = TypeVar("F", bound=Callable[..., None])
Site = Annotated[Path, typer.Argument(metavar="DIR", help="The site's directory.")]
Study = Annotated[
    str, typer.Argument(metavar="STUDY", help="Short name, digest, or at least 6 digits of the digest.")
]
Passphrase = Annotated[
    Path | None,
    typer.Option(
        help="File with the steward's passphrase; otherwise TESSERA_STEWARD_PASSPHRASE, otherwise asked.",
        envvar="TESSERA_STEWARD_PASSPHRASE_FILE",
    ),
]
Reason = Annotated[str, typer.Option(help="Why, in words; signed with the decision.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def told(command: F) -> F:
    """One line and the right exit status for everything this software refuses or fails at."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except Exception as error:
            message, status = _told(error)
            typer.echo(f"tessera site: {message}", err=True)
            raise typer.Exit(status) from error

    return wrapped  # type: ignore[return-value]


def _told(error: Exception) -> tuple[str, int]:
    """Message and exit status of an error this software raises on purpose or a database ends in; any other
    is raised again.
    """
    import duckdb  # noqa: PLC0415

    from cohort_lang.errors import CohortError  # noqa: PLC0415
    from fhir_mappings.errors import LoadFailed, MappingError  # noqa: PLC0415
    from fhir_mappings.faults import database_advice  # noqa: PLC0415
    from governance.errors import GovernanceError  # noqa: PLC0415
    from mpc_backend.client.errors import ClientError  # noqa: PLC0415
    from mpc_backend.errors import EngineError  # noqa: PLC0415
    from site_connector.errors import SiteError  # noqa: PLC0415
    from site_connector.faults import where_from  # noqa: PLC0415

    if isinstance(error, (SiteError, GovernanceError, MappingError, CohortError, EngineError, ClientError)):
        status = getattr(error, "exit_code", FAILED if isinstance(error, LoadFailed) else REFUSED)
        return str(error), int(status)
    if isinstance(error, duckdb.Error):
        # Its own words may quote a cell of the record it failed at.
        return f"the database could not answer ({where_from(error)}): {database_advice(error)}", FAILED
    raise error


def _directory(path: Path) -> SiteDirectory:
    from site_connector.directory import SiteDirectory  # noqa: PLC0415

    return SiteDirectory(path)


@contextmanager
def opened(path: Path) -> Iterator[tuple[SiteDirectory, Federation, Mailbox]]:
    """A site that is set up, and its mailbox."""
    from site_connector.mailbox import Mailbox  # noqa: PLC0415

    directory = _directory(path)
    federation = directory.federation()
    with Mailbox(directory.mailbox, federation, directory.settings().id) as mailbox:
        yield directory, federation, mailbox


@site_app.command("init")
@told
def init(
    path: Site,
    *,
    site_id: Annotated[
        str | None, typer.Option("--id", help="The site's name in the federation file.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The hospital's name, as people read it.")] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="No patient's data will be loaded; permits exact release.")
    ] = False,
    federation: Annotated[
        Path | None, typer.Option(help="Second step: the federation file all members agreed on.")
    ] = None,
    pin: Annotated[
        str | None, typer.Option(help="Its digest, as the members passed it on by another way than the file.")
    ] = None,
    passphrase_file: Passphrase = None,
) -> None:
    """Set a site up in two steps.

    First `init DIR --id ID --name NAME` makes keys and prints the public entry for the federation file. When
    the members agreed on that file, `init DIR --federation FILE` pins it.
    """
    from site_connector.setup import init_site, pin_federation  # noqa: PLC0415

    if site_id is not None and name is not None and federation is None:
        passphrase = _passphrase(passphrase_file, confirm=True)
        entry = init_site(path, site_id=site_id, name=name, passphrase=passphrase, synthetic=synthetic)
        typer.echo(entry.model_dump_json(indent=2))
        typer.echo(
            f"Keys made in {path}/keys. Give the entry above ({path}/entry.json) to the federation, then run "
            f"`tessera site init {path} --federation FILE`.",
            err=True,
        )
    elif federation is not None and site_id is None and name is None and not synthetic:
        pinned = pin_federation(_directory(path), federation, pin)
        typer.echo(f"Pinned federation {pinned.name}, version {pinned.version}: {pinned.digest}")
    else:
        raise SiteSetupError(
            "give --id and --name (and --synthetic) to make a site, or --federation to pin the federation file"
        )


@site_app.command("load")
@told
def load_command(
    path: Site,
    *,
    fhir: Annotated[Path | None, typer.Option(help="Folder of FHIR R4 bulk NDJSON.")] = None,
    omop: Annotated[Path | None, typer.Option(help="Folder of OMOP CDM 5.4 tables, Parquet or CSV.")] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Folder of CSV files (or one file); needs a mapping.")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="Mapping file of a CSV extract (YAML).")] = None,
    profile: Annotated[Path | None, typer.Option(help="The site's profile (TOML).")] = None,
    vocabulary: Annotated[Path | None, typer.Option(help="Folder of an Athena vocabulary export.")] = None,
    identifiers: Annotated[
        Path | None,
        typer.Option(help="CSV file by which persons are recognised at other hospitals; stays here."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load an extract into the common model, replacing what was loaded before, and print what happened to it."""
    from site_connector.loading import Extract, load  # noqa: PLC0415

    given: list[tuple[Kind, Path]] = []
    given += [("fhir", fhir)] if fhir else []
    given += [("omop", omop)] if omop else []
    given += [("csv", csv)] if csv else []
    if len(given) != 1:
        raise SiteSetupError("give exactly one of --fhir, --omop and --csv")
    kind, source = given[0]
    extract = Extract(kind, source, profile, vocabulary, mapping, identifiers)
    report = load(_directory(path), extract, utc_now())
    typer.echo(report.model_dump_json(indent=2) if as_json else report.text())


@site_app.command("linkage")
@told
def linkage(
    path: Site,
    *,
    share: Annotated[
        Path | None,
        typer.Option(
            help="Write this file: the key, sealed to every hospital; a new key where there is none."
        ),
    ] = None,
    take: Annotated[
        Path | None, typer.Option(help="Keep the key from this file, which another hospital wrote.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="With --share: which key, where there are several.")] = None,
    passphrase_file: Passphrase = None,
) -> None:
    """Print, share or take the keys by which hospitals recognise persons; studies name a key by the id printed."""
    from site_connector import linkage as keys  # noqa: PLC0415

    directory = _directory(path)
    directory.settings()
    if share is not None and take is None:
        typer.echo(keys.share(directory, share, _steward(directory, passphrase_file), utc_now(), key=key))
    elif take is not None and share is None and key is None:
        typer.echo(keys.take(directory, take, utc_now()))
    elif share is None and take is None and key is None:
        keys.sealing_key(directory)
        for held in keys.held(directory):
            typer.echo(held)
    else:
        raise SiteSetupError("give --share FILE (and --key ID), or --take FILE, or neither to list keys")


@site_app.command("quality")
@told
def quality_command(path: Site, as_json: AsJson = False) -> None:
    """Print a short report on the quality of the loaded data."""
    from site_connector.quality import quality  # noqa: PLC0415

    report = quality(_directory(path).loaded_database())
    typer.echo(report.model_dump_json(indent=2) if as_json else report.text())


@site_app.command("serve")
@told
def serve(
    path: Site, once: Annotated[bool, typer.Option("--once", help="One round, then stop.")] = False
) -> None:
    """Run the connector: poll the nodes, make dry runs, deliver decisions, upload approved studies.

    It only makes outbound connections and stops on SIGTERM or Ctrl-C.
    """
    from site_connector.serve import serve_site  # noqa: PLC0415

    serve_site(_directory(path), once=once)


@site_app.command("upload")
@told
def upload(path: Site, study: Study) -> None:
    """Upload one approved study now, where no connector is running; a study uploads once."""
    from site_connector.serve import connected  # noqa: PLC0415

    directory = _directory(path)
    with opened(path) as (_, _, mailbox), connected(directory) as connector:
        done = connector.upload(mailbox.item(study, utc_now()).study)
    typer.echo(f"Upload {done.upload_id} is with {', '.join(done.delivered_to)}.")


@site_app.command("inbox")
@told
def inbox(path: Site, as_json: AsJson = False) -> None:
    """List the studies this hospital was asked to take part in."""
    with opened(path) as (directory, _, mailbox):
        items, status = mailbox.inbox(utc_now()), mailbox.status()
    if as_json:
        typer.echo(json.dumps([_summary(item) for item in items], indent=2))
        return
    for item in items:
        typer.echo(f"{item.digest[:12]}  {item.study.short_name:24}  {item.state.value}")
        if item.note:
            typer.echo(f"{'':14}{item.note}")
    if not items:
        typer.echo("No studies yet.")
    if status.last_round is None:
        never = f"The connector never ran here; start it with `tessera site serve {path}`."
        typer.echo("The connector is in its first round." if directory.served else never, err=True)
    for contact in status.nodes:
        if contact.problem:
            typer.echo(f"{contact.node}: {contact.problem}", err=True)


@site_app.command("review")
@told
def review(path: Site, study: Study, as_json: AsJson = False) -> None:
    """Print the page to read before signing (Markdown)."""
    from site_connector.review import review_page  # noqa: PLC0415
    from site_connector.review_text import review_markdown  # noqa: PLC0415

    with opened(path) as (directory, federation, mailbox):
        item = mailbox.item(study, utc_now())
        page = review_page(federation, directory.settings(), item, mailbox.spent(item.digest), utc_now())
    typer.echo(page.model_dump_json(indent=2) if as_json else review_markdown(page))


@site_app.command("approve")
@told
def approve(path: Site, study: Study, reason: Reason = "", passphrase_file: Passphrase = None) -> None:
    """Sign that this hospital takes part in a study."""
    with opened(path) as (directory, _, mailbox):
        desk = _desk(directory, mailbox)
        _decided(desk.approve(study, _steward(directory, passphrase_file), utc_now(), reason=reason))


@site_app.command("decline")
@told
def decline(path: Site, study: Study, reason: Reason = "", passphrase_file: Passphrase = None) -> None:
    """Sign that this hospital does not take part in a study; it cannot run then."""
    with opened(path) as (directory, _, mailbox):
        desk = _desk(directory, mailbox)
        _decided(desk.decline(study, _steward(directory, passphrase_file), utc_now(), reason=reason))


@site_app.command("withdraw")
@told
def withdraw(path: Site, study: Study, reason: Reason = "", passphrase_file: Passphrase = None) -> None:
    """End this hospital's part in a study: later runs leave it out, its shares are destroyed. Final."""
    with opened(path) as (directory, _, mailbox):
        desk = _desk(directory, mailbox)
        _decided(desk.withdraw(study, _steward(directory, passphrase_file), utc_now(), reason=reason))


@site_app.command("ledger")
@told
def ledger(path: Site, as_json: AsJson = False) -> None:
    """Print what was loaded, decided and sent, and the root of the log."""
    directory = _directory(path)
    directory.settings()
    with directory.ledger() as log:
        entries, size, root = log.entries(), log.size, log.root()
    if as_json:
        typer.echo(json.dumps({"size": size, "root": root, "entries": entries}, indent=2))
        return
    for position, entry in enumerate(entries):
        facts = " ".join(
            f"{key}={_short(value)}" for key, value in entry.items() if key not in {"at", "kind"}
        )
        typer.echo(f"{position:5}  {entry.get('at', '')}  {entry.get('kind', ''):18}  {facts}")
    typer.echo(f"{size} entries, root {root}")


def _desk(directory: SiteDirectory, mailbox: Mailbox) -> StewardDesk:
    from site_connector.decisions import StewardDesk  # noqa: PLC0415

    return StewardDesk(directory, mailbox)


def _decided(item: InboxItem) -> None:
    typer.echo(
        f"{item.study.short_name}: {item.state.value}. The connector passes the decision on to all nodes."
    )


def _summary(item: InboxItem) -> dict[str, object]:
    return {
        "digest": item.digest,
        "short_name": item.study.short_name,
        "title": item.study.title,
        "state": item.state.value,
        "received_at": item.received_at.isoformat(),
        "sites": {one.site: one.state for one in item.standings},
        "uploads": [one.model_dump(mode="json") for one in item.uploads],
        "note": item.note,
    }


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 and all(letter in "0123456789abcdef" for letter in text) else text


def _steward(directory: SiteDirectory, passphrase_file: Path | None) -> SigningKey:
    return directory.steward(_passphrase(passphrase_file, confirm=False))


def _passphrase(file: Path | None, *, confirm: bool) -> bytes:
    """From a file, the environment, or the keyboard; never from an argument, which other users could see."""
    if file is not None:
        try:
            return file.read_text("utf-8").rstrip("\r\n").encode()
        except (OSError, UnicodeDecodeError) as error:
            raise SiteSetupError(f"{file}: cannot read the passphrase") from error
    given = os.environ.get("TESSERA_STEWARD_PASSPHRASE")
    if given is not None:
        return given.encode()
    if not sys.stdin.isatty():
        raise SiteSetupError(
            "no passphrase: give --passphrase-file or TESSERA_STEWARD_PASSPHRASE, or run in a terminal"
        )
    return str(typer.prompt("Steward's passphrase", hide_input=True, confirmation_prompt=confirm)).encode()
