"""The packet filter a device's configuration asks for, and its changes while it runs."""

from __future__ import annotations

from emulator.core.config import Config
from emulator.kernel import rules
from emulator.kernel.arp import set_mac
from emulator.wire.segment import PROTO_UDP


class PacketRules:
    """What reaches the device's queues. Applied at once, and again when an operator's change
    needs more of it; a device whose packets another data plane serves has none."""

    def __init__(self, config: Config) -> None:
        self._copying = _mirrored(config)
        self._apply(config)
        rules.put_on_lo([f.address for f in config.floating])
        # A crashed predecessor may have left the traffic group's MAC behind.
        for port in config.ports if config.mac_masquerade else ():
            set_mac(port.name, port.mac)

    def follow(self, config: Config) -> None:
        """Copy whole what a standard virtual server mirrors, from when an operator turned that
        on; never back: flows from before are still mirrored."""
        wanted = _mirrored(config)
        if not wanted <= self._copying:
            self._copying |= wanted
            self._apply(config)

    def _apply(self, config: Config) -> None:
        if config.data_plane:
            return
        servers = config.virtual_servers
        standard = [v for v in servers if v.standard]
        copied = [v for v in standard if v.name in self._copying]
        rules.apply(
            config.data_interfaces,
            proxied=[a for v in standard for a in config.proxy_addresses(v)],
            mirrored=[a for v in copied for a in config.proxy_addresses(v)],
            floating=[a for v in standard for a in config.floating_addresses(v)],
            transparent=[a for v in standard for a in config.transparent_members(v)],
            datagrams=any(v.takes(PROTO_UDP) for v in servers),
        )


def _mirrored(config: Config) -> set[str]:
    return {v.name for v in config.virtual_servers if v.standard and v.mirroring}
