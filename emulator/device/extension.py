"""The failover extension as a process: `python -m emulator.device.extension`.

A process of its own, as on a BIG-IP: an SDK's work must not hold up the device's packets.
stdin: the device's configuration as one JSON line, then {"trigger": true}, {"cancel": true},
{"dry_run": true} or, before a trigger, {"prepare": true}: to look up by then what that will change;
stdout: what happened, one JSON line each (`cloudclient` makes events of
them); the end of stdin ends it. `core.cloudfailover` decides what is asked; here it is asked,
with boto3, in threads, each failed call again after 5 s, at most 50 times, without the SDK's own
retries (`util.retrier`, CFE 2.5.0).

State object, in S3 below f5cloudfailover/: RUNNING before anything is looked up, again with
the operations before anything is changed, then SUCCEEDED or FAILED. While another device's
task is RUNNING: asked again every 3 s, at most 400 times; then the failover goes on.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from emulator.core import cloudfailover as plan
from emulator.core.cloudfailover import Call, Operations, Own, PlanError
from emulator.core.config import CloudFailover, Config
from emulator.core.declaration import Declaration, DeclarationError, read
from emulator.device.aws import Aws
from emulator.device.configfile import parse

ATTEMPTS = 50
WAIT_S, WAITS = 3.0, 400
THREADS = 1000  # "all in parallel": as many as a table may have routes
_DRY_RUN = ("ReplaceRoute", "AssociateAddress", "DisassociateAddress")  # EC2 has it for these

Tell = Callable[[Mapping[str, object]], None]


class Cancelled(Exception):
    """The device stands by: nothing more is asked."""


class CallFailed(Exception):
    """Every attempt failed; the text is the last error's."""


class Task:
    """One failover, from the trigger to SUCCEEDED or FAILED."""

    def __init__(
        self, declaration: Declaration, own: Own, ask: Callable[[Call], tuple[Any, str]],
        retry_s: float, tell: Tell,
    ) -> None:  # fmt: skip
        self._declaration, self._own, self._ask = declaration, own, ask
        self._retry_s, self._tell = retry_s, tell
        self._cancelled = threading.Event()
        self._released = threading.Event()
        self._released.set()
        self._bucket = ""
        self._operations = Operations()

    def hold(self) -> None:
        """Change nothing before `release`; look up all the same."""
        self._released.clear()

    def release(self) -> None:
        """What was looked up may be done; safe from any thread."""
        self._released.set()

    def cancel(self) -> None:
        """Ask for nothing more; safe from any thread."""
        self._cancelled.set()
        self._released.set()

    def run(self) -> None:
        """Never raises: how it ended is told."""
        self._note("failover-started")
        try:
            self._bucket = self._find_bucket()
            operations = plan.recovered(self._wait_for_turn())
            self._put("RUNNING", "Failover running")
            if operations is not None:
                self._note("failover-recovery")
            self._operations = operations or self._discover()
            self._put("RUNNING", "Failover running")
            self._released.wait()
            self._carry_out(self._operations)
            self._put("SUCCEEDED", "Failover Complete")
            self._complete()
        except Cancelled:
            # Left at RUNNING, the state would keep the peer waiting for twenty minutes.
            self._note("failover-cancelled")
            self._end("SUCCEEDED", "Failover state file was reset")
        except (PlanError, CallFailed) as error:
            self._failed(str(error))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # An answer of another form than AWS's: the extension's own code throws there too.
            self._failed(f"{type(error).__name__}: {error}")

    def _complete(self) -> None:
        done = self._operations
        addresses = len(done.elastic) + len(done.secondary)
        details = {"routes": len(done.routes), "addresses": addresses}
        self._note("failover-complete", **details, unchanged=len(done.same))

    def _failed(self, reason: str) -> None:
        self._note("failover-failed", reason=reason)
        self._end("FAILED", f"Failover failed because {reason}")

    def _end(self, task: str, message: str) -> None:
        """Write the last state once, if there is a place for it."""
        if self._bucket:
            _, error = self._ask(self._state(task, message))
            if error:
                self._note("cloud-call-failed", call="PutObject", error=error)

    def _find_bucket(self) -> str:
        storage = self._declaration.external_storage
        assert storage is not None  # `read` refuses a declaration without
        if storage.scoping_name is not None:
            self._call(Call("s3", "HeadBucket", {"Bucket": storage.scoping_name}))
            return storage.scoping_name
        wanted = {k: str(v) for k, v in (storage.scoping_tags or {}).items()}
        for row in self._call(Call("s3", "ListBuckets"))["Buckets"]:
            call = Call("s3", "GetBucketTagging", {"Bucket": row["Name"]}, optional=True)
            answer = self._call(call) or {"TagSet": []}
            tags = {pair["Key"]: pair["Value"] for pair in answer["TagSet"]}
            if wanted.items() <= tags.items():
                return str(row["Name"])
        raise PlanError(f"no storage bucket has the tags {wanted}")

    def _wait_for_turn(self) -> Mapping[str, Any]:
        """The state object, once no other device's task is running."""
        state: Mapping[str, Any] = {}
        for turn in range(WAITS):
            state = self._read_state()
            other = state.get("instance")
            if state.get("taskState") != "RUNNING" or other == self._own.name:
                return state
            if turn == 0:
                self._note("failover-waiting", other=other)
            if self._cancelled.wait(WAIT_S):
                raise Cancelled
        return state

    def _read_state(self) -> Mapping[str, Any]:
        listed = self._call(
            Call("s3", "ListObjectsV2", {"Bucket": self._bucket, "Prefix": self._key})
        )
        if not any(row["Key"] == self._key for row in listed.get("Contents", ())):
            return {}
        where = {"Bucket": self._bucket, "Key": self._key}
        answer = self._call(Call("s3", "GetObject", where))
        try:
            state = json.loads(answer["Body"].read())
        except ValueError as error:
            raise PlanError(f"the state object is not JSON: {error}") from error
        return state if isinstance(state, dict) else {}

    @property
    def _key(self) -> str:
        storage = self._declaration.external_storage
        assert storage is not None
        return f"f5cloudfailover/{storage.state_file_name}"

    def _state(self, task: str, message: str) -> Call:
        body = {
            "taskState": task,
            "message": message,
            "timestamp": datetime.now(UTC).isoformat(),
            "instance": self._own.name,
            "failoverOperations": plan.stored(self._operations),
        }
        where = {"Bucket": self._bucket, "Key": self._key}
        return Call("s3", "PutObject", {**where, "Body": json.dumps(body).encode()})

    def _put(self, task: str, message: str) -> None:
        self._call(self._state(task, message))

    def _discover(self) -> Operations:
        calls = plan.discovery(self._declaration, self._own)
        found = dict(zip(calls, self._at_once(calls.values()), strict=True))
        answers = {name: _rows(answer) for name, answer in found.items()}
        tables = answers.get("tables", [])
        hops, warnings = plan.look_ups(self._declaration, self._own, tables)
        nics = dict(zip(hops, self._at_once(hops.values()), strict=True))
        interfaces = {
            hop: str(_rows(answer)[0]["NetworkInterfaceId"])
            for hop, answer in nics.items()
            if _rows(answer)
        }
        routes = plan.route_operations(self._declaration, self._own, tables, interfaces)
        addresses = plan.address_operations(self._declaration, self._own, answers)
        for warning in warnings:
            self._note("failover-warning", text=warning)
        for table, destination in routes.same:
            self._tell({"route": [table, destination, "", False]})
        return plan.joined(routes, addresses)

    def _carry_out(self, operations: Operations) -> None:
        tracks = plan.tracks(operations)
        failures: list[Exception] = []

        def follow(stages: Sequence[Sequence[Call]]) -> None:
            try:
                for stage in stages:
                    self._at_once(stage)
            except (Cancelled, CallFailed) as error:
                failures.append(error)

        threads = [threading.Thread(target=follow, args=(track,)) for track in tracks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def _at_once(self, calls: Iterable[Call]) -> list[Any]:
        """All calls in parallel, their answers in order; raises what the first one raised."""
        todo = list(calls)
        if not todo:
            return []
        with ThreadPoolExecutor(min(len(todo), THREADS)) as pool:
            return [future.result() for future in [pool.submit(self._call, c) for c in todo]]

    def _call(self, call: Call) -> Any:
        """The answer; None for an optional call that failed. Raises Cancelled, CallFailed."""
        if call.subject:
            kind = "route" if call.action == "ReplaceRoute" else "address"
            self._note(f"{kind}-requested", **self._details(call))
        for attempt in range(1, ATTEMPTS + 1):
            if self._cancelled.is_set():
                raise Cancelled
            answer, error = self._ask(call)
            self._answered(call, error, attempt)
            if not error:
                return answer
            if call.optional:
                return None
            if attempt < ATTEMPTS and self._cancelled.wait(self._retry_s):
                raise Cancelled
        raise CallFailed(f"{call.action}: {error}; given up after {ATTEMPTS} attempts")

    def _answered(self, call: Call, error: str, attempt: int) -> None:
        if error and attempt == ATTEMPTS:
            error += f"; given up after {ATTEMPTS} attempts"
        subject = call.subject
        if "table" in subject:
            self._tell({"route": [subject["table"], subject["destination"], error, True]})
        elif subject:
            told = [call.action, subject["address"], subject["target"], error]
            self._tell({"address": told})
        elif error:
            self._note("cloud-call-failed", call=call.action, error=error, attempt=attempt)

    def _details(self, call: Call) -> dict[str, object]:
        details: dict[str, object] = {k: v for k, v in call.subject.items() if v}
        return details if "table" in details else {"action": call.action, **details}

    def _note(self, what: str, **details: object) -> None:
        self._tell({"note": what, "details": details})


class Rehearsal(Task):
    """What a failover would do, asked for and not done (CFE: trigger with "action": "dry-run").

    The state object is read, everything is looked up; of each changing call that EC2 has a
    DryRun for, one is made with it: that asks whether the device may. No call is repeated.
    """

    def __init__(
        self, declaration: Declaration, own: Own, ask: Callable[[Call], tuple[Any, str]]
    ) -> None:
        super().__init__(declaration, own, ask, 0.0, lambda _: None)

    def found(self) -> dict[str, object]:
        """{"state": "ok", "routes", "addresses", "same": how many} or {"state": "failed",
        "reason"}; never raises."""
        try:
            self._bucket = self._find_bucket()
            self._read_state()
            wanted = self._discover()
            self._permitted(wanted)
        except (PlanError, CallFailed) as error:
            return {"state": "failed", "reason": str(error)}
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            return {"state": "failed", "reason": f"{type(error).__name__}: {error}"}
        addresses = len(wanted.elastic) + len(wanted.secondary)
        done = {"routes": len(wanted.routes), "addresses": addresses, "same": len(wanted.same)}
        return {"state": "ok", **done}

    def _permitted(self, wanted: Operations) -> None:
        calls = [c for track in plan.tracks(wanted) for stage in track for c in stage]
        for call in {c.action: c for c in calls if c.action in _DRY_RUN}.values():
            asked = Call(call.service, call.action, {**call.parameters, "DryRun": True})
            _, error = self._ask(asked)
            if not error.startswith("DryRunOperation"):
                raise CallFailed(f"{call.action}: {error or 'carried out, not only asked'}")

    def _call(self, call: Call) -> Any:
        answer, error = self._ask(call)
        if error and not call.optional:
            raise CallFailed(f"{call.action}: {error}")
        return None if error else answer


def _rows(answer: Any) -> list[Any]:
    """The one list of a Describe answer."""
    return next((v for v in answer.values() if isinstance(v, list)), [])


def identity(config: Config, access: CloudFailover) -> Own:
    """What the extension reads from the device: self IPs and floating addresses."""
    floating = [a for v in config.virtual_servers for a in config.floating_addresses(v)]
    own = tuple(str(s.address) for s in config.self_ips)
    return Own(config.name, access.instance, own, tuple(map(str, floating)))


def main() -> int:
    """Exit 0 at the end of stdin."""
    lock = threading.Lock()

    def tell(line: Mapping[str, object]) -> None:
        with lock:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()

    config = parse(sys.stdin.readline().encode(), "standard input")
    access = config.cloud_failover
    assert access is not None
    try:
        declaration = read(access.declaration)
    except DeclarationError as error:
        tell({"note": "declaration-refused", "details": {"reason": str(error)}})
        reason = f"the declaration was refused: {error}"
        for line in sys.stdin:
            if json.loads(line).get("trigger"):
                tell({"note": "failover-failed", "details": {"reason": reason}})
            if json.loads(line).get("dry_run"):
                tell({"note": "dry-run", "details": {"state": "failed", "reason": reason}})
        return 0
    ask = Aws(access)
    tell({"note": "declaration-accepted", "details": {}})
    own = identity(config, access)
    serve(
        lambda: Task(declaration, own, ask, access.retry_s, tell),
        lambda: tell({"note": "dry-run", "details": Rehearsal(declaration, own, ask).found()}),
    )
    return 0


def serve(
    make: Callable[[], Task],
    rehearse: Callable[[], None] = lambda: None,
    lines: Iterable[str] = sys.stdin,
) -> None:
    """Triggers and cancellations; a new trigger ends the failover under way. A dry run disturbs
    none."""
    task: Task | None = None
    prepared = False
    for line in lines:
        told = json.loads(line)
        if told.get("dry_run"):
            threading.Thread(target=rehearse, name="dry-run", daemon=True).start()
            continue
        if told.get("trigger") and prepared and task is not None:
            task.release()
            prepared = False
            continue
        if task is not None:
            task.cancel()
            task = None
        prepared = bool(told.get("prepare"))
        if told.get("trigger") or prepared:
            task = make()
            if prepared:
                task.hold()
            threading.Thread(target=task.run, name="failover", daemon=True).start()
    if task is not None:
        task.cancel()


if __name__ == "__main__":
    sys.exit(main())
