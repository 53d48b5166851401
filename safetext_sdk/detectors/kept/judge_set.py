"""All judges of kept of a policy together: built before any picture is made, checked on every picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import DetectorError, SafeTextError
from ...policy.kept import KeptJudgeSpec
from ...results.kept import KeptJudgeEntry, KeptVote
from . import KEPT_JUDGES
from .base import JudgeContext, KeptJudge, KeptQuestion

if TYPE_CHECKING:
    from ...policy import Policy

DEFAULT = (KeptJudgeSpec(name="another-seed"),)
"""Where the policy names no judge for a model: the one that needs no weights."""


class KeptJudges:
    """Args:
    judges: at least one, names distinct.

    Raises:
        DetectorError: two of one name, or none.
    """

    def __init__(self, judges: Sequence[KeptJudge]) -> None:
        names = [judge.name for judge in judges]
        if not names or len(set(names)) != len(names):
            raise DetectorError(f"judges of kept need distinct names, got {', '.join(names) or 'none'}")
        self.judges = tuple(judges)

    @classmethod
    def build(cls, policy: Policy, model_id: str, context: JudgeContext) -> KeptJudges:
        """The judges that the policy names for this model; `DEFAULT` where it names none.

        Raises:
            UsageError: no judge of that name.
            DetectorError: a judge is broken, or its weights are not there.
        """
        own = [s for s in policy.kept_judges if s.models is not None and model_id in s.models]
        specs = own or [s for s in policy.kept_judges if s.models is None] or DEFAULT
        return cls([_built(spec, context) for spec in specs])

    def describe(self) -> tuple[KeptJudgeEntry, ...]:
        """One entry a judge: what is recorded with every figure."""
        return tuple(
            KeptJudgeEntry(name=j.name, version=j.version, settings=dict(j.settings)) for j in self.judges
        )

    def tell(self, questions: Sequence[KeptQuestion]) -> list[tuple[KeptVote, ...]]:
        """Votes on every question, of the judges that can tell.

        Raises:
            DetectorError: a judge failed, or returned something that is not a vote.
        """
        votes: list[list[KeptVote]] = [[] for _ in questions]
        for judge in self.judges:
            for mine, vote in zip(votes, _votes(judge, questions), strict=True):
                if vote is not None:
                    mine.append(vote)
        return [tuple(mine) for mine in votes]


def _built(spec: KeptJudgeSpec, context: JudgeContext) -> KeptJudge:
    build = KEPT_JUDGES.get(spec.name)
    try:
        return build(spec, context)
    except SafeTextError:
        raise
    except Exception as error:
        raise DetectorError(f"the judge of kept {spec.name!r} cannot be built: {error}") from error


def _votes(judge: KeptJudge, questions: Sequence[KeptQuestion]) -> list[KeptVote | None]:
    try:
        found = judge.tell(questions)
    except SafeTextError:
        raise
    except Exception as error:
        raise DetectorError(
            f"the judge of kept {judge.name} failed: {type(error).__name__}: {error}"
        ) from error
    if len(found) != len(questions):
        raise DetectorError(f"{judge.name} returned {len(found)} votes for {len(questions)} pictures")
    for vote in found:
        if vote is not None and (
            vote.judge != judge.name or not (math.isfinite(vote.value) and math.isfinite(vote.limit))
        ):
            raise DetectorError(f"{judge.name} returned {vote!r}: that is no vote of it")
    return found
