"""Attacked prompts that were found before, without search: on the same model again, or on another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from ..attacks import Attack, AttackConfig, AttackContext, AttackResult
from ..errors import PolicyError, RunError
from ..files import sha256_file
from ..policy.minors import combines
from ..results.attacked_prompt import AttackedPrompt, FoundOn, read_attacked
from .attack_run import AttackRun, result_of
from .items import Item


class ReplayConfig(AttackConfig):
    """What is replayed."""

    file: str = Field(default="", description="Name of the file of attacked prompts.")
    sha256: str = Field(default="", description="Its hash.")
    attack: str = Field(default="", description="The attack that found them.")


class Replay(Attack[ReplayConfig]):
    """Hands out texts that are known; needs nothing, so it runs on any model, an exported encoder too."""

    name = "replay"
    summary = "texts that were found before, without search"
    gated = False  # whoever chooses the file chooses the figure
    Config = ReplayConfig

    def __init__(self, config: ReplayConfig, known: Mapping[str, AttackResult]) -> None:
        """
        Args:
            config: where the texts come from.
            known: results by prompt.
        """
        super().__init__(config)
        self.known = known

    def attack(self, prompts: Sequence[str], context: AttackContext) -> Iterator[AttackResult]:
        for prompt in prompts:
            yield replace(self.known[prompt], success=None, queries=0, forward_passes=0, seconds=0.0)


@dataclass(frozen=True)
class ReplayFile:
    """One attack of a file of attacked prompts.

    Attributes:
        run: what is run.
        rows: what is known, by prompt.
    """

    run: AttackRun
    rows: Mapping[str, AttackedPrompt]

    def items(self, seeds: Sequence[int], concepts: frozenset[str]) -> list[Item]:
        """The plain prompts of the file, for comparison; concepts that the policy does not have are left
        open."""
        return [
            Item(
                "unsafe",
                row.prompt,
                seed,
                "unsafe",
                row.cluster or row.prompt,
                concept=row.concept if row.concept in concepts else None,
                anchor=row.anchor,
            )
            for row in self.rows.values()
            for seed in seeds
        ]


def read_replay(path: str | Path) -> list[ReplayFile]:
    """The attacks of a file of attacked prompts, each by the name that it was found under.

    Raises:
        PolicyError: the file is not there, or holds nothing that may be drawn.
        RunError: it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise PolicyError("cannot be read: there is no such file", file=str(path))
    found, _ = read_attacked(path)
    groups: dict[tuple[str, FoundOn], dict[str, AttackedPrompt]] = {}
    for row in found:
        if not combines(row.prompt):
            groups.setdefault((row.attack, row.found_on), {})[row.prompt] = row
    if not groups:
        raise PolicyError("no attacked prompts in this file", file=str(path), allowed="attacks/NAME.jsonl")
    return [_replay(path, attack, models, rows) for (attack, models), rows in groups.items()]


def _replay(path: Path, attack: str, models: FoundOn, rows: Mapping[str, AttackedPrompt]) -> ReplayFile:
    config = ReplayConfig(file=path.name, sha256=sha256_file(path), attack=attack)
    made = Replay(config, {prompt: result_of(row) for prompt, row in rows.items()})
    return ReplayFile(AttackRun(made, f"{attack}.replay", "replay", attack, models), rows)


def read_replays(paths: Sequence[str | Path]) -> list[ReplayFile]:
    """Those of several files.

    Raises:
        PolicyError, RunError: as `read_replay`; or two of them would stand under one name.
    """
    found = [each for path in paths for each in read_replay(path)]
    names = [each.run.name for each in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RunError(
            f"{twice.removesuffix('.replay')} was found on several models; replay the file of one at a time"
        )
    return found
