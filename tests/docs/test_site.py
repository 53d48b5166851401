"""The docs site: the road as navigation, every public name in the reference, one version everywhere."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from datetime import date
from inspect import isfunction
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetext_exporters import __all__ as exporter_names

import safetext_sdk
from safetext_sdk.attacks import __all__ as attack_names
from safetext_sdk.baselines import __all__ as baseline_names
from safetext_sdk.methods import Method, MethodConfig
from safetext_sdk.methods import __all__ as method_names
from safetext_sdk.metrics import __all__ as metric_names

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


class _Loader(yaml.SafeLoader):
    """mkdocs' own tags (``!!python/...``) are of no interest here."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
CONFIG: dict[str, Any] = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)


def pages(nav: list[Any]) -> list[str]:
    found = []
    for entry in nav:
        for target in entry.values() if isinstance(entry, dict) else [entry]:
            found += pages(target) if isinstance(target, list) else [target]
    return found


def described(page: str) -> dict[str, str]:
    """Last part of the name: whole path, of everything that mkdocstrings renders on a page."""
    text = (DOCS / "reference" / page).read_text(encoding="utf-8")
    return {path.rpartition(".")[2]: path for path in re.findall(r"^::: (\S+)$", text, re.MULTILINE)}


def resolve(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_the_navigation_is_the_road() -> None:
    sections = [next(iter(entry)) for entry in CONFIG["nav"]]
    assert sections == ["Start", "1 Policy", "2 Harden", "3 Validate", "4 Gate", "5 Export", "Reference"]
    listed = pages(CONFIG["nav"])
    assert len(listed) == len(set(listed))
    assert set(listed) == {p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md")}


def test_every_public_name_is_in_the_reference() -> None:
    found = described("python.md")
    assert set(safetext_sdk.__all__) <= found.keys()
    for name in safetext_sdk.__all__:
        assert resolve(found[name]) is getattr(safetext_sdk, name), f"{name} is described from another place"
    functions = set(exporter_names) - {"EXPORTERS", "ExportResult"}
    assert functions <= found.keys()


def test_what_a_public_function_returns_is_in_the_reference() -> None:
    found = {*described("python.md"), *described("plug-ins.md")}
    values = [(name, getattr(safetext_sdk, name)) for name in safetext_sdk.__all__]
    returned = {name: str(v.__annotations__.get("return")) for name, v in values if isfunction(v)}
    assert returned["diff"] == "Difference"
    # A plain dictionary, and whatever pipeline the caller handed in.
    plain = {"shipped_policies", "guard"}
    assert {name for name, kind in returned.items() if kind not in found} == plain


def test_every_contract_of_a_plug_in_is_in_the_reference() -> None:
    found = described("plug-ins.md")
    wanted = {
        *attack_names,
        *baseline_names,
        *metric_names,
        "Detector",
        "KeptJudge",
        "Family",
        "PromptSource",
    }
    wanted |= {"Method", "MethodConfig", "MethodContext", "Batch", "Exporter", "ExportResult", "Registry"}
    # Registries, the methods that ship, and helpers of theirs are no contract.
    shipped = {n for n in method_names if _is_shipped_method(n)}
    wanted -= shipped | {"ATTACKS", "BASELINES", "METRICS", "SHARE", "every_metric", "Learned"}
    assert wanted <= found.keys()
    for path in found.values():
        assert resolve(path) is not None
    text = (DOCS / "reference" / "plug-ins.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "tests" / "plugins" / "pyproject.toml").read_text(encoding="utf-8"))
    assert all(f"`{group}`" in text for group in project["project"]["entry-points"])


def _is_shipped_method(name: str) -> bool:
    value = getattr(importlib.import_module("safetext_sdk.methods"), name)
    return isinstance(value, type) and (
        (issubclass(value, Method) and value is not Method)
        or (issubclass(value, MethodConfig) and value is not MethodConfig)
    )


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "site" / "reference" / "python" / "index.html").read_text(encoding="utf-8")
    for name in safetext_sdk.__all__:
        assert re.search(rf'id="safetext_sdk\.[\w.]*\b{name}"', page), name


def test_a_link_that_leaves_the_docs_goes_to_a_file_that_is_there() -> None:
    from types import SimpleNamespace

    sys.path.insert(0, str(DOCS / "hooks"))
    try:
        links = importlib.import_module("links")
    finally:
        sys.path.remove(str(DOCS / "hooks"))
    config = SimpleNamespace(docs_dir=str(DOCS))
    page = SimpleNamespace(file=SimpleNamespace(src_uri="models/sd1.md"))

    def shown(text: str) -> str:
        return str(links.on_page_markdown(text, page, config, None))

    assert shown("[results](../results.md#x)") == "[results](../results.md#x)"
    assert shown("see [how](../../CONTRIBUTING.md#add)") == "see how (`CONTRIBUTING.md` in the repository)"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        shown("[x](../../nowhere.md)")


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    pinned = [
        version
        for page in DOCS.rglob("*.md")
        for version in re.findall(r"^\s*rev: v(\S+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert pinned == [project["version"]], "what the docs tell others to pin"
    assert not any(
        re.search(r"^__version__", f.read_text(encoding="utf-8"), re.MULTILINE)
        for f in (ROOT / "safetext_sdk").rglob("*.py")
    )


def test_the_changelog_is_dated_and_begins_with_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert heads[0].split(" - ")[0] == project["version"]
    # The release workflow asks for the date; until then the first one may have none.
    released = heads[1:] if heads[0].endswith(" - unreleased") else heads
    days = [date.fromisoformat(head.split(" - ")[1]) for head in released]
    assert days == sorted(days, reverse=True)


@pytest.mark.parametrize("file", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda p: p.stem)
def test_workflows_are_readable_and_ask_for_little(file: Path) -> None:
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert found["permissions"] == {"contents": "read"}
    for job in found["jobs"].values():
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            for script in re.findall(r"bash (\S+)", step.get("run", "")):
                assert (ROOT / script).is_file()
            for test in re.findall(r"tests/\S+\.py", step.get("run", "")):
                assert (ROOT / test).is_file()
