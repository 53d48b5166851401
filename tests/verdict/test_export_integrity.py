"""A report on an exported file speaks for that file alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.bound_case import bound_to, make_run, published
from support.gate_case import passing
from support.integrity_case import reason

from safetext_sdk import gate
from safetext_sdk.errors import RunError


class Exported:
    """As an encoder in an ONNX file looks to a binding."""

    def __init__(self, path: Path) -> None:
        from safetext_sdk.models.onnx_encoder import file_sha256

        self.path, self.sha256 = path, file_sha256(path)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    run = make_run(tmp_path / "run")
    file = run.exports_dir / "onnx" / "text_encoder" / "model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"graph")
    published(bound_to(run, passing(), run.path / "report-exported", exported=Exported(file)))
    return run.path


def test_a_report_on_an_exported_file_is_bound_to_that_file(exported: Path, tmp_path: Path) -> None:
    assert gate(exported / "report-exported").passed
    shutil.copytree(exported, tmp_path / "copy")
    assert gate(tmp_path / "copy" / "report-exported").passed
    file = exported / "exports" / "onnx" / "text_encoder" / "model.onnx"
    file.write_bytes(b"Graph")
    assert "missing or not the one" in reason(gate(exported / "report-exported"), "run_as_measured")
    file.unlink()
    assert "missing or not the one" in reason(gate(exported / "report-exported"), "run_as_measured")
    data = tmp_path / "copy" / "exports" / "onnx" / "text_encoder" / "model.onnx_data"
    data.write_bytes(b"weights beside the graph")
    assert not gate(tmp_path / "copy" / "report-exported").passed


def test_an_exported_file_that_is_not_as_recorded_is_not_measured(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    file = run.exports_dir / "onnx" / "text_encoder" / "model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"graph")
    record = {"files": {"text_encoder/model.onnx": "0" * 64}}
    (run.exports_dir / "onnx" / "export.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"onnx/text_encoder/model\.onnx was changed"):
        bound_to(run, passing(), run.path / "report-exported", exported=Exported(file))
    record = {"files": {}, "forced": ["text_encoder/model.safetensors was changed"]}
    (run.exports_dir / "onnx" / "export.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="was exported with --force although"):
        bound_to(run, passing(), run.path / "report-exported", exported=Exported(file))
