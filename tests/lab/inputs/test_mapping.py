"""What inputs become: the virtual server's settings, addresses, routes, devices."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.lab.inputs.mapping import Translation
from emulator.lab.inputs.tree import InputError
from emulator.lab.scenario_file import find, load
from emulator.lab.settings.scenario import Scenario
from tests.support.inputs import SAMPLES, failover, of_files, of_texts, service

TAGS = {"f5_cloud_failover_label": "x"}


def made(found: Translation) -> Scenario:
    assert found.scenario is not None, found.refusal
    return found.scenario


def routes(found: Translation) -> list[tuple[str, str, bool]]:
    return [(r.table, str(r.destination), r.move) for r in made(found).cloud.routes]


ARTICLE = ("article/as3.json", "article/cfe.json")
BASES = ("article/bigip_base-a.conf", "article/bigip_base-b.conf")


@pytest.mark.parametrize(
    "files",
    [ARTICLE, (*ARTICLE, *BASES), (*ARTICLE, "article/do.json"),
     ("article/bigip.conf", "article/cfe.json", *BASES), ("article/bigip.conf",)],
)  # fmt: skip
def test_the_articles_files_make_the_articles_scenario(files: tuple[str, ...]) -> None:
    """But for the SNAT pool's range, which no automap uses and no declaration of it names."""
    scenario, article = made(of_files(*files)), load(find("article"))
    server = scenario.virtual_server.model_copy(update={"persistence": None})  # AS3's default
    assert server == article.virtual_server
    assert (scenario.failover, scenario.sessions) == (article.failover, article.sessions)
    assert scenario.devices == article.devices
    assert scenario.cloud.routes == article.cloud.routes[:1]
    assert scenario.cloud.model_copy(update={"routes": article.cloud.routes}) == article.cloud


def test_the_variant_with_a_snat_pool_is_article_snat_pool() -> None:
    scenario = made(of_files("article/as3-snat-pool.json", "article/cfe-snat-pool.json", *BASES))
    other = load(find("article-snat-pool"))
    server = scenario.virtual_server.model_copy(update={"persistence": None})
    assert (server, scenario.cloud) == (other.virtual_server, other.cloud)


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("Service_L4", {}, {"type": "fastL4", "snat": "automap", "mirroring": False}),
        ("Service_TCP", {"mirroring": "L4"}, {"type": "standard", "mirroring": True}),
        ("Service_HTTP", {}, {"type": "standard"}),
        ("Service_Generic", {"snat": "none"}, {"type": "standard", "snat": "none"}),
        ("Service_L4", {"mirroring": "none", "snat": "auto"}, {"mirroring": False}),
    ],
)
def test_as3_services(kind: str, more: dict[str, Any], expected: dict[str, Any]) -> None:
    server = made(of_texts(as3=service(kind, **more))).virtual_server
    assert {key: getattr(server, key) for key in expected} == expected


FORWARD = """ltm virtual v {
    destination 0.0.0.0:0
    ip-forward
    ip-protocol any
    mask any
    mirror enabled
    profiles { loose { } }
    translate-address disabled
}
ltm profile fastl4 loose {
    loose-initialization enabled
}
"""
TO_SERVERS, TO_CLIENTS = ("rtb-client", "10.0.31.0/24"), ("rtb-backend", "10.0.1.0/24")


def test_a_forwarding_virtual_server_is_the_built_in_wildcard() -> None:
    scenario, wildcard = made(of_texts(bigip_conf=FORWARD)), load(find("wildcard"))
    changes = {"protocol": "any", "loose_initiation": True}
    assert scenario.virtual_server == wildcard.virtual_server.model_copy(update=changes)
    assert scenario.cloud.routes == wildcard.cloud.routes


@pytest.mark.parametrize(
    ("target", "network"),
    [("0.0.0.0/0", "0.0.0.0/0"), ("10.0.0.0/8", "10.0.0.0/8"), ("172.16.5.0/24", "10.0.31.0/24"),
     (["0.0.0.0/0", "198.51.100.0/24"], "0.0.0.0/0"), ("192.0.2.7", "10.0.31.0/24"),
     ({"use": "net"}, "10.0.0.0/16")],
)  # fmt: skip
def test_the_network_of_a_forwarding_service(target: Any, network: str) -> None:
    objects = {"net": {"class": "Service_Address", "virtualAddress": "10.0.0.0/16"}}
    found = of_texts(as3=service("Service_Forwarding", virtualAddresses=[target], objects=objects))
    server = made(found).virtual_server
    assert (server.type, server.protocol, str(server.network)) == ("forwarding", "any", network)
    assert (server.snat, server.mirroring, server.pool) == ("none", False, ("backend-1",))


def hops(*ranges: str) -> dict[str, Any]:
    tagged = {"discoveryType": "routeTag"}
    entries = [{"range": r, "nextHopAddresses": tagged} for r in ranges]
    return failover(failoverRoutes={"scopingTags": TAGS, "scopingAddressRanges": entries})


@pytest.mark.parametrize(
    ("network", "ranges", "moving"),
    [
        ("0.0.0.0/0", ["0.0.0.0/0"], {TO_SERVERS, TO_CLIENTS}),
        ("172.16.5.0/24", ["172.16.0.0/16"], {TO_SERVERS}),
        ("172.16.5.0/24", ["172.16.5.0/24", "0.0.0.0/0"], {TO_SERVERS, TO_CLIENTS}),
        ("172.16.5.0/24", ["198.51.100.0/24"], set()),
        ("0.0.0.0/0", ["172.16.5.0/24"], {TO_SERVERS, TO_CLIENTS}),  # whose side nobody tells
    ],
)
def test_what_a_failover_moves_of_a_forwarding_one_is_what_is_declared(
    network: str, ranges: list[str], moving: set[tuple[str, str]]
) -> None:
    as3 = service("Service_Forwarding", virtualAddresses=[network])
    found = routes(of_texts(as3=as3, cfe=hops(*ranges)))
    assert {(table, to) for table, to, moves in found if moves} == moving
    assert {(table, to) for table, to, _ in found} == {TO_SERVERS, TO_CLIENTS}


def test_a_forwarding_one_with_a_snat_pool_has_its_range_led_back() -> None:
    pool = {"class": "SNAT_Pool", "snatAddresses": ["203.0.113.9"]}
    options: dict[str, Any] = {"snat": {"use": "sp"}, "objects": {"sp": pool}}
    as3 = service("Service_Forwarding", virtualAddresses=["0.0.0.0/0"], **options)
    found = of_texts(as3=as3, cfe=hops("203.0.113.0/24", "172.16.5.0/24"))
    assert routes(found) == [
        ("rtb-backend", "203.0.113.0/24", True), ("rtb-client", "10.0.31.0/24", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("snat", "port"), [("snat {\n pool p\n type snat\n }", "change"), ("automap", "preserve")]
)
def test_a_changed_port_is_for_a_snat_pool(snat: str, port: str) -> None:
    kind = snat if "pool" in snat else "source-address-translation { type automap }"
    text = kind.replace("snat {", "source-address-translation {", 1)
    found = of_texts(
        bigip_conf=f"ltm virtual v {{\n destination 203.0.113.9:22\n {text}\n "
        "source-port change\n}\nltm snatpool p {\n members { 198.51.100.7 }\n}"
    )
    assert made(found).virtual_server.source_port == port
    (said,) = [r for r in found.readings if r.path.endswith("source-port")]
    assert (said.category.value == "understood") is (port == "change")


def test_tmsh_defaults_are_those_of_a_device() -> None:
    server = made(
        of_texts(bigip_conf="ltm virtual v {\n destination 203.0.113.9:22\n}")
    ).virtual_server
    assert (server.type, server.snat, server.mirroring) == ("fastL4", "none", False)


def test_a_fastl4_virtual_server_of_udp_has_datagrams_for_sessions() -> None:
    scenario = made(of_texts(as3=service(layer4="udp")))
    assert (scenario.virtual_server.protocol, scenario.sessions) == ("udp", ("udp",))
    over = made(of_texts(as3=service(layer4="any")))
    assert (over.virtual_server.protocol, over.sessions) == ("any", ("ssh", "telnet", "echo"))


def test_persistence_and_its_mirroring() -> None:
    server = made(of_files("standard-tcp.conf")).virtual_server
    assert (server.persistence, server.persistence_mirroring) == ("source-address", True)
    server = made(of_files("as3-request.json")).virtual_server
    assert (server.persistence, server.persistence_mirroring) == ("source-address", True)
    server = made(of_texts(as3=service())).virtual_server
    assert (server.persistence, server.persistence_mirroring) == ("source-address", False)
    server = made(of_texts(as3=service(persistenceMethods=["cookie"]))).virtual_server
    assert server.persistence is None


def test_a_profiles_parent_sets_what_it_does_not() -> None:
    server = made(of_files("fastl4-loose.conf")).virtual_server
    assert (server.loose_initiation, server.loose_close, server.idle_timeout_s) == (True, True, 900)


def test_a_profile_that_is_in_no_input_is_said() -> None:
    text = "ltm virtual v {{\n destination 203.0.113.9:22\n profiles {{ {} {{ }} }}\n}}"
    found = of_texts(bigip_conf=text.format("/Common/db_lan"))
    assert made(found).virtual_server.type == "standard"
    assert [m.what for m in found.mapping if "profile" in m.what] == ["profile /Common/db_lan"]
    named = of_texts(bigip_conf=text.format("/Common/my_FastL4"))
    assert made(named).virtual_server.type == "fastL4"


def test_a_script_and_a_snat_translation_by_name() -> None:
    found = of_files("script.tmsh")
    server = made(found).virtual_server
    assert [str(a) for a in server.snat_pool] == ["198.18.5.1", "198.18.5.2"]
    assert (server.type, server.pool) == ("standard", ("backend-1", "backend-2"))
    objects = {"s": {"class": "SNAT_Pool", "snatAddresses": [{"use": "t"}]},
               "t": {"class": "SNAT_Translation", "address": "198.18.5.9"}}  # fmt: skip
    as3 = made(of_texts(as3=service(snat={"use": "s"}, objects=objects)))
    assert [str(a) for a in as3.virtual_server.snat_pool] == ["198.18.5.9"]


def test_a_range_outside_the_cloud_is_taken_as_it_is() -> None:
    found = of_texts(as3=service(), cfe=failover())
    assert str(made(found).virtual_server.destination) == "203.0.113.9"
    assert routes(found) == [("rtb-client", "203.0.113.0/24", True)]


def test_an_address_of_the_labs_own_range_is_mapped_and_said() -> None:
    found = of_texts(as3=service(virtualAddresses=["10.0.31.80"]), cfe=failover())
    assert str(made(found).virtual_server.destination) == "10.99.0.80"
    assert [m.becomes for m in found.mapping if m.what == "virtual server 10.0.31.80"] == [
        "10.99.0.80"
    ]


def test_a_range_the_declaration_does_not_name_does_not_move() -> None:
    found = of_texts(as3=service(virtualAddresses=["198.18.0.9"]), cfe=failover())
    assert routes(found) == [("rtb-client", "198.18.0.0/24", False)]
    assert any(m.text.startswith("this virtual server's address") for m in found.readings)


def test_what_is_not_enabled_does_not_move() -> None:
    declaration = failover()
    declaration["failoverRoutes"]["enabled"] = False
    assert routes(of_texts(as3=service(), cfe=declaration)) == [
        ("rtb-client", "203.0.113.0/24", False)
    ]


def test_without_snat_the_default_route_of_a_second_group_is_the_way_back() -> None:
    groups = [
        {"scopingName": "rtb-1", "scopingAddressRanges": [{"range": "203.0.113.0/24"}],
         "defaultNextHopAddresses": {"discoveryType": "static", "items": ["10.9.1.1", "10.9.2.1"]}},
        {"scopingName": "rtb-2", "scopingAddressRanges": [{"range": "0.0.0.0/0"}],
         "defaultNextHopAddresses": {"discoveryType": "static", "items": ["10.9.3.1", "10.9.4.1"]}},
    ]  # fmt: skip
    declared = failover(failoverRoutes={"routeGroupDefinitions": groups})
    found = of_texts(as3=service(snat="none"), cfe=declared)
    assert routes(found) == [
        ("rtb-client", "203.0.113.0/24", True), ("rtb-backend", "10.0.1.0/24", True),
    ]  # fmt: skip
    assert made(found).cloud.declaration is None
    without = of_texts(as3=service(snat="none"), cfe=failover())
    assert routes(without)[1] == ("rtb-backend", "10.0.1.0/24", False)


def test_two_addresses_and_addresses_that_fail_over_are_an_elastic_ip() -> None:
    cloud = made(of_files("as3-two-zones.json", "cfe-elastic-ip.json")).cloud
    assert (cloud.failover_via, str(cloud.elastic_ips[0].public)) == (
        "elastic-ip", "198.51.100.77",
    )  # fmt: skip
    assert [str(a) for a in cloud.elastic_ips[0].private] == ["10.0.10.100", "10.0.20.100"]


def test_a_snat_address_in_a_subnet_of_one_zone_is_a_secondary_address() -> None:
    pool = {"s": {"class": "SNAT_Pool", "snatAddresses": ["10.1.11.50"]}}
    text = service(snat={"use": "s"}, objects=pool)
    base = "net self i {\n address 10.1.11.11/24\n vlan internal\n}"
    found = of_texts(as3=text, cfe=failover(), bigip_conf=base)
    cloud, server = made(found).cloud, made(found).virtual_server
    assert [str(a) for a in cloud.secondary_ips] == [str(a) for a in server.snat_pool]
    assert cloud.failover_via == "route"


def test_both_devices_in_one_subnet_move_secondary_addresses() -> None:
    base = "".join(
        f"net self s{n} {{\n address 10.1.{10 + n // 2}.{20 + n}/24\n vlan {vlan}\n}}\n"
        for n, vlan in enumerate(("external", "external", "internal", "internal"))
    )
    pool = {"s": {"class": "SNAT_Pool", "snatAddresses": ["10.1.11.50"]}}
    declared = service(snat={"use": "s"}, objects=pool, virtualAddresses=["10.1.10.50"])
    cfe = failover(failoverAddresses={"enabled": True, "scopingTags": TAGS})
    cloud = made(of_texts(as3=declared, cfe=cfe, bigip_conf=base)).cloud
    assert (cloud.zones, cloud.failover_via, cloud.routes) == ("one", "secondary-ip", ())
    assert len(cloud.secondary_ips) == 2


def test_a_next_hop_with_a_prefix_stays_one_for_the_extension_to_judge() -> None:
    cfe = failover()
    hops = {"discoveryType": "static", "items": ["10.1.10.11/24", "10.1.20.11/24"]}
    cfe["failoverRoutes"]["scopingAddressRanges"][0]["nextHopAddresses"] = hops
    declared = made(of_texts(as3=service(), cfe=cfe)).cloud.declaration
    assert isinstance(declared, dict)
    assert "10.0.10.11/24" in str(declared)


def test_floating_self_ips_without_a_cloud_are_on_premises() -> None:
    scenario = made(of_files("onprem-base.conf", "onprem.conf"))
    assert (scenario.world, str(scenario.virtual_server.destination)) == ("onprem", "10.99.0.80")
    assert [str(a) for a in scenario.virtual_server.snat_pool] == ["10.88.0.50"]
    devices = scenario.devices
    assert (devices.mac_masquerade, devices.reject_unmatched, devices.failover_timeout_s) == (
        True, False, 10.0,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["commands.tmsh", "do-without-mirror.json"])
def test_mirroring_that_cannot_run_is_off(name: str) -> None:
    """statemirror.state disabled, or a device without a mirror address."""
    found = of_files(name) if name.endswith("tmsh") else of_files("article/as3.json", name)
    assert made(found).virtual_server.mirroring is False
    assert found.server is not None
    assert found.server.mirroring is True


@pytest.mark.parametrize(
    ("variables", "secure", "authenticated"),
    [
        ({"statemirror.secure": "enable"}, True, True),
        ({"failover.secure": "enable"}, False, True),
        ({"statemirror.secure": "disable"}, False, False),
        ({"statemirror.secure": "enable", "failover.secure": "disable"}, True, False),
    ],
)
def test_what_is_secured_is_taken_over(
    variables: dict[str, str], secure: bool, authenticated: bool
) -> None:
    """From a configuration file, a tmsh command and Declarative Onboarding alike."""
    files = "onprem-base.conf", "onprem.conf"
    conf = "\n".join((SAMPLES / name).read_text() for name in files)
    stanzas = "".join(f"sys db {k} {{\n    value {v}\n}}\n" for k, v in variables.items())
    typed = "".join(f"modify sys db {k} value {v}\n" for k, v in variables.items())
    onboarding = {
        "class": "Device",
        "schemaVersion": "1.0.0",
        "Common": {"class": "Tenant", "db": {"class": "DbVariables", **variables}},
    }
    for texts in (
        {"bigip_conf": f"{conf}\n{stanzas}"},
        {"bigip_conf": f"{conf}\n{typed}"},
        {"bigip_conf": conf, "do": onboarding},
    ):
        devices = made(of_texts(**texts)).devices
        assert (devices.statemirror_secure, devices.authenticated) == (secure, authenticated)


def test_inputs_are_laid_over_a_scenario() -> None:
    base = {"title": "mine", "name": "mine", "sessions": ["echo"], "failover": {"how": "power-off"}}
    scenario = made(of_files("article/as3.json", base=base))
    assert (scenario.title, scenario.name, scenario.sessions) == ("mine", "mine", ("echo",))
    assert scenario.failover is not None
    assert scenario.failover.how.value == "power-off"


def test_the_provider_is_the_declarations() -> None:
    assert made(of_files("cfe-azure.json")).cloud.provider == "azure"


@pytest.mark.parametrize(
    ("texts", "where"),
    [
        ({"as3": {"class": "ADX"}}, "as3:1:1: class is 'ADX', not ADC"),
        ({"cfe": {"class": "Cloud_Failover"}}, "cfe:1:1: environment: "),
        ({"do": {"class": "ADC"}}, "do:1:1: class is 'ADC', not Device"),
        ({"cfe": [1]}, "cfe:1:1: a Cloud Failover declaration is a JSON object"),
    ],
)
def test_what_is_no_declaration_at_all(texts: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError) as caught:
        of_texts(**texts)
    assert str(caught.value).startswith(where)


@pytest.mark.parametrize(
    ("texts", "where"),
    [
        ({"as3": service(snat="self")}, "as3:1:"),
        ({"as3": service(snat={"use": "nowhere"})}, "SNAT pool /T/A/nowhere is in none of the"),
        ({"as3": service(mirroring="L7")}, "'L7' is neither none nor L4"),
        ({"as3": service(virtualAddresses=["0.0.0.0"])}, "a network as destination"),
        ({"as3": service(translateServerAddress=False)}, "does not translate the address"),
        ({"as3": service(enable=False)}, "a disabled virtual server answers nobody"),
        ({"as3": service("Service_Forwarding", forwardingType="l2")}, "layer 2 is not emulated"),
        ({"as3": service(virtualAddresses=[{"use": "net"}], objects={"net": {
            "class": "Service_Address", "virtualAddress": "10.2.0.0/16"}})}, "of a fastL4 virtual"),
        ({"bigip_conf": "ltm virtual v {\n destination any:0\n mask any\n pool p\n "
          "translate-address disabled\n}"}, "does not translate the address"),
        ({"bigip_conf": "ltm virtual v {\n destination 10.2.0.0:0\n mask 255.0.255.0\n "
          "ip-forward\n}"}, "'255.0.255.0' is no mask"),
        ({"bigip_conf": FORWARD + "net self f {\n address 10.0.0.1/24\n floating enabled\n "
          "traffic-group traffic-group-1\n}\n"}, "on-premises is not emulated"),
        ({"as3": service(virtualPort="ssh")}, "a port number is expected"),
        ({"as3": service(virtualAddresses=[{"use": "gone"}])}, "its address is in none of the"),
        ({"bigip_conf": "ltm virtual v {\n mirror maybe\n}"}, "bigip_conf:2:2: /Common/v: "),
        ({"bigip_conf": "sys db failover.nettimeoutsec { value x }"}, "is not in seconds"),
        ({"bigip_conf": "sys db failover.nettimeoutsec { value 0 }"}, "devices.failover_timeout_s"),
    ],
)  # fmt: skip
def test_what_would_be_another_experiment_is_refused(texts: dict[str, Any], where: str) -> None:
    found = of_texts(**texts)
    assert found.scenario is None
    assert where in str(found.refusal)
    assert str(found.refusal).startswith(("as3:1:", "bigip_conf:"))


def test_a_virtual_server_is_chosen_by_name() -> None:
    found = of_files("two-virtuals.conf", virtual="vs_b")
    assert found.server is not None
    assert found.server.name == "/Tenant/vs_b"
    assert str(made(found).virtual_server.destination) == "203.0.113.42"
    wrong = of_files("two-virtuals.conf", virtual="vs_c")
    assert "no virtual server 'vs_c'; there are: /Common/vs_a (line 1)" in str(wrong.refusal)
