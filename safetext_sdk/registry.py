"""One kind of plug-in, by name. Listing imports nothing heavy; getting imports one module.

* Built-ins are added as ``"module:object"`` strings in the package's ``__init__``; a third-party package adds
  itself by an entry point of the group. A broken plug-in warns and is skipped; it never takes the others
  down.
* A plug-in cannot replace a built-in of the same name: that would change what a policy means without a word.
"""

from __future__ import annotations

import difflib
import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from .errors import UsageError

T = TypeVar("T")

BUILT_IN = "built-in"
PLUGIN_PACKAGES = ("safetext_sdk.tiny",)
"""Packages that are shipped inside this one and register themselves as a third party's do: their
``ENTRY_POINTS`` has, for each group, rows of name, ``"module:object"`` and summary. Importing one imports
nothing heavy."""


@dataclass(frozen=True)
class Entry:
    """One registered name: a summary for people, and where it comes from (``built-in`` or a distribution)."""

    name: str
    summary: str
    source: str
    target: object


class Registry(Generic[T]):
    """Names to plug-ins of one kind.

    Args:
        kind: singular noun for messages, e.g. ``"method"``.
        group: entry-point group, e.g. ``"safetext.methods"``.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind, self.group = kind, group
        self._entries: dict[str, Entry] = {}
        self._scanned = False

    def add(self, name: str, target: str | T, summary: str = "", source: str = BUILT_IN) -> None:
        """Register ``target`` (an object, or ``"module:object"`` imported when first asked for)."""
        if name in self._entries:
            raise UsageError(
                f"{self.kind} {name!r} is registered twice ({self._entries[name].source} and {source})"
            )
        self._entries[name] = Entry(name, summary, source, target)

    def register(self, name: str, summary: str = "") -> Callable[[T], T]:
        """Decorator form of `add`, for plug-ins defined on the spot."""

        def wrap(target: T) -> T:
            self.add(name, target, summary, source=getattr(target, "__module__", "?"))
            return target

        return wrap

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for package in PLUGIN_PACKAGES:
            module = importlib.import_module(package)
            for name, target, summary in module.ENTRY_POINTS.get(self.group, ()):
                self.add(name, target, summary)
        for point in entry_points(group=self.group):
            dist = point.dist.name if point.dist else "unknown"
            if point.name in self._entries:
                warnings.warn(
                    f"{self.kind} {point.name!r} of {dist} is skipped: that name is taken", stacklevel=3
                )
                continue
            self._entries[point.name] = Entry(point.name, "", dist, point.value)

    def names(self) -> list[str]:
        """All names, sorted."""
        self._scan()
        return sorted(self._entries)

    def entries(self) -> list[Entry]:
        """All entries, sorted by name; nothing is imported."""
        self._scan()
        return [self._entries[n] for n in self.names()]

    def is_built_in(self, name: str) -> bool:
        """Whether ``name`` is registered and comes with this package."""
        self._scan()
        return name in self._entries and self._entries[name].source == BUILT_IN

    def get(self, name: str) -> T:
        """The plug-in called ``name``.

        Raises:
            UsageError: unknown name (with the nearest ones and all that are known), or a plug-in that cannot
                be imported.
        """
        self._scan()
        entry = self._entries.get(name)
        if entry is None:
            near = difflib.get_close_matches(name, self._entries, n=3, cutoff=0.6)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise UsageError(f"unknown {self.kind} {name!r}; {hint}known: {', '.join(self.names())}")
        if not isinstance(entry.target, str):
            return cast(T, entry.target)
        module, _, attribute = entry.target.partition(":")
        try:
            return cast(T, getattr(importlib.import_module(module), attribute))
        except Exception as error:
            if entry.source == BUILT_IN:
                raise
            warnings.warn(f"{self.kind} {name!r} of {entry.source} is broken: {error}", stacklevel=2)
            raise UsageError(f"{self.kind} {name!r} of {entry.source} cannot be imported: {error}") from error
