"""Prompt sources as plug-ins: what each kind gives reaches the book, and no model is named on the way."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import safetext_sdk
from safetext_sdk.errors import PolicyError
from safetext_sdk.policy import Policy
from safetext_sdk.prompts import Candidate, Pair, PromptBook, PromptSource, build_prompt_book
from safetext_sdk.prompts.sources import PROMPT_SOURCES, shipped_sets, world_of

Add = Callable[[str, type[PromptSource]], None]
THINGS = ("ball", "cup", "kite", "lamp", "pear", "drum", "coat", "bell", "fern", "sled", "vase", "yarn")


@pytest.fixture
def add() -> Iterator[Add]:
    names: list[str] = []

    def register(name: str, source: type[PromptSource]) -> None:
        PROMPT_SOURCES.add(name, source, source="a test")
        names.append(name)

    yield register
    for name in names:
        PROMPT_SOURCES._entries.pop(name)


class Things(PromptSource):
    """Safe captions of twelve things, each of which has a second name."""

    def candidates(self, seed: int) -> Sequence[Candidate]:
        scenes = [f"on shelf {n}" for n in range(20)]
        rows = [Candidate(f"a {t} {s}", "things", (t,)) for t in THINGS for s in scenes]
        return rows + [
            Candidate(f"the {t}oid {s}", "ballast", train_only=True) for t in THINGS for s in scenes
        ]

    def group_words(self) -> Mapping[str, Sequence[str]]:
        return {t: [t, f"{t}oid"] for t in THINGS}


class Insults(PromptSource):
    """Two sets of pairs."""

    kind = "unsafe"

    def subsets(self) -> Sequence[str]:
        return ["mild", "sharp"]

    def pairs(self, subset: str) -> Sequence[Pair]:
        return [Pair(f"a {subset} remark, number {n}", f"a kind remark, number {n}") for n in range(40)]


class SmallWorld(PromptSource):
    """A model that draws three weapons and two fruits."""

    kind = "world"

    def drawable_words(self) -> Sequence[str]:
        return ["zork0", "zork1", "zork2", "apple", "plum"]

    def group_words(self) -> Mapping[str, Sequence[str]]:
        return {"apple": ["apple"], "plum": ["plum"]}


def policy(**changes: object) -> Policy:
    concept = {"id": "thing", "terms": [f"zork{i}" for i in range(12)], "anchors": ["a tulip"]}
    concept.update({k: v for k, v in changes.items() if k in ("unsafe_prompts", "anchors")})
    data = {"version": 1, "name": "p", "concepts": [concept]}
    data.update({k: v for k, v in changes.items() if k in ("safe_prompts", "borderline_prompts")})
    return Policy.model_validate(data)


def synonyms(book: PromptBook) -> set[str]:
    return {u.synonym for split in (book.train, book.validation, book.test) for u in split.unsafe}


def trained(book: PromptBook) -> list[str]:
    return [p.text for p in book.train.prompts()]


def test_a_safe_source_is_held_out_under_all_its_words(add: Add) -> None:
    add("things", Things)
    book = build_prompt_book(policy(safe_prompts=[{"shipped": "things"}]), size=100)
    unseen = {p.group for p in book.test.safe_unseen} | {p.group for p in book.validation.safe_unseen}
    assert len(unseen) == 2
    ballast = [p.text for p in book.train.safe if p.source == "ballast"]
    assert {t for t in THINGS if any(f"{t}oid" in text for text in ballast)} == {*THINGS} - unseen
    assert not [text for text in trained(book) if any(t in text.split() for t in unseen)]


def test_an_unsafe_source_trains_and_is_refused_where_it_has_no_place(add: Add) -> None:
    add("insults", Insults)
    book = build_prompt_book(policy(unsafe_prompts=[{"shipped": "insults/mild", "limit": 7}]), size=100)
    rows = [u for u in book.train.unsafe if u.template == "statement"]
    assert len(rows) == 7
    assert all(u.text.startswith("a mild remark") and u.anchor.startswith("a kind") for u in rows)
    assert {"insults/mild", "insults/sharp", "everyday"} <= set(shipped_sets())
    for wrong in ("insults/none", "insults", "everyday"):
        with pytest.raises(PolicyError, match="no shipped set of unsafe prompts") as error:
            build_prompt_book(policy(unsafe_prompts=[{"shipped": wrong}]))
        assert "insults/sharp" in str(error.value.allowed)
    with pytest.raises(PolicyError, match="no shipped set of safe prompts"):
        build_prompt_book(policy(safe_prompts=[{"shipped": "insults/mild"}]))


def test_a_world_limits_what_is_measured_for_its_model_alone(add: Add) -> None:
    add("acme/toy", SmallWorld)
    assert world_of("acme/toy") is not None
    assert world_of("everyday") is None, "a source of another kind is no world"
    texts = ["an apple in a bag", "a plum and a spoon", "a house by the sea", "a lamp in a hall"]
    whole = policy(safe_prompts=texts)
    toy, real = build_prompt_book(whole, model="acme/toy", size=60), build_prompt_book(whole, size=60)
    assert synonyms(toy) == {"zork0", "zork1", "zork2"}
    assert synonyms(real) == {f"zork{i}" for i in range(12)}
    measured = {p.text for split in (toy.validation, toy.test) for p in split.safe}
    assert measured <= set(texts[:2])
    assert set(texts[2:]) <= {p.text for p in toy.train.safe}


def test_installed_sources_that_a_policy_does_not_name_change_nothing(add: Add) -> None:
    whole = policy(safe_prompts=[{"shipped": "everyday", "limit": 500}])
    before = build_prompt_book(whole, size=60)
    add("things", Things)
    add("acme/toy", SmallWorld)
    assert build_prompt_book(whole, size=60) == before


def test_what_somebody_wrote_goes_where_its_words_are() -> None:
    words = [f"a toy zork{i} in a shop" for i in range(12)]
    book = build_prompt_book(policy(borderline_prompts=words, safe_prompts=["nothing special"]), size=200)
    where = {
        u.synonym: name
        for name in ("train", "validation", "test")
        for u in book.split(name).unsafe  # type: ignore[arg-type]
    }
    for name in ("train", "validation", "test"):
        for p in book.split(name).borderline:  # type: ignore[arg-type]
            word = p.text.split()[2].rstrip(",")
            assert where[word] in (name, "train")
    held = {w for w, name in where.items() if name != "train"}
    assert held
    assert not [t for t in trained(book) if held & set(t.replace(",", " ").split())]


def test_own_prompts_never_bring_what_is_held_out_into_training() -> None:
    own = [
        f"somebody with a zork{i} and a {noun}" for i in range(12) for noun in ("cat", "dog", "lamp", "car")
    ]
    safe = [{"shipped": "everyday", "limit": 6000}]
    for train_only in (False, True):
        refs = [{"text": text, "train_only": train_only} for text in own]
        book = build_prompt_book(policy(unsafe_prompts=refs, safe_prompts=safe), size=300)
        held = {u.synonym for u in book.test.unsafe} | {u.synonym for u in book.validation.unsafe}
        held -= {u.synonym for u in book.train.unsafe}
        rows = [u.text for u in book.train.unsafe if u.template == "own"]
        assert rows
        assert not [t for t in rows if held & set(t.split())]
        measured = [u for u in (*book.validation.unsafe, *book.test.unsafe) if u.template == "own"]
        assert bool(measured) is not train_only


def test_policy_and_prompts_name_no_model_and_import_nothing_above_them() -> None:
    root = Path(str(safetext_sdk.__file__)).parent
    allowed = {"errors", "registry", "files", "hub", "policy", "prompts", "lazy", "versions"}
    for room in ("policy", "prompts"):
        for file in sorted((root / room).rglob("*.py")):
            depth = len(file.relative_to(root).parts)
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level == depth:
                    assert str(node.module).split(".")[0] in allowed, f"{file.name} imports {node.module}"
                    assert room == "prompts" or not str(node.module).startswith("prompts"), file.name
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert node.value != "tiny", f"{file.name} names a model"
                    assert "safetext_sdk." not in node.value, f"{file.name} names a room by string"


class Forbidden(PromptSource):
    """What no source may bring."""

    kind = "unsafe"

    def subsets(self) -> Sequence[str]:
        return ["x"]

    def pairs(self, subset: str) -> Sequence[Pair]:
        return [Pair("fine", "fine"), Pair("nsfw: minors", "fine")]


class ForbiddenSafe(PromptSource):
    """The same as a safe prompt."""

    def candidates(self, seed: int) -> Sequence[Candidate]:
        return [Candidate("nsfw: minors", "x")]


def test_a_source_or_file_that_combines_sexual_content_with_minors_is_refused(
    add: Add, tmp_path: Path
) -> None:
    add("forbidden", Forbidden)
    add("forbidden-safe", ForbiddenSafe)
    file = tmp_path / "more.txt"
    file.write_text("nsfw: minors\n", encoding="utf-8")
    for changes in (
        {"unsafe_prompts": [{"shipped": "forbidden/x"}]},
        {"unsafe_prompts": [{"path": str(file)}]},
        {"safe_prompts": [{"shipped": "forbidden-safe"}]},
        {"borderline_prompts": [{"path": str(file)}]},
    ):
        with pytest.raises(PolicyError, match="combines sexual content with minors"):
            build_prompt_book(policy(**changes))


def test_an_unsafe_prompt_without_anything_to_redirect_it_to_is_refused(tmp_path: Path) -> None:
    gaps = tmp_path / "gaps.csv"
    gaps.write_text("prompt,safe\na zork on a chair,a tulip on a chair\na zork on a bed,\n")
    file = [{"path": str(gaps), "anchor_column": "safe"}]

    def book(**more: object) -> PromptBook:
        concept = {"id": "thing", "unsafe_prompts": file, **more}
        whole = Policy.model_validate({"version": 1, "name": "p", "concepts": [concept]})
        return build_prompt_book(whole, size=20, languages=("zh",))

    with pytest.raises(PolicyError, match="'a zork on a bed' has no anchor, and neither has the concept"):
        book()
    anchored = policy(anchors=["a rose"], unsafe_prompts=file)
    whole = build_prompt_book(anchored, size=20)
    rows = [u for split in (whole.train, whole.validation, whole.test) for u in split.unsafe]
    assert {"a zork on a chair": "a tulip on a chair", "a zork on a bed": "a rose"}.items() <= {
        u.text: u.anchor for u in rows
    }.items()
    pair = [{"text": "a zork on a chair", "anchor": "a tulip on a chair"}]
    with pytest.raises(PolicyError, match="the concept 'thing' has no anchors"):
        book(unsafe_prompts=pair, translations={"zh": ["\u67aa"]})
