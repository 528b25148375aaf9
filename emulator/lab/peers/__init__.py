"""Other data planes under the same failover, to compare the lab's BIG-IP with.

The device's process goes on deciding its role, beating its heart and telling the cloud; it
leaves the packets alone. What serves them is written from the same `core.config.Config`:

    rules       the kernel's part: addresses, NAT, what a standby drops
    conntrackd  kernel NAT, mirrored by conntrackd (stands beside a fastL4 virtual server)
    haproxy     HAProxy, mode tcp, nothing mirrored (beside a standard one)
    dataplane   the effects: starts and asks them
"""
