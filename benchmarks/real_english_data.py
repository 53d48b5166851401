"""Prompt sets of `real_english.py`: who is trained on, who is tuned on, who is looked at once. Data are read,
counted and never printed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetext_sdk.policy.minors import combines
from safetext_sdk.prompts.corpora.everyday import captions
from safetext_sdk.prompts.splits import by_hash, digest

FILES = {
    "pairs": "coprov2_pairs.jsonl",
    "unpaired": "coprov2_unsafe_validation.jsonl",
    "i2p": "i2p.jsonl",
    "overt": "overt_mini_benign.jsonl",
    "coco_train": "coco_captions_train.jsonl",
    "coco": "coco_captions_validation.jsonl",
    "parti": "partiprompts.jsonl",
    "drawbench": "drawbench.jsonl",
}


@dataclass(frozen=True)
class Row:
    """One prompt. ``anchor``: the safe side of a pair. ``category``: one label a set reports by; I2P has
    several, joined with a plus."""

    text: str
    anchor: str = ""
    category: str = ""


@dataclass
class Sets:
    """All prompts of the benchmark. ``tune``: looked at while settings are chosen. ``final``: looked at
    once."""

    train: list[Row] = field(default_factory=list)
    safe_train: list[str] = field(default_factory=list)
    tune: dict[str, list[Row]] = field(default_factory=dict)
    final: dict[str, list[Row]] = field(default_factory=dict)
    bank: list[str] = field(default_factory=list)
    left_out: int = 0

    def counts(self) -> dict[str, Any]:
        """Sizes, for the record."""
        return {
            "train pairs": len(self.train),
            "safe training captions": len(self.safe_train),
            "bank": len(self.bank),
            "left out": self.left_out,
            **{f"tune {k}": len(v) for k, v in self.tune.items()},
            **{f"final {k}": len(v) for k, v in self.final.items()},
        }


def load(folder: Path, limit: int | None = None, quick: bool = False) -> Sets:
    """Read and split.

    Pairs: by a hash of the unsafe side 80 % train, 10 % validation, 10 % test; a training pair that shares
    either side with a held-out one is dropped. ``limit``: at most so many prompts of each set that is
    measured (chosen by hash).
    ``quick``: a small bank.
    """
    rows = {name: _read(folder / file) for name, file in FILES.items()}
    out = Sets()
    parts: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    for r in rows["pairs"]:
        row = Row(r["unsafe"], r["safe"], r["category"])
        if combines(row.text) or combines(row.anchor) or row.text.casefold() == row.anchor.casefold():
            out.left_out += 1
            continue
        share = digest("pairs", row.text.casefold()) % 10
        parts["validation" if share == 0 else "test" if share == 1 else "train"].append(row)
    held = {t.casefold() for name in ("validation", "test") for r in parts[name] for t in (r.text, r.anchor)}
    in_validation = {t.casefold() for r in parts["validation"] for t in (r.text, r.anchor)}
    out.train = [r for r in parts["train"] if not {r.text.casefold(), r.anchor.casefold()} & held]
    test = [r for r in parts["test"] if not {r.text.casefold(), r.anchor.casefold()} & in_validation]
    # The unpaired file of the same collection: sentences that stand in training or test pairs count for
    # nothing here.
    known = {t.casefold() for r in (*out.train, *test) for t in (r.text, r.anchor)}
    unpaired = [
        Row(r["prompt"], "", r["category"]) for r in rows["unpaired"] if r["prompt"].casefold() not in known
    ]
    overt = [Row(r["prompt"], "", r["category"]) for r in rows["overt"]]
    i2p = [Row(r["prompt"], "", "+".join(r["categories"])) for r in rows["i2p"] if not combines(r["prompt"])]
    out.safe_train = [r["prompt"] for r in rows["coco_train"]]

    def some(items: list[Row], count: int | None = None) -> list[Row]:
        unique = list({r.text: r for r in items}.values())
        count = min(c for c in (count, limit, len(unique)) if c is not None)
        return sorted(unique, key=lambda r: digest("some", r.text))[:count]

    out.tune = {
        "pairs": some(parts["validation"]),
        "unpaired": some(unpaired, 1000),
        "COCO": some([Row(r["prompt"]) for r in rows["coco"]]),
        "OVERT": some([r for r in overt if even(r.text)]),
    }
    out.final = {
        "pairs": some(test),
        "I2P": some(i2p),
        "Parti": some([Row(r["prompt"], "", r["category"]) for r in rows["parti"]]),
        "DrawBench": some([Row(r["prompt"]) for r in rows["drawbench"]]),
        "OVERT": some([r for r in overt if not even(r.text)]),
    }
    out.bank = bank(out, 100 if quick else 1000)
    return out


def even(text: str) -> bool:
    """Which half of a set a text belongs to: by the last bit of its SHA-256."""
    return hashlib.sha256(text.encode()).digest()[-1] % 2 == 0


def bank(sets: Sets, each: int) -> list[str]:
    """A fixed bank of safe prompts for sets without pairs: shipped captions, training captions of COCO, safe
    sides of training pairs."""
    sources = ([c.text for c in captions()], sets.safe_train, [r.anchor for r in sets.train])
    return list(dict.fromkeys(t for source in sources for t in by_hash(source, "bank")[:each]))


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise SystemExit(
            f"there is no {path}; --data names the folder that holds {', '.join(FILES.values())}"
        )
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
