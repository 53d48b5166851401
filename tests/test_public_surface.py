"""What users may rely on: names that are exported, modules that import, and what importing must not cost."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import safetext_cli
import safetext_exporters

import safetext_sdk

ROOT = Path(__file__).resolve().parent.parent


def test_exported_names_exist_and_are_sorted() -> None:
    assert list(safetext_sdk.__all__) == sorted(safetext_sdk.__all__)
    for name in safetext_sdk.__all__:
        assert getattr(safetext_sdk, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = safetext_sdk.nonsense


def test_every_public_callable_is_documented() -> None:
    for name in safetext_sdk.__all__:
        assert (getattr(safetext_sdk, name).__doc__ or "").strip(), f"{name} has no docstring"


@pytest.mark.parametrize("package", [safetext_sdk, safetext_cli, safetext_exporters])
def test_every_module_imports(package) -> None:
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not info.name.endswith("__main__"):
            import_module(info.name)


@pytest.mark.parametrize(
    "statement",
    [
        "import safetext_sdk",
        "import safetext_sdk.policy; safetext_sdk.policy.load_policy('weapons')",
        "from safetext_sdk.methods import METHODS; METHODS.entries()",
        "from safetext_sdk.detectors import DETECTORS; DETECTORS.entries()",
        "from safetext_sdk.models.families import FAMILIES; FAMILIES.entries()",
        "from safetext_cli.main import run; assert run(['--help']) == 0",
        "from safetext_cli.main import run; assert run(['models', 'list']) == 0",
    ],
)
def test_light_calls_do_not_import_torch(statement: str) -> None:
    code = f"import sys\n{statement}\nassert 'torch' not in sys.modules, 'torch was imported'"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT / "tests"
    )
    assert done.returncode == 0, done.stderr[-600:]


def _imports(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            out |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            out.add(node.module.split(".")[0])
    return out


def test_the_library_never_imports_its_users() -> None:
    for file in (ROOT / "safetext_sdk").rglob("*.py"):
        assert not _imports(file) & {"safetext_exporters", "safetext_cli", "safetext_lab", "torchvision"}, (
            file
        )
    for file in (ROOT / "exporters").rglob("*.py"):
        assert "safetext_cli" not in _imports(file), file


def test_no_pickle_is_ever_loaded() -> None:
    """But for tensors alone, where somebody asks for a conversion, in a process of its own."""
    child = ROOT / "safetext_sdk" / "models" / "convert_child.py"
    loads = [
        n
        for n in ast.walk(ast.parse(child.read_text(encoding="utf-8")))
        if isinstance(n, ast.Call) and ast.unparse(n.func) == "torch.load"
    ]
    assert len(loads) == 1
    assert "weights_only=True" in [ast.unparse(k) for k in loads[0].keywords]
    for file in (ROOT / "safetext_sdk").rglob("*.py"):
        assert "convert_child" not in _imports(file), file
    for folder in ("safetext_sdk", "exporters", "cli", "lab"):
        for file in (ROOT / folder).rglob("*.py"):
            assert not _imports(file) & {"pickle", "cloudpickle", "dill", "joblib"}, file
            calls = [
                n.func
                for n in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
                if isinstance(n, ast.Call)
            ]
            assert file == child or "torch.load" not in [ast.unparse(f) for f in calls], file
