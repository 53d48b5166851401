"""The README: its commands and links exist (always), and do what it says when they are run in their order, in
a fresh clone with an environment of its own (on request: ``-m slow``).

The whole of it takes an hour and more on a CPU: the demo draws some 4,000 pictures, and so do ``validate``
and the example in Python. ``SAFETEXT_README=cut`` runs the tests with ``cut`` in their names instead: the
same commands with few prompts and no attacks, and ``--recipe fast`` where that can be said.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main
from safetext_cli.main import app

from safetext_sdk.verdict.decision import EXIT

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CUT = os.environ.get("SAFETEXT_README") == "cut"
FEW = "--n 4 --attacks none"
NOT_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "SAFETEXT_CACHE", "COVERAGE_PROCESS_START")
WORD = re.compile(r"^verdict: (pass|fail|inconclusive)", re.MULTILINE)
SHORT_WORD = re.compile(r"verdict: (pass|fail|inconclusive), exit code (\d)")


def blocks() -> list[str]:
    """Indented blocks, one command each."""
    return [" ".join(found.split()) for found in re.findall(r"(?:^    \S.*\n)+", README, re.MULTILINE)]


def install_and_demo() -> tuple[str, str]:
    """The first block, cut before its last command."""
    install, _, demo = next(b for b in blocks() if b.startswith("python3 -m venv")).rpartition(" && ")
    return install, demo


def road() -> list[str]:
    """The commands of the table, in order; a first cell may have several, the first word said once."""
    found = []
    for cell in re.findall(r"^\| (`.*?`) \|", README, re.MULTILINE):
        for command in re.findall(r"`(.*?)`", cell):
            found.append(command if command.startswith("safetext ") else f"safetext {command}")
    return found


def python_block() -> str:
    """The example in Python."""
    found = re.search(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_commands_are_those_of_the_road() -> None:
    assert [c.split()[1] for c in road()] == [
        "policy", "plan", "harden", "validate", "gate", "export", "verify",
    ]  # fmt: skip
    install, demo = install_and_demo()
    assert demo == ".venv/bin/safetext demo"
    assert install.count("pip install") == 2
    assert "bash tests/run" in blocks()


@pytest.mark.parametrize("command", [*road(), install_and_demo()[1].removeprefix(".venv/bin/")])
def test_its_commands_exist(command: str) -> None:
    found, rest = typer.main.get_command(app), shlex.split(command)[1:]
    while hasattr(found, "commands"):
        found, rest = found.commands[rest[0]], rest[1:]
    known = {name for p in found.params for name in (*p.opts, *p.secondary_opts)}
    assert all(word in known for word in rest if word.startswith("-"))


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        name, _, anchor = target.partition("#")
        file = ROOT / name
        assert file.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]
            assert anchor in slugs, target


def test_exit_codes_are_those_of_the_verdicts() -> None:
    (said,) = re.findall(r"exit 0 pass, 1 fail, 4 inconclusive", README)
    assert {word: int(code) for code, word in re.findall(r"(\d) (\w+)", said)} == EXIT


@dataclass(frozen=True)
class Fresh:
    """A fresh clone, the package installed as the README says."""

    folder: Path

    def run(self, command: str, *, codes: tuple[int, ...] = (0,), timeout: int = 7200) -> str:
        """What a command says; its exit code must be one of ``codes``."""
        kept = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        path = f"{self.folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={**kept, "PATH": path, "XDG_CACHE_HOME": str(self.folder / "cache")},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode in codes, f"{command}: exit code {done.returncode}\n{done.stderr[-3000:]}"
        return done.stdout

    def has(self, *names: str) -> bool:
        """Whether all these files are there."""
        return all((self.folder / name).exists() for name in names)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """HEAD, cloned, and the README's own installation commands, word for word."""
    folder = tmp_path_factory.mktemp("readme") / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True, timeout=300)
    made = Fresh(folder)
    install, _ = install_and_demo()
    # ``python3`` is the interpreter that runs this test, whatever the system's is.
    made.run(install.replace("python3 -m venv", f"{shlex.quote(sys.executable)} -m venv", 1), timeout=3000)
    assert made.run("safetext --version").startswith("safetext ")
    return made


def check_demo(fresh: Fresh, command: str) -> None:
    """Hardens, validates, gates, exports, and prints where the report is."""
    said = fresh.run(command, codes=tuple(EXIT.values()))
    (verdict,) = SHORT_WORD.findall(said)
    assert EXIT[verdict[0]] == int(verdict[1])
    assert "report: safetext-demo/report/index.html" in said
    assert fresh.has(
        "safetext-demo/manifest.json",
        "safetext-demo/report/index.html",
        "safetext-demo/report/summary.json",
        "safetext-demo/exports/diffusers",
        "safetext-demo/exports/onnx",
    )


def check_road(fresh: Fresh, *, cut: bool) -> None:
    """Every command of the table, in order, and what the table says of it."""
    show, plan, harden, validate, gate, export, verify = road()
    assert len(re.findall(r"^\s+-> ", fresh.run(show), re.MULTILINE)) >= 20, "--sample 20"
    assert re.search(r"^unsafe_rate +at most", fresh.run(plan), re.MULTILINE)
    said = fresh.run(f"{harden} --recipe fast" if cut else harden)
    assert f"next: {validate}" in said
    said = fresh.run(f"{validate} {FEW}" if cut else validate)
    assert "report: runs/w/report" in said
    assert re.search(r"^next: ", said, re.MULTILINE), "verdict, next step"
    word = WORD.findall(said)[-1]
    assert fresh.has("runs/w/report/index.html")
    assert WORD.findall(fresh.run(gate, codes=(EXIT[word],)))[-1] == word
    assert fresh.has("runs/w/report/junit.xml", "runs/w/report/summary.md")
    assert "onnx: runs/w/exports/onnx" in fresh.run(export)
    for target in ("diffusers", "onnx"):
        assert fresh.has(f"runs/w/exports/{target}/export.json"), "a parity record"
        place = f"runs/w/exports/{target}"
        assert fresh.run(verify.replace("TARGET", place))
    other = "safetext-demo/exports/diffusers"
    if cut and fresh.has(other):  # of the demo's recipe and seed, and so its encoder to the last bit
        fresh.run(verify.replace("TARGET", other))


def check_python(fresh: Fresh, text: str) -> None:
    """The example prints the verdict's text."""
    (fresh.folder / "example.py").write_text(text, encoding="utf-8")
    assert WORD.search(fresh.run("python example.py"))
    assert fresh.has("runs/weapons/manifest.json", "runs/weapons/report/index.html")


whole = pytest.mark.skipif(CUT, reason="SAFETEXT_README=cut: the tests named so are run instead")
cut = pytest.mark.skipif(not CUT, reason="the whole is run; SAFETEXT_README=cut runs this instead")


@whole
@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_the_demo(fresh: Fresh) -> None:
    check_demo(fresh, install_and_demo()[1])


@cut
@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_the_demo_cut_to_few_prompts_and_no_attacks(fresh: Fresh) -> None:
    check_demo(fresh, f"{install_and_demo()[1]} {FEW}")


@whole
@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_the_road(fresh: Fresh) -> None:
    check_road(fresh, cut=False)


@cut
@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_the_road_cut_to_a_fast_recipe_few_prompts_and_no_attacks(fresh: Fresh) -> None:
    check_road(fresh, cut=True)


@whole
@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_the_example_in_python(fresh: Fresh) -> None:
    check_python(fresh, python_block())


@cut
@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_the_example_in_python_cut_likewise(fresh: Fresh) -> None:
    text = python_block().replace('out="runs/weapons")', 'out="runs/weapons", recipe="fast")')
    shorter = text.replace("hardened, policy)\n", 'hardened, policy, n=4, attacks="none")\n')
    assert shorter.count("fast") == shorter.count("n=4") == 1
    check_python(fresh, shorter)


@whole
@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_the_test_command(fresh: Fresh) -> None:
    assert " passed" in fresh.run("bash tests/run")
