#!/usr/bin/env python3
"""Whether a change of structure changed no result: figures, logs and weights against stored hashes.

    python3 tests/identical.py [--full] [--write] [KSHOT]

KSHOT is the program (default target/release/kshot). Every learner is measured on `glyphs`, `sinusoid` and, where
$KSHOT_DATA (default ../shared/data) has it, `office-caltech10-surf`; one of each family is trained with a run directory.
Settings are small; --full takes the program's defaults instead (about ten minutes on two cores). --write stores what is
found in tests/identical.json: for a change that is meant to change results.

A hash is over the bits: of a row of `bench --json` without its times, of `metrics.jsonl`, of a checkpoint's tensors.
Kernels are those of AVX2, so that machines with and without AVX-512 agree; distances between domains come out of a linear
algebra library that rounds by the machine, so they count to six digits.
"""

import argparse
import hashlib
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TIMES = ("train_seconds", "eval_episodes_per_second")
ROUNDED = ("mmd2_before", "mmd2_after", "a_distance_before", "a_distance_after")
BENCHES = ["glyphs", "sinusoid", "office-caltech10-surf"]
SMALL = {
    "glyphs": ["--steps", "12", "--episodes", "40", "--validation-episodes", "10", "--shots", "1,3"],
    "sinusoid": ["--steps", "60", "--episodes", "40", "--validation-episodes", "10"],
    "office-caltech10-surf": ["--steps", "6", "--source", "A", "--target", "W,D"],
}
RUNS = ["prototypical", "matching", "relation", "siamese", "triplet", "finetune", "metanet", "maml", "meta-sgd", "reptile"]


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def kshot(program, *arguments, result):
    environment = {**os.environ, "KSHOT_ISA": "avx2"}
    done = subprocess.run([program, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    # A learner that diverges fails, and the others' rows stand all the same.
    if done.returncode != 0 and not result.exists():
        sys.exit(f"kshot {' '.join(map(str, arguments))}\n{done.stderr.decode()}")


def rows(program, data, data_dir, settings, scratch):
    path = scratch / f"{data}.json"
    kshot(program, "bench", "--data", data, "--data-dir", data_dir, "--json", path, *settings, result=path)
    for row in json.loads(path.read_text())["rows"]:
        for name in TIMES:
            row.pop(name)
        for name in ROUNDED:
            if row.get(name) is not None:
                row[name] = f"{row[name]:.6g}"
        place = [row[key] for key in ("ways", "shots", "test_steps", "source", "target") if row.get(key) is not None]
        key = " ".join(map(str, ["bench", data, row["learner"], *place]))
        yield key, digest(json.dumps(row, sort_keys=True).encode())


def run(program, learner, settings, scratch):
    directory = scratch / learner
    kshot(program, "train", "--learner", learner, "--out", directory, *settings, result=directory / "last.safetensors")
    yield f"train {learner} metrics.jsonl", digest((directory / "metrics.jsonl").read_bytes())
    for name in ("best", "last"):
        data = (directory / f"{name}.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        tensors = json.loads(data[8 : 8 + length])
        tensors.pop("__metadata__", None)
        yield f"train {learner} {name}", digest(json.dumps(tensors, sort_keys=True).encode() + data[8 + length :])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("kshot", nargs="?", default=HERE.parent / "target/release/kshot")
    arguments = parser.parse_args()
    data_dir = pathlib.Path(os.environ.get("KSHOT_DATA", HERE.parent.parent / "shared/data"))
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for data in BENCHES:
            if data.startswith("office") and not any(data_dir.glob("office*")):
                print(f"skipped {data}: not in {data_dir}")
                continue
            settings = [] if arguments.full else SMALL[data]
            found.update(rows(arguments.kshot, data, data_dir, settings, scratch))
        settings = ["--steps", "40", "--validate-every", "20", "--validation-episodes", "10", "--episodes", "20"]
        for learner in RUNS:
            found.update(run(arguments.kshot, learner, settings + ["--shots", "2"], scratch))
    store = HERE / "identical.json"
    stored = json.loads(store.read_text()) if store.exists() else {}
    kind = "full" if arguments.full else "small"
    if arguments.write:
        stored[kind] = found
        store.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
        print(f"{len(found)} hashes written")
        return
    known = stored.get(kind, {})
    changed = [key for key in found if known.get(key) not in (None, found[key])]
    new = [key for key in found if key not in known]
    for key in changed:
        print(f"changed: {key}")
    for key in new:
        print(f"no hash stored: {key}")
    print(f"{len(found) - len(changed) - len(new)} of {len(found)} results are as stored")
    sys.exit(1 if changed or new else 0)


if __name__ == "__main__":
    main()
