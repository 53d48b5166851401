"""From a name or a path to a checked, resolved policy. Every problem is a PolicyError with file, line and
field."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..errors import PolicyError
from .minors import refuse_minors
from .schema import Concept, Gate, Gates, Policy, PromptRef
from .yamltext import Document, parse

M = TypeVar("M", bound=BaseModel)
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
            policy knows no metric: `safetext_sdk.load_policy` hands in the check against the registered ones.

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
        own = _over(own, _load(target, (*chain, real), check_gate))
    own = own.model_copy(update={"extends": []})
    if not chain:
        _complete(own, document)
        refuse_minors(own, file=str(path))
    return own


def validate(document: Document) -> Policy:
    """Check parsed YAML against the schema; the first wrong field (by line) becomes the PolicyError."""
    if not isinstance(document.data, dict):
        raise PolicyError(
            "a policy is a set of fields", file=document.file, line=1, allowed="version, name, concepts, ..."
        )
    try:
        return Policy.model_validate(document.data, strict=True)
    except ValidationError as error:
        raise _first_error(error.errors(include_url=False), document) from None


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


def _first_error(errors: list[ErrorDetails], document: Document) -> PolicyError:
    found = []
    for e in errors:
        path = _data_path(e["loc"], document.data)
        context = e.get("ctx") or {}
        if (*path, context.get("field")) in document.lines:
            path = (*path, context["field"])
        elif e["type"] == "missing":
            path = (*path, str(e["loc"][-1]))
        found.append((document.line(path), path, e, context))
    found.sort(key=lambda row: row[0])
    line, path, e, context = found[0]
    allowed = context.get("allowed") if e["type"] == "unknown_field" else _allowed(e, context)
    problem = _message(e)
    more = len({(row[0], row[1]) for row in found}) - 1
    if more:
        problem += f" [and {more} more]"
    return PolicyError(
        problem,
        file=document.file,
        line=line,
        field=".".join(str(p)[:80] for p in path) or None,
        allowed=allowed,
    )


def _data_path(loc: tuple[int | str, ...], data: Any) -> tuple[str | int, ...]:
    """The part of pydantic's location that exists in the data (it also names union branches)."""
    path: list[str | int] = []
    for part in loc:
        inside = (
            part in data
            if isinstance(data, dict)
            else isinstance(data, list) and isinstance(part, int) and part < len(data)
        )
        if inside:
            path.append(part)
            data = data[part]
    return tuple(path)


def _message(e: ErrorDetails) -> str:
    if e["type"] == "missing":
        return "this field is required"
    if e["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "should be a set of fields"
    if e["type"] == "string_type":
        return f"should be text, found {_name(e['input'])}"
    if e["type"] == "list_type":
        return f"should be a list, found {_name(e['input'])}"
    return e["msg"].rstrip(".")


def _name(value: Any) -> str:
    if isinstance(value, dict):
        return "a set of fields"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else f"{str(value)[:60]!r}"


def _allowed(e: ErrorDetails, context: dict[str, Any]) -> str | None:
    if e["type"] == "string_type":
        return 'put it in quotes, e.g. "1984"' if isinstance(e["input"], (bool, int, float)) else "text"
    if e["type"] == "list_type":
        return "one item a line, each starting with '- ', or [a, b]"
    if e["type"] == "string_pattern_mismatch":
        pattern = str(context.get("pattern"))
        return (
            "64 lower-case hex digits"
            if "{64}" in pattern
            else "lower-case letters, digits, '-' and '_', up to 64, starting with a letter or digit"
        )
    return str(context["expected"]) if "expected" in context else None


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


def _over(child: Policy, parent: Policy) -> Policy:
    """The child on top of its parent: lists grow (the child's first), single values of the child win."""
    by_id = {c.id: c for c in child.concepts}
    concepts = [_merge_model(by_id[c.id], c) if c.id in by_id else c for c in parent.concepts]
    known = {c.id for c in parent.concepts}
    concepts += [c for c in child.concepts if c.id not in known]
    merged = _merge_model(child, parent)
    return merged.model_copy(update={"name": child.name, "concepts": concepts})


def _merge_model(child: M, parent: M) -> M:
    """Field by field: lists joined, mappings joined, gates joined, other values from whoever set them."""
    update: dict[str, Any] = {}
    for name in type(child).model_fields:
        ours, theirs = getattr(child, name), getattr(parent, name)
        if isinstance(ours, list):
            update[name] = ours + [item for item in theirs if item not in ours]
        elif isinstance(ours, dict):
            update[name] = {
                **theirs,
                **{
                    k: v + [x for x in theirs.get(k, []) if x not in v] if isinstance(v, list) else v
                    for k, v in ours.items()
                },
            }
        else:
            update[name] = ours if name in child.model_fields_set and ours is not None else theirs
    return type(child).model_construct(_fields_set=child.model_fields_set | parent.model_fields_set, **update)


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


def merge_policies(policies: list[Policy]) -> Policy:
    """Several policies as one: concepts, prompts and fills joined; of each gate the stricter one.

    Raises:
        PolicyError: the list is empty.
    """
    if not policies:
        raise PolicyError("no policy given", allowed="--policy NAME or a path")
    first, *rest = policies
    for policy in rest:
        gates = _stricter(first.gates, policy.gates)
        concepts: dict[str, Concept] = {c.id: c for c in first.concepts}
        for c in policy.concepts:
            mine = concepts.get(c.id)
            if mine is None:
                concepts[c.id] = c
            elif mine != c:
                both = _stricter(mine.gates, c.gates)
                concepts[c.id] = _merge_model(mine, c).model_copy(update={"gates": both})
        name = first.name if policy.name == first.name else f"{first.name}-{policy.name}"[:64]
        first = _merge_model(first, policy).model_copy(
            update={"name": name, "concepts": list(concepts.values()), "gates": gates}
        )
    refuse_minors(first)
    return first


def _stricter(a: Gates, b: Gates) -> Gates:
    out = dict(a)
    for name, gate in b.items():
        mine = out.get(name)
        if (
            mine is None
            or (gate.max is not None and mine.max is not None and gate.max < mine.max)
            or (gate.min is not None and mine.min is not None and gate.min > mine.min)
        ):
            out[name] = gate
    return out
