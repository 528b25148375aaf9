"""Users' addresses and the lab's. Pure.

What lies in a routed range outside the cloud's own (10.0.0.0/16 here) is taken literally, with
its range. Everything else has a counterpart in the lab: each device's self IPs, the backends,
the client, and what lies in one of the users' own subnets. Every replacement is listed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from emulator.lab.inputs.declared import Declared, SelfIp
from emulator.lab.inputs.tree import Place
from netns.onprem import FLOATING, addresses_in_use
from netns.topology import SNAT_RANGE, VIRTUAL_RANGE, World, cloud

VPC = IPv4Network("10.0.0.0/16")
CLIENTS = IPv4Network("10.0.1.0/24")
SERVERS = IPv4Network("10.0.31.0/24")  # backend-1's subnet
SIDES = {"ext": ("ext",), "int": ("int",), "ha": ("ha", "mirror", "hsync", "sync")}
DEVICES = ("bigip-a", "bigip-b")


@dataclass(frozen=True)
class Mapped:
    """One thing of the users' and what stands for it in the lab."""

    what: str
    becomes: str
    why: str = ""
    place: Place | None = None


@dataclass
class Addressing:
    """The users' self IPs by side and device, and the list of what was replaced."""

    world: World = field(default_factory=lambda: cloud("x"))
    sides: dict[str, list[SelfIp]] = field(default_factory=dict)
    mapping: list[Mapped] = field(default_factory=list)

    @property
    def one_zone(self) -> bool:
        """Whether the two devices' outer addresses are in one subnet."""
        outer = [s.address.network for s in self.sides.get("ext", []) if s.address]
        return len(outer) > 1 and outer[0] == outer[1]

    def add(self, what: object, becomes: object, why: str, place: Place | None = None) -> None:
        self.mapping.append(Mapped(str(what), str(becomes), why, place))

    def side_of(self, address: IPv4Address) -> str | None:
        """The device's side in one of whose users' subnets an address is."""
        for side, found in self.sides.items():
            networks = [s.address.network for s in found if s.address is not None]
            if any(address in n for n in networks if n.prefixlen > 0):
                return side
        return None

    def hop(self, item: str, number: int, side: str) -> str:
        """A next hop of a declaration as the lab's self IP, with what else the item says."""
        host, slash, rest = item.partition("/")
        device = min(number, 1)
        for name, found in self.sides.items():
            for index, self_ip in enumerate(found[:2]):
                if self_ip.address is not None and str(self_ip.address.ip) == host:
                    side, device = name, index
        return f"{self.world.interface(DEVICES[device], side).address}{slash}{rest}"

    def hop_sides(self, items: list[str]) -> set[str]:
        """On which side the next hops are, as far as the self IPs are known."""
        hosts = {item.partition("/")[0] for item in items}
        return {
            side
            for side, found in self.sides.items()
            for s in found
            if s.address is not None and str(s.address.ip) in hosts
        }


def arrange(declared: Declared, members: list[IPv4Address], zones: str | None = None) -> Addressing:
    """Sort the self IPs by side: by their VLAN's name, by the pool's members, in their order."""
    found = Addressing()
    unknown = []
    for self_ip in declared.self_ips:
        if self_ip.floating or self_ip.address is None:
            continue
        side = _by_name(self_ip) or _by_members(self_ip, members)
        if side is None:
            unknown.append(self_ip)
        else:
            found.sides.setdefault(side, []).append(self_ip)
    for self_ip in unknown:
        free = next((s for s in ("ext", "int", "ha") if s not in found.sides), "ext")
        found.sides.setdefault(free, []).append(self_ip)
    if found.one_zone:
        found.world = cloud("x", zones="one")
    return found


def _by_name(self_ip: SelfIp) -> str | None:
    vlan = self_ip.vlan.rsplit("/", 1)[-1].lower()
    short = self_ip.name.rsplit("/", 1)[-1].lower()
    for text in (vlan, short):
        for side, names in SIDES.items():
            if any(name in text for name in names):
                return side
    return None


def _by_members(self_ip: SelfIp, members: list[IPv4Address]) -> str | None:
    network = self_ip.address.network if self_ip.address is not None else None
    return "int" if network is not None and any(m in network for m in members) else None


def list_self_ips(addressing: Addressing, onprem: World | None) -> None:
    """Enter the self IPs in the mapping; the third device of a side is nobody's here."""
    world = onprem or addressing.world
    for side, found in addressing.sides.items():
        for number, self_ip in enumerate(found):
            if number < 2:
                lab = world.interface(DEVICES[number], side).address
                addressing.add(
                    f"self IP {self_ip.address}", f"{lab} ({DEVICES[number]} {side})",
                    "the lab's own subnets", self_ip.node.place,
                )  # fmt: skip
            else:
                addressing.add(
                    f"self IP {self_ip.address}", "nothing",
                    "the lab has two devices with three interfaces each", self_ip.node.place,
                )  # fmt: skip
    if onprem is not None:
        for interface, address in FLOATING.items():
            addressing.add("the floating self IP", f"{address} ({interface})", "the lab's own")


def literal(network: IPv4Network) -> bool:
    """Whether a range can be one of the lab's routed alien ranges as it stands."""
    reserved = ("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "0.0.0.0/8", "100.64.0.0/24")
    taken = [VPC, *(IPv4Network(r) for r in reserved)]
    return network.prefixlen >= 8 and not any(network.overlaps(t) for t in taken)


def counterpart(address: IPv4Address, network: IPv4Network, taken: set[IPv4Address]) -> IPv4Address:
    """An address of the lab's range with the same last octet where it is free, else the next."""
    first = int(address) & 0xFF
    for step in range(256):
        last = (first + step) % 256
        found = network.network_address + last
        if 4 < last < 255 and found not in taken:
            taken.add(found)
            return found
    raise AssertionError("a range of 256 addresses is full")


def on_segments(vip: IPv4Address, pool: list[IPv4Address]) -> tuple[IPv4Address, list[IPv4Address]]:
    """On-premises: the virtual server's and the SNAT addresses in the lab's segments."""
    taken = set(addresses_in_use())
    return (
        counterpart(vip, VIRTUAL_RANGE, taken),
        [counterpart(a, SNAT_RANGE, taken) for a in pool],
    )
