"""Runs the examples from end to end, and compares their numbers with kshot's.

    python test_examples.py [KSHOT]          # else $KSHOT, else the kshot of the path; ten seconds

Needs numpy and pillow. The part with PyTorch is skipped, and says so, where torch or safetensors is not installed.
"""

import csv
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
KSHOT = shutil.which(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("KSHOT", "kshot"))


def run(*command):
    """The standard output of a command that must succeed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        sys.exit(f"FAILED {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def example(name, *args):
    return run(sys.executable, HERE / name, *args)


def check(holds, what):
    if not holds:
        sys.exit(f"FAILED {what}")
    print(f"ok  {what}")


def faces(work):
    example("faces.py", work / "faces")
    files = sorted((work / "faces").glob("s*/*.pgm"))
    check(len(files) == 400 and {Image.open(file).size for file in files} == {(92, 112)}, "faces.py: 40 × 10 of 92×112")
    # The same at the network's size, so that nothing is resampled; the last eight people are not trained on.
    for file in files:
        person, picture = file.parent.name, int(file.stem)
        known, new = work / "known" / person / file.name, work / "new" / person / file.name
        for to in [work / "small" / person / file.name] + ([known if picture <= 2 else new] if int(person[1:]) > 32 else []):
            to.parent.mkdir(parents=True, exist_ok=True)
            Image.open(file).resize((28, 28), Image.BILINEAR).save(to)


def train(work):
    folder = ["--data", "folder", "--set", f"folder.path={work / 'faces'}", "--image-size", 28]
    split = ["--set", f"folder.split-file={HERE / 'faces.toml'}"]
    run(KSHOT, "train", *folder, *split, "--learner", "triplet", "--steps", 60, "--episodes", 20, "--out", work / "run")
    verdict = run(KSHOT, "verify", work / "run", work / "known/s33/1.pgm", work / "known/s33/1.pgm", "--far", 0.01)
    check(verdict.startswith("same"), "verify: a picture and itself are the same")
    for part in ("known", "new"):
        run(KSHOT, "embed", work / "run", work / part, "--out", work / f"{part}.npz")


def labels(file):
    with open(file, encoding="utf-8", newline="") as answers:
        return [answer["label"] for answer in csv.DictReader(answers)]


def embedding(work):
    known, new, answers = work / "known.npz", work / "new.npz", work / "answers.csv"
    run(KSHOT, "predict", "--learner", "centroid", "--support", known, new, "--csv", answers)
    ours = [line.split(maxsplit=1)[0] for line in example("embedding.py", known, new).splitlines()]
    check(len(ours) == 64 and ours == labels(answers), "embedding.py: the labels of `kshot predict --learner centroid`")
    right = example("score.py", answers, new).split()[0]
    check(int(right) == sum(ours == np.load(new)["y"]), "score.py: counts what is right")


def checkpoint(work):
    if not all(importlib.util.find_spec(package) for package in ("torch", "safetensors")):
        print("skipped  checkpoint.py: torch or safetensors is not installed")
        return
    run(KSHOT, "embed", work / "run", work / "small", "--out", work / "small.npz")
    for features, most in (("small", 1e-5), ("resampled", 1e-2)):
        if features == "resampled":
            run(KSHOT, "embed", work / "run", work / "faces", "--out", work / "resampled.npz")
        said = example("checkpoint.py", work / "run", work / f"{features}.npz")
        check(float(said.split("at most ")[1].split()[0]) <= most, f"checkpoint.py: {features}: {said.strip()}")


def windows(work):
    rng = np.random.default_rng(0)
    for label, frequency in (("hum", 300), ("whine", 2000)):
        for load in ("load0", "load3"):
            time = np.arange(10 * 2048 + 100) / 12000
            wave = np.sin(2 * np.pi * frequency * time) + 0.3 * rng.standard_normal(len(time))
            np.save(work / f"{label}_{load}_DE.npy", np.float32(wave))
    example("windows.py", work / "labelled.npz", 0, 2, *sorted(work.glob("*_load0_DE.npy")))
    example("windows.py", work / "unknown.npz", 4, 99, *sorted(work.glob("*_load3_DE.npy")))
    check(np.load(work / "unknown.npz")["X"].shape == (12, 1, 32, 32), "windows.py: whole windows only")
    labelled, unknown, answers = work / "labelled.npz", work / "unknown.npz", work / "windows.csv"
    run(KSHOT, "predict", "--learner", "pixels", "--support", labelled, unknown, "--csv", answers)
    check(labels(answers) == ["hum"] * 6 + ["whine"] * 6, "windows.py: kshot tells a hum from a whine")


def omniglot_runs(work):
    """Runs drawn from a made-up evaluation, and the same given as the published ones are."""
    rng, ink = np.random.default_rng(0), {}
    with zipfile.ZipFile(work / "evaluation.zip", "w") as evaluation:
        for character in range(1, 23):
            for person in range(1, 4):
                file = io.BytesIO()
                Image.fromarray(rng.random((9, 9)) < 0.5).save(file, "png")
                name = f"Letters/character{character:02}/{character:04}_{person:02}.png"
                ink[name] = file.getvalue()
                evaluation.writestr(f"images_evaluation/{name}", file.getvalue())
    example("omniglot_runs.py", work / "evaluation.zip", work / "drawn.json")
    runs = json.loads((work / "drawn.json").read_text(encoding="utf-8"))["episodes"]
    files = lambda side: [example["file"].replace("rot000/", "") for example in side]
    people = [{file[-6:-4] for file in files(runs[0][side])} for side in ("support", "query")]
    check(len(runs) == 20 and [len(one) for one in people] == [1, 1] and people[0] != people[1], "omniglot_runs.py: two people's")
    with zipfile.ZipFile(work / "runs.zip", "w") as archive:
        lines = []
        for label in range(20):
            for folder, side in (("training/class", "support"), ("test/item", "query")):
                file = next(one["file"] for one in runs[0][side] if one["label"] == label).replace("rot000/", "")
                archive.writestr(f"all_runs/run01/{folder}{label + 1:02}.png", ink[file])
            lines.append(f"run01/test/item{label + 1:02}.png run01/training/class{label + 1:02}.png")
        archive.writestr("all_runs/run01/class_labels.txt", "\n".join(lines))
    example("omniglot_runs.py", work / "evaluation.zip", work / "published.json", work / "runs.zip")
    published = json.loads((work / "published.json").read_text(encoding="utf-8"))["episodes"]
    check(published == runs[:1], "omniglot_runs.py: the published runs, found by their ink")


if __name__ == "__main__":
    if KSHOT is None:
        sys.exit("there is no kshot: name it, set KSHOT, or put it on the path")
    with tempfile.TemporaryDirectory() as folder:
        for part in (faces, train, embedding, checkpoint, windows, omniglot_runs):
            part(Path(folder))
