"""The prompt book of a policy: what is trained on, what settings are chosen on, and what the verdict is
    about.

Disjoint by construction, and not only as rows: the test split has words, templates and safe concepts that
    training never saw.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import PolicyError
from ..policy.minors import WHY, combines
from ..policy.schema import Concept, Policy
from .corpora.scenes import FILLS, OBJECT_SCENES, STATE_SCENES
from .corpora.statements import statements
from .corpora.templates import ONE_OBJECT, TWO_OBJECTS
from .expand import Expander, UnsafePrompt, anchor_for
from .prompt_files import read_rows
from .sources import Candidate, candidates, drawable_words, negative_candidates, varied, world_words
from .splits import (
    BORDERLINE_SHARES,
    SHARES,
    SPLITS,
    SplitName,
    Words,
    assign,
    by_hash,
    digest,
    split_one,
    tokens_of,
)

DEFAULT_SIZE = 4000
WRITTEN = ("lookalikes", "snapshots")
"""Shipped sets for training that teach what ballast (random words) cannot: taken whole, and they may name an
unsafe word."""
_UNSEEN_SHARES = {"test": 0.12, "validation": 0.06}


@dataclass(frozen=True)
class SafePrompt:
    """A prompt that must keep its picture. ``group``: the safe concept it belongs to ("" = none), held out as
    a whole."""

    text: str
    group: str
    source: str


@dataclass
class Split:
    """One split. ``safe_unseen``: safe prompts of concepts that training never saw (empty in train)."""

    unsafe: list[UnsafePrompt] = field(default_factory=list)
    safe: list[SafePrompt] = field(default_factory=list)
    safe_unseen: list[SafePrompt] = field(default_factory=list)
    borderline: list[SafePrompt] = field(default_factory=list)


@dataclass
class PromptBook:
    """The three splits of a policy. No string stands in two of them."""

    train: Split
    validation: Split
    test: Split

    def split(self, name: SplitName) -> Split:
        """The split of that name."""
        split: Split = getattr(self, name)
        return split

    def counts(self) -> dict[str, dict[str, int]]:
        """Figures of each split: prompts, and how many distinct words and templates the unsafe ones use."""
        return {
            name: {
                "unsafe": len(s.unsafe),
                "synonyms": len({(u.concept, u.synonym) for u in s.unsafe if u.template != "statement"}),
                "templates": len({u.template for u in s.unsafe}),
                "safe": len(s.safe),
                "safe_unseen": len(s.safe_unseen),
                "borderline": len(s.borderline),
            }
            for name in SPLITS
            for s in [self.split(name)]
        }


def build_prompt_book(
    policy: Policy, *, seed: int = 0, model: str | None = None, size: int | None = None
) -> PromptBook:
    """Expand a policy into its prompts. The same arguments give the same book everywhere.

    Args:
        policy: a resolved policy (`load_policy`).
        seed: another seed holds out other words, templates and concepts.
        model: model id; chooses sources that are limited to models. "tiny" gets captions that its world can
            show.
        size: unsafe prompts for training (default 4,000; fewer where the policy cannot give as many), at most
            two thirds of them shipped statements. Safe prompts are twice as many; validation has a tenth,
            test a fifth, at least 300.

    Raises:
        PolicyError: a source cannot be read, or the policy yields no unsafe prompt or has no anchor.
    """
    if size is not None and size < 1:
        raise PolicyError(f"size is {size}", allowed="at least 1")
    total = size or DEFAULT_SIZE
    policy = anchored_for(policy, model)
    for i, concept in enumerate(policy.concepts):
        if concept.words and not concept.anchors:
            raise PolicyError(
                f"the concept {concept.id!r} has no anchors: nothing safe to redirect to",
                field=f"concepts.{i}.anchors",
            )
    sizes: dict[SplitName, int] = {
        "train": total,
        "validation": max(100, total // 10),
        "test": max(300, total // 5),
    }
    drawable = drawable_words(model)
    safe = candidates(policy.safe_prompts, "safe_prompts", seed, model) + _near(policy, bool(drawable))
    borderline = varied(candidates(policy.borderline_prompts, "borderline_prompts", seed, model))
    unseen = _unseen_groups(safe, policy, seed, bool(drawable))
    named = _named_by_anchors(policy)
    others = (
        [w for cid, words in world_words("safe").items() if cid not in {*unseen, *named} for w in words]
        if drawable
        else []
    )
    expander = Expander(policy, seed, others=others, drawable=drawable)

    used: set[str] = set()
    fixed = {c.text.casefold() for c in borderline}
    book = PromptBook(Split(), Split(), Split())
    named_words = _Named(expander.split_of)
    own = _own_prompts(policy, expander, seed, model)
    own["train"] += _statements(
        policy, seed, model, named_words, Words(_named_groups(unseen)), 2 * total // 3
    )
    for name in reversed(SPLITS):  # test first: what is measured never gives way to what is trained on
        rows = []
        for row in own[name]:
            if row.text.casefold() not in used:
                used.add(row.text.casefold())
                rows.append(row)
        reserved = used | fixed
        new = expander.rows(name, max(0, sizes[name] - len(rows)), reserved)
        used.update(r.text.casefold() for r in new)
        book.split(name).unsafe = rows + new
    if not book.train.unsafe:
        raise PolicyError(
            "the policy yields no unsafe prompts", field="concepts", allowed="terms, or unsafe_prompts"
        )

    templates = _template_splits(seed)
    _place(borderline, book, used, templates, {}, sizes, seed, lambda s: s.borderline, named_words)
    anchors = {u.anchor.casefold() for u in book.train.unsafe}
    _place(safe, book, used, templates, unseen, sizes, seed, lambda s: s.safe, named_words, taken=anchors)
    _add_anchors(book, used, total)
    _forget_unseen(book, unseen)
    return book


def anchored_for(policy: Policy, model: str | None) -> Policy:
    """The policy with the anchors that are meant for ``model`` in the place of the general ones."""
    if model is None or not any(model in c.anchors_for for c in policy.concepts):
        return policy
    concepts = [
        c.model_copy(update={"anchors": c.anchors_for.get(model, c.anchors)}) for c in policy.concepts
    ]
    return policy.model_copy(update={"concepts": concepts})


class _Named:
    """Which split a text must go to because of the unsafe words that it names."""

    def __init__(self, split_of: dict[str, SplitName]) -> None:
        self._split_of, self._words = split_of, Words(split_of)

    def split(self, text: str) -> SplitName | None:
        """The latest split whose words the text names (test before validation before train), or None."""
        return _latest([self._split_of[w] for w in self._words.all(text)])


def _near(policy: Policy, world: bool) -> list[Candidate]:
    rows = negative_candidates(policy)
    return [Candidate(r.text, r.source, train_only=True) for r in rows] if world else rows


def _unseen_groups(rows: list[Candidate], policy: Policy, seed: int, drawable: bool) -> dict[str, SplitName]:
    """Safe concepts held out as a whole. What an anchor names is never held out: it is the thing that
    pictures turn into."""
    groups = sorted({g for r in rows if not r.train_only for g in r.groups})
    if len(groups) < 8:
        return {}
    protected = _named_by_anchors(policy, None if drawable else groups)
    free = [g for g in by_hash(groups, seed, "unseen") if g not in protected]
    out: dict[str, SplitName] = {}
    start = 0
    for name, share in (("test", _UNSEEN_SHARES["test"]), ("validation", _UNSEEN_SHARES["validation"])):
        count = max(1, round(share * len(groups)))
        out.update(dict.fromkeys(free[start : start + count], "test" if name == "test" else "validation"))
        start += count
    return out


def _named_by_anchors(policy: Policy, groups: list[str] | None = None) -> set[str]:
    """The safe concepts that an anchor (with ``groups`` given: or any part of an unsafe caption) names."""
    texts = [a for c in policy.concepts for a in c.anchors]
    if groups is not None:  # unsafe captions name people, places and second objects as well
        texts += [t for words in [*FILLS.values(), *policy.fills.values()] for t in words]
        texts += [f.context for f in OBJECT_SCENES + STATE_SCENES] + [
            t.text for c in policy.concepts for t in c.templates
        ]
    anchors = " | ".join(texts)
    world = world_words("safe")
    owner = {
        w: g
        for g in (groups if groups is not None else world)
        for w in [g.replace("_", " "), *world.get(g, [])]
    }
    return {owner[w] for w in Words(owner).all(anchors)}


def _template_splits(seed: int) -> dict[str, SplitName]:
    """Safe prompts of the world hold out the very templates that unsafe prompts hold out."""
    out: dict[str, SplitName] = {}
    for family, rows in (("one", ONE_OBJECT), ("two", TWO_OBJECTS)):
        out.update({f"{family}\x1f{t}": s for t, s in assign([rows], seed, "template", family).items()})
    return out


def _where(
    row: Candidate, templates: dict[str, SplitName], unseen: dict[str, SplitName], seed: int
) -> tuple[SplitName | None, bool]:
    """Split of a candidate, and whether it belongs to a concept that training never sees."""
    held = {unseen[g] for g in row.groups if g in unseen}
    if row.train_only:
        return (None if held else "train"), False
    if held:
        return (held.pop(), True) if len(held) == 1 else (None, False)
    if row.template:
        key = f"{row.family}\x1f{row.template}"
        return (templates[key] if key in templates else split_one(seed, "frame", row.template)), False
    shares = BORDERLINE_SHARES if row.family == "borderline" else SHARES
    return split_one(seed, "text", row.groups[0] if row.groups else row.text.casefold(), shares=shares), False


def _place(
    rows: list[Candidate],
    book: PromptBook,
    used: set[str],
    templates: dict[str, SplitName],
    unseen: dict[str, SplitName],
    sizes: dict[SplitName, int],
    seed: int,
    target: Callable[[Split], list[SafePrompt]],
    unsafe_words: _Named,
    taken: set[str] | None = None,
) -> None:
    """Give candidates their splits: test first, no string twice.

    A grammar's text that names an unsafe word is left out. A text that somebody wrote may name one ("a toy
    sword"): it goes where that word is, so that training never reads a held-out word.
    """
    buckets: dict[tuple[SplitName, bool], list[tuple[Candidate, str]]] = {}
    for row in sorted(rows, key=lambda r: (digest(seed, "place", r.text), r.text)):
        where, is_unseen = _where(row, templates, unseen, seed)
        explicit = row.source in ("policy", "near_miss", *WRITTEN) or row.source.startswith("file:")
        of_word = unsafe_words.split(row.text)
        if explicit and of_word not in (None, "train"):
            where = None if row.train_only else of_word
        elif of_word is not None and not explicit and row.source != "icons-borderline":
            continue
        if where is None:
            continue
        group = next((g for g in row.groups if g in unseen), row.groups[0] if row.groups else "")
        buckets.setdefault((where, is_unseen), []).append((row, group))
    for name in reversed(SPLITS):
        for is_unseen in (False, True):
            limits: dict[str, int] = {}
            for row, group in buckets.get((name, is_unseen), []):
                key = row.text.casefold()
                # What is only ballast does not drown the rest.
                cap = sizes[name] // 2 if row.train_only and row.source not in WRITTEN else 2 * sizes[name]
                if (
                    key in used
                    or (name != "train" and taken and key in taken)
                    or limits.get(row.source, 0) >= max(cap, 20)
                ):
                    continue
                used.add(key)
                limits[row.source] = limits.get(row.source, 0) + 1
                where_to = book.split(name).safe_unseen if is_unseen else target(book.split(name))
                where_to.append(
                    SafePrompt(" ".join(row.text.split()), group, row.source)
                )  # a grammar's long lines leave gaps


def _add_anchors(book: PromptBook, used: set[str], limit: int) -> None:
    """Anchors are safe prompts of training: what unsafe prompts turn into must itself stay where it is."""
    for anchor in by_hash((u.anchor for u in book.train.unsafe), "anchors"):
        if limit and anchor.casefold() not in used:
            used.add(anchor.casefold())
            book.train.safe.append(SafePrompt(anchor, "", "anchor"))
            limit -= 1


def _named_groups(unseen: dict[str, SplitName]) -> list[str]:
    """All words that name a held-out safe concept."""
    world = world_words("safe")
    return [w for g in unseen for w in [g, *world.get(g, [])]]


def _forget_unseen(book: PromptBook, unseen: dict[str, SplitName]) -> None:
    """Take every training text out that names a held-out safe concept, whatever source it came from."""
    words = Words(_named_groups(unseen))
    book.train.safe = [p for p in book.train.safe if not words.search(p.text)]
    book.train.borderline = [p for p in book.train.borderline if not words.search(p.text)]


def _own_prompts(
    policy: Policy, expander: Expander, seed: int, model: str | None
) -> dict[SplitName, list[UnsafePrompt]]:
    """The policy's own unsafe prompts: with the split of the word they use, else by hash of their group or
    text."""
    out: dict[SplitName, list[UnsafePrompt]] = {s: [] for s in SPLITS}
    for i, concept in enumerate(policy.concepts):
        words = Words(w.text for g in expander.groups[concept.id] for w in g)
        for k, ref in enumerate(concept.unsafe_prompts):
            if ref.shipped or not ref.used_for(model):
                continue
            field = f"concepts.{i}.unsafe_prompts.{k}"
            rows = (
                [(ref.text, ref.anchor, ref.group)]
                if ref.text
                else [(r.text, r.anchor, r.group) for r in read_rows(ref, field)]
            )
            if ref.limit:
                rows = by_hash(rows, seed, "limit")[: ref.limit]
            for text, anchor, group in rows:
                if combines(text):
                    raise PolicyError(f"a prompt {WHY}", file=ref.path, field=field)
                found = words.all(text)
                split = _latest([expander.split_of[w] for w in found]) or split_one(
                    seed, "own", group or text.casefold()
                )
                split = "train" if ref.train_only else split
                word = max(found, key=len) if found else text
                out[split].append(
                    UnsafePrompt(text, anchor or _anchor_of(concept, text, word), concept.id, word, "own")
                )
    return out


def _statements(
    policy: Policy, seed: int, model: str | None, named: _Named, unseen: Words, most: int
) -> list[UnsafePrompt]:
    """The shipped pairs that the policy takes, for training; those that name a held-out word, unsafe or safe,
    are left out."""
    ranked: list[tuple[int, UnsafePrompt]] = []
    for i, concept in enumerate(policy.concepts):
        for k, ref in enumerate(concept.unsafe_prompts):
            if ref.shipped and ref.used_for(model):
                pairs = [
                    UnsafePrompt(row.text, row.anchor, concept.id, row.text, "statement")
                    for row in statements(ref.shipped, f"concepts.{i}.unsafe_prompts.{k}")
                    if named.split(row.text) in (None, "train")
                    and not unseen.search(f"{row.text} | {row.anchor}")
                ]
                ranked += enumerate(by_hash(pairs, seed, "limit")[: ref.limit])
    # The first of every concept, the second of every concept, ...: a concept with many pairs does not crowd
    # out the others.
    return [pair for _, pair in sorted(ranked, key=lambda row: row[0])][:most]


def _latest(splits: list[SplitName]) -> SplitName | None:
    return max(splits, key=SPLITS.index, default=None)


def _anchor_of(concept: Concept, text: str, word: str) -> str:
    """Anchor of a prompt that has none of its own: the word replaced if it is there, else the anchor as it
    stands."""
    anchor = anchor_for(concept, word)
    if "{context}" in anchor:
        return anchor.replace("{context}", "a plain background")
    tokens = tokens_of(word)
    if word == text or not tokens:
        return anchor
    phrase = r"\W+".join(map(re.escape, tokens))
    pattern = re.compile(rf"(?<!\w){phrase}(?:s|es)?(?!\w)", re.IGNORECASE)
    bare = re.sub(r"^(?:an?|the) ", "", anchor)
    return pattern.sub(lambda _: bare, text, count=1)


def book_digest(book: PromptBook) -> str:
    """A fingerprint of all strings in their places: equal books, equal fingerprints."""
    rows = [
        (name, kind, p.text, getattr(p, "anchor", ""))
        for name in SPLITS
        for kind in ("unsafe", "safe", "safe_unseen", "borderline")
        for p in getattr(book.split(name), kind)
    ]
    return f"{digest(*rows):016x}"
