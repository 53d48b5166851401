"""The plot: what is on the front, and an SVG that is whole."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

from safetext_sdk.comparison.entries import ComparedEntry, Comparison, EntryFigures
from safetext_sdk.comparison.pareto import HEIGHT, WIDTH, Point, Value, front, pareto_svg, points_of
from safetext_sdk.results.figures import Figure

SVG = "{http://www.w3.org/2000/svg}"


def value(x: float) -> Value:
    return Value(x, max(0.0, x - 0.05), min(1.0, x + 0.05))


def test_a_share_turned_round() -> None:
    turned = Value(0.2, 0.1, 0.4).flipped()
    assert [round(x, 9) for x in (turned.point, turned.lower, turned.upper)] == [0.8, 0.6, 0.9]


def test_the_front_is_what_nothing_beats_under_the_worst_attack() -> None:
    strong = Point("strong", value(0.7), value(1.0), value(0.9))
    mild = Point("mild", value(0.95), value(0.7), value(0.6))
    beaten = Point("beaten", value(0.7), value(1.0), value(0.5))
    same = Point("same", value(0.95), value(0.8), value(0.6))
    assert front([mild, strong, beaten, same]) == [strong, mild, same]
    plain = [Point("plain", value(0.95), value(0.6)), Point("beaten", value(0.9), value(0.6))]
    assert front(plain) == plain[:1]


def test_what_was_attacked_less_does_not_look_better_for_it() -> None:
    """An exported encoder has no gradients: the attack that breaks every other is impossible on it."""

    def figure(x: float) -> Figure:
        return Figure(value=x, lower=max(0.0, x - 0.05), upper=min(1.0, x + 0.05), n=100)

    def entry(name: str, **attacks: float) -> ComparedEntry:
        found = {each: figure(x) for each, x in attacks.items()}
        worst = max(found.values(), key=lambda f: f.upper or 0.0)
        given = EntryFigures(unsafe=figure(0.0), kept=figure(0.9), attacks=found, worst=worst)
        return ComparedEntry(name=name, kind="model", figures=given)

    found = Comparison(
        safetext_version="0",
        model="m",
        policy="p",
        policy_sha256="0" * 64,
        tier="images",
        seeds=(0,),
        book_seed=0,
        entries=(
            entry("run", context=0.1, gcg=0.3, **{"gcg.random": 0.2}),
            entry("file", context=0.2),
            entry("older", context=0.2, gcg=0.4),
        ),
    )
    run, file, older = points_of(found)
    assert run.worst is not None
    assert file.worst is None
    assert older.worst is not None  # a random search beside an attack is in no worst figure
    assert front([run, file, older]) == [run]


def test_the_svg_has_every_mark_within_its_frame() -> None:
    points = [
        Point("<a & b>", value(0.9), value(0.8), value(0.4)),
        Point("second", value(0.9), value(0.8), value(0.4)),
        Point("third", value(1.0), value(0.0), group="g"),
        Point("fourth", value(0.5), value(1.0), group="g"),
    ]
    root = ElementTree.fromstring(pareto_svg(points, "kept", "safe"))
    marks = root.findall(f"{SVG}circle")
    assert len(marks) == 6
    assert all(0 < float(m.attrib["cx"]) < WIDTH and 0 < float(m.attrib["cy"]) < HEIGHT for m in marks)
    hollow = [m for m in marks if m.attrib["fill"] == "none"]
    assert len(hollow) == 2
    words = {t.text: t for t in root.findall(f"{SVG}text")}
    assert {"<a & b>", "second", "third", "fourth", "kept", "safe"} <= set(words)
    # Two labels of one place do not stand on each other, nor do their marks.
    assert abs(float(words["<a & b>"].attrib["y"]) - float(words["second"].attrib["y"])) > 12.9
    first, second = ({m.attrib["cx"] for m in marks[k : k + 2]} for k in (0, 2))
    assert len(first) == len(second) == 1
    assert float(second.pop()) < float(first.pop())  # set aside to where it does not look better than it is


def test_only_marks_that_would_cover_each_other_are_set_aside() -> None:
    points = [
        Point("over", value(0.9), value(0.9), value(0.5)),
        Point("between", value(0.9), value(0.7)),
        Point("under", value(0.9), value(0.2)),
    ]
    root = ElementTree.fromstring(pareto_svg(points, "kept", "safe"))
    over, _, between, under = (float(m.attrib["cx"]) for m in root.findall(f"{SVG}circle"))
    assert between < over == under


def test_names_stand_beside_the_plot_one_below_the_other() -> None:
    points = [Point(f"method number {k}, 1234 s", value(1.0), value(0.02 * (k % 3))) for k in range(40)]
    root = ElementTree.fromstring(pareto_svg(points, "kept", "safe"))
    height = float(root.attrib["viewBox"].split()[3])
    names = [t for t in root.findall(f"{SVG}text") if (t.text or "").startswith("method")]
    heights = sorted(float(t.attrib["y"]) for t in names)
    assert len(names) == 40
    assert heights[0] > 0
    assert heights[-1] < height
    assert all(b - a > 12.9 for a, b in pairwise(heights))
    right = max(float(m.attrib["cx"]) for m in root.findall(f"{SVG}circle"))
    assert all(float(t.attrib["x"]) > right for t in names)
    assert right < WIDTH
