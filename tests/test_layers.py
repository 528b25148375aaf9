"""The dependency direction and the purity of modules, as a test.

    wire <- core <- kernel <- device <- lab <- commands <- cli
    netns <- lab and all to its right

A PURE module may not block, tell the time, roll dice, print or touch a file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ORDER = [
    "wire",
    "core",
    "kernel",
    "device",
    "lab",
    "commands",
    "cli",
    "pytest_plugin",
]
PURE = (
    "emulator.core",
    "emulator.device.account",
    "emulator.device.status",
    "emulator.device.tmsh",
    "emulator.device.tmsh_connections",
    "emulator.device.tmsh_show",
    "emulator.lab.campaign.chaosaccount",
    "emulator.lab.campaign.chaosminimise",
    "emulator.lab.campaign.chaosmodel",
    "emulator.lab.campaign.chaosplan",
    "emulator.lab.control_plane",
    "emulator.lab.deployment",
    "emulator.lab.endpoints",
    "emulator.lab.fleetstory",
    "emulator.lab.groups",
    "emulator.lab.inputs",
    "emulator.lab.judge",
    "emulator.lab.lint",
    "emulator.lab.peers.conntrackd",
    "emulator.lab.peers.haproxy",
    "emulator.lab.peers.rules",
    "emulator.lab.readiness",
    "emulator.lab.replay.account",
    "emulator.lab.replay.fates",
    "emulator.lab.replay.flows",
    "emulator.lab.report.advice",
    "emulator.lab.report.fates",
    "emulator.lab.report.groups",
    "emulator.lab.report.index",
    "emulator.lab.report.ladder",
    "emulator.lab.report.numbers",
    "emulator.lab.report.seen",
    "emulator.lab.report.sequence",
    "emulator.lab.report.studies",
    "emulator.lab.report.summary",
    "emulator.lab.report.tables",
    "emulator.lab.report.timeline",
    "emulator.lab.report.words",
    "emulator.lab.result",
    "emulator.lab.settings",
    "emulator.lab.story",
    "emulator.lab.study.claims",
    "emulator.lab.study.claimtable",
    "emulator.lab.study.comparison",
    "emulator.lab.study.differentialpage",
    "emulator.lab.study.dispute",
    "emulator.lab.study.explanations",
    "emulator.lab.study.factors",
    "emulator.lab.study.plants",
    "emulator.lab.study.resultspage",
    "emulator.lab.topview",
    "emulator.lab.workload.applications",
    "emulator.lab.workload.programs",
    "emulator.wire",
    "netns.cloud.balancer",
    "netns.cloud.fabric",
    "netns.cloud.filters",
    "netns.cloud.links",
    "netns.cloud.packets",
    "netns.cloud.profiles",
    "netns.cloud.throttle",
    "netns.onprem",
    "netns.plan",
    "netns.topology",
    "netns.worlds",
)
PURE_LIBRARIES = {
    "__future__",
    "bisect",
    "collections",
    "dataclasses",
    "enum",
    "functools",  # caches of pure functions
    "hashlib",  # bytes to bytes, as hmac
    "heapq",
    "hmac",
    "ipaddress",
    "isal",  # zlib's CRC-32, faster
    "itertools",
    "json",  # text to values and back
    "markupsafe",  # text that is escaped
    "pydantic",  # values and their validation
    "re",
    "rich",  # story: markup only, no console
    "struct",
    "textwrap",
    "typing",
    "zlib",
}
EFFECTFUL_BUILTINS = {"open", "print", "input", "eval", "exec", "__import__"}
# Whose settings must never reach a verdict: the modules that judge may not see a scenario.
JUDGES = sorted((ROOT / "emulator" / "lab" / "judge").glob("*.py"))

MODULES = sorted(p for top in ("emulator", "netns") for p in (ROOT / top).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_pure(module: str) -> bool:
    return any(module == p or module.startswith(f"{p}.") for p in PURE)


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
            # `from emulator import kernel` names a module in its second half.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(module: str) -> int | None:
    parts = module.split(".")
    known = parts[0] == "emulator" and len(parts) > 1 and parts[1] in ORDER
    return ORDER.index(parts[1]) if known else None


def may_import(me: str, other: str) -> bool:
    mine, theirs = layer_of(me), layer_of(other)
    if me.startswith("netns"):
        return not other.startswith("emulator")
    if other.startswith("netns"):
        return mine is not None and mine >= ORDER.index("lab")
    return mine is None or theirs is None or theirs <= mine


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    """Each layer imports only what stands to its left."""
    me = name_of(path)
    assert [other for other in imports_of(path) if not may_import(me, other)] == []


@pytest.mark.parametrize("path", [p for p in MODULES if is_pure(name_of(p))], ids=name_of)
def test_pure_modules_have_no_effects(path: Path) -> None:
    """No I/O, clock, randomness or logging, by import or by built-in."""
    tops = {other.split(".")[0] for other in imports_of(path)}
    assert tops - PURE_LIBRARIES - {"emulator", "netns"} == set()
    names = {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
    assert names & EFFECTFUL_BUILTINS == set()


@pytest.mark.parametrize("path", [p for p in MODULES if is_pure(name_of(p))], ids=name_of)
def test_pure_modules_import_only_pure_ones(path: Path) -> None:
    """Purity holds for what a pure module brings in, too."""
    ours = {o for o in imports_of(path) if o.startswith(("emulator.", "netns."))}
    assert {o for o in ours if not is_pure(o)} == set()


def test_every_pure_module_named_here_exists() -> None:
    """A module that was renamed must not slip out of the list."""
    names = {name_of(path) for path in MODULES}
    assert {p for p in PURE if p not in names} == set()
    assert len(JUDGES) > 10


@pytest.mark.parametrize("path", JUDGES, ids=name_of)
def test_what_judges_never_sees_a_scenario(path: Path) -> None:
    """Verdicts come from evidence: no import by which a setting could reach one."""
    settings = (
        "emulator.lab.settings", "emulator.lab.deployment", "emulator.core.config", "netns",
        "emulator.lab.inputs", "emulator.lab.lint",
    )  # fmt: skip
    assert [o for o in imports_of(path) if o.startswith(settings)] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_outgrows_a_reader(path: Path) -> None:
    """About 400 lines at most."""
    assert len(path.read_text().splitlines()) <= 420
