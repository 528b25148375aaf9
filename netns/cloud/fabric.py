"""The fabric's model: requests accepted now, effective after a propagation delay. Pure.

AWS documents eventual consistency of its control plane and publishes no time for a
ReplaceRoute to take effect (cloud facts with sources: `docs/fidelity.md`); the delay is
therefore a setting, per route table if wanted, and both moments are events in the log.

    request(change, now) -> Pending(effective_at) ... due(now) -> the changes to carry out
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from netns.topology import NetworkInterface, World


class ApiError(ValueError):
    """A request the API refuses, with EC2's error code and text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


@dataclass(frozen=True, slots=True)
class ReplaceRoute:
    """Point an existing route at another network interface."""

    table: str
    destination: IPv4Network
    target: str

    def details(self) -> dict[str, object]:
        return {
            "table": self.table,
            "destination": str(self.destination),
            "target": self.target,
        }


@dataclass(frozen=True, slots=True)
class SetSourceDestCheck:
    """Switch the source/destination check of a network interface."""

    interface: NetworkInterface
    enabled: bool

    def details(self) -> dict[str, object]:
        return {"target": self.interface.id, "source_dest_check": self.enabled}


@dataclass(frozen=True, slots=True)
class AssociateAddress:
    """The internet gateway translates `public` to `private`, an address of `interface`'s."""

    public: IPv4Address
    interface: NetworkInterface
    private: IPv4Address

    def details(self) -> dict[str, object]:
        return {
            "public": str(self.public),
            "target": self.interface.id,
            "private": str(self.private),
        }


@dataclass(frozen=True, slots=True)
class DisassociateAddress:
    """The internet gateway knows `public` no more: packets for it are lost."""

    public: IPv4Address

    def details(self) -> dict[str, object]:
        return {"public": str(self.public)}


@dataclass(frozen=True, slots=True)
class AssignPrivateAddress:
    """A secondary private address is delivered to `interface`."""

    interface: NetworkInterface
    address: IPv4Address

    def details(self) -> dict[str, object]:
        return {"target": self.interface.id, "address": str(self.address)}


@dataclass(frozen=True, slots=True)
class UnassignPrivateAddress:
    """A secondary private address is delivered to `interface` no more."""

    interface: NetworkInterface
    address: IPv4Address

    def details(self) -> dict[str, object]:
        return {"taken_from": self.interface.id, "address": str(self.address)}


Change = (
    ReplaceRoute
    | SetSourceDestCheck
    | AssociateAddress
    | DisassociateAddress
    | AssignPrivateAddress
    | UnassignPrivateAddress
)


@dataclass(frozen=True, slots=True)
class Pending:
    """An accepted change. `effective_at`: the clock's seconds."""

    change: Change
    accepted_at: float
    effective_at: float


class Fabric:
    """What the provider has accepted and what is in force."""

    def __init__(
        self,
        world: World,
        *,
        propagation_delay_s: float,
        table_delay_s: Mapping[str, float] | None = None,
    ) -> None:
        self.routes = dict(world.routes)
        # What the API shows: it knows before the fabric.
        self.accepted = dict(world.routes)
        self.elastic_ips = dict(world.elastic_ips)
        self.secondary = dict(world.secondary)
        self._world = world
        self._delay_s = propagation_delay_s
        self._table_delay_s = dict(table_delay_s or {})
        self._pending: list[Pending] = []

    def replace_route(self, table: str, destination: str, target: str, now: float) -> Pending:
        """EC2's ReplaceRoute; raises ApiError."""
        if table not in self._world.route_tables:
            raise ApiError(
                "InvalidRouteTableID.NotFound", f"The routeTable ID '{table}' does not exist"
            )
        try:
            network = IPv4Network(destination)
        except ValueError:
            raise ApiError(
                "InvalidParameterValue", f"Value ({destination}) is not a valid CIDR block"
            ) from None
        if (table, network) not in self.accepted:
            raise ApiError(
                "InvalidParameterValue",
                f"There is no route defined for '{network}' in the route table. "
                "Use CreateRoute instead.",
            )
        change = ReplaceRoute(table, network, self._interface(target).id)
        self.accepted[table, network] = change.target
        return self._accept(change, now, self._table_delay_s.get(table, self._delay_s))

    def set_source_dest_check(self, target: str, enabled: bool, now: float) -> Pending:
        """EC2's ModifyNetworkInterfaceAttribute, SourceDestCheck; raises ApiError."""
        return self._accept(SetSourceDestCheck(self._interface(target), enabled), now, 0.0)

    def associate_address(self, public: str, target: str, private: str, now: float) -> Pending:
        """EC2's AssociateAddress, of an address of the interface's; raises ApiError."""
        interface = self._interface(target)
        address, inner = _address(public), _address(private)
        if inner != interface.address and self.secondary.get(inner) != interface.id:
            raise ApiError(
                "InvalidParameterValue",
                f"Address {inner} is not assigned to the network interface '{target}'",
            )
        for other, (_, taken) in self.elastic_ips.items():
            if taken == inner and other != address:
                raise ApiError(
                    "Resource.AlreadyAssociated",
                    f"resource {target} is already associated with address {other}",
                )
        self.elastic_ips[address] = (interface.id, inner)
        return self._accept(AssociateAddress(address, interface, inner), now, self._delay_s)

    def disassociate_address(self, public: str, now: float) -> Pending:
        """EC2's DisassociateAddress; raises ApiError when there is no association."""
        address = _address(public)
        if self.elastic_ips.pop(address, None) is None:
            raise ApiError("InvalidAssociationID.NotFound", f"'{public}' is not associated")
        return self._accept(DisassociateAddress(address), now, self._delay_s)

    def assign_private_addresses(
        self, target: str, addresses: Sequence[str], allow_reassignment: bool, now: float
    ) -> list[Pending]:
        """EC2's AssignPrivateIpAddresses, all or none; raises ApiError.

        An address that another interface of the subnet has moves only with
        `allow_reassignment`, and its elastic IP moves along (EC2 user guide, "Multiple IP
        addresses").
        """
        interface = self._interface(target)
        wanted = [_address(text) for text in addresses]
        for address in wanted:
            if address not in interface.subnet.network:
                raise ApiError(
                    "InvalidParameterValue",
                    f"Address {address} does not fall within the subnet's address range",
                )
        primary = {i.address for i in self._world.interfaces}
        taken = [a for a in wanted if self.secondary.get(a, target) != target]
        fixed = [a for a in wanted if a in primary]
        if fixed or (taken and not allow_reassignment):
            listed = ", ".join(map(str, fixed or taken))
            raise ApiError(
                "InvalidParameterValue", f"Some of [{listed}] are assigned, but move is not allowed"
            )
        changes: list[Change] = []
        for address in wanted:
            if address in taken:
                changes.append(
                    UnassignPrivateAddress(self._interface(self.secondary[address]), address)
                )
            changes.append(AssignPrivateAddress(interface, address))
            self.secondary[address] = interface.id
            for public, (_, private) in list(self.elastic_ips.items()):
                if private == address:
                    self.elastic_ips[public] = (interface.id, address)
                    changes.append(AssociateAddress(public, interface, address))
        return [self._accept(change, now, self._delay_s) for change in changes]

    def unassign_private_addresses(
        self, target: str, addresses: Sequence[str], now: float
    ) -> list[Pending]:
        """EC2's UnassignPrivateIpAddresses, all or none; an elastic IP of one of them is
        disassociated (EC2 user guide, "Multiple IP addresses"). Raises ApiError."""
        interface = self._interface(target)
        wanted = [_address(text) for text in addresses]
        if strange := [a for a in wanted if self.secondary.get(a) != target]:
            listed = ", ".join(map(str, strange))
            raise ApiError(
                "InvalidParameterValue",
                f"Some of the specified addresses are not assigned to interface {target}: {listed}",
            )
        changes: list[Change] = []
        for address in wanted:
            for public, (_, private) in list(self.elastic_ips.items()):
                if private == address:
                    del self.elastic_ips[public]
                    changes.append(DisassociateAddress(public))
            del self.secondary[address]
            changes.append(UnassignPrivateAddress(interface, address))
        return [self._accept(change, now, self._delay_s) for change in changes]

    def next_timer(self) -> float | None:
        """When `due` has something, or None."""
        return min((p.effective_at for p in self._pending), default=None)

    def due(self, now: float) -> list[Pending]:
        """The changes that take effect by `now`, in the order they do."""
        ripe = sorted(
            (p for p in self._pending if p.effective_at <= now), key=lambda p: p.effective_at
        )
        self._pending = [p for p in self._pending if p.effective_at > now]
        for pending in ripe:
            if isinstance(pending.change, ReplaceRoute):
                change = pending.change
                self.routes[change.table, change.destination] = change.target
        return ripe

    def _accept(self, change: Change, now: float, delay_s: float) -> Pending:
        pending = Pending(change, now, now + delay_s)
        self._pending.append(pending)
        return pending

    def _interface(self, target: str) -> NetworkInterface:
        for interface in self._world.interfaces:
            if interface.id == target:
                return interface
        raise ApiError(
            "InvalidNetworkInterfaceID.NotFound",
            f"The networkInterface ID '{target}' does not exist",
        )


def _address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError:
        raise ApiError(
            "InvalidParameterValue", f"Value ({text}) is not a valid IPv4 address"
        ) from None
