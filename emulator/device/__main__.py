"""`python -m emulator.device CONFIG JOURNAL CONTROL`: one device, in this namespace."""

from __future__ import annotations

import gc
import resource
import signal
import sys
from pathlib import Path

from emulator.device.configfile import ConfigError, load
from emulator.device.journal import Journal
from emulator.device.loop import Shell


def main() -> int:
    """Exit 0 after SIGTERM, 2 on a bad configuration."""
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        config = load(Path(sys.argv[1]))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a proxied flow takes two
    journal = Journal(Path(sys.argv[2]), config.name)
    shell = Shell(config, journal, Path(sys.argv[3]))
    gc.freeze()  # what is there now stays; and thousands of flows are not looked through for
    gc.set_threshold(20_000, 20, 50)  # garbage at every other packet
    signal.signal(signal.SIGTERM, lambda *_: shell.stop())
    shell.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
