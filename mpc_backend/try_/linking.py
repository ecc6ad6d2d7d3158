"""Persons of a file who are recognised at several hospitals, for `tessera try`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from governance.linkage import LinkageSecret, plain_text
from mpc_backend.analyses.base import SiteData
from mpc_backend.analyses.errors import LocalDataError
from mpc_backend.analyses.grid import Ints, column, level_text, whole_numbers
from mpc_backend.analyses.linked_steps import EARLIEST, LATEST, LinkedEnds, LinkedRows, token_words
from mpc_backend.try_.data import by_site


def tokens_of(frame: pd.DataFrame, link: Sequence[str]) -> Ints:
    """A token (rows, 4) of each row from the columns by which a person is recognised; who lacks one is nobody else."""
    texts = [
        column(frame, name).map(lambda value: plain_text(level_text(value)), na_action="ignore").fillna("")
        for name in link
    ]
    study = LinkageSecret.generate().for_study("00" * 32)
    rows = [dict(zip(link, row, strict=True)) for row in zip(*texts, strict=True)]
    return token_words(study.tokens(rows))


def index_days(frame: pd.DataFrame, name: str) -> Ints:
    """Days since 1970-01-01 (rows,) of a column of ISO dates; or of whole numbers of days, as they are.

    Raises:
        LocalDataError: a row without, another form, or a year that is not told apart.
    """
    given = column(frame, name)
    if given.isna().any():
        raise LocalDataError(
            f"column {name} is missing in some rows; every row needs the day on which it starts"
        )
    if pd.api.types.is_numeric_dtype(given):
        return whole_numbers(frame, name, EARLIEST + 1, LATEST)[0]
    try:
        dates = pd.to_datetime(given, format="%Y-%m-%d")
    except (ValueError, TypeError) as error:
        raise LocalDataError(
            f"column {name} holds neither whole numbers of days nor dates as 2020-01-31"
        ) from error
    days = dates.to_numpy().astype("datetime64[D]").astype(np.int64)
    if ((days <= EARLIEST) | (days > LATEST)).any():
        raise LocalDataError(f"column {name} holds dates before 1790 or after 2149")
    return days


def followed_sites(
    ready: pd.DataFrame, frame: pd.DataFrame, site: str, tokens: Ints, index: Ints
) -> dict[str, SiteData]:
    """Rows by hospital: each lets a person in on its day, and follows them to the end of its time.

    ``ready`` with ``outcome_time`` and ``outcome_event``; a row of unknown time or event lets in, and follows nobody.
    """
    numbered = ready.assign(row=np.arange(len(ready)))
    return {
        name: SiteData(data.frame, linked=_rows(data.frame, tokens, index))
        for name, data in by_site(numbered, frame, site).items()
    }


def _rows(rows: pd.DataFrame, tokens: Ints, index: Ints) -> LinkedRows:
    places = rows["row"].to_numpy()
    known = rows["outcome_time"].notna().to_numpy()
    whose, times = tokens[places[known]], rows["outcome_time"][known].to_numpy(np.int64)
    last, failed = index[places[known]] + times, rows["outcome_event"][known].to_numpy(np.int64) == 1
    if (last > LATEST).any():
        raise LocalDataError("a time ends after the year 2149; days are told apart up to then")
    day = np.concatenate([last[failed], last])
    ends = LinkedEnds(
        np.concatenate([whose[failed], whose]),
        np.full(len(day), EARLIEST),
        day,
        day,
        np.repeat([False, True], [int(failed.sum()), len(last)]),
    )
    lives = np.full(len(places), LATEST)
    return LinkedRows(tokens[places], (index[places],), lives, facts=rows, ends={"outcome": ends})


def put_together(ready: pd.DataFrame, tokens: Ints, index: Ints) -> pd.DataFrame:
    """One row a person, ``arm`` and ``outcome_time`` in days: to choose how far curves are drawn, in the clear."""
    rows = ready[["arm"]].assign(
        who=pd.Series([words.tobytes() for words in tokens], index=ready.index),
        index=index,
        last=index + ready["outcome_time"].astype("Float64"),
    )
    rows["failed"] = rows["last"].where(ready["outcome_event"] == 1)
    persons = rows.sort_values("index", kind="stable").groupby("who", sort=False)
    first, last = persons["index"].min(), persons["failed"].min().fillna(persons["last"].max())
    arm = persons["arm"].agg(lambda arms: arms.iloc[0])
    return pd.DataFrame({"arm": arm, "outcome_time": (last - first).astype("Int64")}).dropna()
