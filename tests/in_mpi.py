#!/usr/bin/env python3
"""Ranks under MPI: the same bytes as one process, however many there are, also after one was killed; what goes wrong on one ends all
with one message.

usage: in_mpi.py PROGRAM     a kshot with the feature `mpi`, where mpirun is"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PROGRAM = pathlib.Path(sys.argv[1]).resolve()
TRAIN = """data = "glyphs"
learner = "{learner}"
episodes = 30
threads = 1
[train]
steps = {steps}
meta-batch = {batch}
validate-every = 5
validation-episodes = 20
"""
SUITE = """data = "glyphs"
learner = ["pixels", "prototypical", "relation"]
shots = [1, 5]
seeds = 2
episodes = 30
threads = 1
[train]
steps = {steps}
validation-episodes = 20
"""
KEPT = ["metrics.jsonl", "best.safetensors", "last.safetensors", "result.json", "episodes.npz", "config.toml"]
# Open MPI binds ranks to cores, refuses more of them than there are, and root.
OPEN_MPI = "Open MPI" in subprocess.run(["mpirun", "--version"], capture_output=True, text=True).stdout
OPTIONS = ["--oversubscribe", "--bind-to", "none"] + ["--allow-run-as-root"] * (os.getuid() == 0) if OPEN_MPI else []
# A rank that is killed, and one that waits for it, are told from a hang by this.
PATIENCE = 120


def mpirun(*ranks, **options):
    """Starts ranks, each (how many, command)."""
    command = ["mpirun"] + OPTIONS
    for place, (count, arguments) in enumerate(ranks):
        command += ([":"] if place else []) + ["-n", str(count)] + [str(argument) for argument in arguments]
    # Open MPI says itself that a rank gave an exit code; that is not kshot's message.
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def outcome(process):
    try:
        out, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError("the ranks hang") from None
    return process.returncode, out, errors


def done(*ranks):
    code, out, errors = outcome(mpirun(*ranks))
    assert code == 0, (code, out, errors)
    return out


def alone(*arguments):
    subprocess.run([PROGRAM, *map(str, arguments)], check=True, capture_output=True)


def kept(directory):
    """The bytes that the seed determines."""
    files = (path for path in sorted(directory.rglob("*")) if path.name in KEPT)
    found = {str(path.relative_to(directory)): path.read_bytes() for path in files}
    assert found, directory
    return found


def same(one, other):
    one, other = kept(one), kept(other)
    assert one.keys() == other.keys(), one.keys() ^ other.keys()
    assert not (differ := [name for name in one if one[name] != other[name]]), differ


def ranks_of(process):
    """Processes of this program below another one."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == process.pid and (entry / "exe").resolve() == PROGRAM:
                found.append(int(entry.name))
        except (OSError, ValueError, IndexError):
            continue
    return sorted(found)


def kill_one(process, until):
    """Kills the last rank with -9 once `until` is so; the others end within seconds."""
    begun = time.monotonic()
    while not until():
        assert process.poll() is None and time.monotonic() - begun < PATIENCE, outcome(process)
        time.sleep(0.02)
    os.kill(ranks_of(process)[-1], signal.SIGKILL)
    begun = time.monotonic()
    code, _, _ = outcome(process)
    took = time.monotonic() - begun
    assert code != 0 and took < 15, (code, took)
    return took


def refused(ranks, wanted):
    """All end with exit code 2 and one message."""
    code, out, errors = outcome(mpirun(*ranks))
    said = [line for line in (out + errors).splitlines() if line.startswith("kshot:")]
    assert code == 2 and len(said) == 1 and wanted in said[0], (code, said, errors)


def main():
    work = pathlib.Path(tempfile.mkdtemp())
    os.chdir(work)
    for learner, batch, steps in [("prototypical", 3, 10), ("maml", 2, 5)]:
        file = work / f"{learner}.toml"
        file.write_text(TRAIN.format(learner=learner, batch=batch, steps=steps))
        alone("train", file, "--out", f"{learner}-alone")
        for count in [1, 2, 3, 4]:
            done((count, [PROGRAM, "train", file, "--out", f"{learner}-{count}"]))
            same(work / f"{learner}-alone", work / f"{learner}-{count}")
            print(f"train {learner}, {batch} episodes a step, {count} ranks: same bytes as alone")

    alone("eval", "prototypical-alone", "--json", "alone.json")
    done((3, [PROGRAM, "eval", "prototypical-alone", "--json", "three.json"]))
    figures = [json.loads((work / name).read_text()) for name in ["alone.json", "three.json"]]
    for figure in figures:
        for row in figure["rows"] if "rows" in figure else [figure]:
            [row.pop(key) for key in list(row) if "second" in key]
    assert figures[0] == figures[1]
    print("eval, 3 ranks: same figures as alone")

    # A training, one of whose ranks is killed, goes on with another number of them.
    file = work / "long.toml"
    file.write_text(TRAIN.format(learner="prototypical", batch=3, steps=60))
    alone("train", file, "--out", "long-alone")
    process = mpirun((3, [PROGRAM, "train", file, "--out", "long", "--resume"]))
    took = kill_one(process, (work / "long" / "last.safetensors").exists)
    done((2, [PROGRAM, "train", file, "--out", "long", "--resume"]))
    same(work / "long-alone", work / "long")
    print(f"train, a rank killed: the others end after {took:.1f} s; resumed on 2 ranks to the same bytes")

    file = work / "suite.toml"
    file.write_text(SUITE.format(steps=20))
    alone("run", file, "--out", "suite-alone")
    process = mpirun((3, [PROGRAM, "run", file, "--out", "suite"]))
    took = kill_one(process, lambda: len(list(work.glob("suite/cells/*/result.json"))) >= 3)
    had = len(list(work.glob("suite/cells/*/result.json")))
    out = done((4, [PROGRAM, "run", file, "--out", "suite"]))
    same(work / "suite-alone", work / "suite")
    assert (work / "suite-alone/suite.json").read_bytes() == (work / "suite/suite.json").read_bytes()
    assert "12 cells in suite" in out, out
    print(f"run, a rank killed with {had} of 12 cells kept: after {took:.1f} s all end; 4 ranks go on to the same bytes")

    process = mpirun((2, [PROGRAM, "run", file, "--out", "stopped"]))
    while not list(work.glob("stopped/cells/*/result.json")):
        time.sleep(0.02)
    [os.kill(rank, signal.SIGTERM) for rank in ranks_of(process)]
    code, _, errors = outcome(process)
    assert code == 130 and "goes on from what is in stopped" in errors, (code, errors)
    done((2, [PROGRAM, "run", file, "--out", "stopped"]))
    same(work / "suite-alone", work / "stopped")
    print("run, SIGTERM: exit code 130, goes on to the same bytes")

    # Without a directory, all ranks measure each learner together.
    tables = []
    for count in [1, 3]:
        bench = [PROGRAM, "bench", file, "--seeds", "1", "--json", f"bench-{count}.json"]
        done((count, bench))
        rows = json.loads((work / f"bench-{count}.json").read_text())["rows"]
        tables.append([{key: value for key, value in row.items() if "second" not in key} for row in rows])
    assert tables[0] == tables[1]
    print("bench, 3 ranks on each learner: same figures as alone")

    train = [PROGRAM, "train", work / "prototypical.toml", "--out"]
    refused([(3, [*train, "bad", "--set", "prototypical.distance=none"])], "distance")
    refused([(3, [PROGRAM, "train", work / "prototypical.toml", "--out", "long-alone"])], "holds a run")
    refused([(2, [PROGRAM, "predict", "prototypical-alone", "--support", ".", "."])], "run this one alone")
    refused([(2, [PROGRAM, "run", file, "--out", "bad", "--jobs", "2"])], "--jobs")
    # On one rank only: another data set there, that it does not find; a file that may not grow on the first.
    other = [PROGRAM, "train", work / "prototypical.toml", "--out", "bad", "--data", "omniglot", "--data-dir", "/nowhere"]
    refused([(1, [*train, "bad"]), (2, other)], "rank 1: ")
    refused([(2, other), (1, [*train, "bad"])], "omniglot")
    small = ["bash", "-c", 'ulimit -f 40; exec "$@"', "kshot", *train, "small"]
    refused([(1, small), (2, [*train, "small"])], "small")
    print("bad input, also on one rank only, and a full disk: exit code 2, one message")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
