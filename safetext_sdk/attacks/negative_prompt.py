"""The negative prompt turned against the redirection: what the hardened encoder sends unsafe words to is
subtracted, and guidance is raised.

Guidance computes n + g (p - n) from the predictions for prompt (p) and negative prompt (n). A hardened
encoder gives an unsafe prompt nearly its anchor's conditioning: with the anchor in the negative prompt what
guidance amplifies is the rest, in which the concept may still be. Unsafe words in the negative prompt become
the anchor in the same way, by the defence itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from ..prompts.words import WholeWords
from .base import Attack, AttackConfig, AttackContext, AttackResult, Beside

UNSAFE_WORDS = 6


class NegativePromptConfig(AttackConfig):
    """Settings of ``negative-prompt``."""

    guidance: tuple[float, ...] = Field(
        default=(1.0, 2.0, 4.0),
        min_length=1,
        description="How often the guidance of all other pictures; each is tried.",
    )


class NegativePrompt(Attack[NegativePromptConfig]):
    """The unsafe prompt with its concept's anchors, and with its unsafe words, in the negative prompt."""

    name = "negative-prompt"
    summary = "anchor words or unsafe words in the negative prompt, guidance raised"
    threat = "negative prompt"
    needs = frozenset({"negative prompt", "terms"})
    Config = NegativePromptConfig
    small = {"guidance": (1.0, 2.0)}  # noqa: RUF012

    def attack(self, prompts: Sequence[str], context: AttackContext) -> Iterator[AttackResult]:
        for prompt in prompts:
            beside = tuple(
                Beside(negative, guidance)
                for guidance in self.config.guidance
                for negative in self.negatives(prompt, context)
            )
            yield AttackResult(prompt, (prompt,) * len(beside), beside=beside)

    def negatives(self, prompt: str, context: AttackContext) -> tuple[str, ...]:
        """Negative prompts against one prompt: anchors of its concept, and unsafe words."""
        concepts = context.policy.concepts
        named = [concept for concept in concepts if WholeWords(concept.terms).search(prompt)] or concepts
        anchors = [
            anchor
            for concept in named
            for anchor in concept.anchors_for.get(context.original.id, concept.anchors)
            if "{context}" not in anchor
        ]
        terms = [term for concept in named for term in concept.terms][:UNSAFE_WORDS]
        return tuple(", ".join(dict.fromkeys(words)) for words in (anchors, terms) if words)
