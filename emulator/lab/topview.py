"""`mirrorlab top` as values and as a picture. Pure: what was seen goes in, lines come out.

    title      lab, scenario, time, faults in force
    topology   client - router - bigip-a / bigip-b - backends, roles, mirroring between them
    flows      each connection: age, bytes, last packet, copy at the peer, outcome so far
    log        the devices' journals and the fabric's log, newest last

A flow's outcome so far is what the client's own TCP says of it (`ss`), and, once its socket is
gone, what the devices' journals say: nothing is guessed from the scenario.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

KEYS = "f failover  p power-off  b boot  l cut/heal mirroring  d API outage  q quit"
STALLED_S = 1.0  # retransmitting for longer than that is worth a word
_ROLE_STYLE = {"ACTIVE": "bold green", "STANDBY": "cyan", "DEAD": "bold red"}
_OUTCOME_STYLE = (
    ("alive", "green"),
    ("closed", "dim"),
    ("silent", "yellow"),
    ("opening", "yellow"),
)
_MIN_LOG = 3


@dataclass(frozen=True)
class Socket:
    """The client's end of a connection, as its kernel has it."""

    state: str
    backoff: int = 0
    last_received_s: float = 0.0
    sent: int = 0
    received: int = 0


@dataclass(frozen=True)
class Row:
    """One connection. `copy`: at the peer, "yes", "no", or why it would not do."""

    client: str
    virtual: str
    snat: str = ""
    member: str = ""
    age_s: float = 0.0
    idle_s: float = 0.0
    bytes_to_server: int = 0
    bytes_to_client: int = 0
    copy: str = ""
    outcome: str = ""


@dataclass(frozen=True)
class Event:
    """One line of a journal or of the fabric's log. `time`: seconds of the day, UTC."""

    time: float
    node: str
    text: str


@dataclass(frozen=True)
class View:
    """One look at a running lab."""

    lab: str
    scenario: str
    clock: float
    status: Mapping[str, Mapping[str, Any]]
    rows: Sequence[Row] = ()
    events: Sequence[Event] = ()
    faults: Sequence[str] = ()
    client: str = ""
    backends: Sequence[str] = ()
    routed_to: str = ""
    message: str = field(default="")


def outcome(socket: Socket | None, ended: str) -> str:
    """So far. `ended`: what the journals say of its end, if anything."""
    if socket is None:
        return ended or "closed"
    if socket.state != "ESTAB":
        return "opening" if socket.state.startswith("SYN") else "closing"
    if socket.backoff and socket.last_received_s > STALLED_S:
        return f"silent {_span(socket.last_received_s)} rtx {socket.backoff}"
    return "alive"


def copy_of(flow: Mapping[str, Any], entry: Mapping[str, Any] | None) -> str:
    """Whether the peer could go on with it."""
    if entry is None:
        return "no"
    if entry.get("unusable"):
        return "unusable"
    return "yes" if entry.get("serves_as", flow["snat"]) == flow["snat"] else "other SNAT"


def lines(view: View, width: int, height: int) -> list[Text]:
    """Exactly as many lines as fit, none longer than `width`."""
    top = [_title(view), *_topology(view), Text()]
    free = height - len(top) - 2  # two headings or a heading and the keys
    table = _flow_lines(view.rows, width)
    for_log = max(_MIN_LOG, free - len(table))
    table = table[: max(1, free - for_log)]
    events = _event_lines(view.events, max(0, free - len(table)))
    foot = Text(view.message or KEYS, style="reverse" if view.message else "bold")
    filled = [*top, *table, Text("log", style="bold"), *events]
    filled += [Text()] * (height - 1 - len(filled))
    shown = [*filled[: height - 1], foot][-height:]
    for line in shown:
        line.truncate(width, overflow="crop")
    return shown


def plain(view: View) -> list[str]:
    """The same without a terminal: as many lines as there is something to say."""
    table = _flow_lines(view.rows, 200)
    said = [_title(view), *_topology(view), Text(), *table]
    said += _event_lines(view.events, 10)
    return [line.plain.rstrip() for line in said]


def summary(view: View) -> str:
    """The state in one line, for a log that is written as things change."""
    devices = ", ".join(f"{node} {role_of(state)}" for node, state in view.status.items())
    flows = ", ".join(f"{row.client} {row.outcome} (copy: {row.copy or '-'})" for row in view.rows)
    return f"{devices}; mirroring {_mirroring(view)}; {flows or 'no connection'}"


def role_of(state: Mapping[str, Any]) -> str:
    """ACTIVE, STANDBY, or DEAD where it does not answer."""
    return str(state.get("role", "dead")).upper()


def _title(view: View) -> Text:
    """What may be cut off stands last."""
    text = Text.assemble(("mirrorlab top", "bold"), f"  {_clock(view.clock)}  ")
    if view.faults:
        text.append(f"[{', '.join(view.faults)}]", style="bold red").append("  ")
    return text.append(f"lab {view.lab}: {view.scenario}")


def _topology(view: View) -> list[Text]:
    (first, a), (second, b) = view.status.items()
    left = f" client {view.client} -- router --+-- "
    indent = " " * (len(left) - 4)
    backends = f"    +-- {', '.join(view.backends)}"
    return [
        Text.assemble(left, *_device(first, a, view)),
        Text.assemble(f"{indent}|      | mirroring ", _mirroring_part(view)),
        Text.assemble(f"{indent}+-- ", *_device(second, b, view)),
        Text(f"{indent[:-4]}{backends}"),
    ]


def _device(node: str, state: Mapping[str, Any], view: View) -> list[str | tuple[str, str]]:
    role = role_of(state)
    parts: list[str | tuple[str, str]] = [f"{node} ", (f"{role:<8}", _ROLE_STYLE[role])]
    if state:
        parts.append(f"{_span(float(state['since_s'])):>6}  {state['flows']} flows")
    if view.routed_to == node:
        parts.append(("  <- routes", "bold"))
    return parts


def _mirroring(view: View) -> str:
    states = [str(s.get("mirror_channel", "down")) for s in view.status.values()]
    up = "up" if set(states) == {"up"} else "down" if set(states) == {"down"} else "one end only"
    active = next((s for s in view.status.values() if s.get("role") == "active"), {})
    lag = active.get("mirror_lag") or {}
    if up != "up":
        return up
    return f"up, lag {lag.get('bytes', 0)} B {float(lag.get('seconds', 0)):.3f} s"


def _mirroring_part(view: View) -> tuple[str, str]:
    text = _mirroring(view)
    return text, "green" if text.startswith("up") else "bold red"


_COLUMNS = (21, 16, 6, 8, 8, 6, 10)


def _flow_lines(rows: Sequence[Row], width: int) -> list[Text]:
    names = ("client", "virtual server", "age", "bytes >", "bytes <", "last", "copy")
    heads = [_cells(names), "so far"] if width >= 90 else [_cells(names, short=True), "so far"]
    found = [Text(" ".join(heads), style="bold")]
    for row in rows:
        cells = (
            row.client, row.virtual, _span(row.age_s), _octets(row.bytes_to_server),
            _octets(row.bytes_to_client), _span(row.idle_s), row.copy or "-",
        )  # fmt: skip
        line = Text(f"{_cells(cells, short=width < 90)} ")
        style = next((s for name, s in _OUTCOME_STYLE if row.outcome.startswith(name)), "bold red")
        line.append(row.outcome, style=style)
        found.append(line)
    if not rows:
        found.append(Text("  no connection yet: mirrorlab shell client, and there: ssh vip"))
    return found


def _cells(cells: Sequence[str], *, short: bool = False) -> str:
    """`short`: without the virtual server's column, for 80 characters."""
    left = [f"{cells[0]:<{_COLUMNS[0]}}"] + ([] if short else [f"{cells[1]:<{_COLUMNS[1]}}"])
    right = [f"{cell:>{size}}" for cell, size in zip(cells[2:6], _COLUMNS[2:6], strict=True)]
    return " ".join([*left, *right, f"{cells[6]:<{_COLUMNS[6]}}"])


def _event_lines(events: Sequence[Event], count: int) -> list[Text]:
    newest = events[-count:] if count > 0 else []
    return [Text(f"{_clock(e.time)} {e.node:<8} {e.text}") for e in newest]


def event_line(event: Event) -> str:
    """As the plain form prints it."""
    return _event_lines([event], 1)[0].plain


def _clock(seconds: float) -> str:
    whole = int(seconds) % 86400
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f}s"
    minutes = int(seconds) // 60
    return f"{minutes}m" if minutes < 100 else f"{minutes // 60}h"


def _octets(count: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)
