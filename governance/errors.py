"""What governance refuses, drawn as a tree.

    GovernanceError
    ├── DocumentError            a document is malformed; the message names the path of the field
    │   └── DatedAhead           it is dated later than our clock and a small skew allow
    ├── KeyFileError             a key cannot be read or would be overwritten
    ├── SealError                a sealed message does not open with this key and context
    ├── SignatureError           a signature is missing or does not verify
    │   └── ForeignSignature     the signature is sound, but its key may not sign this document
    ├── FederationMismatch       a document belongs to another federation than the pinned one
    ├── PolicyRefused            a document asks for more than the federation or the law of its kind allows
    │   └── NotListed            the federation file lists who may propose studies, and this key is not listed
    ├── NotPermitted             the documents are sound and still do not allow this now
    │   ├── NotApproved          signatures are still missing, or a hospital declined
    │   ├── NotYetValid          before the study's first day
    │   ├── Expired              after the study's last day
    │   ├── Superseded           an approved amendment has replaced this version of the study
    │   ├── Withdrawn            too few hospitals remain after withdrawals
    │   ├── UnknownAnalysis      the study names no such analysis
    │   ├── UnknownRequester     the signer is none of the study's recipients
    │   ├── ForeignParameters    a run brings parameters outside the study's bounds
    │   ├── OverBudget           the signed number of runs is used up
    │   └── Replayed             this request was answered before
    ├── LedgerError              a log is damaged, forked, or a proof does not hold
    └── ReceiptError             a receipt is incomplete or contradicts itself

Messages carry ids, digests, what was expected and what was found; never data, never key material.
"""

from __future__ import annotations

from collections.abc import Sequence


class GovernanceError(Exception):
    """Base of every refusal in this package."""


class DocumentError(GovernanceError, ValueError):
    """A document is malformed; the message names the path of the field."""


class DatedAhead(DocumentError):
    """A document is dated ahead of our clock by more than the skew that is allowed; says both times."""


class KeyFileError(GovernanceError):
    """A key file cannot be read, has the wrong kind, or would be overwritten."""


class SealError(GovernanceError):
    """A sealed message does not open with this key and this context."""


class SignatureError(GovernanceError):
    """A signature is missing or does not verify."""


class ForeignSignature(SignatureError):
    """The signer's key may not sign this document."""


class FederationMismatch(GovernanceError):
    """A document or file belongs to another federation than the pinned one."""


class PolicyRefused(GovernanceError):
    """A document asks for more than the federation allows."""


class NotListed(PolicyRefused):
    """The federation file lists investigators, and this key belongs to none of them."""


class NotPermitted(GovernanceError):
    """The documents are sound and still do not allow this now."""


class NotApproved(NotPermitted):
    """Not everybody whose signature the study needs has signed.

    ``missing`` names who has not signed ("investigator" or a site id); ``declined`` the sites that said no.
    """

    def __init__(self, study_digest: str, missing: Sequence[str], declined: Sequence[str] = ()) -> None:
        self.missing = tuple(missing)
        self.declined = tuple(declined)
        waits = [f"no signature yet from {', '.join(missing)}"] if missing else []
        waits += [f"declined by {', '.join(declined)}"] if declined else []
        super().__init__(f"study {study_digest[:12]} is not approved: {'; '.join(waits)}")


class NotYetValid(NotPermitted):
    """The study's first day has not come."""


class Expired(NotPermitted):
    """The study's last day has passed."""


class Superseded(NotPermitted):
    """An approved amendment has replaced this version of the study. ``by`` is the amendment's digest."""

    def __init__(self, short_name: str, study_digest: str, by: str) -> None:
        self.by = by
        super().__init__(
            f"study {short_name} ({study_digest[:12]}) was replaced by its amendment {by[:12]}, which every hospital "
            f"it names has approved; use that one"
        )


class Withdrawn(NotPermitted):
    """Too few hospitals remain after withdrawals."""


class UnknownAnalysis(NotPermitted):
    """The study names no such analysis."""


class UnknownRequester(NotPermitted):
    """The signer of a run request is none of the study's recipients."""


class ForeignParameters(NotPermitted):
    """A run request brings parameters, or shares, outside the study's bounds."""


class OverBudget(NotPermitted):
    """The signed number of runs is used up."""


class Replayed(NotPermitted):
    """This very request was accepted before."""


class LedgerError(GovernanceError):
    """A log is damaged or forked, or a proof does not hold."""


class ReceiptError(GovernanceError):
    """A receipt is incomplete or contradicts itself."""
