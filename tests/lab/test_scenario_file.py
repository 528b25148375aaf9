"""Scenario files: what is read, and what is said of a file that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.lab.scenario_file import ScenarioError, find, load, names
from emulator.lab.workload.applications import connections, expectations


def test_every_built_in_scenario_loads_and_expects_all_its_sessions() -> None:
    for name in names():
        scenario = load(find(name))
        assert scenario.name == name
        for connection in (c for s in scenario.sessions for c in connections(s)):
            assert set(expectations(connection)) & set(scenario.expect), (name, connection)


def test_article_pairs_differ_in_the_one_factor_they_name() -> None:
    """The experiment and its control must not differ in anything else."""
    article, pool = (load(find(n)) for n in ("article", "article-snat-pool"))
    assert article.virtual_server.model_copy(
        update={"snat": "pool"}
    ) == pool.virtual_server.model_copy(update={"snat": "pool"})
    assert (article.cloud, article.devices, article.failover) == (
        pool.cloud, pool.devices, pool.failover,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("title: [1", ":1:10: "),
        ("title: x\n  bad: y\n", ":2:6: "),
        ("title: x\ntitle: y\n", ":2:1: "),
        ("title: x\ncloud: {propagation_delay_s: -1}\n", ":2:9: cloud.propagation_delay_s: "),
        ("title: x\nvirtual_server:\n  pool: [backend-9]\n", ":3:10: virtual_server.pool.0: "),
        ("title: x\nvirtual_server: {snat: pool, snat_pool: []}\n", ":1:1: scenario: virtual_"),
        ("title: x\nexpect: {ehr-01: RESET}\n", ":1:1: scenario: expect names ehr-01, not among"),
        ("title: x\nendpoints: {client: beos}\n", ":2:13: endpoints.client: "),
        (
            "title: x\nsessions: [ssh]\nendpoints: {application_timer: {after_s: 5}}\n",
            ":1:1: scenario: endpoints.application_timer: none of the sessions has it",
        ),
        ("title: x\nobserve_s: 0\n", ":2:1: observe_s: "),
        ("title: x\nname: ../../evil\n", ":2:1: name: "),
        ("title: x\nmirror_channel: {fault: bent}\n", ":2:18: mirror_channel.fault: "),
        ("title: x\nmirror_channel: {fault: slow}\n", ":2:1: mirror_channel: bits_per_s belongs"),
        (
            "title: x\nmirror_channel:\n  fault: cut\n  bits_per_s: 9000\n",
            ":2:1: mirror_channel: bits",
        ),
        (
            "title: x\nmirror_channel: {fault: cut, before_failover_s: 3}\n",
            ":1:1: scenario: mirror_channel.before_failover_s: the failover comes",
        ),
        (
            "title: x\nfailover: null\nmirror_channel: {fault: cut, before_failover_s: 0}\n",
            ":1:1: scenario: mirror_channel.before_failover_s: the failover comes",
        ),
        (
            "title: x\nvirtual_server: {mirroring: false}\nmirror_channel: {fault: cut}\n",
            ":1:1: scenario: mirror_channel: without mirroring there is no channel",
        ),
        ("title: x\n? [a, b]\n: 1\n", ":1:1: "),
        ("title: x\nsessions: [ssh, ssh]\n", ":1:1: scenario: sessions names one twice"),
        ("title: x\nsessions: [ssh]\nexpect: {echo: RESET}\n", ":1:1: scenario: expect names echo"),
        ("title: x\nvirtual_server: {destination: 10.1.2.3}\n", ":1:1: scenario: virtual_"),
        ("title: x\nvirtual_server: {snat: pool, snat_pool: [10.0.1.9]}\n", ":1:1: scenario: "),
        ("title: x\nfailover:\n  how: wish\n", ":3:3: failover.how: "),
        ("{}", ":1:1: title: "),
        ("", ":1:1: a scenario is a mapping"),
        ("title: x\nexpect: {ssh: LIVED}\n", ":2:10: expect.ssh: "),
        ("\x00", ": "),
    ],
)
def test_errors_name_file_line_column_and_field(text: str, where: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert f"bad.yaml{where}" in str(caught.value)


def test_a_directory_or_binary_is_no_scenario(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScenarioError, match=r"x\.yaml"):
        load(path)
    with pytest.raises(ScenarioError, match="no scenario file"):
        find(str(tmp_path / "y.yaml"))


@pytest.mark.parametrize(
    ("text", "says"),
    [("title: " + "[" * 500, "nested too deep"), ("title: \x01", "not allowed")],
)
def test_a_strange_file_is_one_line(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=says) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
