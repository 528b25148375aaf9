"""Both devices' connection tables before and after the failover, from their journals. Pure.

A journal says which flows a device made, restored, picked up and closed. What a standby
holds mirrored it does not say line by line: that shows when it restores them at takeover.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, object]
Ends = tuple[str, str]  # client, virtual server

_MADE = ("flow-created", "flow-picked-up", "flow-restored")
_ENDS = ("client", "virtual", "snat", "member")
_DEADLY = ("power-off", "process-crash")
MOST = 40  # rows a table


@dataclass(frozen=True, slots=True)
class Row:
    """One flow in a device's table; `fate`: how it came there, or why it is not there."""

    client: str
    virtual: str
    snat: str
    member: str
    fate: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One device's at one moment. `role`: what the device called itself then."""

    device: str
    role: str
    note: str
    rows: tuple[Row, ...]
    left_out: int


def tables(records: Sequence[Record], result: Mapping[str, Any]) -> list[tuple[Table, Table]]:
    """Per device: before the failover, and at the end of the observation."""
    failover = result["failover"]
    ends = [_time(r) for r in records if r.get("what") == "observation-ends"]
    end = ends[0] if ends else float("inf")
    trigger = failover["triggered"] if failover else end
    nodes = sorted({str(r["node"]) for r in records if str(r.get("node")).startswith("bigip-")})
    return [
        (
            _table(node, records, trigger, _before(node, records, trigger, result)),
            _table(node, records, end, _after(node, failover)),
        )
        for node in nodes
    ]


def _before(node: str, records: Sequence[Record], trigger: float, result: Mapping[str, Any]) -> str:
    """What a standby held mirrored, by what it restored later."""
    if _role(node, records, trigger) == "active":
        return ""
    later = [r for r in records if r.get("node") == node and _time(r) >= trigger]
    restored = sum(r.get("what") == "flow-restored" for r in later)
    if result["mirror"]["mode"] == "none":
        return "mirroring is off: a standby holds nothing"
    if any(r.get("what") == "active" for r in later):
        return f"held {restored} mirrored flows that it could restore at takeover"
    return "never took over: what it held mirrored is not in its journal"


def _after(node: str, failover: Mapping[str, Any] | None) -> str:
    dead = failover and failover["device"] == node and failover["how"] in _DEADLY
    return "dead since the failover: what it last had" if dead else ""


def _table(node: str, records: Sequence[Record], when: float, note: str) -> Table:
    rows: dict[Ends, Row] = {}
    for record in records:
        if record.get("node") != node or _time(record) > when or "client" not in record:
            continue
        what, ends = record.get("what"), (str(record["client"]), str(record.get("virtual", "")))
        if what in _MADE:
            rows[ends] = _row(record, str(what).removeprefix("flow-").replace("-", " "))
        elif what == "flow-closed":
            rows[ends] = _row(record, f"closed: {record.get('why', '')}", gone=True)
        elif what == "restore-failed":
            rows[ends] = _row(record, f"not restored: {record.get('reason', '')}", gone=True)
    ordered = list(rows.values())
    role = _role(node, records, when)
    return Table(node, role, note, tuple(ordered[:MOST]), max(0, len(ordered) - MOST))


def _row(record: Record, fate: str, *, gone: bool = False) -> Row:
    client, virtual, snat, member = (str(record.get(key, "")) for key in _ENDS)
    return Row(client, virtual, snat, member, fate, gone)


def _role(node: str, records: Sequence[Record], when: float) -> str:
    said = [
        r for r in records
        if r.get("node") == node and r.get("what") in ("active", "standby") and _time(r) <= when
    ]  # fmt: skip
    return str(said[-1]["what"]) if said else "standby"


def _time(record: Record) -> float:
    time = record.get("time", 0.0)
    return float(time) if isinstance(time, int | float) else 0.0
