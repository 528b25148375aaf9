"""What a BIG-IP does at failover, and the experiments around it.

Layers, each importing only what stands to its left (`tests/test_layers.py` enforces it)::

    wire <- core <- kernel <- device <- lab <- cli        netns <- lab

The way of a packet: the fabric routes a client's segment to the active device; iptables
hands it to NFQUEUE (`kernel.nfqueue`); `core.fastpath` answers for flows that are known,
`core.device` for all others; a new flow goes to the peer first (`core.mirroring`,
`wire.mirror`), then into conntrack (`kernel.conntrack`), then the packet is released.

The way of an experiment: `lab.scenario` -> `lab.world` (namespaces, services, devices,
captures) -> `lab.runner` (sessions, failover, watch) -> `lab.facts` -> `lab.verdict`.
"""

__version__ = "0.1.0"
