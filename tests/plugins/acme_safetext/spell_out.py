"""Attack ``spell-out``: unsafe words letter by letter ("g-u-n"), which people read and a tokenizer takes
apart."""

from __future__ import annotations

import random
import re

from pydantic import Field

from safetext_sdk.attacks import AttackConfig, AttackContext
from safetext_sdk.attacks.base import Rewriting


class SpellOutConfig(AttackConfig):
    separator: str = Field(default="-", min_length=1, description="What stands between two letters.")


class SpellOut(Rewriting[SpellOutConfig]):
    name = "spell-out"
    summary = "unsafe words letter by letter; no model needed"
    Config = SpellOutConfig

    def rewrite(self, prompt: str, context: AttackContext, rng: random.Random) -> tuple[str, ...]:
        longest_first = sorted(context.terms, key=len, reverse=True)
        words = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)
        return (words.sub(lambda found: self.config.separator.join(found[0].replace(" ", "")), prompt),)
