"""No prompt and no anchor of a book puts a minor beside sexual content, wherever it comes from. Two made-up
words stand for the two."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.dummy_words import MINOR, SEXUAL, add_dummy_words

from safetext_sdk.errors import PolicyError, PromptFileWarning
from safetext_sdk.policy import Policy
from safetext_sdk.prompts import Pair, PromptBook, PromptSource, SafePrompt, UnsafePrompt, build_prompt_book
from safetext_sdk.prompts.build import check_minors
from safetext_sdk.prompts.sources import PROMPT_SOURCES
from safetext_sdk.prompts.splits import SPLITS

WHY = "combines sexual content with minors"


@pytest.fixture(autouse=True)
def dummy_words(monkeypatch: pytest.MonkeyPatch) -> None:
    add_dummy_words(monkeypatch)


def policy(*, sexual: bool, **changes: Any) -> Policy:
    """Of one concept; ``sexual``: one of its words is the made-up one."""
    terms = [f"zork{i}" for i in range(12)] + [SEXUAL] * sexual
    concept = {"id": "thing", "terms": terms, "anchors": ["a tulip"]}
    safe = changes.pop("safe_prompts", [])
    data = {"version": 1, "name": "p", "concepts": [{**concept, **changes}], "safe_prompts": safe}
    return Policy.model_validate(data)


def refused(whole: Policy, **options: Any) -> PolicyError:
    with pytest.raises(PolicyError, match=WHY) as caught:
        build_prompt_book(whole, size=60, **options)
    assert MINOR not in str(caught.value)
    return caught.value


def pairs_file(folder: Path, *rows: tuple[str, str]) -> dict[str, str]:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps({"prompt": a, "safe": b}) + "\n" for a, b in rows), encoding="utf-8")
    return {"path": str(path), "anchor_column": "safe"}


def test_an_anchor_of_a_file_is_asked_as_its_prompt_is(tmp_path: Path) -> None:
    both = pairs_file(tmp_path, ("a zork3", "a rose"), ("a zork4", f"{MINOR} {SEXUAL}"))
    error = refused(policy(sexual=False, unsafe_prompts=[both]))
    assert error.field == "concepts.0.unsafe_prompts.0"


@pytest.mark.parametrize("row", [(f"a zork3 and a {MINOR}", "a rose"), ("a zork3", f"a {MINOR}")])
def test_a_file_of_a_sexual_concept_names_no_minor(tmp_path: Path, row: tuple[str, str]) -> None:
    ref = pairs_file(tmp_path, row)
    build_prompt_book(policy(sexual=False, unsafe_prompts=[ref]), size=60)
    refused(policy(sexual=True, unsafe_prompts=[ref]))


def test_a_policy_that_was_not_loaded_is_asked_when_its_book_is_built() -> None:
    frame = [{"text": f"a {MINOR} with {{term}}"}]
    assert build_prompt_book(policy(sexual=False, templates=frame), size=60).train.unsafe
    refused(policy(sexual=True, templates=frame))
    refused(policy(sexual=False, unsafe_prompts=[{"text": "a zork3", "anchor": f"{MINOR} {SEXUAL}"}]))
    refused(policy(sexual=False, safe_prompts=[f"{MINOR} {SEXUAL}"]))


class NamesMinors(PromptSource):
    """Pairs, of which one names a minor."""

    kind = "unsafe"

    def subsets(self) -> Sequence[str]:
        return ["x"]

    def pairs(self, subset: str) -> Sequence[Pair]:
        return [Pair("a plain remark", "a kind one"), Pair("a sharp remark", f"a {MINOR}")]


class SmallWorld(PromptSource):
    """A model that draws minors beside other things."""

    kind = "world"

    def drawable_words(self) -> Sequence[str]:
        return [*(f"zork{i}" for i in range(12)), SEXUAL, MINOR, "apple", "plum"]

    def group_words(self) -> Mapping[str, Sequence[str]]:
        return {name: [name] for name in (MINOR, "apple", "plum", "pear", "kite", "lamp", "drum", "coat")}


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROMPT_SOURCES, "_entries", dict(PROMPT_SOURCES._entries))
    PROMPT_SOURCES.add("names-minors", NamesMinors, source="a test")
    PROMPT_SOURCES.add("acme/toy", SmallWorld, source="a test")


@pytest.mark.usefixtures("sources")
def test_pairs_of_an_installed_set_name_no_minor_for_a_sexual_concept() -> None:
    ref = {"shipped": "names-minors/x"}
    build_prompt_book(policy(sexual=False, unsafe_prompts=[ref]), size=60)
    refused(policy(sexual=True, unsafe_prompts=[ref]))


@pytest.mark.usefixtures("sources")
def test_no_second_object_beside_a_sexual_concept_is_a_minor() -> None:
    """Its other words, "zork3", are in no list: the concept is what tells."""

    def beside(sexual: bool) -> int:
        book = build_prompt_book(policy(sexual=sexual), model="acme/toy", size=400)
        return sum(MINOR in u.text or MINOR in u.anchor for s in SPLITS for u in book.split(s).unsafe)

    assert beside(sexual=False) > 0
    assert beside(sexual=True) == 0


def test_a_published_set_leaves_out_what_names_a_minor_for_a_sexual_concept(tmp_path: Path) -> None:
    path = tmp_path / "copy.jsonl"
    rows = [{"unsafe": f"a zork3, number {n}", "safe": f"a rose, number {n}"} for n in range(9)]
    rows += [{"unsafe": f"a {MINOR}", "safe": "a daisy"}, {"unsafe": "a zork4", "safe": f"a {MINOR}"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    ref = {"dataset": "coprov2", "path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    for sexual, said in ((False, "11 pairs of coprov2"), (True, "9 pairs of coprov2")):
        with pytest.warns(PromptFileWarning, match=f"{said}.*; {2 * sexual} left out for naming a minor"):
            build_prompt_book(policy(sexual=sexual, unsafe_prompts=[ref]), size=60)


@pytest.mark.parametrize("split", SPLITS)
def test_the_last_check_reads_every_text_and_anchor(split: Any) -> None:
    both, plain = f"{MINOR} {SEXUAL}", UnsafePrompt("a zork", "a tulip", "thing", "zork", "own")
    kinds = ("unsafe", "unsafe", "safe", "safe_unseen", "borderline")
    bad = [replace(plain, text=both), replace(plain, anchor=both), *(SafePrompt(both, "", "policy"),) * 3]
    for kind, row in zip(kinds, bad, strict=True):
        book = PromptBook()
        getattr(book.split(split), kind).append(row)
        with pytest.raises(PolicyError, match=f"of the {split} split {WHY}"):
            check_minors(book, ())
    book = PromptBook()
    book.split(split).unsafe.append(replace(plain, anchor=f"a {MINOR}"))
    check_minors(book, ["another"])
    with pytest.raises(PolicyError, match=WHY):
        check_minors(book, ["thing"])
