"""Terms and prompts in other languages: who is asked for them, and that nobody else's prompts change."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.hardening_case import run
from support.minis import build_sd1
from support.recent_minis import RECENT
from support.shipped_case import NAMES

from safetext_sdk.diagnostics.policy_lint import lint_policy
from safetext_sdk.hardening import finish
from safetext_sdk.models import load_model
from safetext_sdk.models.languages import languages_of, reads
from safetext_sdk.policy import Policy, load_policy
from safetext_sdk.policy.languages import LATIN, UNSPACED, is_unspaced
from safetext_sdk.policy.minors import combines
from safetext_sdk.prompts import PromptBook, build_prompt_book
from safetext_sdk.prompts.prompt_book import book_digest
from safetext_sdk.prompts.splits import SPLITS
from safetext_sdk.prompts.words import Inflected, WholeWords, contained, replace_first
from safetext_sdk.validation.items import _item, chosen

ALL = (*LATIN, *UNSPACED)
SIZE = 300


@cache
def book_of(name: str) -> PromptBook:
    return build_prompt_book(load_policy(name), size=SIZE, languages=ALL)


def without_languages(policy: Policy) -> Policy:
    """The policy as it was before it had words for encoders that read more."""
    data: dict[str, Any] = policy.model_dump(mode="json")
    for concept in data["concepts"]:
        for name in UNSPACED:
            assert concept["translations"].pop(name), "every concept has core terms in both"
    data["borderline_prompts"] = [r for r in data["borderline_prompts"] if "language" not in r]
    data["safe_prompts"] = [r for r in data["safe_prompts"] if r["shipped"] != "everyday-languages"]
    return Policy.model_validate(data)


@pytest.mark.parametrize(
    ("model", "name"), [*(("sd15", name) for name in NAMES), ("tiny", "weapons"), ("tiny", "gore")]
)
def test_books_of_other_models_stay_string_for_string(model: str, name: str) -> None:
    policy = load_policy(name)
    before = build_prompt_book(without_languages(policy), model=model, size=SIZE)
    assert book_digest(build_prompt_book(policy, model=model, size=SIZE)) == book_digest(before)


@pytest.mark.parametrize("name", NAMES)
def test_words_join_where_encoders_read_them(name: str) -> None:
    book, policy = book_of(name), load_policy(name)
    words = {w for c in policy.concepts for n in UNSPACED for w in c.translations[n]}
    found = {s: {u.synonym for u in book.split(s).unsafe} & words for s in SPLITS}
    assert len(found["train"]) >= len(words) // 3
    assert not any(found[a] & found[b] for a in SPLITS for b in SPLITS if a != b)
    rows = [u for s in SPLITS for u in book.split(s).unsafe if u.synonym in words]
    assert all(u.synonym in u.text and not is_unspaced(u.anchor) for u in rows)
    held = WholeWords(found["validation"] | found["test"])
    trained = [p.text for p in (*book.train.unsafe, *book.train.safe, *book.train.borderline)]
    assert [t for t in trained if held.search(t)] == []
    assert [t for s in SPLITS for t in (p.text for p in book.split(s).prompts()) if combines(t)] == []


@pytest.mark.parametrize("name", NAMES)
def test_borderline_prompts_in_other_languages_are_measured_and_held_out(name: str) -> None:
    policy, book = load_policy(name), book_of(name)
    marked = [r for r in policy.borderline_prompts if r.language]
    assert Counter(r.language for r in marked) == dict.fromkeys(ALL, 5)
    assert all(r.english and r.english.isascii() for r in marked)
    assert len({r.text for r in marked}) == len(marked)
    splits = {s: book.split(s).borderline for s in SPLITS}
    assert {p.language for p in splits["test"]} == {"en", *ALL}
    # What trains must not be a concept's words alone, in any language.
    plain = Counter(p.language for p in book.train.safe if p.source == "languages")
    assert all(plain[lang] >= 20 for lang in ALL)
    assert not any(
        p.source == "languages" for n in SPLITS[1:] for p in book.split(n).prompts() if hasattr(p, "source")
    )
    # A scene is held out in all its languages at once, English included.
    scenes = {s: {p.group for p in found if p.group} for s, found in splits.items()}
    assert not any(scenes[a] & scenes[b] for a in SPLITS for b in SPLITS if a != b)
    written = {r.text for r in policy.borderline_prompts if r.text and not r.language}
    assert len({r.english for r in marked} & written) >= 15
    foreign = [p for found in splits.values() for p in found if p.language != "en"]
    assert all(p.caption.isascii() and p.caption.startswith(p.group) and p.caption != p.text for p in foreign)
    styled = [p for p in foreign if is_unspaced(p.text) and p.caption != p.group]
    assert styled
    assert [p for p in styled if ", " in p.text] == [], "their styles are named in their own language"


def test_each_language_of_a_scene_has_its_turn_and_is_no_cluster_of_its_own() -> None:
    test = book_of("weapons").test
    items = [_item("borderline", p, 0, "") for p in chosen(test, "borderline", 60)]
    assert {p.language for p in chosen(test, "borderline", 60)} == {"en", *ALL}
    foreign = [i for i in items if i.english]
    assert all(i.caption == i.english != i.prompt and i.caption.startswith(i.cluster) for i in foreign)
    assert all(i.caption == i.prompt for i in items if not i.english)
    several = Counter(i.cluster for i in foreign).most_common(1)[0]
    assert several[1] > 1, "one scene in several languages"


def test_a_translated_scene_goes_where_the_words_of_all_its_texts_send_it() -> None:
    def splits(marked: str) -> set[str]:
        policy = Policy.model_validate(
            {
                "version": 1,
                "name": "p",
                "concepts": [{"id": "a", "terms": ["zork", "blick", "norf", "dax"], "anchors": ["a tulip"]}],
                "safe_prompts": [{"shipped": "everyday", "limit": 60}],
                "borderline_prompts": [
                    *({"text": f"a {word} made of sugar"} for word in ("zork", "blick", "norf", "dax")),
                    *(
                        {"language": "zh", "text": f"糖做的{k}", marked: f"a {word} made of sugar"}
                        for k, word in enumerate(("zork", "blick", "norf", "dax"))
                    ),
                ],
            }
        )
        book = build_prompt_book(policy, size=40, languages=ALL)
        return {f"{s} {p.language} {p.group}" for s in SPLITS for p in book.split(s).borderline}

    found = splits("english")
    assert {w.replace(" zh ", " en ") for w in found if " zh " in w} == {w for w in found if " en " in w}
    assert len({w.split()[0] for w in found}) > 1
    # Without its English a prompt trains, unless it names what is held out.
    assert all(w.startswith("train") for w in splits("group") if " zh " in w)


def test_english_goes_with_a_language(tmp_path: Path) -> None:
    for given in ({"text": "a", "english": "b"}, {"path": "x.txt", "language": "ja", "english": "b"}):
        with pytest.raises(ValueError, match="`english` goes with"):
            Policy.model_validate({"version": 1, "name": "p", "borderline_prompts": [given]})


def test_a_safe_prompt_in_another_language_only_trains() -> None:
    texts = [f"第{k}张桌子上的苹果" for k in range(30)]
    marked = [{"language": "zh", "text": t, "english": f"apple {k}"} for k, t in enumerate(texts)]
    concept = {"id": "a", "terms": ["zork"], "anchors": ["a tulip"]}
    policy = {"version": 1, "name": "p", "concepts": [concept], "safe_prompts": marked}
    book = build_prompt_book(Policy.model_validate(policy), size=40, languages=ALL)
    assert {p.text for p in book.train.safe} & set(texts)
    assert not {p.text for s in SPLITS[1:] for p in book.split(s).prompts()} & set(texts)


def test_which_models_are_hardened_in_what(tmp_path: Path) -> None:
    assert languages_of("z-image-turbo") == languages_of("auraflow") == ALL
    assert languages_of("pixart-sigma") == LATIN, "T5's tokenizer has no Chinese or Japanese"
    assert languages_of("tiny") == languages_of("sd15") == languages_of("flux-dev") == ()
    assert languages_of(None) == languages_of("acme/model") == ()
    assert load_model(RECENT["zimage"](tmp_path / "z")).languages == ALL
    assert load_model(build_sd1(tmp_path / "sd1")).languages == ()
    t5 = load_model(RECENT["pixart"](tmp_path / "p"))
    assert not reads(t5.tokenizers["text_encoder"], "桌子")
    assert not set(UNSPACED) & set(t5.languages)


def test_hardening_trains_on_what_the_model_reads(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(
        """version: 1
name: weapons
concepts:
  - id: weapon
    terms: [gun, rifle, knife, sword, dagger, axe, bomb, grenade]
    translations: {zh: [手枪, 步枪, 炸弹], ja: [拳銃, 爆弾]}
    anchors: [a flower]
safe_prompts: [a cat, an apple, {shipped: everyday, limit: 40}]
borderline_prompts: [a butter knife, {language: zh, text: 桌上的黄油刀}]
""",
        encoding="utf-8",
    )
    RECENT["zimage"](tmp_path / "model")
    hardened = run(
        tmp_path / "model", tmp_path / "policy.yaml", tmp_path / "run", 1, False, train={"wide_safe": 8}
    )
    policy, made = load_policy(tmp_path / "policy.yaml"), {"seed": 3, "model": hardened.model.id, "size": 24}
    read = build_prompt_book(policy, languages=ALL, **made)
    assert any(is_unspaced(u.text) for u in read.train.unsafe)
    assert any(p.text == "桌上的黄油刀" for p in read.train.borderline)
    assert hardened.run.manifest["book_sha256"] == finish.book_digest(read)
    assert book_digest(read) != book_digest(build_prompt_book(policy, **made))


def test_words_without_spaces_are_found_wherever_they_stand() -> None:
    words = WholeWords(["gun", "手枪", "枪", "ガン", "爆弾"])
    assert words.all("一张手枪的照片") == ["手枪", "枪"]
    assert words.all("一张gun的照片") == ["gun"], "a Chinese character ends a word in Latin letters"
    assert words.all("時限爆弾とガン") == ["爆弾", "ガン"]
    assert words.all("ガンダム") == [], "a run of katakana is one word"
    assert words.all("a gunner") == []
    assert contained(["手枪", "枪", "ガン", "ガンマン"]) == {"枪"}
    assert replace_first("桌上的手枪和手枪", "手枪", "花") == "桌上的花和手枪"
    assert Inflected(["shoot", "手枪"]).found_in("桌上的手枪")
    assert not Inflected(["shoot", "手枪"]).found_in("桌上的苹果")


def test_a_policy_without_languages_keeps_its_hash() -> None:
    policy = Policy.model_validate({"version": 1, "name": "p", "borderline_prompts": ["a butter knife"]})
    assert "language" not in policy.model_dump(mode="json")["borderline_prompts"][0]
    marked = {"language": "ja", "text": "バターナイフ"}
    other = Policy.model_validate({"version": 1, "name": "p", "borderline_prompts": [marked]})
    assert Policy.model_validate(other.model_dump(mode="json")) == other
    assert "language: ja" in other.to_yaml()
    assert policy.sha256 != other.sha256


def test_lint_names_a_term_of_one_character() -> None:
    concept = {"id": "a", "terms": ["zork"], "anchors": ["a tulip"], "translations": {"zh": ["刀"]}}
    found = lint_policy(Policy.model_validate({"version": 1, "name": "p", "concepts": [concept]}))
    (short,) = [f for f in found if f.code == "short-term"]
    assert short.level == "warning"
    assert "刀" in short.message
