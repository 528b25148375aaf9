"""Which public ports a subscriber gets: two port translations of a carrier-grade NAT. Pure.

*Deterministic* (RFC 7422; LSN pool mode `deterministic`): every subscriber of a network has a
block of ports of one pool address, by arithmetic on its address. Devices of one configuration
agree without having exchanged a word::

    subscriber n   ->  address n // blocks_per_address, block n % blocks_per_address
    client port p  ->  the block's port p % block_size, or the next free one

So a flow that another device takes up in the middle keeps its address and port, unless two
ports of one subscriber, a multiple of the block's size apart, had met when it began.

*Changed* (`source-port change`, NAPT): the next free port of a sequence of the device's own.
A real device's choice is random; here the sequence begins at a place made of its name, so that
runs repeat and two devices do not agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from zlib import crc32

from emulator.wire.segment import Endpoint

FIRST_PORT = 1024
PORTS = 65536 - FIRST_PORT
LEAST_BLOCK = 64  # ports a subscriber needs for anything to work: ours


@dataclass(frozen=True, slots=True)
class PortBlocks:
    """The whole mapping. Raises ValueError where the pool is too small for the network."""

    subscribers: IPv4Network
    pool: tuple[IPv4Address, ...]

    def __post_init__(self) -> None:
        if not self.pool or self.block_size < LEAST_BLOCK:
            raise ValueError(
                f"{self.subscribers} has {self.subscribers.num_addresses} subscribers, for whom "
                f"{len(self.pool)} pool addresses leave less than {LEAST_BLOCK} ports each"
            )

    @property
    def blocks_per_address(self) -> int:
        """As many of the subscribers share one address."""
        return -(-self.subscribers.num_addresses // len(self.pool))

    @property
    def block_size(self) -> int:
        return PORTS // self.blocks_per_address

    def block(self, subscriber: IPv4Address) -> tuple[IPv4Address, range]:
        """A subscriber's address and ports; raises ValueError for a stranger."""
        if subscriber not in self.subscribers:
            raise ValueError(f"{subscriber} is no subscriber of {self.subscribers}")
        number = int(subscriber) - int(self.subscribers.network_address)
        address, place = divmod(number, self.blocks_per_address)
        first = FIRST_PORT + place * self.block_size
        return self.pool[address], range(first, first + self.block_size)

    def subscriber(self, public: Endpoint) -> IPv4Address | None:
        """Inverse of `block`: whose a public address and port are, None for nobody's. What a
        carrier answers an authority with, without a log (RFC 7422)."""
        if public.address not in self.pool or public.port < FIRST_PORT:
            return None
        place = (public.port - FIRST_PORT) // self.block_size
        number = self.pool.index(public.address) * self.blocks_per_address + place
        if place >= self.blocks_per_address or number >= self.subscribers.num_addresses:
            return None
        return self.subscribers.network_address + number

    def candidates(self, client: Endpoint) -> Iterator[Endpoint]:
        """Where a client's flow may come from, in the order of preference."""
        address, ports = self.block(client.address)
        for step in range(len(ports)):
            yield Endpoint(address, ports[(client.port + step) % len(ports)])


class PortSequence:
    """The ports of a device that changes them, in its order."""

    def __init__(self, device: str) -> None:
        self._next = crc32(device.encode()) % PORTS

    def candidates(self, address: IPv4Address) -> Iterator[Endpoint]:
        """Each takes one more; ends when all have been offered."""
        for _ in range(PORTS):
            port = FIRST_PORT + self._next
            self._next = (self._next + 1) % PORTS
            yield Endpoint(address, port)
