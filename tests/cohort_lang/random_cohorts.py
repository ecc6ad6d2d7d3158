"""Definitions drawn from a seed, biased so that most find somebody: small numbers and days that meet on boundaries."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal

from cohort_strategies import CODED, DOMAINS, LASTING, OPS, SOURCED, TYPED, VALUED

from cohort_lang import tree

COMMON = ["condition", "drug exposure", "measurement", "visit"]
LOOSE = ["at least", "at most", "not exactly", "not between"]
SETS = ["x", "y", "z"]


class RandomCohort:
    def __init__(self, seed, first_day, concepts):
        self.random = random.Random(seed)
        self.first_day, self.concepts = first_day, concepts

    def chance(self, of):
        return self.random.random() < of

    def some(self, most, make, *arguments):
        return tuple(make(*arguments) for _ in range(self.random.randint(0, most)))

    # ---- leaves

    def range(self, low, high):
        op = self.random.choice(OPS + LOOSE * 2)
        values = [low + type(low)(self.random.randint(0, high - int(low))) for _ in range(2)]
        return tree.Range(op, values[0], values[1] if "between" in op else None)

    def dates(self):
        op = self.random.choice(OPS + LOOSE * 2)
        days = [self.first_day + timedelta(days=self.random.randint(0, 40)) for _ in range(2)]
        return tree.Range(op, days[0], days[1] if "between" in op else None)

    def demographic(self):
        sexes = tuple(self.random.sample([8507, 8532, 8551], 2))
        return self.random.choice(
            [
                tree.AgeAt(self.range(Decimal(19), 22)),
                tree.SexIs(sexes),
                tree.Dated(self.dates()),
                tree.Ended(self.dates()),
            ]
        )

    def attribute(self, domain):
        number, name = self.range(Decimal(0), 4), self.random.choice(SETS)
        options = [self.demographic()]
        if domain in VALUED:
            units = tuple(self.random.sample([1, 2, "%"], 2))
            options += [tree.ValueNumber(number), tree.UnitIs(units), tree.ValueAmong(name)]
        options += [tree.Lasting(number)] if domain in LASTING else []
        options += [tree.DuringVisit(name)] if domain in CODED else []
        options += [tree.TypeAmong(name)] if domain in TYPED else []
        if domain == "drug exposure":
            options.append(tree.Amount(self.random.choice(["days supply", "quantity", "refills"]), number))
        return self.random.choice(options)

    # ---- events and criteria

    def event(self, depth=1):
        domain = self.random.choice(DOMAINS + COMMON * 6)
        concepts = None if domain == "observation period" or self.chance(0.3) else self.random.choice(SETS)
        source = self.random.choice(SETS) if domain in SOURCED and self.chance(0.1) else None
        attributes = self.some(2, self.attribute, domain) if self.chance(0.3) else ()
        having = self.criterion(depth - 1) if depth and self.chance(0.2) else None
        return tree.Event(domain, concepts, source, self.chance(0.2), attributes, having)

    def window(self):
        start, end = (self.random.choice([None, self.random.randint(-8, 8)]) for _ in range(2))
        if None not in (start, end) and self.chance(0.9):
            start, end = min(start, end), max(start, end)
        index = "end" if self.chance(0.2) and (start, end) != (None, None) else "start"
        return tree.Window(start, end, "end" if self.chance(0.2) else "start", index)

    def occurrence(self, depth):
        op = self.random.choice(["at least", "at least", "at most", "exactly"])
        distinct = self.random.choice([None, None, "days", "concepts", "visits"])
        count = tree.Count(op, self.random.choice([0, 1, 1, 1, 2, 3]), distinct)
        flags = self.chance(0.1), self.chance(0.2)
        return tree.Occurrence(self.event(depth), count, self.some(2, self.window), *flags)

    def criterion(self, depth=2):
        if depth > 0 and self.chance(0.35):
            kind = self.random.choice(["all", "any", "at least", "at most"])
            items = (self.criterion(depth - 1), *self.some(2, self.criterion, depth - 1))
            return tree.Group(kind, items, self.random.randint(0, 2) if kind.startswith("at") else None)
        return self.demographic() if self.chance(0.25) else self.occurrence(max(0, depth - 1))

    # ---- statements

    def limit(self):
        return self.random.choice(["all", "all", "first", "last"])

    def days(self):
        return self.random.choice([0, 0, 0, 1, 2, 5, 10])

    def concept_set(self, name):
        items = [
            tree.ConceptItem(
                concept, None, self.chance(0.5), self.chance(0.2), excluded=number > 1 and self.chance(0.5)
            )
            for number, concept in enumerate(self.random.sample(self.concepts, 4))
        ]
        return tree.ConceptSet(name, tuple(items))

    def exit(self):
        exposure = tree.EndOfExposure(
            self.random.choice(SETS), self.days(), self.days(), self.random.choice([None, self.days()])
        )
        fixed = tree.FixedDays(self.days(), self.random.choice(["start", "end"]))
        return self.random.choice([tree.EndOfObservation(), fixed, exposure])

    def cohort(self):
        qualify = self.criterion(1) if self.chance(0.25) else None
        entry = tree.Entry(
            (self.event(), *self.some(1, self.event)),
            self.days(),
            self.days(),
            self.limit(),
            qualify,
            self.limit() if qualify is not None else "all",
        )
        period = self.dates() if self.chance(0.3) else None
        if period is not None and period.op not in ("at least", "at most", "between"):
            period = tree.Range("at least", period.low)
        return tree.Cohort(
            "c",
            entry,
            tuple(self.concept_set(name) for name in SETS),
            tuple(
                tree.Rule(f"r{n}", self.criterion(), self.chance(0.3))
                for n in range(self.random.randint(0, 2))
            ),
            self.exit(),
            self.some(1, self.event),
            self.limit(),
            self.days(),
            period,
        )
