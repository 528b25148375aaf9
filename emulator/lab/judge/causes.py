"""The closed list of causes: what a verdict may name, each with its one line."""

from __future__ import annotations

CAUSES: dict[str, str] = {
    "snat-address-changed": "the server-side source address was the old device's own and did "
    "not move, so the server knows no connection from (or cannot reach) the new device",
    "route-never-moved": "the fabric went on delivering to the old device until the end",
    "asymmetric-route": "one direction had moved to the new device, the other had not",
    "mirror-channel-down": "the new device knew no flow, for the mirroring channel was down when "
    "the old one was last active",
    "no-flow-reset": "the new device knew no flow for the segment and reset the connection",
    "no-flow-dropped": "the new device knew no flow for the segment and dropped it silently",
    "old-active-answered": "the old device, no longer active, reset the connection",
    "idle-expired": "a device had let the flow expire for want of traffic",
    "source-dest-check": "the fabric dropped it: the interface's source/destination check is on",
    "mirror-lag": "the old device had acknowledged bytes that the new one did not hold yet",
    "state-lost": "a device had acknowledged bytes and not passed them on, and every device that "
    "may have had them has begun anew since",
    "vip-address-changed": "the new device gets the connection for another destination address "
    "than the old one did, so a mirrored flow cannot match",
    "security-group-denied": "no rule of an interface's security group allowed it",
    "security-group-lost-state": "the interface's security group did not know the connection, "
    "which began elsewhere or was idle too long, and dropped segments in the middle of it",
    "firewall-lost-state": "the same by a stateful firewall in the path",
    "address-unassigned": "the fabric delivered to nobody: the address had been taken from the old "
    "device and was not given to the new one",
    "split-brain": "both devices were active at the same time, each unheard by the other, and the "
    "connection came to the one that did not know it",
    "persistence-lost": "new connections of a client go to another pool member than before, for "
    "the new device has no persistence record of it",
    "load-balancer-pinned": "the load balancer went on sending the connection to a device whose "
    "health probes failed",
    "load-balancer-reset": "the load balancer itself reset the connection",
    "endpoint-gave-up": "an end's kernel stopped retransmitting: it waits no longer than that",
    "application-timer": "an end's program closed or aborted the connection for want of an answer",
    "unknown": "no rule fits what was seen; a bug to file, with the capture",
}
