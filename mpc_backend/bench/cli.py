"""``tessera bench``: a table, or with ``--json`` one JSON object per line."""

from __future__ import annotations

import importlib
import pkgutil
from functools import partial
from typing import Annotated, NoReturn

import typer

import mpc_backend.bench
from governance.protocols import NODES_OF
from mpc_backend.bench.analyses import CASES
from mpc_backend.bench.engine_processes import measure_engine
from mpc_backend.bench.lines import LINES, ClearLine, Line, Measurement, alone, measure
from mpc_backend.bench.processes import measure_question
from mpc_backend.bench.usage import count_peak_anew
from mpc_backend.protocols import NAMES
from mpc_backend.shards import MOST_WORKERS
from mpc_backend.transport.errors import ShapeRefused
from mpc_backend.transport.shape import LinkShape

bench_app = typer.Typer(help="Time the engine.", pretty_exceptions_enable=False)


def load_lines() -> None:
    """Import every module beside this one: each registers its lines."""
    for module in pkgutil.iter_modules(mpc_backend.bench.__path__):
        importlib.import_module(f"mpc_backend.bench.{module.name}")


@bench_app.command()
def bench(
    name: Annotated[str | None, typer.Argument(help="One line; all of them if left out.")] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Size; each line has its own default.")] = None,
    protocol: Annotated[
        str, typer.Option(help="rep4, rep3, or plain for the cleartext twin; lines in the clear use none.")
    ] = "rep4",
    repeats: Annotated[int, typer.Option(min=1, help="Measured runs, of which the fastest counts.")] = 3,
    processes: Annotated[
        bool,
        typer.Option(
            "--processes",
            help="Nodes as processes of their own that speak TLS on loopback; questions of a study are asked of "
            "real nodes, from request to opened answer.",
        ),
    ] = False,
    wan: Annotated[
        str,
        typer.Option(help="Links between nodes as slow as this, for example 20ms,200Mbit (delay one way)."),
    ] = "",
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            max=MOST_WORKERS,
            help="Row shards that are worked on side by side: by processes of each node with --processes, else by threads.",
        ),
    ] = 1,
    warm_up: Annotated[
        bool,
        typer.Option(
            "--warm-up/--no-warm-up",
            help="Whether a run that is not counted comes first, so that memory is touched before; kernels are always loaded.",
        ),
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a table.")] = False,
) -> None:
    """Measure one line, or all of them, each in a process of its own: a row of a table each. Exit status 2 for what cannot
    be measured."""
    load_lines()
    between = {line for line, one in LINES.items() if not isinstance(one, ClearLine)}
    if name is not None and name not in LINES:
        _refuse(f"there is no benchmark {name!r}; there are: {', '.join(sorted(LINES))}")
    if protocol not in NAMES:
        _refuse(f"there is no protocol {protocol!r}; there are: {', '.join(NAMES)}")
    if processes and (name not in {None, *between} or protocol not in NODES_OF):
        _refuse(
            f"with --processes name a line that nodes compute ({', '.join(sorted(between))}) and a protocol of separate "
            f"nodes ({', '.join(sorted(NODES_OF))}); found line {name} and protocol {protocol}"
        )
    shape = _shape(wan)
    if not processes and not count_peak_anew():
        typer.echo(
            "this kernel counts a process's peak from its start alone (no /proc/self/clear_refs): peak_mib holds what the "
            "making of inputs took",
            err=True,
        )
    for chosen in [name] if name is not None else sorted(between) if processes else LINES:
        side_by_side = _workers(chosen, workers)
        if not processes:
            once = partial(measure, chosen, protocol, n, repeats, shape, side_by_side, warm_up=warm_up)
            result = once() if name is not None else alone(once, LINES[chosen].prepare.__module__)
        elif chosen in CASES:
            result = measure_question(chosen, protocol, n, repeats, wan, side_by_side, warm_up=warm_up)
        else:
            result = measure_engine(chosen, protocol, n, repeats, shape, side_by_side, warm_up=warm_up)
        typer.echo(result.model_dump_json() if json else _row(result))


def _workers(name: str, workers: int) -> int:
    """How many shards a line is worked on in; one that is not divided says so."""
    line = LINES[name]
    if workers > 1 and not (isinstance(line, Line) and line.shards):
        typer.echo(f"{name} needs the whole table at once: measured without workers", err=True)
        return 1
    return workers


def _refuse(why: str) -> NoReturn:
    typer.echo(why, err=True)
    raise typer.Exit(2)


def _shape(wan: str) -> LinkShape | None:
    try:
        return LinkShape.parse(wan) if wan else None
    except ShapeRefused as error:
        _refuse(f"--wan: {error}")


def _row(result: Measurement) -> str:
    head = f"{result.name:14} n={result.n:<9} {result.seconds:8.3f} s  {result.cpu_seconds:8.3f} s cpu  "
    if not result.bytes_sent:
        return f"{head}{result.n / result.seconds:8.0f} a second, in the clear  {result.peak_mib:8.1f} MiB"
    per_value = max(result.bytes_sent) / result.n
    return f"{head}{per_value:8.2f} B/value/node  {result.rounds:4} rounds  {result.peak_mib:8.1f} MiB"
