"""The applications whose sessions the lab runs, and the ports they are known by. Pure.

A *session* is what a scenario asks for; most are one TCP connection of the same name. An FTP
session has a second one for its data, the fleet has fifty, HTTP one a request.
"""

from __future__ import annotations

from collections.abc import Sequence

PORTS: dict[str, int] = {
    "ssh": 22, "telnet": 23, "echo": 7, "bulk": 5001, "idle": 5002, "feed": 5007, "pausing": 5008,
    "reconnect": 5011,
    "ssh-keepalive": 2222, "ssh-bulk": 2223, "http": 80,
    "ftp": 21, "ftp-active": 2121, "postgresql": 5432,
}  # fmt: skip
DATAGRAM_PORTS: dict[str, int] = {"udp": 5010}
FTP_DATA = "ftp-data"
FTP_DATA_PORT = 5021  # the one passive port
HTTP = "http"
_SHORT = (HTTP, "reconnect")  # many connections, none of which lasts
FLEET = "fleet"
# Health-record sessions by who speaks: nobody; the client, answered; the server alone; in bursts.
FLEET_KINDS = ("ehr-idle", "ehr-client-first", "ehr-server-first", "ehr-bursty")
FLEET_SIZE = 50
_FIRST_FLEET_PORT = 6001
FLEET_PORTS: dict[str, int] = {f"ehr-{n + 1:02}": _FIRST_FLEET_PORT + n for n in range(FLEET_SIZE)}
NAMES: dict[int, str] = {
    port: name for name, port in {**PORTS, FTP_DATA: FTP_DATA_PORT, **FLEET_PORTS}.items()
}
# Programs of packages that not every lab needs.
NEEDS: dict[str, tuple[str, ...]] = {
    "ftp": ("vsftpd",), "ftp-active": ("vsftpd",), "postgresql": ("postgres", "psql"),
}  # fmt: skip


def members(session: str) -> tuple[str, ...]:
    """The conversations of a session, each with its own lines in the session's log."""
    return tuple(FLEET_PORTS) if session == FLEET else (session,)


def connections(session: str) -> tuple[str, ...]:
    """The connections a capture must show the beginning of."""
    return (session, FTP_DATA) if session == "ftp" else members(session)


def held_flows(session: str) -> int:
    """How many of the session's connections live until something is done to them."""
    return 0 if session in _SHORT else len(connections(session))


def application(name: str) -> str:
    """Of a connection by its name: of one of the fleet its kind, else the name."""
    if name not in FLEET_PORTS:
        return name
    return FLEET_KINDS[(FLEET_PORTS[name] - _FIRST_FLEET_PORT) % len(FLEET_KINDS)]


def expectations(name: str) -> tuple[str, ...]:
    """Under which names a scenario may say what it expects of a connection, closest first."""
    return (name, application(name), FLEET) if name in FLEET_PORTS else (name,)


def ports(sessions: Sequence[str], *, first: bool) -> set[int]:
    """The ports a backend must listen on before `sessions` can open; `first`: the pool's first
    member, which alone has the servers that not every lab needs."""
    found = {port for name, port in PORTS.items() if name not in NEEDS}
    if first:
        found |= {PORTS[name] for name in sessions if name in PORTS}
        found |= set(FLEET_PORTS.values()) if FLEET in sessions else set()
    return found
