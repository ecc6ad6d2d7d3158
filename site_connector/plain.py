"""Texts that others wrote, inside Markdown of ours: they show as they stand, and can neither link, load nor pose as ours.

Besides Markdown itself, pages turn addresses into links, names between colons into pictures and arrows of signs into
arrows, and do so after escapes are resolved. An invisible word joiner keeps those from being recognised.
"""

from __future__ import annotations

import re

JOINER = "\N{WORD JOINER}"
_RECOGNISED = re.compile(r":(?=[\w+\-/:])|www(?=\.)|(?=@)|[<>~=-](?=[-=>])", re.IGNORECASE)
_MARKS = re.compile(r"[\\`*\[\]<>#|~$&]|(?<![^\W_])_|_(?![^\W_])")
_FIRST = re.compile(r"^(?:\d+(?=[.)])|(?=[-+=]))")
_ITEM = re.compile(r"^ *(?:\d+\.|-) ")


def literal(text: str) -> str:
    """A text on one line of Markdown, shown as it stands but for its white space."""
    line = _RECOGNISED.sub(lambda found: found.group() + JOINER, " ".join(text.split()))
    return _FIRST.sub(r"\g<0>\\", _MARKS.sub(r"\\\g<0>", line))


def outline(words: str) -> str:
    """A cohort in words, as `cohort_lang.explain` tells it: paragraphs of one line, with the items of a list below."""
    return "\n\n".join(_paragraph(*lines.split("\n")) for lines in words.strip().split("\n\n"))


def _paragraph(first: str, *items: str) -> str:
    marks = [found.group() if (found := _ITEM.match(item)) else "" for item in items]
    listed = [mark + literal(item[len(mark) :]) for mark, item in zip(marks, items, strict=True)]
    return "\n".join([literal(first), *listed])


def paragraphs(text: str) -> str:
    """A text of several paragraphs."""
    return "\n\n".join(literal(part) for part in re.split(r"\n\s*\n", text.strip()))


def fenced(text: str) -> str:
    """A text as a block of code, with its white space."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}"
