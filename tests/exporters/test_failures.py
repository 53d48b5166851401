"""Exports that are killed, run out of disk or fail half-way: nothing half under a final name, an older export
stays as it was."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetext_cli.main import run as safetext
from safetext_exporters import export
from support.made_runs import sd1_run

from safetext_sdk.errors import ModelError
from safetext_sdk.verification.file_checks import verify_files

pytest.importorskip("onnxruntime")
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """A run, and an export of it that is already there."""
    folder = tmp_path_factory.mktemp("sd1")
    _, hardened = sd1_run(folder)
    return hardened, export(hardened, "onnx", out=folder / "kept")


def seen(folder: Path) -> list[str]:
    """What a user finds: names that are not hidden."""
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from safetext_exporters import export, onnx

def dies(folder, *args):
    # the moment of greatest temptation: all files written, record not yet
    assert (folder / "text_encoder" / "model.onnx").is_file()
    os.kill(os.getpid(), signal.SIGKILL)

onnx.write_record = dies
export({run!r}, "onnx", out={out!r}, recheck=0)
"""


@pytest.mark.parametrize("older", [False, True], ids=["fresh", "over an older export"])
def test_kill_9_in_the_middle_leaves_no_half_export(made, tmp_path: Path, older: bool) -> None:
    hardened, kept = made
    out = tmp_path / "place" / "onnx"
    out.parent.mkdir()
    if older:
        export(hardened, "onnx", out=out, recheck=0, ids_dtype="int64")
    program = KILLED.format(tests=str(TESTS), run=str(hardened.run.path), out=str(out))
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=300, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()[-2000:]
    assert seen(out.parent) == (["onnx"] if older else [])
    assert any(p.name.startswith(".onnx.tmp-") for p in out.parent.iterdir()), (
        "it was killed before it wrote anything"
    )
    if older:
        assert verify_files(out).ok
        again = export(hardened, "onnx", out=out, recheck=0)
        assert again.files["text_encoder/model.onnx"] == kept.files["text_encoder/model.onnx"]
        assert verify_files(out).ok


@pytest.mark.parametrize("field", ["source", "encoders"])
def test_a_damaged_manifest_is_named_in_one_line(made, field: str, tmp_path: Path, capsys) -> None:
    shutil.copytree(made[0].path, tmp_path / "run")
    manifest = tmp_path / "run" / "manifest.json"
    written = json.loads(manifest.read_text())
    del written[field]
    manifest.write_text(json.dumps(written))
    assert safetext(["export", str(tmp_path / "run"), "-t", "diffusers"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{manifest} is damaged: {field}: " in line
    assert "unexpected" not in line


def full_disk(path: object, *_args: object, **_kwargs: object) -> None:
    """Writes a little and then finds no more room, as a real disk does."""
    Path(str(path)).write_bytes(b"x" * 100)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def fill_the_disk(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if target in ("onnx", "tensorrt"):
        import onnx_ir

        monkeypatch.setattr(onnx_ir, "save", lambda model, path, **options: full_disk(path))
    else:
        import safetensors.torch

        monkeypatch.setattr(safetensors.torch, "save_file", lambda state, path, **options: full_disk(path))


@pytest.mark.parametrize("target", ["onnx", "tensorrt", "diffusers", "comfyui"])
def test_a_full_disk_leaves_nothing_and_is_one_line(
    made, target: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    hardened, _ = made
    fill_the_disk(target, monkeypatch)
    options = ["--set", "any_size=true"] if target == "comfyui" else []
    assert (
        safetext(["export", str(hardened.run.path), "-t", target, "--out", str(tmp_path / "out"), *options])
        == 3
    )
    assert list(tmp_path.iterdir()) == []
    said = capsys.readouterr().err.strip()
    assert "No space left on device" in said
    assert len(said.splitlines()) == 1


def test_a_full_disk_keeps_the_older_export(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hardened, _ = made
    before = export(hardened, "onnx", out=tmp_path / "onnx", recheck=0).files
    fill_the_disk("onnx", monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        export(hardened, "onnx", out=tmp_path / "onnx", recheck=0, precision="fp16")
    assert verify_files(tmp_path / "onnx").ok
    assert [p.name for p in tmp_path.iterdir()] == ["onnx"]
    monkeypatch.undo()
    after = export(hardened, "onnx", out=tmp_path / "onnx", recheck=0, precision="fp16").files
    assert after["text_encoder/model.onnx"] != before["text_encoder/model.onnx"]


def test_the_older_export_is_whole_until_the_new_one_is(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetext_exporters import onnx

    hardened, _ = made
    out = tmp_path / "onnx"
    before = export(hardened, "onnx", out=out, recheck=0).files
    states: list[bool] = []

    def watched(name: str) -> None:
        real = getattr(onnx, name)

        def call(*args: object, **options: object) -> object:
            states.append(verify_files(out).ok and verify_files(out).checked == len(before))
            return real(*args, **options)

        monkeypatch.setattr(onnx, name, call)

    for name in ("export_encoder", "self_check", "write_record"):
        watched(name)
    export(hardened, "onnx", out=out, recheck=0, precision="fp16")
    assert states == [True, True, True]
    assert [p.name for p in tmp_path.iterdir()] == ["onnx"]
    assert (out / "text_encoder" / "model.onnx").stat().st_size < made[1].path.stat().st_size


def test_ctrl_c_leaves_nothing(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetext_exporters import parity

    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(parity, "measure", interrupted)
    assert safetext(["export", str(made[0].run.path), "-t", "onnx", "--out", str(tmp_path / "out")]) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-t", "onnx", "--set", "opset=16"], 2, "opset 16 is not supported: this exporter writes opset 18"),
        (["-t", "openvino"], 2, "onnx"),
        (["-t", "onnx", "--check"], 2, "target onnx has no option check"),
        (["-t", "tensorrt", "--set", "precision=int8"], 2, "TensorRT refuses dynamic int8"),
    ],
)
def test_what_is_not_supported_says_what_is(
    made, arguments: list[str], code: int, message: str, tmp_path: Path, capsys
) -> None:
    assert safetext(["export", str(made[0].run.path), "--out", str(tmp_path / "out"), *arguments]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["onnx", "tensorrt"])
@pytest.mark.parametrize("module", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_extra_names_the_command(
    made, target: str, module: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert safetext(["export", str(made[0].run.path), "-t", target, "--out", str(tmp_path / "out")]) == 3
    assert 'pip install "safetext-sdk[onnx]"' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_int8_of_a_projection_that_is_not_square(tmp_path: Path) -> None:
    """onnxruntime turns such a weight round and used to stumble over its old shape."""
    from safetext_exporters.trace import quantize, save, trace
    from support.minis import clip_text_config
    from transformers import CLIPTextModelWithProjection

    from safetext_sdk.models.onnx_encoder import OnnxEncoder

    torch.manual_seed(0)
    encoder = CLIPTextModelWithProjection(clip_text_config(500, 499, width=48)).eval()
    encoder.text_projection = torch.nn.Linear(48, 20, bias=False).requires_grad_(False)
    (tmp_path / "plain").mkdir()
    save(trace(encoder, "optimum"), tmp_path / "plain" / "model.onnx")
    quantize(tmp_path / "plain" / "model.onnx", tmp_path / "model.onnx")
    assert [p.name for p in (tmp_path / "plain").iterdir()] == ["model.onnx"]
    encoder.config.to_json_file(str(tmp_path / "config.json"), use_diff=False)
    ids = torch.randint(3, 498, (2, 77))
    with torch.no_grad():
        want = encoder(ids).text_embeds
    assert want.shape == (2, 20)
    assert torch.nn.functional.cosine_similarity(OnnxEncoder(tmp_path)(ids).text_embeds, want).min() > 0.98


def test_an_int8_answer_does_not_depend_on_the_neighbours(made, tmp_path: Path) -> None:
    from safetext_sdk.models.onnx_encoder import OnnxEncoder

    hardened, _ = made
    encoder = OnnxEncoder(export(hardened, "onnx", out=tmp_path / "int8", precision="int8", recheck=0).path)
    ids = hardened.model.tokenize(["a cat", "a knife " * 60, "", "屋根の上の猫"])["text_encoder"]["input_ids"]
    alone = torch.cat([encoder(row[None]).last_hidden_state for row in ids])
    assert torch.equal(encoder(ids).last_hidden_state, alone)
    assert not torch.equal(encoder.run({"input_ids": ids})["last_hidden_state"], alone), (
        "the file itself does; else this test says nothing"
    )


def test_an_exports_folder_is_taken_for_its_encoders(made, tmp_path: Path) -> None:
    from safetext_sdk.models.onnx_encoder import encoders_in

    _, kept = made
    for place in (kept.folder, kept.path.parent, kept.path):
        assert {
            name: e.path for name, e in encoders_in(place, ["text_encoder", "text_encoder_2"]).items()
        } == {"text_encoder": kept.path}
    with pytest.raises(ModelError, match="no ONNX file"):
        encoders_in(tmp_path, ["text_encoder"])


def test_a_changed_exported_file_is_another_model(made, tmp_path: Path) -> None:
    """Pictures are kept by this hash: another file must not be served the old ones."""
    from safetext_sdk.models.onnx_encoder import OnnxEncoder
    from safetext_sdk.validation.keys import encoder_sha256

    hardened, kept = made
    half = export(hardened, "onnx", out=tmp_path / "half", precision="fp16", recheck=0)
    split = export(hardened, "onnx", out=tmp_path / "split", external_over=1000, recheck=0)
    models = [
        hardened.model.with_encoders({"text_encoder": OnnxEncoder(r.path)}) for r in (kept, kept, half, split)
    ]
    found = [encoder_sha256(m, "text_encoder") for m in models]
    assert found[0] == found[1]
    assert len(set(found)) == 3
    data = split.path.with_name("model.onnx_data")
    data.write_bytes(data.read_bytes()[:-4] + b"\0\0\0\1")
    assert OnnxEncoder(split.path).sha256 != found[3]


def test_several_targets_under_one_out_get_a_folder_each(made, tmp_path: Path, capsys) -> None:
    assert safetext(["export", str(made[0].run.path), "--out", str(tmp_path / "out")]) == 0
    assert seen(tmp_path / "out") == ["diffusers", "onnx"]
    assert safetext(["verify", str(tmp_path / "out" / "diffusers")]) == 0
    assert safetext(["export", str(made[0].run.path), "-t", "diffusers", "--out", str(tmp_path / "one")]) == 0
    assert (tmp_path / "one" / "text_encoder" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["-t", "diffusers", "-t", "onnx", "--set", "whole=true"], "no option whole"),
        (["-t", "diffusers", "-t", "onx"], "did you mean onnx"),
        (["-t", "diffusers", "--sign", "no-such-key.pem"], "no private key"),
    ],
    ids=["option of one target", "unknown target", "no key"],
)
def test_a_wrong_call_is_told_before_the_first_target_is_written(
    made, tmp_path: Path, wrong: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 means that nothing was written (docs/command-line.md)."""
    hardened, _ = made
    out = tmp_path / "out"
    assert safetext(["export", str(hardened.run.path), "--out", str(out), *wrong]) == 2
    assert says in capsys.readouterr().err
    assert not out.exists()
