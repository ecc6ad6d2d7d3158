"""Parameters of an analysis as a steward reads them: what belongs to what stands in brackets, long lists are shortened.

strata = kidney_disease (levels 0, 1), hba1c (cuts 8.5)
treatments = 100: regimen 001 ... regimen 100
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LONGEST_LIST = 12
NAMES = ("variable", "name")
_SIGNS = frozenset(",;:=()\"'")


def parameter_words(parameters: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Each parameter in short, and each list that is shortened there in full, by where it stands."""
    in_full: dict[str, str] = {}
    return {name: _words(value, name, in_full) for name, value in parameters.items()}, in_full


def _words(value: object, where: str, in_full: dict[str, str]) -> str:
    if isinstance(value, Mapping):
        return _mapping(value, where, in_full)
    if isinstance(value, list | tuple):
        every = [_words(one, f"{where} {number}", in_full) for number, one in enumerate(value, 1)]
        if len(every) <= LONGEST_LIST:
            return ", ".join(every) or "none"
        in_full[where] = ", ".join(every)
        return f"{len(every)}: {every[0]} ... {every[-1]}"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    text = str(value)
    # A label that holds one of our signs could pose as a parameter of its own.
    return json.dumps(text, ensure_ascii=False) if _SIGNS & set(text) or not text.strip() else text


def _mapping(value: Mapping[str, object], where: str, in_full: dict[str, str]) -> str:
    """``name (key value; key value)``, where one of `NAMES` names it."""
    key = next((name for name in NAMES if isinstance(value.get(name), str)), None)
    name = "" if key is None else _words(value[key], where, in_full)
    inside = f"{where}, {name}" if name else where
    rest = "; ".join(
        f"{other} {_words(one, f'{inside}, {other}', in_full)}"
        for other, one in value.items()
        if other != key
    )
    return " ".join(part for part in (name, f"({rest})" if rest else "") if part) or "none"
