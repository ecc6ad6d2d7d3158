"""What a node answers, as types, and the one place where an answer is read.

A node may answer anything. What does not have the form of its interface, or is larger than any answer of its
kind, becomes a `BadAnswer` that names the node, so that what other nodes say still counts. Members this
version does not know are passed over. Words of a node are kept short and free of control characters, since
they end up in terminals and logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from governance.document import Digest, Slug, UtcTime, explain_validation
from governance.envelope import Base64, Envelope
from governance.study import StudyProtocol
from mpc_backend.client.errors import BadAnswer

T = TypeVar("T")
LONGEST_FAULT = 300
"""Characters of what is told of a malformed answer."""


def printable(text: str) -> str:
    """A text without control characters and lone surrogates, which a terminal or a log could not bear."""
    return "".join(
        sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text
    )


Told = Annotated[str, Field(max_length=20_000), AfterValidator(printable)]
"""Words of a node for people."""


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StatusAnswer(Answer):
    """Who a node is, what it runs, and whether it is busy. ``fault``: what does not work there, in words."""

    running: Digest | None
    fault: Told = ""
    runs: dict[Told, int]
    log_size: Annotated[int, Field(ge=0)]
    software: Told


class StudyLine(Answer):
    """One study in a node's list. ``revision`` changes with every statement the node takes in about it; ``waiting``:
    its runs that wait.
    """

    digest: Digest
    sites: tuple[Slug, ...]
    amends: Digest | None = None
    closed: bool
    revision: Digest
    waiting: tuple[Digest, ...]


class StudyAnswer(Answer):
    """A study with the statements a node holds about it; their signatures are not checked yet."""

    study: StudyProtocol
    envelopes: tuple[Envelope, ...]


class UploadLine(Answer):
    """One upload that a node holds for a study."""

    site: Slug
    run: Digest | None
    upload_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    manifest: Digest
    received_at: UtcTime
    destroyed: bool


RunState = Literal["waiting", "running", "done", "aborted", "refused"]


class RunLine(Answer):
    """How far one run is at one node; ``who``: the node or site at which it failed, if known."""

    run_id: Digest
    study: Digest
    recipient: Slug
    state: RunState
    label: Told
    fraction: Annotated[float, Field(ge=0, le=1)]
    waiting_for: tuple[Slug, ...]
    reason: Told
    who: Told
    started_at: UtcTime | None


class RunAnswer(RunLine):
    """One run with its signed request, which is not checked yet."""

    request: Envelope


class ResultAnswer(Answer):
    """One node's sealed output of a run that is done, and every node's attestation; nothing checked yet."""

    request: Envelope
    sealed: Base64
    attestations: Annotated[tuple[Envelope, ...], Field(min_length=1)]


class Problem(Answer):
    """Why a node refuses (RFC 9457)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: Told = ""
    detail: Told = ""


PROBLEM = TypeAdapter(Problem)


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind of answer: its form, and the most bytes of it that are taken in."""

    name: str
    form: TypeAdapter[T]
    limit: int


MIB = 1 << 20
STATUS = Kind("status", TypeAdapter(StatusAnswer), MIB)
STUDY_LIST = Kind("list of studies", TypeAdapter(tuple[StudyLine, ...]), 16 * MIB)
STUDY = Kind("study with its statements", TypeAdapter(StudyAnswer), 64 * MIB)
UPLOAD_LIST = Kind("list of uploads", TypeAdapter(tuple[UploadLine, ...]), 16 * MIB)
RUN_LIST = Kind("list of runs", TypeAdapter(tuple[RunLine, ...]), 16 * MIB)
RUN = Kind("run", TypeAdapter(RunAnswer), 16 * MIB)
RESULT = Kind("result", TypeAdapter(ResultAnswer), 64 * MIB)
OTHER: Kind[Any] = Kind("anything else", TypeAdapter(Any), MIB)
"""Refusals, and answers to what was posted."""
KINDS: tuple[Kind[Any], ...] = (STATUS, STUDY_LIST, STUDY, UPLOAD_LIST, RUN_LIST, RUN, RESULT, OTHER)


def read_answer(node: str, what: str, form: TypeAdapter[T], value: object) -> T:
    """An answer as its type.

    Args:
        node: who gave it.
        what: what it should be, for the message.
        form: the type.
        value: the parsed JSON.

    Raises:
        BadAnswer: it has another form; names the first field at fault, never what was found there.
    """
    try:
        return form.validate_python(value)
    except ValidationError as error:
        why = printable(explain_validation(what, error))
        short = why if len(why) <= LONGEST_FAULT else f"{why[:LONGEST_FAULT]}…"
        raise BadAnswer(node, f"cannot read {short}") from error
