"""The pair's device trust, made with the lab: certificates, private keys, heartbeat keys.

    <lab>/trust/bigip-a/device.crt, device.key (0600), peer.crt, heartbeat.key, peer-heartbeat.key
                bigip-b/...

Each device has a certificate of its own signing and holds its peer's: nobody else's is taken,
and no authority is left that could sign another. The folder goes with the lab.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from emulator.device import trust
from emulator.lab.ownership import write_private

FOLDER = "trust"
_VALID = timedelta(days=3650)  # as a BIG-IP's own device certificate
_EARLY = timedelta(days=1)  # a clock that is stepped back is no reason to fall apart


def folder_of(lab: Path, node: str) -> Path:
    """Where a device finds its own."""
    return lab / FOLDER / node


def establish(lab: Path, nodes: Sequence[str]) -> None:
    """Make what is not there yet, for both devices of the lab in folder `lab`; raises OSError."""
    if (lab / FOLDER).exists():
        return
    made = {node: _identity(node) for node in nodes}
    keys = {node: secrets.token_bytes(32) for node in nodes}
    unfinished = lab / f".{FOLDER}"
    unfinished.mkdir(mode=0o700)
    for node, peer in zip(nodes, reversed(nodes), strict=True):
        folder = unfinished / node
        folder.mkdir(mode=0o700)
        certificate, key = made[node]
        for name, content in (
            (trust.DEVICE_CERTIFICATE, certificate),
            (trust.DEVICE_KEY, key),
            (trust.PEER_CERTIFICATE, made[peer][0]),
            (trust.HEARTBEAT_KEY, keys[node]),
            (trust.PEER_HEARTBEAT_KEY, keys[peer]),
        ):
            write_private(folder / name, content)
    unfinished.rename(lab / FOLDER)


def _identity(node: str) -> tuple[bytes, bytes]:
    """A certificate and its private key, PEM. The library takes its time to load: only here."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    now = datetime.now(UTC)
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(pem), private
