"""Writing what is known afterwards into a capture file: comments and names.

Frame numbers, times and bytes stay as they are. The file is read by its block headers and
copied in long stretches, so it takes little time and memory; the new file takes the old one's
place when it is whole.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path

from emulator.lab.deployment import entry_address
from emulator.lab.settings.scenario import Scenario
from emulator.wire import pcapng
from netns.onprem import FLOATING, KIND
from netns.topology import World

Names = Mapping[IPv4Address, Sequence[str]]
_HEAD = struct.Struct("<II")


def annotate(
    capture: Path, comments: Mapping[int, Sequence[str]], *, section: str, names: Names
) -> None:
    """Add comments to frames (by number, from 1), a comment to the section, and a name
    resolution block to a file of `capture.merge`'s; raises PcapngError, OSError."""
    part = capture.with_suffix(".part")
    try:
        with (
            capture.open("rb") as source,
            part.open("wb") as out,
            mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as whole,
            memoryview(whole) as view,
        ):
            out.write(pcapng.section("mirrorlab", section) + pcapng.names(names))
            done = _block_end(whole, 0)  # of the section header, which is written anew
            for start, end, texts in _commented(whole, done, comments):
                out.write(view[done:start])
                out.write(pcapng.with_comments(whole[start:end], texts))
                done = end
            out.write(view[done:])
        os.replace(part, capture)
    finally:
        part.unlink(missing_ok=True)


def names_in(world: World, scenario: Scenario) -> dict[IPv4Address, list[str]]:
    """What the addresses of a world are called, as its own hosts file does."""
    known: dict[IPv4Address, list[str]] = {}

    def call(address: IPv4Address, name: str) -> None:
        if name not in known.setdefault(address, []):
            known[address].append(name)

    for interface in world.interfaces:
        suffix = "" if interface.name == "eth0" else f"-{interface.name}"
        call(interface.address, f"{interface.node}{suffix}")
    call(entry_address(scenario), "vip")
    for address in scenario.virtual_server.snat_pool:
        call(address, "snat-pool")
    if world.kind == KIND:
        for where, address in FLOATING.items():
            call(address, f"floating-{where}")
        return known
    for address, (owner, _) in world.elastic_ips.items():
        call(address, f"elastic-{owner.removeprefix('eni-')}")
    for address, owner in world.secondary.items():
        call(address, f"secondary-{owner.removeprefix('eni-')}")
    for interface in world.interfaces:
        call(interface.subnet.gateway, f"gateway-{interface.subnet.name}")
    return known


def _block_end(whole: mmap.mmap, at: int) -> int:
    if at + 12 > len(whole):
        raise pcapng.PcapngError(f"offset {at}: the file ends inside a block header")
    _, length = _HEAD.unpack_from(whole, at)
    if length < 12 or length % 4 or at + length > len(whole):
        raise pcapng.PcapngError(f"offset {at}: a block of {length} bytes")
    return at + int(length)


def _commented(
    whole: mmap.mmap, at: int, comments: Mapping[int, Sequence[str]]
) -> Iterator[tuple[int, int, Sequence[str]]]:
    """Where the frames with comments are; looks no further than the last of them."""
    last, number, size = max(comments, default=0), 0, len(whole)
    while at < size and number < last:
        end = _block_end(whole, at)
        if whole[at : at + 4] == b"\x06\0\0\0":
            number += 1
            if number in comments:
                yield at, end, comments[number]
        at = end
