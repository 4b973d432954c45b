"""Omniglot's one-shot classification runs as a file of tasks for `kshot eval --manifest`.

    python omniglot_runs.py images_evaluation.zip RUNS.json [all_runs.zip]      # with all_runs.zip: numpy, pillow

A run has 20 characters of one evaluation alphabet: one drawing of each by one person, and one of each by another, to be named
(Lake, Salakhutdinov & Tenenbaum, Science 2015). The 20 runs of the paper are in `all_runs.zip`
(github.com/brendenlake/omniglot, `python/one-shot-classification`), whose drawings are found among the evaluation's by their ink.
Without that file 20 runs of the same kind are drawn, from a fixed seed.
"""

import io
import json
import random
import sys
import zipfile
from collections import defaultdict

RUNS, WAYS = 20, 20


def name(file):
    """What kshot calls `images_evaluation/ALPHABET/characterNN/IIII_DD.png`, upright."""
    alphabet, character, drawing = file.split("/")[-3:]
    return f"{alphabet}/{character}/rot000/{drawing}"


def drawn(files):
    """20 runs: characters of an alphabet that has as many, each drawn by two people."""
    rng = random.Random(0)
    drawings = defaultdict(lambda: defaultdict(dict))
    for file in files:
        alphabet, character, drawing = file.split("/")[-3:]
        drawings[alphabet][character][drawing.removesuffix(".png").split("_")[1]] = name(file)
    alphabets = [alphabet for alphabet in sorted(drawings) if len(drawings[alphabet]) >= WAYS]
    order = [alphabet for _ in range(RUNS) for alphabet in rng.sample(alphabets, len(alphabets))][:RUNS]
    for alphabet in order:
        characters = rng.sample(sorted(drawings[alphabet]), WAYS)
        one, other = rng.sample(sorted(drawings[alphabet][characters[0]]), 2)
        sides = [[drawings[alphabet][character][person] for character in characters] for person in (one, other)]
        yield [list(enumerate(side)) for side in sides]


def published(evaluation, runs):
    """The paper's runs; `class_labels.txt` of each says which drawing to be named is like which."""
    import numpy as np
    from PIL import Image

    def ink(archive, file):
        return (np.array(Image.open(io.BytesIO(archive.read(file))).convert("L")) < 128).tobytes()

    known = {ink(evaluation, file): name(file) for file in evaluation.namelist() if file.endswith(".png")}

    def find(file):
        if ink(runs, file) not in known:
            sys.exit(f"{file} is none of the drawings of the evaluation: are both archives as published?")
        return known[ink(runs, file)]

    for labels in sorted(file for file in runs.namelist() if file.endswith("class_labels.txt")):
        root = labels.removesuffix("class_labels.txt").removesuffix("/").rpartition("/")[0]
        pairs = [line.split() for line in runs.read(labels).decode().splitlines() if line.strip()]
        place = lambda file: f"{root}/{file}".lstrip("/")
        classes = sorted({known for _, known in pairs})
        support = [(label, find(place(file))) for label, file in enumerate(classes)]
        yield [support, [(classes.index(like), find(place(file))) for file, like in pairs]]


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    evaluation = zipfile.ZipFile(sys.argv[1])
    if len(sys.argv) == 4:
        runs = list(published(evaluation, zipfile.ZipFile(sys.argv[3])))
    else:
        runs = list(drawn(file for file in evaluation.namelist() if file.endswith(".png")))
    side = lambda pairs: [{"file": file, "label": label} for label, file in pairs]
    episodes = [{"support": side(support), "query": side(query)} for support, query in runs]
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        json.dump({"episodes": episodes}, out)
    print(f"{len(episodes)} runs of {len(episodes[0]['support'])} characters: {sys.argv[2]}")
