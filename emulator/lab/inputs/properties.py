"""Properties of the inputs that set nothing here, and why, as data. Pure.

What is in no table and read by no reader is listed as not emulated, with the words of
`ledger.UNKNOWN`.
"""

from __future__ import annotations

from emulator.lab.inputs.ledger import Category

Table = dict[str, tuple[Category, str]]
_I, _N, _U = Category.IGNORED, Category.NOT_EMULATED, Category.UNDERSTOOD
_REMARK = (_I, "a remark")
_PLACE_IN_CONFIG = (_I, "where the object stands in the configuration, no behaviour")


def _rows(category: Category, text: str, *names: str) -> Table:
    return dict.fromkeys(names, (category, text))


REMARKS: Table = _rows(
    *_REMARK,
    "description",
    "label",
    "remark",
    "id",
    "updateMode",
    "schemaVersion",
    "$schema",
) | _rows(
    *_PLACE_IN_CONFIG,
    "app-service",
    "partition",
    "creation-time",
    "last-modified-time",
    "vs-index",
    "traffic-group-index",
    "unit-id",
    "defaultRouteDomain",
    "template",
    "optimisticLockKey",
    "creation_time",
    "inherited-traffic-group",
)

# ltm virtual, by property
VIRTUAL: Table = REMARKS | {
    "auto-lasthop": (_N, "a device here routes by its routing table, not back to the last hop"),
    "rules": (_N, "iRules do not run: what they would change, choose or reject does not happen"),
    "policies": (_N, "local traffic policies do not run"),
    "vlans": (_I, "traffic comes in by the external VLAN, there is no other here"),
    "vlans-enabled": (_I, "traffic comes in by the external VLAN, there is no other here"),
    "vlans-disabled": (_I, "traffic comes in by the external VLAN, there is no other here"),
    "connection-limit": (_N, "no limit of connections here"),
    "rate-limit": (_N, "no limit of new connections here"),
    "rate-limit-mode": (_N, "no limit of new connections here"),
    "rate-limit-dst-mask": (_I, "belongs to rate-limit"),
    "rate-limit-src-mask": (_I, "belongs to rate-limit"),
    "nat64": (_N, "IPv6 is not emulated"),
    "fallback-persistence": (_N, "only the first persistence profile counts here"),
    "last-hop-pool": (_N, "a device here routes by its routing table"),
    "clone-pools": (_N, "no copies of the traffic are made"),
    "fw-enforced-policy": (_N, "no firewall policy on the virtual server"),
    "security-log-profiles": (_I, "logging changes nothing of a connection"),
    "security-nat-policy": (
        _N,
        "no NAT policy: addresses are translated by the pool and SNAT only",
    ),
    "metadata": _REMARK,
    "service-down-immediate-action": (_N, "pool monitors are not emulated"),
    "gtm-score": (_I, "for DNS"),
    "cmp-enabled": (_N, "one TMM"),
    "eviction-protected": (_N, "no memory limits and no eviction"),
    "serverssl-use-sni": (_N, "TLS is not emulated: bytes pass as they are"),
    "ip-intelligence-policy": (_N, "no such policy runs"),
    "flow-eviction-policy": (_N, "no memory limits and no eviction"),
    "per-flow-request-access-policy": (_N, "no access policy runs"),
    "transparent-nexthop": (_N, "a device here routes by its routing table"),
    "address-status": (_I, "for route health injection"),
    "mobile-app-tunnel": (_N, "not TCP's matter here"),
}

POOL: Table = REMARKS | {
    "monitor": (_N, "no monitors: members are always up"),
    "monitors": (_N, "no monitors: members are always up"),
    "load-balancing-mode": (_N, "members are taken round robin"),
    "loadBalancingMode": (_N, "members are taken round robin"),
    "min-active-members": (_N, "no priority groups"),
    "minimumMembersActive": (_N, "no priority groups"),
    "minimumMonitors": (_N, "no monitors: members are always up"),
    "service-down-action": (_N, "no monitors: members are always up"),
    "serviceDownAction": (_N, "no monitors: members are always up"),
    "reselectTries": (_N, "a member is chosen once"),
    "reselect-tries": (_N, "a member is chosen once"),
    "slow-ramp-time": (_N, "no monitors: members are always up"),
    "slowRampTime": (_N, "no monitors: members are always up"),
    "allowNATEnabled": (_I, "the lab's pool allows NAT"),
    "allowSNATEnabled": (_N, "the lab's pool allows SNAT"),
    "allow-snat": (_N, "the lab's pool allows SNAT"),
    "allow-nat": (_I, "the lab's pool allows NAT"),
}

_PVA = "the lab has no such hardware: what a packet meets is the same with it (see fidelity.md)"
FASTL4: Table = (
    REMARKS
    | _rows(
        _N,
        _PVA,
        "pva-acceleration",
        "pvaAcceleration",
        "pva-offload-state",
        "pva-dynamic-client-packets",
        "pva-dynamic-server-packets",
        "pva-flow-aging",
        "pva-flow-evict",
        "pva-offload-dynamic",
        "pva-offload-initial-priority",
        "pva-dynamic-client-packets",
        "software-syn-cookie",
    )
    | _rows(
        _N,
        "a half-open flow lives as long as the idle time-out",
        "tcp-handshake-timeout",
        "tcpHandshakeTimeout",
        "clientTimeout",
        "client-timeout",
        "late-binding",
    )
    | _rows(
        _N,
        "5 s, as by default",
        "tcp-close-timeout",
        "tcpCloseTimeout",
        "tcp-time-wait-timeout",
    )
    | _rows(
        _N,
        "an idle flow that ends is always reset on both sides",
        "reset-on-timeout",
        "resetOnTimeout",
    )
    | _rows(
        _N,
        "no SYN cookies",
        "syn-cookie-enable",
        "synCookieEnable",
        "syn-cookie-whitelist",
        "synCookieWhitelist",
        "synCookieAllowlist",
        "hardware-syn-cookie",
        "syn-cookie-mss",
    )
    | _rows(
        _N,
        "the device sends no keep-alives of its own",
        "keep-alive-interval",
        "keepAliveInterval",
    )
    | _rows(
        _N,
        "segments pass with the ends' own options and sizes",
        "mss-override",
        "maxSegmentSize",
        "tcp-timestamp-mode",
        "tcp-wscale-mode",
        "tcp-strip-sack",
        "tcp-generate-isn",
        "ip-tos-to-client",
        "ip-tos-to-server",
        "ip-df-mode",
        "ip-ttl-mode",
        "ip-ttl-v4",
        "ip-ttl-v6",
        "link-qos-to-client",
        "link-qos-to-server",
        "reassemble-fragments",
        "rtt-from-client",
        "rtt-from-server",
        "priority-to-client",
        "priority-to-server",
    )
    | _rows(
        _I,
        "no such traffic here",
        "explicit-flow-migration",
        "server-sack",
        "server-timestamp",
        "timeout-recovery",
        "other-pva-clientpkts-threshold",
        "receive-window-size",
        "server-rack",
    )
)

TCP_PROFILE = (
    "the device's TCP is Linux's: its timers, windows and congestion control are the kernel's"
)

PERSISTENCE: Table = REMARKS | {
    "timeout": (_N, "records do not expire during a run"),
    "duration": (_N, "records do not expire during a run"),
    "mask": (_N, "by the whole client address"),
    "addressMask": (_N, "by the whole client address"),
    "map-proxies": (_I, "one client here"),
    "match-across-pools": (_I, "one pool here"),
    "match-across-services": (_I, "one virtual server here"),
    "matchAcrossPools": (_I, "one pool here"),
    "match-across-virtuals": (_I, "one virtual server here"),
    "matchAcrossVirtualPorts": (_I, "one virtual server here"),
    "matchAcrossVirtualAddresses": (_I, "one virtual server here"),
    "hash-algorithm": (_N, "by the whole client address"),
    "hashAlgorithm": (_N, "by the whole client address"),
    "override-connection-limit": (_N, "no limit of connections here"),
    "overrideConnectionLimit": (_N, "no limit of connections here"),
}

# Components of tmsh (a prefix is enough), AS3 and DO classes that bear on nothing here.
TMSH_COMPONENTS: dict[str, tuple[Category, str]] = {
    "command": (_N, "only create and modify are read: what else a script does is not done"),
    "ltm rule": (_N, "iRules do not run"),
    "ltm policy": (_N, "local traffic policies do not run"),
    "ltm monitor": (_N, "no monitors: members are always up"),
    "ltm node": (_I, "its address stands in the pool's members as well"),
    "ltm data-group": (_I, "for iRules and policies, which do not run"),
    "ltm profile": (_N, "the profile does nothing here: bytes pass as they are"),
    "ltm snat": (_N, "SNAT lists are not emulated, only a virtual server's own SNAT"),
    "ltm nat": (_N, "NATs are not emulated"),
    "ltm persistence": (_N, "persistence is not emulated"),
    "ltm": (_N, "this lab has no such object: it does nothing here"),
    "net vlan": (_I, "the lab's device has an external, an internal and an HA interface, untagged"),
    "net route-domain": (_I, "one route domain"),
    "net route": (_N, "the lab's devices have routes of their own, which lead where they must"),
    "net self-allow": (_N, "the lab's data self IPs allow nothing but what K13250 exempts"),
    "net stp": (_I, "no bridges between the devices here"),
    "net fdb": (_I, "no static forwarding entries"),
    "net interface": (_I, "the lab's links are virtual"),
    "net trunk": (_I, "the lab's links are virtual"),
    "net tunnels": (_N, "no tunnels"),
    "net dag-globals": (_I, "one TMM"),
    "net": (_N, "this lab's network has no such object"),
    "cm trust-domain": (_I, "the lab's two devices trust each other"),
    "cm key": (_I, "the lab's two devices trust each other"),
    "cm cert": (_I, "the lab's two devices trust each other"),
    "cm device-group": (
        _I,
        "the lab's two devices are one device group, and have one configuration",
    ),
    "cm": (_N, "this lab's pair has no such object"),
    "sys": (_I, "management of the device, no behaviour of a connection"),
    "auth": (_I, "who may log in, no behaviour of a connection"),
    "cli": (_I, "the command line, no behaviour of a connection"),
    "apm": (_N, "no access policies"),
    "asm": (_N, "no application security"),
    "pem": (_N, "no policy enforcement"),
    "analytics": (_I, "statistics"),
    "security": (_N, "no firewall, DoS or bot policies"),
    "gtm": (_I, "DNS answers, before a connection"),
    "ilx": (_N, "iRules LX do not run"),
    "vcmp": (_I, "one guest's configuration counts"),
    "api-protection": (_N, "no API protection"),
    "wam": (_N, "no acceleration"),
    "wom": (_N, "no acceleration"),
}

AS3_CLASSES: dict[str, tuple[Category, str]] = {
    "Monitor": (_N, "no monitors: members are always up"),
    "TCP_Profile": (_N, TCP_PROFILE),
    "iRule": (_N, "iRules do not run"),
    "Endpoint_Policy": (_N, "local traffic policies do not run"),
    "Certificate": (_N, "TLS is not emulated: bytes pass as they are"),
    "CA_Bundle": (_N, "TLS is not emulated: bytes pass as they are"),
    "TLS_Server": (_N, "TLS is not emulated: bytes pass as they are"),
    "TLS_Client": (_N, "TLS is not emulated: bytes pass as they are"),
    "NAT_Policy": (_N, "no NAT policy: addresses are translated by the pool and SNAT only"),
    "Controls": (_I, "logging and tracing of the extension"),
    "Analytics_Profile": (_I, "statistics"),
    "Log_Publisher": (_I, "logging"),
    "Log_Destination": (_I, "logging"),
    "Security_Log_Profile": (_I, "logging"),
    "Data_Group": (_I, "for iRules and policies, which do not run"),
}

DO_CLASSES: dict[str, tuple[Category, str]] = {
    "VLAN": (_I, "the lab's device has an external, an internal and an HA interface, untagged"),
    "Route": (_N, "the lab's devices have routes of their own, which lead where they must"),
    "License": (_I, "no licences here"),
    "Provision": (_I, "LTM is what the lab's devices are"),
    "DNS": (_I, "no behaviour of a connection"),
    "NTP": (_I, "no behaviour of a connection"),
    "System": (_I, "no behaviour of a connection"),
    "User": (_I, "who may log in"),
    "Authentication": (_I, "who may log in"),
    "HTTPD": (_I, "management of the device"),
    "SSHD": (_I, "management of the device"),
    "SnmpAgent": (_I, "management of the device"),
    "ManagementRoute": (_I, "management of the device"),
    "ManagementIp": (_I, "management of the device"),
    "Analytics": (_I, "statistics"),
    "Disk": (_I, "management of the device"),
    "ConfigSync": (_I, "the lab's two devices have one configuration"),
    "DeviceTrust": (_I, "the lab's two devices trust each other"),
    "DeviceGroup": (_I, "the lab's two devices are one device group, and have one configuration"),
    "FailoverUnicast": (_U, "heartbeats between the devices: UDP 1026 on the lab's HA interfaces"),
    "FailoverMulticast": (_N, "heartbeats are unicast here"),
    "TrafficGroup": (_N, "one traffic group, no automatic failback, no MAC masquerade in a cloud"),
    "RouteDomain": (_I, "one route domain"),
    "Trunk": (_I, "the lab's links are virtual"),
    "Tunnel": (_N, "no tunnels"),
    "DagGlobals": (_I, "one TMM"),
}

# sys db: what else bears on failover and mirroring, and is not set here.
DB_NOT_EMULATED = {
    "statemirror.": "the lab's mirroring channel has its own, published defaults",
    "failover.": "the lab's network failover has its own, published defaults",
    "tm.": "not among the variables the lab's devices have",
    "arp.": "not among the variables the lab's devices have",
    "connection.": "not among the variables the lab's devices have",
    "snat.": "not among the variables the lab's devices have",
}


def of_component(component: str) -> tuple[Category, str] | None:
    """By the longest prefix of a tmsh component that is in the table."""
    words = component.split()
    for length in range(len(words), 0, -1):
        if found := TMSH_COMPONENTS.get(" ".join(words[:length])):
            return found
    return None
