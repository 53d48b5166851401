"""What a source of prompts gives, and its contract (entry-point group ``safetext.prompt_sources``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

OnUnsafeWord = Literal["leave_out", "follow", "stay"]


class Candidate(NamedTuple):
    """A safe or borderline prompt before it has a split.

    Attributes:
        text: the prompt.
        source: where it comes from, for reports and for the cap on what one source may fill.
        groups: the safe concepts it shows; each is held out as a whole. The first names the prompt's group.
        words: the word that it uses for each of them, where the source knows.
        template: the caption template it was written from; held out as a whole, too.
        family: of templates (``one``, ``two``: those of `corpora.templates`), or ``borderline`` for prompts
            that are mostly for measuring.
        train_only: never measured.
        on_unsafe_word: what becomes of it if it names an unsafe word. ``leave_out``: it is not used (a
            grammar writes another one); ``follow``: it goes where that word is, so that training reads no
            held-out word (somebody wrote it and meant it); ``stay``: the word changes nothing.
        whole: all of the source is wanted. What trains only is otherwise capped, so that ballast does not
            drown the rest.
        language: that the policy marks the prompt with.
        english: what a text in another language says; "" where the policy does not tell, and for English.
    """

    text: str
    source: str
    groups: tuple[str, ...] = ()
    template: str = ""
    family: str = ""
    train_only: bool = False
    on_unsafe_word: OnUnsafeWord = "leave_out"
    whole: bool = False
    words: tuple[str, ...] = ()
    language: str = "en"
    english: str = ""

    @property
    def scene(self) -> str:
        """What it says, in English where that is known: the same in every language."""
        return self.english or self.text


class Pair(NamedTuple):
    """An unsafe sentence and the safe one that it is redirected to."""

    text: str
    anchor: str


class PromptSource:
    """Base of every source. Registered under a name, it is what ``{shipped: NAME}`` in a policy means.

    A subclass sets ``kind`` and overrides what belongs to it; the same call always gives the same result, and
    nothing may depend on the machine.

    * ``safe``: `candidates`, for ``safe_prompts`` and ``borderline_prompts``.
    * ``unsafe``: `subsets` and `pairs`, for ``unsafe_prompts``; a policy writes ``NAME/SUBSET``.
    * ``world``: `drawable_words`, for a model that draws a small world. It is registered under the model's
      id: prompts for that model are then only measured on what its words name.

    `group_words` belongs to any kind: safe concepts (the ``groups`` of candidates) have other words than
    their id, and a concept that is held out must be held out under all of them.
    """

    kind: ClassVar[Literal["safe", "unsafe", "world"]] = "safe"

    def candidates(self, seed: int) -> Sequence[Candidate]:
        """Safe prompts; ``seed`` is the prompt book's."""
        raise NotImplementedError

    def subsets(self) -> Sequence[str]:
        """Names of the sets of pairs."""
        raise NotImplementedError

    def pairs(self, subset: str) -> Sequence[Pair]:
        """The pairs of one set, in a fixed order."""
        raise NotImplementedError

    def drawable_words(self) -> Sequence[str]:
        """Every word that the model can draw."""
        raise NotImplementedError

    def group_words(self) -> Mapping[str, Sequence[str]]:
        """Safe concept -> all its words."""
        return {}
