"""What the host lacks is said with how to get it, and stops what cannot work."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner

from emulator import cli
from emulator.commands.terminal import CANNOT
from netns import doctor
from netns.execute import RUN_NETNS


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name, path: None)
    found = {check.name: check for check in doctor.missing(doctor.examine())}
    assert found["dumpcap"].remedy == "the Debian package wireshark-common"


@pytest.mark.parametrize("words", [["run", "article"], ["up"]])
def test_a_missing_kernel_feature_is_one_clear_line(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = doctor.Check("NFQUEUE", False, "no such target", "modprobe xt_NFQUEUE")
    optional = doctor.Check("TCP_REPAIR", False, "no", "another kernel", needed=False)
    monkeypatch.setattr(doctor, "examine", lambda *_: [lacking, optional])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    done = CliRunner().invoke(cli.cli, words)
    assert done.exit_code == CANNOT
    assert done.stderr == (
        "mirrorlab: this host lacks NFQUEUE: no such target (needs: modprobe xt_NFQUEUE)\n"
    )
    assert done.stdout == ""


@pytest.mark.root
def test_this_host_is_fit_and_nothing_has_a_name_that_could_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """kill -9 in the middle of it left a namespace that no `down` knew."""
    here = os.stat("/proc/self/ns/net").st_ino
    during: list[tuple[set[str], bool]] = []

    def look() -> str:
        apart = os.stat("/proc/thread-self/ns/net").st_ino != here
        during.append((set(os.listdir(RUN_NETNS)) if RUN_NETNS.is_dir() else set(), apart))
        return ""

    monkeypatch.setattr(doctor, "_veth", look)
    assert doctor.missing(doctor.examine()) == []
    [(names, apart)] = during
    assert apart
    assert not {name for name in names if "probe" in name}


@pytest.mark.parametrize(
    ("scenario", "lacks"),
    [("workloads", "psql"), ("ftp-active", "vsftpd"), ("endpoint-gives-up", "tcp_rto_min_us")],
)
def test_what_only_some_scenarios_need_stops_only_these(
    scenario: str, lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = doctor.Check(lacks, False, "not found", "the Debian package of it", needed=False)
    monkeypatch.setattr(doctor, "examine", lambda *_: [absent])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    done = CliRunner().invoke(cli.cli, ["run", scenario])
    assert done.exit_code == CANNOT
    assert done.stderr == (
        f"mirrorlab: this host lacks {lacks}: not found (needs: the Debian package of it)\n"
    )
    assert doctor.missing([absent]) == []
