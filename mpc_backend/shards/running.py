"""Row-parallel parts of a program."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from mpc_backend.session import Session
from mpc_backend.shards.base import Task, Work
from mpc_backend.shards.rows import Total, each, put_together, row_cuts, rows_between, taken_out


def over_shards(session: Session, work: Work, rows: Sequence[Any], *others: Any) -> Any:
    """``work(session, *rows, *others)`` over row shards, if the job has workers; else at once over all rows.

    ``rows``: secret columns or public arrays of one length (n, ...), of which a shard gets its rows. ``others``: what every
    shard gets whole; secret values may be nested in mappings, lists and tuples. What ``work`` gives back is put together:
    secret values along their first axis, `Total`s by adding them.

    Opened results are the same for every number of workers, as far as ``work`` is exact; products of reals may differ by
    their last unit, as they do between any two runs. Shards run at one time: together they send what the whole would, and
    their rounds count once. With workers, two barriers come on top (see the package).

    Raises:
        ValueError: no rows, or columns of different lengths.
        TypeError: with workers, a ``work`` that cannot be named to another process, or results that are no secret values.
        ProtocolAbort: a shard failed; the job is over.
    """
    lengths = {len(column) for column in rows}
    if len(lengths) != 1:
        raise ValueError(f"shards are cut from columns of one length, found {sorted(lengths)}")
    cuts = row_cuts(lengths.pop(), 1 if session.shards is None else session.shards.count)
    if session.shards is None or len(cuts) < 2:
        return each(
            work(session, *rows, *others), lambda leaf: leaf.value if isinstance(leaf, Total) else leaf
        )
    _check_nameable(work)
    protocol = session.protocol
    protocol.verify()
    common = tuple(taken_out(other) for other in others)
    tasks = [
        Task(keys, work, (*(taken_out(rows_between(column, cut)) for column in rows), *common))
        for cut, keys in zip(cuts, session.keys_for_shards(len(cuts)), strict=True)
    ]
    done = session.shards.run(tasks, protocol.transport)
    protocol.transport.traffic.add_beside([one.traffic for one in done])
    return put_together([one.result for one in done], protocol)


def _check_nameable(work: Work) -> None:
    try:
        pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"{work!r} cannot be named to another process: write it as a function of a module"
        ) from error
