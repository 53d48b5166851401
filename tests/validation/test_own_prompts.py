"""The user's own prompts: every kind of file, other columns, one label for all, published sets; and one line
for whatever is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.dummy_words import MINOR, SEXUAL, add_dummy_words

from safetext_sdk.errors import PolicyError, PromptFileWarning, UsageError
from safetext_sdk.policy import Policy
from safetext_sdk.validation.own_prompts import OwnPrompt, PromptFile, load_prompts, refuse


def file(folder: Path, text: str, name: str = "own.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_and_labels(tmp_path: Path) -> None:
    path = file(tmp_path, "caption,kind,what\na gun,unsafe,weapon\nan apple,safe,\na gun,unsafe,weapon\n")
    named = PromptFile(path, {"prompt": "caption", "label": "kind", "concept": "what"})
    found = load_prompts(named)
    assert found.prompts == (OwnPrompt("a gun", "unsafe", "weapon"), OwnPrompt("an apple", "safe"))
    assert (found.entry.source, found.entry.read, found.entry.used) == ("own.csv", 3, 2)
    assert found.entry.line().startswith("own.csv: 2 of 3 prompts (sha256 ")


def test_one_label_for_prompts_that_have_none(tmp_path: Path) -> None:
    path = file(tmp_path, "a gun\n\na knife\n", "own.txt")
    with pytest.raises(PolicyError, match=r"own.txt:1: label: the prompt has no label \(allowed: unsafe"):
        load_prompts(path)
    found = load_prompts(PromptFile(path, label="unsafe"))
    assert [p.label for p in found.prompts] == ["unsafe", "unsafe"]
    mixed = file(tmp_path, "prompt,label\na gun,\nan apple,safe\n")
    labels = [p.label for p in load_prompts(PromptFile(mixed, label="unsafe")).prompts]
    assert labels == ["unsafe", "safe"]


def test_what_is_not_read_is_said_once(tmp_path: Path) -> None:
    path = file(tmp_path, "prompt,label,seed,note\na,safe,1,x\nb,safe,2,y\n")
    with pytest.warns(PromptFileWarning) as told:
        load_prompts(path)
    assert [str(w.message) for w in told] == [f"{path}: nothing is read from seed, note"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text,label\na,safe\n", r"no column 'prompt' \(allowed: label, text\)"),
        ("prompt,label\na,safe\n,safe\n", "own.csv:3: prompt: the prompt is missing or empty"),
        (f"prompt,label\n{'x' * 10_000},safe\n", "own.csv:2: prompt: the prompt has 10,000 characters"),
        ("prompt,label\na\0b,safe\n", r"own.csv:2: prompt: .*\(U\+0000\)"),
        ("prompt,label\na,wrong\n", "own.csv:2: label: unknown label 'wrong'"),
        ("prompt,label\n", "no prompts in this file"),
    ],
)
def test_one_line_with_the_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message) as caught:
        load_prompts(file(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_half_of_a_surrogate_pair(tmp_path: Path) -> None:
    path = file(tmp_path, json.dumps({"prompt": "a\ud83d", "label": "safe"}), "own.jsonl")
    with pytest.raises(PolicyError, match=r"own.jsonl:1: prompt: .*U\+D83D"):
        load_prompts(path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": "x.csv", "columns": {"text": "a"}}, "prompts have no 'text'"),
        ({"source": "x.csv", "label": "bad"}, "unknown label 'bad'"),
    ],
)
def test_wrong_calls(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PromptFile(**given)


def test_a_name_that_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'prompts' is neither a file nor a published set of prompts"):
        load_prompts("prompts")
    with pytest.raises(PolicyError, match=r"none\.csv: cannot be read"):
        load_prompts(tmp_path / "none.csv")
    with pytest.raises(PolicyError, match=r"none\.csv: cannot be read"):
        load_prompts("i2p=none.csv")


def test_a_published_set_from_a_local_copy(tmp_path: Path) -> None:
    text = "prompt,categories,sd_seed\na zork,violence,1\na nude teenager,sexual,2\n"
    path = file(tmp_path, text)
    found = load_prompts(f"i2p={path}")
    assert found.prompts == (OwnPrompt("a zork", "unsafe"),)
    entry = found.entry
    assert (entry.source, entry.place, entry.licence, entry.minors) == ("i2p", "own.csv", None, 1)
    assert entry.line() == "i2p: 1 of 2 prompts (licence not known); 1 left out for naming a minor"
    benign = file(tmp_path, "image_prompt,category\na zork,violence\n", "overt.csv")
    assert load_prompts(f"overt={benign}").prompts == (OwnPrompt("a zork", "borderline"),)


def test_a_file_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("i2p").mkdir()
    with pytest.raises(PolicyError, match="i2p: cannot be read: Is a directory"):
        load_prompts("i2p")


def test_an_unsafe_prompt_of_a_sexual_concept_names_no_minor(monkeypatch: pytest.MonkeyPatch) -> None:
    add_dummy_words(monkeypatch)
    concepts = [{"id": "a", "terms": ["zork"]}, {"id": "b", "terms": ["blarg", SEXUAL]}]
    policy = Policy.model_validate({"version": 1, "name": "p", "concepts": concepts})
    text = f"a {MINOR}"
    refuse([OwnPrompt(text, "unsafe", "a"), OwnPrompt(text, "safe", "b"), OwnPrompt(text, "unsafe")], policy)
    with pytest.raises(PolicyError, match="combines sexual content with minors"):
        refuse([OwnPrompt(text, "unsafe", "b")], policy)
