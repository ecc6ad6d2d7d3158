"""Certificates of nodes: self-signed Ed25519, pinned by the federation file, TLS 1.3 and nothing older.

There is no certificate authority to trust. A node's certificate is listed in the federation file; a peer is
accepted when it proves possession of exactly the certificate listed for the node it claims to be, the
certificate is in date, and its URI names that node: ``tessera://node/<id>``.
"""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from governance.federation import Federation
from mpc_backend.transport.errors import CertificateRefused

ALPN = "tessera/1"
VALID_DAYS = 825


def node_uri(node_id: str) -> str:
    """The name a node's certificate carries."""
    return f"tessera://node/{node_id}"


def self_signed(
    uri: str,
    hosts: Sequence[str],
    key: Ed25519PrivateKey,
    *,
    not_before: datetime | None = None,
    valid_days: int = VALID_DAYS,
) -> str:
    """A self-signed certificate in PEM that names ``uri`` and the hosts (DNS names or IP addresses)."""
    start = not_before or datetime.now(UTC) - timedelta(minutes=5)
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri), *map(_host_name, hosts)]
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = unsigned(uri, names, key.public_key(), usage, start, valid_days)
    return builder.sign(key, None).public_bytes(Encoding.PEM).decode()


def unsigned(
    title: str,
    names: Sequence[x509.GeneralName],
    key: CertificatePublicKeyTypes,
    usage: Sequence[x509.ObjectIdentifier],
    start: datetime,
    valid_days: int,
) -> x509.CertificateBuilder:
    """A certificate of nobody's authority for ``key``, ready to be signed with it; the title is cut to 64 characters."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title[:64])])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=valid_days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def fingerprint(certificate: str | bytes) -> bytes:
    """SHA-256 (32 bytes) of a certificate's DER form; takes PEM text or DER bytes."""
    der = ssl.PEM_cert_to_DER_cert(certificate) if isinstance(certificate, str) else certificate
    return hashlib.sha256(der).digest()


def uris(certificate: str) -> list[str]:
    """The URIs that a certificate in PEM names."""
    try:
        extension = x509.load_pem_x509_certificate(certificate.encode()).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(x509.UniformResourceIdentifier)


class TrustedNodes:
    """The certificates that the federation file lists, by index: who may be at the other end of a connection."""

    def __init__(self, federation: Federation) -> None:
        """Raises:
        CertificateRefused: a listed certificate does not name its node.
        """
        self._ids = [node.id for node in federation.nodes]
        self.certificates = [node.tls_certificate for node in federation.nodes]
        self.fingerprints = tuple(fingerprint(certificate) for certificate in self.certificates)
        for node in federation.nodes:
            if uris(node.tls_certificate) != [node_uri(node.id)]:
                raise CertificateRefused(
                    f"the certificate listed for {node.id} names {uris(node.tls_certificate)}, expected "
                    f"{node_uri(node.id)}"
                )

    def index_of(self, der: bytes | None) -> int:
        """Which node presented this certificate.

        Raises:
            CertificateRefused: none did, or it is not in the federation file.
        """
        if der is None:
            raise CertificateRefused("the peer presented no certificate")
        found = fingerprint(der)
        if found not in self.fingerprints:
            raise CertificateRefused(f"certificate {found.hex()[:16]} is not listed in the federation file")
        return self.fingerprints.index(found)

    def require(self, der: bytes | None, index: int) -> None:
        """Check that the certificate presented is the one listed for node ``index``.

        Raises:
            CertificateRefused: it is another node's, or not listed.
        """
        found = self.index_of(der)
        if found != index:
            raise CertificateRefused(
                f"expected {self._ids[index]}, the certificate presented is that of {self._ids[found]}"
            )


def server_context(certificate: Path, key: Path, trusted: Iterable[str]) -> ssl.SSLContext:
    """For accepting other nodes: TLS 1.3 only, a client certificate is required and must be one of
    ``trusted`` (PEM).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _strict(context, certificate, key, trusted)
    context.num_tickets = 0
    return context


def client_context(certificate: Path, key: Path, trusted: Iterable[str]) -> ssl.SSLContext:
    """For dialling another node: TLS 1.3 only, own certificate presented, the peer's must be one of
    ``trusted`` (PEM).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _strict(context, certificate, key, trusted)
    return context


def _strict(context: ssl.SSLContext, certificate: Path, key: Path, trusted: Iterable[str]) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the certificate itself is pinned, whatever address it answers at
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(cadata="".join(trusted))
    context.set_alpn_protocols([ALPN])


def control_client_context(certificate: str) -> ssl.SSLContext:
    """For clients of a node's control interface: TLS 1.3 only, and only this one certificate (PEM) is accepted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=certificate)
    return context


def control_server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """For a node's control interface: TLS 1.3 only; who calls is known by what they sign, not by a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    return context
