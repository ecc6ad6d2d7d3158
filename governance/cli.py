"""``tessera verify``: check a receipt offline, with nothing but the federation file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from governance.canonical import parse_json
from governance.errors import DocumentError, GovernanceError
from governance.federation import Federation
from governance.receipt import Receipt, VerifiedReceipt, verify_receipt
from governance.study import StudyProtocol

REFUSED = 2
"""Exit status when what was given is refused."""

verify_app = typer.Typer(add_completion=False, help="Check receipts offline.")


@verify_app.command("verify")
def verify(
    receipt: Annotated[Path, typer.Argument(help="The receipt that came with a result (JSON).")],
    federation: Annotated[Path, typer.Option(help="The federation file you pinned (JSON).")],
    study: Annotated[
        Path | None, typer.Option(help="The study, to check the request against it (JSON or YAML).")
    ] = None,
) -> None:
    """Check that every node attests one and the same run. Exit status 0: it holds; 2: it does not."""
    try:
        pinned = Federation.load(federation)
        protocol = None if study is None else _study(study)
        given = Receipt.from_value(parse_json(_bytes(receipt)))
    except GovernanceError as error:
        typer.echo(f"Nothing was checked: {error}", err=True)
        raise typer.Exit(REFUSED) from error
    try:
        verified = verify_receipt(pinned, given, protocol)
    except GovernanceError as error:
        typer.echo(f"The receipt does not hold: {error}", err=True)
        raise typer.Exit(REFUSED) from error
    typer.echo(_report(pinned, verified))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}") from error


def _study(path: Path) -> StudyProtocol:
    try:
        return StudyProtocol.from_text(_bytes(path).decode())
    except (DocumentError, UnicodeDecodeError) as error:
        raise DocumentError(
            f"{path}: not a whole study: {error}; give the study that was submitted"
        ) from error


def _report(federation: Federation, verified: VerifiedReceipt) -> str:
    lines = [
        f"The receipt holds. Federation {federation.name}, version {federation.version} "
        f"({federation.digest})",
        f"study      {verified.study_digest}",
        f"run        {verified.run_id}",
        f"analysis   {verified.analysis}, sealed to {verified.recipient}",
        f"software   {verified.software}",
        f"runs spent {verified.budget_spent}",
        f"attested by {', '.join(verified.nodes)}",
    ]
    lines += [f"input of {site}: upload {digest}" for site, digest in sorted(verified.inputs.items())]
    for site, facts in sorted(verified.data.items()):
        lines.append(
            f"data of {site}: up to {facts.extract_date}; observation: {facts.observation_period}; deaths: {facts.death}"
        )
    lines += [f"not included: {site}" for site in verified.left_out]
    return "\n".join(lines)
