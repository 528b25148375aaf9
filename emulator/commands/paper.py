"""`completion` and `man`: what the commands say of themselves, in other forms."""

from __future__ import annotations

import inspect

import click
from click.shell_completion import get_completion_class

_HEAD = """\
.\\" Made from the commands' own help: make man.
.TH MIRRORLAB 1 "" "mirrorlab" "User Commands"
.SH NAME
mirrorlab \\- what happens to long-lived TCP connections when a BIG-IP pair fails over, and why
.SH SYNOPSIS
.B mirrorlab
.I COMMAND
[\\fIOPTION\\fR ...] [\\fIARGUMENT\\fR ...]
"""
_TAIL = """\
.SH EXIT STATUS
0 as expected, or ready; 1 not as expected, or not ready; 2 usage or configuration; 3 this host
cannot; 4 the lab itself disturbed the run, whose result is void; 130 interrupted.
.SH FILES
.I /run/mirrorlab/LAB
a running lab;
.I captures/runs
what runs leave.
.SH SEE ALSO
.BR ip-netns (8),
.BR dumpcap (1),
.BR wireshark (1)
"""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands, options, scenarios, nodes and devices.

    \b
      eval "$(mirrorlab completion bash)"                 in ~/.bashrc
      mirrorlab completion zsh > ~/.zfunc/_mirrorlab      with ~/.zfunc in fpath
      mirrorlab completion fish > ~/.config/fish/completions/mirrorlab.fish
    """
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(_main(), {}, "mirrorlab", "_MIRRORLAB_COMPLETE").source())


@click.command()
def man() -> None:
    """Print the manual page.

    \b
      mirrorlab man | man -l -
      mirrorlab man > ~/.local/share/man/man1/mirrorlab.1
    """
    click.echo(man_page(_main()), nl=False)


def _main() -> click.Group:
    """The command all others are commands of."""
    root = click.get_current_context().find_root().command
    assert isinstance(root, click.Group)
    return root


def man_page(main: click.Group) -> str:
    """The whole manual page in roff."""
    context = click.Context(main, info_name="mirrorlab")
    parts = [_HEAD, ".SH DESCRIPTION\n", _paragraphs(main.help or ""), ".SH COMMANDS\n"]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        parts.append(_command(command, name, context))
    return "".join([*parts, _TAIL])


def _command(command: click.Command, name: str, parent: click.Context) -> str:
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    text = f".SS {_roff(f'mirrorlab {name} {usage}')}\n{_paragraphs(command.help or '')}"
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and "--help" not in record[0]:
            text += f".TP\n.B {_roff(record[0])}\n{_roff(' '.join(record[1].split()))}\n"
    return text


def _paragraphs(text: str) -> str:
    """Paragraphs; those after \\b as they stand."""
    made = []
    for block in inspect.cleandoc(text).split("\n\n"):
        if block.startswith("\b"):
            lines = block.split("\n")[1:]
            made.append(".PP\n.nf\n" + "".join(f"{_roff(line)}\n" for line in lines) + ".fi\n")
        else:
            made.append(f".PP\n{_roff(' '.join(block.split()))}\n")
    return "".join(made)


def _roff(text: str) -> str:
    """Nothing of it is taken for a request."""
    quoted = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{quoted}" if quoted[:1] in (".", "'") else quoted
