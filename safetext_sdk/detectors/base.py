"""What a detector is: one image classifier that scores pictures, and the function that builds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..policy import DetectorSpec


@runtime_checkable
class Detector(Protocol):
    """One image classifier.

    Optional attributes, read where they are present:

    * ``error_rates``: ``{"recall": ..., "false_alarm": ...}`` measured on pictures that it was not trained
      on; stated beside every figure.
    * ``families``: labels that stand for a group of labels, never for a thing that one sees in a picture.
    * ``unsafe_ids``: every label that ``labels`` covers, where a label of the policy means a group.
    * ``all_labels``: labels of which every row of `score` has a score, whatever the policy asks for: scores
      that are not in a recorded row are then known to have been low, and other judge profiles need no second
      look at the pictures.
    """

    name: str
    """Unique in a policy: ``"tiny-judges/a"``."""
    version: str
    """Package version, sha256 prefix of the weights, and every option that changes a score: a rate without it
    means nothing, and rows of another version are scored again."""
    labels: list[str]
    """The labels that make a picture unsafe, as the policy names them."""
    threshold: float
    """Scores in [0, 1] at or above it count as seen."""

    def score(self, images: Sequence[Image]) -> list[dict[str, float]]:
        """One row a picture: label -> score in [0, 1]. Raises `DetectorError`; never returns fewer rows."""
        ...

    def expected(self, prompt: str) -> tuple[str, ...]:
        """Labels that a picture of this prompt should show; empty if this detector cannot tell."""
        ...


Build = Callable[["DetectorSpec", str], Sequence[Detector]]
"""``build(spec, device)``: the detectors behind one entry of a policy, usually a single one.

``spec`` has labels, threshold (None: the detector's own) and options as the policy gives them; ``device`` is
``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
"""
