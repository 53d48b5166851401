"""How far a prompt's conditioning under the hardened encoders is from what the original made of the unsafe
prompt, as an objective for token searches on any model."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..models.model import TextToImageModel
from ..search.candidates import Templates
from .conditioning_objective import ConditioningObjective
from .encoder_goals import Distance, NearConditioning
from .token_rows import TokenRows


class NearOriginal(ConditioningObjective):
    """See `search.objective.Differentiable`.

    Args:
        original, hardened: the target is the original's conditioning of ``prompts``.
        prompts: n unsafe prompts.
        templates: the prompts with slots for the words that are searched.
        fillers: two usable tokens; the search starts with the first.
        distance: see `encoder_goals.Distance`.

    Raises:
        ValueError: a template has no room for its words.
        ModelError: ``attention`` where the denoiser reads no text by cross-attention.
    """

    def __init__(
        self,
        original: TextToImageModel,
        hardened: TextToImageModel,
        prompts: Sequence[str],
        templates: Templates,
        fillers: tuple[int, int],
        distance: Distance = "flat",
    ) -> None:
        goal = NearConditioning.to_prompts(original, list(prompts), distance)
        super().__init__(TokenRows(hardened, templates, fillers), goal)

    @property
    def ids(self) -> Tensor:
        """Where the search begins [n, L]."""
        return self.rows.ids

    @property
    def free(self) -> Tensor:
        """Positions that are searched [n, k]."""
        return self.rows.free
