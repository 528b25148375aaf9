"""Capturing in a running lab: where, and which packets."""

from __future__ import annotations

import pytest

from emulator.kernel.sniffer import FilterError, compile_filter
from emulator.lab.deployment import world
from emulator.lab.livecapture import UnknownPoint, choose
from emulator.lab.scenario_file import find, load

CLOUD = world(load(find("article")), "x")


def chosen(*wanted: str) -> list[str]:
    return [point.name for point in choose(CLOUD, wanted)]


def test_a_node_stands_for_all_its_interfaces_and_each_is_captured_once() -> None:
    assert chosen("bigip-a:ext", "bigip-a", "client:eth0") == [
        "bigip-a ext", "bigip-a int", "bigip-a ha", "client eth0",
    ]  # fmt: skip
    assert len(chosen("router")) == 10


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("bigip-c", "no node 'bigip-c'; there are: router, client, bigip-a"),
        ("bigip-a:eth0", "bigip-a has no interface 'eth0'; it has: ext, int, ha"),
        ("bigip-a:", "bigip-a has no interface ''"),
        ("", "no node ''"),
    ],
)
def test_what_does_not_exist(word: str, message: str) -> None:
    with pytest.raises(UnknownPoint) as error:
        choose(CLOUD, [word])
    assert str(error.value).startswith(message)


def test_a_capture_filter_is_compiled_and_a_wrong_one_refused() -> None:
    program = compile_filter("tcp port 22")
    assert program
    assert len(program) % 8 == 0
    with pytest.raises(FilterError, match="syntax error"):
        compile_filter("tpc port 22")
