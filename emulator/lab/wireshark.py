"""The Wireshark profile and dissector that come with the project: where they are, and a copy of
them where the user's own Wireshark looks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

PROFILE = "mirrorlab"
_PACKAGE = Path(__file__).resolve().parents[1]
_ROOT_WARNING = "Running as user"


class WiresharkError(RuntimeError):
    """Wireshark's folders are not known, or hold something else already."""


def folder() -> Path:
    """A Wireshark configuration folder (WIRESHARK_CONFIG_DIR) with profile and dissector: of the
    clone, or beside an installed package. Raises WiresharkError."""
    for place in (
        _PACKAGE.parent / "captures" / "wireshark",
        _PACKAGE.parent / "mirrorlab_wireshark",
    ):
        if (place / "profiles" / PROFILE / "preferences").is_file():
            return place
    raise WiresharkError("the Wireshark profile is not installed with this package")


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment in which `tshark -C mirrorlab` uses what the project ships."""
    return {**given, "WIRESHARK_CONFIG_DIR": str(folder())}


def targets() -> dict[Path, Path]:
    """Each file that is shipped, and where the user's own Wireshark looks for it; raises
    WiresharkError."""
    shipped = folder()
    places = _folders()
    found = {}
    for path in sorted((shipped / "plugins").glob("*.lua")):
        found[path] = places["Personal Lua Plugins"] / path.name
    for path in sorted((shipped / "profiles" / PROFILE).iterdir()):
        found[path] = places["Personal configuration"] / "profiles" / PROFILE / path.name
    return found


def install(*, replace: bool = False) -> list[str]:
    """Copy what is shipped to where the user's Wireshark looks; returns a line for each file.

    A file there that differs is left alone, and nothing is written, unless `replace`: then it
    is kept as NAME.before. Raises WiresharkError, OSError.
    """
    wanted = targets()
    differing = [t for s, t in wanted.items() if t.exists() and t.read_bytes() != s.read_bytes()]
    if differing and not replace:
        what = ", ".join(map(str, differing))
        raise WiresharkError(f"there is something else already in {what} (--replace keeps a copy)")
    lines = []
    for source, target in wanted.items():
        if target.exists() and target not in differing:
            lines.append(f"{target}: as shipped already")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        note = ""
        if target in differing:
            kept = target.with_name(target.name + ".before")
            shutil.copy2(target, kept)
            note = f" (what was there: {kept})"
        shutil.copyfile(source, target)
        lines.append(f"{target}: written{note}")
    return lines


def _folders() -> dict[str, Path]:
    """Where Wireshark looks, by its own account."""
    try:
        argv = ["tshark", "-G", "folders"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env=os.environ)
    except (OSError, subprocess.CalledProcessError) as error:
        raise WiresharkError(f"tshark does not say where it looks for its files: {error}") from None
    pairs = (line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    found = {name.strip(): Path(path.strip()) for name, path in pairs}
    if missing := {"Personal configuration", "Personal Lua Plugins"} - set(found):
        raise WiresharkError(f"tshark does not say where {', '.join(sorted(missing))} is")
    return found


def said(stderr: str) -> str:
    """tshark's complaints without the one about root, which is expected here."""
    lines = [line for line in stderr.splitlines() if not line.startswith(_ROOT_WARNING)]
    return "\n".join(lines)
