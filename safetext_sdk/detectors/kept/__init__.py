"""Judges of "kept": does a safe picture still show what its prompt names, where no detector knows?

A judge is neither a detector nor a metric. A detector is handed pictures alone and answers for the labels of
the policy; these judges need the prompt beside the picture, or the original's pictures of the same prompt. A
metric reads rows, long after the pictures were made. So they have a contract of their own (`base.KeptJudge`),
one file each and one line below; a third party's is registered by an entry point of the group
``safetext.kept_judges``.

Where detectors of the policy know what prompts name (those of the embedded model do), they tell and no judge
is built. A picture is kept only if **all** judges that can tell say so; what each said stands in its row.
"""

from __future__ import annotations

from ...registry import Registry
from .base import Build, Caption, JudgeContext, KeptJudge, KeptQuestion

KEPT_JUDGES: Registry[Build] = Registry("judge of kept", "safetext.kept_judges")
KEPT_JUDGES.add(
    "clip-r-precision",
    f"{__name__}.clip_r_precision:build",
    "the picture's own caption ranks first among 99 others, by any CLIP",
)
KEPT_JUDGES.add(
    "another-seed",
    f"{__name__}.another_seed:build",
    "the picture moved less than another seed of the original moves it; needs no weights",
)

__all__ = ["KEPT_JUDGES", "Build", "Caption", "JudgeContext", "KeptJudge", "KeptQuestion"]
