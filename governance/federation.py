"""The federation file: who runs nodes, which hospitals take part, who may propose studies, their keys, the protocol.

It is agreed out of band. Every party pins its digest when it is set up, every study carries that digest, and
any mismatch is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from cryptography import x509
from pydantic import AfterValidator, Field, model_validator

from governance.canonical import parse_json
from governance.disclosure import SMALLEST_MINIMUM_CELL
from governance.document import Document, Part, PublicKey, SealingPublicKey, Slug, Words, absent
from governance.errors import DocumentError, FederationMismatch, NotListed
from governance.files import replace_file
from governance.keys import key_id
from governance.protocols import NODES_OF, ProtocolName


def _certificate(value: str) -> str:
    try:
        x509.load_pem_x509_certificate(value.encode())
    except ValueError as error:
        raise ValueError("no X.509 certificate in PEM") from error
    return value


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("expected host:port")
    return value


def _https(value: str) -> str:
    if not value.startswith("https://"):
        raise ValueError("expected an https:// address")
    return value.rstrip("/")


class NodeEntry(Part):
    """One computing node and its operator. ``identity_key`` signs attestations; ``sealing_key`` receives shares."""

    index: Annotated[int, Field(ge=0, le=15)]
    id: Slug
    organisation: Words
    control_url: Annotated[str, AfterValidator(_https)]
    data_address: Annotated[str, AfterValidator(_address)]
    identity_key: PublicKey
    sealing_key: SealingPublicKey
    tls_certificate: Annotated[str, AfterValidator(_certificate)]


class SiteEntry(Part):
    """One hospital. ``connector_key`` signs uploads by machine; ``steward_key`` signs decisions by a person.

    ``sealing_key`` receives what hospitals seal to each other, such as the key by which they recognise persons. Without it the
    canonical bytes do not mention it.
    """

    id: Slug
    name: Words
    connector_key: PublicKey
    steward_key: PublicKey
    sealing_key: Annotated[SealingPublicKey | None, Field(exclude_if=absent)] = None


class InvestigatorEntry(Part):
    """Somebody who may propose studies, and the institution that answers for the key."""

    id: Slug
    organisation: Words
    signing_key: PublicKey


class Federation(Document):
    """Nodes in the order of their index, sites, and what they agreed on.

    ``release_floor``: no study may release cells smaller than this, whatever its own policy says.
    ``investigators``: the only ones who may propose studies. Without the list every key may, and the
    canonical bytes do not mention it.
    """

    payload_type = "application/vnd.tessera.federation+json"

    tessera: Literal["federation/1"] = "federation/1"
    name: Words
    version: Annotated[int, Field(ge=1)]
    protocol: ProtocolName
    release_floor: Annotated[int, Field(ge=SMALLEST_MINIMUM_CELL, le=10_000)] = SMALLEST_MINIMUM_CELL
    nodes: tuple[NodeEntry, ...]
    sites: Annotated[tuple[SiteEntry, ...], Field(min_length=1)]
    investigators: Annotated[
        Annotated[tuple[InvestigatorEntry, ...], Field(min_length=1)] | None, Field(exclude_if=absent)
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        expected = NODES_OF[self.protocol]
        if [node.index for node in self.nodes] != list(range(expected)):
            found = [node.index for node in self.nodes]
            raise ValueError(f"{self.protocol} needs nodes 0 to {expected - 1} in order, found {found}")
        _distinct("node id", (node.id for node in self.nodes))
        _distinct("node operator", (node.organisation.strip().casefold() for node in self.nodes))
        _distinct("data address", (node.data_address for node in self.nodes))
        sealing = [site.sealing_key for site in self.sites if site.sealing_key is not None]
        _distinct("sealing key", (*(node.sealing_key for node in self.nodes), *sealing))
        _distinct("site id", (site.id for site in self.sites))
        listed = self.investigators or ()
        _distinct("investigator id", (one.id for one in listed))
        _distinct("signing key", (*self.signing_keys(), *(one.signing_key for one in listed)))
        return self

    def signing_keys(self) -> tuple[str, ...]:
        """Every Ed25519 key of nodes, connectors and stewards; no two may be equal (separation of duties)."""
        sites = [key for site in self.sites for key in (site.connector_key, site.steward_key)]
        return tuple([node.identity_key for node in self.nodes] + sites)

    def listed(self, key: str) -> InvestigatorEntry | None:
        """The listed investigator with this signing key, if there is a list and one has it."""
        return next((one for one in self.investigators or () if one.signing_key == key), None)

    def check_listed(self, who: str, key: str) -> None:
        """Refuse a key that is none of the investigators', if there is a list of them. ``who``: whose key, for people.

        Raises:
            NotListed: names the key by its id, and those that are listed.
        """
        if self.investigators is None or self.listed(key) is not None:
            return
        known = ", ".join(one.id for one in self.investigators)
        raise NotListed(
            f"{who} has key {key_id(key)}, which belongs to none of the investigators that federation {self.name!r} "
            f"lists ({known}); sign with a listed key, or ask the members to agree on a file that lists this one"
        )

    def node(self, which: str | int) -> NodeEntry:
        """The node with this id or index.

        Raises:
            DocumentError: there is none; names those there are.
        """
        for node in self.nodes:
            if which in (node.id, node.index):
                return node
        raise DocumentError(
            f"no node {which!r} in federation {self.name!r}; nodes: {[n.id for n in self.nodes]}"
        )

    def site(self, site_id: str) -> SiteEntry:
        """The site with this id.

        Raises:
            DocumentError: there is none; names those there are.
        """
        for site in self.sites:
            if site.id == site_id:
                return site
        known = [site.id for site in self.sites]
        raise DocumentError(f"no site {site_id!r} in federation {self.name!r}; sites: {known}")

    @classmethod
    def load(cls, path: Path, pinned: str | None = None) -> Self:
        """Read a federation file, in any JSON layout; check its digest against the pinned one if given.

        Raises:
            DocumentError: unreadable or malformed; names the file.
            FederationMismatch: another digest than the pinned one.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DocumentError(f"{path}: cannot read the federation file: {error.strerror}") from error
        try:
            federation = cls.from_value(parse_json(data))
        except DocumentError as error:
            raise DocumentError(
                f"{path}: not a federation file: {error}; take the file the members agreed on, as `tessera "
                "federation make` wrote it"
            ) from error
        if pinned is not None and federation.digest != pinned:
            raise FederationMismatch(_another(path, federation, f"pinned is {pinned}"))
        return federation

    @classmethod
    def load_agreed(cls, path: Path, *, named: str | None, kept: str | None) -> Self:
        """Read a federation file if it is the one agreed on: the one whose digest is ``named`` now, else the one ``kept``.

        Where neither is, any file is taken: the first one. The error says no digest to pin but the members': whoever
        could exchange the file could have its digest pinned as well.

        Raises:
            DocumentError: unreadable or malformed; names the file.
            FederationMismatch: another digest than the one named or kept.
        """
        federation = cls.load(path)
        expected = named or kept or federation.digest
        if federation.digest != expected:
            source = f"--pin names {expected}" if named else f"pinned is {expected}"
            raise FederationMismatch(_another(path, federation, source))
        return federation

    def save(self, path: Path) -> None:
        """Write canonical bytes; the file is replaced in one step."""
        replace_file(path, self.canonical())


def _another(path: Path, found: Federation, expected: str) -> str:
    return (
        f"{path}: its digest is {found.digest}, but {expected}; use the file that was agreed on or, if the members agreed "
        "on a new version, ask them for its digest and give it once with --pin DIGEST"
    )


def _distinct(what: str, values: Iterable[str]) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(f"every {what} must be distinct; repeated: {', '.join(repeated)[:200]}")
