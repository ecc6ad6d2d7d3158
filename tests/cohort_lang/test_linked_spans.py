"""Spans of days that records fit: put together where they overlap or follow each other, so that no more rows are shared."""

import numpy as np
import pandas as pd

from cohort_lang.evaluation.linked import joined_spans


def test_spans_that_touch_are_one_and_those_of_others_are_not():
    fitting = pd.DataFrame(
        [
            (2, 5.0, 7.0),
            (1, 1.0, 10.0),
            (1, 2.0, 3.0),
            (1, 5.0, 6.0),
            (1, 11.0, 12.0),
            (1, 14.0, np.inf),
            (2, -np.inf, 3.0),
        ],
        columns=["person_id", "earliest", "latest"],
    )
    found = joined_spans(fitting)
    rows = list(zip(found.person_id, found.earliest, found.latest, strict=True))
    assert rows == [(1, 1, 12), (1, 14, np.inf), (2, -np.inf, 3), (2, 5, 7)]


def test_no_record_gives_no_span():
    assert (
        len(joined_spans(pd.DataFrame({name: [] for name in ("person_id", "earliest", "latest")})).person_id)
        == 0
    )
