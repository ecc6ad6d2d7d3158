"""What a hospital's connector refuses or fails at, drawn as a tree.

    SiteError
    ├── SiteSetupError       the site's directory, keys or federation file cannot be used            exit 2
    ├── NoData               nothing was loaded yet                                                  exit 2
    ├── UnknownStudy         the mailbox holds no such study, or several match                       exit 2
    ├── LinkageRefused       persons cannot be recognised across hospitals as things stand           exit 2
    ├── DecisionRefused      a decision cannot be signed as things stand                             exit 2
    ├── CannotEvaluate       this hospital's data cannot give what the study asks for                exit 2
    ├── EvaluationFailed     computing a study's tables ended in an error nobody foresaw             exit 3
    ├── UploadRefused        an upload was given up: no node would ever take it                      exit 2
    ├── AlreadyUploaded      a study uploads once                                                    exit 2
    ├── ConnectorBusy        another connector already serves this directory                         exit 2
    ├── NodesUnreachable     what was to be sent is kept, since a node did not take it yet           exit 3
    └── MailboxError         the mailbox file cannot be read or written                              exit 3

Messages carry ids, digests, names of columns and criteria; never a value, a share, a key or a passphrase.
"""

from __future__ import annotations


class SiteError(Exception):
    """Root of everything the connector raises on purpose. ``exit_code``: 2 refused, 3 failed."""

    exit_code = 2


class SiteSetupError(SiteError):
    """The site's directory, keys or federation file cannot be used; the message says what to do."""


class NoData(SiteError):
    """Nothing was loaded yet."""


class UnknownStudy(SiteError):
    """The mailbox holds no such study, or several match what was given."""


class LinkageRefused(SiteError):
    """Persons cannot be recognised across hospitals: a key or identifiers are missing, or cannot be used."""


class DecisionRefused(SiteError):
    """A decision cannot be signed as things stand."""


class CannotEvaluate(SiteError):
    """This hospital's data cannot give what the study asks for; names the column, concept set or criterion."""


class EvaluationFailed(SiteError):
    """Computing a study's tables ended in an error nobody foresaw; says its type and place, since its own
    words may quote a record."""

    exit_code = 3


class UploadRefused(SiteError):
    """An upload was given up for a reason that no repetition changes; its shares were deleted here."""


class AlreadyUploaded(SiteError):
    """A study uploads once; the shares of the first upload stand."""


class ConnectorBusy(SiteError):
    """Another connector already serves this directory."""


class NodesUnreachable(SiteError):
    """What was to be sent is kept, since a node did not take it yet; it is sent again."""

    exit_code = 3


class MailboxError(SiteError):
    """The mailbox file cannot be read or written."""

    exit_code = 3
