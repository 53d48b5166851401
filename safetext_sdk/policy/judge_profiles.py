"""Judge profiles: named, hashed ways to say that a picture is unsafe, so that a rate can be compared.

* A **label set** is a detector with the labels that count; with a threshold it is a **profile**, written
  ``SET@THRESHOLD``: ``udatk-9@0.45``. The thresholds that were published with a set are known by their
  source; any other one may be named, and is then nobody's but yours.
* A profile's hash covers what decides about a picture, and nothing else: detectors, labels, thresholds,
  options, rule. Two rates of one hash were judged alike, up to the weights, which are recorded beside it.
* In a policy, ``detectors: [{profile: udatk-9@0.45}]`` is short for the lines that it stands for: the policy
  that is loaded, hashed and written into a run is the one that spells them out.

The sets that come with the library are in `label_sets`; a package adds its own by an entry point of the group
``safetext.judge_profiles`` that names a `LabelSet`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_core import PydanticCustomError

from ..errors import PolicyError, UsageError
from ..registry import Registry
from .base import Identifier, PolicyModel, Text
from .detector_spec import DetectorSpec
from .yamltext import parse

POLICY = "policy"
"""Name of the profile that is nobody's: the detectors of the policy itself."""
Rule = Literal["any", "all"]


class JudgeProfile(PolicyModel):
    """A fixed way to judge pictures, whoever drew them."""

    name: Text = Field(description="What figures are quoted under, e.g. udatk-9@0.45.")
    concepts: list[Identifier] = Field(
        min_length=1, description="Ids of the concepts that it can judge; pictures of others are left out."
    )
    detectors: list[DetectorSpec] = Field(min_length=1, description="Who judges; each with its threshold.")
    rule: Rule = Field(
        default="any", description="any: one detector that sees a label is enough; all: each must see one."
    )
    source: Text | None = Field(default=None, description="Who judges so, and where that is written.")
    note: Text | None = Field(default=None, description="What a reader must know beside it.")

    @property
    def sha256(self) -> str:
        """Of all that decides about a picture; name, source and the order of labels do not."""
        return judging_sha256([(d.name, d.labels, d.threshold, d.options) for d in self.detectors], self.rule)


def judging_sha256(
    detectors: Sequence[tuple[str, Sequence[str], float | None, Mapping[str, Any]]], rule: Rule
) -> str:
    """The hash of a way to judge: (detector, labels, threshold, options) of each, and how they are
    combined."""
    named = sorted(
        json.dumps([name, sorted(set(labels)), threshold, options], sort_keys=True, ensure_ascii=False)
        for name, labels, threshold, options in detectors
    )
    content = json.dumps([rule, named], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class LabelSet:
    """Labels of one detector that count as unsafe, with the thresholds that somebody published them with.

    Attributes:
        detector: registered name of a detector.
        labels: as the detector names them.
        concepts: ids of the concepts that they are about.
        thresholds: threshold -> who used it, and where that can be read.
        rule: how detectors that come in several parts (``tiny-judges``) are combined.
        options: settings of the detector.
        needs: an option that the user must give, e.g. a path of weights that nobody may ship.
        note: what a reader must know beside a figure.
    """

    detector: str
    labels: tuple[str, ...]
    concepts: tuple[str, ...]
    thresholds: Mapping[float, str]
    rule: Rule = "any"
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""
    note: str = ""

    def at(self, name: str, threshold: float, options: Mapping[str, Any] | None = None) -> JudgeProfile:
        """The profile at a threshold, published or not, with options of the user over those of the set."""
        source = self.thresholds.get(threshold)
        return JudgeProfile(
            name=f"{name}@{threshold:g}",
            concepts=list(self.concepts),
            detectors=[
                DetectorSpec(
                    name=self.detector,
                    labels=list(self.labels),
                    threshold=threshold,
                    options={**self.options, **(options or {})},
                )
            ],
            rule=self.rule,
            source=source or "labels as published, threshold of your own",
            note=self.note or None,
        )


JUDGE_PROFILES: Registry[LabelSet] = Registry("set of labels", "safetext.judge_profiles")
for _name, _summary in (
    ("udatk-9", "UnlearnDiffAtk's nine exposed body parts (NudeNet)"),
    ("nudenet-exposed", "every exposed body part that NudeNet knows, as MACE counts them"),
    ("eval-unlearn-6", "eval-unlearn's six exposed body parts (NudeNet)"),
    ("shipped-5", "the five exposed body parts of the shipped policy `nudity` (NudeNet)"),
    ("q16", "Q16: CLIP ViT-L/14 and two learned prompts (weights by path)"),
):
    JUDGE_PROFILES.add(_name, f"{__package__}.label_sets:{_name.replace('-', '_').upper()}", _summary)


def judge_profile(ref: str, options: Mapping[str, Any] | None = None) -> JudgeProfile:
    """A profile by name: ``SET@THRESHOLD``, or ``SET`` alone where one threshold was published.

    Args:
        options: settings of its detector, over those of the set.

    Raises:
        UsageError: no such set, a threshold that is none, or a set that needs a threshold or an option.
    """
    name, _, at = ref.strip().partition("@")
    labels = JUDGE_PROFILES.get(name)
    if labels.needs and labels.needs not in (options or {}):
        raise UsageError(
            f"{name} needs the option {labels.needs}: in a policy {{profile: {ref}, options: "
            f"{{{labels.needs}: PATH}}}}, for a report a profile file that has it"
        )
    published = sorted(labels.thresholds)
    if not at and len(published) == 1:
        return labels.at(name, published[0], options)
    known = ", ".join(f"{name}@{each:g}" for each in published)
    try:
        threshold = float(at)
    except ValueError:
        raise UsageError(f"{ref!r} names no threshold; published: {known}") from None
    if not 0.0 <= threshold <= 1.0:
        raise UsageError(f"the threshold of {ref!r} is outside of 0 to 1; published: {known}")
    return labels.at(name, threshold, options)


def read_profile(ref: str | Path) -> JudgeProfile:
    """A profile by name, or from a YAML file with the fields of `JudgeProfile`.

    Raises:
        UsageError: as `judge_profile`.
        PolicyError: the file cannot be read, or is no profile.
    """
    path = Path(ref)
    if path.suffix not in (".yaml", ".yml"):
        return judge_profile(str(ref))
    try:
        document = parse(path.read_bytes(), str(path))
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror or error}", file=str(path)) from None
    try:
        return JudgeProfile.model_validate(document.data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = tuple(part for part in first["loc"])
        raise PolicyError(
            first["msg"],
            file=str(path),
            line=document.line(where),
            field=".".join(map(str, where)) or None,
        ) from None


def published_profiles() -> list[JudgeProfile]:
    """Every known set at every threshold that was published with it. A broken plug-in is left out."""
    found = []
    for entry in JUDGE_PROFILES.entries():
        try:
            labels = JUDGE_PROFILES.get(entry.name)
        except UsageError:  # the registry has warned
            continue
        found += [labels.at(entry.name, threshold) for threshold in sorted(labels.thresholds)]
    return found


def spelled_out(lines: Any, rule: object) -> Any:
    """Lines of ``detectors:`` as they are written, each ``{profile: NAME}`` replaced by what it stands for.

    Args:
        lines: parsed YAML, not checked yet.
        rule: the concept's ``detector_rule``.
    """
    if not isinstance(lines, list):
        return lines
    out: list[Any] = []
    for line in lines:
        if not (isinstance(line, dict) and "profile" in line):
            out.append(line)
            continue
        beside = {k: v for k, v in line.items() if k != "profile"}
        if extra := sorted(map(str, set(beside) - {"models", "options"})):
            raise _refused(f"a line with a profile takes models and options alone, not {', '.join(extra)}")
        options = beside.pop("options", {})
        try:
            profile = judge_profile(str(line["profile"]), options if isinstance(options, dict) else {})
        except UsageError as error:
            raise _refused(str(error)) from None
        if profile.rule == "all" and (rule != "all" or len(lines) > 1):
            raise _refused(f"{profile.name} asks all of its detectors: say detector_rule: all, and it alone")
        for spec in profile.detectors:
            named = spec.model_dump(exclude_defaults=True)
            out.append({**named, **beside})
    return out


def _refused(problem: str) -> PydanticCustomError:
    return PydanticCustomError("judge_profile", "{problem}", {"problem": problem, "field": "detectors"})
