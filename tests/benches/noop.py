#!/usr/bin/env python3
"""What trt-pipeline costs beside GNU make, bare processes and b3sum.

    cargo build --release && tests/benches/noop.py target/release/trt-pipeline

Rows, all timed as whole processes and interleaved round by round:
  no-op    a run in which nothing changed, on a DAG of N stages (two inputs each), against `make`
           on the same DAG of files; `check` and `--help` against the same `make`. Two shapes:
           `layered` has source files under the first layer only, `sourced` one more source file
           in every stage (a script, say), each of which make tries its built-in rules on
  cold     1000 stages of one `cp` each, nothing cached, against the same processes alone
  1 GiB    what a big unchanged input adds to a no-op run; hashing it against b3sum; peak memory
Every timed no-op is proven to be one first. A missed target is printed, never an exit status.
Standard library only.
"""

import argparse
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Content written this long ago is old enough for its digest to be remembered.
SETTLED_SECONDS = 2.5
BIG = 1 << 30
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("TRT_PIPELINE_", "MAKE", "MFLAGS"))}


class Command:
    """A process to time: what to do before it (untimed) and its samples."""

    def __init__(self, name, argv, folder, prepare=lambda: None):
        self.name, self.argv, self.folder, self.prepare = name, argv, str(folder), prepare
        self.seconds, self.peak_kib = [], 0

    def run(self):
        self.prepare()
        os.chdir(self.folder)
        start = time.perf_counter()
        pid = os.posix_spawnp(self.argv[0], self.argv, ENVIRONMENT, file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
        _, status, usage = os.wait4(pid, 0)
        self.seconds.append(time.perf_counter() - start)
        self.peak_kib = max(self.peak_kib, usage.ru_maxrss)
        if status != 0:
            sys.exit(f"`{' '.join(self.argv)}` in {self.folder} ended with {os.waitstatus_to_exitcode(status)}")

    @property
    def median(self):
        return statistics.median(self.seconds)

    def cells(self):
        low, middle, high = (1e3 * x for x in statistics.quantiles(self.seconds, n=4))
        return f"{middle:.2f} | {low:.2f} .. {high:.2f}"


def interleave(commands, rounds):
    for command in commands:  # page cache and branch predictors
        command.run()
        command.seconds.clear()
    for index in range(rounds):
        turn = index % len(commands)
        for command in commands[turn:] + commands[:turn]:
            command.run()


def row(command, against=None, target=None):
    ratio = command.median / against.median if against else None
    verdict = "" if target is None else f"<= {target:.2f}: {'met' if ratio <= target else 'MISSED'}"
    shown = "" if ratio is None else f"{ratio:.3f}"
    print(f"| {command.name} | {command.cells()} | {shown} | {verdict} |", flush=True)


def fact(text, value, limit, unit, higher_is_better=False):
    met = value >= limit if higher_is_better else value <= limit
    sign = ">=" if higher_is_better else "<="
    print(f"{text}: {value:.3f} {unit} ({sign} {limit} {unit}: {'met' if met else 'MISSED'})", flush=True)


def table(title):
    print(f"\n### {title}\n\n| command | median ms | quartiles | ratio | target |\n|---|---|---|---|---|")


def layers(count):
    """The inputs of each stage: none in the first layer, else two stages of the layer before."""
    width = max(2, math.isqrt(count))
    for index in range(count):
        layer, place = divmod(index, width)
        before = (layer - 1) * width
        yield index, None if layer == 0 else (before + place, before + (place + 1) % width)


def write_dag(folder, shape, count):
    """A Makefile and a spec of the same shape, on the same sources."""
    (folder / "src").mkdir(parents=True)
    (folder / "out").mkdir()
    rules = [".PHONY: all", "all: " + " ".join(f"out/s{i:04}" for i in range(count))]
    stages = ["version: 1", "name: dag", "stages:"]
    for index, inputs in layers(count):
        name = f"s{index:04}"
        files, given = [], []
        for letter, stage in zip("ab", inputs or ()):
            files.append(f"out/s{stage:04}")
            given.append(f"{letter}: {{ from: s{stage:04}, path: o }}")
        if inputs is None or shape == "sourced":
            (folder / "src" / f"{index}.txt").write_text(f"source {index}\n")
            files.append(f"src/{index}.txt")
            given.append(f"c: src/{index}.txt")
        rules += [f"out/{name}: {' '.join(files)}", "\tcat $^ | cksum > $@"]
        words = ", ".join([f'"${{inputs.{one[0]}}}"' for one in given] + ['"${outputs.o}"'])
        last = len(given) + 1
        script = " ".join(f'"${place}"' for place in range(1, last)) + f' | cksum > "${last}"'
        run = f"[sh, -c, 'cat {script}', sh, {words}]"
        given = "{ " + ", ".join(given) + " }"
        stages += [f"  {name}:", "    command:", f"      run: {run}", f"      inputs: {given}", "      outputs: { o: o }"]
    (folder / "Makefile").write_text("\n".join(rules) + "\n")
    (folder / "spec.yaml").write_text("\n".join(stages) + "\n")


def quietly(argv, folder):
    done = subprocess.run(argv, cwd=folder, env=ENVIRONMENT, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"`{' '.join(argv)}` in {folder} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def prove_noop(binary, folder, count):
    """Runs twice (the second run may record what was too fresh for the first), then once more."""
    for _ in range(2):
        quietly([binary, "run", "spec.yaml"], folder)
        time.sleep(SETTLED_SECONDS)
    lines = quietly([binary, "run", "--format", "json", "spec.yaml"], folder).splitlines()
    last = json.loads(lines[-1])
    if last["event"] != "run_finished" or last["cached"] != count:
        sys.exit(f"not a no-op in {folder}: {lines[-1]}")


def noop(binary, base, shape, count, rounds):
    folder = base / f"{shape}-{count}"
    write_dag(folder, shape, count)
    quietly(["make", f"-j{os.cpu_count()}"], folder)
    time.sleep(SETTLED_SECONDS)
    if "Nothing to be done" not in quietly(["make"], folder):
        sys.exit("make found something to do")
    prove_noop(binary, folder, count)

    make = Command(f"make, {count} stages", ["make"], folder)
    bare_make = Command(f"make -rR, {count} stages", ["make", "-rR"], folder)
    run = Command(f"run, {count} stages", [binary, "run", "spec.yaml"], folder)
    check = Command(f"check, {count} stages", [binary, "check", "spec.yaml"], folder)
    commands = [make, bare_make, run, check]
    if count == 10:
        commands.append(Command("--help", [binary, "--help"], folder))
    interleave(commands, rounds)
    table(f"no-op, {count} stages, {shape}")
    row(make)
    row(bare_make, make)
    row(run, make, 1.0)
    row(check, make, 1.0 if count in (10, 1000) else None)
    if count == 10:
        row(commands[-1], make, 0.5)


def cold(binary, base, rounds, count=1000):
    folder = base / "cold"
    (folder / "src").mkdir(parents=True)
    (folder / "out").mkdir()
    stages = ["version: 1", "name: cold", "stages:"]
    for index in range(count):
        (folder / "src" / f"{index}.txt").write_text(f"source {index}\n")
        stages += [f"  s{index:04}:", "    command:", '      run: [cp, "${inputs.a}", "${outputs.o}"]',
                   f"      inputs: {{ a: src/{index}.txt }}", "      outputs: { o: o }"]
    (folder / "spec.yaml").write_text("\n".join(stages) + "\n")
    (folder / "bare.sh").write_text("".join(f"cp src/{i}.txt out/{i}\n" for i in range(count)))
    (folder / "names").write_text("".join(f"{i}\n" for i in range(count)))
    time.sleep(SETTLED_SECONDS)

    # Everything is made anew in every round; what was made before is put aside, not removed:
    # ext4 makes files several times slower for seconds after many were removed.
    aside = iter(range(1_000_000))

    def forget():
        to = folder / f"aside{next(aside)}"
        to.mkdir()
        for name in ("store", "build", "out", "spec.lock"):
            if (folder / name).exists():
                (folder / name).rename(to / name)
        (folder / "out").mkdir()

    def ours(name, *options):
        return Command(name, [binary, "run", "--cache-dir", "store", *options, "spec.yaml"], folder, forget)

    cores = os.cpu_count()
    serial = Command(f"{count} bare `cp`, one after the other", ["sh", "bare.sh"], folder, forget)
    one = ours("run --jobs 1", "--jobs", "1")
    parallel = Command(f"{count} bare `cp`, {cores} at a time",
                       ["xargs", "-a", "names", "-P", str(cores), "-I{}", "cp", "src/{}.txt", "out/{}"], folder, forget)
    many = ours(f"run --jobs {cores}", "--jobs", str(cores))
    interleave([serial, one, parallel, many], rounds)
    table(f"cold, {count} stages of one `cp`")
    row(serial)
    row(one, serial)
    row(parallel)
    row(many, parallel)
    print()
    for ours_, bare, jobs in ((one, serial, 1), (many, parallel, cores)):
        fact(f"overhead a stage, {jobs} job(s)", 1e3 * (ours_.median - bare.median) / count, 1.0, "ms")


def one_stage(folder, program, inputs):
    folder.mkdir()
    (folder / "spec.yaml").write_text("\n".join([
        "version: 1", "name: big", "stages:", "  one:", "    command:",
        f"      run: {program}", f"      inputs: {{ a: {inputs} }}", "      outputs: { o: o }", ""]))


def big_input(binary, base, rounds, b3sum):
    (base / "tiny.bin").write_bytes(b"tiny")
    big = base / "big.bin"
    with big.open("wb") as out:
        for _ in range(BIG >> 24):
            out.write(os.urandom(1 << 24))
    measure = """[sh, -c, 'wc -c < "$1" > "$2"', sh, "${inputs.a}", "${outputs.o}"]"""
    one_stage(base / "with-big", measure, "../big.bin")
    one_stage(base / "with-tiny", measure, "../tiny.bin")
    one_stage(base / "store-big", '[cp, "${inputs.a}", "${outputs.o}"]', "../big.bin")
    time.sleep(SETTLED_SECONDS)
    for folder in ("with-big", "with-tiny"):
        prove_noop(binary, base / folder, 1)

    tiny = Command("no-op run, input of 4 bytes", [binary, "run", "spec.yaml"], base / "with-tiny")
    unchanged = Command("no-op run, input of 1 GiB", [binary, "run", "spec.yaml"], base / "with-big")
    interleave([tiny, unchanged], rounds)
    # A new mtime makes the record of the digest worthless: the file is read again.
    rehash = Command("run, 1 GiB touched", [binary, "run", "spec.yaml"], base / "with-big", lambda: os.utime(big))
    theirs = Command("b3sum", [b3sum, str(big)], base) if shutil.which(b3sum) else None
    interleave([rehash] + ([theirs] if theirs else []), max(5, rounds // 3))
    store = base / "store-big"
    storing = Command("cold run, 1 GiB stored", [binary, "run", "--cache-dir", "store", "spec.yaml"], store,
                      lambda: shutil.rmtree(store / "store", ignore_errors=True))
    interleave([storing], 2)

    table("1 GiB")
    for command in (tiny, unchanged, rehash, theirs, storing):
        if command:
            row(command)
    print()
    fact("an unchanged input of 1 GiB adds", 1e3 * (unchanged.median - tiny.median), 1.0, "ms")
    if theirs:
        hashing = rehash.median - unchanged.median
        fact("hashing speed against b3sum", theirs.median / hashing, 0.8, "x", higher_is_better=True)
    else:
        print(f"hashing speed against b3sum: not measured, there is no `{b3sum}` (cargo install b3sum)")
    fact("peak memory while hashing", rehash.peak_kib / 1024, 64, "MiB")
    fact("peak memory while storing", storing.peak_kib / 1024, 64, "MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", help="the trt-pipeline to measure")
    parser.add_argument("--rounds", type=int, default=31, help="rounds of no-op rows (default 31)")
    parser.add_argument("--sizes", default="10,100,1000", help="stages of the no-op DAGs")
    parser.add_argument("--shapes", default="layered,sourced", help="shapes of the no-op DAGs")
    parser.add_argument("--only", choices=["noop", "cold", "big"], help="one group of rows")
    parser.add_argument("--b3sum", default="b3sum", help="the b3sum to compare with")
    parser.add_argument("--dir", help="where to put the files (default: the system's temporary folder)")
    arguments = parser.parse_args()
    binary = str(Path(arguments.binary).resolve(strict=True))
    found = shutil.which(arguments.b3sum)
    b3sum = os.path.abspath(found) if found else arguments.b3sum

    print(f"{quietly([binary, '--version'], '.').strip()}; {quietly(['make', '--version'], '.').splitlines()[0]}; "
          f"Linux {platform.release()}, {os.cpu_count()} cores; {arguments.rounds} rounds")
    with tempfile.TemporaryDirectory(prefix="noop-", dir=arguments.dir) as made:
        base = Path(made)
        if arguments.only in (None, "noop"):
            for shape in arguments.shapes.split(","):
                for count in map(int, arguments.sizes.split(",")):
                    noop(binary, base, shape, count, arguments.rounds)
        if arguments.only in (None, "cold"):
            cold(binary, base, max(5, arguments.rounds // 6))
        if arguments.only in (None, "big"):
            big_input(binary, base, arguments.rounds, b3sum)
        os.chdir("/")


if __name__ == "__main__":
    main()
