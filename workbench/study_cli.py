"""`tessera study`: write, check, explain, plan, submit and run studies, and read their results.

Every command takes ``--json`` where it prints more than one line. Exit status: 0 done, 2 refused, 3 failed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from governance.federation import Federation
from governance.keys import SealingKey, SigningKey
from governance.study import StudyProtocol
from mpc_backend.planner import plan as make_plan
from workbench.client import Answer, Client, connect
from workbench.errors import REFUSED, ClientError, DraftError
from workbench.identities import Identity, load_identity
from workbench.plan_view import plan_frame
from workbench.store import now
from workbench.study_check import check as check_study
from workbench.study_check import complete_study, template
from workbench.study_words import explain_study

study_app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

StudyFile = Annotated[
    Path, typer.Argument(metavar="STUDY", help="The study as YAML; - reads standard input.")
]
Which = Annotated[str, typer.Argument(metavar="STUDY", help="Short name, digest, or beginning of a digest.")]
FederationFile = Annotated[
    Path | None, typer.Option("--federation", envvar="TESSERA_FEDERATION", help="The agreed federation file.")
]
Federated = Annotated[
    Path, typer.Option("--federation", envvar="TESSERA_FEDERATION", help="The agreed federation file.")
]
Keys = Annotated[Path, typer.Option("--identity", envvar="TESSERA_IDENTITY", help="The folder of your keys.")]
MaybeKeys = Annotated[
    Path | None, typer.Option("--identity", envvar="TESSERA_IDENTITY", help="The folder of your keys.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write to this file instead of printing.")
]


@study_app.command()
def new(federation: FederationFile = None, output: Output = None) -> None:
    """Write a study to start from, as YAML."""
    _emit(template(now(), _federation(federation)), output)


@study_app.command()
def check(
    study: StudyFile, federation: FederationFile = None, identity: MaybeKeys = None, as_json: AsJson = False
) -> None:
    """Find what is wrong or worth a thought; status 2 if anything is wrong."""
    pinned = _federation(federation)
    found = check_study(_study(study, pinned, identity), pinned)
    if as_json:
        typer.echo(json.dumps([vars(one) for one in found], indent=1))
    else:
        for one in found:
            typer.echo(f"{one.level}: {one.where}: {one.text}")
        typer.echo("nothing found" if not found else f"{len(found)} findings")
    if any(one.level == "error" for one in found):
        raise typer.Exit(REFUSED)


@study_app.command()
def explain(
    study: StudyFile, federation: FederationFile = None, identity: MaybeKeys = None, output: Output = None
) -> None:
    """Say the study in plain clinical English, as Markdown."""
    pinned = _federation(federation)
    _emit(explain_study(_study(study, pinned, identity), pinned), output)


@study_app.command()
def plan(
    study: StudyFile,
    federation: FederationFile = None,
    identity: MaybeKeys = None,
    rows: Annotated[int, typer.Option(help="Assumed persons per hospital.", min=1)] = 6_667,
    cohort: Annotated[Path | None, typer.Option(help="The cohort to count, for a feasibility study.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show each step: where it runs, which columns, how many rounds and bytes."""
    text = None if cohort is None else cohort.read_text(encoding="utf-8")
    made = make_plan(_study(study, _federation(federation), identity), rows_per_site=rows, cohort=text)
    if as_json:
        typer.echo(made.model_dump_json(indent=1))
        return
    typer.echo(plan_frame(made).to_string(index=False))
    for note in made.notes:
        typer.echo(note)


@study_app.command()
def submit(study: StudyFile, federation: Federated, identity: Keys) -> None:
    """Sign a study as its investigator and give it to every node. Prints its digest."""
    client = _client(federation, identity)
    ready = _study(study, client.federation, identity)
    client.submit(ready)
    typer.echo(ready.digest)


@study_app.command()
def status(
    federation: Federated,
    identity: Keys,
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="One study; default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show who has signed, whether a study may run, and how many runs are left."""
    client = _client(federation, identity)
    views = client.studies() if study is None else [client.study(study).view]
    lines = [
        {
            "short_name": view.study.short_name,
            "digest": view.digest,
            "state": view.state,
            "why": view.why,
            "sites": {site: view.statements.state_of(site) for site in view.study.sites},
            "runs_left": view.runs_left(client.identity.signing.public),
        }
        for view in views
    ]
    if as_json:
        typer.echo(json.dumps(lines, indent=1))
        return
    for line in lines:
        signed = ", ".join(f"{site} {state}" for site, state in dict(line["sites"]).items())  # type: ignore[call-overload]
        typer.echo(f"{line['short_name']}  {str(line['digest'])[:12]}  {line['state']}  ({signed})")
        if line["why"]:
            typer.echo(f"  {line['why']}")


@study_app.command()
def run(
    study: Which,
    analysis: Annotated[str, typer.Argument(help="The analysis' id in the study.")],
    federation: Federated,
    identity: Keys,
    cohort: Annotated[Path | None, typer.Option(help="The cohort to count, for a feasibility study.")] = None,
    facts: Annotated[
        Path | None, typer.Option(help="A patient's facts as a JSON object, for a ranking.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for result.json, table.csv, receipt.json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a run, wait for it, print the answer."""
    client = _client(federation, identity)
    parameters = {} if cohort is None else {"cohort": cohort.read_text(encoding="utf-8")}
    known = None if facts is None else _facts(facts)
    answer = client.study(study).run(analysis, parameters=parameters, facts=known, progress=_report)
    _deliver(answer, output, as_json)


@study_app.command()
def results(
    study: Which,
    run_id: Annotated[str, typer.Argument(help="The run's id, as `tessera study run` printed it.")],
    federation: Federated,
    identity: Keys,
    output: Annotated[
        Path | None, typer.Option(help="Folder for result.json, table.csv, receipt.json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Open the answer of a run that was asked for before."""
    answer = _client(federation, identity).study(study).wait(run_id, _report)
    _deliver(answer, output, as_json)


def _federation(path: Path | None) -> Federation | None:

    return None if path is None else Federation.load(path)


def _client(federation: Path, identity: Path) -> Client:

    return connect(federation, identity, _passphrase())


def _passphrase() -> bytes | None:
    given = os.environ.get("TESSERA_PASSPHRASE")
    return given.encode() if given else None


def _study(path: Path, federation: Federation | None, identity: Path | None) -> StudyProtocol:
    """Read a study; with federation and keys, what the author left open is filled in."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DraftError(f"{path}: not UTF-8 text; save the study as UTF-8") from None
    if federation is None:
        return StudyProtocol.from_yaml(text)
    return complete_study(text, federation, _identity(identity), trial=identity is None)


def _identity(folder: Path | None) -> Identity:

    if folder is None:  # to check and explain a draft, any keys do; none of them is kept
        return Identity(SigningKey.generate(), SealingKey.generate())
    return load_identity(folder, _passphrase())


def _facts(path: Path) -> Mapping[str, object]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ClientError(f"{path}: not JSON; a patient's facts are one object by variable name") from None
    if not isinstance(facts, dict):
        raise ClientError(f"{path}: expected one object by variable name")
    return facts


def _report(
    stage: str, fraction: float, *, run_id: str | None = None, parties: Mapping[str, str] | None = None
) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r\033[K{100 * fraction:3.0f}% {stage}", nl=False, err=True)


def _deliver(answer: Answer, output: Path | None, as_json: bool) -> None:
    if sys.stderr.isatty():
        typer.echo("\r\033[K", nl=False, err=True)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "result.json").write_text(answer.result.model_dump_json(indent=1), encoding="utf-8")
        (output / "receipt.json").write_text(answer.receipt.model_dump_json(indent=1), encoding="utf-8")
        answer.table.to_csv(output / "table.csv", index=False)
    if as_json:
        body: dict[str, Any] = {"run_id": answer.run_id, "result": answer.result.model_dump(mode="json")}
        typer.echo(json.dumps(body, indent=1))
        return
    typer.echo(answer.table.to_string(index=False))
    for withheld in answer.result.suppressed:
        typer.echo(f"withheld: {withheld.what}: {withheld.why}")
    for note in answer.result.notes:
        typer.echo(note)
    typer.echo(f"run {answer.run_id}")


def _emit(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text, nl=False)
        return
    if output.exists():
        raise DraftError(f"{output}: exists already; choose another name")
    output.write_text(text, encoding="utf-8")
