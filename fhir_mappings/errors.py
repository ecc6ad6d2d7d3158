"""What can go wrong between a hospital's extract and the common model.

::

    MappingError                    anything this package refuses or fails at
    +-- ProfileError                the site's profile or mapping file cannot be used as written
    +-- SourceError                 the extract cannot be read as what it is said to be
    |   +-- SourceMissing           a file, table or column the load needs is not there
    |   +-- SourceEncodingError     bytes that are not the declared text encoding
    |   +-- SourceFormatError       a file, line or record that cannot be parsed
    |   `-- SourceEmpty             the extract holds no patient that could be loaded
    +-- VocabularyError             the vocabulary tables are missing, incomplete or inconsistent
    +-- NothingMapped               no event of the extract has a standard concept; nothing was replaced
    +-- ModelError                  a database that does not hold the common model as expected
    `-- LoadFailed                  the load broke off; the previous database is untouched

Messages name files, line numbers, columns, tables, resource types and counts. They never carry a value
of a patient's record or a patient's identifier.
"""


class MappingError(Exception):
    """Base of every error of this package; the message says what was wrong and what to do."""


class ProfileError(MappingError, ValueError):
    """A profile or mapping file names something unknown or contradicts itself."""


class SourceError(MappingError):
    """The extract as a whole was refused; nothing was written."""


class SourceMissing(SourceError, LookupError):
    """A file, table or column needed by the load does not exist."""


class SourceEncodingError(SourceError, ValueError):
    """A file's bytes are not in the declared text encoding."""


class SourceFormatError(SourceError, ValueError):
    """A file, line or record cannot be parsed as its declared format."""


class SourceEmpty(SourceError, ValueError):
    """No person is left to load."""


class VocabularyError(MappingError, ValueError):
    """The vocabulary cannot be used for mapping."""


class NothingMapped(MappingError, ValueError):
    """The extract has events and none of them has a standard concept; the previous database is untouched."""


class ModelError(MappingError, ValueError):
    """A database does not hold the common model as expected."""


class LoadFailed(MappingError, RuntimeError):
    """The load broke off for a reason outside the extract; the previous database is untouched."""
