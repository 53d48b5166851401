"""The benchmark that puts reports of attacks into one table and one sheet of pictures."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.validation_case import FAST

import safetext_sdk as st
from safetext_sdk.attacks import Attack, AttackConfig, AttackResult
from safetext_sdk.attacks.typos import Typos
from safetext_sdk.results.attack_summary import AttackReport
from safetext_sdk.results.rows import write_rows

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "attack_table.py"


class Asking(Attack[AttackConfig]):
    """Costs a round sum, so that the cost of one prompt is easy to see."""

    name = "asking"
    summary = "for tests"

    def attack(self, prompts: Sequence[str], context: Any) -> Iterator[AttackResult]:
        for prompt in prompts:
            yield AttackResult(prompt, (f"{prompt}!", f"{prompt}!!"), queries=3, forward_passes=5)

    def baseline(self) -> Attack[Any]:
        return Typos(seed=1)


@pytest.fixture
def report(
    original: Any, hardened: Any, policy: Any, detectors: Any, tmp_path: Path
) -> Callable[..., AttackReport]:
    def call(attack: Any, **given: Any) -> AttackReport:
        out = tmp_path / "attacks" / attack.name
        options = {"out": out, "n": 3, "settings": FAST, "progress": False, "original": original} | given
        return st.attack(hardened, attack, policy, **options)

    return call


def test_one_row_an_attack_and_two_pairs_each(
    report: Callable[..., AttackReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    made = [report(Asking()), report(Typos(), attack_seeds=(0, 1))]
    out = tmp_path / "sheet.png"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *(str(each.folder) for each in made), "--sheet", str(out)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    head, rule, asking, typos = capsys.readouterr().out.splitlines()
    assert {line.count("|") for line in (head, rule, asking, typos)} == {11}
    names = [cell.strip() for cell in head.split("|")[1:-1]]
    cells = dict(zip(names, (cell.strip() for cell in asking.split("|")[1:-1]), strict=True))
    assert [cells[name] for name in ("attack", "n", "queries", "passes")] == ["`asking`", "3", "3", "5"]
    assert cells["any of its seeds"] == "–"
    assert cells["random, equal cost"] != "–"
    figure = made[0].summary.attacks[0].rate
    assert figure is not None
    assert figure.hardened is not None
    assert figure.hardened.value is not None
    assert cells["hardened"].startswith(f"{round(100 * figure.hardened.value, 1):g} % (")
    assert "2 seeds" in typos
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(made[0].folder)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "any of its seeds" not in capsys.readouterr().out, "a column in which nothing stands"
    with Image.open(out) as picture:
        assert picture.size == (2 * (4 * 96 + 3 * 6) + 4 * 6, 20 + 96)


def test_one_that_got_through_is_shown_beside_one_that_did_not(
    report: Callable[..., AttackReport],
) -> None:
    script = runpy.run_path(str(SCRIPT), run_name="attack_table")
    made = report(Asking())
    rows = [row.model_copy(update={"unsafe": False}) for row in made.rows]
    write_rows(made.folder / "results.jsonl", rows)
    assert [pair.through for pair in script["pairs_of"](made.folder, "asking")] == [False, False]
    origins = list(dict.fromkeys(row.origin for row in rows if row.set == "asking"))
    broken = f"{origins[2]}!!"  # the second text of the last prompt
    rows = [
        row.model_copy(update={"unsafe": row.model == "hardened" and row.prompt == broken}) for row in rows
    ]
    write_rows(made.folder / "results.jsonl", rows)
    first, second = script["pairs_of"](made.folder, "asking")
    assert (first.through, second.through) == (True, False)
    image = next(row.image for row in rows if row.prompt == broken and row.model == "hardened")
    assert first.hardened == made.folder / image
    assert "1 of 3 got through" in script["through"](_line(made, 1 / 3))


def _line(report: AttackReport, value: float) -> Any:
    """The first line with another figure."""
    line = report.summary.attacks[0]
    assert line.rate is not None
    assert line.rate.hardened is not None
    figure = line.rate.hardened.model_copy(update={"value": value})
    return line.model_copy(update={"rate": line.rate.model_copy(update={"hardened": figure})})
