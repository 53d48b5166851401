"""Safe YAML: text in, plain data and line numbers out.

* Built from parser events, so nothing is constructed from tags and nothing recurses on hostile depth.
* Refused with a line: duplicate keys, tags, several documents, aliases that grow the data, depth, size, wrong
  encoding.
* Scalars follow YAML 1.2 core ("no" and "on" are words, not booleans): a policy is a list of words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from ..errors import PolicyError

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 400_000
# libyaml where PyYAML was built with it: ten times faster, the same events.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"^[-+]?[0-9]{1,18}$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?$")
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))

Path = tuple[str | int, ...]


@dataclass
class _Node:
    """One value: its line, and how many nodes, and levels of them, it stands for once aliases are
    expanded."""

    value: Any  # scalar | list[_Node] | dict[key, tuple[int, _Node]]
    line: int
    size: int = 1
    depth: int = 0


@dataclass(frozen=True)
class Document:
    """Plain data and where each value stands."""

    data: Any
    lines: dict[Path, int]
    file: str

    def line(self, path: Path) -> int:
        """1-based line of the value at ``path``, or of the nearest enclosing value."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 1


def decode(raw: bytes, file: str) -> str:
    """UTF-8 text (a byte-order mark is allowed), or a PolicyError that names the likely encoding."""
    if len(raw) > MAX_BYTES:
        raise PolicyError(f"the file has {len(raw)} bytes", file=file, allowed=f"at most {MAX_BYTES}")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in raw[:64]:
        raise PolicyError(
            "the file is not UTF-8 text (it looks like UTF-16, UTF-32 or binary)",
            file=file,
            allowed="UTF-8; save it again as UTF-8",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise PolicyError(
            f"the file is not UTF-8 text (byte 0x{raw[error.start]:02x})",
            file=file,
            line=line,
            allowed="UTF-8",
        ) from None


def parse(raw: bytes, file: str) -> Document:
    """Parse YAML bytes.

    Raises:
        PolicyError: with the line, for everything that is not plain, bounded YAML.
    """
    text = decode(raw, file)
    try:
        root = _build(text, file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise PolicyError(
            f"not valid YAML: {problem}", file=file, line=mark.line + 1 if mark else None
        ) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise PolicyError("the file has a character that YAML does not allow", file=file, line=line) from None
    except yaml.YAMLError as error:
        raise PolicyError(f"not valid YAML: {' '.join(str(error).split())[:200]}", file=file) from None
    if root is None:
        raise PolicyError("the file is empty", file=file, allowed="at least version, name and concepts")
    lines: dict[Path, int] = {}
    return Document(_plain(root, (), lines), lines, file)


def _build(text: str, file: str) -> _Node | None:
    """Turn parser events into nodes, without recursion."""
    root: _Node | None = None
    anchors: dict[str, _Node] = {}
    open_nodes: list[
        tuple[_Node, str | None, list[Any]]
    ] = []  # node, its anchor, [pending key, its line] for mappings
    loader = _Loader(text)
    try:
        while loader.check_event():
            event = loader.get_event()
            line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise PolicyError(
                        "the file has more than one YAML document",
                        file=file,
                        line=line,
                        allowed="one; remove the '---'",
                    )
                continue
            if isinstance(event, yaml.AliasEvent):
                if event.anchor not in anchors:
                    raise PolicyError(
                        f"unknown or recursive alias *{event.anchor}"[:120], file=file, line=line
                    )
                node = anchors[event.anchor]
            elif isinstance(event, (yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent)):
                if event.tag is not None and not (
                    isinstance(event, yaml.ScalarEvent) and event.tag == "tag:yaml.org,2002:str"
                ):
                    raise PolicyError(
                        f"the tag {event.tag!r} is not allowed"[:160],
                        file=file,
                        line=line,
                        allowed="plain YAML without tags",
                    )
                if isinstance(event, yaml.ScalarEvent):
                    node = _Node(_scalar(event), line)
                    if event.anchor:
                        anchors[event.anchor] = node
                else:
                    if len(open_nodes) >= MAX_DEPTH:
                        raise PolicyError(
                            "the file is nested too deeply",
                            file=file,
                            line=line,
                            allowed=f"{MAX_DEPTH} levels",
                        )
                    node = _Node({} if isinstance(event, yaml.MappingStartEvent) else [], line)
                    open_nodes.append((node, event.anchor, []))
                    continue
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                node, anchor, _ = open_nodes.pop()
                if anchor:
                    anchors[anchor] = node
            else:
                continue
            if not open_nodes:
                root = node
                continue
            parent, _, pending = open_nodes[-1]
            _attach(parent, pending, node, line, file)
    finally:
        loader.dispose()
    return root


def _attach(parent: _Node, pending: list[Any], node: _Node, line: int, file: str) -> None:
    parent.size += node.size
    parent.depth = max(parent.depth, node.depth + 1)
    if parent.depth > MAX_DEPTH:
        raise PolicyError(
            "the file is nested too deeply once its aliases are expanded",
            file=file,
            line=line,
            allowed=f"{MAX_DEPTH} levels",
        )
    if parent.size > MAX_NODES:
        raise PolicyError(
            "the file is too large once its aliases are expanded",
            file=file,
            line=line,
            allowed=f"{MAX_NODES} values",
        )
    if isinstance(parent.value, list):
        parent.value.append(node)
    elif not pending:
        if isinstance(node.value, (list, dict)):
            raise PolicyError("a field name must be plain text", file=file, line=line)
        pending[:] = [node.value, line]
    else:
        key, key_line = pending
        if key in parent.value:
            first = parent.value[key][0]
            raise PolicyError(
                f"the field {str(key)[:80]!r} stands twice (first on line {first})",
                file=file,
                line=key_line,
                allowed="each field once",
            )
        parent.value[key] = (key_line, node)
        pending.clear()


def _scalar(event: yaml.ScalarEvent) -> Any:
    text = event.value
    if not event.implicit[0]:  # quoted, block or tagged as text
        return text
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.match(text):
        return int(text)
    return float(text) if _FLOAT.match(text) else text


def _plain(node: _Node, path: Path, lines: dict[Path, int]) -> Any:
    lines.setdefault(path, node.line)
    if isinstance(node.value, list):
        return [_plain(child, (*path, i), lines) for i, child in enumerate(node.value)]
    if isinstance(node.value, dict):
        out = {}
        for key, (line, child) in node.value.items():
            lines[(*path, key)] = line
            out[key] = _plain(child, (*path, key), lines)
        return out
    return node.value
