"""The applications whose sessions the lab runs, and the ports they are known by."""

PORTS: dict[str, int] = {
    "ssh": 22, "telnet": 23, "echo": 7, "bulk": 5001, "idle": 5002, "feed": 5007, "pausing": 5008,
    "reconnect": 5011,
}  # fmt: skip
DATAGRAM_PORTS: dict[str, int] = {"udp": 5010}
NAMES: dict[int, str] = {port: name for name, port in PORTS.items()}
