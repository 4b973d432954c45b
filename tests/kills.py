#!/usr/bin/env python3
"""Whether a suite that is killed at random moments comes to the same bytes as one that is not.

    python3 tests/kills.py [--kills 20] [--seed 0] [KSHOT]

KSHOT is the program (default target/release/kshot). A suite of 24 cells, two at a time, is measured once as a whole and once
killed (SIGKILL) again and again, at moments drawn at random; after each kill the same command goes on. Then `result.json`,
`episodes.npz`, `config.toml`, checkpoints and `metrics.jsonl` of every cell are compared byte by byte. About two minutes.
"""

import argparse
import pathlib
import random
import subprocess
import sys
import tempfile
import time

SUITE = """
episodes = 60
seeds = 3
[train]
steps = 120
validate-every = 10
validation-episodes = 10
[set.glyphs]
train-classes = 60
validation-classes = 20
test-classes = 20
[[experiment]]
learner = ["prototypical", "triplet", "maml", "finetune"]
shots = [1, 5]
"""
FILES = ["result.json", "episodes.npz", "config.toml", "best.safetensors", "last.safetensors", "metrics.jsonl"]


def kept(suite):
    cells = sorted((suite / "cells").iterdir())
    return {f"{cell.name}/{name}": (cell / name).read_bytes() for cell in cells for name in FILES}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("kshot", nargs="?", default=pathlib.Path(__file__).resolve().parent.parent / "target/release/kshot")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "suite.toml").write_text(SUITE)

        def command(out):
            return [options.kshot, "run", scratch / "suite.toml", "--jobs", "2", "--out", scratch / out]

        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        begun = time.monotonic()
        subprocess.run(command("whole"), check=True, **quiet)
        seconds = time.monotonic() - begun
        draw = random.Random(options.seed)
        # So spread that the last comes before the end.
        for number in range(options.kills):
            running = subprocess.Popen(command("killed"), **quiet)
            time.sleep(draw.uniform(0.02, 1.4 * seconds / options.kills))
            if running.poll() is not None:
                sys.exit(f"the suite ended before kill {number + 1}; ask for fewer --kills")
            running.kill()
            running.wait()
        subprocess.run(command("killed"), check=True, **quiet)
        whole, killed = kept(scratch / "whole"), kept(scratch / "killed")
        different = [name for name in whole if whole[name] != killed.get(name)]
        print(f"{len(whole)} files of {len(whole) // len(FILES)} cells, {seconds:.0f} s as a whole; "
              f"{options.kills} kills: {len(different)} differ")
        sys.exit("\n".join(different) or 0)


if __name__ == "__main__":
    main()
