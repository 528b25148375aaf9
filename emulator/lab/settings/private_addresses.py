"""Where a private address of the cloud world may be: its subnet and who has it. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address

from netns.topology import NetworkInterface, Zones, cloud

_RESERVED = 4  # AWS keeps a subnet's first four addresses and its last (VPC guide, subnet sizing)


def _interfaces(zones: Zones) -> tuple[NetworkInterface, ...]:
    return cloud("x", {}, zones=zones).interfaces


def place(address: IPv4Address, zones: Zones, device: str = "bigip-a") -> str | None:
    """The device's data interface in whose subnet an address lies; None: in neither's."""
    for interface in _interfaces(zones):
        data = interface.node == device and interface.name in ("ext", "int")
        if data and address in interface.subnet.network:
            return interface.name
    return None


def check_private(
    address: IPv4Address, what: str, zones: Zones, device: str = "bigip-a", interface: str = ""
) -> None:
    """Whether the device may have a secondary address, on that interface (empty: on either);
    raises ValueError, beginning with `what`."""
    found = place(address, zones, device)
    if found is None or interface not in ("", found):
        where = interface or "ext or int"
        raise ValueError(f"{what}: {address} is not in the subnet of {device}'s {where}")
    for other in _interfaces(zones):
        if address == other.address:
            raise ValueError(f"{what}: {address} is the primary address of {other.node}")
        network = other.subnet.network
        kept = {network[n] for n in range(_RESERVED)} | {network[-1]}
        if address in kept:
            raise ValueError(f"{what}: {address} is one of those the provider keeps to itself")
