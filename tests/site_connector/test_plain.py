"""Texts of others inside our Markdown: escaped where they would be read as Markdown, left alone where not."""

from __future__ import annotations

import pytest

from site_connector.plain import JOINER, fenced, literal, outline, paragraphs


@pytest.mark.parametrize(
    "text",
    [
        "GDPR 9(2)(j)",
        "2026-17",
        "on_metformin",
        "18 years or older",
        "5,000 at 12 % (HbA1c); see: page 3",
        "a - b",
    ],
)
def test_ordinary_words_stay_as_they_are(text: str) -> None:
    assert literal(text) == text


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("# big", r"\# big"),
        ("[a](b)", r"\[a\](b)"),
        ("<b> & *c* `d` ~e~ $f$ | \\", r"\<b\> \& \*c\* \`d\` \~e\~ \$f\$ \| \\"),
        ("_a_ b__c", r"\_a\_ b\_\_c"),
        ("- a", r"\- a"),
        ("12. a", r"12\. a"),
        ("1) a", r"1\) a"),
        ("== ", rf"\={JOINER}="),
        ("  two\n\nlines\tmore ", "two lines more"),
        ("http://a", f"http:{JOINER}//a"),
        (":red[a]", rf":{JOINER}red\[a\]"),
        ("WWW.a.org b@c.org", f"WWW{JOINER}.a.org b{JOINER}@c.org"),
        ("a -> b", rf"a -{JOINER}\> b"),
        ("", ""),
    ],
)
def test_what_would_be_read_is_escaped(text: str, markdown: str) -> None:
    assert literal(text) == markdown


def test_a_cohort_in_words_keeps_its_lists_and_nothing_else() -> None:
    words = "1. *name*\n\nIn this order:\n1. # one: yes\n   - two_\n\nSets:\n- [a]\nno mark\n"
    said = "1\\. \\*name\\*\n\nIn this order:\n1. \\# one: yes\n   - two\\_\n\nSets:\n- \\[a\\]\nno mark"
    assert outline(words) == said


def test_paragraphs_stay_paragraphs() -> None:
    assert paragraphs("# a\nb\n  \n- c\n") == "\\# a b\n\n\\- c"


def test_no_text_ends_its_block_of_code() -> None:
    assert fenced("a\n```\n# b\n") == "````\na\n```\n# b\n````"
    assert fenced("a\n") == "```\na\n```"
