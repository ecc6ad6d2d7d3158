"""`tessera demo`: the whole of Tessera on synthetic hospitals, on real processes, judged against a known truth."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.demo.errors import DemonstrationFailed
from workbench.demo.examples import PATIENT
from workbench.demo.extracts import example_extracts
from workbench.demo.runner import Demonstration

INTERRUPTED = 130

demo_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@demo_app.command("demo")
def demo(
    headless: Annotated[
        bool,
        typer.Option(
            "--headless",
            help="End after the answers instead of serving the workbenches; so without a terminal.",
        ),
    ] = False,
    patients: Annotated[
        int, typer.Option(min=500, help="Patients of the ranking question, over three hospitals.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(help="Another seed is another population with the same truth.")] = 1,
    patient: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Patient of examples/patients to ask about, again for further ones. [default: {PATIENT}]"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Keep everything in this new folder; otherwise it is deleted at the end."),
    ] = None,
    extracts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Run nothing: write the hospitals' extracts, profiles and vocabulary into this new folder.",
        ),
    ] = None,
) -> None:
    """Run the main job on synthetic data: four nodes, three hospitals, three questions; then the workbenches.

    Exit status 3 if any answer differs from the pooled cleartext answer beyond its tolerance.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if extracts is not None:
        if headless or as_json or patient or folder:
            raise typer.BadParameter("goes with --patients and --seed alone", param_hint="--extracts")
        for line in example_extracts(_new(extracts, "--extracts"), patients, seed):
            _say(line)
        return
    root = _root(folder)
    demonstration = Demonstration(root, patients, seed, _silent if as_json else _say, patient or [PATIENT])
    try:
        with demonstration:
            _run(demonstration, as_json)
            if not headless and sys.stdout.isatty():
                _serve(demonstration, as_json)
    except KeyboardInterrupt:
        _say("Stopped.", quiet=as_json)
        if not demonstration.report.agrees:
            raise typer.Exit(INTERRUPTED) from None
    finally:
        if folder is None:
            shutil.rmtree(root, ignore_errors=True)


def _run(demonstration: Demonstration, as_json: bool) -> None:
    demonstration.start()
    report = demonstration.ask()
    if as_json:
        sys.stdout.write(json.dumps(report.as_json()) + "\n")
    else:
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.seconds.items())
        _say(f"Stages: {stages}; together {sum(report.seconds.values()):.1f} s.")
        peaks = ", ".join(f"{name} {mib:.0f}" for name, mib in report.peak_mib.items())
        _say(f"Most memory each process had in use, in MiB: {peaks}.")
    if not report.agrees:
        wrong = [story.title for story in report.stories if not story.agrees]
        raise DemonstrationFailed(f"differs from the pooled cleartext answer: {'; '.join(wrong)}")
    _say("Every answer agrees with the pooled cleartext answer.", quiet=as_json)


def _serve(demonstration: Demonstration, as_json: bool) -> None:
    """Both workbenches until Ctrl-C. With `--json`, how to sign in goes to standard error."""
    from workbench.demo.workbenches import Workbenches  # noqa: PLC0415  (half a second that a headless run need not wait)

    workbenches = Workbenches(demonstration)
    workbenches.start()
    for line in workbenches.lines():
        typer.echo(line, err=as_json)
    stop = threading.Event()
    while not stop.wait(1.0):
        demonstration.processes.check()


def _root(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="tessera-demo-"))
    return _new(folder, "--dir")


def _new(folder: Path, option: str) -> Path:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise typer.BadParameter(f"{folder} is not empty; choose a new folder", param_hint=option)
    return folder


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _silent(_: str) -> None:
    """Says nothing: the JSON object is all there is."""


def _say(line: str, *, quiet: bool = False) -> None:
    if not quiet:
        typer.echo(line)
