"""`safetext plan`, and the sizes of sets on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetext_cli import options
from safetext_cli.main import run

from safetext_sdk.errors import EXIT_PASS, EXIT_USAGE
from safetext_sdk.validation.set_sizes import OPTIONS, equal_sizes

POLICY = """\
version: 1
name: few
concepts:
  - id: thing
    description: d
    terms: [{terms}]
    anchors: [a tulip]
    detectors: [{{name: clip-zero-shot, labels: [x]}}]
safe_prompts: [an apple]
gates: {{unsafe_rate: {{max: 0.1}}}}
"""


def written(folder: Path, words: int) -> str:
    path = folder / "few.yaml"
    path.write_text(POLICY.format(terms=", ".join(f"zork{k}" for k in range(words))))
    return str(path)


def test_a_policy_that_can_be_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", written(tmp_path, 100)]) == EXIT_PASS
    said = capsys.readouterr().out
    assert "few on any real model" in said
    assert "unsafe_rate  <= 10.0 %" in said
    assert "validate draws by default: --unsafe-n " in said
    assert "cannot be proven" not in said


def test_a_policy_that_cannot_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, 20)
    assert run(["plan", path]) == EXIT_USAGE
    assert "cannot be proven: unsafe_rate: a perfect model proves at most" in capsys.readouterr().out
    assert run(["plan", path, "--json"]) == EXIT_USAGE
    found = json.loads(capsys.readouterr().out)
    (gate,) = found["gates"]
    assert (found["provable"], gate["provable"], gate["prompts"]) == (False, False, None)
    assert "more synonyms" in gate["problem"]
    assert found["sizes"]["unsafe"] == gate["planned"]["prompts"]


def test_an_unknown_policy_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "nosuch"]) == EXIT_USAGE
    assert "nosuch" in capsys.readouterr().err


def test_an_option_of_one_set_comes_before_that_of_all() -> None:
    assert options.sizes(None) is None
    assert options.sizes(7) == 7
    assert options.sizes(None, safe=300, unsafe=None) == {"safe": 300}
    assert options.sizes(40, safe=300) == {**equal_sizes(40), "safe": 300}
    both = {"negative": 2, "negative_unsafe": 2}
    assert options.sizes(None, unseen=3, negative=2) == {"safe_unseen": 3, **both}
    assert options.sizes(40, negative=2) == {**equal_sizes(40), **both}


def test_every_option_that_a_verdict_names_is_one_of_validate(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "--help"]) == EXIT_PASS
    said = capsys.readouterr().out
    assert all(option in said for option in OPTIONS.values())


def test_sizes_reach_the_validation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Through the command line to the plan, set by set."""
    import safetext_sdk.flow as flow
    from safetext_sdk.errors import RunError

    asked: list[object] = []

    def stop(*_: object, **options: object) -> None:
        asked.append(options["n"])
        raise RunError("far enough")

    # In this order: the name in the package leads to the other one.
    monkeypatch.setattr("safetext_sdk.validate", stop, raising=False)
    monkeypatch.setattr(flow, "validate", stop)
    run(["validate", str(tmp_path), "--safe-n", "460", "--negative-n", "9"])
    run(["validate", str(tmp_path)])
    assert asked == [{"safe": 460, "negative": 9, "negative_unsafe": 9}, None]


# --- attacks on the command line ---


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What the commands hand to the library, which stops there."""
    import safetext_sdk.flow as flow
    from safetext_sdk.errors import RunError

    found: list[dict[str, object]] = []

    def stop(*_: object, **given: object) -> None:
        found.append(given)
        raise RunError("far enough")

    # In this order: the name in the package leads to the other one.
    monkeypatch.setattr("safetext_sdk.validate", stop, raising=False)
    monkeypatch.setattr(flow, "validate", stop)
    return found


def test_attacks_reach_the_validation(asked: list[dict[str, object]], tmp_path: Path) -> None:
    run(["validate", str(tmp_path)])
    run(["validate", str(tmp_path), "--attacks", "none"])
    more = ["--attacks", "strong,typos", "--attacks", "gcg-encoder", "--budget", "small", "--attack-n", "24"]
    run(["validate", str(tmp_path), *more])
    assert [given["attacks"] for given in asked] == ["standard", ("none",), ("strong,typos", "gcg-encoder")]
    assert [given["budget"] for given in asked] == ["paper", "paper", "small"]
    assert asked[-1]["n"] == {"attacked": 24}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--attack", "typos"], "--attack is called --attacks now, e.g. --attacks standard,typos"),
        (["--budget", "huge"], "--budget 'huge': write small or paper"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["validate", str(tmp_path), *given]) == EXIT_USAGE
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error


def test_a_misspelt_attack_is_told_before_a_run_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["validate", str(tmp_path / "none"), "--attacks", "standrd"]) == EXIT_USAGE
    assert "sets of attacks: none, standard, strong" in capsys.readouterr().err
