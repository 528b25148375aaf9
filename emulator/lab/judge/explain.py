"""Why: from a connection's facts to a cause of the closed list, with frames to look at. Pure.

Every explanation starts from one transmission, the reset that was received or a segment
that was lost, and asks where it came from or where it ended. Journals and logs add the
device's or the fabric's own words; without them the captures must suffice.
"""

from __future__ import annotations

from dataclasses import replace

from emulator.lab.judge import fabricrules, mirrorrules
from emulator.lab.judge.causes import CAUSES
from emulator.lab.judge.endrules import GaveUp
from emulator.lab.judge.evidence import (
    Cause,
    Evidence,
    describe,
    first_by,
    last_delivered,
    moved_by_arp,
    with_shown,
)
from emulator.lab.judge.fabricrules import Finding
from emulator.lab.judge.facts import Connection, Direction, Ending, Facts, Fate
from emulator.lab.judge.lapses import lapse
from emulator.lab.judge.proxied import passed_on, stuck
from emulator.lab.judge.tracing import ROUTER, TAIL_NS, Sighting, Transmission, is_device, is_end

NO_FLOW = "No flow found for ACK"
ANSWER_NS = 1_000_000_000  # a reset that comes later than this answers nothing


def explain_reset(connection: Connection, facts: Facts) -> Cause:
    """Who reset the connection, in answer to what."""
    reset, arrival = min(connection.resets, key=lambda r: r[1].frame)
    origin = reset.origin
    trigger = _answered(connection, reset)
    evidence = [*last_delivered(connection, before=origin.frame)]
    if trigger is not None:
        what = f"{trigger.node} receives {describe(trigger)}"
        evidence.append(Evidence.of(trigger, what))
    verb = "answers with" if trigger is not None else "sends"
    evidence.append(Evidence.of(origin, f"{origin.node} {verb} a reset"))
    evidence.append(Evidence.of(arrival, f"the reset reaches {arrival.node}: the connection ends"))
    found = _who_reset(connection, facts, origin, trigger)
    if found.cause in ("unknown", "no-flow-reset") and _by_another_device(connection, origin):
        lag = mirrorrules.lagging(connection, facts)
        if lag is not None:
            found = replace(lag, text=f"{lag.text} {origin.node} reset it.")
    return with_shown(found, evidence)


def explain_loss(connection: Connection, facts: Facts) -> Cause:
    """Where the segments went that were never acknowledged.

    The state at the end counts: what was lost during the outage itself, before the fabric
    moved, is what every failover costs. So the last transmission of each direction tells.
    """
    lag = mirrorrules.lagging(connection, facts)
    if lag is not None:
        first = min(sighting.frame for sighting, _ in lag.shown)
        return with_shown(lag, last_delivered(connection, before=first))
    for direction in (Direction.TO_SERVER, Direction.TO_CLIENT):
        opened = connection.server is not None or connection.proxied  # else its SYN was lost
        if opened and connection.stream(direction).oldest_undelivered() is None:
            continue  # a lost acknowledgement of an end that waits for nothing tells nothing
        ending = (stuck if connection.proxied else _last_ending)(connection, facts, direction)
        if ending is not None and ending.fate is not Fate.DELIVERED:
            evidence = [
                *last_delivered(connection, before=ending.last.frame),
                Evidence.of(ending.last, f"{ending.fate.value}: {describe(ending.last)}"),
            ]
            return with_shown(_where_lost(connection, facts, direction, ending), evidence)
    gone = mirrorrules.state_lost(connection, facts)
    if gone is not None:
        return with_shown(gone, [])
    return Cause("unknown", "Bytes were not acknowledged, and no segment is seen to be lost.")


def explain_given_up(connection: Connection, facts: Facts, given: GaveUp) -> Cause:
    """An end's impatience, unless its segments were lost for good."""
    if given.for_good or mirrorrules.lagging(connection, facts) is not None:
        lost = explain_loss(connection, facts)
        if lost.id != "unknown":
            return replace(lost, text=f"{lost.text} {given.finding.text}")
    return with_shown(given.finding, [])


def _by_another_device(connection: Connection, origin: Sighting) -> bool:
    return is_device(origin.node) and origin.node != connection.first_device


def explain_survival(connection: Connection, facts: Facts) -> Cause:
    """Why it lived, where there was something to live through."""
    switch = connection.switch(Direction.TO_SERVER)
    if switch is None:
        return Cause(None, "One device carried the connection from beginning to end.")
    device = switch.device or "the other device"
    if not connection.carried_by(device):
        return Cause(
            None,
            f"{connection.first_device} carried the connection from beginning to end. Segments "
            f"that went to {device} meanwhile were sent again.",
            (Evidence.of(switch.origin, f"first segment that goes to {device}, and no further"),),
        )
    how = _how_known(connection, facts, device)
    same = ""
    if connection.server is not None:
        same = f", and the server still saw {connection.server.remote} as its peer"
    return Cause(
        None,
        f"{device} took over: {how}{same}.",
        (
            *last_delivered(connection, before=switch.origin.frame),
            *moved_by_arp(connection, facts, device),
            Evidence.of(switch.origin, f"first segment that goes by {device}"),
            *first_by(connection, device),
        ),
    )


def _who_reset(
    connection: Connection, facts: Facts, origin: Sighting, trigger: Sighting | None
) -> Finding:
    node = origin.node
    if is_device(node):
        return _device_reset(connection, facts, origin, trigger)
    if node == ROUTER:
        return fabricrules.fabric_reset(facts, origin)
    server = connection.server
    if server is not None and node == server.node and trigger is not None:
        source = trigger.segment.source
        if source != server.remote:
            return Finding(
                "snat-address-changed",
                f"The server's connection is with {server.remote}. The new active device sent "
                f"the same conversation on from {source}, where {node} has no connection, so "
                f"{node} reset it.",
            )
    return Finding("unknown", f"{node} reset the connection; no rule explains why.")


def _device_reset(
    connection: Connection, facts: Facts, origin: Sighting, trigger: Sighting | None
) -> Finding:
    node = origin.node
    relayed = passed_on(connection, origin) if connection.proxied else None
    if relayed is not None:
        found = _who_reset(connection, facts, relayed.origin, _answered(connection, relayed))
        return replace(found, text=f"{found.text} {node} reset the other side for it.")
    decision = facts.decision_on(trigger) if trigger else None
    why = str(decision["cause"]) if decision and "cause" in decision else ""
    said = f' ("{why}")' if why else ""
    if why not in ("", NO_FLOW):
        return Finding("unknown", f"{node} reset the connection{said}.")
    if _expired(facts, node, connection):
        then = f"reset what came{said}" if trigger else "reset both ends"
        return Finding("idle-expired", f"{node} had let the flow expire, then {then}.")
    if node == connection.first_device:
        if facts.served(node, origin):
            return _forgotten(connection, facts, origin, f"{node}, still the active device,", said)
        return Finding(
            "old-active-answered",
            f"{node}, which had carried the connection and was active no more, reset it{said}.",
        )
    changed = fabricrules.address_changed(connection, trigger) if trigger else None
    if changed is not None:
        return replace(changed, text=f"{changed.text} It reset the connection{said}.")
    if not connection.carried_by(node, before=origin.frame):
        text = (
            f"{node} became the active device, found no flow for the segment it received, "
            f"and reset the connection{said}."
        )
        return mirrorrules.not_mirrored(connection, facts, Finding("no-flow-reset", text))
    return _forgotten(connection, facts, origin, f"{node}, which had carried it,", said)


def _forgotten(
    connection: Connection, facts: Facts, origin: Sighting, otherwise: str, said: str
) -> Finding:
    """By a device that had carried the connection: whether it is known how it came to forget."""
    node = origin.node
    if how := lapse(connection, facts, node, origin.frame):
        text = f"{node} {how}, found no flow for the segment it received, and reset it{said}."
        return Finding("no-flow-reset", text)
    return Finding("unknown", f"{otherwise} reset the connection{said}.")


def _where_lost(
    connection: Connection, facts: Facts, direction: Direction, ending: Ending
) -> Finding:
    segment, node = ending.last.segment, ending.node
    switched = connection.switch(Direction.TO_SERVER) is not None
    old = connection.first_device
    match ending.fate:
        case Fate.MISADDRESSED:
            if connection.server is not None and node == connection.server.node:
                return Finding(
                    "snat-address-changed",
                    f"Segments reach {node} from {segment.source} instead of "
                    f"{connection.server.remote}, which its connection is with.",
                )
        case Fate.LINK | Fate.DEVICE if node == old and is_device(node):
            return _lost_at_old(connection, facts, direction, ending, switched)
        case Fate.DEVICE:
            changed = fabricrules.address_changed(connection, ending.last)
            if changed is not None:
                return replace(changed, text=f"{changed.text} It dropped the segments in silence.")
            decision = facts.decision_on(ending.last)
            said = f" (journal: {decision['what']})" if decision else ""
            text = f"{node} received the segments and neither passed them on nor answered{said}."
            return mirrorrules.not_mirrored(connection, facts, Finding("no-flow-dropped", text))
        case Fate.FABRIC:
            return _lost_in_fabric(connection, facts, ending)
        case _:
            pass
    return Finding(
        "unknown", f"Segments were last seen at {ending.last.point}; no rule explains why."
    )


def _lost_at_old(
    connection: Connection, facts: Facts, direction: Direction, ending: Ending, switched: bool
) -> Finding:
    """Segments for the device that had carried the connection, after it stopped to."""
    node, target = ending.node, ending.last.segment.destination.address
    if facts.served(node, ending.last):
        if how := lapse(connection, facts, node, ending.last.frame):
            return Finding("no-flow-dropped", f"{node} {how}, and dropped the segments in silence.")
        return Finding(
            "unknown", f"{node} lost the segments, although it was the active device still."
        )
    moved = switched or connection.switch(Direction.TO_CLIENT) is not None
    # Whether or not the server's side, which no load balancer leads, has moved meanwhile.
    clients = direction is Direction.TO_SERVER and not switched
    held = fabricrules.pinned(facts, node, ending.last) if clients else None
    if held is not None:
        return held
    owned = {p.address for p in facts.points.values() if p.name.startswith(f"{node}:")}
    owned |= {p.address for p in facts.points.values() if p.peer.startswith(f"{node}:")}
    if not moved and direction is Direction.TO_CLIENT and str(target) in owned:
        return Finding(
            "snat-address-changed",
            f"Only the server has something to say. It answers to {target}, an address of "
            f"{node}'s own that cannot move with the traffic.",
        )
    if not moved and _fabric_moved_after(facts, ending.last):
        return Finding(
            "unknown", f"{node} got the segments before the fabric moved, none came after."
        )
    if not moved:
        return Finding(
            "route-never-moved",
            f"Until the end the fabric delivered the connection's segments to {node}, which "
            f"no longer served it; none went to the other device.{_announced(facts, node, target)}",
        )
    if switched and str(target) in owned:
        return Finding(
            "snat-address-changed",
            f"The client's segments moved to the other device, but the server answers to "
            f"{target}, an address of {node}'s own that cannot move with the traffic.",
        )
    way = "server's" if direction is Direction.TO_CLIENT else "client's"
    return Finding(
        "asymmetric-route",
        f"One direction moved to the other device; the {way} segments to {target} still go "
        f"to {node}.",
    )


def _announced(facts: Facts, old: str, address: object) -> str:
    """On a shared segment: whether the neighbours were told of the address's new place."""
    if not any(point.segment for point in facts.points.values()):
        return ""
    said = [a for a in facts.announcements if a.address == str(address)]
    moved = [a.frame for a in said if a.outgoing and is_device(a.node) and a.node != old]
    if not moved:
        return f" No other device ever announced {address} by gratuitous ARP."
    heard = [a for a in said if not a.outgoing and (a.node == ROUTER or is_end(a.node))]
    return (
        ""
        if any(a.frame > moved[0] for a in heard)
        else f" The gratuitous ARP for {address} reached no neighbour."
    )


def _fabric_moved_after(facts: Facts, last: Sighting) -> bool:
    """Whether the fabric moved some connection to another device after this sighting: then
    the sender's next retransmission lay beyond the observation."""
    moves = [c.switch(Direction.TO_SERVER) for c in facts.connections]
    return any(m is not None and m.origin.frame > last.frame for m in moves)


def _lost_in_fabric(connection: Connection, facts: Facts, ending: Ending) -> Finding:
    if (found := fabricrules.taken(connection, facts, ending)) is not None:
        return found
    if (found := fabricrules.unassigned(facts, ending.last)) is not None:
        return found
    point = ending.last.point.partition(":")[2]
    # The counter is that of the interface the segment came in by or was to leave by.
    target = str(ending.last.segment.destination.address)
    places = {point} | {
        p.name.partition(":")[2] for p in facts.points.values() if p.address == target
    }
    for record in facts.records_of("dropped"):
        kind, _, interface = str(record.get("counter", "")).partition("/")
        at_once = abs(float(str(record.get("time", 0))) - ending.last.time_s) < 1.0
        if at_once and kind in CAUSES and interface in places:
            return Finding(
                kind,
                f"The fabric received the segments by {point} and dropped them; its counter "
                f"{record['counter']} rose at that moment.",
            )
    return Finding("unknown", f"The fabric received the segments by {point} and passed none on.")


def _answered(connection: Connection, reset: Transmission) -> Sighting | None:
    """The segment a reset answers: the latest that came into its origin the other way round,
    if it came just before."""
    origin = reset.origin
    pair = (origin.segment.destination, origin.segment.source)
    found = None
    for transmission, _ in connection.transmissions:
        arrival = transmission.arrival(origin.node)
        if (
            arrival is not None
            and arrival.frame < origin.frame
            and origin.time_ns - arrival.time_ns < ANSWER_NS
            and (arrival.segment.source, arrival.segment.destination) == pair
            and (found is None or arrival.frame > found.frame)
        ):
            found = arrival
    return found


def _last_ending(connection: Connection, facts: Facts, direction: Direction) -> Ending | None:
    """Where the direction's last transmission ended; one at the captures' very end may still
    have been on its way."""
    for transmission, its in reversed(connection.transmissions):
        on_its_way = facts.end_ns - transmission.origin.time_ns < TAIL_NS
        if its is direction and not on_its_way:
            return connection.ending(transmission, facts.points)
    return None


def _how_known(connection: Connection, facts: Facts, device: str) -> str:
    client = str(connection.client.local)
    for record in facts.records_of("flow-restored", "flow-picked-up"):
        if record.get("node") == device and record.get("client") == client:
            if record["what"] == "flow-restored":
                return "it held the mirrored flow and restored it"
            return "it knew nothing of the flow and took it up in the middle (loose initiation)"
    return "it passed the connection's segments on with the same addresses"


def _expired(facts: Facts, device: str, connection: Connection) -> bool:
    """Whether the device's journal says that it let this flow expire."""
    client = str(connection.client.local)
    return any(
        record.get("node") == device
        and record.get("client") == client
        and "expired" in str(record.get("why"))
        for record in facts.records_of("flow-closed")
    )
