"""The run in plain words, for the terminal. Pure: result.json in, text out (rich markup)."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from emulator.lab.fleetstory import examples, of_fleet, summary
from emulator.lab.replay.account import flow_words, recording_words

_STYLE = {
    "SURVIVED": "bold green",
    "CLOSED": "green",
    "STALLED": "bold yellow",
    "TIMED_OUT": "bold red",
    "RESET": "bold red",
}
_MEANING = {
    "SURVIVED": "lived on",
    "CLOSED": "was closed in the regular way",
    "STALLED": "is open, but nothing gets through any more",
    "TIMED_OUT": "was given up by an end",
    "RESET": "was reset",
}
_HOW = {
    "force-standby": "was told to stand by",
    "power-off": "lost power",
    "process-crash": "crashed",
    "link-down": "lost its links",
    "heartbeats-lost": "was not heard any more by the other one, nor heard it",
}
_ADDRESSES = ("elastic-ip", "secondary-ip")


def story(result: dict[str, Any], folder: str) -> str:
    """What happened to each session, why, and where to look."""
    lines = [f"[bold]{escape(result['title'])}[/bold]  ({escape(result['scenario'])})", ""]
    if result["void"]:
        lines += [
            "[bold red]VOID[/bold red]: the lab itself disturbed this run: "
            f"{escape(result['void'])}.",
            "No network result follows from it.",
            "",
        ]
    recording = result.get("recording")
    if recording:
        lines += [*map(escape, recording_words(recording)), ""]
    lines += _failover(result["failover"])
    start = (result["failover"] or {}).get("triggered")
    fleet = [c for c in result["connections"] if of_fleet(c)]
    for connection in (c for c in result["connections"] if c not in fleet):
        lines += ["", *_connection(connection, start)]
        if recording and "recording" in connection:
            words = flow_words(connection, recording, result["failover"] is not None)
            lines += [f"  {escape(line)}" for line in words]
    if fleet:
        lines += ["", *summary(fleet)]
        for connection in examples(fleet):
            lines += ["", "One of them in full:", *_connection(connection, start)]
    lines += ["", f"Capture of every node, merged:  {escape(folder)}/run.pcapng"]
    lines += [f"The same as data:               {escape(folder)}/result.json"]
    return "\n".join(lines)


def _failover(failover: dict[str, Any] | None) -> list[str]:
    if failover is None:
        return ["No failover took place."]
    start = failover["triggered"]
    device, other = failover["device"], failover["new_active"] or "the other device"
    lines = [f"At 0.0 s the active device {device} {_HOW.get(failover['how'], 'failed')}."]
    change = "address change" if failover.get("mechanism") in _ADDRESSES else "route change"
    moved = [
        ("api_accepted", f"the cloud accepted the last {change}"),
        ("effective", f"the last {change} took effect"),
    ]
    if failover.get("mechanism") == "gratuitous-arp":
        moved = [("effective", f"{other} had announced every address (gratuitous ARP)")]
    steps = [
        ("takeover", f"{other} became active"),
        *moved,
        ("first_byte", f"the first byte passed by {other}"),
    ]
    seen = sorted((failover[key], text) for key, text in steps if failover[key] is not None)
    lines += [f"  {time - start:+8.3f} s  {text}" for time, text in seen]
    lines += [f"   not seen    {text}" for key, text in steps if failover[key] is None]
    if refusals := failover.get("refusals"):
        text = f"{refusals['calls']} calls to the cloud failed, the last one: {refusals['last']}"
        lines.append(f"  {escape(text)}")
    return lines


def _members(members: dict[str, Any]) -> str:
    """Where a returning client's connections went, and where they were expected to go."""
    before, after = (", ".join(members[key]) or "nowhere" for key in ("before", "after"))
    expected = members["expected"]
    note = "" if expected in (None, members["new"]) else f" (expected: the {expected} one)"
    return f"members: {before} before, {after} since{note}; {members['failed']} without an answer"


def _connection(connection: dict[str, Any], start: float | None) -> list[str]:
    outcome, count = connection["outcome"], connection["bytes"]
    style = _STYLE.get(outcome, "bold")
    expected = connection["expected"]
    note = "" if expected in (None, outcome) else f"  (expected {expected})"
    lines = [
        f"[bold]{connection['name']}[/bold]  [{style}]{outcome}[/{style}]{note}: "
        f"the session {_MEANING.get(outcome, '')}."
    ]
    cause = connection["cause"]
    label = cause["id"] or "why"
    lines.append(f"  {label}: {escape(cause['text'])}")
    blackout = [
        f"{connection['blackout_s'][key]:.3f} s to the {end}"
        for key, end in (("to_server", "server"), ("to_client", "client"))
        if connection["blackout_s"][key] is not None
    ]
    if blackout:
        lines.append(f"  blackout: {', '.join(blackout)}")
    lines.append(
        f"  bytes: {count['sent']} sent, {count['delivered']} delivered, "
        f"{count['missing']} missing, {count['repeated']} repeated, {count['altered']} altered"
    )
    program = connection["program"] or {}
    if requests := connection.get("requests"):
        slowest = requests["slowest_s"]
        lines.append(
            f"  requests: {requests['total']}, {requests['answered']} answered, "
            f"{requests['failed']} failed, {requests['open']} open at the end"
            + (f"; the slowest answer took {slowest:.3f} s" if slowest is not None else "")
        )
    if members := connection.get("members"):
        lines.append(f"  {escape(_members(members))}")
    lines += [f"  checked: {escape(text)}" for text in program.get("reports", ())]
    if program.get("ended"):
        after = program.get("ended_after_failover_s")
        when = f", {after:.1f} s after the failover" if after is not None else ""
        lines.append(f"  the program said{when}: {escape(program['ended'])}")
    for evidence in cause["evidence"]:
        when = f"{evidence['time'] - start:+.3f} s  " if start else ""
        lines.append(f"  frame {evidence['frame']:<6} {when}{escape(evidence['text'])}")
    return lines
