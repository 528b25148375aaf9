"""What the mirroring channel explains: bytes, or whole flows, the new device was not given. Pure.

`mirrorwatch` tells whether the channel was up, `proxied` what was acknowledged and not
mirrored; here that becomes a finding.
"""

from __future__ import annotations

from emulator.lab.judge.fabricrules import Finding
from emulator.lab.judge.facts import Connection, Direction, Facts
from emulator.lab.judge.lapses import begun_anew
from emulator.lab.judge.proxied import mirror_lag
from emulator.lab.judge.tracing import is_device


def not_mirrored(connection: Connection, facts: Facts, otherwise: Finding) -> Finding:
    """A device without the flow: had the other one a channel to give it by?"""
    old = connection.first_device
    down = facts.channel_down(old) if old is not None else None
    if down is None:
        return otherwise
    lost = [r for r in facts.records_of("mirror-channel-lost") if r.get("node") == old]
    said = f' (its journal: "{lost[-1].get("reason")}")' if lost else ""
    source = str(down.since.segment.source)
    drops = [r for r in facts.records_of("dropped") if r.get("source") == source]
    if drops:
        said += f" (fabric counter {drops[0]['counter']})"
    return Finding(
        "mirror-channel-down",
        f"{otherwise.text} It was not given the flow: the mirroring channel was down when {old} "
        f"was last active{said}.",
        (*otherwise.shown, (down.since, down.what)),
    )


def lagging(connection: Connection, facts: Facts) -> Finding | None:
    """Whether the new device lacks what the old one had acknowledged."""
    lag = mirror_lag(connection, facts) if connection.proxied else None
    if lag is None:
        return None
    first, old = connection.first_device, lag.old.segment.ack
    shown = [(lag.old, f"{lag.end} receives the old device's acknowledgement {old}")]
    if lag.new is not None:
        said = f"{lag.end} receives the new device's: only {lag.new.segment.ack}"
        shown.append((lag.new, said))
    what = f"{lag.octets} bytes of {lag.end}'s" if lag.octets else f"{lag.end}'s connection"
    how = "" if lag.new is not None else " Over the mirroring channel they never came."
    return Finding(
        "mirror-lag",
        f"{first} had acknowledged {what} that the new active device does not have: they were "
        f"not mirrored in time.{how}",
        tuple(shown),
    )


def state_lost(connection: Connection, facts: Facts) -> Finding | None:
    """Bytes that a proxy had acknowledged and not passed on before every device that may have
    had them began anew: their sender does not send them again, and nobody else can."""
    devices = sorted({p.partition(":")[0] for p in facts.points if is_device(p.partition(":")[0])})
    for direction in Direction if connection.proxied else ():
        oldest = connection.stream(direction).oldest_undelivered()
        told = [a for d in devices if (a := connection.acknowledged_by(d, direction)) is not None]
        if oldest is None or not told:
            continue
        ack, sighting = max(told, key=lambda a: a[0].octets_from(oldest.segment.seq))
        octets = ack.octets_from(oldest.segment.seq)
        last = 1 + max(r.frame for r in facts.roles) if facts.roles else 0
        anew = [begun_anew(facts, device, sighting.frame, last) for device in devices]
        if octets <= 0 or not devices or not all(anew):
            continue
        when = " and ".join(f"{r.device} in frame {r.frame}" for r in anew if r is not None)
        return Finding(
            "state-lost",
            f"{octets} bytes of {sighting.node}'s had been acknowledged to it and had not come to "
            "the other end. Since then every device has begun anew (the first heartbeats that "
            f"count from the beginning again: {when}), so nobody has them.",
            ((sighting, f"{sighting.node} receives the acknowledgement {ack}"),),
        )
    return None
