"""The picture of `mirrorlab top`, and how it comes from what the kernel and the journals say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emulator.lab import watch
from emulator.lab.topview import (
    KEYS,
    Event,
    Row,
    Socket,
    View,
    copy_of,
    lines,
    outcome,
    plain,
    summary,
)  # fmt: skip
from emulator.lab.watch import Tail, Watcher, parse_ss

LAG = {"messages": 2, "bytes": 900, "seconds": 0.25}


def status(role: str, channel: str = "up") -> dict[str, Any]:
    return {"role": role, "since_s": 75.0, "flows": 1, "mirror_channel": channel, "mirror_lag": LAG}


VIEW = View(
    "lab0", "article", 3661.0, {"bigip-a": status("active"), "bigip-b": status("standby")},
    (Row("10.0.1.10:40000", "10.99.0.10:22", age_s=130, idle_s=2, bytes_to_server=12345,
         bytes_to_client=99, copy="yes", outcome="alive"),),
    tuple(Event(60.0 * i, "bigip-a", f"event-{i} " + "x" * 100) for i in range(50)),
    client="10.0.1.10", backends=("backend-1", "backend-2"), routed_to="bigip-a",
)  # fmt: skip


def text(view: View, width: int = 80, height: int = 24) -> list[str]:
    return [line.plain.rstrip() for line in lines(view, width, height)]


def test_eighty_by_twenty_four() -> None:
    shown = text(VIEW)
    assert shown[:9] == [
        "mirrorlab top  01:01:01  lab lab0: article",
        " client 10.0.1.10 -- router --+-- bigip-a ACTIVE     75s  1 flows  <- routes",
        "                              |      | mirroring up, lag 900 B 0.250 s",
        "                              +-- bigip-b STANDBY    75s  1 flows",
        "                              +-- backend-1, backend-2",
        "",
        "client                   age  bytes >  bytes <   last copy       so far",
        "10.0.1.10:40000           2m    12.3k       99     2s yes        alive",
        "log",
    ]
    assert shown[-2].startswith("00:49:00 bigip-a  event-49")
    assert shown[-1] == KEYS


@pytest.mark.parametrize("width", [20, 80, 81, 132, 200])
@pytest.mark.parametrize("height", [5, 10, 24, 60])
def test_it_fits_every_size(width: int, height: int) -> None:
    many = replace(VIEW, rows=VIEW.rows * 40)
    for view in (VIEW, many, replace(VIEW, events=(), rows=())):
        drawn = lines(view, width, height)
        assert len(drawn) == height
        assert max(line.cell_len for line in drawn) <= width


def test_with_many_connections_the_newest_events_stay() -> None:
    shown = text(replace(VIEW, rows=VIEW.rows * 40))
    assert [line for line in shown if "event-49" in line]
    assert sum("10.0.1.10:40000" in line for line in shown) >= 8


def test_a_dead_device_and_a_lost_channel() -> None:
    dead = replace(VIEW, status={"bigip-a": {}, "bigip-b": status("active", "down")})
    shown = text(replace(dead, faults=("API outage",), message=" bigip-a: power-off "))
    assert "bigip-a DEAD" in shown[1]
    assert shown[2].endswith("mirroring down")
    assert "[API outage]" in shown[0]
    both = replace(dead, lab="x" * 16, faults=("channel fault", "API outage"))
    assert "[channel fault, API outage]" in text(both)[0]  # not what is cut off at 80
    assert shown[-1] == " bigip-a: power-off"
    assert "bigip-a DEAD, bigip-b ACTIVE; mirroring down" in summary(dead)


def test_one_end_only() -> None:
    half = {"bigip-a": status("active"), "bigip-b": status("standby", "down")}
    assert "mirroring one end only" in text(replace(VIEW, status=half))[2]


def test_plain_lists_the_same() -> None:
    said = plain(VIEW)
    assert any("bigip-a ACTIVE" in line for line in said)
    assert any("10.99.0.10:22" in line for line in said)
    assert "\x1b" not in "".join(said)


@pytest.mark.parametrize(
    ("socket", "ended", "said"),
    [
        (Socket("ESTAB"), "", "alive"),
        (Socket("ESTAB", backoff=2, last_received_s=0.2), "", "alive"),
        (Socket("ESTAB", backoff=3, last_received_s=12.4), "", "silent 12s rtx 3"),
        (Socket("ESTAB", last_received_s=300), "", "alive"),  # idle, and nothing unacknowledged
        (Socket("SYN-SENT"), "", "opening"),
        (Socket("FIN-WAIT-2"), "", "closing"),
        (None, "RESET by an end", "RESET by an end"),
        (None, "", "closed"),
    ],
)
def test_outcome_so_far(socket: Socket | None, ended: str, said: str) -> None:
    assert outcome(socket, ended) == said


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (None, "no"),
        ({}, "yes"),
        ({"serves_as": "10.88.0.10:1"}, "yes"),
        ({"serves_as": "10.0.21.11:1"}, "other SNAT"),
        ({"unusable": "why"}, "unusable"),
    ],
)
def test_copy_at_the_peer(entry: dict[str, Any] | None, said: str) -> None:
    assert copy_of({"snat": "10.88.0.10:1"}, entry) == said


SS = (
    "ESTAB 0      36     10.0.1.10:50160     10.99.0.10:22    cubic wscale:7,7 rto:1632 backoff:3 "
    "rtt:0.6/0.3 mss:1448 bytes_sent:5000 bytes_retrans:108 bytes_acked:4892 bytes_received:3241 "
    "lastsnd:1204 lastrcv:4056 lastack:4056 unacked:1 retrans:1/3\n"
    "SYN-SENT 0   1      10.0.1.10:50162     10.99.0.10:23    cubic rto:1000 mss:524\n"
    "\n"
)


def test_what_ss_says() -> None:
    assert parse_ss(SS) == {
        "10.0.1.10:50160": Socket("ESTAB", 3, 4.056, 4892, 3241),
        "10.0.1.10:50162": Socket("SYN-SENT"),
    }


def test_a_log_is_read_as_it_grows(tmp_path: Path) -> None:
    """Of what was there before, the end; a line that is still being written, later."""
    path = tmp_path / "log.jsonl"
    old = "".join(json.dumps({"n": n, "pad": "x" * 90}) + "\n" for n in range(1000))
    path.write_text(old)
    tail = Tail(path)
    first = [record["n"] for record in tail.read()]
    assert first[-1] == 999
    assert 100 < len(first) < 300
    with path.open("a") as file:
        file.write('{"n": 1000}\n{"n": 10')
        file.flush()
        assert [record["n"] for record in tail.read()] == [1000]
        file.write("01}\n")
        file.flush()
        assert [record["n"] for record in tail.read()] == [1001]
    assert Tail(tmp_path / "none").read() == []


def test_a_flow_of_datagrams_is_shown_as_long_as_the_active_device_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = {
        "client": "10.0.1.10:40000", "virtual": "10.99.0.10:53", "snat": "10.88.0.10:40000",
        "member": "10.0.31.100:53", "protocol": "udp", "age_s": 3, "idle_s": 1,
        "bytes": {"to_server": 5, "to_client": 7},
    }  # fmt: skip
    tables: dict[str, list[dict[str, Any]]] = {"bigip-a": [flow], "bigip-b": [flow]}
    lab = SimpleNamespace(evidence=tmp_path, scenario=SimpleNamespace(world="cloud"))
    watcher = Watcher(lab)  # type: ignore[arg-type]
    monkeypatch.setattr(watch, "flows", lambda _, node: tables[node])
    monkeypatch.setattr(watcher, "_sockets", dict)
    roles = {"bigip-a": {"role": "active"}, "bigip-b": {"role": "standby"}}

    def shown() -> list[tuple[str, str, str]]:
        watcher._follow(roles)
        return [(r.client, r.copy, r.outcome) for r in watcher._rows.values()]

    assert shown() == [("10.0.1.10:40000/udp", "yes", "passing")]
    tables["bigip-a"] = []
    assert shown() == [("10.0.1.10:40000/udp", "yes", "closed")]
