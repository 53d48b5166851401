"""What a run folder says about itself: `RunSettings` is written first, `Manifest` last. Frozen types; unknown
fields are refused.

Version 2 keeps the method's and the trainer's settings apart, names the recipe, and has the digest of the
whole prompt book. A manifest of version 1 is read as well: its settings, which stood in one dictionary, are
kept in ``config.undivided``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import RunError

SCHEMA_VERSION: Final = 2


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceRecord(_Record):
    """Where the original came from, as `source.Source` has it."""

    id: str
    revision: str | None = None
    ref: str = ""
    path: str = ""
    tokenizer: str | None = None
    files: dict[str, str] = Field(description="sha256 by relative path.")


class ConfigRecord(_Record):
    """All settings of a run, defaults included."""

    method: dict[str, Any] = {}
    train: dict[str, Any] = {}
    undivided: dict[str, Any] = Field(
        default={}, description="Settings of a run of version 1, which kept both in one dictionary."
    )


class TrainingRecord(_Record):
    """How training went: steps done, losses as ``[step, {part: value}]``, processes, and what it took.

    ``seconds``: wall time from writing the training texts to the encoders on disk, without loading the model
    or tidying up; over all parts of a run that was stopped, but for what came after a part's last checkpoint.
    None: a run from before this was recorded.
    """

    steps: int
    losses: list[tuple[int, dict[str, float]]] = []
    processes: int = 1
    seconds: float | None = Field(default=None, ge=0)


class CanaryRecord(_Record):
    """Fingerprints of one prompt's conditioning, see `canaries`."""

    original: list[float]
    hardened: list[float]


class RunSettings(_Record):
    """What a run was started with. Resuming with anything else would give weights that no record describes.

    ``encoders``: ``full``, ``lora`` or ``untouched`` by name. ``book_sha256``: of the whole prompt book.
    ``precision``: in which the model was loaded, as `load_model` takes it; ``autocast``: in which training
    multiplies, ``no`` = in that of the weights. None of these three: a run from before they were recorded.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    source: SourceRecord
    policy_sha256: str
    method: str
    recipe: str
    config: ConfigRecord
    seed: int
    encoders: dict[str, str]
    device: str
    versions: dict[str, str] = {}
    book_sha256: str | None = None
    precision: str | None = None
    autocast: str | None = None


class Manifest(_Record):
    """What a finished run is.

    Attributes:
        source: the original, with the sha256 of every file that was read.
        method, recipe, config, seed: what was done; ``recipe`` is None in runs of version 1.
        policy_sha256, book_sha256: of the policy's meaning and of the whole prompt book that it gave; the
            latter is None in runs of version 1.
        encoders: which were hardened, by name. how: ``full`` or ``lora`` of those.
        canaries: by prompt.
        files: sha256 of every file that hardening wrote, by path in the run folder.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    created: str
    family: str
    source: SourceRecord
    method: str
    recipe: str | None
    config: ConfigRecord
    seed: int
    policy_sha256: str
    book_sha256: str | None
    encoders: dict[str, Literal["hardened", "untouched"]]
    how: dict[str, Literal["full", "lora"]]
    training: TrainingRecord
    canaries: dict[str, CanaryRecord]
    versions: dict[str, str]
    device: str
    files: dict[str, str] = {}


def upgraded(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A manifest in the form of today.

    Raises:
        RunError: of a version that this library does not read.
    """
    version = data.get("schema_version")
    if version == SCHEMA_VERSION:
        return dict(data)
    if version != 1:
        raise RunError(f"{where} has schema_version {version!r}; this version reads 1 and {SCHEMA_VERSION}")
    config = {"method": {}, "train": {}, "undivided": data.get("config", {})}
    return {
        "recipe": None,
        "book_sha256": None,
        **data,
        "schema_version": SCHEMA_VERSION,
        "config": config,
    }


def read_record(kind: type[Manifest] | type[RunSettings], data: Mapping[str, Any], where: str) -> Any:
    """``data`` as a record.

    Raises:
        RunError: a field is missing, unknown or of another type.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{where} is damaged: {place}: {first['msg']}") from error
