"""Plain words for outcomes and failovers, as a manager would say them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """`word`: the big one; `verb`: of one session, of several; `meaning`: to its user."""

    word: str
    glyph: str
    tone: str  # good, bad, warn: a CSS class, never the only sign
    verb: tuple[str, str]
    meaning: str


OUTCOMES: dict[str, Outcome] = {
    "SURVIVED": Outcome(
        "survived", "✓", "good", ("survived", "survived"),
        "The session went on by itself, at most after a pause. Nobody had to log in again.",
    ),
    "CLOSED": Outcome(
        "closed", "✓", "good", ("was closed normally", "were closed normally"),
        "Both ends ended the session in the regular way, as their programs wanted.",
    ),
    "RESET": Outcome(
        "cut off", "✕", "bad", ("was cut off", "were cut off"),
        "The connection was reset: the program stops with an error, the user starts again, and "
        "what was under way is lost.",
    ),
    "STALLED": Outcome(
        "hanging", "‖", "warn", ("hangs", "hang"),
        "The connection looks open, but nothing gets through: the user sits before a frozen "
        "screen until someone or some timer gives up.",
    ),
    "TIMED_OUT": Outcome(
        "gave up", "✕", "bad", ("was given up", "were given up"),
        "An end waited, got no answer and ended the connection by itself.",
    ),
}  # fmt: skip
_OTHER = Outcome("other", "?", "warn", ("ended otherwise", "ended otherwise"), "")
_ORDER = ("RESET", "TIMED_OUT", "STALLED", "SURVIVED", "CLOSED")
HOW = {
    "force-standby": "was told to stand by (a planned failover)",
    "power-off": "lost power",
    "process-crash": "crashed (its processes died, its links stayed up)",
    "link-down": "lost its links",
    "heartbeats-lost": "was not heard any more by the other one, nor heard it",
}
MOVED = {
    "route": "route changes through the cloud's API",
    "elastic-ip": "elastic IP addresses re-associated through the cloud's API",
    "secondary-ip": "secondary private addresses moved through the cloud's API",
    "gratuitous-arp": "gratuitous ARP on the shared segment",
}


def outcome(name: str) -> Outcome:
    """The words for an outcome; a neutral set for one not known here."""
    return OUTCOMES.get(name, _OTHER)


def rank(name: str) -> int:
    """The worst first."""
    return _ORDER.index(name) if name in _ORDER else -1


def headline(result: Mapping[str, Any]) -> tuple[str, str]:
    """The verdict in one line, and its tone."""
    if result["void"]:
        return "No result: the lab itself disturbed this run.", "warn"
    outcomes = [c["outcome"] for c in result["connections"]]
    if not outcomes:
        return "No session was seen.", "warn"
    kinds = sorted(set(outcomes), key=rank)
    if len(kinds) == 1:
        words = outcome(kinds[0])
        who = "The session" if len(outcomes) == 1 else f"All {len(outcomes)} sessions"
        return f"{who} {words.verb[len(outcomes) > 1]}.", words.tone
    parts = [f"{(c := outcomes.count(k))} {outcome(k).verb[c > 1]}" for k in kinds]
    return f"Of {len(outcomes)} sessions {', '.join(parts)}.", outcome(kinds[0]).tone


def listed(names: Sequence[str], most: int = 8) -> str:
    """ "ssh, telnet and echo"; a fleet's names are cut."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


_SHORT = ("requests", "protocol", "members")  # what only short requests and datagrams have


def tried(result: Mapping[str, Any], scenario: Mapping[str, Any] | None) -> str:
    """What was tried, in one sentence."""
    names = [c["name"] for c in result["connections"]]
    short = any(key in c for c in result["connections"] for key in _SHORT)
    kind = "session" if short else "long-lived session"
    many = f"{len(names)} {kind}s" if len(names) > 1 else f"One {kind}"
    who = f"{many} ({listed(names)})" if names else "Sessions"
    were = "was" if len(names) == 1 else "were"
    failover = result["failover"]
    if failover is None:
        then = "and left undisturbed: no failover took place"
    else:
        happened = HOW.get(failover["how"], "failed")
        then = f"when the active device {failover['device']} {happened}{_moved(result, scenario)}"
    return f"{who} {were} running through {_server(result, scenario)} {then}."


def _moved(result: Mapping[str, Any], scenario: Mapping[str, Any] | None) -> str:
    """By what the traffic was to move."""
    failover = result["failover"]
    balancer = ((scenario or {}).get("cloud") or {}).get("load_balancer")
    if balancer:
        how = f"a load balancer ({balancer.get('type', 'in front')}) and its health probes"
    elif failover.get("mechanism") in MOVED and failover.get("effective") is not None:
        how = MOVED[failover["mechanism"]]
    else:
        return ""
    return f", so that traffic had to move to the other one by {how}"


def _server(result: Mapping[str, Any], scenario: Mapping[str, Any] | None) -> str:
    mirrored = "on" if result["mirror"]["mode"] == "connection" else "off"
    commit = result["mirror"]["commit"]
    mirroring = f"connection mirroring {mirrored}" + (f" ({commit})" if commit else "")
    if scenario is None:
        return f"a virtual server with {mirroring}"
    server = scenario["virtual_server"]
    kind = {"standard": "a standard (full proxy)"}.get(server["type"], f"a {server['type']}")
    snat = {"none": "no SNAT", "pool": "a SNAT pool"}.get(server["snat"], f"SNAT {server['snat']}")
    where = "on-premises" if scenario.get("world") == "onprem" else "in the cloud"
    return f"{kind} virtual server {where} with {mirroring} and {snat}"
