"""Accelerated flows: when the kernel is told, and that their idle timers stay right."""

from __future__ import annotations

from emulator.core.commands import (
    AbortRelay,
    Accelerate,
    Decelerate,
    InstallFlow,
    ReadActivity,
    Release,
    RemoveFlow,
)
from emulator.core.config import ServerType
from emulator.core.device import Device
from emulator.core.events import FlowActivity, OperatorStandby
from emulator.core.flow import key, keys
from emulator.core.traffic import EXPIRED
from emulator.wire.segment import ACK, FIN, SYN
from tests.support.pair import active_device, config, server
from tests.support.playbook import Noted, Playbook
from tests.support.segments import (
    CLIENT,
    MEMBER,
    SNAT_A,
    VIRTUAL,
    fin,
    queued,
    record,
    rst,
    segment,
    syn,
)

FULL = config(server=server(mirroring=False, accelerated=True))
FLOW = record()
OUT, BACK = keys(FLOW)


def accelerated(settings=FULL) -> Device:
    """With one flow, its handshake over at 0 s."""
    device = active_device(settings, channel=False)
    device.handle(queued(1, syn()), 0.0)
    device.handle(queued(2, segment(SYN | ACK, MEMBER, SNAT_A, seq=5000, ack=1001)), 0.0)
    return device


def activity(packets: int = 0) -> FlowActivity:
    """Since the last time, from the client."""
    return FlowActivity(((OUT, packets, 100 * packets),) if packets else ())


def test_the_keys_are_those_of_the_headers():
    assert key(CLIENT, VIRTUAL) == OUT
    assert key(MEMBER, SNAT_A) == BACK


def test_a_flow_is_accelerated_before_its_first_packet_goes_on():
    """Or its next one could overtake it in the queue."""
    assert (
        Playbook(active_device(FULL, channel=False))
        >> queued(1, syn())
        << Noted("flow-created")
        << InstallFlow(FLOW)
        << Accelerate((FLOW,))
        << Release(1)
    )


def test_without_the_setting_none_is():
    device = active_device(config(server=server(mirroring=False)), channel=False)
    commands = device.handle(queued(1, syn()), 0.0)
    assert not any(isinstance(command, Accelerate) for command in commands)


def test_the_first_fin_brings_it_back():
    """What follows is decided again: the close is mirrored, its timer is ours. The kernel hears
    of all such flows at once."""
    device = accelerated()
    assert (
        Playbook(device)
        >> queued(3, fin(seq=1001, ack=5001))
        << Release(3)
        >> queued(4, segment(ACK, seq=1002, ack=5001))
        << Release(4)
    )
    assert device.traffic.sweep(1.0) == [Decelerate((FLOW,))]
    assert device.traffic.sweep(2.0) == []


def test_one_that_is_reset_while_it_leaves_is_back_at_once():
    device = accelerated()
    device.handle(queued(3, fin(seq=1001, ack=5001)), 0.0)
    commands = device.handle(queued(4, rst(seq=1002)), 0.0)
    assert commands.index(Decelerate((FLOW,))) < commands.index(RemoveFlow(FLOW))
    assert device.traffic.sweep(1.0) == []


def test_a_new_connection_with_the_ports_of_one_that_leaves_is_accelerated():
    device = accelerated()
    for number, ends in ((3, ()), (4, (MEMBER, SNAT_A))):
        device.handle(queued(number, segment(FIN | ACK, *ends)), 0.0)
    commands = device.handle(queued(5, syn()), 0.0)
    assert commands.index(Decelerate((FLOW,))) < commands.index(Accelerate((FLOW,)))
    assert device.traffic.sweep(1.0) == []


def test_one_that_leaves_is_back_when_the_device_stands_by():
    device = accelerated()
    device.handle(queued(3, fin(seq=1001, ack=5001)), 0.0)
    assert Decelerate((FLOW,)) in device.handle(OperatorStandby(), 0.5)


def test_a_reset_ends_it():
    commands = accelerated().handle(queued(3, rst(seq=1001)), 0.0)
    assert commands.index(Decelerate((FLOW,))) < commands.index(RemoveFlow(FLOW))


def test_only_the_kernel_knows_whether_it_is_idle():
    device = accelerated()
    assert device.traffic.sweep(18.0) == []
    assert device.traffic.sweep(19.0) == [ReadActivity()]
    assert device.handle(activity(packets=7), 19.0) == []
    (flow,) = device.traffic.table.flows()
    assert (flow.seen, flow.client_side.packets) == (19.0, 8)
    assert device.traffic.sweep(37.0) == []
    assert device.traffic.sweep(38.0) == [ReadActivity()]
    assert device.handle(activity(), 318.0) == []
    assert device.traffic.sweep(319.0) == []  # asked a second ago
    note, *commands = device.handle(activity(), 319.0)
    assert Noted("flow-closed", why=EXPIRED).claims(note)
    assert commands[:2] == [Decelerate((FLOW,)), RemoveFlow(FLOW)]
    assert device.traffic.table.flows() == []


def test_an_answer_for_a_flow_that_is_gone_is_passed_over():
    device = accelerated()
    device.handle(queued(3, rst(seq=1001)), 0.0)
    assert device.handle(activity(packets=1), 400.0) == []


def test_a_device_that_stands_by_accelerates_nothing():
    device = accelerated()
    assert Decelerate((FLOW,)) in device.handle(OperatorStandby(), 1.0)
    assert len(device.traffic.accelerated) == 0


def test_taken_over_flows_are_accelerated_at_once_and_together():
    device = active_device(FULL, channel=False)
    for port in (1, 2):
        device.handle(queued(port, syn(CLIENT._replace(port=port))), 0.0)
    device.handle(OperatorStandby(), 1.0)
    commands = device.traffic.take_over(2.0)
    told = [command for command in commands if isinstance(command, Accelerate)]
    assert [len(command.records) for command in told] == [2]
    assert commands.index(told[0]) > commands.index(InstallFlow(told[0].records[1]))


# A standard virtual server: what is the kernel's own business.

STANDARD = config(server=server(mirroring=False, type=ServerType.STANDARD))


def test_an_unmirrored_proxied_flow_is_from_the_members_answer_on():
    device = active_device(STANDARD, channel=False)
    device.handle(queued(1, syn()), 0.0)
    answer = segment(SYN | ACK, MEMBER, SNAT_A, seq=5000, ack=1001)
    assert device.handle(queued(2, answer), 0.0) == [Accelerate((FLOW,)), Release(2)]


def test_an_idle_proxied_flow_expires_by_what_the_kernel_says():
    device = accelerated(STANDARD)
    assert device.traffic.sweep(300.0) == [ReadActivity()]
    commands = device.handle(activity(), 300.0)
    assert commands[-1] == AbortRelay(CLIENT, VIRTUAL)


def test_a_mirrored_proxied_flow_is_not():
    """Each of its segments has to be mirrored."""
    device = active_device(config(server=server(type=ServerType.STANDARD)))
    device.handle(queued(1, syn()), 0.0)
    answer = segment(SYN | ACK, MEMBER, SNAT_A, seq=5000, ack=1001)
    commands = device.handle(queued(2, answer), 0.0)
    assert not any(isinstance(command, Accelerate) for command in commands)


def test_mirroring_turned_on_brings_them_back():
    device = accelerated(STANDARD)
    device.reconfigure(config(server=server(mirroring=True, type=ServerType.STANDARD)), 1.0)
    assert device.traffic.accelerated.reconsider() == [Decelerate((FLOW,))]
