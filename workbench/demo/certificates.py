"""Self-signed certificates for the demonstration's workbenches: P-256, which browsers accept, and for loopback alone."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from governance.files import write_new
from mpc_backend.transport.certificates import unsigned

DAYS_VALID: Final = 30
LOOPBACK: Final = "127.0.0.1"


def make_certificate(folder: Path, title: str) -> tuple[Path, Path]:
    """A certificate for this machine's loopback address and its key, in PEM files under ``folder``; replaces none.

    It does not name ``localhost``: the workbench asks browsers for HTTPS alone on its host from then on, and whoever trusts
    the certificate would find every other server of that name shut.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    hosts = [x509.IPAddress(ipaddress.ip_address(LOOPBACK))]
    start = datetime.now(UTC) - timedelta(minutes=5)
    builder = unsigned(title, hosts, key.public_key(), [ExtendedKeyUsageOID.SERVER_AUTH], start, DAYS_VALID)
    certificate = builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files = folder / "tls.crt", folder / "tls.key"
    for path, content in zip(files, (certificate, secret), strict=True):
        write_new(path, content)
    return files
