"""Rates of a policy's held-out prompts, judged by its detectors, with bounds; no figure without proof."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from eval_unlearn.types import Dataset, MetricResult
from PIL.Image import Image

import safetext_sdk as st
from safetext_sdk.detectors.detector_set import DetectorSet
from safetext_sdk.errors import SafeTextError, UsageError
from safetext_sdk.prompts.splits import by_hash
from safetext_sdk.statistics.rates import rate_bounds


@dataclass(frozen=True)
class Asked:
    """One prompt of the policy: its text, and the words that it was built from (what bounds cluster by)."""

    text: str
    cluster: str


class PolicyRate(ABC):
    """A share of pictures, by a policy's prompts and detectors, in eval-unlearn's metric interface.

    Args:
        policy: file or shipped name.
        model: id of the model that is judged: a policy may have prompts and detectors for it alone.
        limit: distinct prompts at most, drawn by hash.
        seed: of the prompt book; the one that hardening used, or prompts are not held out.
        batch_size: prompts a batch.
        device: where detectors run.

    Raises:
        PolicyError, DetectorError, MissingExtraError: as `safetext_sdk.validate`.
        UsageError: the policy has no such prompts for this model.
    """

    name: ClassVar[str]

    def __init__(
        self,
        policy: str,
        model: str,
        *,
        limit: int = 200,
        seed: int = 0,
        batch_size: int = 16,
        device: str = "auto",
    ) -> None:
        self.policy, self.batch_size = st.load_policy(policy), batch_size
        book = st.build_prompt_book(self.policy, seed=seed, model=model)
        named = {u.concept for u in book.test.unsafe}
        self.detectors = DetectorSet.build(self.policy, model, device, named)
        # Texts that are asked twice are one trial; the draw is by hash, so that a smaller limit asks fewer of
        # the same.
        by_text = {each.text: each for each in self.prompts(book)}
        self.asked = [by_text[text] for text in by_hash(by_text, seed, "eval-unlearn")[:limit]]
        if not self.asked:
            raise UsageError(f"{self.policy.name} has no prompts for {self.name} on {model}")
        self.start()

    def start(self) -> None:
        """Forget what was seen."""
        self.hits: list[bool] = []
        self.seen: set[tuple[float, ...]] = set()
        self.fault = ""

    @abstractmethod
    def prompts(self, book: Any) -> list[Asked]:
        """What is asked of a prompt book."""

    @abstractmethod
    def hit(self, scores: Any, prompt: str) -> bool:
        """Whether a picture counts."""

    def load_dataset(self) -> Iterator[Dataset]:
        """Batches of prompts, from the first again."""
        self.start()
        for begin in range(0, len(self.asked), self.batch_size):
            part = self.asked[begin : begin + self.batch_size]
            yield Dataset([each.text for each in part], {"source": f"policy {self.policy.name}"})

    def update(self, images: Sequence[Any], prompts: Sequence[str], metadata: Any = None) -> None:
        """Judge one batch. Nothing is skipped: one that cannot be judged makes the whole "not measured"."""
        if self.fault:
            return
        wanted = [each.text for each in self.asked[len(self.hits) : len(self.hits) + len(prompts)]]
        if list(prompts) != wanted:
            self.fault = "the prompts are not those of this metric, in their order"
        elif len(images) != len(prompts):
            self.fault = f"{len(images)} pictures for {len(prompts)} prompts"
        elif strange := [type(i).__name__ for i in images if not isinstance(i, Image)]:
            self.fault = f"a picture is a {strange[0]}"
        if self.fault:
            return
        try:
            found = self.detectors.score([image.convert("RGB") for image in images])
        except SafeTextError as error:
            self.fault = str(error)
            return
        for scores, prompt in zip(found, prompts, strict=True):
            self.seen.add(tuple(v for one in scores.values() for _, v in sorted(one.items())))
            self.hits.append(self.hit(scores, prompt))

    def compute(self) -> MetricResult:
        """The share with its bounds, or None with the reason."""
        fault = self.fault
        if not fault and len(self.hits) < len(self.asked):
            fault = f"{len(self.hits)} of {len(self.asked)} pictures were judged"
        if not fault and len(self.hits) > 1 and len(self.seen) == 1:
            fault = "the detectors gave every picture the same scores"
        details: dict[str, Any] = {
            "policy": self.policy.name,
            "policy_sha256": self.policy.sha256,
            "detectors": [entry.model_dump(mode="json") for entry in self.detectors.describe()],
        }
        if fault:
            return MetricResult(self.name, None, {**details, "not_measured": fault})
        texts, clusters = [a.text for a in self.asked], [a.cluster for a in self.asked]
        found = rate_bounds(self.hits, texts, clusters)
        bounds = {"lower": found.lower, "upper": found.upper, "n": found.n, "confidence": 0.95}
        return MetricResult(self.name, found.value, {**details, **bounds, "method": found.method})


class UnsafeRate(PolicyRate):
    """Share of pictures of unsafe prompts that show the concept; lower is better, compare ``upper``."""

    name = "SafeText unsafe rate"

    def prompts(self, book: Any) -> list[Asked]:
        """The test prompts that are unsafe."""
        return [Asked(u.text, u.synonym) for u in book.test.unsafe]

    def hit(self, scores: Any, prompt: str) -> bool:
        """Whether a detector sees a concept of the policy."""
        return bool(self.detectors.unsafe(scores))


class Kept(PolicyRate):
    """Share of pictures of safe prompts that show all that their prompt names; higher is better, compare
    ``lower``."""

    name = "SafeText kept"

    def prompts(self, book: Any) -> list[Asked]:
        """The safe test prompts that a detector can judge."""
        return [Asked(p.text, p.group) for p in book.test.safe if self.detectors.can_tell(p.text)]

    def hit(self, scores: Any, prompt: str) -> bool:
        """Whether every detector that can tell sees everything."""
        return self.detectors.kept(scores, prompt) is True
