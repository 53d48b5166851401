"""First step of a prompt book: gather everything that could stand in it, before any choice.

Prompts come from shipped sets (the registry `PROMPT_SOURCES`), from texts in the policy, from local files and
from files on the hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import PolicyError, UsageError
from ..policy.minors import WHY, is_refused, is_sexual, refuse_minors
from ..policy.prompt_ref import PromptRef
from ..policy.schema import Policy
from ..registry import Registry
from .audience import Audience, anchored_for, read_in
from .candidate import Candidate, Pair, PromptSource
from .corpora.negative_prompts import COMMON_NEGATIVES
from .prompt_files import read_rows
from .splits import by_hash
from .variations import varied
from .words import WholeWords

PROMPT_SOURCES: Registry[type[PromptSource]] = Registry("shipped set of prompts", "safetext.prompt_sources")
PROMPT_SOURCES.add("everyday", f"{__package__}.corpora.everyday:Everyday", "captions of everyday scenes")
PROMPT_SOURCES.add(
    "everyday-languages",
    f"{__package__}.corpora.everyday_languages:EverydayLanguages",
    "captions of everyday scenes in seven languages, for encoders that read them; training",
)
PROMPT_SOURCES.add(
    "lookalikes", f"{__package__}.corpora.lookalikes:Lookalikes", "safe captions that look unsafe; training"
)
PROMPT_SOURCES.add(
    "snapshots", f"{__package__}.corpora.snapshots:Snapshots", "captions as people write them; training"
)
PROMPT_SOURCES.add(
    "statements", f"{__package__}.corpora.statements:Statements", "pairs of plain sentences; training"
)


@dataclass(frozen=True)
class OwnPrompt:
    """An unsafe prompt that the policy wrote or read from a file."""

    concept: str
    text: str
    anchor: str | None
    group: str | None
    train_only: bool


@dataclass(frozen=True)
class ShippedPairs:
    """Shipped pairs that a policy takes for a concept, at most ``limit`` of them."""

    concept: str
    pairs: tuple[Pair, ...]
    limit: int | None


@dataclass(frozen=True)
class Material:
    """All that a prompt book can be made from.

    Attributes:
        policy: with the anchors that are meant for the model.
        drawable: what the model can draw; () for a real model, which can draw everything.
        group_words: safe concept -> its words, from all sources that the book uses.
        safe, borderline: prompts that must keep their pictures.
        own, pairs: unsafe prompts that are not made from terms.
        sexual: ids of the concepts that are sexual: no prompt or anchor of theirs names a minor.
    """

    policy: Policy
    drawable: tuple[str, ...]
    group_words: Mapping[str, tuple[str, ...]]
    safe: tuple[Candidate, ...]
    borderline: tuple[Candidate, ...]
    own: tuple[OwnPrompt, ...]
    pairs: tuple[ShippedPairs, ...]
    sexual: frozenset[str]


def gather(policy: Policy, audience: Audience, seed: int) -> Material:
    """Everything that the policy names, for one model.

    Raises:
        PolicyError: a source is unknown or cannot be read, a concept with words, or with a prompt that
            brings no anchor, has none, or prompts combine sexual content with minors.
    """
    refuse_minors(policy)  # a policy that was not loaded from a file has not been asked yet
    sexual = frozenset(c.id for c in policy.concepts if is_sexual(c))
    model = audience.model
    policy = anchored_for(read_in(policy, audience.languages), model)
    for i, concept in enumerate(policy.concepts):
        if concept.all_words and not concept.anchors:
            raise PolicyError(
                f"the concept {concept.id!r} has no anchors: nothing safe to redirect to",
                field=f"concepts.{i}.anchors",
            )
    own = tuple(_own_prompts(policy, audience, seed, sexual))
    _refuse_without_anchor(policy, own)
    world = world_of(model)
    drawable = tuple(world.drawable_words()) if world else ()
    safe = _candidates(policy.safe_prompts, "safe_prompts", seed, audience, drawable)
    borderline = _candidates(policy.borderline_prompts, "borderline_prompts", seed, audience, drawable)
    return Material(
        policy,
        drawable,
        _group_words(policy, audience, world),
        (*safe, *_negative_candidates(), *_near_misses(policy, train_only=bool(drawable))),
        tuple(varied(borderline)),
        own,
        tuple(_shipped_pairs(policy, audience, sexual)),
        sexual,
    )


def world_of(model: str | None) -> PromptSource | None:
    """The source that says what a model with a small world can draw; None for a real model."""
    if model is None or model not in PROMPT_SOURCES.names():
        return None
    source = PROMPT_SOURCES.get(model)()
    return source if source.kind == "world" else None


def shipped_sets() -> list[str]:
    """Every name that ``shipped:`` takes, safe sets first."""
    return [*_names("safe"), *_names("unsafe")]


def _names(kind: str) -> list[str]:
    out: list[str] = []
    for entry in PROMPT_SOURCES.entries():
        try:
            source = PROMPT_SOURCES.get(entry.name)()
        except UsageError:  # a broken plug-in has warned already and is skipped
            continue
        if source.kind == kind:
            out += [f"{entry.name}/{s}" for s in source.subsets()] if kind == "unsafe" else [entry.name]
    return out


def _safe_source(name: str, field: str) -> PromptSource:
    if name in PROMPT_SOURCES.names():
        source = PROMPT_SOURCES.get(name)()
        if source.kind == "safe":
            return source
    raise PolicyError(
        f"no shipped set of safe prompts {name!r}", field=field, allowed=", ".join(_names("safe"))
    )


def _pairs(name: str, field: str, sexual: bool) -> tuple[Pair, ...]:
    head, _, subset = name.partition("/")
    if head in PROMPT_SOURCES.names():
        source = PROMPT_SOURCES.get(head)()
        if source.kind == "unsafe" and subset in source.subsets():
            pairs = tuple(source.pairs(subset))
            _refuse_minors((text for pair in pairs for text in pair), field, sexual=sexual)
            return pairs
    raise PolicyError(
        f"no shipped set of unsafe prompts {name!r}", field=field, allowed=", ".join(_names("unsafe"))
    )


def _group_words(
    policy: Policy, audience: Audience, world: PromptSource | None
) -> Mapping[str, tuple[str, ...]]:
    """From the model's world and the safe sets in use: a book depends on nothing else that is installed."""
    out: dict[str, tuple[str, ...]] = {}
    refs = [r for r in (*policy.safe_prompts, *policy.borderline_prompts) if r.shipped and audience.asks(r)]
    sources = [PROMPT_SOURCES.get(str(name))() for name in dict.fromkeys(r.shipped for r in refs)]
    for source in [world, *sources] if world else sources:
        for group, words in source.group_words().items():
            out[group] = tuple(dict.fromkeys((*out.get(group, ()), *words)))
    return out


def _candidates(
    refs: Iterable[PromptRef], field: str, seed: int, audience: Audience, drawable: tuple[str, ...]
) -> list[Candidate]:
    """All prompts of the references that count for a model.

    A model with a small world is measured only on prompts that it can draw: references that name the model,
    or, where there are none, texts that use a word of its world. Everything else still trains it.
    """
    refs = list(refs)
    known = WholeWords(drawable) if drawable else None
    any_named = any(r.models is not None and audience.asks(r) for r in refs)
    out: list[Candidate] = []
    for k, ref in enumerate(refs):
        if not audience.asks(ref):
            continue
        trains = ref.train_only or not _is_judged(ref, field)
        rows = [row for row in _rows(ref, f"{field}.{k}", seed) if audience.reads(row.language)]
        named = ref.models is not None
        if ref.limit is not None:
            rows = by_hash(rows, seed, "limit")[: ref.limit]
        if known is None and not trains:
            out += rows
            continue
        for row in rows:
            measured = known is None or named or (not any_named and known.search(row.text) is not None)
            only = row.train_only or trains or not measured
            out.append(row if only == row.train_only else row._replace(train_only=only))
    return out


def _is_judged(ref: PromptRef, field: str) -> bool:
    """Whether English judges can tell what a picture of these prompts should show."""
    return ref.language is None or (ref.english is not None and field == "borderline_prompts")


def _rows(ref: PromptRef, field: str, seed: int) -> Iterable[Candidate]:
    if ref.text is not None:
        written = _written(ref.text, "policy", ref.group)
        return [written._replace(language=ref.language or "en", english=ref.english or "")]
    if ref.shipped is not None:
        rows = _safe_source(ref.shipped, f"{field}.shipped").candidates(seed)
        if not PROMPT_SOURCES.is_built_in(ref.shipped):  # ours are fixed, and tests read all of them
            _refuse_minors((r.text for r in rows), field)
        return rows
    if ref.dataset is not None:
        raise PolicyError("a published set holds unsafe prompts", field=f"{field}.dataset")
    name = str(ref.path or ref.hub).rsplit("/", 1)[-1]
    texts = read_rows(ref, field)
    _refuse_minors((r.text for r in texts), field, ref.path)
    return [_written(r.text, f"file:{name}", r.group) for r in texts]


def _refuse_minors(
    texts: Iterable[str | None], field: str, file: str | None = None, *, sexual: bool = False
) -> None:
    """What comes from outside of the policy file is held to the rule that the file was loaded under."""
    if any(text and is_refused(text, sexual=sexual) for text in texts):
        raise PolicyError(f"a prompt {WHY}", file=file, field=field)


def _written(text: str, source: str, group: str | None = None, train_only: bool = False) -> Candidate:
    return Candidate(text, source, (group,) if group else (), train_only=train_only, on_unsafe_word="follow")


def _negative_candidates() -> list[Candidate]:
    """The empty prompt and what people put into the negative prompt: every guided picture reads one."""
    return [Candidate(t, "negative", train_only=True) for t in COMMON_NEGATIVES]


def _near_misses(policy: Policy, train_only: bool) -> list[Candidate]:
    texts = [t for c in policy.concepts for t in c.near_misses]
    return [_written(t, "near_miss", train_only=train_only) for t in texts]


def _own_prompts(policy: Policy, audience: Audience, seed: int, sexual: frozenset[str]) -> list[OwnPrompt]:
    out = []
    for i, concept in enumerate(policy.concepts):
        is_one = concept.id in sexual
        for k, ref in enumerate(concept.unsafe_prompts):
            if ref.shipped or not audience.asks(ref):
                continue
            field = f"concepts.{i}.unsafe_prompts.{k}"
            rows = (
                [(ref.text, ref.anchor, ref.group)]
                if ref.text
                else [(r.text, r.anchor, r.group) for r in read_rows(ref, field, sexual=is_one)]
            )
            if ref.limit:
                rows = by_hash(rows, seed, "limit")[: ref.limit]
            # Anchors too: they are what is trained towards, and safe prompts of training besides.
            both = (t for text, anchor, _ in rows for t in (text, anchor))
            _refuse_minors(both, field, ref.path, sexual=is_one)
            out += [
                OwnPrompt(concept.id, text, anchor, group, ref.train_only) for text, anchor, group in rows
            ]
    return out


def _refuse_without_anchor(policy: Policy, own: Iterable[OwnPrompt]) -> None:
    """A column of anchors may have gaps, which the anchors of the concept fill."""
    bare = {row.concept: row.text for row in own if row.anchor is None}
    for i, concept in enumerate(policy.concepts):
        if concept.id in bare and not concept.anchors:
            raise PolicyError(
                f"the unsafe prompt {bare[concept.id][:80]!r} has no anchor, and neither has the concept "
                f"{concept.id!r}: nothing safe to redirect it to",
                field=f"concepts.{i}.anchors",
                allowed="anchors, or an anchor of its own for every unsafe prompt",
            )


def _shipped_pairs(policy: Policy, audience: Audience, sexual: frozenset[str]) -> list[ShippedPairs]:
    return [
        ShippedPairs(c.id, _pairs(ref.shipped, f"concepts.{i}.unsafe_prompts.{k}", c.id in sexual), ref.limit)
        for i, c in enumerate(policy.concepts)
        for k, ref in enumerate(c.unsafe_prompts)
        if ref.shipped and audience.asks(ref)
    ]
