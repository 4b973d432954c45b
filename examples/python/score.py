"""How many answers of `kshot predict … --csv ANSWERS.csv` are right.

    python score.py ANSWERS.csv [ARRAYS.npz]

The truth is the array `y` of the file whose rows were asked or, for images, the directory that each is in.
"""

import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np

answers = list(csv.DictReader(open(sys.argv[1])))
if len(sys.argv) > 2:
    truth = [str(label) for label in np.load(sys.argv[2])["y"]]
else:
    truth = [Path(answer["file"]).parent.name for answer in answers]
pairs = Counter((true, answer["label"]) for true, answer in zip(truth, answers, strict=True))
right = sum(count for (true, label), count in pairs.items() if true == label)
print(f"{right} of {len(answers)} right, {100 * right / len(answers):.2f} %")
for (true, label), count in sorted(pairs.items()):
    if true != label:
        print(f"{count:6} of {true} taken for {label}")
