"""Which cells are hidden beside a small one: only cells that hide k persons in every view, of whom nothing else tells."""

import numpy as np

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.suppression import shown_cells
from mpc_backend.testing import World

HIDING = DisclosurePolicy(minimum_sites=1)
ZEROS = HIDING.model_copy(update={"allow_true_zero": True})


def shown(counts: list, policy: DisclosurePolicy = HIDING, unknown: list | None = None) -> list:
    """Of one row of cells that add up, by view."""
    given = np.array(counts)[:, None]
    every = np.ones(given.shape[1:], dtype=bool)
    with World("plain") as world:
        left = given if unknown is None else np.array(unknown)[:, None]
        found = world.run(
            lambda session, each, rest: shown_cells(
                each, every, every, policy, None if unknown is None else rest
            ),
            world.share(given, bits=29),
            world.share(left, bits=29),
        )
    return found[0].tolist()


def test_a_cell_that_is_empty_without_a_recipients_own_hides_nothing():
    # The recipient's own make up all twelve of the second cell, or all but five.
    assert shown([[3, 12, 60, 20], [3, 0, 60, 15]], ZEROS) == [False, True, True, False]
    assert shown([[3, 12, 60, 20], [3, 7, 60, 15]], ZEROS) == [False, False, True, True]
    assert shown([[3, 12, 60], [3, 0, 60]], ZEROS) == [False, True, False]
    assert shown([[3, 0, 0]], ZEROS) == [False] * 3


def test_a_cell_whose_persons_are_in_other_numbers_hides_nothing():
    counts = [[4, 40, 33, 25]]
    assert shown(counts) == [False, True, True, False]
    assert shown(counts, unknown=[[4, 40, 33, 9]]) == [False, True, False, True]
    assert shown(counts, unknown=[[4, 40, 33, 10]]) == [False, True, True, False]
    views = [counts[0], [4, 40, 33, 15]]
    assert shown(views, unknown=[[4, 40, 33, 12], [4, 40, 33, 9]]) == [False, True, False, True]
