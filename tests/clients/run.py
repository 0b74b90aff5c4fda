"""Starts a server with tests/fixtures/serving and runs the tests of every client against it.

Each file test_*.py runs in the environment its client needs. `--triton` runs them against Triton,
which shows that they ask for what the protocol says and not for what we do.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "peers"), str(HERE.parent / "conformance")]

import servers

ENVIRONMENTS = {"test_kserve.py": "kserve"}
# What Triton's core 2.51 lacks: gRPC reflection, and the bodies of health answers that the kserve
# client reads.
NOT_FOR_TRITON = ["test_reflection.py", "test_kserve.py"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triton", action="store_true")
    parser.add_argument("tests", nargs="*", default=sorted(path.name for path in HERE.glob("test_*.py")))
    options = parser.parse_args()
    if options.triton:
        import models

        server = servers.Triton(models.for_triton())
        options.tests = [test for test in options.tests if test not in NOT_FOR_TRITON]
    else:
        server = servers.Ours(arguments=["--control", "on", "--shared-memory"])
    failed = []
    with server:
        where = {"SERVER_HTTP": str(server.http), "SERVER_GRPC": str(server.grpc)}
        if not options.triton:
            where["SERVER_ADMIN"] = str(server.admin)
        for test in options.tests:
            python = servers.environment(ENVIRONMENTS.get(test, "client")) / "bin" / "python"
            print(f"== {test}", flush=True)
            if subprocess.run([python, HERE / test], env={**os.environ, **where}, timeout=300).returncode:
                failed.append(test)
        if server.process.poll() is not None:
            failed.append("the server, which ended")
        if failed:
            print(f"failed: {', '.join(failed)}\n{server.log.read_text(errors='replace')[-2000:]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
