"""A wide safe set: what must keep its conditioning beside the policy's own safe prompts.

Safe things that never occur in training drift toward the anchors; a wide net of cheap texts holds them:

* the empty prompt and common negative prompts (guidance reads one of them for every picture);
* the anchor prompts themselves, the policy's safe and borderline training prompts;
* near misses: words of the tokenizer's vocabulary one letter away from an unsafe term;
* shuffled captions and random token sequences.

Nothing here contains an unsafe term, no word that only held-out safe prompts have (those must stay unseen, or
the figure on "concepts that were never in the safe set" would mean nothing), and none of the words that the
attack ``context`` draws from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..attacks.context import context_words
from ..prompts.corpora.negative_prompts import MORE_NEGATIVES
from ..prompts.random_words import mark_of_beginnings
from ..prompts.words import Inflected, letter_words

if TYPE_CHECKING:
    from ..policy import Policy
    from ..prompts import PromptBook


@dataclass(frozen=True)
class SafeText:
    """One text that must keep its conditioning; ``kind`` says why it is there. ``kept_as``: the text whose
    conditioning it must have, if that is not its own."""

    text: str
    kind: str  # empty, negative, safe, borderline, anchor, near, shuffled, random; further_texts has more
    kept_as: str | None = None


def build_safe_set(
    book: PromptBook, policy: Policy, tokenizer: Any, *, seed: int, wide: int
) -> list[SafeText]:
    """The safe side of training, in a fixed order, without repeats.

    Args:
        book: the expanded prompts; only its training split is used, the others' words are kept out.
        policy: for its terms.
        tokenizer: of the first encoder; its vocabulary gives words.
        seed: of the random texts.
        wide: how many texts to make beside what the policy has.
    """
    unsafe = unsafe_words(policy)
    out: dict[str, SafeText] = {}

    def put(texts: Iterable[str], kind: str, check: bool = True) -> None:
        for text in texts:
            if text not in out and not (check and unsafe.found_in(text)):
                out[text] = SafeText(text, kind)

    put([""], "empty")
    put(MORE_NEGATIVES, "negative")
    # What the policy itself calls safe is taken at its word: a borderline prompt may well hold a term ("a
    # butter knife").
    put((p.text for p in book.train.safe), "safe", check=False)
    put((p.text for p in book.train.borderline), "borderline", check=False)
    # What one concept turns into may be what another one forbids: then it is not kept.
    forbidden = {p.text for p in book.train.unsafe}
    put((p.anchor for p in book.train.unsafe if p.anchor not in forbidden), "anchor", check=False)
    if wide:
        rng = np.random.default_rng([seed, 4099])
        words = harmless_words(book, unsafe, tokenizer)
        near = [w for w in words if unsafe.near(w)][: wide // 10]
        put(near, "near")
        put((f"a picture of a {w}" for w in near), "near")
        captions = [p.text for p in book.train.safe if len(p.text.split()) >= 4]
        put(
            (_shuffled(captions[int(i)], rng) for i in rng.integers(len(captions), size=wide // 4))
            if captions
            else (),
            "shuffled",
        )
        if words:
            put(
                (_random_text(words, rng) for _ in range(wide - min(wide, 2 * len(near)) - wide // 4)),
                "random",
            )
    return list(out.values())


def unsafe_words(policy: Policy) -> Inflected:
    """Finds what the policy's concepts are called, in any inflection."""
    return Inflected(sorted({t.lower() for concept in policy.concepts for t in concept.all_words}))


def hidden_words(book: PromptBook) -> set[str]:
    """Words that only held-out safe prompts have."""
    hidden = letter_words(
        p.text
        for split in (book.validation, book.test)
        for p in (*split.safe, *split.safe_unseen, *split.borderline)
    )
    return hidden - letter_words(p.text for p in (*book.train.safe, *book.train.borderline))


def harmless_words(book: PromptBook, unsafe: Inflected, tokenizer: Any) -> list[str]:
    """Words of the tokenizer's vocabulary that training may read as safe ones."""
    out = hidden_words(book) | set(context_words())
    return [w for w in vocabulary_words(tokenizer) if w not in out and not unsafe.found_in(w)]


def vocabulary_words(tokenizer: Any) -> list[str]:
    """Whole words of three or more letters that are single tokens, in the order of their ids (CLIP's frequent
    words come first)."""
    vocabulary = tokenizer.get_vocab()
    if any(token.endswith("</w>") for token in vocabulary):  # CLIP: marked at the end
        named = ((t.removesuffix("</w>"), n) for t, n in vocabulary.items() if t.endswith("</w>"))
    elif mark := mark_of_beginnings(vocabulary):  # T5, Qwen: marked at the start
        named = ((t.removeprefix(mark), n) for t, n in vocabulary.items() if t.startswith(mark))
    else:  # BERT: continuations are marked instead, and are no words
        named = ((t, n) for t, n in vocabulary.items())
    return [
        w
        for n, w in sorted((n, w) for w, n in named)
        if len(w) >= 3 and w.isascii() and w.isalpha() and w == w.lower()
    ]


def _shuffled(text: str, rng: np.random.Generator) -> str:
    words = text.split()
    return " ".join(words[i] for i in rng.permutation(len(words)))


def _random_text(words: Sequence[str], rng: np.random.Generator) -> str:
    picked = [words[int(i)] for i in rng.integers(len(words), size=int(rng.integers(1, 9)))]
    # Half of them in the form of a caption: a lone object in a frame is what most prompts look like.
    return f"a picture of a {' '.join(picked[:2])}" if rng.random() < 0.5 else " ".join(picked)
