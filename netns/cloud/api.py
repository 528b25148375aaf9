"""The API as a process: `python -m netns.cloud.api CONFIG`, in the `api` namespace.

It listens at once and answers once moto is loaded (a second or two): connections made
meanwhile wait in the socket, as they would for a busy endpoint. CONFIG is the fabric's; the
fabric is asked over the unix socket beside it.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netns.cloud.line import Line, read_world
from netns.topology import API_PORT, World


def connect(path: Path, timeout_s: float = 15.0) -> Line:
    """The fabric, which may still be starting; raises OSError when it does not come."""
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(OSError):
            return Line(path)
        if time.monotonic() > deadline:
            raise OSError(f"no fabric at {path}")
        time.sleep(0.05)


def serve(config: Mapping[str, Any], world: World, line: Line, moment: Path) -> Any:
    """The HTTP server on the API's address, not yet serving."""
    address = str(world.interface("api", "eth0").address)
    listener = socket.create_server((address, API_PORT), backlog=1024)
    from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

    from netns.cloud.aws import Aws
    from netns.cloud.faultfile import FaultFile
    from netns.cloud.front import Fault, Front, Key, Outage, Settings
    from netns.cloud.throttle import PUBLISHED, Throttle

    api = config["api"]
    sizes = {n: (b["size"], b["refill_per_s"]) for n, b in api["buckets"].items()}
    settings = Settings(
        region=api["region"],
        keys={
            key: Key(owner, secret, tuple(denied)) for key, owner, secret, denied in config["keys"]
        },
        authentication_s=api["authentication_s"],
        queue_s=api["queue_s"],
        throttle=Throttle({**PUBLISHED, **sizes}) if api["throttling"] else None,
        faults=FaultFile(
            moment.with_name("api-faults.json"),
            [
                Fault(e["action"], e["code"], e["status"], e["rate"], e["next"], e["device"])
                for e in api["errors"]
            ],
        ),
    )
    aws = Aws(api["region"], line.ask)
    aws.seed(world, config["tags"], config["bucket"])
    outage = Outage(api["outage"], moment)

    class Handler(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:
            """Silence: what matters is in the fabric's log."""

    class Server(ThreadedWSGIServer):
        daemon_threads = True

        def verify_request(self, request: Any, client_address: Any) -> bool:
            return not outage.now()

    front = Front(settings, aws.application, lambda a, c: line.ask({"refused": a, "code": c}))
    warm_up(aws.application, api["region"])
    return Server(address, API_PORT, front, handler=Handler, fd=listener.detach())


def warm_up(application: Any, region: str) -> None:
    """moto loads an action's description with the first request; that one shall be ours."""
    from werkzeug.test import Client

    client = Client(application)
    for service, path in (("ec2", "/?Action=DescribeRouteTables"), ("s3", "/")):
        scope = f"Credential=lab/20260101/{region}/{service}/aws4_request"
        headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"}
        client.get(path, headers=headers)


def main() -> int:
    """Exit 0 after SIGTERM, 1 when the fabric does not answer."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(sys.argv[1])
    config = json.loads(path.read_text())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        line = connect(path.with_suffix(".sock"))
        server = serve(config, read_world(config), line, path.with_name("moment"))
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    line.ask({"note": "api-ready"})
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
