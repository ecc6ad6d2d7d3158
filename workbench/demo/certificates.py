"""Self-signed certificates for the demonstration's workbenches: P-256, which browsers accept, and for loopback alone."""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS_VALID: Final = 30
LOOPBACK: Final = "127.0.0.1"


def make_certificate(folder: Path, title: str) -> tuple[Path, Path]:
    """A certificate for this machine's loopback address and its key, in PEM files under ``folder``; replaces none.

    It does not name ``localhost``: the workbench asks browsers for HTTPS alone on its host from then on, and whoever trusts
    the certificate would find every other server of that name shut.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title[:64])])
    start = datetime.now(UTC) - timedelta(minutes=5)
    hosts = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=DAYS_VALID))
        .add_extension(hosts, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (
        _write(folder / "tls.crt", certificate.public_bytes(Encoding.PEM)),
        _write(folder / "tls.key", secret),
    )


def _write(path: Path, content: bytes) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
    return path
