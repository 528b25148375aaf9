"""Could the standby take over now, and would the connections live? Pure: accounts to an answer.

What is looked at, each with its own line of the answer:

    roles      one device active, the other standby, both answering
    versions   the same mirroring protocol, and virtual servers that are configured alike
    channel    up at both ends, and its packets arrive both ways
    security   both secured alike; what either has refused
    lag        what the standby has not acknowledged, and for how long
    entries    by flow: what the active device has and the standby lacks, and why
    usable     entries the standby holds and could not serve unchanged, and why
    cloud      the standby's failover extension can call the API and finds what to change

Flows are compared by their key (client, virtual address, protocol); one that came or went
while the two devices were asked is left out: it was read from the active device twice, before
and after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_LAG_S = 1.0
Account = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """What was asked. `status`: by device, {} where it does not answer; `before`, `after`: the
    active device's flows, `held`: the standby's; `arrives`: by sender; `dry_run`: the standby's."""

    status: Mapping[str, Account]
    before: Sequence[Account] = ()
    held: Sequence[Account] = ()
    after: Sequence[Account] = ()
    arrives: Mapping[str, bool] = field(default_factory=dict)
    dry_run: Account = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One line: `ok`, or what is wrong in words."""

    name: str
    ok: bool
    text: str


@dataclass(frozen=True)
class Difference:
    """A connection that would not live on unchanged. `kind`: missing or unusable."""

    client: str
    virtual: str
    member: str
    kind: str
    why: str


@dataclass(frozen=True)
class Readiness:
    """The answer."""

    active: str
    standby: str
    checks: tuple[Check, ...]
    flows: dict[str, int]
    lag: dict[str, float]
    differences: tuple[Difference, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether nothing speaks against it."""
        return all(check.ok for check in self.checks)

    def as_json(self) -> dict[str, object]:
        return {"ready": self.ready, **asdict(self)}


def roles(status: Mapping[str, Account]) -> tuple[str, str]:
    """The active and the standby device; "" for one there is none of, or more than one."""
    found = {
        role: [n for n, state in status.items() if state.get("role") == role]
        for role in ("active", "standby")
    }
    return tuple(nodes[0] if len(nodes) == 1 else "" for nodes in found.values())  # type: ignore[return-value]


def judge(seen: Seen, *, max_lag_s: float = MAX_LAG_S) -> Readiness:
    """Every check, whatever the others say."""
    active, standby = roles(seen.status)
    mine, theirs = seen.status.get(active, {}), seen.status.get(standby, {})
    checks = [_roles(seen.status, active, standby)]
    lag = {k: float(v) for k, v in dict(mine.get("mirror_lag") or {}).items()}
    if not checks[0].ok:
        return Readiness(active, standby, tuple(checks), {}, lag)
    live = _stable(seen)
    differences = _differences(live, seen.held, mine)
    missing = [d for d in differences if d.kind == "missing"]
    unusable = [d for d in differences if d.kind == "unusable"]
    checks += [
        _versions(mine, theirs),
        *_channel(mine, theirs, seen.arrives, active, standby),
        _security(seen.status),
        _lag(lag, max_lag_s),
        Check("entries", not missing, _counted(missing, len(live), "the standby holds", "lacks")),
        Check(
            "usable",
            not unusable,
            _counted(unusable, len(live) - len(missing), "it could serve", "could not serve"),
        ),
        _cloud(seen.dry_run),
    ]
    flows = {
        "active": len(live), "standby": len(seen.held), "missing": len(missing),
        "unusable": len(unusable),
    }  # fmt: skip
    return Readiness(active, standby, tuple(checks), flows, lag, tuple(differences))


def _roles(status: Mapping[str, Account], active: str, standby: str) -> Check:
    if active and standby:
        return Check("roles", True, f"{active} is active, {standby} stands by")
    silent = [node for node, state in status.items() if not state]
    if silent:
        return Check("roles", False, f"{' and '.join(silent)} does not answer: nobody to take over")
    now = ", ".join(f"{node} is {state.get('role')}" for node, state in status.items())
    return Check("roles", False, f"not one active and one standby: {now}")


def _versions(mine: Account, theirs: Account) -> Check:
    if mine.get("mirror_version") != theirs.get("mirror_version"):
        text = f"mirroring versions {mine.get('mirror_version')} and {theirs.get('mirror_version')}"
        return Check("versions", False, text)
    servers, other = mine.get("virtual_servers", {}), theirs.get("virtual_servers", {})
    unlike = sorted(name for name in {*servers, *other} if servers.get(name) != other.get(name))
    if unlike:
        return Check("versions", False, f"configured differently on the two: {', '.join(unlike)}")
    return Check(
        "versions", True, f"mirroring version {mine.get('mirror_version')}, configured alike"
    )


def _channel(
    mine: Account, theirs: Account, arrives: Mapping[str, bool], active: str, standby: str
) -> list[Check]:
    servers = mine.get("virtual_servers", {}).values()
    if not any(server.get("channel", server.get("mirror")) for server in servers):
        return [Check("channel", False, "no virtual server mirrors: there is no channel")]
    states = [state.get("mirror_channel") == "up" for state in (mine, theirs)]
    ends = "up" if all(states) else "down" if not any(states) else "up at one end only"
    checks = [Check("channel", all(states), f"the mirroring channel is {ends}")]
    if arrives:
        to, back = arrives.get(active, False), arrives.get(standby, False)
        lost = {
            (True, True): "",
            (False, True): f"one way: what {active} sends does not reach {standby}",
            (True, False): f"one way: what {standby} sends does not reach {active}",
            (False, False): "cut: nothing arrives, either way",
        }[to, back]
        checks.append(Check("path", to and back, lost or "port 1029 gets through, both ways"))
    return checks


def _security(status: Mapping[str, Account]) -> Check:
    """How the two are protected from others in the HA network, and whom they have turned away:
    that alone keeps nobody from taking over."""
    settings = {node: dict(state.get("secure") or {}) for node, state in status.items()}
    for what, name in (("statemirror", "statemirror.secure"), ("failover", "failover.secure")):
        if len({bool(each.get(what)) for each in settings.values()}) > 1:
            on = " and ".join(node for node, each in settings.items() if each.get(what))
            return Check("security", False, f"{name} is enabled at {on} only")
    one = next(iter(settings.values()), {})
    channel = next((s["protection"] for s in status.values() if s.get("protection")), "")
    parts = [
        f"mirroring {channel or 'TLS, no channel'}" if one.get("statemirror") else "clear text",
        *(["heartbeats authenticated"] if one.get("failover") else []),
    ]
    refused = [
        f"{node} refused {count} ({reason})"
        for node, state in status.items()
        for reason, count in dict(state.get("refused") or {}).items()
    ]
    return Check("security", True, "; ".join([", ".join(parts), *refused]))


def _lag(lag: Mapping[str, float], max_lag_s: float) -> Check:
    seconds = lag.get("seconds", 0.0)
    text = (
        f"{lag.get('bytes', 0):.0f} bytes in {lag.get('messages', 0):.0f} messages not "
        f"acknowledged, the oldest for {seconds:.3f} s"
    )
    over = seconds > max_lag_s
    return Check("lag", not over, f"{text} (more than {max_lag_s:g} s)" if over else text)


def _cloud(dry_run: Account) -> Check:
    state = dry_run.get("state", "none")
    if state == "none":
        return Check("cloud", True, "no provider to ask: addresses are announced on the wire")
    if state == "ok":
        text = (
            f"the API answers; it would move {dry_run.get('routes', 0)} routes and "
            f"{dry_run.get('addresses', 0)} addresses"
        )
        return Check("cloud", True, text)
    if state == "running":
        return Check("cloud", False, "the API does not answer the standby in time")
    return Check("cloud", False, f"the standby's dry run failed: {dry_run.get('reason', '?')}")


def _key(flow: Account) -> tuple[str, str, str]:
    return str(flow["client"]), str(flow["virtual"]), str(flow["protocol"])


def _stable(seen: Seen) -> list[Account]:
    """The active device's flows that were there all the time, as read last."""
    before = {_key(flow) for flow in seen.before}
    return [f for f in seen.after if _key(f) in before and f.get("state") in ("open", "taken")]


def _differences(
    live: Sequence[Account], held: Sequence[Account], mine: Account
) -> list[Difference]:
    entries = {_key(flow): flow for flow in held}
    found = []
    for flow in live:
        entry = entries.get(_key(flow))
        kind, why = ("missing", _why_missing(flow, mine)) if entry is None else ("", "")
        if entry is not None and (why := _why_unusable(flow, entry)):
            kind = "unusable"
        if kind:
            client, virtual, _ = _key(flow)
            found.append(Difference(client, virtual, str(flow["member"]), kind, why))
    return found


def _why_missing(flow: Account, mine: Account) -> str:
    """The first reason that holds, from the configuration to the moment."""
    name = flow["virtual_server"]
    if not flow["asked"]:
        return f"made while {name} had mirroring off"
    if not mine.get("virtual_servers", {}).get(name, {}).get("mirror"):
        return f"{name} has mirroring off"
    if mine.get("mirror_channel") != "up":
        return "the mirroring channel is down"
    since = mine.get("mirror_channel_s") or 0.0
    if flow["standard"] and not flow["mirrored"] and flow["age_s"] > since:
        return "older than the mirroring channel: a standard flow is not mirrored again"
    if not flow["mirrored"]:
        return "on its way: the standby has not acknowledged it yet"
    return "the active device takes it for mirrored, and the standby does not have it"


def _why_unusable(flow: Account, entry: Account) -> str:
    if entry.get("unusable"):
        return str(entry["unusable"])
    other = entry.get("serves_as", flow["snat"])
    if other != flow["snat"]:
        return (
            f"SNAT automap: {flow['member']} knows {flow['snat']}, "
            f"the standby would send from {other}"
        )
    return ""


def _counted(found: Sequence[Difference], total: int, good: str, bad: str) -> str:
    if not found:
        return f"{good} all {total} connections" if total else "no connection is open"
    reasons: dict[str, int] = {}
    for difference in found:
        why = difference.why.split(":")[0]
        reasons[why] = reasons.get(why, 0) + 1
    listed = "; ".join(f"{count} {why}" for why, count in reasons.items())
    return f"{bad} {len(found)} of {total}: {listed}"
