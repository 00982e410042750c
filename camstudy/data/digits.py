"""The demo dataset: handwritten digits in cluttered scenes, with simulated human click maps.

Digits are scikit-learn's real 8x8 scans, backgrounds are photographs that ship with scikit-image, distractors are
pieces of other digits. Human maps are *simulated*: several annotators click on the strokes, each click paints a
bubble, and the annotators' maps are averaged, as in ClickMe (Linsley et al. 2019, arXiv 1805.08819). Fixations are
simulated, too: each annotator looks near the centre first, then at some of the clicked places, the nearest next.
Everything derives from (seed, split, image number), so one scene never depends on how many others are made.

Multi-label data have other scenes, of one to three digits; what is made of them are items, a scene and one digit of it.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from PIL import Image

SIZE = 256
DISTRACTOR_SIDE = (84, 116)
PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "rocket")
ANNOTATORS = 10
CLICKS = (12, 24)
CLICK_JITTER = 5.0
CONTEXT_RATE = 0.2
CONTEXT_JITTER = 30.0
BUBBLE_RADIUS = 12
FIXATIONS = 8  # of an annotator
FIRST_JITTER, LANDING_JITTER = 20.0, 3.0
FIXATION_MS = 240  # the median, whose logarithm has a standard deviation of a third
SIGMA = 12.0  # pixels that stand for a degree of visual angle


@dataclass(frozen=True)
class Split:
    """Whether a split shows scans for testing, and ranges [low, high) of the digit's side and of distractors."""

    tested: bool
    side: tuple[int, int]
    distractors: tuple[int, int]


# A small network takes very long to begin to learn from small digits among distractors, so that pretraining goes from
# close-ups to all sizes.
SPLITS = {
    "closeup": Split(False, (160, 256), (0, 1)),
    "pretrain": Split(False, (80, 160), (0, 4)),
    "train": Split(False, (92, 124), (1, 3)),
    "val": Split(True, (92, 124), (1, 3)),
}


# Scenes of one, two and three digits in turns: the scene of each of six items, and its place among those of the scene.
TURN = ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2))
QUARTER = SIZE // 2


@dataclass(frozen=True)
class Scene:
    """One image with its truth.

    image : uint8 (256, 256, 3); label : 0 to 9; stroke : float32 (256, 256), the digit's opacity in [0, 1];
    heatmap : uint8 (256, 256), mean click map of all annotators; halves : uint8 (2, 256, 256), the same for two
    random halves of them; fixations : float32 (80, 5), simulated: annotator, place in the order, row, column, ms.
    """

    image: np.ndarray
    label: int
    stroke: np.ndarray
    heatmap: np.ndarray
    halves: np.ndarray
    fixations: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """The digit's pixels, bool (256, 256): those that its colour covers by more than half."""
        return self.stroke > 0.5

    @property
    def boxes(self) -> np.ndarray:
        """The tight box around the mask, int64 (1, 4): edges (top, left, bottom, right) in pixels."""
        rows, columns = (np.flatnonzero(self.mask.any(axis)) for axis in (1, 0))
        return np.array([[rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]])


def make_scene(split: str, index: int, seed: int) -> Scene:
    """Make scene ``index`` of a split, always the same for a seed; classes take turns, so that splits are balanced."""
    rng = np.random.default_rng([seed, list(SPLITS).index(split), index])
    shown = SPLITS[split]
    scans, labels = _digits(shown.tested)
    label = index % 10
    scan = scans[rng.choice(np.flatnonzero(labels == label))]

    canvas = _background(rng)
    side = int(rng.integers(*shown.side))
    glyph = _glyph(scan, side, rng)
    # Beta(0.7, 0.7) spreads the digits to the edges, which keeps the centre-bias control honest and low.
    corner = (rng.beta(0.7, 0.7, 2) * (SIZE - np.array(glyph.shape))).astype(int)
    stroke = np.zeros((SIZE, SIZE), np.float32)
    _region(stroke, corner, glyph.shape)[...] = glyph

    # Half of a one still is a one.
    others = np.flatnonzero(labels != 1)
    for _ in range(rng.integers(*shown.distractors)):
        piece = _glyph(_fragment(scans[rng.choice(others)], rng), int(rng.integers(*DISTRACTOR_SIDE)), rng)
        place = rng.integers(0, SIZE - np.array(piece.shape))
        if _region(stroke, place, piece.shape).max() < 0.05:
            _paint(canvas, place, piece, rng)
    _paint(canvas, corner, glyph, rng)

    clicked = [_clicks(stroke, rng) for _ in range(ANNOTATORS)]
    maps = np.stack([_bubbles(points) for points in clicked])
    order = rng.permutation(ANNOTATORS)
    halves = np.stack([maps[order[::2]].mean(0), maps[order[1::2]].mean(0)])
    return Scene(
        canvas.clip(0, 255).round().astype(np.uint8),
        label,
        stroke,
        _to_uint8(maps.mean(0)),
        np.stack([_to_uint8(half) for half in halves]),
        # Numbers of their own, so that scenes are the same with and without.
        simulate_fixations(clicked, np.random.default_rng([seed, list(SPLITS).index(split), index, 1])),
    )


def simulate_fixations(clicked: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Return fixations made up from the places that annotators clicked, (k, 2) each, as `Scene.fixations`."""
    found = []
    for annotator, points in enumerate(clicked):
        left = rng.permutation(points)[: FIXATIONS - 1]
        path = [SIZE / 2 + rng.normal(0, FIRST_JITTER, 2)]
        while len(left):
            nearest = np.linalg.norm(left - path[-1], axis=1).argmin()
            path.append(left[nearest] + 0.5 + rng.normal(0, LANDING_JITTER, 2))
            left = np.delete(left, nearest, axis=0)
        durations = FIXATION_MS * np.exp(rng.normal(0, 1 / 3, FIXATIONS))
        about = np.full(FIXATIONS, annotator), np.arange(FIXATIONS)
        found.append(np.column_stack([*about, np.clip(path, 0.5, SIZE - 0.5), durations]))
    return np.concatenate(found).astype(np.float32)


@dataclass(frozen=True)
class Item:
    """A scene and one of its digits: truth about that digit, the classes of all, and the digit's place among them."""

    scene: Scene
    label_set: tuple[int, ...]
    place: int


def make_item(split: str, index: int, seed: int) -> Item:
    """Make item ``index`` of the scenes of a split with one to three digits, of different classes, each in a quarter.

    Always the same for a seed; the items of a scene follow one another, and scenes of one, two and three take turns.
    """
    turn, rest = divmod(index, len(TURN))
    scene, place = TURN[rest]
    labels, scenes = _make_items(split, 3 * turn + scene, seed, scene + 1)
    return Item(scenes[place], labels, place)


@lru_cache(maxsize=1)
def _make_items(split: str, number: int, seed: int, digits: int) -> tuple[tuple[int, ...], list[Scene]]:
    """Return the classes of a scene in ascending order, and the scene as it is for the digit of each."""
    # Other numbers than those of scenes of one digit.
    rng = np.random.default_rng([seed, list(SPLITS).index(split), number, 2])
    shown = SPLITS[split]
    scans, known = _digits(shown.tested)
    others = rng.permutation(np.delete(np.arange(10), number % 10))
    labels = sorted([number % 10, *others[: digits - 1].tolist()])
    canvas, strokes = _background(rng), []
    for label, quarter in zip(labels, rng.permutation(4), strict=False):
        scan = scans[rng.choice(np.flatnonzero(known == label))]
        glyph = _glyph(scan, min(int(rng.integers(*shown.side)), QUARTER), rng)
        start = QUARTER * np.array(divmod(int(quarter), 2))
        corner = start + rng.integers(0, QUARTER + 1 - np.array(glyph.shape))
        stroke = np.zeros((SIZE, SIZE), np.float32)
        _region(stroke, corner, glyph.shape)[...] = glyph
        _paint(canvas, corner, glyph, rng)
        strokes.append(stroke)
    image = canvas.clip(0, 255).round().astype(np.uint8)
    return tuple(labels), [
        Scene(image, label, stroke, *_clicked([_clicks(stroke, rng) for _ in range(ANNOTATORS)], rng))
        for label, stroke in zip(labels, strokes, strict=True)
    ]


def _clicked(clicked: list[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the click map of all annotators, those of two random halves of them, and fixations, as in `Scene`."""
    maps, order = np.stack([_bubbles(points) for points in clicked]), rng.permutation(ANNOTATORS)
    halves = np.stack([_to_uint8(maps[order[start::2]].mean(0)) for start in (0, 1)])
    return _to_uint8(maps.mean(0)), halves, simulate_fixations(clicked, rng)


@cache
def _digits(tested: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the scans (n, 8, 8) in [0, 1] and labels of testing (every fourth scan) or of training (the others)."""
    from sklearn.datasets import load_digits

    scans, labels = load_digits(return_X_y=True)
    chosen = (np.arange(len(labels)) % 4 == 3) == tested
    return (scans[chosen].reshape(-1, 8, 8) / 16).astype(np.float32), labels[chosen]


@cache
def _photographs() -> list[Image.Image]:
    import skimage.data

    return [Image.fromarray(getattr(skimage.data, name)()).convert("RGB") for name in PHOTOGRAPHS]


def _background(rng: np.random.Generator) -> np.ndarray:
    """Return a random piece of a photograph, tinted and with reduced contrast, float32 (256, 256, 3)."""
    photo = _photographs()[rng.integers(len(PHOTOGRAPHS))]
    side = int(rng.integers(140, min(photo.size)))
    left, top = (int(rng.integers(0, extent - side + 1)) for extent in photo.size)
    piece = photo.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    pixels = np.rot90(np.asarray(piece, np.float32), rng.integers(4)).copy()
    tint = rng.uniform(0.75, 1.25, 3).astype(np.float32)
    return (pixels - 127.5) * tint * rng.uniform(0.25, 0.5) + rng.uniform(90, 165)


def _glyph(scan: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Enlarge an 8x8 scan to about ``side`` pixels, rotated a little; returns opacities in [0, 1]."""
    image = Image.fromarray(np.pad(scan, 1)).resize((side, side), Image.Resampling.BICUBIC)
    image = image.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR)
    return np.clip((np.asarray(image) - 0.3) / 0.25, 0, 1)


def _fragment(scan: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Keep one half of a scan: strokes like a digit's, but no digit."""
    half = np.zeros_like(scan)
    window = [slice(None), slice(None)]
    window[rng.integers(2)] = slice(0, 4) if rng.random() < 0.5 else slice(4, 8)
    half[tuple(window)] = scan[tuple(window)]
    return half


def _region(canvas: np.ndarray, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return canvas[corner[0] : corner[0] + shape[0], corner[1] : corner[1] + shape[1]]


def _paint(canvas: np.ndarray, corner: np.ndarray, glyph: np.ndarray, rng: np.random.Generator) -> None:
    """Blend a glyph into the canvas in a random colour that differs clearly from what lies beneath."""
    region = _region(canvas, corner, glyph.shape)
    dark = region.mean() > rng.uniform(100, 155)
    colour = rng.uniform(0, 70, 3) if dark else rng.uniform(185, 255, 3)
    region += glyph[..., None] * (colour.astype(np.float32) - region)


def _clicks(stroke: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Simulate one annotator: rows and columns (k, 2) of clicks on strokes, some on their surroundings."""
    n = int(rng.integers(*CLICKS))
    pixels = np.flatnonzero(stroke > 0.5)
    jitter = np.where(rng.random((n, 1)) < CONTEXT_RATE, CONTEXT_JITTER, CLICK_JITTER)
    aimed = np.stack(np.unravel_index(rng.choice(pixels, n), stroke.shape), 1)
    return np.clip(aimed + rng.normal(0, 1, (n, 2)) * jitter, 0, SIZE - 1)


def _bubbles(points: np.ndarray) -> np.ndarray:
    """Return what clicks reveal, each a bubble, in [0, 1]."""
    rows, columns = np.ogrid[:SIZE, :SIZE]
    seen = np.zeros((SIZE, SIZE), bool)
    for y, x in points:
        y0, x0 = max(int(y) - BUBBLE_RADIUS, 0), max(int(x) - BUBBLE_RADIUS, 0)
        window = np.s_[y0 : y0 + 2 * BUBBLE_RADIUS + 2, x0 : x0 + 2 * BUBBLE_RADIUS + 2]
        inside = (rows[window[0]] - y) ** 2 + (columns[:, window[1]] - x) ** 2 <= BUBBLE_RADIUS**2
        seen[window] |= inside
    return seen.astype(np.float32)


def _to_uint8(maps: np.ndarray) -> np.ndarray:
    return (maps * (255 / max(maps.max(), 1e-9))).round().astype(np.uint8)
