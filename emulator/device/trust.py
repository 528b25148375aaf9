"""A device's own certificate and keys, and its peer's certificate: the pair's device trust.

On a BIG-IP devices of a trust domain know each other by certificates, made when trust is set up.
Here they are made with the lab (`lab.trust`) and are gone with it. A folder has

    device.crt, device.key    this device's certificate, and its private key
    peer.crt                  the peer's: the one certificate that is taken, whoever signed others
    heartbeat.key, peer-heartbeat.key    what each signs its heartbeats with
"""

from __future__ import annotations

import ssl
from pathlib import Path

DEVICE_CERTIFICATE, DEVICE_KEY, PEER_CERTIFICATE = "device.crt", "device.key", "peer.crt"
HEARTBEAT_KEY, PEER_HEARTBEAT_KEY = "heartbeat.key", "peer-heartbeat.key"


class TrustError(RuntimeError):
    """The folder does not have what it should; the text says what."""


class Trust:
    """One device's. The folder is read when something of it is first needed."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder) if folder else None
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._peer = b""

    def context(self, *, connecting: bool) -> ssl.SSLContext:
        """TLS 1.3 alone, a certificate from either end, no resumption; raises TrustError."""
        if connecting not in self._contexts:
            self._contexts[connecting] = self._make(connecting)
        return self._contexts[connecting]

    def is_peer(self, certificate: bytes | None) -> bool:
        """Whether this (DER) is the peer's very certificate; raises TrustError."""
        if not self._peer:
            try:
                self._peer = ssl.PEM_cert_to_DER_cert(self._read(PEER_CERTIFICATE).decode())
            except ValueError as error:
                raise TrustError(f"{PEER_CERTIFICATE}: {error}") from error
        return certificate == self._peer

    def heartbeat_keys(self) -> tuple[bytes, bytes]:
        """This device's and its peer's; raises TrustError."""
        return self._read(HEARTBEAT_KEY), self._read(PEER_HEARTBEAT_KEY)

    def _make(self, connecting: bool) -> ssl.SSLContext:
        kind = ssl.PROTOCOL_TLS_CLIENT if connecting else ssl.PROTOCOL_TLS_SERVER
        context = ssl.SSLContext(kind)
        context.check_hostname = False  # the peer is known by its certificate (`is_peer`)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        if not connecting:
            context.num_tickets = 0
        try:
            context.load_cert_chain(self._path(DEVICE_CERTIFICATE), self._path(DEVICE_KEY))
            context.load_verify_locations(self._path(PEER_CERTIFICATE))
        except OSError as error:  # ssl.SSLError is one
            raise TrustError(f"{self._folder}: {error.strerror or error}") from error
        return context

    def _path(self, name: str) -> Path:
        if self._folder is None:
            raise TrustError("this device has no folder of certificates and keys")
        return self._folder / name

    def _read(self, name: str) -> bytes:
        path = self._path(name)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise TrustError(f"{path}: {error.strerror}") from error
        if not content:
            raise TrustError(f"{path} is empty")
        return content
