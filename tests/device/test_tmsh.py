"""tmsh look-alikes: every output against a published one (`tests.support.published`)."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from emulator.core.config import Protocol, ServerType, Snat
from emulator.core.device import Device
from emulator.core.events import ChannelDown, ChannelUp, HeartbeatHeard, PeerRefused
from emulator.core.flow import Flow, FlowState
from emulator.device.tmsh import TmshError, answer, completions, connections, execute, prompt
from emulator.lab.inputs.mapping import Source, translate
from emulator.wire.heartbeat import Heartbeat
from emulator.wire.mirror import FlowRecord, SnatKind
from emulator.wire.segment import Endpoint
from tests.support import published
from tests.support.pair import active_device, config, server

ENDS = ("10.156.11.15:38996", "10.156.8.10:3306", "10.156.8.15:47670", "10.156.11.63:3306")


def flow(
    client: str = ENDS[0], virtual: str = ENDS[1], snat: str = ENDS[2], member: str = ENDS[3],
    *, seen: float = 0.0, name: str = "vs_ssh",
) -> Flow:  # fmt: skip
    ends = (Endpoint.of(e) for e in (client, virtual, snat, member))
    record = FlowRecord(name, *ends, SnatKind.POOL, 300)
    return Flow(record, FlowState.OPEN, 0.0, seen, mirrored=True)


def device_with(*flows: Flow, **changes: object) -> Device:
    device = Device(config(**changes), 0.0)  # type: ignore[arg-type]
    for each in flows:
        device.traffic.table.add(each)
    return device


def labels(text: str) -> list[str]:
    """The words of a listing that are its layout: what stands left of two blanks or a colon."""
    return [re.split(r"\s{2,}| : |: |(?<=Id) |(?<=Nexthop) ", line.strip())[0].strip()
            for line in text.splitlines() if line.strip()]  # fmt: skip


def three() -> list[Flow]:
    """The published three, as flows."""
    return [
        flow(),
        flow("10.156.9.43:45829", snat="10.156.8.15:47676", seen=9.0),
        flow("10.156.10.221:60285", snat="10.156.8.15:60285", seen=5.0),
    ]


def test_connections() -> None:
    assert connections(three(), 20.5, mirrored=True) == published.CONNECTIONS
    device = device_with(*three())
    assert answer(device, "show /sys connection type mirror", 20.5) == published.CONNECTIONS


def test_only_mirrored_flows_are_of_type_mirror() -> None:
    own = flow()
    own.mirrored = False
    empty = "Sys::Connections\nTotal records returned: 0"
    assert connections([own], 0.0, mirrored=True) == empty
    assert ENDS[0] in connections([own], 0.0, mirrored=False)


@pytest.mark.parametrize(
    ("filters", "clients"),
    [
        ("cs-client-addr 10.156.9.43", ["10.156.9.43:45829"]),
        ("cs-client-port 38996", [ENDS[0]]),
        ("cs-server-addr 10.156.8.11", []),
        ("cs-server-port 3306 ss-client-port 60285", ["10.156.10.221:60285"]),
        ("ss-server-addr 10.156.11.63 ss-client-addr 10.156.8.15 protocol tcp", None),
        ("age 21", []),
        ("age 20", None),
        ("type self", []),
    ],
)
def test_filters(filters: str, clients: list[str] | None) -> None:
    """None: all of them."""
    text = answer(device_with(*three()), f"show sys connection {filters}", 20.5)
    shown = [line.split()[0] for line in text.splitlines()[1:-1]]
    assert shown == ([str(f.record.client) for f in three()] if clients is None else clients)


def test_connection_properties() -> None:
    """Line for line as published, but for MAC addresses and two properties not emulated."""
    one = flow("10.1.10.100:49931", "10.1.10.60:80", "10.1.20.70:49931", "10.1.20.202:80")
    one.mirrored = False
    one.client_side.octets, one.server_side.octets = 625, 4350
    one.client_side.packets, one.server_side.packets = 6, 5
    text = answer(device_with(one), "show sys connection all-properties", 19.0)
    omitted = ("Neuron Rules", "Ingress Dest")
    expected = [x for x in labels(published.PROPERTIES) if x not in omitted]
    assert labels(text) == expected
    ours, theirs = text.splitlines(), published.PROPERTIES.splitlines()
    same = [line for line in theirs if line in ours]
    assert {"  TMM           0", "  Idle Timeout  300", theirs[1], theirs[2], "  Conn Id 0"} <= {
        *same
    }
    assert "  Client Addr  10.1.10.100:49931  10.1.20.70:49931" in same
    assert "  Bits In                   5.0K             34.8K" in same
    assert "                      ClientSide        ServerSide" in same


def test_traffic_group() -> None:
    device = active_device(config())
    ours = answer(device, "show cm traffic-group", 1.0).splitlines()
    theirs = published.TRAFFIC_GROUP.splitlines()
    columns = [line.split() for line in (theirs[1], theirs[2], theirs[3])]
    assert [line.split() for line in ours[1:4]] == columns
    assert ours[0] == ours[4] == "-" * max(map(len, ours))
    assert ours[2].index("Next") == ours[3].index("Active") == ours[5].index("false")
    assert ours[5:] == [
        "traffic-group-1           bigip-a  active   false",
        "traffic-group-1           bigip-b  standby  true",
        theirs[-1],
    ]


def test_failover_status() -> None:
    device = active_device(config())
    text = answer(device, "show cm failover-status", 1.0)
    assert published.FAILOVER_STATUS in text
    assert "CM::Failover Connections" in text
    row = re.split(r"\s{2,}", text.splitlines()[-1])
    assert len(row) == len(published.FAILOVER_CONNECTIONS)
    assert row == ["10.0.9.11:1026", "bigip-b", "1", "1s ago", "Ok"]
    standby = answer(Device(config(), 0.0), "show cm failover-status", 1.0)
    assert "Status   STANDBY\nSummary  1/1 standby" in standby
    assert standby.endswith("Error")


def test_ha_mirror() -> None:
    """The text is not published: title, and the fields of the REST statistics."""
    device = active_device(config())
    _, title, header, _, row = answer(device, "show sys ha-mirror", 1.0).splitlines()
    assert title == published.HA_MIRROR_TITLE
    ours = {re.sub(r"\W", "", name).lower() for name in re.split(r"\s{2,}", header)}
    renamed = {"primarystatus": "primary", "secondarystatus": "secondary", "tmid": "tmm"}
    theirs = {name.lower() for name in published.HA_MIRROR_FIELDS}
    assert ours == {renamed.get(name, name) for name in theirs}
    assert "connected" in row
    assert "connected" not in answer(Device(config(), 0.0), "show sys ha-mirror", 1.0)


def test_ha_mirror_of_a_secured_pair_and_what_it_has_refused() -> None:
    """Beside the table; Errors counts. Nothing of it where there is nothing to say."""
    device = Device(config("bigip-b", statemirror_secure=True, failover_secure=True), 0.0)
    device.handle(ChannelUp("TLSv1.3 TLS_AES_256_GCM_SHA384"), 0.0)
    for at in (1.0, 1.1, 2.5):
        device.handle(PeerRefused("no-tls", f"at {at}"), at)
    lines = answer(device, "show sys ha-mirror", 4.0).splitlines()
    assert lines[4].endswith("  3")
    said = "Mirroring channel: TLSv1.3 TLS_AES_256_GCM_SHA384. Heartbeats: authenticated."
    assert lines[6] == said
    assert lines[-1] == "no-tls  3      1s ago  at 2.5"
    device.handle(ChannelDown("closed by the peer"), 5.0)
    assert "Mirroring channel: no channel." in answer(device, "show sys ha-mirror", 5.0)


def test_the_variables_that_secure_are_off_by_default() -> None:
    for name in ("statemirror.secure", "failover.secure"):
        ours = answer(Device(config(), 0.0), f"list sys db {name} all-properties", 1.0)
        assert ours == published.DB.replace("statemirror.secure", name).strip()


def test_failover_since() -> None:
    device = active_device(config())
    assert answer(device, "show sys failover", 3600 + 20 * 60 + 32.4) == published.FAILOVER


def test_reset_causes() -> None:
    device = Device(config(), 0.0)
    for line in published.RST_CAUSE.splitlines()[4:]:
        cause, count = re.split(r"\s{2,}", line)
        device.traffic.reset_causes[cause] = int(count)
    assert answer(device, "show net rst-cause", 1.0) == published.RST_CAUSE


def test_persistence_records() -> None:
    device = Device(config(), 0.0)
    line = "show ltm persistence persist-records"
    assert answer(device, line, 1.0) == published.NO_PERSISTENCE
    record = {
        "mode": "source_address", "client": "10.5.20.129", "virtual_server": "any:any",
        "member": "198.19.97.10:9090", "age_s": 3,
    }  # fmt: skip
    text = execute(device, line, 1.0, [record]).text
    assert text == published.PERSISTENCE.replace("(tmm: 3)", "(tmm: 0)")


def test_virtual() -> None:
    """Line for line as published, the names and numbers being the device's."""
    one = flow()
    one.client_side.octets = one.server_side.octets = 1100
    one.client_side.packets = one.server_side.packets = 24
    text = answer(device_with(one), "show ltm virtual", 1.0)
    assert labels(text) == labels(published.VIRTUAL)
    theirs = published.VIRTUAL.replace("frontend_173.16.2.2_80", "vs_ssh")
    theirs = theirs.replace("173.16.2.2:80", str(config().virtual_servers[0].destination))
    assert text.splitlines()[:-1] == theirs.splitlines()[:-1]
    assert text.splitlines()[-1].split() == ["Current", "Connections", "1", "0", "-"]


def test_pool_members() -> None:
    ours = answer(Device(config(), 0.0), "show ltm pool members", 1.0).splitlines()
    theirs = published.POOL_MEMBERS.splitlines()
    counted = [line for line in ours if "Bits" in line or "Packets" in line]
    assert len(counted) == 4
    kept = [line for line in ours if line not in counted]
    assert labels("\n".join(kept)) == labels("\n".join(theirs))
    assert kept[3:10] == theirs[3:10]  # status block
    assert kept[14:20] == theirs[14:20]  # the member's, and the Traffic header


def test_list_virtual() -> None:
    pool = server(snat=Snat.POOL, snat_pool=(config().ha_address,))
    text = answer(device_with(server=pool), "list ltm virtual", 1.0)
    keys = [line.split()[0] for line in text.splitlines()]
    assert keys == [line.split()[0] for line in published.LIST_VIRTUAL.splitlines()]
    assert "    mirror enabled\n" in text


def test_a_forwarding_virtual_server() -> None:
    """It has a network and no pool; read back as an input, it is what it was."""
    wildcard = server(
        type=ServerType.FORWARDING, network=IPv4Network("10.0.0.0/8"), protocol=Protocol.ANY,
        snat=Snat.NONE,
    )  # fmt: skip
    device = device_with(server=wildcard)
    text = answer(device, "list ltm virtual", 1.0)
    declared = translate([Source("bigip-conf", "x", text)]).declared
    [read] = declared.servers
    assert (read.type, str(read.network), read.protocol) == ("forwarding", "10.0.0.0/8", "any")
    assert (read.pool, read.snat, read.mirroring) == (None, "none", True)
    assert ": 10.0.0.0:22\n" in answer(device, "show ltm virtual", 1.0)
    assert answer(device, "show ltm pool members", 1.0) == ""
    whole = server(type=ServerType.FORWARDING, network=IPv4Network("0.0.0.0/0"))
    assert "    mask any\n" in answer(device_with(server=whole), "list ltm virtual", 1.0)


def test_what_else_a_virtual_server_is_set_to_is_listed() -> None:
    pool = (config().ha_address,)
    other = server(
        protocol=Protocol.UDP, persistence_s=180, snat=Snat.POOL, snat_pool=pool, change_port=True
    )
    text = answer(device_with(server=other), "list ltm virtual", 1.0)
    for line in ("ip-protocol udp", "source_addr {", "source-port change"):
        assert f" {line}\n" in text


def test_variables() -> None:
    line = "list sys db tm.rejectunmatched all-properties"
    ours = answer(Device(config(), 0.0), line, 1.0).splitlines()
    theirs = published.DB.splitlines()
    assert [line.split()[0] for line in ours] == [line.split()[0] for line in theirs]
    assert ours[0] == "sys db tm.rejectunmatched {"
    assert ours[3] == '    value "true"'
    short = answer(Device(config(), 0.0), "show sys db failover.nettimeoutsec", 1.0)
    assert short == 'sys db failover.nettimeoutsec {\n    value "3"\n}'


def test_the_prompt() -> None:
    """Without the configuration-sync state, of which there is none here."""
    expected = published.PROMPT.replace("(cfg-sync In Sync)", "").replace("BIGIP-OC-02", "bigip-a")
    assert prompt("bigip-a", "active") == expected


# Words.


@pytest.mark.parametrize(
    "line",
    ["sho sys conn type mirror", "tmsh show /sys connection type mirror", "sh s c ty mirror"],
)
def test_words_may_be_shortened(line: str) -> None:
    assert answer(device_with(*three()), line, 20.5) == published.CONNECTIONS


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("show sys garbage", published.UNKNOWN),
        ("garbage", published.UNKNOWN),
        ("", 'Syntax Error: unexpected argument ""'),
        ("show", 'Syntax Error: unexpected argument "show"'),
        ("show sys connection type", 'unexpected argument "type" (its value is missing)'),
        ("show sys connection type garbage", published.UNKNOWN),
        ("show sys connection cs-client-addr 10.0.0", "is invalid"),
        ("show ltm p", "could be persistence, pool"),
        ("list sys db failover", published.NO_VARIABLE),
        ("modify ltm virtual vs_ssh mirror yes", 'unexpected argument "yes"'),
        ("modify ltm virtual nosuch mirror enabled", "(/Common/nosuch) was not found"),
        ("modify sys db failover.nettimeoutsec value 9", "takes no other value"),
        ("modify sys db tm.rejectunmatched value maybe", "false true"),
        ("run sys failover standby", "is not active: nothing to fail over"),
        ("run sys failover standby traffic-group other", "(other) was not found"),
    ],
)
def test_what_it_does_not_know_it_refuses(line: str, error: str) -> None:
    with pytest.raises(TmshError) as caught:
        answer(Device(config(), 0.0), line, 1.0)
    assert error in str(caught.value)
    if "Syntax Error: unexpected argument" in str(caught.value) and "type garbage" not in line:
        assert "show sys ha-mirror" in str(caught.value)  # the list of what exists


def test_help_lists_every_command() -> None:
    text = answer(Device(config(), 0.0), "help", 1.0)
    for line in ("show sys connection", "run sys failover standby", "delete sys connection"):
        assert f"  {line}" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sh", ["show"]),
        ("show ", ["cm", "ltm", "net", "sys"]),
        ("sho sys c", ["connection"]),
        ("show sys connection cs-c", ["cs-client-addr", "cs-client-port"]),
        ("show sys connection type ", ["any", "mirror", "self"]),
        ("modify ltm virtual v", ["vs_ssh"]),
        ("modify ltm virtual vs_ssh mirror e", ["enabled"]),
        ("list sys db tm.", ["tm.fastl4_ack_mirror", "tm.rejectunmatched"]),
        ("nonsense ", []),
    ],
)
def test_completion(text: str, words: list[str]) -> None:
    assert completions(Device(config(), 0.0), text) == words


def test_the_peer_is_named_as_it_names_itself() -> None:
    device = Device(config(), 0.0)
    device.handle(HeartbeatHeard(Heartbeat("north", False, False, 1, 1)), 0.0)
    assert "north" in answer(device, "show cm traffic-group", 1.0)
    assert replace(device.config).name == "bigip-a"
