"""Safety against what is kept, as one SVG: no script, no library, colours of the page it stands in.

Many defences keep nearly everything, so their marks share a column and often a place. Marks of one share that
would cover each other are therefore set side by side, the first at its place and the others to its left,
where none looks better than it is; names stand in a column of their own beside the plot, each joined to its
mark.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from xml.sax.saxutils import escape

from ..results.attack_entry import RANDOM_SEARCH
from ..results.facts import Tier
from ..results.figures import Figure
from .entries import Comparison, EntryFigures

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 900, 460, 64, 20, 56
LETTER, LINE, GAP, BESIDE, CLEAR = 6.8, 14.0, 26.0, 9.0, 12.0
"""Width of a letter and height of a line of the names; room between the plot and them, between columns of
marks that keep the same share, and between marks in one column."""
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
    """The points of a comparison. An entry that some attack could not be run on has no worst figure: that of
    fewer attacks would stand beside those of all. Random searches beside an attack count in no worst figure,
    and an entry may lack them."""
    named = {name for entry in found.entries for name in entry.figures.attacks}
    every = {name for name in named if not name.endswith(RANDOM_SEARCH)}
    made = []
    for entry in found.entries:
        whole = every <= entry.figures.attacks.keys()
        figures = entry.figures if whole else entry.figures.model_copy(update={"worst": None})
        made.append(point_of(entry.name, figures, found.tier))
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
    """Those that no other beats in both, judged under the worst attack, from left to right. Where some were
    judged so, one that was not is none of them: plain prompts are another question."""
    points = [p for p in points if p.worst] or points

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
    height = max(HEIGHT, TOP + BOTTOM + LINE * len(points))
    frame = _Frame(_floor(xs), _floor(ys), _right(points), 0.0, height)
    beside = _beside(points, frame)
    frame = replace(frame, room=BESIDE * max(beside, default=0))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(y_title)} against {escape(x_title)}" font-family="{FONT}" font-size="12">',
        *frame.axes(x_title, y_title),
    ]
    places = [frame.x(p.kept.point) - BESIDE * k for p, k in zip(points, beside, strict=True)]
    placed, ahead = list(zip(points, places, strict=True)), front(points)
    best = sorted((x, frame.y((p.worst or p.safe).point)) for p, x in placed if p in ahead)
    if len(best) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in best)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-dasharray="4 4" '
            'opacity=".45"/>'
        )
    groups = list(dict.fromkeys(p.group or p.label for p in points))
    colours = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(groups)}
    for name in groups:
        mine = [(x, frame.y(p.safe.point)) for p, x in placed if (p.group or p.label) == name]
        if len(mine) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in mine)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colours[name]}" opacity=".6"/>')
    for p, x in placed:
        parts += frame.mark(p, x, colours[p.group or p.label])
    wanted = [frame.y((p.worst or p.safe).point) for p in points]
    lines = _lines(wanted, TOP, height - BOTTOM)
    for (p, x), y, line in zip(placed, wanted, lines, strict=True):
        parts += frame.name(p.label, (x, y), line, colours[p.group or p.label])
    return "\n".join([*parts, "</svg>"]) + "\n"


def _beside(points: Sequence[Point], frame: _Frame) -> list[int]:
    """How many columns to the left each stands of what it keeps, to a thousandth: in the first one where its
    marks and what joins them are clear of those of earlier points."""
    taken: defaultdict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    out = []
    for p in points:
        heights = [frame.y(q.point) for q in (p.safe, p.worst) if q]
        top, bottom, place = min(heights), max(heights), round(p.kept.point * 1000)
        free = (
            k for k in count() if all(top - b >= CLEAR or a - bottom >= CLEAR for a, b in taken[place, k])
        )
        out.append(k := next(free))
        taken[place, k].append((top, bottom))
    return out


def _right(points: Sequence[Point]) -> float:
    """The right edge of the plot: what the longest name leaves."""
    longest = max((len(p.label) for p in points), default=0)
    return WIDTH - min(LETTER * longest + GAP + 8, WIDTH / 2)


def _lines(wanted: Sequence[float], top: float, bottom: float) -> list[float]:
    """Heights of names, in the order of ``wanted`` and as near to it as they can be a line apart."""
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    out, least = [0.0] * len(wanted), top
    for k in order:
        out[k] = least = max(wanted[k], least)
        least += LINE
    most = bottom
    for k in reversed(order):
        out[k] = most = min(out[k], most)
        most -= LINE
    return out


def _floor(values: Sequence[float]) -> float:
    """The tenth below all values, at most 0.9."""
    return min(0.9, max(0.0, int(min(values, default=0.0) * 10) / 10))


@dataclass(frozen=True)
class _Frame:
    """The axes, from a lowest value to 1; ``room`` before the lowest is for marks that are set aside."""

    low_x: float
    low_y: float
    right: float
    room: float
    height: float

    def x(self, value: float) -> float:
        wide = self.right - self.room - LEFT
        return LEFT + self.room + (max(value, self.low_x) - self.low_x) / (1 - self.low_x) * wide

    def y(self, value: float) -> float:
        high = self.height - TOP - BOTTOM
        return TOP + high - (max(value, self.low_y) - self.low_y) / (1 - self.low_y) * high

    def axes(self, x_title: str, y_title: str) -> list[str]:
        bottom, out = self.height - BOTTOM, []
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
                    out.append(_line(LEFT, at, self.right, at, 0.12))
                    out.append(_text(LEFT - 8, at + 4, text, "end"))
        out.append(_text((LEFT + self.right) / 2, self.height - 14, x_title, "middle"))
        middle = (TOP + bottom) / 2
        turned = f'<text transform="translate(16 {middle:.1f}) rotate(-90)" text-anchor="middle"'
        return [*out, f'{turned} fill="currentColor">{escape(y_title)}</text>']

    def mark(self, p: Point, at: float, colour: str) -> list[str]:
        """Its marks and whiskers, at ``at`` across; what it keeps is one whisker, at the filled mark."""
        out, aside = [], at - self.x(p.kept.point)
        marks = [(p.safe, True)] + ([(p.worst, False)] if p.worst else [])
        if p.worst:
            out.append(_stroke(at, self.y(p.safe.point), at, self.y(p.worst.point), colour, 0.5, dashed=True))
        y = self.y(p.safe.point)
        out.append(_stroke(self.x(p.kept.lower) + aside, y, self.x(p.kept.upper), y, colour, 0.25))
        for value, filled in marks:
            y = self.y(value.point)
            out.append(_stroke(at, self.y(value.lower), at, self.y(value.upper), colour, 0.35))
            fill = colour if filled else "none"
            out.append(
                f'<circle cx="{at:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
            )
        return out

    def name(self, label: str, mark: tuple[float, float], line: float, colour: str) -> list[str]:
        """The name in its column, and what joins it to its mark."""
        x, y = mark
        return [
            _stroke(x + 6, y, self.right + GAP - 4, line, colour, 0.35),
            f'<text x="{self.right + GAP:.1f}" y="{line + 4:.1f}" fill="{colour}">{escape(label)}</text>',
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
