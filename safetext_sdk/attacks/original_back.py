"""The original encoder put back: by construction the undefended figure, and the reason why weights that are
handed out protect nobody from their owner."""

from __future__ import annotations

from collections.abc import Sequence

from .base import AttackConfig, AttackContext, AttackResult, Changed
from .probe import Prepared, Probe


class OriginalBack(Probe[AttackConfig]):
    """Plain prompts, drawn with the original encoder in the hardened one's place."""

    name = "original-back"
    summary = "the original encoder put back: the undefended figure, by construction"

    def impossible(self, context: AttackContext) -> str | None:
        hardened, original = context.hardened, context.original
        same = all(encoder is original.encoders[name] for name, encoder in hardened.encoders.items())
        return "its encoders are the original's" if same and hardened is not original else None

    def prepare(self, prompts: Sequence[str], context: AttackContext) -> Prepared:
        back = context.hardened.with_encoders(context.original.encoders)
        notes = {"by construction": "the undefended figure"}
        results = tuple(AttackResult(prompt, (prompt,), notes=notes) for prompt in prompts)
        return Prepared(Changed(back, context.original), results)
