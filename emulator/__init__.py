"""What a BIG-IP does at failover, and the experiments around it.

Layers, each importing only what stands to its left (`tests/test_layers.py` enforces it)::

    wire <- core <- kernel <- device <- lab <- commands <- cli
    netns <- lab and all to its right

The way of a packet: the fabric routes a client's segment to the active device; iptables
hands it to NFQUEUE (`kernel.nfqueue`); `core.fastpath` answers for flows that are known,
`core.device` for all others; a new flow goes to the peer first (`core.mirroring`,
`wire.mirror`), then into conntrack (`kernel.conntrack`), then the packet is released. Of a
standard virtual server's flow (`core.proxy`) every segment goes to the peer, then into the
device's own TCP (`device.relay`).

The way of a failover: `core.failover` changes the role; `core.traffic` restores the flows
(`core.tracker` says how, `kernel.tcprepair` does); then the world is told, a cloud by
`core.cloudfailover` and `device.extension`, shared segments by `core.announce`; `core.kick`
wakes the ends; `core.resync` fills the peer that comes back.

What comes from the peer, or whoever says he is: `device.doorway` (who becomes the channel),
`device.secure` and `device.trust` (TLS), `core.heartbeatguard`, `core.intake` (order, amounts),
`core.refusals` (the account of it); `lab.trust` makes the keys. `docs/security.md`.

What users have becomes a scenario in `lab.inputs`; `lab.lint` warns before a run.

The way of an experiment: `lab.settings.scenario` -> `lab.instance` (namespaces, services, devices)
-> `lab.runner` and `lab.experiment` (captures, sessions, failover, watch) -> `lab.judge.tracing` ->
`lab.judge.facts` -> `lab.judge.verdict` (`explain`, and rules by subject: `proxied`, `mirrorrules`,
`fabricrules`, `endrules`, `splitbrain`; `datagrams` and `shortlived` for what is no long TCP
connection) -> `result.json`, comments in the capture (`lab.annotate`), the page (`lab.report`).
Traffic is `lab.workload`'s or a recording's (`lab.replay`). Many runs towards one answer:
`lab.study` (`why`, `matrix`, `claims`, `confusion`, `differential` with the data planes of
`lab.peers`), a process a run (`batch`). A running lab by hand: `commands.hands`,
`lab.readiness`, `lab.topview`; `lab.behind` does what no scenario tells of.
"""

__version__ = "0.1.0"
