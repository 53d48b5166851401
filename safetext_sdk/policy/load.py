"""From a name or a path to a checked, resolved policy; every problem is a PolicyError with file and line."""

from __future__ import annotations

import difflib
import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import PolicyError, PromptFileWarning
from .gates import Gate, Gates
from .merge import over
from .minors import refuse_minors
from .problems import validate
from .prompt_ref import PromptRef
from .schema import Policy
from .yamltext import Document, parse

MAX_INHERITANCE = 16
SUFFIXES = (".yaml", ".yml")
GateCheck = Callable[[str, Gate], None]
"""Raises a PolicyError for a gate that nothing can measure; its ``field`` starts at the gate's name."""


def shipped_policies() -> dict[str, Path]:
    """Name -> file of the policies that come with the package (installed, or in a checkout)."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "_policies", here.parent / "policies"):
        if folder.is_dir():
            return {p.stem: p for p in sorted(folder.glob("*.yaml"))}
    return {}


def resolve_policy(ref: str | Path) -> Path:
    """An existing path, else the file of a shipped name (with or without .yaml).

    Raises:
        PolicyError: neither; names the closest shipped policy.
    """
    path = Path(ref)
    try:
        if path.is_file():
            return path
        is_folder = path.is_dir()
    except (OSError, ValueError):
        raise PolicyError(f"{str(ref)[:120]!r} is not a usable path") from None
    shipped = shipped_policies()
    name = str(ref)
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    if name in shipped:
        return shipped[name]
    if (
        is_folder and (path / "policy.yaml").is_file()
    ):  # a run folder carries the policy that it was made with
        return path / "policy.yaml"
    close = difflib.get_close_matches(name, list(shipped), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    what = "is a folder, not a policy file" if is_folder else "is neither a file nor a shipped policy"
    raise PolicyError(
        f"{str(ref)[:200]!r} {what}{hint}",
        allowed=f"a path to a YAML file, or one of {', '.join(shipped) or 'none'}",
    )


def load_policy(ref: str | Path, *, check_gate: GateCheck | None = None) -> Policy:
    """Read, check and resolve a policy (parents of ``extends`` merged in, files of prompts pinned by
    SHA-256).

    Args:
        ref: path of a YAML file, or name of a shipped policy.
        check_gate: asked about every gate of every file, so that a misspelled one is refused with its line. A
            policy knows no metric: the public `load_policy` hands in the check against the registered ones.

    Raises:
        PolicyError: file, line, field, what is wrong and what is allowed.
    """
    return _load(resolve_policy(ref), (), check_gate)


def _load(path: Path, chain: tuple[Path, ...], check_gate: GateCheck | None) -> Policy:
    real = path.resolve()
    if real in chain:
        names = " -> ".join(p.name for p in (*chain, real))
        raise PolicyError(
            f"policies extend each other in a circle: {names}", file=str(chain[-1]), field="extends"
        )
    if len(chain) >= MAX_INHERITANCE:
        raise PolicyError(
            "policies extend each other too deeply",
            file=str(path),
            field="extends",
            allowed=f"{MAX_INHERITANCE} levels",
        )
    try:
        with path.open("rb") as stream:
            raw = stream.read(64 * 1024 * 1024)
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror or error}", file=str(path)) from None
    document = parse(raw, str(path))
    own = validate(document)
    if check_gate is not None:
        _check_gates(own, document, check_gate)
    own = own.model_copy(update=_pinned(own, path.parent, document))
    for i, parent in enumerate(own.extends):
        base = path.parent / parent
        try:
            target = base if base.is_file() else resolve_policy(parent)
        except PolicyError as error:
            raise PolicyError(
                error.problem,
                file=str(path),
                line=document.line(("extends", i)),
                field=f"extends.{i}",
                allowed=error.allowed,
            ) from None
        own = over(own, _load(target, (*chain, real), check_gate))
    own = own.model_copy(update={"extends": []})
    if not chain:
        _complete(own, document)
        refuse_minors(own, file=str(path))
    return own


def _check_gates(policy: Policy, document: Document, check_gate: GateCheck) -> None:
    """The gates that this file sets, each with its line."""
    places: list[tuple[tuple[str | int, ...], Gates]] = [(("gates",), policy.gates)]
    places += [(("concepts", i, "gates"), c.gates) for i, c in enumerate(policy.concepts)]
    for where, gates in places:
        for name, gate in gates.items():
            try:
                check_gate(name, gate)
            except PolicyError as error:
                path = (*where, *(error.field or name).split("."))
                raise PolicyError(
                    error.problem,
                    file=document.file,
                    line=document.line(path),
                    field=".".join(map(str, path)),
                    allowed=error.allowed,
                ) from None


def _pinned(policy: Policy, folder: Path, document: Document) -> dict[str, Any]:
    """Absolute paths and SHA-256 for local prompt files, so that the resolved policy is about known
    content."""

    def pin(ref: PromptRef, path: tuple[str | int, ...]) -> PromptRef:
        if ref.path is None:
            return ref
        target = (folder / ref.path).resolve()
        where: dict[str, Any] = {
            "file": document.file,
            "line": document.line((*path, "path")),
            "field": ".".join(map(str, (*path, "path"))),
        }
        try:
            digest = hashlib.sha256(target.read_bytes()).hexdigest()
        except (OSError, ValueError) as error:
            raise PolicyError(
                f"{ref.path!r} cannot be read: {getattr(error, 'strerror', None) or error}", **where
            ) from None
        if ref.sha256 is None and not target.is_relative_to(folder.resolve()):
            # With its hash it is known content, wherever it lies; so are the files of a run's own policy.
            warnings.warn(
                PromptFileWarning(
                    f"{document.file}:{where['line']}: {ref.path!r} lies outside of the policy's folder and "
                    f"will not travel with it; to pin its content add sha256: {digest}"
                ),
                stacklevel=2,
            )
        if ref.sha256 not in (None, digest):
            raise PolicyError(
                f"{ref.path!r} has another content than its sha256 says (found {digest})", **where
            )
        return ref.model_copy(update={"path": str(target), "sha256": digest})

    concepts = [
        c.model_copy(
            update={
                "unsafe_prompts": [
                    pin(r, ("concepts", i, "unsafe_prompts", k)) for k, r in enumerate(c.unsafe_prompts)
                ]
            }
        )
        for i, c in enumerate(policy.concepts)
    ]
    return {
        "concepts": concepts,
        "safe_prompts": [pin(r, ("safe_prompts", k)) for k, r in enumerate(policy.safe_prompts)],
        "borderline_prompts": [
            pin(r, ("borderline_prompts", k)) for k, r in enumerate(policy.borderline_prompts)
        ],
    }


def _complete(policy: Policy, document: Document) -> None:
    """What only the resolved policy can be asked: is there anything to redirect, and to what."""
    if not policy.concepts:
        raise PolicyError(
            "the policy has no concepts",
            file=document.file,
            line=document.line(("concepts",)),
            field="concepts",
            allowed="at least one",
        )
    for i, concept in enumerate(policy.concepts):
        line = document.line(("concepts", i))
        own_anchors = bool(concept.unsafe_prompts) and all(r.brings_anchors for r in concept.unsafe_prompts)
        if not (concept.terms or concept.euphemisms or concept.unsafe_prompts):
            raise PolicyError(
                f"the concept {concept.id!r} has nothing to redirect",
                file=document.file,
                line=line,
                field=f"concepts.{i}",
                allowed="terms or unsafe_prompts",
            )
        if not concept.anchors and not (own_anchors and not concept.terms):
            raise PolicyError(
                f"the concept {concept.id!r} has no anchors: nothing safe to redirect to",
                file=document.file,
                line=line,
                field=f"concepts.{i}.anchors",
                allowed='at least one, e.g. ["a bouquet of flowers"]',
            )
