"""A scenario's control plane: what the API is seeded with, who may ask it, and what the
failover extension is told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from emulator.core.config import CloudFailover
from emulator.lab.settings.private_addresses import place
from emulator.lab.settings.scenario import Scenario
from emulator.wire.segment import Endpoint
from netns.topology import API_PORT, World

BUCKET = "mirrorlab-failover-state"
LABEL_TAG = "f5_cloud_failover_label"
OPERATOR = ("AKIAMIRRORLABOPERATR", "operator-of-this-lab-and-of-no-other-account")
_EXTRA = int(IPv4Address("100.64.0.0"))
_NIC_MAP = {"ext": "external", "int": "internal"}


def extra_routes(scenario: Scenario, device: str) -> dict[tuple[str, IPv4Network], str]:
    """The alien routes beside the scenario's own, towards a device's outer interface."""
    return {
        ("rtb-client", IPv4Network((_EXTRA + number * 256, 24))): f"eni-{device}-ext"
        for number in range(scenario.cloud.extra_routes)
    }


def with_addresses(scenario: Scenario, built: World, first: str, second: str) -> World:
    """The world with the scenario's elastic and secondary addresses, `first` being active."""
    cloud, outer = scenario.cloud, f"eni-{first}-ext"
    secondary = {a: f"eni-{first}-{place(a, cloud.zones)}" for a in cloud.secondary_ips}
    for elastic in cloud.elastic_ips:
        secondary[elastic.private[0]] = outer
        secondary[elastic.private[1]] = f"eni-{second}-ext"
    public = {elastic.public: (outer, elastic.private[0]) for elastic in cloud.elastic_ips}
    return replace(built, elastic_ips=public, secondary=secondary)


def expected_changes(scenario: Scenario) -> int:
    """How many changes of the fabric a complete failover makes."""
    cloud = scenario.cloud
    routes = sum(route.move for route in cloud.routes) + cloud.extra_routes
    moved = {"route": 0, "elastic-ip": len(cloud.elastic_ips)}
    return routes + 2 * moved.get(cloud.failover_via, len(cloud.secondary_ips))


def declaration(scenario: Scenario, built: World, devices: tuple[str, str]) -> dict[str, Any]:
    """The scenario's own Cloud Failover declaration, or one made to fit it."""
    cloud = scenario.cloud
    if cloud.declaration is not None:
        assert isinstance(cloud.declaration, dict), "files are read by scenario_file"
        return cloud.declaration
    tags = {LABEL_TAG: cloud.label}
    groups: dict[str, dict[str, Any]] = {}
    rows = [("rtb-client", destination, "ext") for _, destination in extra_routes(scenario, "")]
    rows += [(str(r.table), r.destination, str(r.interface)) for r in cloud.routes if r.move]
    for table, destination, interface in rows:
        group = groups.setdefault(table, {"scopingName": table, "scopingAddressRanges": []})
        hops = [str(built.interface(device, interface).address) for device in devices]
        static = {"discoveryType": "static", "items": hops}
        entry = {"range": str(destination), "nextHopAddresses": static}
        group["scopingAddressRanges"].append(entry)
    return {
        "class": "Cloud_Failover",
        "schemaVersion": "2.5.0",
        "environment": "aws",
        "externalStorage": {"scopingTags": tags},
        "failoverAddresses": {"enabled": True, "scopingTags": tags},
        "failoverRoutes": {"enabled": bool(groups), "routeGroupDefinitions": [*groups.values()]},
    }


def tags(scenario: Scenario, built: World, devices: tuple[str, str]) -> dict[str, dict[str, str]]:
    """The tags a deployment needs to be found by the extension.

    What is not to move lacks the tag that would make it move: `failover_via`.
    """
    via = scenario.cloud.failover_via
    label = {LABEL_TAG: scenario.cloud.label}
    found = {BUCKET: dict(label)}
    for device in devices:
        for name, role in _NIC_MAP.items():
            pairing = {"f5_cloud_failover_nic_map": role} if via == "secondary-ip" else {}
            found[f"eni-{device}-{name}"] = {**label, **pairing}
    for route in scenario.cloud.routes:
        hops = [str(built.interface(device, route.interface).address) for device in devices]
        found[str(route.table)] = {**label, "Name": str(route.table), "f5_self_ips": ",".join(hops)}
    for elastic in scenario.cloud.elastic_ips:
        name = f"eipalloc-{str(elastic.public).replace('.', '-')}"
        pair = ",".join(map(str, elastic.private))
        moving = {"f5_cloud_failover_vips": pair} if via == "elastic-ip" else {}
        found[name] = {**label, **moving}
    return found


def _key(device: str) -> tuple[str, str]:
    return f"AKIA{device.upper().replace('-', ''):X<16}", f"{device}-and-nobody-else"


def access(
    scenario: Scenario, built: World, device: str, devices: tuple[str, str]
) -> CloudFailover:
    """What a device's failover extension is told."""
    api = scenario.cloud.api
    key, secret = _key(device)
    if api.credentials == "unknown-key":
        key = "AKIANOBODYKNOWSTHISX"
    elif api.credentials == "wrong-secret":
        secret += "-mistyped"
    return CloudFailover(
        api=Endpoint(built.interface("api", "eth0").address, API_PORT),
        region=api.device_region or api.region,
        access_key=key,
        secret_key=secret,
        instance=f"i-{device}",
        declaration=declaration(scenario, built, devices),
        retry_s=api.retry_s,
    )


def fabric_config(scenario: Scenario, built: World, devices: tuple[str, str]) -> dict[str, Any]:
    """What the provider's two processes are told."""
    cloud = scenario.cloud
    keys = [(*reversed(_key(device)), device) for device in devices]
    return {
        "lab": built.lab,
        "zones": cloud.zones,
        "routes": [(t, str(d), target) for (t, d), target in built.routes.items()],
        "elastic_ips": [(str(p), t, str(a)) for p, (t, a) in built.elastic_ips.items()],
        "secondary": [(str(a), target) for a, target in built.secondary.items()],
        "propagation_delay_s": cloud.propagation_delay_s,
        "table_delay_s": cloud.table_delay_s,
        "api": cloud.api.model_dump(mode="json"),
        "bucket": BUCKET,
        "tags": tags(scenario, built, devices),
        "keys": [
            *((key, device, secret, cloud.api.denied_actions) for secret, key, device in keys),
            (OPERATOR[0], "operator", OPERATOR[1], ()),
        ],
    }


def aws_files(scenario: Scenario, built: World) -> Mapping[str, str]:
    """What the AWS CLI and boto3 read: file name -> content; nothing where there is no cloud."""
    if scenario.world != "cloud":
        return {}
    url = f"http://{built.interface('api', 'eth0').address}:{API_PORT}"
    return {
        "config": f"[default]\nregion = {scenario.cloud.api.region}\nendpoint_url = {url}\n"
        "output = json\ncli_pager =\nretry_mode = standard\n",
        "credentials": f"[default]\naws_access_key_id = {OPERATOR[0]}\n"
        f"aws_secret_access_key = {OPERATOR[1]}\n",
    }
