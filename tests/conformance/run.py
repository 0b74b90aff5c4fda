"""Asks Triton and us the same requests, good and bad, and says where the answers differ.

    tests/conformance/run.sh               asks Triton too and keeps its answers in recorded.json
    tests/conformance/run.sh --recorded    holds us against recorded.json; needs no Triton
    tests/conformance/run.sh --record      asks Triton alone

A difference that differences.toml does not explain fails, and so does an explanation that nothing
needs any more. `--case PATTERN` asks only some cases, `--all` prints the explained ones as well.
"""

import argparse
import contextlib
import fnmatch
import json
import sys
import time
from pathlib import Path

import grpc

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peers"))

import ask
import compare
import grpc_cases
import http_cases
import http_request
import models
import servers

RECORDED = HERE / "recorded.json"
SETTLE_SECONDS = 5
OURS = ["--control", "on", "--shared-memory"]


def answers(server, pattern):
    """-> {case: answer} of a running server."""
    region = Path("/dev/shm") / http_request.REGION
    found = {}
    try:
        region.write_bytes(http_request.floats(2).ljust(http_request.REGION_SIZE, b"\0"))
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
            for protocol, cases, over in [
                ("http", http_cases.cases(), lambda case: ask.over_http(server.http, case)),
                ("grpc", grpc_cases.cases(), lambda case: ask.over_grpc(channel, case)),
            ]:
                for case in cases:
                    name = f"{protocol} {case.name}"
                    assert name not in found, f"two cases are called {name}"
                    if fnmatch.fnmatchcase(name, pattern):
                        found[name] = compare.normal(settled(case, over))
                        if server.process.poll() is not None:
                            sys.exit(
                                f"{server.name} ended at: {name}\n{server.log.read_text(errors='replace')[-4000:]}"
                            )
    finally:
        region.unlink(missing_ok=True)
    return found


def settled(case, over):
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        answer = over(case)
        if not case.settles or case.settles not in json.dumps(answer) or time.monotonic() > deadline:
            return answer
        time.sleep(0.05)


def keep(recorded):
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(answer)}" for name, answer in recorded.items())
    RECORDED.write_text("{\n" + lines + "\n}\n")


def report(theirs, ours, everything, whole):
    explanations = compare.known(HERE / "differences.toml")
    explained, open_ones = 0, 0
    for name, answer in ours.items():
        if name not in theirs:
            sys.exit(f"recorded.json lacks {name}: record again with tests/conformance/run.sh --record")
        for place, their, our in compare.differences(theirs[name], answer):
            # Every entry that fits counts as needed, so that two may overlap.
            reasons = [entry.reason for entry in explanations if entry.explains(name, place, their, our)]
            explained += bool(reasons)
            open_ones += not reasons
            if everything or not reasons:
                print(f"{name}\n  {place}\n    triton {json.dumps(their)}\n    ours   {json.dumps(our)}")
                print(f"    known: {reasons[0]}" if reasons else "    NOT EXPLAINED")
    stale = [(entry.reason, entry.unused()) for entry in explanations if whole and entry.unused()]
    for reason, patterns in stale:
        print(f"differences.toml: nothing needs {patterns} of: {reason}")
    places = {name: {place for place, *_ in compare.differences(theirs[name], ours[name])} for name in ours}
    same = sum(not found for found in places.values())
    worded = sum(found == {"message"} for found in places.values())
    print(
        f"{len(ours)} requests: {same} answered alike, {worded} refused alike in other words, "
        f"{len(ours) - same - worded} answered otherwise; {explained} known differences, {open_ones} not explained"
    )
    return 1 if open_ones or stale else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recorded", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--case", default="*")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    whole = options.case == "*"

    with contextlib.ExitStack() as running:
        if options.recorded:
            theirs = json.loads(RECORDED.read_text())
        else:
            theirs = answers(running.enter_context(servers.Triton(models.for_triton())), options.case)
            if whole:
                keep(theirs)
            running.pop_all().close()
        if options.record:
            print(f"{len(theirs)} answers of Triton are in {RECORDED.name}")
            return 0
        ours = answers(
            running.enter_context(servers.Ours(arguments=OURS, settings={"max_delay_ms": 0.5})), options.case
        )
    return report(theirs, ours, options.all, whole)


if __name__ == "__main__":
    sys.exit(main())
