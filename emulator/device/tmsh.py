"""The device's tmsh: words, abbreviations, completion; what is printed is in `tmsh_show` and
`tmsh_connections`. Pure: effects are the commands of the answer.

Words may be shortened as far as they stay unambiguous (`sho sys conn`); a leading `/` of a
module and the folder of a name (/Common/...) may be left out or not. Errors have tmsh's own
first line: `Syntax Error: unexpected argument "garbage"` (published by several scripts that look
for it), 01020036:3 for a name that does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from emulator.core import operate
from emulator.core.commands import Command
from emulator.core.config import VirtualServer
from emulator.core.device import Device
from emulator.device import tmsh_show as show
from emulator.device.tmsh_connections import (
    FILTERS,
    FilterError,
    chosen,
    connections,
    listing,
    properties,
)

__all__ = ["Answer", "TmshError", "answer", "completions", "connections", "execute", "prompt"]


class TmshError(ValueError):
    """Not a command this device knows; the text is what tmsh prints."""


@dataclass(frozen=True)
class Answer:
    """What is printed, and what the device's shell has to carry out."""

    text: str
    commands: list[Command] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """A command's words: the object named, options with a value, and those without."""

    device: Device
    now: float
    records: Sequence[Mapping[str, object]]
    name: str
    options: Mapping[str, str]
    flags: frozenset[str]


@dataclass(frozen=True)
class Verb:
    """One command: what it runs, and the words it takes after its own."""

    run: Callable[[Asked], Answer]
    options: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    named: Callable[[Device], Iterable[str]] | None = None  # the objects it can be told
    usage: str = ""


Tree = dict[str, "Verb | Tree"]


def answer(device: Device, line: str, now: float) -> str:
    """The text `line` prints, for commands without an effect; raises TmshError."""
    return execute(device, line, now).text


def execute(
    device: Device, line: str, now: float, records: Sequence[Mapping[str, object]] = ()
) -> Answer:
    """Carry out one line; raises TmshError. `records`: the persistence records of the device."""
    words = _words(line)
    if words and "help".startswith(words[0]) and len(words[0]) > 1:
        return Answer(help_text())
    verb, rest = _find(words, line)
    try:
        return verb.run(_read(verb, rest, device, now, records))
    except (FilterError, operate.Refused) as error:
        raise TmshError(str(error)) from None


def help_text() -> str:
    """Every command there is."""
    lines = [f"  {' '.join(path)}{verb.usage}" for path, verb in _all(_TREE)]
    head = "Words may be shortened as far as they stay unambiguous. This device knows:"
    return "\n".join([head, *lines])


def completions(device: Device, text: str) -> list[str]:
    """What the last word of `text` can become; after a blank, what can come next."""
    words = _words(text)
    last = "" if not words or text[-1:].isspace() else words.pop()
    node: Verb | Tree = {**_TREE, "help": {}}
    while words and isinstance(node, dict):
        word = _unique(words.pop(0).lstrip("/"), node)
        if word is None:
            return []
        node = node[word]
    if isinstance(node, dict):
        return sorted(w for w in node if w.startswith(last.lstrip("/")))
    wanted = set(node.options) | set(node.flags)
    if words and words[-1] in node.options:
        wanted = set(_VALUES.get(words[-1], ()))
    elif node.named is not None and not words:
        wanted |= set(node.named(device))
    return sorted(w for w in wanted - set(words) if w.startswith(last))


def prompt(name: str, role: str) -> str:
    """As tmsh greets: root@(bigip-a)(Active)(/Common)(tmos)#"""
    return f"root@({name})({role.capitalize()})(/Common)(tmos)# "


def _words(line: str) -> list[str]:
    words = line.split()
    return words[1:] if words[:1] == ["tmsh"] else words


def _unique(word: str, among: Iterable[str]) -> str | None:
    """The one it is, or the one it begins."""
    names = list(among)
    if word in names:
        return word
    fitting = [name for name in names if word and name.startswith(word)]
    return fitting[0] if len(fitting) == 1 else None


def _find(words: Sequence[str], line: str) -> tuple[Verb, list[str]]:
    node: Verb | Tree = _TREE
    rest = list(words)
    while isinstance(node, dict):
        if not rest:
            raise _unexpected(line.strip(), "incomplete command")
        word = rest.pop(0)
        found = _unique(word.lstrip("/"), node)
        if found is None:
            known = [name for name in node if name.startswith(word.lstrip("/"))]
            raise _unexpected(word, f"could be {', '.join(known)}" if len(known) > 1 else "")
        node = node[found]
    return node, rest


def _unexpected(word: str, why: str = "") -> TmshError:
    also = f" ({why})" if why else ""
    return TmshError(f'Syntax Error: unexpected argument "{word}"{also}\n{help_text()}')


def _read(
    verb: Verb, rest: list[str], device: Device, now: float,
    records: Sequence[Mapping[str, object]],
) -> Asked:  # fmt: skip
    name, options, flags = "", {}, set()
    keys = (*verb.options, *verb.flags)
    if verb.named is not None and rest and _unique(rest[0], keys) is None:
        name = rest.pop(0).removeprefix("/Common/")
    while rest:
        word = rest.pop(0)
        key = _unique(word, keys)
        if key is None:
            raise _unexpected(word)
        if key in verb.flags:
            flags.add(key)
        elif not rest:
            raise _unexpected(word, "its value is missing")
        else:
            options[key] = rest.pop(0)
    return Asked(device, now, records, name, options, frozenset(flags))


def _all(tree: Tree, path: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], Verb]]:
    for word, node in tree.items():
        if isinstance(node, dict):
            yield from _all(node, (*path, word))
        else:
            yield (*path, word), node


# The commands.


def _connections(asked: Asked) -> Answer:
    flows = chosen(asked.device.traffic.table.flows(), asked.options, asked.now)
    if "all-properties" in asked.flags:
        return Answer(properties(flows, asked.device.config, asked.now))
    return Answer(listing(flows, asked.now))


def _delete_connections(asked: Asked) -> Answer:
    flows = chosen(asked.device.traffic.table.flows(), asked.options, asked.now)
    return Answer("", operate.delete_connections(asked.device, flows, asked.now))


def _virtual_names(device: Device) -> list[str]:
    return [server.name for server in device.config.virtual_servers]


def _servers(asked: Asked) -> list[VirtualServer]:
    """The one that is named, or all; raises TmshError."""
    servers = asked.device.config.virtual_servers
    found = [s for s in servers if asked.name in ("", s.name, show.pool_name(s))]
    if not found:
        raise TmshError(
            f"01020036:3: The requested Virtual Server (/Common/{asked.name}) was not found."
        )
    return found


def _modify_virtual(asked: Asked) -> Answer:
    value = asked.options.get("mirror", "")
    if value not in ("enabled", "disabled"):
        raise _unexpected(value or "mirror", "mirror enabled or mirror disabled")
    enabled = value == "enabled"
    return Answer("", operate.set_mirroring(asked.device, asked.name, enabled, asked.now))


def _variables(asked: Asked) -> Answer:
    known = show.variables(asked.device)
    if asked.name and asked.name not in known:
        raise TmshError(
            f"01020036:3: The requested database variable ({asked.name}) was not found."
        )
    names = [asked.name] if asked.name else list(known)
    everything = "all-properties" in asked.flags
    return Answer(show.list_variables(asked.device, names, everything=everything))


def _modify_variable(asked: Asked) -> Answer:
    _variables(asked)  # it exists
    if not asked.name or "value" not in asked.options:
        raise _unexpected(asked.name, "NAME value VALUE")
    value = asked.options["value"]
    return Answer("", operate.set_variable(asked.device, asked.name, value, asked.now))


def _stand_by(asked: Asked) -> Answer:
    group = asked.options.get("traffic-group", asked.device.config.traffic_group)
    if group.removeprefix("/Common/") != asked.device.config.traffic_group:
        raise TmshError(f"01020036:3: The requested Traffic Group ({group}) was not found.")
    return Answer("", operate.stand_by(asked.device, asked.now))


def _plain(text: Callable[[Device], str]) -> Callable[[Asked], Answer]:
    return lambda asked: Answer(text(asked.device))


def _timed(text: Callable[[Device, float], str]) -> Callable[[Asked], Answer]:
    return lambda asked: Answer(text(asked.device, asked.now))


_VALUES: dict[str, tuple[str, ...]] = {
    "type": ("any", "mirror", "self"),
    "protocol": ("tcp", "udp"),
    "mirror": ("enabled", "disabled"),
    "value": ("enable", "disable", "true", "false"),
    "traffic-group": ("traffic-group-1",),
}
_WHICH = " [type mirror] [cs-client-addr A] [cs-server-port P] ..."
_NAME = " [NAME]"
_DB = Verb(_variables, (), ("all-properties",), show.variables, " [NAME] [all-properties]")
_TREE: Tree = {
    "show": {
        "sys": {
            "connection": Verb(
                _connections, FILTERS, ("all-properties",), usage=f"{_WHICH} [all-properties]"
            ),
            "db": _DB,
            "failover": Verb(_timed(show.failover)),
            "ha-mirror": Verb(_timed(show.ha_mirror)),
        },
        "cm": {
            "failover-status": Verb(_timed(show.failover_status)),
            "traffic-group": Verb(_plain(show.traffic_groups)),
        },
        "net": {"rst-cause": Verb(_plain(show.reset_causes))},
        "ltm": {
            "persistence": {
                "persist-records": Verb(lambda a: Answer(show.persistence_records(a.records)))
            },
            "pool": Verb(
                lambda a: Answer(show.pool_members(a.device, _servers(a))), (),
                ("members",), lambda d: [show.pool_name(s) for s in d.config.virtual_servers],
                f"{_NAME} members",
            ),
            "virtual": Verb(
                lambda a: Answer(show.virtual_servers(a.device, _servers(a))),
                named=_virtual_names, usage=_NAME,
            ),
        },
    },
    "list": {
        "ltm": {
            "virtual": Verb(
                lambda a: Answer(show.list_virtual_servers(_servers(a))), (), (),
                _virtual_names, _NAME,
            )
        },
        "sys": {"db": _DB},
    },
    "modify": {
        "ltm": {
            "virtual": Verb(
                _modify_virtual, ("mirror",), (), _virtual_names, " NAME mirror enabled|disabled"
            )
        },
        "sys": {"db": Verb(_modify_variable, ("value",), (), show.variables, " NAME value VALUE")},
    },
    "run": {
        "sys": {
            "failover": {
                "standby": Verb(_stand_by, ("traffic-group",), usage=" [traffic-group NAME]")
            }
        }
    },
    "delete": {
        "sys": {"connection": Verb(_delete_connections, FILTERS, ("all",), usage=_WHICH)}
    },
}  # fmt: skip
