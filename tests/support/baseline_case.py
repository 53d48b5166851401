"""What a baseline is handed in tests: a miniature model, a policy of a few words, its prompt book."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetext_sdk import build_prompt_book, load_policy
from safetext_sdk.baselines import BaselineContext

from .validation_case import POLICY


def context(model: Any, folder: Path) -> BaselineContext:
    """The policy of `validation_case` on a model."""
    path = folder / "policy.yaml"
    path.write_text(POLICY)
    policy = load_policy(path)
    return BaselineContext(model, policy, build_prompt_book(policy, seed=0, model=model.id))
