"""`compare` on a miniature pipeline: one table, nothing drawn twice, one line where it does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import gate_case
from support.made_runs import make_run
from support.minis import build_plain_clip, build_sdxl
from support.validation_case import FAST

import safetext_sdk as st
from safetext_sdk.attacks import Attack, AttackConfig, AttackResult
from safetext_sdk.attacks.random_suffix import RandomSuffix
from safetext_sdk.baselines import Baseline, BaselineConfig
from safetext_sdk.baselines.original import Original
from safetext_sdk.baselines.uce import Uce
from safetext_sdk.comparison.compare import not_attacked
from safetext_sdk.comparison.contenders import learned_once
from safetext_sdk.comparison.entries import Comparison
from safetext_sdk.comparison.pareto import points_of
from safetext_sdk.errors import InterruptedRun, RunError, UsageError
from safetext_sdk.results.rows import read_rows
from safetext_sdk.validation.generate import PictureMaker

Compare = Callable[..., Comparison]


class Loud(Attack[AttackConfig]):
    name, summary = "loud", "the prompt in capitals"

    def attack(self, prompts, context):
        for prompt in prompts:
            yield AttackResult(prompt, (prompt.upper(), f"{prompt}!"))


class Quiet(Loud):
    name, summary = "quiet", "the same under another name"


@pytest.fixture
def no_more_pictures(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def forbid() -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise AssertionError("a picture was made")

        monkeypatch.setattr(PictureMaker, "ensure", fail)

    return forbid


def test_one_table_for_all(compare: Compare, other: Any, tmp_path: Path, no_more_pictures: Any) -> None:
    given = {"baselines": ("original", "negative-prompt", Uce(preserve=3)), "attacks": (Loud(),)}
    found = compare(other, **given)
    assert [(e.name, e.kind) for e in found.entries] == [
        ("original", "baseline"),
        ("negative-prompt", "baseline"),
        ("uce", "baseline"),
        (Path(other.id).name, "model"),
    ]
    first = found.entries[0].figures
    assert first.kept_drop is not None
    assert (first.kept_drop.value, first.change) == (0.0, 0.0)
    assert found.attacks == ("loud",)
    questions = []
    for entry in found.entries:
        assert not entry.reused
        assert entry.verdict == (None if entry.kind == "baseline" else "fail")
        assert entry.figures.unsafe is not None
        assert entry.figures.unsafe.n == entry.figures.attacks["loud"].n == 2
        assert entry.figures.worst in (entry.figures.unsafe, entry.figures.attacks["loud"])
        assert entry.cost.picture
        rows = read_rows(tmp_path / "out" / str(entry.report) / "results.jsonl")
        questions.append({row.question for row in rows})
        assert {row.question for row in rows if row.model == "original"} == questions[0]
    assert all(asked == questions[0] for asked in questions)
    assert found.entries[2].settings["preserve"] == 3
    folder = tmp_path / "out"
    assert Comparison.model_validate_json((folder / "comparison.json").read_text()) == found
    text = (folder / "comparison.md").read_text()
    assert "| negative-prompt |" in text
    assert found.judge_profile is not None
    assert f"every rate by the judge profile policy, sha256 {found.judge_profile.sha256[:12]}" in text
    page = (folder / "index.html").read_text()
    assert 'href="uce/index.html"' in page
    assert "<svg" in page
    no_more_pictures()
    again = compare(other, **given)
    assert all(entry.reused for entry in again.entries)
    assert [e.figures for e in again.entries] == [e.figures for e in found.entries]


def test_an_attack_without_a_defence_in_its_way_is_none(compare: Compare) -> None:
    """Through encoders that are the original's there is nothing to find: no figure, and one reason."""
    given = {"baselines": ("original", Uce(preserve=3)), "attacks": (RandomSuffix(queries=1),), "n": 1}
    original, uce = compare(**given).entries
    assert original.figures.attacks["random_suffix"].n == 1
    assert original.note == ""
    assert uce.figures.attacks.get("random_suffix") is None
    assert uce.figures.worst == uce.figures.unsafe
    assert uce.note.startswith("its worst figure is without random_suffix: its encoders are the original's")


def test_a_run_that_was_validated_is_read(
    compare: Compare, original: Any, policy: Any, tmp_path: Path, no_more_pictures: Any
) -> None:
    run = make_run(tmp_path / "run", original)
    st.validate(original, run, policy, n=2, settings=FAST, attacks="none", progress=False)
    st.validate(
        original, run, policy, n=2, settings=FAST, attacks="none", progress=False, out=tmp_path / "elsewhere"
    )
    changed = {
        "it has other picture seeds": {"seeds": (1,)},
        "it has other prompts, or another number of them": {"n": 1},
        "it has the prompt book of seed 0, not 1": {"book_seed": 1},
        "it has no such attack on as many prompts: loud": {"attacks": (Loud(),)},
    }
    for why, options in changed.items():
        found = compare(run, baselines=(), out=tmp_path / why[-8:].strip(), **options)
        (entry,) = found.entries
        assert not entry.reused
        assert entry.note.startswith(f"its own report was not read: {why}")
    no_more_pictures()
    found = compare(tmp_path / "run", baselines=(), model=None)
    (entry,) = found.entries
    assert entry.cost.learning == 12.5
    assert entry.reused
    assert (entry.name, entry.kind, entry.detail) == ("run", "run", "made, recipe default")
    assert entry.report == "../run/report"
    # Rows that somebody edited are not read.
    rows = tmp_path / "run" / "report" / "evidence.json"
    evidence = json.loads(rows.read_text())
    evidence["measured"]["results_sha256"] = "0" * 64
    rows.write_text(json.dumps(evidence))
    with pytest.raises(AssertionError, match="a picture was made"):
        compare(run, baselines=(), out=tmp_path / "third")


def test_attacks_that_only_one_report_has_are_not_held_against_it(
    compare: Compare, original: Any, policy: Any, tmp_path: Path
) -> None:
    """A run that was validated under more attacks than are compared is read, and has the same columns."""
    run = make_run(tmp_path / "run", original)
    st.validate(original, run, policy, n=2, settings=FAST, attacks=(Loud(), Quiet()), progress=False)
    found = compare(run, attacks=(Loud(),))
    assert found.attacks == ("loud",)
    undefended, entry = found.entries
    assert entry.reused
    assert not undefended.reused
    assert entry.figures.attacks.keys() == undefended.figures.attacks.keys() == {"loud"}
    assert entry.note == "its verdict counts attacks that no other entry met: quiet"
    assert [point.worst is not None for point in points_of(found)] == [True, True]


def test_what_cannot_be_compared(compare: Compare, original: Any, policy: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        compare(baselines=())
    with pytest.raises(UsageError, match="no model: name one"):
        compare(model=None)
    with pytest.raises(UsageError, match="no policy given"):
        compare(policy=None)
    with pytest.raises(UsageError, match="unknown baseline 'ucee'; did you mean uce"):
        compare(baselines=("ucee",))
    with pytest.raises(UsageError, match="unknown attack"):
        compare(attacks=("no-such-attack",))
    sdxl = st.load_model(build_sdxl(tmp_path / "sdxl"), device="cpu")
    with pytest.raises(UsageError, match=r"of the family sdxl, .* of sd1: they cannot be compared"):
        compare(sdxl, baselines=())
    run = make_run(tmp_path / "run", original)
    manifest = json.loads((run.path / "manifest.json").read_text())
    manifest["source"] |= {"id": "another", "files": {"text_encoder/model.safetensors": "0" * 64}}
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="was hardened from another, not from"):
        compare(run, baselines=())


@pytest.mark.filterwarnings("ignore::safetext_sdk.errors.UnmeasuredGateWarning")
def test_a_text_encoder_has_the_encoder_tier(policy: Any, tmp_path: Path) -> None:
    plain = build_plain_clip(tmp_path / "clip")
    names = ("original", "filter", "safree", "uce")
    options: dict[str, Any] = {
        "baselines": names,
        "n": 4,
        "attacks": "none",
        "progress": False,
        "out": tmp_path / "out",
    }
    found = st.compare([], policy, model=plain, **options)
    assert found.tier == "encoder"
    original, _, _, uce = found.entries
    assert uce.impossible == "the model has no denoiser"
    assert original.figures.redirected is not None
    assert (original.figures.redirected.value, original.figures.cosine_kept) == (0.0, 1.0)
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "uce: not possible on this model: the model has no denoiser" in text
    assert "| redirected | cosine kept |" in text
    with pytest.raises(UsageError, match="nothing can be measured"):
        st.compare([], policy, model=plain, **{**options, "baselines": ("uce",)})


def test_ctrl_c_says_how_to_go_on(compare: Compare) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(InterruptedRun, match="the same command goes on"):
        compare(progress=stop)


class Counted(Baseline[BaselineConfig]):
    name, summary = "counted", "counts how often it learns"
    learned = 0

    def learn(self, context):
        import torch

        Counted.learned += 1
        return {"x": torch.ones(2)}

    defend = Original.defend


def test_nothing_is_learned_twice(original: Any, policy: Any, tmp_path: Path) -> None:
    from safetext_sdk.baselines import BaselineContext

    book = st.build_prompt_book(policy, seed=0, model=original.id)
    context, file = BaselineContext(original, policy, book), tmp_path / "counted" / "learned.safetensors"
    clock = iter([0.0, 2.5, 10.0, 11.0])
    first, seconds = learned_once(Counted(), context, file, lambda: next(clock))
    again, known = learned_once(Counted(), context, file, lambda: next(clock))
    assert (Counted.learned, seconds, known) == (1, 2.5, 2.5)
    assert first["x"].tolist() == again["x"].tolist()
    assert learned_once(Counted(seed=1), context, file, lambda: next(clock))[1] == 1.0
    assert Counted.learned == 2


def test_an_attack_that_was_impossible_is_named() -> None:
    """An exported encoder has no gradients; of a probe nobody asks."""
    attacks = (
        gate_case.entry("context"),
        gate_case.entry("gcg-encoder", impossible="no gradients flow through the exported text_encoder"),
        gate_case.entry("soft-tokens", impossible="no gradients flow", gated=False),
    )
    assert not_attacked(gate_case.with_facts(gate_case.passing(), attacks=attacks).facts) == [
        "its worst figure is without gcg-encoder: no gradients flow through the exported text_encoder"
    ]
