"""Generated cohort trees: any that the grammar can write, with names, numbers and days of a chosen vocabulary."""

from __future__ import annotations

from datetime import date
from functools import cache

from hypothesis import strategies as st

from cohort_lang import tree

OPS = ["at least", "at most", "more than", "less than", "exactly", "not exactly", "between", "not between"]
VALUED = ["measurement", "observation"]
LASTING = ["visit", "visit detail", "condition era", "drug era", "observation period"]
CODED = ["condition", "drug exposure", "procedure", "measurement", "observation", "device exposure"]
SOURCED = [*CODED, "visit", "visit detail", "death"]
TYPED = [*SOURCED, "observation period"]
DOMAINS = [*dict.fromkeys([*TYPED, *LASTING])]

LABELS = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=20).filter(
    str.strip
)
NAMES = st.one_of(
    st.from_regex(r"[^\W\d][\w\-]{0,8}", fullmatch=True),
    LABELS,
    st.sampled_from(["index", "visit", "of", "any"]),
)
EDGES = st.sampled_from(["start", "end"])
LIMITS = st.sampled_from(["all", "first", "last"])


built_once = cache
"""A strategy looks at all that it is made of when it is first drawn from, which takes longer than drawing."""


@built_once
def tuples(of, most, least=0):
    return st.lists(of, min_size=least, max_size=most).map(tuple)


class Language:
    """Which words and numbers generated definitions use; a subclass chooses others."""

    labels = LABELS
    names = NAMES
    days = st.integers(0, 400)
    offsets = st.none() | st.integers(-400, 400) | st.sampled_from([-1, 0, 1])
    numbers = st.decimals(-1000, 1000, places=2)
    ages = st.decimals(-1000, 1000, places=2)
    dates = st.dates(date(1900, 1, 1), date(2099, 12, 31))
    sexes = st.sampled_from([8507, 8532, 8551])
    units = st.one_of(LABELS, st.integers(0, 99999))
    counts = st.integers(0, 9)
    concepts = st.integers(0, 2**31 - 1)
    excluded = st.booleans()
    most_attributes = st.integers(0, 2)
    domains = st.sampled_from(DOMAINS)

    @built_once
    def ranges(self, values):
        def build(op, low, high):
            return tree.Range(op, low, high if "between" in op else None)

        return st.builds(build, st.sampled_from(OPS), values, values)

    @built_once
    def demographics(self):
        return st.one_of(
            st.builds(tree.AgeAt, self.ranges(self.ages)),
            st.builds(tree.SexIs, tuples(self.sexes, 3, 1)),
            st.builds(tree.Dated, self.ranges(self.dates)),
            st.builds(tree.Ended, self.ranges(self.dates)),
        )

    @built_once
    def attributes(self, domain, sets):
        numbers = self.ranges(self.numbers)
        options = [self.demographics()]
        if domain in VALUED:
            options += [st.builds(tree.ValueNumber, numbers), st.builds(tree.ValueAmong, sets)]
            options += [st.builds(tree.UnitIs, tuples(self.units, 3, 1))]
        if domain in LASTING:
            options.append(st.builds(tree.Lasting, numbers))
        if domain in CODED:
            options.append(st.builds(tree.DuringVisit, sets))
        if domain in TYPED:
            options.append(st.builds(tree.TypeAmong, sets))
        if domain == "drug exposure":
            columns = st.sampled_from(["days supply", "quantity", "refills"])
            options.append(st.builds(tree.Amount, columns, numbers))
        return self.most_attributes.flatmap(lambda most: tuples(st.one_of(options), most))

    @st.composite
    @staticmethod
    def _event(draw, self, sets, depth):
        domain = draw(self.domains)
        concepts = None if domain == "observation period" else draw(st.none() | sets)
        source = draw(st.none() | sets) if domain in SOURCED else None
        having = draw(st.none() | self.criteria(sets, depth - 1)) if depth else None
        return tree.Event(
            domain, concepts, source, draw(st.booleans()), draw(self.attributes(domain, sets)), having
        )

    @built_once
    def events(self, sets, depth=1):
        return Language._event(self, sets, depth)

    @built_once
    def windows(self):
        def build(start, end, event, index):
            # With both sides open there is no anchor to write, so no edge of the index either.
            return tree.Window(start, end, event, "start" if start is end is None else index)

        return st.builds(build, self.offsets, self.offsets, EDGES, EDGES)

    @built_once
    def occurrences(self, sets, depth=1):
        ops = st.sampled_from(["at least", "at most", "exactly"])
        distinct = st.sampled_from([None, "days", "concepts", "visits"])
        counts = st.builds(tree.Count, ops, self.counts, distinct)
        flags = st.sampled_from([False, False, True])
        windows = tuples(self.windows(), 2)
        return st.builds(tree.Occurrence, self.events(sets, depth), counts, windows, flags, flags)

    @st.composite
    @staticmethod
    def _group(draw, self, sets, depth):
        kind = draw(st.sampled_from(["all", "any", "at least", "at most"]))
        items = draw(tuples(self.criteria(sets, depth - 1), 3, 1))
        return tree.Group(kind, items, draw(st.integers(0, 4)) if kind.startswith("at") else None)

    @built_once
    def criteria(self, sets, depth=2):
        leaves = st.one_of(self.demographics(), self.occurrences(sets, max(0, depth - 1)))
        return leaves if depth <= 0 else st.one_of(leaves, Language._group(self, sets, depth))

    @built_once
    def exits(self, sets):
        return st.one_of(
            st.just(tree.EndOfObservation()),
            st.builds(tree.FixedDays, self.days, EDGES),
            st.builds(tree.EndOfExposure, sets, self.days, self.days, st.none() | self.days),
        )

    @built_once
    def declared(self):
        """Names of concept sets, the same wherever one cohort is drawn."""
        return st.shared(st.lists(self.names, min_size=1, max_size=3, unique=True), key="concept sets")

    @built_once
    def sets(self):
        return self.declared().flatmap(st.sampled_from)

    @built_once
    def items(self):
        flags = [st.booleans()] * 3
        return st.builds(tree.ConceptItem, self.concepts, st.none() | self.labels, *flags)

    @st.composite
    @staticmethod
    def _cohort(draw, self):
        sets, items = self.sets(), self.items()
        qualify = draw(st.none() | self.criteria(sets, 1))
        entry = tree.Entry(
            draw(tuples(self.events(sets), 2, 1)),
            draw(self.days),
            draw(self.days),
            draw(LIMITS),
            qualify,
            draw(LIMITS) if qualify is not None else "all",
        )
        periods = self.ranges(self.dates).filter(lambda found: found.op in ("at least", "at most", "between"))
        return tree.Cohort(
            name=draw(self.labels),
            entry=entry,
            concept_sets=tuple(
                tree.ConceptSet(name, draw(tuples(items, 4, 1))) for name in draw(self.declared())
            ),
            rules=draw(tuples(st.builds(tree.Rule, self.labels, self.criteria(sets), st.booleans()), 3)),
            exit=draw(self.exits(sets)),
            censors=draw(tuples(self.events(sets), 1)),
            keep=draw(LIMITS),
            combine_days=draw(self.days),
            period=draw(st.none() | periods),
            description=draw(st.none() | self.labels),
        )

    def cohorts(self):
        return Language._cohort(self)
