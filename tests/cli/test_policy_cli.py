"""`safetext policy ...` and the reference page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetext_cli.policy import app
from typer.testing import CliRunner

from safetext_sdk.diagnostics.policy_page import reference_page
from safetext_sdk.errors import PolicyError

ROOT = Path(__file__).resolve().parents[2]


def run(*args: str) -> str:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, list(args), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_show_fits_eighty_columns_and_repeats() -> None:
    out = run("show", "weapons", "--model", "tiny", "--sample", "4")
    assert max(len(line) for line in out.splitlines() if not line.startswith("  ")) <= 80
    assert out.count("    -> ") == 4
    assert out == run("show", "weapons", "--model", "tiny", "--sample", "4")
    assert out != run("show", "weapons", "--model", "tiny", "--sample", "4", "--seed", "1")


def test_show_json_has_counts_and_sample() -> None:
    data = json.loads(
        run("show", "weapons", "gore", "--json", "--sample", "3", "--split", "test", "--size", "300")
    )
    assert data["name"] == "weapons-gore"
    assert {c["id"] for c in data["concepts"]} == {"weapon", "gore", "injury"}
    assert len(data["sample"]["unsafe"]) == 3
    assert set(data["sample"]["unsafe"][0]) == {"text", "anchor", "concept", "synonym", "template"}
    assert data["counts"]["train"]["unsafe"] == 300
    assert len(json.loads(run("show", "gore", "--json", "--all", "--size", "50"))["sample"]["unsafe"]) == 50


def test_lint_warns_and_fails(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "version: 1\nname: p\nconcepts:\n  - {id: a, terms: [zork, blarg, grue], anchors: [a tulip]}\n"
    )
    out = run("lint", str(path))
    assert "warning: gates: no gates" in out
    assert max(map(len, out.splitlines())) <= 80
    assert {f["code"] for f in json.loads(run("lint", str(path), "--json"))["findings"]} >= {
        "no-gates",
        "no-detector",
    }
    path.write_text(path.read_text().replace("a tulip", "a zork"))
    with pytest.raises(PolicyError, match="which is unsafe itself") as caught:
        run("lint", str(path))
    assert caught.value.file == str(path)


def test_schema_list_and_bad_split(tmp_path: Path) -> None:
    assert json.loads(run("schema"))["title"] == "SafeText policy"
    assert "written:" in run("schema", "--page", "--out", str(tmp_path / "page.md"))
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == reference_page()
    assert {r["name"] for r in json.loads(run("list", "--json"))} >= {"weapons", "nudity"}
    assert "self-harm" in run("list")
    with pytest.raises(Exception, match="unknown split"):
        run("show", "weapons", "--split", "dev")


def test_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    assert page == reference_page(), "run: safetext policy schema --page --out docs/policies.md"
    for field in ("anchor_choice", "detector_rule", "except_models", "unseen_kept_drop"):
        assert f"`{field}`" in page


def test_policy_package_imports_no_torch() -> None:
    code = (
        "import sys, safetext_cli.policy, safetext_sdk.diagnostics.policy_lint, "
        "safetext_sdk.diagnostics.policy_page;"
        "from safetext_sdk.policy import *; from safetext_sdk.prompts import *; "
        "build_prompt_book(load_policy('gore'), size=20); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
