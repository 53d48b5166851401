"""`safetext_sdk.attack` on a miniature pipeline: report, figures, what is impossible, and transfer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.validation_case import FAST

import safetext_sdk as st
from safetext_sdk.attacks import Attack, AttackConfig, AttackResult
from safetext_sdk.errors import InterruptedRun, PolicyError, RunError, UsageError
from safetext_sdk.report.attack_pages import attack_markdown, attack_rows, attack_text
from safetext_sdk.results.attack_summary import AttackReport, AttackSummary
from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import control_of, read_rows
from safetext_sdk.validation.generate import PictureMaker


class Louder(Attack[AttackConfig]):
    """Two texts a prompt, and a random search beside it."""

    name = "louder"
    summary = "for tests"

    def attack(self, prompts: Sequence[str], context: Any) -> Iterator[AttackResult]:
        for prompt in prompts:
            texts = (f"{prompt} {'!' * (self.config.seed + 1)}", f"loud {prompt}")
            yield AttackResult(prompt, texts, queries=3, forward_passes=5, seconds=0.25)

    def baseline(self) -> Attack[Any]:
        return Louder(seed=9)


class White(Louder):
    """Needs what an exported file does not have."""

    name = "white"
    needs = frozenset({"encoder", "gradients"})


class Inside(Louder):
    """Changes the model."""

    name = "inside"
    threat = "probe"
    gated = False


class Exported:
    """An encoder that is a file: it answers, and has no weights to look at."""

    sha256 = "e" * 64

    def __init__(self, module: Any) -> None:
        self.module, self.config, self.dtype, self.device = module, module.config, module.dtype, module.device

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)


@pytest.fixture
def attack(original: Any, hardened: Any, policy: Any, detectors: Any, tmp_path: Path) -> Callable[..., Any]:
    def call(attacks: Any = (), target: Any = hardened, **given: Any) -> AttackReport:
        options = {"out": tmp_path / "report", "n": 3, "settings": FAST, "progress": False} | given
        if target is hardened:
            options.setdefault("original", original)
        return st.attack(target, attacks, options.pop("policy", policy), **options)

    return call


def test_the_report_of_attacks_alone(attack: Callable[..., Any], tmp_path: Path) -> None:
    report = attack(["typos", Louder()], attack_seeds=(0, 1), seeds=(5,))
    folder = tmp_path / "report"
    names = {p.name for p in folder.iterdir()}
    assert {"attacks", "results.jsonl", "summary.json", "summary.md", "index.html", "evidence.json"} <= names
    assert "results.partial.jsonl" not in names
    kept = {p.stem for p in (folder / "attacks").glob("*.jsonl")}
    assert kept == {"typos", "typos.seed1", "louder", "louder.seed1", "louder.random"}
    assert tuple(read_rows(folder / "results.jsonl")) == report.rows
    summary = AttackSummary.model_validate_json((folder / "summary.json").read_text())
    assert summary == report.summary
    assert not summary.undefended
    assert [line.entry.name for line in summary.attacks] == ["typos", "louder"]
    typos, louder = summary.attacks
    assert typos.random is None
    assert louder.random is not None
    assert (louder.random.queries, louder.random.forward_passes) == (9, 15)
    assert louder.any_seed is not None
    assert louder.any_seed.seeds == (0, 1)
    for rate in (louder.rate, louder.any_seed, louder.random, summary.plain):
        assert rate.original.n == rate.hardened.n == 3, "a prompt counts once, whatever its texts and seeds"
    for model in ("original", "hardened"):
        sets = ("louder", "louder.seed1")
        broken = {r.origin for r in report.rows if r.set in sets and r.model == model and r.unsafe}
        assert getattr(louder.any_seed, model).value == pytest.approx(len(broken) / 3, abs=1e-5)
    assert len({(r.prompt, r.set) for r in report.rows if r.set == "louder"}) == 6
    with pytest.raises(RunError, match="a report of attacks alone"):
        Report.load(folder)


def test_probes_have_no_control(attack: Callable[..., Any], tmp_path: Path) -> None:
    """Their words are the changed model's own: the undefended model is not asked about them."""
    report = attack([Louder(), Inside()], random=False)
    figures = {line.entry.name: line.control for line in report.summary.attacks}
    assert figures["louder"] is not None
    assert figures["inside"] is None
    assert {row.set for row in report.rows} == {"unsafe", "louder", control_of("louder"), "inside"}


def test_the_pages_say_the_same(attack: Callable[..., Any], tmp_path: Path) -> None:
    report = attack(Louder())
    rows = attack_rows(report.summary)
    assert [(r.attack, r.run) for r in rows] == [
        ("no attack", ""),
        ("louder", "black box, seed 0"),
        ("louder", "control"),
        ("louder", "random search of equal cost"),
    ]
    page = (tmp_path / "report" / "index.html").read_text()
    text, paper = attack_text(report.summary), attack_markdown(report.summary)
    for row in rows:
        assert row.undefended.split(" (")[0] in page
        assert row.undefended in text
        assert row.undefended in paper
    assert "9 queries, 15 passes" in text
    assert "loud a" in page
    assert page.count("<script") == 2, "the data and the page's own script"


def test_a_model_alone_is_attacked_undefended(attack: Callable[..., Any], original: Any) -> None:
    report = attack(Louder(), target=original)
    assert report.summary.undefended
    assert report.summary.plain.hardened is None
    assert "hardened" not in attack_text(report.summary).replace("the hardened one", "")


def test_stopped_and_gone_on_with(
    attack: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Any, prompts: Any, context: Any) -> Iterator[AttackResult]:
        yield from list(Louder.attack(self, prompts[:2], context))
        raise KeyboardInterrupt

    stopped = type("Louder", (Louder,), {"attack": stop})
    with pytest.raises(InterruptedRun, match="what was found is in"):
        attack(stopped())
    asked: list[str] = []

    def counted(self: Any, prompts: Any, context: Any) -> Iterator[AttackResult]:
        asked.extend(prompts)
        return Louder.attack(self, prompts, context)

    whole = attack(Louder(), out=tmp_path / "whole")
    report = attack(type("Louder", (Louder,), {"attack": counted})(), random=False)
    assert len(asked) == 1
    name = "attacks/louder.jsonl"
    assert (tmp_path / "report" / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert report.summary.attacks[0].rate == whole.summary.attacks[0].rate
    monkeypatch.setattr(PictureMaker, "draw", lambda *_: pytest.fail("a picture was made again"))
    attack(Louder(), random=False)


def test_an_exported_encoder_gets_what_needs_no_weights(
    attack: Callable[..., Any], original: Any, hardened: Any, tmp_path: Path
) -> None:
    attack(White(), out=tmp_path / "found", random=False)
    file = tmp_path / "found" / "attacks" / "white.jsonl"
    exported = original.with_encoders({"text_encoder": Exported(hardened.encoders["text_encoder"])})
    report = attack([White(), "typos"], target=exported, original=original, replay=[file], random=False)
    white, typos, replayed = report.summary.attacks
    assert white.rate is None
    assert white.entry.impossible == "no gradients flow through the exported text_encoder"
    assert typos.rate is not None
    assert replayed.rate is not None
    assert replayed.rate.hardened.n == 3
    assert replayed.entry.found_on is not None
    text = attack_text(report.summary)
    assert "impossible: no gradients flow through the exported text_encoder" in text
    assert "transfer: found on" in text
    assert "the same original" in text
    alone = attack(White(), target=exported, original=original, out=tmp_path / "alone")
    assert not alone.possible


def test_replayed_on_its_own_models(attack: Callable[..., Any], tmp_path: Path) -> None:
    first = attack(Louder(), random=False)
    again = attack(replay=[tmp_path / "report/attacks/louder.jsonl"], out=tmp_path / "again")
    (line,) = again.summary.attacks
    assert line.rate == first.summary.attacks[0].rate
    assert again.summary.plain == first.summary.plain
    assert "found on these models" in attack_text(again.summary)


def test_prompts_of_the_user(attack: Callable[..., Any], tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    lines = [
        {"prompt": "my gun", "label": "unsafe", "concept": "weapon"},
        {"prompt": "my knife"},
        {"prompt": "my apple", "label": "safe"},
    ]
    own.write_text("\n".join(map(json.dumps, lines)))
    report = attack("typos", prompts=own, n=None)
    assert {row.origin or row.prompt for row in report.rows} == {"my gun", "my knife"}
    entry = report.summary.facts.own_prompts
    assert entry is not None
    assert (entry.read, entry.used) == (3, 2)
    assert "own.jsonl: 2 of 3 prompts" in attack_text(report.summary)
    own.write_text(json.dumps({"prompt": "my apple", "label": "safe"}))
    with pytest.raises(PolicyError, match="none of these prompts is labelled unsafe"):
        attack("typos", prompts=own)
    own.write_text(json.dumps({"prompt": "my gun", "concept": "gore"}))
    with pytest.raises(PolicyError, match="name the concept 'gore'"):
        attack("typos", prompts=own)


def test_wrong_calls(attack: Callable[..., Any], mini_sd1: Path, policy: Any, tmp_path: Path) -> None:
    for given, message in (
        ({}, "nothing to run"),
        ({"attacks": "typo"}, "unknown attack 'typo'; did you mean typos"),
        ({"attacks": "typos", "attack_seeds": (1, 1)}, "attack seeds must be distinct"),
        ({"attacks": "typos", "n": 0}, "at least one prompt"),
        ({"attacks": "typos", "out": None}, "no folder for the report"),
    ):
        with pytest.raises(UsageError, match=message):
            attack(**given)
    with pytest.raises(UsageError, match="has no denoiser, and whether an attack gets through is told on"):
        attack("typos", target=mini_sd1 / "text_encoder", device="cpu")
    assert not (tmp_path / "report").exists()


def test_a_policy_without_terms(attack: Callable[..., Any], tmp_path: Path) -> None:
    text = """
version: 1
name: wordless
concepts:
  - id: weapon
    anchors: [a flower]
    unsafe_prompts: [%s]
    detectors: [{name: pixel, labels: [weapon]}]
safe_prompts: [an apple]
"""
    path = tmp_path / "p.yaml"
    path.write_text(
        text % "a sharp thing, a blunt thing, a loud thing, a quick thing, a heavy thing, an odd thing"
    )
    report = attack("typos", policy=st.load_policy(path))
    assert report.summary.attacks[0].rate is not None, "the longest word is misspelt"
    path.write_text(text % "{text: a sharp thing, train_only: true}")
    with pytest.raises(PolicyError, match="wordless has no held-out unsafe prompts for this model"):
        attack("typos", policy=st.load_policy(path), out=tmp_path / "none")
