"""Registries: names, nearest names, plug-ins of other packages (a real distribution on the path), broken
ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from safetext_sdk.errors import UsageError
from safetext_sdk.registry import Registry


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch) -> None:
    """A distribution ``acme-safetext`` with one good, one broken and one name-stealing entry point."""
    (tmp_path / "acme_plugin.py").write_text("def good():\n    return 'good'\n")
    info = tmp_path / "acme_safetext-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-safetext\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[safetext.tests]\nacme = acme_plugin:good\nbroken = acme_no_such_module:thing\nbuiltin = "
        "acme_plugin:good\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("acme_plugin", None)


def _registry() -> Registry:
    registry: Registry = Registry("thing", "safetext.tests")
    registry.add("builtin", "json:dumps", "writes JSON")
    return registry


def test_lazy_target_is_imported_when_asked_for() -> None:
    import json

    assert _registry().get("builtin") is json.dumps


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean builtin"):
        _registry().get("bultin")
    with pytest.raises(UsageError, match="known: builtin"):
        _registry().get("zzz")


def test_registering_a_name_twice_is_refused() -> None:
    registry = _registry()
    with pytest.raises(UsageError, match="twice"):
        registry.add("builtin", "json:loads")


def test_decorator_registers_the_object_itself() -> None:
    registry = _registry()

    @registry.register("own", "mine")
    def own() -> int:
        return 1

    assert registry.get("own") is own
    assert [e.summary for e in registry.entries() if e.name == "own"] == ["mine"]


@pytest.mark.usefixtures("plugin")
def test_plugins_of_another_package() -> None:
    registry = _registry()
    with pytest.warns(UserWarning, match=r"builtin.*taken"):
        names = registry.names()
    assert names == ["acme", "broken", "builtin"]
    assert registry.get("acme")() == "good"
    import json

    assert registry.get("builtin") is json.dumps, "a plug-in must not replace a built-in"
    assert {e.source for e in registry.entries()} == {"built-in", "acme-safetext"}


@pytest.mark.usefixtures("plugin")
@pytest.mark.filterwarnings("ignore:.*taken")
def test_a_broken_plugin_warns_and_leaves_the_others() -> None:
    registry = _registry()
    with (
        pytest.warns(UserWarning, match="acme-safetext is broken"),
        pytest.raises(UsageError, match="cannot be imported"),
    ):
        registry.get("broken")
    assert registry.get("acme")() == "good"
