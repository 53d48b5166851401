"""What an attack sees of the model under attack: pictures of its prompts, judged as the report does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..attacks.base import Judged
from ..detectors.detector_set import DetectorSet
from ..results.detector_entry import Scores
from .generate import PictureMaker, Request, open_picture

SCORED_AT_ONCE = 64


@dataclass(frozen=True)
class PictureJudge:
    """See `AttackContext.judge`. A prompt that was judged before is not drawn again, and its picture is found
    again by its key after a kill.

    Attributes:
        make: who draws with the model under attack, into a folder that is not the report's pictures; made
            when an attack first looks.
        detectors: those of the policy.
        seeds: every prompt is drawn with each.
        known: prompt -> what its pictures show.
    """

    make: Callable[[], PictureMaker]
    detectors: DetectorSet
    seeds: tuple[int, ...]
    known: dict[str, Judged] = field(default_factory=dict)

    @cached_property
    def maker(self) -> PictureMaker:
        """Who draws."""
        return self.make()

    def __call__(self, prompts: Sequence[str]) -> list[Judged]:
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.known]
        step = max(1, SCORED_AT_ONCE // len(self.seeds))
        for start in range(0, len(new), step):
            part = new[start : start + step]
            requests = [Request(prompt, seed) for prompt in part for seed in self.seeds]
            self.maker.ensure(requests)
            found = self.detectors.score([open_picture(self.maker.path(request)) for request in requests])
            for k, prompt in enumerate(part):
                self.known[prompt] = self._judged(found[k * len(self.seeds) : (k + 1) * len(self.seeds)])
        return [self.known[prompt] for prompt in prompts]

    def _judged(self, pictures: Sequence[Scores]) -> Judged:
        """One answer for the pictures of a prompt."""
        concepts = dict.fromkeys(concept for scores in pictures for concept in self.detectors.unsafe(scores))
        highest = max(
            scores[each.detector.name][label]
            for scores in pictures
            for each in self.detectors.assignments
            for label in each.detector.labels
        )
        return Judged(tuple(concepts), highest)
