"""Cuts vibration records into windows and writes them as arrays that kshot reads.

    python windows.py OUT.npz FIRST COUNT FAULT_DOMAIN_….npy …      # numpy

Of each record (`.npy`, one channel, 12 kHz) windows FIRST … FIRST + COUNT − 1 of 2048 samples, which do not overlap; the
name of the file gives the label and the domain: `OR007_load3_DE.npy`. `X` is `[n, 1, 32, 32]`, the logarithm of the
spectrogram, as kshot's datasets `cwru` and `bearing` show a window; `name` says where it was cut.
"""

import sys
from pathlib import Path

import numpy as np

WINDOW, FRAME = 2048, 64
HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)


def standardised(x):
    return (x - x.mean()) / (x.std() or 1)


def spectrogram(window):
    """32 frequencies (down) over 32 moments (across), mean 0 and deviation 1."""
    frames = standardised(window).reshape(-1, FRAME) * HANN
    return standardised(np.log(abs(np.fft.rfft(frames))[:, 1:] + 1e-3).T)


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    out, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    X, y, domain, name = [], [], [], []
    for path in map(Path, sys.argv[4:]):
        record = np.load(path).astype(float).ravel()
        label, where = path.stem.split("_")[:2]
        for i in range(first, min(first + count, len(record) // WINDOW)):
            X.append(spectrogram(record[i * WINDOW : (i + 1) * WINDOW])[None])
            y.append(label), domain.append(where), name.append(f"{path.stem}@{i * WINDOW}")
    np.savez(out, X=np.float32(X), y=y, domain=domain, name=name)
    print(f"{len(y)} windows of {len(set(y))} labels in {len(set(domain))} domains: {out}")
