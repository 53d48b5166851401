"""Versions of installed packages, for records: what took part in a run, a report or an export."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str | None:
    """The installed version of a distribution, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """``{distribution: version}`` of those that are installed, in the order given."""
    return {name: found for name in packages if (found := version_of(name)) is not None}


def own_version() -> str:
    """The version of this library; ``source`` where it runs from a checkout that was never installed."""
    return version_of("safetext-sdk") or "source"
