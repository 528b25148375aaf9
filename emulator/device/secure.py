"""What protects the mirroring channel's bytes (`statemirror.secure`): TLS 1.3 without a socket.

Bytes of the wire go in by `receive`, out by `outgoing`; `Clear` is the same without protection.
Both ends show certificates, and only the peer's own is taken. A record that was altered, left
out, moved or sent a second time fails its authentication, a recording played to a new
connection its handshake; a stream that ends without TLS's own end has been cut.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Protocol

from emulator.core.refusals import Refused
from emulator.device.trust import Trust, TrustError

_PIECE = 1 << 16


class Transport(Protocol):
    """One connection's bytes, protected or not."""

    @property
    def clear(self) -> bool:
        """Whether they pass unchanged, so that nobody need be asked."""

    @property
    def established(self) -> bool:
        """Whether the peer is known, so that messages may pass."""

    @property
    def protection(self) -> str:
        """Protocol and cipher, "" for none."""

    def receive(self, data: bytes) -> bytes:
        """What came in; answers with what of it is messages. Raises Refused."""

    def ended(self) -> None:
        """The connection's end came in; raises Refused where it had not been announced."""

    def seal(self, buffer: bytearray) -> bytearray:
        """What to send next: of `buffer`'s bytes, or one that holds some of them sealed. The
        caller takes from its front what it has sent."""

    def close(self) -> bytes:
        """What to send before the end."""


class Clear:
    """No protection, as on a BIG-IP by default."""

    clear = True
    established = True
    protection = ""

    def receive(self, data: bytes) -> bytes:
        return data

    def ended(self) -> None:
        """TCP says no more than that."""

    def seal(self, buffer: bytearray) -> bytearray:
        return buffer

    def close(self) -> bytes:
        return b""


class Secure:
    """TLS 1.3, each end known by its certificate. Raises TrustError when made."""

    clear = False

    def __init__(self, trust: Trust, *, connecting: bool) -> None:
        self._trust = trust
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = trust.context(connecting=connecting).wrap_bio(
            self._in, self._out, server_side=not connecting
        )
        self._sealed = bytearray()
        self._begun = self._closed = False
        self.established = False
        if connecting:
            self._shake_hands()

    @property
    def protection(self) -> str:
        cipher = self._tls.cipher()
        return f"{self._tls.version()} {cipher[0]}" if cipher else ""

    def receive(self, data: bytes) -> bytes:
        self._begun = self._begun or bool(data)
        self._in.write(data)
        if not self.established:
            self._shake_hands()
            if not self.established:
                return b""
        plain = bytearray()
        try:
            while self._in.pending or self._tls.pending():
                piece = self._tls.read(_PIECE)
                self._closed = self._closed or not piece
                plain += piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._closed = True
        except ssl.SSLError as error:
            raise _after_handshake(error) from None
        return bytes(plain)

    def ended(self) -> None:
        if self._closed:
            return
        if not self.established:
            what = "in the middle of the handshake" if self._begun else "before the handshake"
            raise Refused("handshake", f"the connection ended {what}")
        raise Refused("truncated", "the connection ended without TLS's own end")

    def seal(self, buffer: bytearray) -> bytearray:
        if self._out.pending:
            self._sealed += self._out.read()
        if not self._sealed and buffer and self.established:
            count = 0
            with memoryview(buffer) as whole:
                while count < min(len(whole), _PIECE):  # a record at a time
                    count += self._tls.write(whole[count : count + _PIECE])
            del buffer[:count]
            self._sealed += self._out.read()
        return self._sealed

    def close(self) -> bytes:
        """TLS's own end, where nothing is waiting half sent before it."""
        if not self.established or self._sealed:
            return b""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self._out.read()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            raise _in_handshake(error) from None
        try:
            theirs = self._trust.is_peer(self._tls.getpeercert(binary_form=True))
        except TrustError as error:
            raise Refused("trust", str(error)) from None
        if not theirs:
            raise Refused("certificate", "the certificate is not the peer's")
        self.established = True


_CLEAR_TEXT = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE",
               "BAD_RECORD_TYPE", "NO_PROTOCOLS_AVAILABLE", "PACKET_LENGTH_TOO_LONG"}  # fmt: skip


def _in_handshake(error: ssl.SSLError) -> Refused:
    why = error.reason or str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refused("certificate", error.verify_message)
    if "CERTIFICATE" in why or "UNKNOWN_CA" in why:
        return Refused("certificate", _words(why))
    if why in _CLEAR_TEXT:
        return Refused("no-tls", f"no TLS handshake ({_words(why)})")
    return Refused("handshake", _words(why))


def _after_handshake(error: ssl.SSLError) -> Refused:
    why = error.reason or str(error)
    if isinstance(error, ssl.SSLEOFError):
        return Refused("truncated", "the connection ended without TLS's own end")
    if "ALERT" in why:  # of the peer: it refuses us, and says so after our half is done
        return Refused("certificate" if _about_trust(why) else "altered", f"alert: {_words(why)}")
    return Refused("altered", _words(why))


def _about_trust(why: str) -> bool:
    return "CERTIFICATE" in why or "UNKNOWN_CA" in why or "HANDSHAKE" in why


def _words(why: str) -> str:
    return why.lower().replace("_", " ")
