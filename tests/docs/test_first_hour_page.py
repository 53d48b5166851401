"""The tutorial: its commands exist (always), and say what the page says when they are run in their order (on
request: ``-m slow``; minutes of hardening and drawing on a CPU)."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main
from safetext_cli.main import app

from safetext_sdk.errors import EXIT_RUNTIME
from safetext_sdk.verdict.decision import EXIT

PAGE = Path(__file__).parents[2] / "docs" / "first-hour.md"


@dataclass(frozen=True)
class Step:
    """A command of the page, what it says there, and how it exits."""

    words: tuple[str, ...]
    says: tuple[str, ...]
    code: int | None
    """None: it is the verdict's."""


def steps() -> list[Step]:
    """Every ``$ safetext ...`` in the page's console blocks, in order; ``echo $?`` shows an exit code."""
    found: list[Step] = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            command, _, shown = command.partition("; echo ")
            last = lines.pop() if shown else "0"
            code = None if last == "..." else int(last)
            words = shlex.split(command)
            assert words[0] == "safetext"
            found.append(Step(tuple(words[1:]), tuple(lines), code))
    return found


def matches(said: str, expected: tuple[str, ...]) -> bool:
    """Whether the lines stand in what was said, in order and without a gap; ``...`` is any text in a line,
    and as a line any lines; spaces count once."""
    pattern = ""
    for line in expected:
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            words = re.escape(" ".join(line.split())).replace(r"\.\.\.", ".*")
            pattern += f"{words}\n"
    text = "".join(" ".join(line.split()) + "\n" for line in said.splitlines())
    return re.search(f"^{pattern}", text, re.MULTILINE) is not None


def test_lines_are_compared() -> None:
    said = "a  gate\nunsafe 1.5 %\nmore\nend\n"
    assert matches(said, ("a gate", "unsafe ... %", "...", "end"))
    assert not matches(said, ("a gate", "more"))
    assert not matches(said, ("unsafe",))


def test_the_page_walks_the_whole_road() -> None:
    walked = [step.words[0] for step in steps()]
    road = ["policy", "plan", "harden", "validate", "gate", "export", "verify", "generate"]
    assert [name for name in walked if name in road] == walked
    assert list(dict.fromkeys(walked)) == road
    assert all(step.says for step in steps()), "a command whose output the page does not show"


@pytest.mark.parametrize("step", steps(), ids=lambda s: " ".join(s.words[:2]))
def test_its_commands_exist(step: Step) -> None:
    command, rest = typer.main.get_command(app).commands[step.words[0]], step.words[1:]  # type: ignore[attr-defined]
    if hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    assert all(word in known for word in rest if word.startswith("-"))


def quotes(first: str) -> list[str]:
    """Lines that the page quotes between its blocks, by their first word."""
    return re.findall(rf"^    ({first}.*)$", PAGE.read_text("utf-8"), re.MULTILINE)


def test_the_page_quotes_an_undecided_gate_and_a_refusal() -> None:
    assert len(quotes("inconclusive")) == len(quotes("error:")) == 1


def test_an_undecided_gate_says_so_in_the_words_of_the_page() -> None:
    from support.gate_case import passing

    from safetext_sdk.verdict.gate import verdict_of

    assert matches(verdict_of(passing(10)).text(), tuple(quotes("inconclusive")))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_its_commands_say_what_the_page_says(tmp_path: Path) -> None:
    for step in steps():
        done = subprocess.run(
            [sys.executable, "-m", "safetext_cli.main", *step.words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=3000,
        )
        called = " ".join(step.words)
        code = step.code
        if code is None:
            word = re.findall(r"^verdict: (pass|fail|inconclusive)", done.stdout, re.MULTILINE)[-1]
            code = EXIT[word]
        assert done.returncode == code, f"{called}: exit code {done.returncode}\n{done.stderr[-2000:]}"
        assert matches(done.stdout, step.says), f"{called} says:\n{done.stdout}"
        if step.words[0] == "validate":
            assert matches(done.stdout, tuple(quotes("inconclusive")))
        if step.words[0] == "harden":
            again = subprocess.run(done.args, cwd=tmp_path, capture_output=True, text=True, timeout=300)
            assert again.returncode == EXIT_RUNTIME
            assert quotes("error:")[0] in again.stderr
