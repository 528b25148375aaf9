"""What can go wrong behind a scenario's back, just before its failover.

Each function does one thing to a running lab that no scenario file tells of, as a colleague
at the console, another tool or a broken cable would. The judge is not told either: it has
the captures, the journals and the fabric's log. `mirrorlab run --behind NAME` and the
confusion matrix use them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from emulator.lab.channelfaults import inject
from emulator.lab.control_plane import OPERATOR
from emulator.lab.deployment import DEVICES
from emulator.lab.instance import Lab
from emulator.lab.settings.mirror_channel import MirrorChannel
from emulator.lab.wait import LabFault, wait_until
from netns.execute import NamespaceError, call_in, run
from netns.topology import API_PORT, ROUTER

_PATIENCE_S = 30.0
_LAG_BYTES = 200_000  # beyond what the slow link itself still delivers after a power-off


def source_dest_check_on(lab: Lab) -> None:
    """Somebody switches the source/destination check on, at the interface not yet in use."""
    _as_operator(
        lab,
        "modify_network_interface_attribute",
        NetworkInterfaceId=f"eni-{DEVICES[1]}-int",
        SourceDestCheck={"Value": True},
    )


def api_cut_off(lab: Lab) -> None:
    """The new active device's route request never arrives."""
    _router_drops(lab, f"iifname b-ha tcp dport {API_PORT}")


def standby_cleared(lab: Lab) -> None:
    """Somebody clears the connection table of the standby, which serves none after all."""
    lab.tmsh(DEVICES[1], "delete sys connection")
    wait_until("the standby to hold nothing", lambda: not _held(lab), timeout_s=_PATIENCE_S)


def mirror_ports_closed(lab: Lab) -> None:
    """The network between the devices stops carrying the mirroring channel, and both have
    noticed by the time of the failover. What a standby holds of proxied flows grows old."""
    inject(lab, MirrorChannel(fault="cut"))
    wait_until("the channel to be missed", lambda: _channel_is_down(lab), timeout_s=_PATIENCE_S)
    if _proxied(lab):
        wait_until("the standby to forget", lambda: not _held(lab), timeout_s=_PATIENCE_S)


def mirror_link_slow(lab: Lab) -> None:
    """The link between the devices becomes slower than the traffic, and some time passes. Of a
    fastL4 flow nothing is mirrored by then but its beginning."""
    inject(lab, MirrorChannel(fault="slow", bits_per_s=200_000))
    if _proxied(lab):
        wait_until(
            "the standby to lag", lambda: _lag_bytes(lab) > _LAG_BYTES, timeout_s=_PATIENCE_S
        )


def return_route_reverted(lab: Lab) -> None:
    """Another tool puts the servers' route back to the old device as soon as it has moved."""
    routes = [r for r in lab.scenario.cloud.routes if r.table == "rtb-backend" and r.move]
    if not routes:
        raise LabFault(f"{lab.scenario.name} has no route of the servers that moves, to put back")

    def revert() -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not _moved(lab, "rtb-backend"):
            if time.monotonic() > deadline:
                return  # it never moved: nothing to put back
            time.sleep(0.05)
        _as_operator(
            lab,
            "replace_route",
            RouteTableId="rtb-backend",
            DestinationCidrBlock=str(routes[0].destination),
            NetworkInterfaceId=f"eni-{DEVICES[0]}-int",
        )

    _meanwhile("another tool", revert)


def old_active_rejects(lab: Lab) -> None:
    """The device that stood by gets a packet filter that rejects what is not its own any more,
    instead of keeping silent about it."""
    rejecting = (
        "table ip rejecting { chain in { type filter hook prerouting priority -500; "
        "iifname ext tcp flags & (rst | syn) == 0 reject with tcp reset; }; }"
    )

    def reject() -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and lab.status(DEVICES[1]).get("role") != "active":
            time.sleep(0.05)
        run(lab.world.namespace(DEVICES[0]), ["nft", "-f", "-"], stdin=rejecting)

    _meanwhile("a packet filter", reject)


BEHIND: dict[str, Callable[[Lab], None]] = {
    "source-dest-check-on": source_dest_check_on,
    "api-cut-off": api_cut_off,
    "standby-cleared": standby_cleared,
    "mirror-ports-closed": mirror_ports_closed,
    "old-active-rejects": old_active_rejects,
    "mirror-link-slow": mirror_link_slow,
    "return-route-reverted": return_route_reverted,
}


def _meanwhile(name: str, work: Callable[[], None]) -> None:
    """In a thread that says nothing when the lab is taken down before it has come to its turn."""

    def alone() -> None:
        with contextlib.suppress(LabFault, NamespaceError, OSError):
            work()

    threading.Thread(target=alone, daemon=True, name=name).start()


def _as_operator(lab: Lab, call: str, **arguments: Any) -> None:
    """One call of the lab's own EC2 API, from its own namespace."""
    key, secret = OPERATOR
    url = f"http://{lab.world.interface('api', 'eth0').address}:{API_PORT}"

    def ask() -> None:
        session = boto3.Session(key, secret, region_name=lab.scenario.cloud.api.region)
        try:
            getattr(session.client("ec2", endpoint_url=url), call)(**arguments)
        except (BotoCoreError, ClientError) as error:
            raise LabFault(f"behind the scenario's back, {call}: {error}") from error

    call_in(lab.world.namespace("api"), ask)


def _router_drops(lab: Lab, match: str) -> None:
    rule = f"insert rule ip fabric forward {match} drop"
    run(lab.world.namespace(ROUTER), ["nft", *rule.split()])


def _channel_is_down(lab: Lab) -> bool:
    return all(lab.status(node).get("mirror_channel") == "down" for node in DEVICES)


def _proxied(lab: Lab) -> bool:
    return lab.scenario.virtual_server.type == "standard"


def _held(lab: Lab) -> int:
    flows = lab.status(DEVICES[1]).get("mirrored_flows")
    return flows if isinstance(flows, int) else 0


def _lag_bytes(lab: Lab) -> int:
    lag = lab.status(DEVICES[0]).get("mirror_lag")
    return int(lag.get("bytes", 0)) if isinstance(lag, dict) else 0


def _moved(lab: Lab, table: str) -> bool:
    """Whether a change of that route table to the other device took effect; the active one
    sets its own routes when it starts."""
    return any(
        record["what"] == "effective"
        and record.get("table") == table
        and DEVICES[1] in str(record.get("target"))
        for record in lab.fabric_log()
    )
