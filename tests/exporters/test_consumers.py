"""The examples, really run: an exported encoder in onnxruntime without torch, and in Node.js; their numbers
are torch's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetext_exporters import export
from support.minis import build_sd1

from safetext_sdk.models import load_model

pytest.importorskip("onnxruntime")
EXAMPLES = Path(__file__).parents[2] / "examples"
PROMPTS = ["a photo of a cat", ""]
NODE = shutil.which("node")
PACKAGES = os.environ.get("SAFETEXT_NODE_MODULES", "")
"""Folder ``node_modules`` with onnxruntime-node, where the whole JavaScript example is to be run; its
tokenizer is tested without."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    model = load_model(build_sd1(tmp_path_factory.mktemp("sd1")), device="cpu")
    return model, export(model, "onnx", out=tmp_path_factory.mktemp("out") / "onnx").folder


def by_torch(model, prompt: str) -> torch.Tensor:
    with torch.no_grad():
        return model.encoders["text_encoder"](
            model.tokenize([prompt])["text_encoder"]["input_ids"]
        ).pooler_output[0, :8]


def run_python(folder: Path, *prompts: str) -> subprocess.CompletedProcess[str]:
    """The example with an import of anything that a product does not ship failing."""
    alone = (
        "import runpy, sys; sys.modules.update(torch=None, transformers=None, safetext_sdk=None); "
        "runpy.run_path(sys.argv.pop(1))"
    )
    command = [sys.executable, "-c", alone, str(EXAMPLES / "onnx_minimal.py"), str(folder), *prompts]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_python_example_without_torch_gives_torchs_numbers(made) -> None:
    model, folder = made
    done = run_python(folder, *PROMPTS)
    assert done.returncode == 0, done.stderr
    first, *rows = done.stdout.splitlines()
    assert first == "tokenizer: 200 of 200 test vectors agree"
    for prompt, row in zip(PROMPTS, map(json.loads, rows), strict=True):
        assert row["prompt"] == prompt
        torch.testing.assert_close(torch.tensor(row["pooled"]), by_torch(model, prompt), atol=1e-4, rtol=0)


def test_python_example_notices_a_tokenizer_that_does_not_pad(made, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made[1], tmp_path / "onnx"))
    path = folder / "tokenizer" / "tokenizer.json"
    bare = {**json.loads(path.read_text(encoding="utf-8")), "padding": None, "truncation": None}
    path.write_text(json.dumps(bare), encoding="utf-8")
    done = run_python(folder)
    assert done.returncode == 1
    assert "200 of 200" not in done.stdout


def test_python_example_is_short() -> None:
    text = (EXAMPLES / "onnx_minimal.py").read_text(encoding="utf-8")
    code = [line for line in text.split('"""')[2].splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) <= 20


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
def test_javascript_tokenizer_agrees_with_all_test_vectors(made, tmp_path: Path) -> None:
    _, folder = made
    program = f"""
import {{ readFileSync }} from "node:fs";
import {{ ClipTokenizer }} from {json.dumps((EXAMPLES / "onnx_node" / "tokenizer.mjs").as_uri())};
const [folder, vectors] = process.argv.slice(2);
const tokenizer = new ClipTokenizer(folder);
const rows = readFileSync(vectors, "utf8").trim().split("\\n").map((line) => JSON.parse(line));
const wrong = rows.filter((r) => JSON.stringify(tokenizer.encode(r.text)) !== JSON.stringify(r.ids));
console.log(JSON.stringify([rows.length, wrong.map((r) => r.tests)]));
"""
    (tmp_path / "check.mjs").write_text(program, encoding="utf-8")
    vectors = folder / "tokenizer" / "test_vectors.jsonl"

    def check(rows: Path) -> list[object]:
        command = [str(NODE), str(tmp_path / "check.mjs"), str(folder / "tokenizer"), str(rows)]
        return json.loads(
            subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
        )

    assert check(vectors) == [200, []]
    changed = [json.loads(line) for line in vectors.read_text(encoding="utf-8").splitlines()]
    changed[7]["ids"][1] += 1
    (tmp_path / "changed.jsonl").write_text("\n".join(map(json.dumps, changed)), encoding="utf-8")
    assert check(tmp_path / "changed.jsonl") == [200, [changed[7]["tests"]]]


@pytest.mark.skipif(
    NODE is None or not PACKAGES, reason="needs Node.js and SAFETEXT_NODE_MODULES with onnxruntime-node"
)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_javascript_example_gives_torchs_numbers(made, prompt: str, tmp_path: Path) -> None:
    model, folder = made
    shutil.copytree(
        EXAMPLES / "onnx_node", tmp_path / "example", ignore=shutil.ignore_patterns("node_modules")
    )
    (tmp_path / "example" / "node_modules").symlink_to(PACKAGES, target_is_directory=True)
    command = [str(NODE), str(tmp_path / "example" / "index.mjs"), str(folder), prompt]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "tokenizer: 200 of 200 test vectors agree"
    torch.testing.assert_close(
        torch.tensor(json.loads(second)["pooled"]), by_torch(model, prompt), atol=1e-4, rtol=0
    )
