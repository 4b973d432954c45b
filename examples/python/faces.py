"""Draws a folder laid out as the ORL faces are: DIR/s1/1.pgm … DIR/s40/10.pgm, grey, 92×112 pixels.

    python faces.py DIR          # needs numpy and pillow; the same pictures each time

The faces are cartoons and no substitute for photographs: they are there so that the commands of docs/guide.md run without
a download. A person is a set of numbers (head, hair, eyes, brows, nose, mouth, beard, glasses). A picture of a person adds
what differs between photographs: light, place, size, tilt, turn of the head, expression, clothes and wall.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

PEOPLE, PICTURES = 40, 10
WIDTH, HEIGHT, FINER = 92, 112, 4  # drawn four times as fine, then averaged
AROUND = np.stack([f(np.linspace(0, 2 * np.pi, 64, endpoint=False)) for f in (np.cos, np.sin)], 1)
ACROSS = np.linspace(-1, 1, 32)


def person(rng):
    """What stays the same from picture to picture: greys of 0–1, lengths in halves of the picture's width."""
    u, one_of = rng.uniform, rng.choice
    return {
        "head": u([0.48, 0.66], [0.64, 0.84]), "square": u(1.8, 2.9), "jaw": u(0, 0.3), "ear": u(0.1, 0.2),
        "skin": u(0.5, 0.85), "hair": one_of([0.08, 0.15, 0.25, 0.45, 0.95]), "volume": u(1.03, 1.16),
        "hairline": u(0.3, 0.6), "cut": one_of(["none", "short", "fringe", "parted", "long"]),
        "beard": u() < 0.2, "moustache": u() < 0.2, "glasses": one_of([0, 0, 0, 2, 5]),
        "gap": u(0.2, 0.29), "eyes": u(-0.16, 0.02), "eye": u([0.075, 0.035], [0.12, 0.075]), "iris": u(0.05, 0.35),
        "brow": u([0.1, 0.02, -0.05, 0.11], [0.17, 0.06, 0.05, 0.19]), "nose": u([0.05, 0.14], [0.13, 0.27]),
        "mouth": u([0.12, 0.02, 0.36], [0.24, 0.065, 0.47]), "lips": u(0.5, 0.85),
    }  # fmt: skip


def oval(x, y, w, h, power=2.0, jaw=0.0, rows=(-9, 9)):
    """An ellipse, squarer for a higher power, narrower below for a jaw; of it the part between two rows."""
    px, py = (np.sign(AROUND) * abs(AROUND) ** (2 / power)).T
    return np.stack([x + w * px * (1 - jaw * np.maximum(py, 0) ** 2), np.clip(y + h * py, *rows)], 1)


def arc(x, y, w, sag, thick):
    """A line bent by `sag` in the middle, thick there and pointed at its ends."""
    middle, half = y + sag * (1 - ACROSS**2), thick * np.sqrt(1 - ACROSS**2)
    return np.concatenate([np.stack([x + w * ACROSS, middle - half], 1), np.stack([x + w * ACROSS, middle + half], 1)[::-1]])


def face(p, turn, nod, smile, gape, lids, shirt):
    """The polygons of a face with their greys, from back to front."""
    (w, h), skin, hair, cut, (x, y) = p["head"], p["skin"], p["hair"], p["cut"], (turn, p["eyes"] + nod)
    yield [[-1.6, 2.5], [-1.0, 1.12], [-0.3, 0.92], [0.3, 0.92], [1.0, 1.12], [1.6, 2.5]], shirt
    yield [[-0.26, 0.4], [0.26, 0.4], [0.28, 1.0], [0, 1.12], [-0.28, 1.0]], 0.82 * skin
    if cut == "long":
        yield oval(0, 0.1, 1.28 * w, 1.2 * h, 2.6), hair
    for side in (-1, 1):
        yield oval(side * w + turn / 2, 0, 0.7 * p["ear"], p["ear"]), 0.9 * skin
    if cut != "none":
        yield oval(0, -0.08, w * p["volume"], h * p["volume"], rows=(-9, 0.05)), hair
    yield oval(0, 0, w, h, p["square"], p["jaw"]), skin
    if p["beard"]:
        yield oval(0, 0, w, h, p["square"], p["jaw"], rows=(0.26, 9)), 0.6 * hair + 0.3 * skin
    if cut != "none":
        bend = {"fringe": 0.06, "parted": 0.2 * (ACROSS - 0.35) ** 2 - 0.1}.get(cut, 0.06 * ACROSS**2)
        across, roof = w * p["volume"] * ACROSS, -0.08 - h * p["volume"] * np.sqrt(1 - ACROSS**2)
        edge = np.maximum(-h * p["hairline"] + bend, roof)
        yield np.concatenate([np.stack([across, edge], 1), np.stack([across, roof], 1)[::-1]]), hair
    (ew, eh), (bw, bt, slant, above), (nw, nl), (mw, mt, my) = p["eye"], p["brow"], p["nose"], p["mouth"]
    for side in (-1, 1):
        ex = x + side * p["gap"]
        yield oval(ex, y, ew, eh * lids), 0.95
        yield oval(ex + turn / 3, y, min(0.95 * eh, 0.6 * ew), eh * min(lids, 0.95)), p["iris"]
        yield arc(ex, y, 1.1 * ew, -eh * lids, 0.012), 0.12
        brow = np.array([[-bw, slant], [bw, -slant], [bw, bt / 2 - slant], [-bw, bt + slant]])
        yield brow * [side, 1] + [ex, y - above - 0.02 * smile], min(hair, 0.6 * skin)
        if p["glasses"]:
            outer, inner = (oval(ex, y, k * 0.17, k * 0.125, p["glasses"]) for k in (1, 0.85))
            yield np.concatenate([outer, outer[:1], inner[:1], inner[::-1]]), 0.1
            yield [[ex - 0.17 * side, y - 0.02], [x, y - 0.03], [x, y], [ex - 0.17 * side, y + 0.01]], 0.1
    yield [[1.5 * x, y + 0.04], [1.7 * x + nw, y + nl], [1.7 * x - nw, y + nl]], 0.88 * skin
    yield arc(1.7 * x, y + nl, nw, 0.02, 0.02), 0.6 * skin
    if p["moustache"]:
        yield arc(1.3 * x, my + nod - 0.08, 1.05 * mw, -0.03, 0.045), 0.6 * hair
    yield arc(1.3 * x, my + nod, mw * (1 + 0.15 * smile), 0.07 * smile, mt + gape), skin * p["lips"]
    yield arc(1.3 * x, my + nod, mw * (1 + 0.12 * smile), 0.07 * smile, 0.008 + gape), 0.15


def picture(p, rng):
    """One picture of a person, bytes `[HEIGHT, WIDTH]`."""
    u = rng.uniform
    size, tilt, place = u(0.9, 1.08), u(-0.1, 0.1), u(-0.07, 0.07, 2)
    turned = size * np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    canvas = Image.new("L", (WIDTH * FINER, HEIGHT * FINER), int(u(60, 150)))
    draw = ImageDraw.Draw(canvas)
    expression = u(-0.3, 1.0), max(0.0, u(-0.08, 0.07)), u(0.45, 1.1)
    for points, grey in face(p, u(-0.09, 0.09), u(-0.04, 0.04), *expression, shirt=u(0.1, 0.9)):
        xy = (np.asarray(points) @ turned + place + [1, HEIGHT / WIDTH]) * WIDTH / 2 * FINER
        draw.polygon([tuple(point) for point in xy], fill=int(255 * min(grey, 1)))
    grey = np.asarray(canvas, float).reshape(HEIGHT, FINER, WIDTH, FINER).mean((1, 3))
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    light = u(0.8, 1.15) * (1 + u(-0.35, 0.35) * x + u(-0.15, 0.15) * y)
    return np.clip(grey * light + rng.normal(0, 4, grey.shape), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    for i in range(1, PEOPLE + 1):
        rng = np.random.default_rng(i)
        someone = person(rng)
        (out / f"s{i}").mkdir(parents=True, exist_ok=True)
        for k in range(1, PICTURES + 1):
            Image.fromarray(picture(someone, rng)).save(out / f"s{i}" / f"{k}.pgm")
    print(f"{PEOPLE} people × {PICTURES} pictures of {WIDTH}×{HEIGHT} in {out}")
