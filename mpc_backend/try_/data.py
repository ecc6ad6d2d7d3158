"""Reading a file for `tessera try`, and cutting it into hospitals. Refusals name the user's own columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.curve_parameters import MOST_TIMES
from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.analyses.grid import LONGEST_TIME, Ints, Unit, column, level_text, whole_numbers

MOST_LEVELS = 64
ONE_SITE = "this file"


def read_csv(path: Path) -> pd.DataFrame:
    """A comma-separated UTF-8 file with a header.

    Raises:
        LocalDataError: no table, repeated column names, or another encoding.
        OSError: the file cannot be read.
    """
    try:
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, encoding="utf-8")
        frame = pd.read_csv(path, encoding="utf-8")
    except UnicodeDecodeError as error:
        raise LocalDataError(f"{path.name} is not UTF-8; save it as UTF-8 and try again") from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise LocalDataError(f"{path.name} is no table of comma-separated values with a header") from error
    names = [str(name) for name in header.iloc[0]]
    if len(set(names)) != len(names):
        raise LocalDataError(f"{path.name} names a column twice; rename one")
    if frame.empty:
        raise LocalDataError(f"{path.name} has a header but no rows")
    return frame


def listed(text: str | None) -> tuple[str, ...]:
    """The parts of a comma-separated option."""
    parts = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if len(set(parts)) != len(parts):
        raise LocalDataError(f"{text}: named twice")
    return parts


def levels(frame: pd.DataFrame, name: str, most: int = MOST_LEVELS, least: int = 1) -> tuple[str, ...]:
    """The distinct values of a column as text, numbers in order of size."""
    values = column(frame, name).dropna().unique()
    if not least <= len(values) <= most:
        many = "1 value" if len(values) == 1 else f"{len(values)} different values"
        raise LocalDataError(f"column {name} has {many}; {least} to {most} can be compared")
    return tuple(level_text(value) for value in sorted(values.tolist(), key=_order))


def _order(value: object) -> tuple[int, float, str]:
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def outcome_columns(
    frame: pd.DataFrame, time: str, event: str, name: str = "outcome"
) -> dict[str, pd.Series]:
    """``outcome_time`` and ``outcome_event`` from the user's columns, missing as NA; refuses any other value."""
    times, timed = whole_numbers(frame, time, 0, LONGEST_TIME)
    events, judged = whole_numbers(frame, event, 0, 1)
    known = timed & judged
    return {
        f"{name}_time": pd.Series(np.where(known, times, 0), dtype="Int64").mask(~known),
        f"{name}_event": pd.Series(np.where(known, events, 0), dtype="Int64").mask(~known),
    }


def by_site(frame: pd.DataFrame, source: pd.DataFrame, site: str | None) -> dict[str, SiteData]:
    """The prepared rows by hospital: the ``site`` column of the file, or one hospital without it."""
    if site is None:
        return {ONE_SITE: SiteData(frame)}
    names = column(source, site)
    if names.isna().any():
        raise LocalDataError(f"column {site} is missing in some rows; every row needs its hospital")
    labels = names.map(level_text).reset_index(drop=True)
    ready = frame.reset_index(drop=True)
    return {label: SiteData(ready[labels == label]) for label in sorted(labels.unique())}


def complete(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in which every column is known."""
    return frame.dropna().reset_index(drop=True)


def require_grid(what: str, found: int, most: int, grid: Unit) -> None:
    """Refuse more times than a grid has.

    Raises:
        LocalDataError: names a coarser grid as the way out.
    """
    if found > most:
        raise LocalDataError(
            f"{what} {found} {grid}s, and at most {most} can be told apart; take a coarser --grid (week, month, quarter or "
            "year), which tau and times then count"
        )


def ends(
    times: Ints,
    arms: NDArray[np.object_],
    shown: Sequence[int],
    tau: int | None,
    smallest: int,
    grid: Unit,
) -> dict[str, int]:
    """Horizon: the longest follow-up, or further if asked for. tau: as asked, else as far as every arm can be followed.

    An arm can be followed while ``smallest`` of its persons are at risk; arms with fewer persons show nothing anyway. Under
    a threshold the default is cut to two digits, so that it is nobody's own time.
    """
    last = [
        np.sort(times[arms == arm])[-smallest] for arm in np.unique(arms) if (arms == arm).sum() >= smallest
    ]
    chosen = tau if tau is not None else max(1, int(min(last, default=times.max())))
    if tau is None and smallest > 1:
        chosen -= chosen % 10 ** max(0, len(str(chosen)) - 2)
    horizon = max(1, int(times.max()), chosen, *shown)
    require_grid("curves reach to", horizon, MOST_TIMES, grid)
    return {"horizon": horizon, "tau": chosen}
