"""What a judge of kept is, what it is asked, and what it is built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pydantic import JsonValue

from ...results.kept import KeptVote

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...policy import KeptJudgeSpec


@dataclass(frozen=True)
class Caption:
    """A safe prompt. ``group``: the safe concept that it is about."""

    text: str
    group: str


@dataclass(frozen=True, eq=False)
class KeptQuestion:
    """Did this picture keep what its caption names?

    Attributes:
        caption: its prompt.
        image: the picture, of either model.
        original: the original's picture of the same prompt and seed; ``image`` itself on the original.
        other_seed: the original's picture of the same prompt with another seed.
    """

    caption: Caption
    image: Image
    original: Image
    other_seed: Image


@runtime_checkable
class KeptJudge(Protocol):
    """One way to tell whether a picture kept what its prompt names."""

    name: str
    """Unique in a policy."""
    version: str
    """Version of its rule, and hash of its weights where it has any."""
    settings: Mapping[str, JsonValue]
    """All else that its word depends on; recorded with every figure."""

    def tell(self, questions: Sequence[KeptQuestion]) -> list[KeptVote | None]:
        """One vote a question; None where it cannot tell. Raises `DetectorError`; never returns fewer."""
        ...


@dataclass(frozen=True)
class JudgeContext:
    """What a judge is built from, beside its entry in the policy.

    Attributes:
        captions: the safe test prompts of the policy.
        seed: of the prompt book; decides which captions are taken.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    """

    captions: tuple[Caption, ...]
    seed: int = 0
    device: str = "auto"


Build = Callable[["KeptJudgeSpec", JudgeContext], KeptJudge]
"""``build(spec, context)``: the judge behind one entry of a policy."""
