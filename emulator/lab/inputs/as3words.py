"""Words of AS3 and DO declarations: scalars of one type, classes, pointers. Pure."""

from __future__ import annotations

from emulator.lab.inputs.tree import InputError, Node


def text_of(node: Node | None) -> str | None:
    """A leaf's string, None where there is none; raises InputError for anything else."""
    if node is None:
        return None
    if not isinstance(node.value, str):
        raise InputError(node.place, f"{node.path}: a string is expected")
    return node.value


def bool_of(node: Node) -> bool:
    """Raises InputError unless it is true or false."""
    if not isinstance(node.value, bool):
        raise InputError(node.place, f"{node.path}: true or false is expected")
    return node.value


def class_of(node: Node) -> str:
    found = node.get("class")
    return found.value if found is not None and isinstance(found.value, str) else ""


def pointer(node: Node, prefix: str) -> str:
    """What `"name"`, {"use": …} or {"bigip": …} names, as a full path; raises InputError."""
    target = node if node.kind == "leaf" else (node.get("use") or node.get("bigip"))
    if target is None:
        raise InputError(node.place, f"{node.path}: a name, use or bigip is expected")
    return reference(text_of(target) or "", prefix)


def reference(name: str, prefix: str) -> str:
    """A pointer relative to its application as a full path."""
    if not name.startswith("/"):
        return f"{prefix}/{name}"
    tenant = prefix.split("/")[1]
    return name.replace("/@/@/", f"{prefix}/", 1).replace("/@/", f"/{tenant}/", 1)
