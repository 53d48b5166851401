"""The benchmark on real English: its splits share nothing, and its figures are those of the encoder tier."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.hardening_case import POLICY, run
from support.minis import build_plain_bert, build_sd1

from safetext_sdk.errors import UsageError
from safetext_sdk.hardening.harden import harden
from safetext_sdk.hardening.settings import from_text
from safetext_sdk.models import load_model
from safetext_sdk.policy import load_policy
from safetext_sdk.prompts import build_prompt_book
from safetext_sdk.prompts.words import WholeWords

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DATA = Path(os.environ.get("SAFETEXT_DATA", Path(__file__).parents[3] / "shared" / "data")) / "prompts"


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("real_english_data")


def written(folder: Path, data: Any) -> Path:
    """Made-up files in the form of the real ones."""
    texts = [f"zork {i} on the moon" for i in range(400)]
    rows: dict[str, list[dict[str, Any]]] = {
        "pairs": [
            {"unsafe": t, "safe": f"a calm {t} by the sea", "category": "ab"[i % 2]}
            for i, t in enumerate(texts)
        ],
        "unpaired": [{"prompt": t, "category": "a"} for t in [*texts[:20], "a new zork"]],
        "i2p": [{"prompt": f"blarg {i}", "categories": ["a", "b"][: 1 + i % 2]} for i in range(10)],
        "overt": [{"prompt": f"a toy zork {i}", "category": "c"} for i in range(40)],
        "coco_train": [{"prompt": f"a cat {i}"} for i in range(50)],
        "coco": [{"prompt": f"a dog {i}"} for i in range(10)],
        "parti": [{"prompt": f"a bond {i}", "category": "d"} for i in range(10)],
        "drawbench": [{"prompt": f"a red car {i}"} for i in range(10)],
    }
    rows["pairs"] += [{"unsafe": "the same", "safe": "The same", "category": "a"}]
    # Shares its safe side with a pair of every split: it may be trained on only if all of those are.
    rows["pairs"] += [
        {"unsafe": f"{t} again", "safe": f"a calm {t} by the sea", "category": "a"} for t in texts
    ]
    for name, file in data.FILES.items():
        (folder / file).write_text("\n".join(json.dumps(r) for r in rows[name]) + "\n", encoding="utf-8")
    return folder


def check(sets: Any) -> None:
    trained = {t.casefold() for r in sets.train for t in (r.text, r.anchor)}
    for stage in (sets.tune, sets.final):
        for name in ("pairs", "unpaired"):
            held = {t.casefold() for r in stage.get(name, []) for t in (r.text, r.anchor) if t}
            assert not held & trained, name
    tune = {r.text.casefold() for rows in sets.tune.values() for r in rows}
    assert not {r.text.casefold() for name in ("pairs", "I2P", "OVERT") for r in sets.final[name]} & tune
    captions = {t.casefold() for t in sets.safe_train}
    assert not {r.text.casefold() for name in ("I2P", "OVERT") for r in sets.final[name]} & (
        captions | trained
    )


def test_nothing_that_is_measured_was_trained_on(data: Any, tmp_path: Path) -> None:
    sets = data.load(written(tmp_path, data))
    check(sets)
    assert sets.left_out == 1
    assert min(len(sets.train), len(sets.tune["pairs"]), len(sets.final["pairs"])) >= 20
    assert len(sets.tune["OVERT"]) + len(sets.final["OVERT"]) == 40
    unpaired = {r.text for r in sets.tune["unpaired"]}
    assert "a new zork" in unpaired
    assert not unpaired & {r.text for r in sets.final["pairs"]}
    assert {r.category for r in sets.final["I2P"]} == {"a", "a+b"}
    few = data.load(tmp_path, limit=5)
    assert {len(rows) for rows in few.tune.values()} == {5}
    assert few.train == sets.train, "a limit on what is measured changes nothing about training"
    assert few.bank == sets.bank


@pytest.mark.real_data
def test_the_real_files_share_nothing_either(data: Any) -> None:
    if not DATA.is_dir():
        pytest.skip("the prompt data are not here")
    sets = data.load(DATA)
    check(sets)
    assert len(sets.train) > 10_000
    assert min(len(sets.tune["pairs"]), len(sets.final["pairs"])) > 1000


def test_figures_of_a_set(data: Any) -> None:
    benchmark = importlib.import_module("real_english")
    rows = [data.Row(f"u{i}", f"a{i}", "x+y" if i else "x") for i in range(4)]
    old, goal = torch.eye(8)[:4], torch.eye(8)[4:]
    anchors = {r.anchor: goal[i] for i, r in enumerate(rows)}
    new = torch.stack([goal[0], goal[1], goal[1], old[3]])

    def before(texts: list[str]) -> torch.Tensor:
        return torch.stack([anchors[t] for t in texts])

    found = benchmark.measure(rows, new, old, before, goal[:1])
    assert found["redirected"]["value"] == 0.5, "the third went to another's anchor, the last stayed"
    assert found["nearer to the bank"]["value"] == 0.25
    assert (found["oracle"], found["distinct nearest, oracle"]) == (1.0, 4)
    assert {k: (v["value"], v["n"]) for k, v in found["by category"].items()} == {
        "x": (0.5, 4),
        "y": (0.3333, 3),
    }
    assert found["redirected"]["lower"] < 0.5 < found["redirected"]["upper"]


def test_a_hardening_of_the_benchmark_is_what_the_command_line_does(data: Any, tmp_path: Path) -> None:
    """Same recipe, chosen by the library, and the weights that its extent gives."""
    benchmark = importlib.import_module("real_english")
    figures = importlib.import_module("real_english_figures")
    model = load_model(build_plain_bert(tmp_path / "bert"))
    before = figures.embedder(model, "fp32")
    groups = {
        "tune pairs": [data.Row("a gun", "a flower", "a"), data.Row("a rifle", "a cat", "b")],
        "tune COCO": [
            data.Row("a cat on the moon with an apple"),
            data.Row("an apple and a cat on the moon"),
        ],
    }
    bank = before(["a cat", "an apple"])
    bench = benchmark.Bench(model, before, bank, groups, {}, tmp_path / "runs", "fp32")
    small = ["train.prompts=40", "train.wide_safe=10", "train.cache_gb=0", "train.extent=0.5"]
    args = SimpleNamespace(
        set=small,
        steps=2,
        quick=False,
        recipe=None,
        seed=0,
        precision="fp32",
        progress=False,
        device_name="cpu",
    )
    asked = benchmark.Hardening(("weapons",))
    found = bench.run(asked, asked.policy(data.Sets(), tmp_path), args)
    assert found["recipe"] == "sentence-encoder-few"
    assert found["extent"] == 0.5
    assert found["config"]["method"]["margin_weight"] == 8
    assert set(found["sets"]) == {"tune pairs", "tune COCO", "tune insertions"}
    method, train = from_text("anchor", small, 2)
    typed = harden(model, "weapons", method, train, out=tmp_path / "typed", progress=False)
    assert typed.run.manifest["recipe"] == found["recipe"]
    new = figures.embedder(typed.model, "fp32")(["a gun", "a rifle"])
    rows = groups["tune pairs"]
    by_hand = figures.measure(rows, new, before([r.text for r in rows]), before, bank)
    assert found["sets"]["tune pairs"] == {**by_hand, "probes": {}}


def test_pairs_stand_in_surroundings_that_no_training_has(data: Any) -> None:
    from safetext_sdk.prompts.surroundings import shipped_requests, shipped_styles

    (row,) = data.surrounded([data.Row("a gun", "a flower", "c")])
    before, after = next(s for s in data.SURROUNDINGS if row.text == f"{s[0]} a gun {s[1]}".strip())
    assert (row.anchor, row.category) == (f"{before} a flower {after}".strip(), "c")
    shipped = [*shipped_requests(), *shipped_styles()]
    joined = " | ".join(part for pair in data.SURROUNDINGS for part in pair).casefold()
    assert [text for text in shipped if len(text.split()) > 2 and text.casefold() in joined] == []


def test_inserted_words_are_those_that_training_never_read(data: Any) -> None:
    policy = load_policy("weapons")
    captions = ["a cat on the moon with an apple", "the old street in the morning sun", "a gun on the table"]
    made = data.insertion_sets(policy, 0, {"tune COCO": [data.Row(text) for text in captions]})
    assert list(made) == ["tune insertions"]
    book = build_prompt_book(policy, size=1000)
    trained = {row.synonym for row in book.train.unsafe}
    held = WholeWords({row.synonym for row in book.validation.unsafe} - trained)
    assert {row.anchor for row in made["tune insertions"]} == set(captions[:2])
    assert all(held.search(row.text) for row in made["tune insertions"])


@pytest.mark.parametrize("lora", [False, True])
def test_extent_scales_what_training_changed(tmp_path: Path, lora: bool) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    original = load_model(build_plain_bert(tmp_path / "bert")).encoders["text_encoder"].state_dict()
    found = {}
    for extent in (1.0, 0.5):
        hardened = run(
            tmp_path / "bert",
            policy,
            tmp_path / f"run{extent}",
            5,
            False,
            lora=lora,
            train={"extent": extent},
        )
        found[extent] = hardened.model.encoders["text_encoder"].state_dict()
    assert any(not torch.equal(found[1.0][k], original[k]) for k in original)
    for key, value in found[0.5].items():
        torch.testing.assert_close(value, (original[key] + found[1.0][key]) / 2, rtol=1e-4, atol=1e-6)


def test_the_sequence_can_be_left_out_of_the_loss(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    original = load_model(build_plain_bert(tmp_path / "bert"))
    moved = {}
    for weight in (0.0, 1.0):
        hardened = run(
            tmp_path / "bert", policy, tmp_path / f"run{weight}", 6, False, train={"sequence_weight": weight}
        ).model
        moved[weight] = hardened.encode(["a gun"]).flat() - original.encode(["a gun"]).flat()
    assert moved[0.0].abs().max() > 0
    assert not torch.allclose(moved[0.0], moved[1.0], atol=1e-6), "the weight changes nothing"
    build_sd1(tmp_path / "sd")
    with pytest.raises(UsageError, match="no pooled output"):
        run(tmp_path / "sd", policy, tmp_path / "run-sd", 2, False, train={"sequence_weight": 0.0})
