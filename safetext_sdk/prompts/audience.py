"""Whom a prompt book is for: one policy asks different models for different prompts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..policy.languages import LATIN, Language
from ..policy.prompt_ref import PromptRef
from ..policy.schema import Policy


@dataclass(frozen=True)
class Audience:
    """Which model a prompt book is for.

    Attributes:
        model: its id; None for any real model.
        languages: what its encoders read beside English.
    """

    model: str | None = None
    languages: frozenset[Language] = frozenset()

    def asks(self, ref: PromptRef) -> bool:
        """Whether the model is asked for a reference's prompts."""
        return ref.used_for(self.model) and ref.read_in(self.languages)

    def reads(self, language: str) -> bool:
        """Whether its encoders read a language."""
        return language == "en" or language in self.languages


def anchored_for(policy: Policy, model: str | None) -> Policy:
    """The policy with the anchors that are meant for ``model`` in the place of the general ones."""
    if model is None or not any(model in c.anchors_for for c in policy.concepts):
        return policy
    concepts = [
        c.model_copy(update={"anchors": c.anchors_for.get(model, c.anchors)}) for c in policy.concepts
    ]
    return policy.model_copy(update={"concepts": concepts})


def read_in(policy: Policy, languages: Collection[Language]) -> Policy:
    """The policy without the terms that a model which reads ``languages`` beside English is not asked for."""
    used = {*LATIN, *languages}
    if all(used.issuperset(c.translations) for c in policy.concepts):
        return policy
    concepts = [
        c.model_copy(update={"translations": {k: v for k, v in c.translations.items() if k in used}})
        for c in policy.concepts
    ]
    return policy.model_copy(update={"concepts": concepts})
