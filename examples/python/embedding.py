"""The nearest class mean on features that `kshot embed` wrote, without kshot.

    kshot embed RUN known --out known.npz && kshot embed RUN new --out new.npz
    python embedding.py known.npz new.npz          # needs numpy

The labels are those of `kshot predict --learner centroid --support known.npz new.npz`: features have the mean of the
known ones subtracted and are brought to length 1 (CL2N; Wang et al. 2019, SimpleShot, section 3).
"""

import sys

import numpy as np


def nearest_class_mean(known, labels, new):
    """Labels of `new` `[m, features]` by the classes of `known` `[n, features]`."""
    mean = known.mean(0)
    known, new = (unit(np.float64(z) - mean) for z in (known, new))
    classes = np.unique(labels)
    means = np.stack([known[labels == label].mean(0) for label in classes])
    return classes[((new[:, None] - means) ** 2).sum(-1).argmin(1)]


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


if __name__ == "__main__":
    known, new = np.load(sys.argv[1]), np.load(sys.argv[2])
    answers = nearest_class_mean(known["X"], known["y"], new["X"])
    for name, answer in zip(new["name"], answers):
        print(answer, name)
    if "y" in new:
        print(f"{(answers == new['y']).sum()} of {len(answers)} right", file=sys.stderr)
