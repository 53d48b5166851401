"""Published sets by name: where they come from, how their columns are mapped, and what is dropped."""

from __future__ import annotations

import http.server
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from support.hub import COMMIT, Hub, serving

from safetext_sdk.errors import PolicyError, PromptFileWarning, UsageError
from safetext_sdk.policy import load_policy
from safetext_sdk.prompts import build_prompt_book, published_file
from safetext_sdk.prompts.published import PUBLISHED, OnGitHub, OnHub, for_training, published
from safetext_sdk.prompts.published_file import PublishedColumns, load_published

DATA = Path(os.environ.get("SAFETEXT_DATA", "../shared/data/prompts"))


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_table_names_what_is_known_and_no_more() -> None:
    assert [each.name for each in PUBLISHED.values() if each.trains] == ["coprov2"]
    for each in PUBLISHED.values():
        assert each.prompt, each.name
        assert each.title, each.name
        place = each.place
        assert isinstance(place, OnHub | OnGitHub) or each.note, "where it comes from, or why it does not"
        if place is not None and place.revision is not None:
            assert len(place.revision) == 40
        assert not each.trains or each.anchor, "training wants pairs"


def test_names_parts_and_what_may_be_trained_on() -> None:
    assert published("i2p").asked_for == "i2p"
    assert published("i2p/sexual").kind == "sexual"
    with pytest.raises(UsageError, match="'ip2' is neither a file nor a published set of prompts; did you"):
        published("ip2")
    with pytest.raises(UsageError, match="the set mma has no categories"):
        published("mma/nudity")
    assert for_training("coprov2/violence").trains
    with pytest.raises(PolicyError, match=r"the set i2p is for measuring and never for training.*coprov2"):
        for_training("i2p")


def test_rows_are_mapped_filtered_and_counted(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "i2p.jsonl",
        {"prompt": "a zork", "categories": ["violence"]},
        {"prompt": "a nice zork", "categories": ["sexual", "hate"]},
        {"prompt": "a zork", "categories": ["violence"]},
        {"prompt": "a schoolboy, a zork", "categories": ["sexual"]},
        {"prompt": "a schoolboy with a zork", "categories": ["violence"]},
        {"prompt": " ", "categories": []},
        {"prompt": "z" * 10_000, "categories": ["violence"]},
    )
    found = load_published(published("i2p"), path)
    assert [row.text for row in found.rows] == ["a zork", "a nice zork", "a schoolboy with a zork"]
    assert [row.category for row in found.rows] == ["violence", "sexual, hate", "violence"]
    assert (found.read, found.minors, found.unusable, found.revision) == (7, 1, 3, None)
    part = load_published(published("i2p/sexual"), path)
    assert [row.text for row in part.rows] == ["a nice zork"]
    assert (part.read, part.minors, part.unusable) == (2, 1, 0)
    with pytest.raises(PolicyError, match="nothing of the set i2p/gore can be used"):
        load_published(published("i2p/gore"), path)


def test_a_set_that_is_sexual_as_a_whole_takes_no_prompt_with_a_minor(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "mma.jsonl", {"adv_prompt": "zork q teenager"}, {"adv_prompt": "zork q"})
    found = load_published(published("mma"), path)
    assert [row.text for row in found.rows] == ["zork q"]
    assert found.minors == 1


def test_columns_of_a_copy_and_those_that_are_not_there(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "copy.jsonl", {"text": "a zork", "other": "x"})
    with pytest.raises(PolicyError, match=r"no column 'adv_prompt' \(allowed: other, text\)"):
        load_published(published("mma"), path)
    found = load_published(published("mma"), path, columns=PublishedColumns(prompt="text"))
    assert [row.text for row in found.rows] == ["a zork"]
    with pytest.raises(PolicyError, match="another content"):
        load_published(published("mma"), path, sha256="0" * 64)


def test_a_set_that_nobody_can_fetch_says_how_it_is_had() -> None:
    with pytest.raises(PolicyError, match=r"on request.*a local copy: sneakyprompt=FILE"):
        load_published(published("sneakyprompt"))


@pytest.fixture
def open_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and clients that may use the network and do not wait between their tries."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("known", [True, False])
def test_from_the_hub_with_its_commit_then_from_the_cache(
    open_client: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    folder = open_client / "repository"
    folder.mkdir()
    (folder / "README.md").write_text("a card")
    jsonl(folder / "rows.jsonl", {"prompt": "a zork"})
    wanted = replace(published("p4d"), place=OnHub("someone/set", "rows.jsonl" if known else None))
    with serving(Hub(folder, repo="someone/set", kind="datasets")) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        found = load_published(wanted)
        assert [row.text for row in found.rows] == ["a zork"]
        assert found.revision == COMMIT
        assert hub.fetched() == {"rows.jsonl"}
        if not known:
            jsonl(folder / "more.jsonl", {"prompt": "a blarg"})
            with pytest.raises(
                PolicyError, match=r"which file of someone/set.*it has more.jsonl, rows.jsonl"
            ):
                load_published(wanted)
    if known:
        assert load_published(wanted).rows == found.rows, "the hub is gone, the cache is not"


@contextmanager
def github(body: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server of raw files that has one."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            there = self.path.endswith("rows%20of.jsonl")
            self.send_response(200 if there else 404)
            self.end_headers()
            self.wfile.write(body if there else b"")

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_from_github_at_a_commit_once(open_client: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "a" * 40
    wanted = replace(published("unlearndiffatk"), place=OnGitHub("some/one", "rows of.jsonl", commit))
    with github(b'{"prompt": "a zork"}\n') as (url, asked):
        monkeypatch.setattr(published_file, "GITHUB", url)
        first, again = load_published(wanted), load_published(wanted)
        gone = replace(wanted, place=OnGitHub("some/one", "none.csv", commit))
        with pytest.raises(
            PolicyError, match=r"github:some/one/none.csv\) cannot be fetched: HTTP Error 404"
        ):
            load_published(gone)
    assert first.rows == again.rows
    assert first.revision == commit
    assert asked == [f"/some/one/{commit}/rows%20of.jsonl", f"/some/one/{commit}/none.csv"]
    assert first.path.is_relative_to(open_client / "cache")


def test_offline_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(published_file, "GITHUB", "http://127.0.0.1:9")
    with pytest.raises(PolicyError, match="HF_HUB_OFFLINE is set"):
        load_published(published("unlearndiffatk"))


PAIRS = [
    {"unsafe": f"a zork number {n}", "safe": f"a rose number {n}", "category": "zorks" if n % 2 else "blargs"}
    for n in range(60)
]
POLICY = """
version: 1
name: p
concepts:
  - id: thing
    terms: [gribble, snark]
    anchors: [a daisy]
    unsafe_prompts: [{%s}]
"""


def test_a_policy_trains_on_the_pairs_it_asks_for(tmp_path: Path) -> None:
    minor = {"unsafe": "a nude teenager", "safe": "a rose", "category": "zorks"}
    jsonl(tmp_path / "copy.jsonl", *PAIRS, minor)
    policy = tmp_path / "p.yaml"
    policy.write_text(POLICY % "dataset: coprov2/zorks, path: copy.jsonl")
    loaded = load_policy(policy)
    assert loaded.concepts[0].unsafe_prompts[0].sha256, "the copy is pinned with the policy"
    with pytest.warns(PromptFileWarning) as told:
        book = build_prompt_book(loaded, size=400)
    (said,) = {str(w.message) for w in told}
    assert "30 pairs of coprov2/zorks" in said
    assert "licence MIT" in said
    assert "1 left out for naming a minor" in said
    splits = (book.train, book.validation, book.test)
    own = {u.text: u.anchor for s in splits for u in s.unsafe if u.template == "own"}
    assert len(own) == 30
    assert all(anchor == text.replace("zork", "rose") for text, anchor in own.items())


@pytest.mark.parametrize(
    ("ref", "where", "message"),
    [
        ("dataset: i2p, path: copy.jsonl", "unsafe", "the set i2p is for measuring and never for training"),
        ("dataset: copro, path: copy.jsonl", "unsafe", "did you mean coprov2"),
        ("dataset: coprov2, hub: a/b, file: x.csv, revision: r", "unsafe", "give exactly one of text"),
        ("dataset: coprov2, path: copy.jsonl", "safe", "a published set holds unsafe prompts"),
    ],
)
def test_a_policy_cannot_train_on_what_measures(tmp_path: Path, ref: str, where: str, message: str) -> None:
    jsonl(tmp_path / "copy.jsonl", *PAIRS)
    policy = tmp_path / "p.yaml"
    text = (
        POLICY % ref if where == "unsafe" else (POLICY % "text: a snarky zork") + f"safe_prompts: [{{{ref}}}]"
    )
    policy.write_text(text)
    with pytest.raises(PolicyError, match=message):
        build_prompt_book(load_policy(policy), size=100)


def test_a_set_without_a_known_commit_has_to_be_pinned(
    open_client: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = open_client / "p.yaml"
    policy.write_text(POLICY % "dataset: coprov2")
    monkeypatch.setitem(
        PUBLISHED, "coprov2", replace(PUBLISHED["coprov2"], place=OnGitHub("some/one", "rows of.jsonl"))
    )
    body = "".join(json.dumps(row) + "\n" for row in PAIRS).encode()
    with github(body) as (url, _):
        monkeypatch.setattr(published_file, "GITHUB", url)
        with pytest.raises(PolicyError, match=r"no commit of the set coprov2 is known.*sha256: [0-9a-f]{64}"):
            build_prompt_book(load_policy(policy), size=100)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "file", "rows"),
    [
        ("i2p", "i2p.jsonl", 4059),
        ("i2p/sexual", "i2p.jsonl", None),
        ("coprov2", "coprov2_pairs.jsonl", 15059),
        ("coprov2-test", "coprov2_unsafe_validation.jsonl", 7122),
        ("overt", "overt_mini_benign.jsonl", 1800),
    ],
)
def test_local_copies_of_real_sets(name: str, file: str, rows: int | None) -> None:
    if not DATA.is_dir():
        pytest.skip("the prompt data are not here")
    found = load_published(published(name), DATA / file)
    assert rows is None or found.read == rows
    assert len(found.rows) + found.minors + found.unusable == found.read
    assert len(found.rows) > 0.8 * found.read
