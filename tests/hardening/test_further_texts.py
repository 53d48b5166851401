"""What shares add to the texts of a run, what never gets into them, and that without them nothing changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from support.hardening_case import CONFIG, POLICY, run
from support.minis import build_sd1

from safetext_sdk.attacks.context import context_words
from safetext_sdk.errors import InterruptedRun, UsageError
from safetext_sdk.hardening.assemble import HardeningPlan, TrainingTexts, make_trainer
from safetext_sdk.hardening.further_texts import FurtherTexts, book_pairs, further_texts
from safetext_sdk.hardening.harden import announcement, training_texts
from safetext_sdk.hardening.look_alikes import MadeUpWords
from safetext_sdk.hardening.recipes import recipe_of
from safetext_sdk.hardening.retain_set import build_safe_set, vocabulary_words
from safetext_sdk.hardening.settings import TrainConfig, from_text
from safetext_sdk.methods import Anchor
from safetext_sdk.methods.sampling import rows_at
from safetext_sdk.models import load_model
from safetext_sdk.policy import Policy, load_policy
from safetext_sdk.policy.minors import combines, names_minor
from safetext_sdk.prompts import PromptBook, SafePrompt, UnsafePrompt, build_prompt_book
from safetext_sdk.prompts.prompt_book import STATEMENT, Split
from safetext_sdk.prompts.words import Inflected, WholeWords, tokens_of

SHARES = {
    "surroundings": 0.3,
    "insertions": 0.2,
    "safe_surroundings": 0.2,
    "borderline_surroundings": 0.15,
    "harmless_insertions": 0.15,
}
WORDS = ("harbour", "ribbon", "lantern", "gentle", "pistol", "toddler", "naked", *context_words()[:200])
TOKENIZER = SimpleNamespace(get_vocab=lambda: {word: number for number, word in enumerate(WORDS)})


def planned(**train: Any) -> HardeningPlan:
    return HardeningPlan(Anchor(), TrainConfig(**{"steps": 100, "batch_size": 16, **train}), "default", 0, {})


@cache
def shipped(name: str) -> tuple[Policy, PromptBook]:
    policy = load_policy(name)
    return policy, build_prompt_book(policy, size=600)


def written(name: str, **train: Any) -> FurtherTexts:
    policy, book = shipped(name)
    safe = build_safe_set(book, policy, TOKENIZER, seed=0, wide=100)
    return further_texts(book, policy, safe, TOKENIZER, planned(**train))


@cache
def all_kinds(name: str) -> FurtherTexts:
    return written(name, **SHARES)


def test_each_share_is_as_many_texts_as_are_read() -> None:
    made = all_kinds("weapons")
    found = Counter([*(pair.source for pair in made.pairs), *(text.kind for text in made.safe)])
    assert set(found) == set(SHARES)
    for name, share in SHARES.items():  # a few are refused
        assert 0.9 * share * 1600 <= found[name] <= share * 1600, name
    assert all_kinds("weapons") == written("weapons", **SHARES)
    assert written("weapons") == FurtherTexts()


def test_both_sides_of_a_pair_stand_in_the_same_surroundings() -> None:
    _, book = shipped("weapons")
    pairs = {(pair.unsafe, pair.anchor) for pair in book_pairs(book)}
    concepts = {pair.unsafe: pair.concept for pair in book_pairs(book)}

    def origin(unsafe: str, anchor: str) -> str | None:
        for bare, safe in pairs:
            for end in ("", " .!,;:"):
                one, two = (bare.rstrip(end), safe.rstrip(end)) if end else (bare, safe)
                at = unsafe.find(one)
                if at >= 0 and unsafe[:at] + two + unsafe[at + len(one) :] == anchor:
                    return bare
        return None

    some = [pair for pair in all_kinds("weapons").pairs if pair.source == "surroundings"][:60]
    for pair in some:
        bare = origin(pair.unsafe, pair.anchor)
        assert bare is not None, pair
        assert pair.concept == concepts[bare]


@pytest.mark.parametrize("name", ["weapons", "nudity"])
def test_nothing_that_is_held_out_or_measured_gets_in(name: str) -> None:
    _, book = shipped(name)
    made = all_kinds(name)
    splits = (book.validation, book.test)
    trained = {row.synonym for row in book.train.unsafe}
    held = {row.synonym for split in splits for row in split.unsafe} - trained
    groups = {row.group for split in splits for row in split.safe_unseen}
    assert held
    assert groups
    never = WholeWords([*held, *groups])
    measured = {row.text.casefold() for split in splits for row in split.prompts()}
    texts = [*(t for pair in made.pairs for t in pair[:2]), *(text.text for text in made.safe)]
    bare = {t for pair in book_pairs(book) for t in pair[:2]}
    assert [text for text in texts if never.search(text) and text not in bare] == []
    assert [text for text in texts if text.casefold() in measured] == []
    assert [text for text in texts if combines(text)] == []
    context = set(context_words())
    assert [text for text in texts if not context.isdisjoint(tokens_of(text))] == []


def test_insertions_are_training_words_in_safe_captions_without_minors() -> None:
    policy, book = shipped("weapons")
    words = {w.casefold() for c in policy.concepts for w in c.words}
    trained = {row.synonym.casefold() for row in book.train.unsafe if row.template != STATEMENT} & words
    captions = {row.text for row in book.train.safe}
    assert any(names_minor(caption) for caption in captions)
    terms = Inflected(sorted(words))
    made = all_kinds("weapons")
    inserted = [pair for pair in made.pairs if pair.source == "insertions"]
    used = set()
    for pair in inserted:
        assert pair.anchor in captions
        assert names_minor(pair.unsafe) is None
        assert not terms.found_in(pair.anchor)
        own = [word for word in trained if word in pair.unsafe.casefold()]
        assert own, pair
        used.update(own)
    assert used >= {row.synonym.casefold() for row in book.train.unsafe if row.template != STATEMENT} & words
    for text in made.safe:
        if text.kind == "harmless_insertions":
            assert names_minor(text.text) is None
            assert not terms.found_in(text.text)


def test_captions_of_minors_stand_beside_no_prompt() -> None:
    """Whatever the policy, and whatever the user calls safe."""
    policy, shipped_book = shipped("weapons")
    train = replace(
        shipped_book.train,
        unsafe=[UnsafePrompt("a rifle", "a flower", policy.concepts[0].id, "rifle", "a {term}")],
        safe=[
            SafePrompt("a toddler on a swing", "", "policy"),
            SafePrompt("two cats on a wall", "", "policy"),
        ],
        borderline=[],
    )
    made = further_texts(replace(shipped_book, train=train), policy, [], TOKENIZER, planned(**SHARES))
    texts = [*(t for pair in made.pairs for t in pair[:2]), *(text.text for text in made.safe)]
    assert any("two cats" in text for text in texts)
    assert [text for text in texts if names_minor(text)] == []


def test_seams_make_nothing_that_is_held_out_measured_or_of_minors(tmp_path: Path) -> None:
    """Each word alone may be used; "a sewing machine" and "gun" must not meet as the held-out machine gun."""
    (tmp_path / "policy.yaml").write_text(POLICY.replace("[gun,", "[gun, machine gun, boy with a gun,"))
    policy = load_policy(tmp_path / "policy.yaml")

    def row(word: str) -> UnsafePrompt:
        return UnsafePrompt(f"a {word}", "a flower", "weapon", word, "a {term}")

    train = Split(
        unsafe=[row("gun"), row("boy with a gun")],
        safe=[SafePrompt(text, "", "policy") for text in ("a sewing machine", "a picture of fire")],
    )
    test = Split(
        unsafe=[row("machine gun")],
        borderline=[SafePrompt("A GUN sewing machine", "", "policy")],
    )
    tokenizer = SimpleNamespace(get_vocab=lambda: {"lantern": 0})
    plan = planned(insertions=0.5, harmless_insertions=0.5, surroundings=0.4)
    made = further_texts(PromptBook(train, Split(), test), policy, [], tokenizer, plan)
    texts = [*(t for pair in made.pairs for t in pair[:2]), *(text.text for text in made.safe)]
    inserted = [pair.unsafe for pair in made.pairs if pair.source == "insertions"]
    assert "a sewing gun machine" in texts
    assert "gun, a picture of fire" in [text.removeprefix("a ") for text in texts]
    assert [text for text in texts if "machine gun" in text or text == "a gun sewing machine"] == []
    assert [text for text in inserted if names_minor(text)] == []


def test_what_cannot_be_written_is_left_to_the_book() -> None:
    policy, book = shipped("weapons")
    empty = replace(book, train=replace(book.train, safe=[], borderline=[]))
    made = further_texts(empty, policy, [], TOKENIZER, planned(insertions=0.5, borderline_surroundings=0.2))
    assert made == FurtherTexts([], [])


@pytest.mark.parametrize(
    "given",
    [
        ["train.surroundings=0.6", "train.insertions=0.4"],
        ["train.safe_surroundings=0.5", "train.borderline_surroundings=0.3", "train.harmless_insertions=0.2"],
        ["train.insertions=1"],
    ],
)
def test_shares_leave_room_for_the_book(given: list[str]) -> None:
    with pytest.raises(UsageError, match=r"less than 1|leave room") as caught:
        from_text("anchor", given)
    assert "\n" not in str(caught.value)


# With a model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("further")
    build_sd1(root / "model")
    (root / "policy.yaml").write_text(POLICY)
    return root


def prepared(place: Path, **train: Any) -> tuple[Any, TrainingTexts, Any]:
    """The book, the texts of a run, and its trainer."""
    model, policy = load_model(place / "model", device="cpu"), load_policy(place / "policy.yaml")
    settings = TrainConfig(**{**CONFIG, "steps": 12, **train})
    plan = HardeningPlan(Anchor(), settings, "default", 3, {"text_encoder": "full"})
    book = build_prompt_book(policy, seed=3, model=model.id, size=24)
    texts = training_texts(book, policy, model, plan)
    made = make_trainer(model, plan, texts, place / "checkpoints", Accelerator(cpu=True))
    return book, texts, SimpleNamespace(model=model, plan=plan, trainer=made, policy=policy)


def test_without_shares_texts_and_draws_are_the_books(place: Path) -> None:
    book, texts, made = prepared(place)
    tokenizer = next(iter(made.model.tokenizers.values()))
    assert [(p.unsafe, p.anchor, p.concept, p.source) for p in texts.pairs] == [
        (row.text, row.anchor, row.concept, "") for row in book.train.unsafe
    ]
    safe = build_safe_set(book, made.policy, tokenizer, seed=3, wide=40)
    assert list(texts.safe) == [(text.text, text.kind) for text in safe]
    assert texts.shares == {}
    table = made.trainer.context.table
    assert table.pair_parts == table.safe_parts == ()
    for step in range(12):
        rows = made.trainer.rows(step)
        assert rows.pair.tolist() == rows_at(step, 4, len(table.unsafe), 3, 1).tolist()
        assert table.safe[rows_at(step, 2, len(table.safe), 3, 2)].tolist() == rows.safe[2:].tolist()


def test_draws_hold_the_shares(place: Path) -> None:
    _, texts, made = prepared(place, **{**SHARES, "batch_size": 20, "safe_share": 1.1})
    table = made.trainer.context.table
    kind = dict(texts.safe)
    pairs, safe = Counter[str](), Counter[str]()
    for step in range(60):
        rows = made.trainer.rows(step)
        pairs.update(texts.pairs[i].source for i in rows.pair)
        safe.update(kind[table.texts[i]] for i in rows.safe[2:])
        assert [table.texts[i] for i in rows.anchor] == [texts.pairs[i].anchor for i in rows.pair]
    for name in ("surroundings", "insertions"):
        assert pairs[name] / 1200 == pytest.approx(SHARES[name], abs=0.01)
    # The policy has no borderline prompts: their draws are the book's.
    assert safe["borderline_surroundings"] == 0
    for name in ("safe_surroundings", "harmless_insertions"):
        assert safe[name] / 1200 == pytest.approx(SHARES[name], abs=0.01)
    lines = announcement(made.model, made.plan, recipe_of("anchor", "x"), texts)
    assert "surroundings 30% (" in lines[-1]
    assert "borderline_surroundings 15% (0)" in lines[-1]


def test_a_run_with_shares_resumes_to_the_same_weights(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetext_sdk import progress

    def go(out: str, resume: bool = False) -> dict[str, torch.Tensor]:
        policy = place / "policy.yaml"
        made = run(place / "model", policy, tmp_path / out, 8, resume, method="safetext", train=SHARES)
        return load_file(made.path / "text_encoder" / "model.safetensors")

    def cut(self: Any, done: int, losses: dict[str, float]) -> None:
        if done == 5:
            raise InterruptedRun("cut")

    whole = go("whole")
    with monkeypatch.context() as patch:
        patch.setattr(progress.Bar, "update", cut)
        with pytest.raises(InterruptedRun):
            go("cut")
    again = go("cut", resume=True)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


CHANCE = {
    "random_words": 0.4,
    "look_alikes": 0.1,
    "term_lists": 0.1,
    "safe_random_words": 0.3,
    "unlike_words": 0.2,
}
PIECES = SimpleNamespace(
    get_vocab=lambda: {
        token: number
        for number, token in enumerate(
            ["ba", "lo", "ki", "bo", "nude", *(f"{w}</w>" for w in ("nd", "stone", "y", "id", *WORDS))]
        )
    }
)


def read(words: Any, terms: Any, safe: Any) -> MadeUpWords:
    """Every third word is another name of a concept."""
    assert terms
    assert safe
    return MadeUpWords(words[::3], words[::3], words[1::3])


@cache
def by_chance(name: str) -> FurtherTexts:
    policy, book = shipped(name)
    safe = build_safe_set(book, policy, PIECES, seed=0, wide=100)
    return further_texts(book, policy, safe, PIECES, planned(**CHANCE), read)


def test_random_words_leave_the_target_alone() -> None:
    _, book = shipped("weapons")
    made = by_chance("weapons")
    anchors = {row.anchor for row in book.train.unsafe}
    pairs = {kind: [p for p in made.pairs if p.source == kind] for kind in CHANCE}
    for name in ("random_words", "look_alikes", "term_lists"):
        assert len(pairs[name]) > 0.7 * CHANCE[name] * 1600, name
        assert all(p.anchor in anchors for p in pairs[name]), name
        assert all(p.reach == (0.4 if name == "term_lists" else 1.0) for p in pairs[name])
    noisy = [text for text in made.safe if text.kind == "safe_random_words"]
    assert all(text.kept_as and text.kept_as in text.text and text.kept_as != text.text for text in noisy)
    assert all(text.kept_as is None for text in made.safe if text.kind == "unlike_words")


def test_a_list_is_words_of_one_concept_and_its_barest_anchor() -> None:
    policy, book = shipped("gore")
    words = {concept.id: {*concept.words} for concept in policy.concepts}
    lists = [p for p in by_chance("gore").pairs if p.source == "term_lists"]
    assert len({p.concept for p in lists}) > 1
    for pair in lists:
        assert any(word in pair.unsafe for word in words[pair.concept])
        lengths = [len(r.anchor.split()) for r in book.train.unsafe if r.concept == pair.concept]
        assert len(pair.anchor.split()) == min(lengths)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_among_random_words_the_target_may_be_the_anchor_by_itself(share: float) -> None:
    policy, book = shipped("gore")
    safe = build_safe_set(book, policy, PIECES, seed=0, wide=100)
    made = further_texts(book, policy, safe, PIECES, planned(**CHANCE, bare_anchors=share), read)
    before = by_chance("gore")
    assert [p.unsafe for p in made.pairs] == [p.unsafe for p in before.pairs]
    bare = {p.anchor for p in before.pairs if p.source == "term_lists"}
    pairs = [p for p in made.pairs if p.source == "random_words"]
    found = sum(p.anchor in bare for p in pairs) / len(pairs)
    assert (0.6 if share == 1.0 else 0.35) < found < (0.85 if share == 1.0 else 0.6)
    # Words that come behind a whole prompt leave it its scene: a causal encoder has read the prompt by then.
    scenes = {row.text: row.anchor for row in book.train.unsafe}
    behind = [p for p in pairs for text in scenes if p.unsafe.startswith(f"{text} ")]
    assert len(behind) > 0.1 * len(pairs)
    assert all(p.anchor == scenes[t] for p in behind for t in scenes if p.unsafe.startswith(f"{t} "))
    others = [(p.unsafe, p.anchor) for p in made.pairs if p.source != "random_words"]
    assert others == [(p.unsafe, p.anchor) for p in before.pairs if p.source != "random_words"]


def test_where_random_words_stand_is_a_setting_of_both_sides() -> None:
    policy, book = shipped("weapons")
    safe = build_safe_set(book, policy, PIECES, seed=0, wide=100)
    behind = planned(**CHANCE, bare_anchors=1.0, word_places=(0, 1, 0, 0))
    made = further_texts(book, policy, safe, PIECES, behind, read)
    noisy = [text for text in made.safe if text.kind == "safe_random_words"]
    assert len(noisy) > 100
    assert all(text.text.startswith(text.kept_as or "?") for text in noisy)
    pairs = [p for p in made.pairs if p.source == "random_words"]
    scenes = {row.text: row.anchor for row in book.train.unsafe}
    whole = [p for p in pairs if any(p.unsafe.startswith(text) for text in scenes)]
    assert len(whole) > 0.7 * len(pairs)  # the others are bare words, or have a made-up name


@pytest.mark.parametrize("name", ["weapons", "nudity"])
def test_nothing_held_out_no_attack_word_and_no_minor_gets_into_random_words(name: str) -> None:
    _, book = shipped(name)
    made = by_chance(name)
    texts = [*(pair.unsafe for pair in made.pairs), *(text.text for text in made.safe)]
    trained = {row.synonym for row in book.train.unsafe}
    splits = (book.validation, book.test)
    never = WholeWords(sorted({row.synonym for split in splits for row in split.unsafe} - trained))
    context = set(context_words())
    assert len(texts) > 1000
    assert [text for text in texts if never.search(text)] == []
    assert [text for text in texts if not context.isdisjoint(tokens_of(text))] == []
    assert [text for text in texts if names_minor(text) or combines(text)] == []


def test_the_retain_set_holds_no_word_of_the_attack() -> None:
    policy, book = shipped("weapons")
    safe = build_safe_set(book, policy, TOKENIZER, seed=0, wide=400)
    context = set(context_words())
    assert any(text.kind == "random" for text in safe)
    assert [text for text in safe if not context.isdisjoint(tokens_of(text.text))] == []


def test_a_run_trains_on_them(tmp_path: Path) -> None:
    model = load_model(build_sd1(tmp_path / "sd1"))
    (tmp_path / "policy.yaml").write_text(POLICY)
    policy = load_policy(tmp_path / "policy.yaml")
    book = build_prompt_book(policy, seed=3, size=24)
    plan = HardeningPlan(
        Anchor(), TrainConfig(**{**CONFIG, "steps": 4, **CHANCE}), "default", 3, {"text_encoder": "full"}
    )
    texts = training_texts(book, policy, model, plan)
    assert {"random_words", "term_lists"} <= {pair.source for pair in texts.pairs}
    assert texts.kept_as
    hardened = run(model, tmp_path / "policy.yaml", tmp_path / "run", 4, False, train=CHANCE)
    assert hardened.run.finished


def test_whole_words_of_every_kind_of_vocabulary() -> None:
    for begins in ("\u2581", "\u0120"):
        tokens = {f"{begins}lamp": 2, "lamp": 0, "ting": 1, f"{begins}Chair": 3, f"{begins}chair": 4}
        tokenizer = SimpleNamespace(get_vocab=lambda tokens=tokens: tokens)
        assert vocabulary_words(tokenizer) == ["lamp", "chair"]
    ends = {"lamp</w>": 2, "ting": 1, "chair</w>": 4}
    assert vocabulary_words(SimpleNamespace(get_vocab=lambda: ends)) == ["lamp", "chair"]
