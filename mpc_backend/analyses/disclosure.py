"""Disclosure control on shares: what may be released is decided on exact secret counts, before anything is rounded.

A *chain* is a row of counts of nested groups, such as the steps of an attrition or the cumulative events of a curve. A
number is withheld where it is below k; and where it lies within k of the number released before it, for their difference
would be a small group: it then merges with the next. A difference of zero counts as small unless the study allows a
true zero. The rules hold in every *view*: the total, and the total without the persons of each hospital that also
receives the result, because it could subtract its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released
from mpc_backend.analyses.cells import MERGED, SUPPRESSED
from mpc_backend.analyses.errors import DisclosureRefused
from mpc_backend.operations import concatenate, floor_divide, select, stack
from mpc_backend.values import SecretBits, SecretInt
from mpc_backend.values.numbers import sum_bits


def require_sites(released: Released) -> None:
    """Refuse where fewer hospitals contribute than the policy asks for; public, so nothing leaks."""
    found, needed = len(released.sites), released.policy.minimum_sites
    if found < needed:
        raise DisclosureRefused(
            f"{found} hospitals contribute ({', '.join(released.sites)}); the study needs at least {needed}"
        )


def total(by_site: Mapping[str, SecretInt]) -> SecretInt:
    """The sum over hospitals; free."""
    return sum_of(list(by_site.values()))


def sum_of(parts: Sequence[SecretInt]) -> SecretInt:
    """The sum of arrays of one shape, which are not put beside one another for it; free."""
    found = parts[0]
    for part in parts[1:]:
        found = found + part
    return found.with_bits(sum_bits(max(part.bits for part in parts), len(parts)))


def views(released: Released, by_site: Mapping[str, SecretInt]) -> SecretInt:
    """(1 + receiving hospitals, ...): the total, then the total without each hospital that receives the result."""
    whole = total(by_site)
    return stack([whole, *(whole - by_site[site] for site in released.receiving_sites)], axis=0)


def of_persons(policy: DisclosurePolicy, *, linked: bool) -> DisclosurePolicy:
    """The policy that holds for numbers of persons. Of ``linked`` ones no true zero is shown: in the view of the others a
    difference of none may be what a hospital's own rows were made for, and counts as small.
    """
    return policy.model_copy(update={"allow_true_zero": False}) if linked else policy


def at_least(counts: SecretInt, policy: DisclosurePolicy) -> SecretBits:
    """Whether every view (first axis) of a count is large enough: (views, ...) -> (...)."""
    enough = counts >= policy.minimum_cell
    if policy.allow_true_zero:
        enough = enough | (counts == 0)
    return enough.all(axis=0)


def chain(counts: SecretInt, policy: DisclosurePolicy) -> SecretInt:
    """States (chains, steps) of monotone counts (views, chains, steps): RELEASED 0, SUPPRESSED 1 or MERGED 2.

    One comparison of all pairs at once, then two rounds a step to follow the last released number.
    """
    large = at_least(counts, policy)
    withheld = ~_apart(counts, policy, large)
    return withheld.to_int() * SUPPRESSED + (withheld & large).to_int() * (MERGED - SUPPRESSED)


def far_apart(counts: SecretInt, policy: DisclosurePolicy) -> SecretBits:
    """Which of rising counts (views, chains, steps) hold k more than the last one before of which this is true, in every
    view; the first that does holds k. A zero is none of them, whatever the policy. (chains, steps).

    The step that comes next after each is found for all at once; who is met on the way from the start follows in log2(steps)
    squarings of that map (pointer jumping, Wyllie 1979), two rounds each.
    """
    chains, steps = counts.shape[1:]
    places = steps + 1
    counted = concatenate([counts[:, :, :1] * 0, counts], axis=2)
    first, second = np.triu_indices(places, 1)
    gap = counted[:, :, second] - counted[:, :, first]
    later = np.zeros((places, places), dtype=np.int64)
    later[first, second] = np.arange(1, len(first) + 1)
    enough = (gap >= policy.minimum_cell).all(axis=0)
    none = enough[:, :1] & np.zeros((chains, 1), dtype=bool)
    far = concatenate([none, enough], axis=1)[:, later.ravel()].reshape(chains, places, places)
    jumps = far ^ concatenate([far[:, :, :1] ^ far[:, :, :1], far[:, :, :-1]], axis=2)
    met = concatenate([~none, *[none] * steps], axis=1)
    for _ in range(steps.bit_length()):
        ways = concatenate([met[:, None], jumps], axis=1)[:, :, :, None] & jumps[:, None]
        ends = ways.rearranged(lambda words: np.bitwise_xor.reduce(words, axis=2))
        met, jumps = met ^ ends[:, 0], ends[:, 1:]
    return met[:, 1:]


def _apart(counts: SecretInt, policy: DisclosurePolicy, large: SecretBits) -> SecretBits:
    """Counts that are ``large`` and not too close to the last one of which this is true: (chains, steps)."""
    chains, steps = counts.shape[1:]
    if steps == 1:
        return large
    near = _near(counts, policy)
    shown = [large[:, :1]]
    blocked = large[:, :1] & near[:, 0, :]
    for step in range(1, steps):
        here = large[:, step : step + 1] & ~blocked[:, step : step + 1]
        shown.append(here)
        if step + 1 < steps:
            blocked = blocked ^ (here & (blocked ^ near[:, step, :]))
    return concatenate(shown, axis=1).reshape(chains, steps)


def _near(counts: SecretInt, policy: DisclosurePolicy) -> SecretBits:
    """Whether steps i < j are too close in some view: (views, chains, steps) -> (chains, i, j), false elsewhere."""
    chains, steps = counts.shape[1:]
    first, second = np.triu_indices(steps, 1)
    gap = counts[:, :, second] - counts[:, :, first]
    close = (gap < policy.minimum_cell) & (gap > -policy.minimum_cell)
    if policy.allow_true_zero:
        close = close & (gap != 0)
    place = np.full((steps, steps), len(first), dtype=np.int64)
    place[first, second] = np.arange(len(first))
    anywhere = close.any(axis=0)
    never = anywhere[:, :1] & np.zeros((chains, 1), dtype=bool)
    return concatenate([anywhere, never], axis=1)[:, place.ravel()].reshape(chains, steps, steps)


def rounded(counts: SecretInt, step: int) -> SecretInt:
    """Counts to the nearest multiple of ``step``, halves up, exactly."""
    return counts if step <= 1 else floor_divide(counts + step // 2, step) * step


def masked(shown: SecretBits, values: SecretInt) -> SecretInt:
    """The values where shown, else 0: what is hidden opens to a constant."""
    return select(shown, values, values * 0)


def release_chain(counts: SecretInt, policy: DisclosurePolicy, step: int) -> tuple[SecretInt, SecretInt]:
    """States and rounded, masked values (chains, steps) of (views, chains, steps)."""
    states = chain(counts, policy)
    return states, masked(states == 0, rounded(counts[0], step))


def all_of(flags: SecretBits, members: Sequence[Sequence[int]]) -> SecretBits:
    """Whether all flags of each set hold: (rows, flags) -> (rows, sets); true for an empty set."""
    rows, flag_count = flags.shape
    widest = max((len(each) for each in members), default=0)
    place = np.full((len(members), widest + 1), flag_count, dtype=np.int64)
    for row, each in enumerate(members):
        place[row, : len(each)] = each
    always = flags[:, :1] | np.ones((rows, 1), dtype=bool)
    chosen = concatenate([flags, always], axis=1)[:, place.ravel()]
    return chosen.reshape(rows, len(members), widest + 1).all(axis=2)


def runs(lengths: Sequence[int]) -> list[range]:
    """The places of values that lie one variable after the other."""
    ends = np.cumsum([0, *lengths]).tolist()
    return [range(start, end) for start, end in itertools.pairwise(ends)]
