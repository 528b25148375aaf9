"""Inputs for tests: the samples, the shipped examples, and short ones made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emulator.lab.inputs.mapping import Source, Translation, translate
from emulator.lab.inputs.tree import InputError, Node
from emulator.lab.lint.rules import lint
from emulator.lab.lint.subject import Finding, Subject
from emulator.lab.settings.scenario import Scenario

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "tests" / "lab" / "inputs" / "samples"
ARTICLE = ROOT / "examples" / "article"


def kind_of(path: Path) -> str:
    """By the file's name; samples and examples are named for what they are."""
    if path.suffix in (".conf", ".tmsh"):
        return "bigip-conf"
    return path.name.partition("-")[0].partition(".")[0]


def source(path: Path) -> Source:
    return Source(kind_of(path), path.name, path.read_text())


def of_files(*names: str, **options: Any) -> Translation:
    """Samples, or with a slash the article's examples."""
    paths = [ARTICLE / n.partition("/")[2] if "/" in n else SAMPLES / n for n in names]
    return translate([source(path) for path in paths], **options)


def of_texts(**texts: Any) -> Translation:
    """Inputs by kind (`bigip_conf`, `as3`, `cfe`, `do`); JSON as plain values."""
    return translate(
        [
            Source(
                kind.replace("_", "-"), kind, text if isinstance(text, str) else json.dumps(text)
            )
            for kind, text in texts.items()
        ]
    )


def service(kind: str = "Service_L4", **more: Any) -> dict[str, Any]:
    """An AS3 declaration of one service; `objects`: others beside it."""
    objects = more.pop("objects", {})
    what = {"class": kind, "virtualAddresses": ["203.0.113.9"], "virtualPort": 22, **more}
    application = {"class": "Application", "vs": what, **objects}
    return {"class": "ADC", "T": {"class": "Tenant", "A": application}}


def failover(**more: Any) -> dict[str, Any]:
    """A Cloud Failover declaration that moves the range of `service`."""
    tags = {"f5_cloud_failover_label": "x"}
    ranges = [{"range": "203.0.113.0/24", "nextHopAddresses": {"discoveryType": "routeTag"}}]
    return {
        "class": "Cloud_Failover", "environment": "aws",
        "externalStorage": {"scopingTags": tags},
        "failoverRoutes": {"scopingTags": tags, "scopingAddressRanges": ranges}, **more,
    }  # fmt: skip


def refusal_of(parse: Callable[[str, str], Node], text: str) -> InputError | None:
    """The error a parser raises for a text, if any; it must name its place."""
    try:
        parse(text, "x")
    except InputError as error:
        return error if str(error).startswith(f"x:{error.place.line}:") else None
    return None


def findings(found: Translation) -> list[Finding]:
    """What lint says of inputs."""
    subject = Subject(
        found.scenario or Scenario(title="x"), found.origins, found.declared, found.server
    )
    return lint(subject, inputs_only=found.scenario is None or found.server is None)
