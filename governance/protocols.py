"""The protocols that nodes can run, and what each of them promises, in words for the people who sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never

ProtocolName = Literal["rep3", "rep4"]
NODES_OF: dict[str, int] = {"rep3": 3, "rep4": 4}
"""How many nodes each protocol has, all of distinct organisations."""
_NUMBERS = {3: "three", 4: "four"}


def trust_words(protocol: ProtocolName, operators: Sequence[str] = ()) -> str:
    """Who could see what hospitals share, and what happens if a node operator does not keep to the protocol.

    ``operators``: the organisations of the federation; none if it is not known yet.
    """
    count = _NUMBERS[NODES_OF[protocol]]
    who = f"{', '.join(operators[:-1])} and {operators[-1]}" if operators else f"the {count} node operators"
    together = f"Any two of {who} together could reconstruct what a hospital shares."
    if protocol == "rep4":
        return (
            f"No single operator can see anything. {together} One operator who deviates from the protocol is caught, "
            "and the run ends without a result."
        )
    if protocol == "rep3":
        return (
            f"The nodes run rep3, a semi-honest protocol among three. No single operator can see anything as long as every "
            f"operator follows the protocol. {together} An operator who deviates from the protocol is not detected: "
            "it could change results without anybody noticing, and learn more than the released numbers. Sign only if "
            "you trust each operator to run the agreed software unchanged."
        )
    assert_never(protocol)  # what a protocol promises is written for each
