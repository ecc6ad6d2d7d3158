"""Options that every verb of `tessera try` has, and how an answer is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mpc_backend.analyses.base import Result
from mpc_backend.try_.running import Answer

File = Annotated[Path, typer.Argument(help="A CSV file with a header, in UTF-8.")]
Site = Annotated[str | None, typer.Option(help="Column that names the hospital; without it there is one.")]
Release = Annotated[str, typer.Option(help="exact, or k=N: nothing about fewer than N persons.")]
ProtocolName = Annotated[str, typer.Option("--protocol", help="The protocol the nodes run: rep4 or rep3.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def say(done: Answer, verb: Any, as_json: bool) -> None:
    """One JSON object, or lines for people."""
    result: Result = done.result
    withheld = [each.model_dump() for each in result.suppressed]
    if as_json:
        tail = {
            "suppressed": withheld,
            "notes": result.notes,
            "protocol": done.protocol,
            "seconds": done.seconds,
        }
        typer.echo(json.dumps({**verb.as_json(result), **tail}, allow_nan=False))
        return
    for note in result.notes:  # a ranking's first one is the warning, to be read before any number
        typer.echo(note)
    for line in verb.in_words(result):
        typer.echo(line)
    for each in result.suppressed:
        typer.echo(f"withheld: {each.what}: {each.why}")
    typer.echo(f"{done.protocol}, {done.seconds:.2f} s")
