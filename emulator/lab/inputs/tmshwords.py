"""Words of tmsh that several kinds of objects have: names, switches, addresses. Pure."""

from __future__ import annotations

from emulator.lab.inputs.tree import InputError, Node

SERVICES = {
    "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "http": 80, "https": 443,
    "any": 0, "mysql": 3306, "ms-wbt-server": 3389, "postgresql": 5432, "http-alt": 8080,
    "webcache": 8080, "ldap": 389, "ldaps": 636, "sip": 5060, "radius": 1812,
}  # fmt: skip
BUILT_IN = {  # profile -> what it makes of a virtual server
    "fastL4": "fastL4", "fastl4": "fastL4", "tcp": "tcp", "udp": "udp", "sctp": "sctp",
    "fasthttp": "fasthttp", "http": "http", "http2": "http", "clientssl": "clientssl",
    "serverssl": "serverssl", "tcp-legacy": "tcp", "mptcp-mobile-optimized": "tcp",
    "ipother": "ipother",
}  # fmt: skip
BITS = {"enabled": True, "disabled": False, "enable": True, "disable": False, "yes": True,
        "no": False, "true": True, "false": False}  # fmt: skip


def full(name: str) -> str:
    return name if name.startswith("/") else f"/Common/{name}"


def bit(node: Node) -> bool:
    """enabled or disabled; raises InputError."""
    if str(node.value) not in BITS:
        raise InputError(node.place, f"{node.path}: {node.value!r} is neither enabled nor disabled")
    return BITS[str(node.value)]


def number(node: Node, text: str) -> int | None:
    """A port by number or name; None where the name is not known."""
    if text in SERVICES:
        return SERVICES[text]
    if text.isdecimal() and len(text) < 6 and int(text) < 65536:
        return int(text)
    return None


def endpoint(node: Node, text: str) -> tuple[str, str]:
    """Address and port of `/Common/10.0.0.1%2:22` (or of IPv6's `2001::1.22`)."""
    plain = text.rsplit("/", 1)[-1]
    if plain.count(":") > 1:
        raise InputError(node.place, f"{node.path}: {text!r}: IPv6 is not emulated")
    host, _, port = plain.partition(":")
    return host.split("%", 1)[0], port
