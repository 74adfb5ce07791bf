"""The drawings of the lessons, computed from their formulas: `python tools/lesson_figures.py` writes modules/*/*.svg.

Each drawing is a function without arguments that returns an SVG. A drawing is a white card, so that it is readable on a
light and on a dark page, and it refers to nothing outside itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

ROOT = Path(__file__).parents[1]
BLUE, ORANGE, GREEN, VIOLET = "#3949ab", "#e65100", "#2e7d32", "#8e24aa"
INK, PALE, GRID = "#263238", "#78909c", "#dfe5e8"

Point = tuple[float, float]


class Card:
    """A white card with shapes on it, in pixels from its upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.parts: list[str] = []

    def line(self, points: Iterable[Point], color: str = INK, width: float = 2, dash: str = "") -> None:
        """Draw a line through the points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"'
            f' stroke-linejoin="round"{dashes}/>'
        )

    def text(self, x: float, y: float, words: str, color: str = INK, anchor: str = "start", size: int = 13) -> None:
        """Write words; `anchor` is start, middle, or end."""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{color}" text-anchor="{anchor}" font-size="{size}">'
            f"{escape(words)}</text>"
        )

    def box(self, x: float, y: float, width: float, height: float, fill: str = "#fff", stroke: str = INK) -> None:
        """Draw a rectangle."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="3" fill="{fill}"'
            f' stroke="{stroke}"/>'
        )

    def dot(self, x: float, y: float, color: str, radius: float = 3) -> None:
        """Draw a filled circle."""
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{color}"/>')

    def arrow(self, start: Point, end: Point, color: str = INK, width: float = 1.8) -> None:
        """Draw an arrow from start to end."""
        angle = math.atan2(end[1] - start[1], end[0] - start[0])
        sides = [(end[0] - 9 * math.cos(angle + a), end[1] - 9 * math.sin(angle + a)) for a in (0.4, -0.4)]
        self.line([start, end], color, width)
        self.line([sides[0], end, sides[1]], color, width)

    def svg(self, title: str) -> str:
        """Return the whole drawing."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}"'
            f' role="img" font-family="system-ui, sans-serif">\n<title>{escape(title)}</title>\n'
            f'<rect width="{self.width}" height="{self.height}" rx="8" fill="#fff" stroke="{GRID}"/>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )


class Plot:
    """A plane with axes on a card: it turns values into places."""

    def __init__(self, card: Card, place: tuple[float, float, float, float], x: Point, y: Point) -> None:
        self.card, self.x, self.y = card, x, y
        self.left, self.top, self.width, self.height = place

    def at(self, x: float, y: float) -> Point:
        """Return the place of a value on the card."""
        return (
            self.left + self.width * (x - self.x[0]) / (self.x[1] - self.x[0]),
            self.top + self.height * (self.y[1] - y) / (self.y[1] - self.y[0]),
        )

    def ticks(self, xs: Sequence[float], ys: Sequence[float], names: Callable[[float], str] = "{:g}".format) -> None:
        """Draw the grid, with the values at its lines."""
        for x in xs:
            self.card.line([self.at(x, self.y[0]), self.at(x, self.y[1])], GRID, 1)
            self.card.text(self.at(x, 0)[0], self.top + self.height + 17, names(x), PALE, "middle", 12)
        for y in ys:
            self.card.line([self.at(self.x[0], y), self.at(self.x[1], y)], GRID, 1)
            self.card.text(self.left - 7, self.at(0, y)[1] + 4, names(y), PALE, "end", 12)

    def curve(self, xs: Iterable[float], ys: Iterable[float], color: str, width: float = 2, dash: str = "") -> None:
        """Draw a curve through values."""
        self.card.line([self.at(x, y) for x, y in zip(xs, ys, strict=True)], color, width, dash)

    def name(self, x: float, y: float, words: str, color: str = INK, anchor: str = "start") -> None:
        """Write words at a value."""
        self.card.text(*self.at(x, y), words, color, anchor)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def activations() -> str:
    """Return module 03's functions and their derivatives."""
    card = Card(720, 300)
    x = np.linspace(-4, 4, 161)
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    s, t, h = sigmoid(x), np.tanh(x), np.tanh(u)
    curves = {
        "ReLU": (BLUE, np.maximum(x, 0), np.where(x > 0, 1.0, 0.0)),
        "sigmoid": (ORANGE, s, s * (1 - s)),
        "tanh": (GREEN, t, 1 - t * t),
        "GELU": (VIOLET, x / 2 * (1 + h), (1 + h) / 2 + x / 2 * (1 - h * h) * slope),
    }
    value = Plot(card, (45, 40, 290, 225), (-4, 4), (-1.25, 2.5))
    value.ticks([-4, -2, 0, 2, 4], [-1, 0, 1, 2])
    derivative = Plot(card, (405, 40, 290, 225), (-4, 4), (-0.25, 1.25))
    derivative.ticks([-4, -2, 0, 2, 4], [0, 0.25, 0.5, 1])
    for color, y, dy in curves.values():
        inside = y <= 2.5
        value.curve(x[inside], y[inside], color)
        derivative.curve(x, dy, color)
    card.text(45, 25, "value")
    card.text(405, 25, "derivative")
    places = {
        "ReLU": ((0.75, 2.1), (2.6, 0.9)),
        "sigmoid": ((-3.6, 0.22), (-3.6, 0.16)),
        "tanh": ((2.9, 0.6), (-1.65, 0.62)),
        "GELU": ((2.45, 1.9), (1.95, 1.16)),
    }
    for words, (left, right) in places.items():
        value.name(*left, words, curves[words][0])
        derivative.name(*right, words, curves[words][0])
    return card.svg("Four activation functions and their derivatives")


def slopes() -> str:
    """Return module 05's slopes of two losses at a target of 1."""
    card = Card(720, 290)
    plot = Plot(card, (60, 40, 630, 205), (-8, 8), (-1.1, 0.1))
    plot.ticks([-8, -4, 0, 4, 8], [-1, -0.5, 0])
    x = np.linspace(-8, 8, 161)
    s = sigmoid(x)
    plot.curve(x, s - 1, BLUE, 2.5)
    plot.curve(x, 2 * (s - 1) * s * (1 - s), ORANGE, 2.5)
    card.text(60, 25, "slope of the loss, target 1")
    plot.name(-7.8, -0.9, "cross-entropy: s - 1", BLUE)
    plot.name(-7.8, 0.03, "squared error on a sigmoid: 2 (s - 1) s (1 - s)", ORANGE)
    card.text(375, 280, "logit", PALE, "middle", 12)
    card.text(90, 280, "confident and wrong", PALE, "start", 12)
    card.text(690, 280, "confident and correct", PALE, "end", 12)
    return card.svg("Slope of cross-entropy and of the squared error on a sigmoid")


def graph() -> str:
    """Return module 06's graph of L = (a b + a)^2 with values and gradients."""
    card = Card(720, 250)
    nodes = {"a": (90, 75, "a = 2"), "b": (90, 180, "b = 3"), "c": (275, 130, "a b = 6"),
             "d": (455, 90, "d = a b + a = 8"), "L": (640, 90, "L = d² = 64")}  # fmt: skip
    gradients = {"a": "48 + 16 = 64", "b": "32", "c": "16", "d": "16", "L": "1"}
    edges = [("a", "c", "· b: 48", (212, 100)), ("b", "c", "· a: 32", (212, 174)), ("c", "d", "16", (372, 128)),
             ("a", "d", "16", (262, 72)), ("d", "L", "2 d: 16", (556, 82))]  # fmt: skip
    half = {name: max(42, 4.4 * len(words)) for name, (_, _, words) in nodes.items()}
    for start, end, words, place in edges:
        x0, y0, _ = nodes[start]
        x1, y1, _ = nodes[end]
        card.arrow((x0 + half[start], y0), (x1 - half[end], y1), PALE)
        card.text(*place, words, ORANGE, "middle")
    for name, (x, y, words) in nodes.items():
        card.box(x - half[name], y - 17, 2 * half[name], 34, "#eef1fb", BLUE)
        card.text(x, y + 5, words, INK, "middle")
        card.text(x, y - 25 if name == "a" else y + 36, f"gradient {gradients[name]}", ORANGE, "middle", 12)
    card.text(24, 20, "values: left to right", BLUE)
    card.text(696, 20, "gradients: right to left", ORANGE, "end")
    return card.svg("The graph of L = (a b + a)^2")


def steps(update: Callable[[np.ndarray, int], np.ndarray], count: int) -> np.ndarray:
    """Return the places of an optimizer in module 07's valley, from (-4, 1) on."""
    p, places = np.array([-4.0, 1.0]), [np.array([-4.0, 1.0])]
    for t in range(1, count + 1):
        p = p - update(p * np.array([1.0, 25.0]), t)
        places.append(p)
    return np.array(places)


def valley() -> str:
    """Return module 07's three optimizers in a valley of curvature 1 and 25."""
    card = Card(720, 290)
    plot = Plot(card, (40, 20, 650, 215), (-4.5, 2), (-1.2, 1.2))
    angle = np.linspace(0, 2 * math.pi, 121)
    for level in (0.3, 1, 2, 4, 8, 12.5):
        x, y = math.sqrt(2 * level) * np.cos(angle), math.sqrt(2 * level / 25) * np.sin(angle)
        inside = (x > -4.5) & (x < 2)
        for part in np.split(np.arange(len(angle)), np.flatnonzero(np.diff(inside.astype(int))) + 1):
            if inside[part[0]] and len(part) > 1:
                plot.curve(x[part], y[part], GRID, 1.2)
    velocity, mean, square = np.zeros(2), np.zeros(2), np.zeros(2)

    def momentum(g: np.ndarray, t: int) -> np.ndarray:
        nonlocal velocity
        velocity = 0.7 * velocity + g
        return 0.07 * velocity

    def adam(g: np.ndarray, t: int) -> np.ndarray:
        nonlocal mean, square
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        return 0.3 * (mean / (1 - 0.9**t)) / np.sqrt(square / (1 - 0.999**t))

    for color, update in ((ORANGE, lambda g, t: 0.07 * g), (BLUE, momentum), (GREEN, adam)):
        places = steps(update, 25)
        plot.curve(places[:, 0], places[:, 1], color, 1.6)
        for place in places:
            card.dot(*plot.at(*place), color, 2.6)
    card.dot(*plot.at(0, 0), INK, 4)
    card.text(*plot.at(0.1, -0.16), "minimum")
    card.text(*plot.at(-4.4, 1.08), "start")
    for i, (words, color) in enumerate((("SGD 0.07", ORANGE), ("momentum 0.7, rate 0.07", BLUE), ("Adam 0.3", GREEN))):
        card.text(40 + 220 * i, 270, words, color)
    return card.svg("25 steps of SGD, momentum, and Adam in a valley")


def positions() -> str:
    """Return module 12's sinusoids: four of the 16 frequencies of a vector of width 32."""
    card = Card(720, 290)
    t = np.linspace(0, 63, 505)
    for row, (pair, color) in enumerate(((0, BLUE), (3, ORANGE), (6, GREEN), (9, VIOLET))):
        plot = Plot(card, (110, 20 + 60 * row, 585, 48), (0, 63), (-1.1, 1.1))
        plot.ticks([0, 16, 32, 48, 63] if row == 3 else [], [0], lambda value: "" if value == 0 else f"{value:g}")
        rate = 10000 ** (-2 * pair / 32)
        plot.curve(t, np.sin(t * rate), color, 1.8)
        plot.curve(t, np.cos(t * rate), color, 1.2, "4 3")
        card.text(12, 48 + 60 * row, f"pair {pair}", color)
    card.text(12, 276, "position", PALE, "start", 12)
    card.text(695, 286, "sin: full line, cos: dashed", PALE, "end", 12)
    return card.svg("Four pairs of sinusoidal positions, from fast to slow")


def roofline() -> str:
    """Return module 16's roofline: 192 GFLOP/s and 20 GB/s, so the ridge is at 9.6 FLOPs per byte."""
    card = Card(720, 300)
    ridge = math.log10(9.6)
    plot = Plot(card, (80, 25, 610, 220), (-1.3, 2.6), (0, 2.6))
    plot.ticks([-1, 0, 1, 2], [0, 1, 2], lambda value: f"{10.0**value:g}")
    plot.curve([-1.3, ridge, 2.6], [math.log10(20) - 1.3, math.log10(192), math.log10(192)], BLUE, 3)
    plot.name(-0.15, 1.5, "limited by memory", BLUE, "end")
    plot.name(1.8, 2.37, "limited by arithmetic", BLUE, "middle")
    work = ((1 / 12, "x * w", 1), (0.5, "one row times a matrix", 1), (171, "1024 x 1024 matrices", 0))
    for intensity, words, side in work:
        x = math.log10(intensity)
        y = math.log10(min(192, 20 * intensity))
        card.dot(*plot.at(x, y), ORANGE, 5)
        plot.name(x + 0.07 * side, y - 0.18, words, ORANGE, "start" if side else "middle")
    card.text(385, 286, "FLOPs per byte", PALE, "middle", 12)
    card.text(12, 18, "GFLOP/s that can be reached", PALE, "start", 12)
    return card.svg("Roofline: attainable GFLOP/s against FLOPs per byte")


def rounding() -> str:
    """Return module 17's rounding to 3 bits: a staircase of 7 steps, which saturates."""
    card = Card(720, 300)
    plot = Plot(card, (60, 25, 420, 230), (-1.4, 1.4), (-1.4, 1.4))
    plot.ticks([-1, 0, 1], [-1, 0, 1])
    scale = 1 / 3
    plot.curve([-1.4, 1.4], [-1.4, 1.4], PALE, 1.2, "4 3")
    edges = [-1.4, *(scale * (k - 0.5) for k in range(-2, 4)), 1.4]
    xs, ys = [], []
    for k, (begin, end) in zip(range(-3, 4), pairwise(edges), strict=True):
        xs += [begin, end]
        ys += [k * scale, k * scale]
    plot.curve(xs, ys, BLUE, 2.5)
    for k in range(-3, 4):
        card.text(492, plot.at(0, k * scale)[1] + 4, f"q = {k:2}".replace("-", "−"), BLUE)
    card.text(560, 60, "saturates: slope 0", ORANGE)
    for line, words in enumerate(("elsewhere, the", "estimator uses the", "dashed slope, 1")):
        card.text(560, 140 + 18 * line, words, ORANGE)
    card.text(270, 290, "x / max |x|", PALE, "middle", 12)
    return card.svg("Rounding to 3 bits")


def schedule() -> str:
    """Return module 18's schedule of sparsity."""
    card = Card(720, 280)
    plot = Plot(card, (60, 25, 630, 205), (0, 1), (0, 1))
    plot.ticks([0, 0.25, 0.5, 0.75, 1], [0, 0.5, 0.9], lambda value: f"{value:.0%}")
    t = np.linspace(0, 1, 101)
    plot.curve(t, 0.9 * (1 - (1 - t) ** 3), BLUE, 2.5)
    plot.curve(t, 0.9 * t, PALE, 1.2, "4 3")
    plot.name(0.35, 0.57, "cubic: 52% is pruned", BLUE)
    plot.name(0.35, 0.5, "after a quarter of T", BLUE)
    plot.name(0.62, 0.46, "linear, for comparison", PALE)
    card.text(375, 270, "t / T", PALE, "middle", 12)
    card.text(12, 18, "sparsity", PALE, "start", 12)
    return card.svg("The cubic schedule of gradual pruning")


def drift() -> str:
    """Return module 20's two orders of measuring on a machine that slows down."""
    card = Card(720, 300)
    for row, (words, names) in enumerate((("one after the other", "A" * 8 + "B" * 8), ("alternating", "ABBA" * 4))):
        plot = Plot(card, (60, 35 + 135 * row, 480, 95), (0.5, 16.5), (0.95, 1.35))
        plot.ticks([], [1, 1.3], "{:.1f} s".format)
        seconds = 1 + 0.3 * np.arange(16) / 15
        for i, (name, second) in enumerate(zip(names, seconds, strict=True), 1):
            x, y = plot.at(i, second)
            card.dot(x, y, BLUE if name == "A" else ORANGE, 4)
            card.text(x, y - 9, name, BLUE if name == "A" else ORANGE, "middle", 11)
        card.text(60, 20 + 135 * row, words)
        for line, (name, color) in enumerate((("A", BLUE), ("B", ORANGE))):
            median = np.median([s for n, s in zip(names, seconds, strict=True) if n == name])
            card.text(560, 75 + 135 * row + 20 * line, f"median of {name}: {median:.2f} s", color)
    return card.svg("The same program measured twice as A and B while the machine slows down")


FIGURES = {
    "03_activations/activations.svg": activations,
    "05_losses/slopes.svg": slopes,
    "06_autograd/graph.svg": graph,
    "07_optimizers/valley.svg": valley,
    "12_embeddings/positions.svg": positions,
    "16_acceleration/roofline.svg": roofline,
    "17_quantization/rounding.svg": rounding,
    "18_compression/schedule.svg": schedule,
    "20_benchmarking/drift.svg": drift,
}


if __name__ == "__main__":
    for name, draw in FIGURES.items():
        (ROOT / "modules" / name).write_text(draw(), "utf-8")
