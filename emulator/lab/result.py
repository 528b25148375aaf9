"""`result.json`: the run as data. Pure; times in seconds, wall clock since 1970."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emulator.lab.groups import gathered, quiet_s
from emulator.lab.judge.evidence import CAPTURE
from emulator.lab.judge.facts import Facts, Record
from emulator.lab.judge.verdict import Verdict
from emulator.lab.settings.scenario import Scenario
from emulator.lab.workload.applications import application, expectations

SCHEMA = "mirrorlab/result/1"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What the host did to the run: reasons to void it, and the figures behind them."""

    reasons: tuple[str, ...] = ()
    queue_drops: int = 0
    scheduling_lag_ms: float = 0.0
    kernel: str = ""


@dataclass(frozen=True, slots=True)
class MirrorState:
    """Mirroring at the moment before the failover (or the end): flows the active device has
    given away, bytes it has not yet, and flows the standby itself says it holds."""

    flows: int = 0
    lag_bytes: int = 0
    standby_flows: int = 0


Result = dict[str, object]


def result(
    scenario: Scenario,
    facts: Facts,
    verdicts: Sequence[Verdict],
    disturbance: Disturbance,
    mirror: MirrorState,
) -> Result:
    """The whole of result.json."""
    server = scenario.virtual_server
    return {
        "schema": SCHEMA,
        "scenario": scenario.name,
        "title": scenario.title,
        "void": "; ".join(disturbance.reasons) or None,
        "connections": [
            connection(v, scenario, facts, requests) for v, requests in gathered(verdicts)
        ],
        "failover": failover_times(facts, verdicts, scenario.world),
        "mirror": {
            "mode": "connection" if server.mirroring else "none",
            # fastL4 mirrors set-up and close: there is no stream to commit
            "commit": server.commit if server.mirroring and server.type == "standard" else None,
            "flows": mirror.flows,
            "standby_flows": mirror.standby_flows,
            "lag_bytes_at_failover": mirror.lag_bytes,
        },
        "host": {
            "kernel": disturbance.kernel,
            "queue_drops": disturbance.queue_drops,
            "scheduling_lag_ms": disturbance.scheduling_lag_ms,
        },
    }


def connection(
    verdict: Verdict, scenario: Scenario, facts: Facts, requests: Result | None = None
) -> Result:
    """One entry of `connections`; `requests`: of many short ones, in which bytes are those of
    the answered ones and all else of one that shows the outcome."""
    said = (scenario.expect.get(key) for key in expectations(verdict.name))
    expected = next((outcome for outcome in said if outcome is not None), None)
    count = verdict.bytes
    triggered = facts.records_of("failover-triggered")
    moment = _time(triggered[0]) if triggered else None
    server = verdict.connection.server
    return {
        "name": verdict.name,
        "application": application(verdict.name),
        "client": str(verdict.connection.client.local),
        "virtual_server": str(verdict.connection.client.remote),
        "server": str(server.local) if server else None,
        "snat": str(server.remote) if server else None,
        "outcome": verdict.outcome,
        "expected": expected,
        "blackout_s": {
            "to_client": verdict.blackout.to_client_s,
            "to_server": verdict.blackout.to_server_s,
        },
        "bytes": {
            "sent": count.sent,
            "delivered": count.delivered,
            "missing": count.missing,
            "repeated": count.repeated,
            "altered": count.altered,
        },
        "cause": {
            "id": verdict.cause.id,
            "text": verdict.cause.text,
            "evidence": [
                {"capture": CAPTURE, "frame": e.frame, "time": e.time_s, "text": e.text}
                for e in verdict.cause.evidence
            ],
        },
        "quiet_before_failover_s": quiet_s(verdict.connection, moment),
        "program": _program(verdict.name, facts, moment),
        **({} if requests is None else {"requests": requests}),
        **_short(verdict, scenario),
    }


def _short(verdict: Verdict, scenario: Scenario) -> Result:
    """What only flows of datagrams have, and clients that come again and again."""
    if verdict.connection.protocol != "tcp":
        return {"protocol": verdict.connection.protocol}
    members = verdict.members
    if members is None:
        return {}
    moved = {None: None, False: "same", True: "other"}[members.moved]
    each = [
        {"time": a.time_s, "client": a.client, "member": a.member, "device": a.device}
        for a in members.each
    ]
    found = {
        "before": list(members.before), "after": list(members.after), "new": moved,
        "expected": scenario.expect_member, "failed": members.failed, "each": each,
    }  # fmt: skip
    return {"members": found}


_REFUSED = ("route-refused", "address-refused", "cloud-call-failed", "failover-failed")


def failover_times(
    facts: Facts, verdicts: Sequence[Verdict], world: str = "cloud"
) -> Result | None:
    """When it was triggered, taken over, accepted, effective, and felt; None without one.

    On-premises nobody is asked, so `api_accepted` is None; `effective` is when the new active
    device's last gratuitous ARP left it (from the captures), for neighbours believe it at once.
    """
    triggered = facts.records_of("failover-triggered")
    if not triggered:
        return None
    start = _time(triggered[0])

    def first(records: Sequence[Record]) -> float | None:
        return next((_time(r) for r in records if _time(r) >= start), None)

    def last(records: Sequence[Record]) -> float | None:
        return max((_time(r) for r in records if _time(r) >= start), default=None)

    accepted = [r for r in facts.records_of("accepted") if _time(r) >= start]
    by_other = [
        advance.arrival.time_s
        for verdict in verdicts
        for stream in (verdict.connection.to_client, verdict.connection.to_server)
        for advance in stream.advances
        if advance.device != verdict.connection.first_device
    ]
    active = [r for r in facts.records_of("active") if _time(r) >= start]
    announced = [
        a.time_s
        for a in facts.announcements
        if active and a.outgoing and a.node == active[0]["node"] and a.time_s >= start
    ]
    carried_out = last(_carried_out(facts, accepted))
    return {
        "mechanism": "gratuitous-arp" if world == "onprem" else _mechanism(accepted),
        "how": triggered[0].get("how"),
        "device": triggered[0].get("device"),
        "new_active": active[0]["node"] if active else None,
        "triggered": start,
        "takeover": first(active),
        "api_accepted": last(accepted),
        "effective": max(announced, default=None) if world == "onprem" else carried_out,
        "first_byte": min(by_other, default=None),
        "refusals": _refusals(facts, start),
    }


def _mechanism(accepted: Sequence[Record]) -> str:
    """What the cloud was asked to move, by the fabric's log; "route" where it was asked nothing."""
    for key, mechanism in (("public", "elastic-ip"), ("address", "secondary-ip")):
        if any(key in record for record in accepted):
            return mechanism
    return "route"


def _refusals(facts: Facts, start: float) -> Result | None:
    """How many calls to the cloud failed by the new active device's journal, and the last
    reason; None where none did."""
    found = [r for r in facts.records_of(*_REFUSED) if _time(r) >= start]
    if not found:
        return None
    last = found[-1]
    return {"calls": len(found), "last": str(last.get("error") or last.get("reason"))}


def _carried_out(facts: Facts, accepted: Sequence[Record]) -> list[Record]:
    """The `effective` records of these accepted changes, none for one still under way."""
    keys = ("table", "destination", "target", "public", "private", "address")
    wanted = {tuple(r.get(k) for k in keys): _time(r) for r in accepted}
    return [
        r
        for r in facts.records_of("effective")
        if (key := tuple(r.get(k) for k in keys)) in wanted and _time(r) >= wanted[key]
    ]


def as_expected(found: Result) -> bool:
    """Whether every connection with an expectation met it, and every byte was right."""
    connections = found["connections"]
    assert isinstance(connections, list)
    return all(
        (c["expected"] is None or c["expected"] == c["outcome"])
        and c["bytes"]["altered"] == c["bytes"]["repeated"] == 0
        and not (
            c["outcome"] in ("SURVIVED", "CLOSED") and c["bytes"]["missing"] and not _may_lose(c)
        )
        and _member_as_expected(c)
        and not (c["program"] or {}).get("wrong_at")
        for c in connections
    )


def _may_lose(connection: Result) -> bool:
    """Datagrams, and connections cut short of which the next one counts."""
    return "protocol" in connection or "members" in connection


def _member_as_expected(connection: Result) -> bool:
    members = connection.get("members")
    if not isinstance(members, dict):
        return True
    return members["expected"] in (None, members["new"])


def _program(name: str, facts: Facts, moment: float | None) -> Result | None:
    """What the session's own program saw: bytes checked, and how it ended."""
    lines = [r for r in facts.records if r.get("session") == name]
    if not lines:
        return None
    progress = [r for r in lines if r["what"] == "progress"]
    ended = [r for r in lines if r["what"] == "ended"]
    wrong = [r for r in lines if r["what"] == "wrong"]
    return {
        "sent": progress[-1]["sent"] if progress else 0,
        "echoed_right": progress[-1]["received"] if progress else 0,
        "wrong_at": wrong[0]["offset"] if wrong else None,
        "ended": ended[0]["reason"] if ended else None,
        "ended_after_failover_s": round(_time(ended[0]) - moment, 3) if ended and moment else None,
        "reports": [r["text"] for r in lines if r["what"] in ("checked", "rolled-back")],
    }


def _time(record: Record) -> float:
    return float(str(record.get("time", 0)))
