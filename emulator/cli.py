"""The `mirrorlab` command. Results on stdout, progress and logs on stderr.

Exit status: 0 as expected, 1 not as expected, 2 usage or configuration, 3 this host
cannot, 4 lab fault (the run is void), 130 interrupted.
"""

from __future__ import annotations

import click

from emulator import __version__
from emulator.commands.terminal import Main, run_command

# In the order of `mirrorlab --help`. A command's module is imported when it is asked for.
COMMANDS = {
    "run": "experiments",
    "lint": "inputs",
    "translate": "inputs",
    "scenarios": "experiments",
    "replay": "recordings",
    "why": "studies",
    "matrix": "studies",
    "claims": "claims",
    "confusion": "confusion",
    "report": "reports",
    "differential": "differential",
    "up": "hands",
    "shell": "hands",
    "exec": "hands",
    "failover": "hands",
    "status": "hands",
    "tmsh": "hands",
    "capture": "captures",
    "wireshark": "captures",
    "top": "top",
    "standby-ready": "ready",
    "channel": "channel",
    "down": "hands",
    "completion": "paper",
    "man": "paper",
    "schema": "experiments",
    "doctor": "experiments",
}


@click.group(
    cls=Main, commands_in=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="mirrorlab")
def cli() -> None:
    """What happens to long-lived TCP connections when a BIG-IP pair fails over, and why.

    \b
    See one experiment, end to end:      mirrorlab run article
    Your own recording, replayed:         mirrorlab replay my.pcap
    Have a look around by hand:          mirrorlab up
                                         mirrorlab shell client      (then: ssh vip)
                                         mirrorlab failover
                                         mirrorlab top           (or: mirrorlab status)
                                         mirrorlab down
    Run what you already have:           mirrorlab run --as3 as3.json --cfe cfe.json
    Is anything wrong with it?           mirrorlab lint --as3 as3.json --cfe cfe.json
    What would have saved them?          mirrorlab why article
    Is this host fit for it?             mirrorlab doctor

    Needs root, for network namespaces; nothing of the host's own network is touched.
    """


def main() -> None:
    """Entry point of the `mirrorlab` command."""
    run_command(cli)


if __name__ == "__main__":
    main()
