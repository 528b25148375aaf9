"""The story a run's capture tells, as comments on its frames. Pure.

Facts and verdicts give {frame number: comments}: failover triggered, the takeover's heartbeats,
last good byte and first byte after of each session, route changes accepted and effective,
segments dropped and why, and why each session ended or lived. Where journals are missing, what
only they know is left out. Frames that tell the same thing again are not commented again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from emulator.lab.judge.facts import Direction, Ending, Facts, Fate, Record
from emulator.lab.judge.routecomments import route_changes
from emulator.lab.judge.tracing import TAIL_NS, RoleReport, Sighting, is_device
from emulator.lab.judge.verdict import Verdict
from emulator.wire.seqnum import SeqNum

Decisions = dict[tuple[str, str, SeqNum], list[Record]]

_TO = {Direction.TO_SERVER: "to the server", Direction.TO_CLIENT: "to the client"}
_AT_ONCE_S = 1.0
_ENDED = {"RESET": "reset", "STALLED": "stalled", "TIMED_OUT": "timed out"}


@dataclass(slots=True)
class _Story:
    """Comments by frame; `start_s` is what times are told from."""

    start_s: float | None
    told: dict[int, list[str]] = field(default_factory=dict)

    def tell(self, frame: int, time_s: float, text: str) -> None:
        if self.start_s is not None:
            text = f"{time_s - self.start_s:+.3f} s  {text}"
        texts = self.told.setdefault(frame, [])
        if frame and text not in texts:
            texts.append(text)

    def at(self, sighting: Sighting, text: str) -> None:
        self.tell(sighting.frame, sighting.time_s, text)

    def tells(self, frame: int, session: str) -> bool:
        return any(f"{session}: " in text for text in self.told.get(frame, ()))


def comments(facts: Facts, verdicts: Sequence[Verdict]) -> dict[int, list[str]]:
    """What to say of which frame, in the order of the frames."""
    story = _Story(_start_s(facts))
    _triggers(story, facts)
    _roles(story, facts.roles)
    for change in route_changes(facts):
        story.at(change.sighting, change.text)
    _announcements(story, facts)
    decisions = _decisions(facts)
    for verdict in verdicts:
        _bytes(story, verdict)
        _reset(story, verdict)
        for ending, text in _drops(verdict, facts, decisions):
            story.at(ending.last, text)
        _evidence(story, verdict)
    return {frame: story.told[frame] for frame in sorted(story.told) if frame}


def summary(title: str, verdicts: Iterable[Verdict], version: str, void: str | None) -> str:
    """The section's comment: what the file is and how each session fared."""
    lines = [f"mirrorlab {version}, {title}"]
    if void:
        lines.append(f"VOID, no network result follows from it: {void}")
    for verdict in verdicts:
        cause = f" ({verdict.cause.id})" if verdict.cause.id else ""
        lines.append(f"{verdict.name}: {verdict.outcome}{cause}. {verdict.cause.text}")
    lines.append("Frames that tell the story: display filter frame.comment")
    return "\n".join(lines)


def _start_s(facts: Facts) -> float | None:
    """The failover's time: by the lab's journal, else when a device first took over."""
    triggered = facts.records_of("failover-triggered")
    if triggered:
        return float(str(triggered[0]["time"]))
    taken = [report for report, _ in _takeovers(facts.roles)]
    return taken[0].time_ns / 1e9 if taken else None


def _triggers(story: _Story, facts: Facts) -> None:
    for record in facts.records_of("failover-triggered", "failed-back"):
        time_s = float(str(record["time"]))
        after = _first_frame(facts, int(time_s * 1e9))
        if after is not None:
            frame, time_ns = after
            early_ms = time_ns / 1e6 - time_s * 1e3
            what = "failover triggered" if record["what"] == "failover-triggered" else "failed back"
            text = f"{what} {early_ms:.1f} ms before this frame: {record.get('how')} of "
            story.tell(frame, time_ns / 1e9, f"{text}{record.get('device')}")


def _first_frame(facts: Facts, time_ns: int) -> tuple[int, int] | None:
    """The first frame that is known at or after a time; None if there is none."""
    seen: Iterator[tuple[int, int]] = (
        (s.frame, s.time_ns) for t in facts.transmissions for s in t.sightings
    )
    later = [(frame, at) for frame, at in seen if at >= time_ns]
    later += [(r.frame, r.time_ns) for r in facts.roles if r.time_ns >= time_ns and r.frame]
    return min(later, default=None)


def _roles(story: _Story, roles: Sequence[RoleReport]) -> None:
    """What the heartbeats say: a device stands by, falls silent, takes over."""
    last: dict[str, RoleReport] = {}
    for report in roles:
        before = last.get(report.device)
        if before is not None and before.active and not report.active:
            why = ", told to stand by" if report.resigned else ""
            text = f"{report.device} is active no more{why}: its first heartbeat as standby"
            story.tell(report.frame, report.time_ns / 1e9, text)
        last[report.device] = report
    for report, other in _takeovers(roles):
        text = f"takeover: first heartbeat of {report.device} as the active device"
        story.tell(report.frame, report.time_ns / 1e9, text)
        if other is not None and other.active:
            text = f"last heartbeat of {other.device} before {report.device} took over"
            story.tell(other.frame, other.time_ns / 1e9, text)


def _takeovers(roles: Sequence[RoleReport]) -> Iterator[tuple[RoleReport, RoleReport | None]]:
    """First heartbeats as active after another device was, and that device's last one."""
    last: dict[str, RoleReport] = {}
    served = ""
    for report in roles:
        before = last.get(report.device)
        fresh = report.active and (before is None or not before.active)
        if fresh and served not in ("", report.device):
            yield report, last.get(served)
        if report.active:
            served = report.device
        last[report.device] = report


def _announcements(story: _Story, facts: Facts) -> None:
    """On shared segments: where an address moved, by gratuitous ARP."""
    told = set()
    for said in facts.announcements:
        new = (said.node, said.address) not in told
        after = story.start_s is not None and said.time_s >= story.start_s
        if said.outgoing and is_device(said.node) and new and after:
            told.add((said.node, said.address))
            text = f"{said.node} announces {said.address} at {said.mac} (gratuitous ARP)"
            story.tell(said.frame, said.time_s, text)


def _bytes(story: _Story, verdict: Verdict) -> None:
    """Last good byte and first byte after, by direction."""
    for direction in Direction:
        advances = verdict.connection.stream(direction).advances
        for before, after in pairwise(advances):
            if before.device != after.device:
                gap = (after.arrival.time_ns - before.arrival.time_ns) / 1e9
                text = f"{verdict.name}: last good byte {_TO[direction]}, number {before.offset}"
                story.at(before.arrival, f"{text}, by {before.device}")
                text = f"{verdict.name}: first byte after, {_TO[direction]}, by {after.device}"
                story.at(after.arrival, f"{text}, {gap:.3f} s after the last one")
                break
        else:
            if advances and verdict.outcome in _ENDED:
                text = f"{verdict.name}: last good byte {_TO[direction]}, number "
                story.at(advances[-1].arrival, f"{text}{advances[-1].offset}; none came after it")


def _reset(story: _Story, verdict: Verdict) -> None:
    if verdict.outcome != "RESET":
        return
    reset, arrival = min(verdict.connection.resets, key=lambda r: r[1].frame)
    because = f"{verdict.name}: reset because: {verdict.cause.text} [{verdict.cause.id}]"
    story.at(reset.origin, because)
    story.at(arrival, f"{verdict.name}: the reset reaches {arrival.node}, the session ends")


def _evidence(story: _Story, verdict: Verdict) -> None:
    """The frames the verdict names, where nothing is said of them yet; the last one says why."""
    why = f"{verdict.cause.text}" + (f" [{verdict.cause.id}]" if verdict.cause.id else "")
    shown = verdict.cause.evidence
    for evidence in shown:
        if not story.tells(evidence.frame, verdict.name):
            story.tell(evidence.frame, evidence.time_s, f"{verdict.name}: {evidence.text}")
    if not shown or verdict.outcome == "RESET":
        return
    how = f"{_ENDED[verdict.outcome]} because" if verdict.outcome in _ENDED else "lives on"
    if verdict.outcome != "CLOSED":
        story.tell(shown[-1].frame, shown[-1].time_s, f"{verdict.name}: {how}: {why}")


def _decisions(facts: Facts) -> Decisions:
    """What devices and fabric wrote down about single segments."""
    found: Decisions = {}
    for record in facts.records:
        seq = record.get("seq")
        if isinstance(seq, int):
            key = str(record.get("source")), str(record.get("destination")), SeqNum(seq)
            found.setdefault(key, []).append(record)
    return found


def _drops(verdict: Verdict, facts: Facts, decisions: Decisions) -> Iterator[tuple[Ending, str]]:
    """The first of each kind of loss: where, why, and how many there were."""
    connection = verdict.connection
    first: dict[tuple[Direction, Fate, str, str], Ending] = {}
    count: dict[tuple[Direction, Fate, str, str], int] = {}
    for transmission, direction in connection.transmissions:
        if facts.end_ns - transmission.last.time_ns < TAIL_NS:
            continue
        ending = connection.ending(transmission, facts.points)
        if ending.fate is Fate.DELIVERED:
            continue
        said = _said(ending, decisions)
        if ending.fate is Fate.DEVICE and connection.proxied and not said:
            continue  # a proxy takes all that is for it
        kind = direction, ending.fate, ending.node, said
        first.setdefault(kind, ending)
        count[kind] = count.get(kind, 0) + 1
    for key, ending in first.items():
        direction, _, _, said = key
        many = f" (the first of {count[key]} such)" if count[key] > 1 else ""
        where = {
            Fate.MISADDRESSED: f"refused here: {ending.node} has no such connection",
            Fate.LINK: f"dropped here: {ending.node} never received it",
            Fate.DEVICE: f"dropped here: it does not come out of {ending.node}",
            Fate.FABRIC: "dropped here: it does not come out of the fabric",
        }[ending.fate]
        yield ending, f"{verdict.name}: {where}, {_TO[direction]}{said}{many}"


def _said(ending: Ending, decisions: Decisions) -> str:
    """What took the segment, in the words of whoever took it."""
    segment = ending.last.segment
    key = str(segment.source), str(segment.destination), segment.seq
    for record in decisions.get(key, ()):
        its = record.get("node") == ending.node or record.get("node") == "fabric"
        if its and abs(float(str(record.get("time", 0))) - ending.last.time_s) < _AT_ONCE_S:
            why = record.get("counter") or record.get("cause") or record["what"]
            return f" ({record.get('node')}: {why})"
    return ""
