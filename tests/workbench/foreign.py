"""Texts as somebody may write them who wants a page to show something else than what stands there."""

from __future__ import annotations

import json
import re

from cohort_lang.formatting import quoted
from governance.study import StudyProtocol
from site_connector.plain import JOINER

MARKS = (
    "[link](http://x) ![](http://x/i.png) <b>b</b> <img src=http://x> :red[r] $x$ `c` **b** *i* __u__ ~~s~~ &lt; | \\ "
    "http://x.org www.x.org a@x.org :smile: :material/home: :streamlit: -> <- <-> -- >= <= ~="
)
TITLE = f"# big {MARKS}"
DESCRIPTION = f"{TITLE}\n\n    {MARKS}\n\n- {MARKS}\n## {MARKS}\n***"
LABEL = "1. [link](http://x) <b>b</b> :red[r] $x$ `c` **b** ~~s~~ a@x.org :smile: -> | <img src=http://x>"
ORGANISATION = f"+ {MARKS}"


def with_foreign_texts(study: StudyProtocol) -> StudyProtocol:
    """The study with such texts wherever its author may write one."""
    value = study.model_dump(mode="json")
    purpose = {"description": DESCRIPTION, "legal_basis": MARKS, "ethics_reference": f"> {MARKS}"}
    value["title"] = TITLE
    value["purpose"] |= purpose
    value["investigator"] |= {"organisation": ORGANISATION, "role": MARKS}
    value["recipients"] = [{**person, "organisation": ORGANISATION} for person in value["recipients"]]
    for name, text in value["cohorts"].items():
        value["cohorts"][name] = _cohort(text)
    for label in ("sulfonylurea", "regimen 001"):
        value["analyses"] = _renamed(value["analyses"], label, "")
        value["variables"] = _renamed(value["variables"], label, ":")
    return StudyProtocol.from_canonical(StudyProtocol.from_value(value).canonical())


def _cohort(text: str) -> str:
    """The cohort with another name, a description, and other labels of its rules."""
    named = re.sub(
        r'^cohort ".*"$', lambda _: f"cohort {quoted(TITLE)}\ndescribed as {quoted(MARKS)}", text, flags=re.M
    )
    return re.sub(r'^(require|exclude) "[^"]*"', lambda rule: f"{rule[1]} {quoted(LABEL)}", named, flags=re.M)


def _renamed(value: object, label: str, after: str) -> object:
    """A value with another label: everywhere, or as a key."""
    return json.loads(json.dumps(value).replace(json.dumps(label) + after, json.dumps(LABEL) + after))


def shown(markdown: str) -> str:
    """What a line of Markdown says once its escapes are resolved."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown.replace(JOINER, ""))


LIVE = re.compile(
    r"(?<!\\)(?:\[link|!\[\]\(|<b>|<img|\$x|`c`|\*\*b|\*i\*|__u|~~s|&lt;|# big)"
    r"|:red\[r|http://|www\.x|a@x|:smile:|:material|:streamlit|(?:^|\s)(?:\\?[-<>=~]){2,3}(?:\s|$)"
)


def tempting(text: str) -> list[str]:
    """What of these texts is still live in Markdown."""
    return [found.group() for found in LIVE.finditer(text)]
