"""What a recording was, beside what its replay came to: as data, and in words. Pure.

`recorded` is what `replay.json` in the run's folder has, made before the run; `with_replay`
joins it with what the two ends logged; `recording_words` and `flow_words` are for the story.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emulator.lab.replay.flows import CLIENT, SERVER, End, Flow

_APPLICATIONS = {
    20: "ftp-data", 21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 80: "http", 110: "pop3",
    143: "imap", 443: "https", 1433: "mssql", 1521: "oracle", 2404: "iec-104", 2575: "hl7",
    3306: "mysql", 3389: "rdp", 5432: "postgresql", 5900: "vnc", 6667: "irc", 8080: "http",
    9042: "cassandra",
}  # fmt: skip
_ENDED = {
    End.CLOSED: "closed in the regular way",
    End.HALF_CLOSED: "closed by one end only",
    End.RESET: "reset",
    End.STALLED: "open, with bytes nobody acknowledged",
    End.OPEN: "open when the recording ended",
}
RECORDED = "replay.json"  # in the run's folder
DIED = (End.RESET.value, End.STALLED.value)
_DIED_HOW = {End.RESET.value: "it was reset", End.STALLED.value: "it stalled"}
_LIVES = ("SURVIVED", "CLOSED")
Json = dict[str, Any]


def flow_recorded(flow: Flow, first_ns: int, last_ns: int) -> Json:
    """One flow as the recording has it; times in seconds after the recording's first frame."""
    end = flow.end(last_ns)
    to_server, to_client = flow.octets
    ended_ns = flow.reset_ns if end is End.RESET else flow.last_ns
    return {
        "number": flow.number,
        "application": _APPLICATIONS.get(flow.port, f"port {flow.port}"),
        "client": flow.client,
        "server": flow.server,
        "capture_point": flow.point or None,
        "frames": flow.frames,
        "bytes": {"to_server": to_server, "to_client": to_client},
        "started_s": _seconds(flow.first_ns, first_ns),
        "duration_s": _seconds(flow.last_ns, flow.first_ns),
        "last_byte_s": _seconds(flow.last_data_ns, first_ns) if flow.last_data_ns else None,
        "from_its_beginning": flow.syn >= 0,
        "not_captured": {
            "lost": sum(side.lost for side in flow.sides),
            "cut": sum(side.cut for side in flow.sides),
            "strange_segments": sum(side.strange for side in flow.sides),
        },
        "end": end.value,
        "ended_s": _seconds(ended_ns, first_ns),
        "reset_by": {CLIENT: "client", SERVER: "server"}.get(flow.reset_by),
    }


def _seconds(time_ns: int, since_ns: int) -> float:
    return round((time_ns - since_ns) / 1e9, 6)


def with_replay(found: Json, recorded: Json, records: Sequence[Mapping[str, object]]) -> Json:
    """result.json with `recording`, and in each connection `recording` and `replay`."""
    flows = {f"flow-{flow['number']}": flow for flow in recorded["flows"]}
    for connection in found["connections"]:
        flow = flows.get(connection["name"])
        if flow is not None:
            connection["application"] = flow["application"]
            connection["recording"] = flow
            connection["replay"] = _replayed(connection["name"], flow, records)
    begun = {connection["name"] for connection in found["connections"]}
    summary = {key: value for key, value in recorded.items() if key != "flows"}
    return {**found, "recording": {**summary, "not_begun": sorted(flows.keys() - begun)}}


def _replayed(name: str, flow: Json, records: Iterable[Mapping[str, object]]) -> Json:
    """What each end received and found right, of what the recording has."""
    own = [r for r in records if r.get("session") == name]
    wanted = {"to_server": flow["bytes"]["to_server"], "to_client": flow["bytes"]["to_client"]}
    right = {
        "to_server": _latest(own, ("server-progress", "over"), "server"),
        "to_client": _latest(own, ("progress", "over"), "client"),
    }
    over = {r.get("node") for r in own if r.get("what") == "over"}
    return {
        "right": {way: min(right[way], wanted[way]) for way in wanted},
        "probes": {way: max(0, right[way] - wanted[way]) for way in wanted},
        "complete": over == {"client", "server"},
    }


def _latest(records: Iterable[Mapping[str, object]], what: tuple[str, ...], node: str) -> int:
    counts = [
        int(str(r["received"])) for r in records if r["what"] in what and r.get("node") == node
    ]
    return max(counts, default=0)


def recording_words(recording: Json) -> list[str]:
    """Plain lines about the whole recording."""
    lines = [
        f"Recording {recording['file']}: {recording['frames']} frames in "
        f"{recording['duration_s']:.1f} s, {recording['replayed']} of {recording['flow_count']} "
        f"flows replayed at {recording['speed']:g} times the recorded pace."
    ]
    if recording["warning"]:
        lines.append(f"  warning: {recording['warning']}")
    if recording["failover_at_s"] is not None:
        lines.append(
            f"  failover at {recording['failover_at_s']:.3f} s of it "
            f"(after frame {recording['failover_after_frame']})"
        )
    if recording["not_begun"]:
        lines.append(f"  never begun: {', '.join(recording['not_begun'])}")
    return lines


def flow_words(connection: Json, recording: Json, failover: bool) -> list[str]:
    """Plain lines about one flow: what was, what is, what differs."""
    flow, replay = connection["recording"], connection["replay"]
    size = flow["bytes"]
    lines = [
        f"recorded: {flow['application']} {flow['client']} -> {flow['server']}, "
        f"{size['to_server']} bytes to the server, {size['to_client']} to the client "
        f"in {flow['duration_s']:.1f} s; {ended(flow)}",
        f"replayed: {replay['right']['to_server']} of {size['to_server']} bytes right at the "
        f"server, {replay['right']['to_client']} of {size['to_client']} at the client"
        + (", all of it" if replay["complete"] else ""),
    ]
    lines += _not_captured(flow)
    probes = replay["probes"]["to_client"]
    if probes:
        lines.append(f"  then {probes} bytes of ours there and back, to see whether it lives")
    lines.append(comparison(connection, recording, failover))
    return lines


def ended(flow: Json) -> str:
    """How it ended in the recording, in words."""
    text = _ENDED[End(flow["end"])]
    if flow["end"] == End.RESET.value:
        text += f" from the {flow['reset_by']}'s side"
    return f"{text} ({flow['ended_s']:.1f} s)"


def _not_captured(flow: Json) -> list[str]:
    gaps = flow["not_captured"]
    lines = []
    if gaps["lost"] or gaps["cut"]:
        lines.append(
            f"  {gaps['lost']} bytes missing in the recording, {gaps['cut']} cut off by its "
            "snapshot length: zeros stand for them"
        )
    if gaps["strange_segments"]:
        lines.append(f"  {gaps['strange_segments']} segments far out of sequence left out")
    return lines


def comparison(connection: Json, recording: Json, failover: bool) -> str:
    """Then and now in one sentence."""
    lives, died = connection["outcome"] in _LIVES, connection["recording"]["end"] in DIED
    how = _DIED_HOW.get(connection["recording"]["end"], "")
    if not failover:
        text = "lives" if lives else "dies"
        return f"Without a failover this session {text}."
    when = _when(recording)
    if died and lives:
        return f"This session, recorded when {how}, lives {when}."
    if died:
        return f"This session, recorded when {how}, dies again {when}."
    if lives:
        return f"This session, which lived in the recording, lives {when}."
    return f"This session, which lived in the recording, dies {when}."


def _when(recording: Json) -> str:
    now, then = recording["scenario"], recording["recorded_under"]
    if then is None:
        return f"under {now}"
    changes = recording["differences"]
    if changes is None:
        return f"under {now} (recorded under {then}, whose settings are not known)"
    if not changes:
        return f"under {now}, with the settings it was recorded under"
    words = [
        f"{c['setting']} is {_value(c['replayed'])}, not {_value(c['recorded'])}" for c in changes
    ]
    return f"when {'; '.join(words)}  ({now}; recorded under {then})"


def _value(value: Any) -> str:
    if value in (None, [], {}):
        return "nothing" if value is None else "empty"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
