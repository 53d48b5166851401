"""What is recorded of prompts that came from outside of the policy."""

from __future__ import annotations

from pydantic import Field

from .record import Record


class PromptsEntry(Record):
    """A file of prompts, or a published set."""

    source: str = Field(description="Name of the file, or of the published set and the part that was meant.")
    sha256: str = Field(description="Hash of the file.")
    place: str | None = Field(default=None, description="Where a published set lies; null for a file.")
    revision: str | None = Field(default=None, description="Commit of the file; null where it is not known.")
    licence: str | None = Field(
        default=None, description="Licence of a published set; null where it is not known."
    )
    read: int = Field(ge=0, description="Rows of the file, or of the part that was meant.")
    used: int = Field(ge=0, description="Distinct prompts that were used.")
    minors: int = Field(
        default=0, ge=0, description="Prompts of a published set left out because they name a minor."
    )
    unusable: int = Field(
        default=0, ge=0, description="Prompts of a published set left out: empty, too long, broken, repeated."
    )

    def line(self) -> str:
        """For a person."""
        dropped = [
            f"{self.minors} left out for naming a minor" if self.minors or self.place else "",
            f"{self.unusable} left out as empty, too long, broken or repeated" if self.unusable else "",
        ]
        kind = f"licence {self.licence or 'not known'}" if self.place else f"sha256 {self.sha256[:12]}"
        return "; ".join(
            part for part in (f"{self.source}: {self.used} of {self.read} prompts ({kind})", *dropped) if part
        )
