"""`tessera study`: write, check, explain, plan, submit and run studies, and read their results.

Every command takes ``--json`` where it prints more than one line. Exit status: 0 done, 2 refused, 3 failed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from governance.canonical import sha256_hex
from governance.federation import Federation
from governance.keys import SealingKey, SigningKey
from governance.study import StudyProtocol
from mpc_backend.planner import plan as make_plan
from workbench.client import PATIENCE_SECONDS, Answer, Client, connect
from workbench.consortium import StudyView
from workbench.errors import REFUSED, ClientError, DraftError
from workbench.frames import tables_of, worded
from workbench.identities import Identity, load_identity, pinned_federation
from workbench.plan_view import plan_frame
from workbench.store import now
from workbench.study_check import Finding, complete_study, open_fields, template, trial_keys
from workbench.study_check import check as check_study
from workbench.study_words import explain_study

HEADINGS = {
    "groups": "Groups, with median and restricted mean time",
    "contrasts": "Differences in restricted mean time",
    "hazards": "Hazard ratios (Cox regression)",
    "risks": "Risk and time lost by cause",
    "groups_described": "Persons by group",
    "levels": "Persons at each level",
    "standardised": "Standardised differences against the first group",
    "variables": "Means and standard deviations",
    "model": "Persons and fit of the model",
    "effects": "Effects of the treatment against the comparator",
    "balance": "Balance of the covariates: standardised differences before and after weighting",
    "differences": "Differences in risk and in time lost",
    "tests": "Tests",
    "at_risk": "At risk, with events and censorings so far",
    "table": "Curves",
}

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
Pin = Annotated[
    str | None,
    typer.Option(
        "--pin", help="Digest the members agreed on; replaces the one kept in the folder of your keys."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0, help="Seconds to wait for the answer.", metavar="SECONDS")
]
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
    pinned = _federation(federation, identity)
    draft = _draft(study, pinned, identity)
    found = [*_still_open(draft), *check_study(draft.study, now(), pinned, draft.trial)]
    if as_json:
        typer.echo(json.dumps([vars(one) for one in found], indent=1))
    else:
        for one in found:
            typer.echo(f"{one.level}: {one.where}: {one.text}")
        typer.echo(f"findings: {len(found)}" if found else "nothing found")
    if any(one.level == "error" for one in found):
        raise typer.Exit(REFUSED)


@study_app.command()
def explain(
    study: StudyFile, federation: FederationFile = None, identity: MaybeKeys = None, output: Output = None
) -> None:
    """Say the study in plain clinical English, as Markdown."""
    pinned = _federation(federation, identity)
    draft = _draft(study, pinned, identity)
    marked = f"> **Draft.** {draft.note}\n\n" if draft.note else ""
    _emit(marked + explain_study(draft.study, pinned), output)


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
    text = None if cohort is None else _text(cohort)
    draft = _draft(study, _federation(federation, identity), identity)
    made = make_plan(draft.study, rows_per_site=rows, cohort=text)
    if draft.note:
        typer.echo(f"draft: {draft.note}", err=True)
    if as_json:
        typer.echo(made.model_dump_json(indent=1))
        return
    typer.echo(plan_frame(made).to_string(index=False))
    for note in made.notes:
        typer.echo(note)


@study_app.command()
def submit(study: StudyFile, federation: Federated, identity: Keys, pin: Pin = None) -> None:
    """Sign a study as its investigator and give it to every node. Prints its digest.

    The same file is the same study: submitting it again after a failure finishes what was begun.
    """
    client = _client(federation, identity, pin)
    text = _text(study)
    ready = complete_study(text, client.federation, client.identity, nonce=_nonce(text, client.identity))
    _refuse_errors(check_study(ready, now(), client.federation))
    client.submit(ready)
    typer.echo(ready.digest)


@study_app.command()
def status(
    federation: Federated,
    identity: Keys,
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="One study; default: all.")] = None,
    pin: Pin = None,
    as_json: AsJson = False,
) -> None:
    """Show who has signed, whether a study may run, and how many runs are left."""
    client = _client(federation, identity, pin)
    views = _all_studies(client) if study is None else [client.study(study).view]
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


def _all_studies(client: Client) -> Sequence[StudyView]:
    """Every study; what is wrong with what nodes say goes to standard error."""
    seen = client.look()
    for problem in seen.problems:
        typer.echo(f"warning: {problem}", err=True)
    return seen.studies


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
        Path | None, typer.Option(help="Folder for result.json, every table as CSV, receipt.json.")
    ] = None,
    timeout: Timeout = PATIENCE_SECONDS,
    pin: Pin = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a run, wait for it, print the answer; where it is and its id go to standard error.

    Status 3 if there is no answer in time: the run goes on at the nodes, `tessera study results` reads it later.
    """
    parameters = {} if cohort is None else {"cohort": _text(cohort)}
    known = None if facts is None else _facts(facts)
    client = _client(federation, identity, pin)
    answer = client.study(study).run(
        analysis, parameters=parameters, facts=known, progress=Progress(), timeout=timeout
    )
    _deliver(answer, output, as_json)


@study_app.command()
def results(
    study: Which,
    run_id: Annotated[str, typer.Argument(help="The run's id, as `tessera study run` printed it.")],
    federation: Federated,
    identity: Keys,
    output: Annotated[
        Path | None, typer.Option(help="Folder for result.json, every table as CSV, receipt.json.")
    ] = None,
    timeout: Timeout = PATIENCE_SECONDS,
    pin: Pin = None,
    as_json: AsJson = False,
) -> None:
    """Open the answer of a run that was asked for before."""
    answer = _client(federation, identity, pin).study(study).wait(run_id, Progress(), timeout)
    _deliver(answer, output, as_json)


def _federation(path: Path | None, identity: Path | None = None) -> Federation | None:
    """The federation file, if one is given: the one these keys are used with, if keys are given too."""
    if path is None:
        return None
    return Federation.load(path) if identity is None else pinned_federation(path, identity)


def _client(federation: Path, identity: Path, pin: str | None) -> Client:
    return connect(federation, identity, _passphrase(), pin=pin)


def _passphrase() -> bytes | None:
    given = os.environ.get("TESSERA_PASSPHRASE")
    return given.encode() if given else None


@dataclass(frozen=True)
class _Draft:
    """A study to be looked at. ``note``: which of its values are trial values, empty if none; ``trial``: the keys
    among them.
    """

    study: StudyProtocol
    note: str
    trial: frozenset[str] = frozenset()


def _draft(path: Path, federation: Federation | None, identity: Path | None) -> _Draft:
    """Read a study to check, explain or plan it; what its author left open is filled in, for trial if need be."""
    text = _text(path)
    own = None if identity is None else _identity(identity)
    study = complete_study(
        text, federation, own or _identity(None), trial=federation is None or identity is None
    )
    trial = trial_keys(text, study, own)
    known = {"federation"} if federation is not None else set()
    left = [name for name in open_fields(text) if name not in known]
    if not left or (federation is not None and identity is not None):
        return _Draft(study, "", trial)
    return _Draft(
        study,
        f"Still open, with throw-away values in their place here: {', '.join(left)}. `tessera study submit` puts "
        "in the federation and your own keys; a physician's keys come from the hospital.",
        trial,
    )


def _still_open(draft: _Draft) -> list[Finding]:

    return [Finding("lint", "draft", draft.note)] if draft.note else []


def _nonce(text: str, identity: Identity) -> str:
    """A nonce for a file that has none: always the same for this file and these keys, secret without them."""
    return sha256_hex(identity.signing.sign(b"tessera study nonce\n" + text.encode()))[:32]


def _refuse_errors(found: Iterable[Finding]) -> None:
    wrong = [f"{one.where}: {one.text}" for one in found if one.level == "error"]
    if wrong:
        raise DraftError("; ".join(wrong))


def _text(path: Path) -> str:
    """A text file that a person wrote, or standard input for ``-``.

    Raises:
        DraftError: it is not UTF-8.
    """
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DraftError(f"{path}: not UTF-8 text; save the file as UTF-8") from None


def _identity(folder: Path | None) -> Identity:

    if folder is None:  # to check and explain a draft, any keys do; none of them is kept
        return Identity(SigningKey.generate(), SealingKey.generate())
    return load_identity(folder, _passphrase())


def _facts(path: Path) -> Mapping[str, object]:
    try:
        facts = json.loads(_text(path))
    except ValueError:
        raise ClientError(f"{path}: not JSON; a patient's facts are one object by variable name") from None
    if not isinstance(facts, dict):
        raise ClientError(f"{path}: expected one object by variable name")
    return facts


class Progress:
    """Tells on standard error the run's id at once and then where the run is: one line rewritten on a
    terminal, else a plain line whenever the stage changes.
    """

    def __init__(self) -> None:
        self._run_id: str | None = None
        self._stage = ""

    def __call__(
        self,
        stage: str,
        fraction: float,
        *,
        run_id: str | None = None,
        parties: Mapping[str, str] | None = None,
    ) -> None:
        if run_id is not None and run_id != self._run_id:
            self._run_id = run_id
            typer.echo(f"run {run_id}", err=True)
        if sys.stderr.isatty():
            typer.echo(f"\r\033[K{100 * fraction:3.0f}% {stage}", nl=False, err=True)
        elif stage != self._stage:
            typer.echo(f"{100 * fraction:3.0f}% {stage}", err=True)
        self._stage = stage


def _deliver(answer: Answer, output: Path | None, as_json: bool) -> None:
    if sys.stderr.isatty():
        typer.echo("\r\033[K", nl=False, err=True)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "result.json").write_text(answer.result.model_dump_json(indent=1), encoding="utf-8")
        (output / "receipt.json").write_text(answer.receipt.model_dump_json(indent=1), encoding="utf-8")
        for name, table in tables_of(answer.result).items():
            worded(table).to_csv(output / f"{name}.csv", index=False)
    if as_json:
        body: dict[str, Any] = {"run_id": answer.run_id, "result": answer.result.model_dump(mode="json")}
        typer.echo(json.dumps(body, indent=1))
        return
    for note in answer.result.notes:  # a ranking's first one is the warning, to be read before any number
        typer.echo(note)
    tables = tables_of(answer.result)
    for name, table in tables.items():
        heading = [] if len(tables) == 1 else ["", HEADINGS[name]]
        typer.echo("\n".join([*heading, worded(table).to_string(index=False, na_rep="–")]))
    for withheld in answer.result.suppressed:
        typer.echo(f"withheld: {withheld.what}: {withheld.why}")
    typer.echo(f"run {answer.run_id}")


def _emit(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text, nl=False)
        return
    if output.exists():
        raise DraftError(f"{output}: exists already; choose another name")
    output.write_text(text, encoding="utf-8")
