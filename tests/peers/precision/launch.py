"""Starts a command from a small process: launch.py PEAK COMMAND [ARGUMENT ..]

The peak memory that the system reports of a process includes what its parent had when it started
it, and a parent that has read models and data has much. PEAK gets the command's peak in KiB.
"""

import os
import sys
from pathlib import Path


def launched(argv, peak=os.devnull):
    """`argv`, started from a small process."""
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(peak), *map(str, argv)]


def main():
    peak, command = sys.argv[1], sys.argv[2:]
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    with open(peak, "w") as out:
        out.write(str(usage.ru_maxrss))
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
