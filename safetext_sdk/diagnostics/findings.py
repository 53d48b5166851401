"""What a check of a policy says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that lint found. ``where``: dotted path of the field."""

    level: Level
    code: str
    where: str
    message: str

    def line(self) -> str:
        """The finding as one line for a person."""
        return f"{self.level}: {self.where}: {self.message} [{self.code}]"
