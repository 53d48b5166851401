"""Which pictures a validation makes: prompts of the policy's test split, prompts of the user, and unsafe
    words in the negative prompt.

| set | prompts | asks |
|---|---|---|
| unsafe | held-out unsafe prompts | does the concept still appear? does the anchor? |
| safe | safe prompts of the test split | is what was asked for still there? |
| safe_unseen | safe concepts that hardening never saw | the same |
| borderline | safe prompts that look unsafe | are they left alone? |
| negative | safe prompts, unsafe words in the negative prompt | do those words push the picture away from
what it shows? | | negative_unsafe | unsafe prompts, unsafe words in the negative prompt | does that undo the
redirection? | | custom | the user's own | by the label of each |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import PolicyError

if TYPE_CHECKING:
    from ..policy import Policy
    from ..prompts import PromptBook, SafePrompt, UnsafePrompt

T = TypeVar("T")
LABELS = ("unsafe", "safe", "borderline")
POLICY_SETS = ("unsafe", "safe", "safe_unseen", "borderline", "negative", "negative_unsafe")
NEGATIVE_WORDS = 6


@dataclass(frozen=True)
class Item:
    """One picture to make and judge, for either model.

    ``cluster`` is what is not independent of each other: the synonym of an unsafe prompt, the group of a safe
    one.
    """

    set: str
    prompt: str
    seed: int
    label: str
    cluster: str
    negative_prompt: str = ""
    concept: str | None = None
    anchor: str | None = None
    origin: str | None = None
    """The prompt that an attack turned into ``prompt``; several of its texts may share one."""


@dataclass(frozen=True)
class OwnPrompt:
    """A prompt that the user brought."""

    prompt: str
    label: str
    concept: str | None = None


def _rank(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def spread(items: Iterable[T], n: int, group: Callable[[T], Hashable], text: Callable[[T], str]) -> list[T]:
    """Up to ``n`` items with distinct text, taken from the groups in turn; which ones is decided by hash, so
    it never changes."""
    pools: dict[Hashable, list[T]] = {}
    for item in {text(i): i for i in items}.values():
        pools.setdefault(group(item), []).append(item)
    for pool in pools.values():
        pool.sort(key=lambda i: _rank(text(i)), reverse=True)
    order = sorted(pools, key=_rank)
    out: list[T] = []
    while len(out) < n and any(pools[g] for g in order):
        for g in order:
            if pools[g] and len(out) < n:
                out.append(pools[g].pop())
    return out


def unsafe_words(policy: Policy, limit: int = NEGATIVE_WORDS) -> str:
    """The policy's first terms, as a person would write them into a negative prompt: "gun, rifle, knife"."""
    terms = [list(c.terms) for c in policy.concepts]
    woven = [column[i] for i in range(max(map(len, terms), default=0)) for column in terms if i < len(column)]
    return ", ".join(dict.fromkeys(woven[:limit]))


def read_prompts(path: str | Path) -> list[OwnPrompt]:
    """The user's prompts from a .jsonl file: ``{"prompt": ..., "label": "unsafe|safe|borderline", "concept":
    ...}`` a line.

    Raises:
        PolicyError: with file and line, where something is wrong.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(
            f"cannot be read: {error}", file=str(path), allowed="a UTF-8 .jsonl file"
        ) from error
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise PolicyError(
                "this line is no JSON object",
                file=str(path),
                line=number,
                allowed='{"prompt": "...", "label": "safe"}',
            ) from error
        if not isinstance(row, dict):
            raise PolicyError(
                "this line is no JSON object",
                file=str(path),
                line=number,
                allowed='{"prompt": "...", "label": "safe"}',
            )
        prompt, label, concept = row.get("prompt"), row.get("label"), row.get("concept")
        if not isinstance(prompt, str) or not prompt.strip():
            raise PolicyError(
                "the prompt is missing or empty",
                file=str(path),
                line=number,
                field="prompt",
                allowed="a text",
            )
        if label not in LABELS:
            raise PolicyError(
                f"unknown label {label!r}",
                file=str(path),
                line=number,
                field="label",
                allowed=", ".join(LABELS),
            )
        if concept is not None and not isinstance(concept, str):
            raise PolicyError(
                "the concept is no text",
                file=str(path),
                line=number,
                field="concept",
                allowed="a concept id of the policy, or null",
            )
        out.append(OwnPrompt(prompt, label, concept))
    if not out:
        raise PolicyError("no prompts in this file", file=str(path), allowed="at least one line")
    return out


def _safe(
    name: str, label: str, prompts: Sequence[SafePrompt], n: int, seeds: Sequence[int], negative: str = ""
) -> list[Item]:
    chosen = spread(prompts, n, lambda p: p.group or p.text, lambda p: p.text)
    return [Item(name, p.text, seed, label, p.group or p.text, negative) for p in chosen for seed in seeds]


def _unsafe(
    name: str, prompts: Sequence[UnsafePrompt], n: int, seeds: Sequence[int], negative: str = ""
) -> list[Item]:
    chosen = spread(prompts, n, lambda p: (p.concept, p.synonym), lambda p: p.text)
    return [
        Item(name, p.text, seed, "unsafe", f"{p.concept}/{p.synonym}", negative, p.concept, p.anchor)
        for p in chosen
        for seed in seeds
    ]


def build_items(
    policy: Policy,
    book: PromptBook,
    *,
    n: int | Mapping[str, int] = 100,
    seeds: Sequence[int],
    own: Sequence[OwnPrompt] = (),
    can_tell: Callable[[str], bool] = lambda _: True,
    guided: bool = True,
) -> list[Item]:
    """Every picture of a validation, in a fixed order.

    Args:
        n: distinct prompts a set (a quarter of it for the negative sets unless they are gated), or a number
            for each set (0 leaves it out).
        can_tell: whether a judge knows what a picture of a prompt should show; safe prompts that nobody can
            judge are used only where there are no others.
        guided: whether negative prompts reach the denoiser; without, the two negative sets are left out.
    """
    count = {name: (n if isinstance(n, int) else n.get(name, 100)) for name in POLICY_SETS}
    if isinstance(n, int) and policy.gates.negative_prompt_unsafe_rate is None:
        # Reported and not gated: a quarter says enough, and every picture costs time.
        count |= {name: min(n, max(10, n // 4)) for name in ("negative", "negative_unsafe")}
    test = book.test

    def judged(prompts: Sequence[SafePrompt]) -> Sequence[SafePrompt]:
        return [p for p in prompts if can_tell(p.text)] or prompts

    items = _unsafe("unsafe", test.unsafe, count["unsafe"], seeds)
    items += _safe("safe", "safe", judged(test.safe), count["safe"], seeds)
    items += _safe("safe_unseen", "safe", judged(test.safe_unseen), count["safe_unseen"], seeds)
    items += _safe("borderline", "borderline", judged(test.borderline), count["borderline"], seeds)
    words = unsafe_words(policy)
    if guided and words:
        items += _safe("negative", "safe", judged(test.safe), count["negative"], seeds, words)
        items += _unsafe("negative_unsafe", test.unsafe, count["negative_unsafe"], seeds, words)
    items += [Item("custom", p.prompt, seed, p.label, p.prompt, "", p.concept) for p in own for seed in seeds]
    return list(dict.fromkeys(items))
