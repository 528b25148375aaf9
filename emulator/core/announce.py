"""Where the traffic group's addresses are on a shared segment: ARP's part of a failover.

Floating self IPs, virtual addresses and SNAT addresses belong to whichever device is active.
It answers ARP requests for them, a standby does not, and on becoming active it tells every
neighbour by gratuitous ARP, once per address (`arp.gratuitousburst` 1). With MAC masquerade
the traffic group's own MAC address moves along: caches stay right, and the gratuitous ARP
only teaches the switch at which port that MAC is now (F5: K13502, certification guide).
"""

from __future__ import annotations

from emulator.core.commands import Command, Note, SendArp, SetMac
from emulator.core.config import Config, FloatingAddress
from emulator.core.events import ArpHeard
from emulator.wire.arp import REQUEST, Arp, announcement, answer


class Announcer:
    """Decides on ARP; knows nothing where no address floats (a cloud)."""

    def __init__(self, config: Config) -> None:
        self._floating = config.floating
        self._gratuitous = config.gratuitous_arp
        self._masquerade = config.mac_masquerade
        self._own = {port.name: port.mac for port in config.ports}

    def take_over(self) -> list[Command]:
        """The addresses are here from now on."""
        commands: list[Command] = []
        if self._masquerade:
            commands += [SetMac(port, self._masquerade) for port in self._own]
        if not self._floating:
            return commands
        addresses = [str(f.address) for f in self._floating]
        if not self._gratuitous:
            return [*commands, Note("addresses-taken", {"addresses": addresses})]
        commands.append(Note("addresses-announced", {"addresses": addresses}))
        return [*commands, *(SendArp(f.interface, self._announce(f)) for f in self._floating)]

    def stand_by(self) -> list[Command]:
        """The addresses are the peer's; requests for them go unanswered from here."""
        if not self._masquerade:
            return []
        return [SetMac(port, mac) for port, mac in self._own.items()]

    def heard(self, event: ArpHeard, *, active: bool) -> list[Command]:
        """A request is answered by the active device, for what floats on that interface."""
        packet = event.packet
        wanted = FloatingAddress(event.interface, packet.target)
        asked = packet.opcode == REQUEST and not packet.gratuitous
        if not (active and asked and wanted in self._floating):
            return []
        return [SendArp(event.interface, answer(packet, self._mac(event.interface)))]

    def _announce(self, floating: FloatingAddress) -> Arp:
        return announcement(self._mac(floating.interface), floating.address)

    def _mac(self, interface: str) -> str:
        return self._masquerade or self._own[interface]
