"""When each rule applies. Pure: a subject in, what is the matter and where out."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from emulator.lab.inputs.tree import Place
from emulator.lab.lint.subject import CLIENTS, SERVERS, Subject

Hit = tuple[str, Place]  # what is the matter, in one sentence, and where
NONE = ("", "none", "any6", "any", "::")
MIRROR_PORTS = range(1029, 1056)


def automap(s: Subject) -> Iterator[Hit]:
    server = s.scenario.virtual_server
    cloud = s.scenario.world == "cloud"
    alone = cloud or not s.scenario.onprem.floating_self_ips
    if s.asked and server.snat == "automap" and alone and s.scenario.failover is not None:
        yield (
            "mirroring is on and SNAT is automap: each device has a self IP of its own and none "
            "floats, so the server knows connections from an address that the new active device "
            "does not have",
            s.place("virtual_server.snat"),
        )


def elastic_ip(s: Subject) -> Iterator[Hit]:
    if s.asked and s.scenario.cloud.failover_via == "elastic-ip":
        yield (
            "mirroring is on and an elastic IP is re-associated at failover: the destination "
            "becomes another private address, which no mirrored flow has",
            s.place("cloud.elastic_ips"),
        )


def nlb(s: Subject) -> Iterator[Hit]:
    balancer = s.scenario.cloud.load_balancer
    if s.asked and balancer is not None and balancer.type == "nlb":
        yield (
            "mirroring is on behind a network load balancer: each target has an address of its "
            "own, and connections of an unhealthy target are reset",
            s.place("cloud.load_balancer"),
        )


def pinned(s: Subject) -> Iterator[Hit]:
    balancer = s.scenario.cloud.load_balancer
    if not s.asked or balancer is None or balancer.type == "nlb":
        return
    if balancer.policy.on_unhealthy.name == "KEEP":
        yield (
            f"mirroring is on behind a load balancer ({balancer.type}) that keeps established "
            "connections on an unhealthy target: they are not sent to the new active device",
            s.place("cloud.load_balancer"),
        )


def ports_filtered(s: Subject) -> Iterator[Hit]:
    if not s.asked:
        return
    peers = {"bigip-a:ha": IPv4Address("10.0.22.11"), "bigip-b:ha": IPv4Address("10.0.12.11")}
    if s.scenario.cloud.zones == "one":
        peers = {"bigip-a:ha": IPv4Address("10.0.12.12"), "bigip-b:ha": IPv4Address("10.0.12.11")}
    for name, group in s.scenario.cloud.security_groups.items():
        for interface in set(peers) & set(group.interfaces):
            allowed = any(
                rule.protocol in ("tcp", "all")
                and rule.ports[0] <= 1029 <= rule.ports[1]
                and peers[interface] in rule.cidr
                for rule in group.ingress
            )
            if not allowed:
                yield (
                    f"mirroring is on and security group {name} of {interface} does not allow TCP "
                    "1029 from the peer: the mirroring channel never comes up",
                    s.place(f"cloud.security_groups.{name}"),
                )
                return


def lockdown(s: Subject) -> Iterator[Hit]:
    mirrors = {d.mirror_ip for d in s.declared.devices} if s.declared is not None else set()
    for self_ip in s.self_ips:
        carries = self_ip.address is not None and str(self_ip.address.ip) in mirrors
        words = set(self_ip.allow)
        if not s.asked or not carries or words & {"all", "tcp:any", "tcp:0", "any"}:
            continue
        place = self_ip.allow_node.place if self_ip.allow_node is not None else self_ip.node.place
        if not any(word == f"tcp:{port}" for port in MIRROR_PORTS for word in words):
            yield (
                f"the self IP {self_ip.address} carries mirroring and its port lockdown does not "
                "name TCP 1029: the peer's ports 1029 to 1043 pass all the same, higher ones "
                "(more traffic groups) do not",
                place,
            )


def custom_1028(s: Subject) -> Iterator[Hit]:
    for self_ip in s.self_ips:
        if s.asked and "tcp:1028" in self_ip.allow and self_ip.allow_node is not None:
            yield (
                f"the port lockdown of {self_ip.address} names tcp:1028: the device then resets "
                "mirroring connections of the versions that use it",
                self_ip.allow_node.place,
            )


def no_mirror_address(s: Subject) -> Iterator[Hit]:
    for device in s.declared.devices if s.declared is not None else ():
        if s.asked and (device.mirror_ip or "") in NONE:
            yield (
                "this device has no mirror address: there is no mirroring channel, and nothing is "
                "mirrored whatever a virtual server asks for",
                device.mirror_place or device.node.place,
            )


def statemirror_off(s: Subject) -> Iterator[Hit]:
    db = s.declared.db if s.declared is not None else {}
    if s.asked and "statemirror.state" in db and db["statemirror.state"][0] == "disable":
        yield (
            "the virtual server asks for mirroring and statemirror.state is disabled: nothing is "
            "mirrored",
            db["statemirror.state"][1].place,
        )


def tls_not_secure(s: Subject) -> Iterator[Hit]:
    db = s.declared.db if s.declared is not None else {}
    secure = db.get("statemirror.secure", ("disable",))[0] == "enable"
    if s.asked and s.server is not None and s.server.tls and not secure:
        yield (
            "mirroring of a virtual server with TLS needs statemirror.secure enabled; a BIG-IP "
            "refuses to load this configuration otherwise (01071958:3)",
            s.place("virtual_server.mirroring"),
        )


def http(s: Subject) -> Iterator[Hit]:
    if s.asked and s.server is not None and s.server.http:
        yield (
            "mirroring is asked for on an HTTP virtual server: its connections are short and "
            "clients open new ones, mirroring costs more than it saves",
            s.place("virtual_server.mirroring"),
        )


def udp(s: Subject) -> Iterator[Hit]:
    for server in s.declared.servers if s.declared is not None else ():
        taken = s.server is None or server is s.server
        if taken and server.mirroring and server.protocol == "udp":
            yield (
                f"{server.name}: mirroring is asked for on a UDP virtual server: F5 recommends "
                "it for long-lived TCP only",
                server.places.get("virtual_server.mirroring", server.node.place),
            )


def standard(s: Subject) -> Iterator[Hit]:
    server = s.scenario.virtual_server
    http = s.server is not None and s.server.http
    if s.asked and server.type == "standard" and not http and server.commit == "async":
        yield (
            "mirroring is on for a standard (full-proxy) virtual server: the device acknowledges "
            "bytes itself, and what it has acknowledged and not yet mirrored is lost with it",
            s.place("virtual_server.type"),
        )


def idle(s: Subject) -> Iterator[Hit]:
    server = s.scenario.virtual_server
    if 0 < server.idle_timeout_s <= s.failover_s:
        yield (
            f"the idle time-out is {server.idle_timeout_s} s and the failover takes "
            f"{s.failover_s:g} s at least: a connection can expire during it",
            s.place("virtual_server.idle_timeout_s"),
        )


def filter_idle(s: Subject) -> Iterator[Hit]:
    for name, group in s.scenario.cloud.security_groups.items():
        limit = group.tcp_established_timeout_s
        if limit is not None and limit < s.scenario.virtual_server.idle_timeout_s:
            yield (
                f"security group {name} forgets an idle connection after {limit:g} s, the virtual "
                f"server after {s.scenario.virtual_server.idle_timeout_s} s",
                s.place(f"cloud.security_groups.{name}"),
            )


def filter_strict(s: Subject) -> Iterator[Hit]:
    """A filter in front of the devices' data interfaces that has not seen connections begin."""
    scenario = s.scenario
    if not s.asked or scenario.failover is None:
        return
    firewall = scenario.cloud.firewall
    if firewall is not None and firewall.lost_state == "strict":
        yield (
            "mirroring is on and the firewall in front of the new active device has not seen the "
            "connections begin: it drops them, whatever the device knows",
            s.place("cloud.firewall"),
        )
    for name, group in scenario.cloud.security_groups.items():
        data = any(i.startswith("bigip-") and not i.endswith(":ha") for i in group.interfaces)
        open_ = any(r.protocol == "all" and r.cidr.prefixlen == 0 for r in group.ingress)
        if data and not open_:
            how = "drops them" if group.lost_state == "strict" else "drops those it has no rule for"
            yield (
                f"mirroring is on and security group {name} of the new active device has not seen "
                f"the connections begin: it {how}",
                s.place(f"cloud.security_groups.{name}"),
            )


def not_mirrored(s: Subject) -> Iterator[Hit]:
    server = s.scenario.virtual_server
    if not s.asked and not server.loose_initiation and s.scenario.failover is not None:
        yield (
            "mirroring is not asked for: the new active device knows no connection of the old one",
            s.place("virtual_server.mirroring"),
        )


def loose(s: Subject) -> Iterator[Hit]:
    server = s.scenario.virtual_server
    if not server.loose_initiation or s.scenario.failover is None:
        return
    mirrored = server.mirroring
    floats = s.scenario.world == "onprem" and s.scenario.onprem.floating_self_ips
    if not mirrored and server.snat == "automap" and not floats:
        yield (
            "loose initiation takes a connection up in the middle, and with SNAT automap from "
            "another address than the server knows",
            s.place("virtual_server.snat"),
        )
    if not mirrored and len(server.pool) > 1:
        yield (
            "loose initiation takes a connection up in the middle and chooses a member anew, of "
            f"{len(server.pool)}",
            s.place("virtual_server.pool"),
        )


def persistence(s: Subject) -> Iterator[Hit]:
    if s.declared is None or s.server is None or s.server.persistence is None:
        return
    found = s.declared.persistences.get(s.server.persistence)
    pool = s.scenario.virtual_server.pool
    if len(pool) > 1 and s.asked and not (found is not None and found.mirror):
        yield (
            "connections are mirrored and persistence records are not: new connections of a "
            "client may reach another member after the failover",
            s.place("virtual_server.persistence"),
        )


def silent(s: Subject) -> Iterator[Hit]:
    if not s.scenario.devices.reject_unmatched:
        yield (
            "tm.rejectunmatched is off: segments without a flow are dropped in silence, so ends "
            "do not learn that their connection is lost",
            s.place("devices.reject_unmatched"),
        )


def route_stays(s: Subject) -> Iterator[Hit]:
    scenario, cloud = s.scenario, s.scenario.cloud
    by_route = cloud.failover_via == "route" and cloud.load_balancer is None
    server = scenario.virtual_server
    destination = server.destination
    if scenario.world != "cloud" or not by_route or scenario.failover is None:
        return
    if server.type == "forwarding":  # clients address the backends themselves
        if not s.moves(SERVERS[server.pool[0]], "rtb-client"):
            yield (
                f"no range that a failover moves has the subnet of {server.pool[0]}, which clients "
                "of the forwarding virtual server address",
                s.place("cloud.routes"),
            )
    elif not cloud.elastic_ips and not s.moves(destination, "rtb-client"):
        yield (
            f"no range that a failover moves has the virtual server's address {destination}",
            s.place("cloud.routes"),
        )


def snat_stays(s: Subject) -> Iterator[Hit]:
    scenario = s.scenario
    server, moved = scenario.virtual_server, scenario.cloud.failover_via == "secondary-ip"
    if scenario.world != "cloud" or server.snat != "pool" or scenario.failover is None:
        return
    for address in server.snat_pool:
        secondary = moved and address in scenario.cloud.secondary_ips
        if not secondary and not s.moves(address, "rtb-backend"):
            yield (
                f"the SNAT address {address} is in no range that a failover moves: the servers' "
                "answers go on to the device that was active",
                s.place("virtual_server.snat_pool"),
            )
            return


def no_way_back(s: Subject) -> Iterator[Hit]:
    scenario = s.scenario
    if scenario.world != "cloud" or scenario.virtual_server.snat != "none":
        return
    if not s.moves(CLIENTS, "rtb-backend") and scenario.failover is not None:
        led = s.led(CLIENTS, "rtb-backend")
        yield (
            "without SNAT the servers answer the client itself, and "
            + ("that route does not move" if led else "no route leads that through a device"),
            s.place("virtual_server.snat"),
        )


def next_hop(s: Subject) -> Iterator[Hit]:
    failover = s.declared.failover if s.declared is not None else None
    for group in failover.ranges if failover is not None else ():
        masked = [hop for hop in group.hops if "/" in hop]
        if masked:
            yield (
                f"next hop {masked[0]} of range {group.range} has a prefix length: the extension "
                "compares it with its own addresses as text, so it never matches",
                group.place,
            )
        elif len(group.hops) == 1:
            yield (
                f"range {group.range} has one next hop, {group.hops[0]}: only the device that has "
                "it can take the route",
                group.place,
            )


def failover_off(s: Subject) -> Iterator[Hit]:
    failover = s.declared.failover if s.declared is not None else None
    if failover is not None and not failover.routes_enabled and not failover.addresses_enabled:
        yield (
            "neither failoverRoutes nor failoverAddresses is enabled: the extension moves nothing",
            failover.node.place,
        )


def no_group(s: Subject) -> Iterator[Hit]:
    group = s.server.traffic_group if s.server is not None else None
    short = (group or "").rsplit("/", 1)[-1]
    if s.asked and short in ("none", "local-only", "traffic-group-local-only"):
        yield (
            "the virtual server's address is in no floating traffic group: mirroring works per "
            "traffic group, so there is no channel for it",
            s.place("virtual_server.destination"),
        )


def channel(s: Subject) -> Iterator[Hit]:
    fault = s.scenario.mirror_channel
    if fault is not None:
        yield (f"the mirroring channel has a fault: {fault.fault}", s.place("mirror_channel"))
