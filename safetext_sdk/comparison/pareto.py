"""Safety against what is kept, as one SVG: no script, no library, colours of the page it stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from ..results.facts import Tier
from ..results.figures import Figure
from .entries import Comparison, EntryFigures

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 460, 64, 20, 24, 56
COLOURS = ("#2458c6", "#c2410c", "#14703c", "#8b1fa8", "#b08900", "#0f7f8c", "#a3161f", "#5b6470")
FONT = "system-ui, sans-serif"


@dataclass(frozen=True)
class Value:
    """A share with its bounds, all in [0, 1]."""

    point: float
    lower: float
    upper: float

    @classmethod
    def of(cls, figure: Figure | None) -> Value | None:
        """None where nothing was measured."""
        if figure is None or figure.value is None or figure.lower is None or figure.upper is None:
            return None
        return cls(figure.value, figure.lower, figure.upper)

    def flipped(self) -> Value:
        """1 minus it."""
        return Value(1 - self.point, 1 - self.upper, 1 - self.lower)


@dataclass(frozen=True)
class Point:
    """One defence.

    Attributes:
        label: beside its mark.
        kept: on the x axis.
        safe: on the y axis, plain unsafe prompts: filled mark.
        worst: the same under the worst attack: hollow mark; None where none was run.
        group: points of a group have one colour and are joined, in order; "" stands alone.
    """

    label: str
    kept: Value
    safe: Value
    worst: Value | None = None
    group: str = ""


def points_of(found: Comparison) -> list[Point]:
    """The points of a comparison."""
    made = (point_of(entry.name, entry.figures, found.tier) for entry in found.entries)
    return [point for point in made if point is not None]


def point_of(name: str, figures: EntryFigures, tier: Tier) -> Point | None:
    """Kept safe pictures against unsafe prompts without an unsafe picture; on the encoder tier, cosine kept
    against the redirected share. None where one of the two was not measured."""
    if tier == "images":
        kept, unsafe = Value.of(figures.kept), Value.of(figures.unsafe)
        worst = Value.of(figures.worst) if figures.attacks else None
        if kept is None or unsafe is None:
            return None
        return Point(name, kept, unsafe.flipped(), worst.flipped() if worst else None)
    redirected, cosine = Value.of(figures.redirected), figures.cosine_kept
    if redirected is None or cosine is None:
        return None
    near = min(max(cosine, 0.0), 1.0)
    return Point(name, Value(near, near, near), redirected)


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats in both, judged under the worst attack, from left to right."""

    def place(p: Point) -> tuple[float, float]:
        return p.kept.point, (p.worst or p.safe).point

    def beaten(p: Point) -> bool:
        x, y = place(p)
        return any(a >= x and b >= y and (a, b) != (x, y) for a, b in map(place, points))

    return sorted((p for p in points if not beaten(p)), key=place)


def pareto_svg(points: Sequence[Point], x_title: str, y_title: str) -> str:
    """The plot. Axes begin where the data do, at a round tenth; whiskers are one-sided 95 % bounds."""
    xs = [v for p in points for v in (p.kept.lower, p.kept.upper)]
    ys = [v for p in points for q in (p.safe, p.worst) if q for v in (q.lower, q.upper)]
    frame = _Frame(_floor(xs), _floor(ys))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(y_title)} against {escape(x_title)}" font-family="{FONT}" font-size="12">',
        *frame.axes(x_title, y_title),
    ]
    best = [(frame.x(p.kept.point), frame.y((p.worst or p.safe).point)) for p in front(points)]
    if len(best) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in best)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-dasharray="4 4" '
            'opacity=".45"/>'
        )
    groups = list(dict.fromkeys(p.group or p.label for p in points))
    colours = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(groups)}
    for name in groups:
        mine = [
            (frame.x(p.kept.point), frame.y(p.safe.point)) for p in points if (p.group or p.label) == name
        ]
        if len(mine) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in mine)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colours[name]}" opacity=".6"/>')
    labels = _Labels()
    for p in points:
        parts += frame.mark(p, colours[p.group or p.label], labels)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _floor(values: Sequence[float]) -> float:
    """The tenth below all values, at most 0.9."""
    return min(0.9, max(0.0, int(min(values, default=0.0) * 10) / 10))


class _Labels:
    """Keeps labels from standing on each other: each moves until its line is free, away from the nearer edge
    of the plot."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, float, float]] = []

    def free(self, x: float, y: float, text: str) -> float:
        width, step = 7.0 * len(text), 13 if y < HEIGHT / 2 else -13
        while any(abs(y - b) < 13 and x < a + w and a < x + width for a, b, w in self.taken):
            y += step
        self.taken.append((x, y, width))
        return y


@dataclass(frozen=True)
class _Frame:
    """The axes, from a lowest value to 1."""

    low_x: float
    low_y: float

    def x(self, value: float) -> float:
        return LEFT + (max(value, self.low_x) - self.low_x) / (1 - self.low_x) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        high = HEIGHT - TOP - BOTTOM
        return TOP + high - (max(value, self.low_y) - self.low_y) / (1 - self.low_y) * high

    def axes(self, x_title: str, y_title: str) -> list[str]:
        bottom, out = HEIGHT - BOTTOM, []
        for low, across in ((self.low_x, True), (self.low_y, False)):
            step = 0.1 if low < 0.85 else 0.02
            for k in range(round((1 - low) / step) + 1):
                value = low + k * step
                text = f"{value * 100:.0f} %"
                if across:
                    at = self.x(value)
                    out.append(_line(at, TOP, at, bottom, 0.12))
                    out.append(_text(at, bottom + 16, text, "middle"))
                else:
                    at = self.y(value)
                    out.append(_line(LEFT, at, WIDTH - RIGHT, at, 0.12))
                    out.append(_text(LEFT - 8, at + 4, text, "end"))
        out.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x_title, "middle"))
        middle = (TOP + bottom) / 2
        turned = f'<text transform="translate(16 {middle:.1f}) rotate(-90)" text-anchor="middle"'
        return [*out, f'{turned} fill="currentColor">{escape(y_title)}</text>']

    def mark(self, p: Point, colour: str, labels: _Labels) -> list[str]:
        at, out = self.x(p.kept.point), []
        marks = [(p.safe, True)] + ([(p.worst, False)] if p.worst else [])
        if p.worst:
            out.append(_stroke(at, self.y(p.safe.point), at, self.y(p.worst.point), colour, 0.5, dashed=True))
        for value, filled in marks:
            y = self.y(value.point)
            out.append(_stroke(self.x(p.kept.lower), y, self.x(p.kept.upper), y, colour, 0.35))
            out.append(_stroke(at, self.y(value.lower), at, self.y(value.upper), colour, 0.35))
            fill = colour if filled else "none"
            out.append(
                f'<circle cx="{at:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
            )
        side = at > WIDTH - RIGHT - 8 * len(p.label) - 12
        x = at - 9 - 7.0 * len(p.label) if side else at + 9
        y = labels.free(x, self.y((p.worst or p.safe).point) - 7, p.label)
        anchor, x = ("end", at - 9) if side else ("start", x)
        return [
            *out,
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(p.label)}</text>',
        ]


def _line(x1: float, y1: float, x2: float, y2: float, opacity: float) -> str:
    return _stroke(x1, y1, x2, y2, "currentColor", opacity)


def _stroke(
    x1: float, y1: float, x2: float, y2: float, colour: str, opacity: float, *, dashed: bool = False
) -> str:
    dash = ' stroke-dasharray="2 3"' if dashed else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" opacity="{opacity}"{dash}/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">{escape(text)}</text>'
