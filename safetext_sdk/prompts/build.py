"""The prompt book of a policy: what is trained on, what settings are chosen on, what the verdict is about.

One pass: gather all candidates (`sources`) -> assign splits (`assign`) -> expand the unsafe prompts
(`expand`) -> place the safe ones (`place`) -> check that nothing crosses (here). Disjoint by construction,
and not only as rows: the test split has words, templates and safe concepts that training never saw.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import replace

from ..errors import PolicyError
from ..policy.languages import Language
from ..policy.minors import WHY, is_refused
from ..policy.schema import Policy
from .assign import Assignment, assign_splits
from .audience import Audience
from .expand import UnsafeRows, expand_unsafe
from .place import Placer
from .prompt_book import KINDS, PromptBook, Split
from .sources import PROMPT_SOURCES, Material, gather
from .splits import SPLITS, SplitName

DEFAULT_SIZE = 4000
_KEPT = 2
"""Books that a process remembers: hardening, validation and attacks ask for the same one in turn."""
_recent: OrderedDict[tuple[str, str | None, int, int | None, frozenset[Language]], PromptBook] = OrderedDict()


def build_prompt_book(
    policy: Policy,
    *,
    seed: int = 0,
    model: str | None = None,
    size: int | None = None,
    languages: Collection[Language] = (),
) -> PromptBook:
    """Expand a policy into its prompts. The same arguments give the same book everywhere.

    Args:
        policy: a resolved policy (`load_policy`).
        seed: another seed holds out other words, templates and concepts.
        model: model id; chooses sources that are limited to models. A model whose small world is known (a
            prompt source has its id) is only measured on captions that it can draw.
        size: unsafe prompts for training (default 4,000; fewer where the policy cannot give as many), at most
            two thirds of them shipped statements. Safe prompts are twice as many; validation has a tenth,
            test a fifth, at least 300.
        languages: what the model's encoders read beside English (`TextToImageModel.languages`). Terms in
            Chinese and Japanese, and prompts that the policy marks with a language, are used for these alone;
            terms in Latin letters always are.

    Raises:
        PolicyError: a source cannot be read, or the policy yields no unsafe prompt or has no anchor.
    """
    if size is not None and size < 1:
        raise PolicyError(f"size is {size}", allowed="at least 1")
    if not _ships_whole(policy, model):
        return _build(policy, seed, model, size, frozenset(languages))
    key = (policy.model_dump_json(), model, seed, size, frozenset(languages))
    book = _recent.pop(key, None) or _build(policy, seed, model, size, frozenset(languages))
    _recent[key] = book
    while len(_recent) > _KEPT:
        _recent.popitem(last=False)
    return PromptBook(*(_copy(book.split(name)) for name in SPLITS))


def _ships_whole(policy: Policy, model: str | None) -> bool:
    """Whether the book comes from the policy and from what is shipped alone. Files and plug-ins may say
    something else the next time they are asked."""
    unsafe = [ref for concept in policy.concepts for ref in concept.unsafe_prompts]
    names = [
        ref.shipped for ref in (*policy.safe_prompts, *policy.borderline_prompts, *unsafe) if not ref.text
    ]
    sources = {str(name or "").partition("/")[0] for name in names}
    if model in PROMPT_SOURCES.names():
        sources.add(str(model))
    return all(name in PROMPT_SOURCES.names() and PROMPT_SOURCES.is_built_in(name) for name in sources)


def _copy(split: Split) -> Split:
    """Its own lists of the same prompts: what a caller does to one book, another does not see."""
    return replace(split, **{kind: list(getattr(split, kind)) for kind in KINDS})


def _build(
    policy: Policy, seed: int, model: str | None, size: int | None, languages: frozenset[Language]
) -> PromptBook:
    sizes = _sizes(size or DEFAULT_SIZE)
    material = gather(policy, Audience(model, languages), seed)
    assignment = assign_splits(material, seed)
    unsafe = expand_unsafe(material, assignment, sizes, seed)
    book = _assemble(material, assignment, unsafe, sizes, seed)
    check(book, assignment)
    check_minors(book, material.sexual)
    return book


def _sizes(train: int) -> dict[SplitName, int]:
    return {"train": train, "validation": max(100, train // 10), "test": max(300, train // 5)}


def _assemble(
    material: Material, assignment: Assignment, unsafe: UnsafeRows, sizes: dict[SplitName, int], seed: int
) -> PromptBook:
    """The unsafe prompts, with safe and borderline ones beside them."""
    if not unsafe["train"]:
        raise PolicyError(
            "the policy yields no unsafe prompts", field="concepts", allowed="terms, or unsafe_prompts"
        )
    book = PromptBook()
    for name in SPLITS:
        book.split(name).unsafe = unsafe[name]
    used = {u.text.casefold() for rows in unsafe.values() for u in rows}
    placer = Placer(assignment, sizes, seed, used)
    for split, _, prompt in placer.borderline(material.borderline):
        book.split(split).borderline.append(prompt)
    # Anchors become safe prompts of training below, so they cannot be measured.
    anchors = {u.anchor.casefold() for u in unsafe["train"]}
    for split, unseen, prompt in placer.safe(material.safe, anchors):
        (book.split(split).safe_unseen if unseen else book.split(split).safe).append(prompt)
    book.train.safe += placer.anchors(unsafe["train"], sizes["train"])
    return book


def check(book: PromptBook, assignment: Assignment) -> None:
    """Make sure that no string stands in two splits, that training reads no held-out word, and that it keeps
    no held-out safe concept.

    An unsafe term may name a safe concept ("an abused dog"): as an unsafe prompt it teaches nothing about how
    that concept is kept.

    Raises:
        PolicyError: one of them does not hold; names the text. The steps before leave no way to it.
    """
    seen: dict[str, SplitName] = {}
    for name in SPLITS:
        for prompt in book.split(name).prompts():
            other = seen.setdefault(prompt.text.casefold(), name)
            if other != name:
                raise _crossing(prompt.text, f"is in {other} and in {name}")
    for row in book.train.unsafe:
        if word := assignment.held_word(row.text):
            raise _crossing(row.text, f"trains and names the held-out {word!r}")
    for kept in (*book.train.safe, *book.train.borderline):
        if word := assignment.held_out(kept.text):
            raise _crossing(kept.text, f"trains and names the held-out {word!r}")


def check_minors(book: PromptBook, sexual: Collection[str]) -> None:
    """Make sure that no prompt and no anchor combines sexual content with minors, and that none of the
    concepts ``sexual`` names a minor at all.

    Raises:
        PolicyError: one does; the text is not repeated. The steps before leave no way to it.
    """
    for name in SPLITS:
        split = book.split(name)
        rows = ((text, row.concept in sexual) for row in split.unsafe for text in (row.text, row.anchor))
        kept = ((row.text, False) for row in (*split.safe, *split.safe_unseen, *split.borderline))
        if any(is_refused(text, sexual=of_one) for text, of_one in (*rows, *kept)):
            raise PolicyError(f"a prompt of the {name} split {WHY}")


def _crossing(text: str, what: str) -> PolicyError:
    return PolicyError(f"the prompt book is not disjoint: {text!r} {what}")
