"""One end of the replayed flows: `python -m emulator.lab.replay.player PLAN END LOG`.

END is "client" or the address a server listens on. PLAN is a JSON file: `address` (what the
client connects to), `speed`, `go` (a file), `mark` ([frame, s] after which the failover comes,
or null), `flows` ({`name`, `port`, `script`, `start_s`, `marked`}).

Both ends walk through the same script. An end says what is its own once it has received, and
found right, all that had been said before it in the recording, and once as much time has
passed since as had in the recording. So the order holds, and the pace; what an outage
delays delays what depends on it, as it would have.

At the mark both ends stop until the file `go` exists. A flow that was open when its recording
ended stays open: the client then says PROBE twice a second, the server gives it back, to show
that the connection lives. LOG gets JSON lines, `session` being the flow's name:

    replayed  port                which port its packets are known by
    open                          (client) connected
    mark                          this end is at the mark; of session "" the client's clock is
    progress  sent, received      bytes so far, at most every 0.1 s; server-progress likewise
    wrong     offset, octets      what was received there differs from the recording
    over      sent, received      every byte of the script was said or received by this end
    ended     reason, received    the connection is closed; server-ended likewise
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TextIO

from emulator.lab.replay.flows import CLIENT, SERVER
from emulator.lab.replay.script import FIN, Saying, read

PROBE = b"mirrorlab: does this connection live?\n"
AS_RECORDED = "closed as recorded"
_PROBE_S = 0.5
_GO_S = 0.005
_CONNECT_S = 15.0
_CHUNK = 1 << 16

Plan = dict[str, Any]


class Differs(Exception):
    """The far end said something else than its part."""


class Stage:
    """What all flows of one end share: plan, clock, log, the mark."""

    def __init__(self, plan: Plan, who: int, log: TextIO) -> None:
        self._log, self.who, self.speed = log, who, float(plan["speed"])
        self.mark: tuple[int, float] | None = tuple(plan["mark"]) if plan["mark"] else None
        self._go, self._node = Path(plan["go"]), "client" if who == CLIENT else "server"
        self.began = self.went_on = 0.0

    def log(self, what: str, session: str, **details: object) -> None:
        line = {"time": round(time.time(), 6), "node": self._node, "session": session, "what": what}
        self._log.write(json.dumps({**line, **details}) + "\n")

    async def wait_go(self) -> None:
        """Until the failover begins."""
        while not self._go.exists():
            await asyncio.sleep(_GO_S)
        self.went_on = self.went_on or time.monotonic()


class Part:
    """One end of one flow, over an open connection."""

    def __init__(
        self, stage: Stage, flow: Plan, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._stage, self._name = stage, str(flow["name"])
        self._script, self._marked = Path(flow["script"]), bool(flow["marked"])
        self._reader, self._writer = reader, writer
        self._lost = asyncio.ensure_future(writer.wait_closed())
        self._done_at = time.monotonic()  # when what comes before the next saying was done
        self._at_s = float(flow["start_s"])  # and when it was in the recording
        self.sent = self.received = 0
        self._next_report = 0.0
        self._fins: set[int] = set()

    async def play(self) -> None:
        """To the end of the connection; logs why it ended."""
        prefix = "" if self._stage.who == CLIENT else "server-"
        reason = ""
        try:
            await self._follow()
            reason = await self._close() if self._fins else await self._live_on()
        except Differs:
            reason = "bytes came that were never sent"
        except asyncio.IncompleteReadError:
            reason = "closed by the far end"
        except OSError as error:
            reason = error.strerror or str(error)
        finally:
            self._lost.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._lost
            self._writer.close()
        self._stage.log(f"{prefix}ended", self._name, reason=reason, received=self.received)

    async def _follow(self) -> None:
        stage = self._stage
        for saying in read(self._script):
            if self._marked and stage.mark is not None and saying.frame > stage.mark[0]:
                await self._at_mark(stage.mark[1])
            if saying.who == stage.who:
                await self._due(saying.time_s)
                await self._say(saying)
            else:
                await self._hear(saying)
            self._done_at, self._at_s = time.monotonic(), saying.time_s
        if self._marked and stage.mark is not None and len(self._fins) == 0:
            await self._at_mark(stage.mark[1])
        self._report(force=True)
        stage.log("over", self._name, sent=self.sent, received=self.received)

    async def _at_mark(self, mark_s: float) -> None:
        self._marked = False
        await self._due(mark_s)
        self._report(force=True)
        self._stage.log("mark", self._name)
        await self._or_lost(self._stage.wait_go())
        self._done_at, self._at_s = time.monotonic(), max(mark_s, self._at_s)

    async def _due(self, time_s: float) -> None:
        """Wait until the recording's `time_s`; raises OSError when the connection is lost."""
        wait_s = self._done_at + (time_s - self._at_s) / self._stage.speed - time.monotonic()
        if wait_s > 0:
            await self._or_lost(asyncio.sleep(wait_s))

    async def _or_lost(self, waiting: Awaitable[None]) -> None:
        task = asyncio.ensure_future(waiting)
        await asyncio.wait({task, self._lost}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            self._lost.result()  # raises what the connection was lost by
            raise asyncio.IncompleteReadError(b"", None)

    async def _say(self, saying: Saying) -> None:
        if saying.kind == FIN:
            self._fins.add(saying.who)
            self._writer.write_eof()
            return
        for at in range(0, saying.octets, _CHUNK):
            part = _part(saying, at)
            self._writer.write(part)
            await self._writer.drain()
            self.sent += len(part)
            self._report()

    async def _hear(self, saying: Saying) -> None:
        if saying.kind == FIN:
            self._fins.add(saying.who)
            await self._expect_end()
            return
        at = 0
        while at < saying.octets:
            got = await self._reader.read(min(_CHUNK, saying.octets - at))
            if not got:
                raise asyncio.IncompleteReadError(b"", saying.octets - at)
            self._check(got, _part(saying, at)[: len(got)])
            at += len(got)

    def _check(self, got: bytes, expected: bytes) -> None:
        if got != expected:
            pairs = enumerate(zip(got, expected, strict=False))
            same = next((i for i, (a, b) in pairs if a != b), len(expected))
            place = {"offset": self.received + same, "octets": len(got) - same}
            self._stage.log("wrong", self._name, **place)
            raise Differs
        self.received += len(got)
        self._report()

    def _report(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if force or now >= self._next_report:
            self._next_report = now + 0.1
            what = "progress" if self._stage.who == CLIENT else "server-progress"
            self._stage.log(what, self._name, sent=self.sent, received=self.received)

    async def _expect_end(self) -> None:
        more = await self._reader.read(1)
        if more:
            self._stage.log("wrong", self._name, offset=self.received, octets=len(more))
            raise Differs

    async def _close(self) -> str:
        """As recorded; where only one end's FIN was recorded, the other one's follows."""
        if self._stage.who not in self._fins:
            self._writer.write_eof()
        if 1 - self._stage.who not in self._fins:
            await self._expect_end()
        await self._writer.drain()
        return AS_RECORDED

    async def _live_on(self) -> str:
        """Probes, until the far end is gone or the run is over."""
        while True:
            if self._stage.who == CLIENT:
                await self._or_lost(asyncio.sleep(_PROBE_S))
                self._writer.write(PROBE)
                await self._writer.drain()
                self.sent += len(PROBE)
                self._report(force=True)
            self._check(await self._reader.readexactly(len(PROBE)), PROBE)
            if self._stage.who == SERVER:
                self._writer.write(PROBE)
                await self._writer.drain()
                self.sent += len(PROBE)
            self._report(force=True)


def _part(saying: Saying, at: int) -> bytes:
    return saying.data[at : at + _CHUNK] or bytes(min(_CHUNK, saying.octets - at))


async def _call(stage: Stage, flow: Plan, address: str, first_s: float) -> None:
    """The client's end of one flow, from its beginning in the recording on."""
    since, at_s = stage.began, first_s
    if stage.mark is not None and not flow["marked"]:
        await stage.wait_go()  # it began after the failover
        since, at_s = stage.went_on, stage.mark[1]
    await asyncio.sleep(max(0.0, since + (flow["start_s"] - at_s) / stage.speed - time.monotonic()))
    name, port = str(flow["name"]), int(flow["port"])
    stage.log("replayed", name, port=port)
    try:
        streams = await asyncio.wait_for(asyncio.open_connection(address, port), _CONNECT_S)
    except TimeoutError:
        stage.log("ended", name, reason="Connection timed out", received=0)
        return
    except OSError as error:
        stage.log("ended", name, reason=error.strerror or str(error), received=0)
        return
    stage.log("open", name)
    await Part(stage, flow, *streams).play()


async def _clock(stage: Stage, first_s: float) -> None:
    """Say when the mark's own time has come, whatever the flows are at."""
    if stage.mark is not None:
        await asyncio.sleep(max(0.0, (stage.mark[1] - first_s) / stage.speed))
        stage.log("mark", "")


async def client(plan: Plan, log: TextIO) -> None:
    """All flows, each at its time."""
    stage = Stage(plan, CLIENT, log)
    stage.began = time.monotonic()
    flows = plan["flows"]
    first_s = min(flow["start_s"] for flow in flows)
    calls = [_call(stage, flow, plan["address"], first_s) for flow in flows]
    await asyncio.gather(_clock(stage, first_s), *calls)


async def server(plan: Plan, address: str, log: TextIO) -> None:
    """Listen for all flows."""
    stage = Stage(plan, SERVER, log)

    def part(flow: Plan) -> Callable[..., Awaitable[None]]:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await Part(stage, flow, reader, writer).play()

        return accept

    for flow in plan["flows"]:
        await asyncio.start_server(part(flow), address, flow["port"])
    stage.log("listening", "")
    await asyncio.Event().wait()


def main() -> int:
    """The client's process ends with its last flow, the server's when it is killed."""
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    plan: Plan = json.loads(Path(sys.argv[1]).read_text())
    with open(sys.argv[3], "a", buffering=1) as log:
        here = sys.argv[2]
        asyncio.run(client(plan, log) if here == "client" else server(plan, here, log))
    return 0


if __name__ == "__main__":
    sys.exit(main())
