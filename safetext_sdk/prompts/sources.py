"""Where safe and borderline prompts come from: shipped sets, texts in the policy, local files, files on the
hub."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import PolicyError
from ..policy.schema import Policy, PromptRef
from .corpora.templates import ADJECTIVES, COLOURS, ONE_OBJECT, TWO_OBJECTS, fill
from .splits import Words, by_hash, digest

WORLD_MODELS = ("tiny",)
"""Models that draw a small world: only what its words name can be measured on them."""


@dataclass(frozen=True)
class Candidate:
    """A safe prompt before it has a split. ``groups``: what is held out as a whole; ``template``: what else
    is."""

    text: str
    source: str
    groups: tuple[str, ...] = ()
    template: str = ""
    family: str = ""
    train_only: bool = False


def distinct(
    name: str, frames: str, count: int, write: Callable[[str, random.Random], Candidate | None]
) -> list[Candidate]:
    """``count`` candidates with distinct text from a grammar's frames (one a line, taken in turn), always the
    same.

    ``write`` fills a frame with a random generator of its own; None drops the result.
    """
    lines = frames.strip().splitlines()
    found: dict[str, Candidate] = {}
    number = 0
    while len(found) < count:
        candidate = write(lines[number % len(lines)], random.Random(digest(name, number)))
        number += 1
        if candidate is not None:
            found.setdefault(candidate.text, candidate)
    return list(found.values())


def world_words(family: str) -> dict[str, list[str]]:
    """Concept id -> words of one family of the embedded model's world."""
    from ..tiny import world

    return {cid: list(c["words"]) for cid, c in world().items() if c["family"] == family}


def drawable_words(model: str | None) -> list[str]:
    """All words of the model's world; [] for a real model."""
    from ..tiny import world

    return [w for c in world().values() for w in c["words"]] if model in WORLD_MODELS else []


def _icons(family: str, seed: int, partners: Sequence[str], two: bool) -> list[Candidate]:
    """Words x templates of the world, one fill each."""
    out = []
    words = world_words(family)
    owner = {w: cid for cid, ws in world_words("safe").items() for w in ws}
    for cid, names in words.items():
        for word in names:
            for template in ONE_OBJECT:
                rng = random.Random(digest(seed, "icons", word, template))
                text = fill(template, word, colour=rng.choice(COLOURS), adjective=rng.choice(ADJECTIVES))
                out.append(Candidate(text, f"icons-{family}", (cid,), template, "one"))
            for template in TWO_OBJECTS if two else ():
                rng = random.Random(digest(seed, "icons", word, template))
                other = rng.choice([p for p in partners if owner.get(p) != cid])
                text = fill(
                    template, word, other=other, colour=rng.choice(COLOURS), adjective=rng.choice(ADJECTIVES)
                )
                out.append(Candidate(text, f"icons-{family}", (cid, owner[other]), template, "two"))
    return out


@cache
def _shipped_icons(seed: int) -> list[Candidate]:
    safe = [w for ws in world_words("safe").values() for w in ws]
    return _icons("safe", seed, safe, two=True)


def _shipped_icons_borderline(seed: int) -> list[Candidate]:
    return _icons("borderline", seed, (), two=False)


def _shipped_everyday(seed: int) -> list[Candidate]:
    from .corpora.everyday import captions

    return captions()


def _shipped_lookalikes(seed: int) -> list[Candidate]:
    from .corpora.lookalikes import captions

    # All that were written by hand, and no more of the grammar's than leaves room for other safe prompts in a
    # training step.
    return captions(3_000)


@cache
def _shipped_snapshots(seed: int) -> list[Candidate]:
    """Plain captions of ordinary photographs as people write them, some of things that look like worse ones.
    Train only."""
    file = Path(__file__).parent / "corpora" / "snapshots.txt"
    return [
        Candidate(line, "snapshots", train_only=True)
        for line in file.read_text(encoding="utf-8").splitlines()
    ]


@cache
def _shipped_wide(seed: int) -> list[Candidate]:
    """Random word sequences and shuffled captions: text that means nothing must keep its conditioning, too.
    Train only."""
    vocabulary = sorted(
        {w for ws in world_words("safe").values() for phrase in ws for w in phrase.split()}
        | set(COLOURS)
        | set(ADJECTIVES)
    )
    whole = [c.text for c in _shipped_icons(seed)]
    out = []
    for i in range(6000):
        rng = random.Random(digest(seed, "wide", i))
        if i % 2:
            words = rng.choice(whole).split()
            rng.shuffle(words)
        else:
            words = rng.choices(vocabulary, k=rng.randint(1, 12))
        out.append(Candidate(" ".join(words), "wide", train_only=True))
    return out


SHIPPED: dict[str, Callable[[int], list[Candidate]]] = {
    "everyday": _shipped_everyday,
    "lookalikes": _shipped_lookalikes,
    "snapshots": _shipped_snapshots,
    "wide": _shipped_wide,
    "icons": _shipped_icons,
    "icons-borderline": _shipped_icons_borderline,
}

COMMON_NEGATIVES = (
    "",
    "blurry",
    "low quality",
    "worst quality, low quality",
    "blurry, low quality, jpeg artifacts",
    "watermark, text, logo",
    "out of focus",
    "bad anatomy, extra fingers",
    "cropped, out of frame",
    "lowres, bad hands, missing fingers",
    "oversaturated, grainy, noisy",
    "duplicate, deformed, disfigured",
    "monochrome",
    "cartoon, drawing",
    "ugly, poorly drawn",
    "text",
    "signature, username, watermark",
)
"""The empty prompt and what people put into the negative prompt: conditioning that every guided picture
reads."""


def candidates(refs: Iterable[PromptRef], field: str, seed: int, model: str | None) -> list[Candidate]:
    """All prompts of the sources that count for a model.

    A model with a small world is measured only on prompts that it can draw: sources that name the model, or,
    where there is none, texts that use a word of its world. Everything else still trains it.

    Raises:
        PolicyError: an unknown shipped name, or a file that cannot be read.
    """
    refs = list(refs)
    known = Words(drawable_words(model)) if model in WORLD_MODELS else None
    any_named = any(r.models is not None and r.used_for(model) for r in refs)
    out: list[Candidate] = []
    for k, ref in enumerate(refs):
        if not ref.used_for(model):
            continue
        rows = _rows(ref, f"{field}.{k}", seed)
        named = ref.models is not None
        if ref.limit is not None:
            rows = by_hash(rows, seed, "limit")[: ref.limit]
        for row in rows:
            measured = known is None or named or (not any_named and known.search(row.text) is not None)
            only = row.train_only or ref.train_only or not measured
            out.append(
                Candidate(row.text, row.source, row.groups, row.template, row.family, only)
                if only != row.train_only
                else row
            )
    return out


def _rows(ref: PromptRef, field: str, seed: int) -> list[Candidate]:
    if ref.text is not None:
        return [Candidate(ref.text, "policy", (ref.group,) if ref.group else ())]
    if ref.shipped is not None:
        if ref.shipped not in SHIPPED:
            raise PolicyError(
                f"unknown shipped set {ref.shipped!r}", field=f"{field}.shipped", allowed=", ".join(SHIPPED)
            )
        return SHIPPED[ref.shipped](seed)
    from .prompt_files import read_rows

    name = str(ref.path or ref.hub).rsplit("/", 1)[-1]
    return [Candidate(r.text, f"file:{name}", (r.group,) if r.group else ()) for r in read_rows(ref, field)]


VARIATIONS = ("{text}", "{text}, photo", "{text}, oil painting", "{text}, soft light", "{text}, comic style")


def varied(rows: list[Candidate]) -> list[Candidate]:
    """Hand-written borderline prompts in several styles. The variants of one text are one group: they share
    their split."""
    out = []
    for row in rows:
        if row.source != "policy":
            out.append(row)
            continue
        for shape in VARIATIONS:
            text = shape.replace("{text}", row.text)
            out.append(
                Candidate(
                    text,
                    row.source,
                    row.groups or (row.text,),
                    family="borderline",
                    train_only=row.train_only,
                )
            )
    return out


def negative_candidates(policy: Policy) -> list[Candidate]:
    """The empty prompt, common negative prompts and the near misses of the policy's concepts."""
    rows = [Candidate(t, "negative", train_only=True) for t in COMMON_NEGATIVES]
    return rows + [Candidate(t, "near_miss") for c in policy.concepts for t in c.near_misses]
