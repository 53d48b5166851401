"""`verify`: changed files are found; the encoder in the field is recognised, whatever holds it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetext_exporters import export
from support.ldm_case import checkpoint
from support.made_runs import disturb, make_run, sd1_run, sdxl_run

from safetext_sdk.errors import RunError
from safetext_sdk.files import sha256_file
from safetext_sdk.models import load_model
from safetext_sdk.models.run_folder import RunFolder
from safetext_sdk.verification.file_checks import verify_files
from safetext_sdk.verification.identify import verify_against

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory):
    return sd1_run(tmp_path_factory.mktemp("sd1"))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory):
    return sdxl_run(tmp_path_factory.mktemp("sdxl"))


@pytest.fixture(scope="module")
def exports(sd1, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("exports")
    original, hardened = sd1
    return {
        "hardened": {t: export(hardened, t, out=folder / t) for t in ("onnx", "diffusers")},
        "original": {t: export(original, t, out=folder / f"{t}-original") for t in ("onnx", "diffusers")},
    }


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.fixture
def run_copy(sd1, tmp_path: Path) -> Path:
    shutil.copytree(sd1[1].path, tmp_path / "run")
    return tmp_path / "run"


def test_an_untouched_run_and_export_pass(sd1, exports) -> None:
    for target in (
        sd1[1].path,
        exports["hardened"]["onnx"].folder,
        exports["hardened"]["onnx"].path,
        exports["hardened"]["diffusers"].folder,
    ):
        check = verify_files(target)
        assert (check.ok, check.exit_code, check.changed) == (True, 0, ())
        assert check.checked >= 4


def test_one_flipped_byte_is_found_in_every_file(sd1, exports, tmp_path: Path) -> None:
    for number, source in enumerate([sd1[1].path, exports["hardened"]["onnx"].folder]):
        shutil.copytree(source, tmp_path / str(number))
        record = json.loads(next((tmp_path / str(number)).glob("[em]*t.json")).read_text())
        assert len(record["files"]) >= 6
        for name in record["files"]:
            path = tmp_path / str(number) / name
            kept = path.read_bytes()
            flip(path)
            check = verify_files(tmp_path / str(number))
            assert check.changed == (name,), name
            assert (check.missing, check.added, check.exit_code) == ((), (), 1)
            path.write_bytes(kept)
        assert verify_files(tmp_path / str(number)).ok


def test_missing_and_added_files_are_found(run_copy: Path) -> None:
    (run_copy / "text_encoder" / "config.json").unlink()
    (run_copy / "text_encoder" / "pytorch_model.bin").write_bytes(b"\x80\x02")
    (run_copy / "loader.py").write_text("import os")
    check = verify_files(run_copy)
    assert check.missing == ("text_encoder/config.json",)
    assert set(check.added) == {"loader.py", "text_encoder/pytorch_model.bin"}
    assert check.exit_code == 1
    assert "missing: text_encoder/config.json" in check.text()


def test_a_report_does_not_count_as_added_and_exports_are_checked_with_the_run(run_copy: Path) -> None:
    (run_copy / "report").mkdir()
    (run_copy / "report" / "results.partial.jsonl").write_text("")
    result = export(run_copy, "onnx")
    assert result.folder == run_copy / "exports" / "onnx"
    assert verify_files(run_copy).ok
    flip(result.path)
    assert verify_files(run_copy).changed == ("exports/onnx/text_encoder/model.onnx",)


def test_what_no_record_is_about_counts_as_added_among_exports(run_copy: Path, tmp_path: Path) -> None:
    model = run_copy / "exports" / "onnx" / "text_encoder" / "model.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"as exported")
    record = run_copy / "exports" / "onnx" / "export.json"
    record.write_text(json.dumps({"files": {"text_encoder/model.onnx": sha256_file(model)}}))
    assert verify_files(run_copy).ok
    shutil.copytree(record.parent, tmp_path / "elsewhere")
    (run_copy / "exports" / "linked").symlink_to(tmp_path / "elsewhere")
    assert verify_files(run_copy).ok, "an export that is a link is checked as well"
    (tmp_path / "elsewhere" / "text_encoder" / "model.onnx").write_bytes(b"another")
    assert verify_files(run_copy).changed == ("exports/linked/text_encoder/model.onnx",)
    (tmp_path / "elsewhere" / "export.json").unlink()
    record.unlink()
    (run_copy / "exports" / "model.safetensors").write_bytes(b"loose")
    check = verify_files(run_copy)
    assert check.added == (
        "exports/linked",
        "exports/model.safetensors",
        "exports/onnx/text_encoder/model.onnx",
    )
    assert (check.changed, check.missing, check.exit_code) == ((), (), 1)


def test_no_record_or_an_empty_one_is_no_pass(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing to compare"):
        verify_files(tmp_path)
    with pytest.raises(RunError, match="does not exist"):
        verify_files(tmp_path / "nowhere" / "deep")
    (tmp_path / "export.json").write_text('{"files": {}}')
    with pytest.raises(RunError, match="records no files"):
        verify_files(tmp_path)
    (tmp_path / "export.json").write_text("not json")
    with pytest.raises(RunError, match="cannot be read"):
        verify_files(tmp_path)


@pytest.mark.parametrize("which", ["hardened", "original"])
@pytest.mark.parametrize(
    "form",
    [
        "onnx file",
        "onnx folder",
        "diffusers folder",
        "encoder folder",
        "weights alone",
        "live pipeline",
        "model",
    ],
)
def test_every_form_is_recognised(sd1, exports, which: str, form: str, tmp_path: Path) -> None:
    original, hardened = sd1
    model = hardened.model if which == "hardened" else original
    onnx, folder = exports[which]["onnx"], exports[which]["diffusers"].folder
    weights = tmp_path / "clip_l.safetensors"
    shutil.copyfile(folder / "text_encoder" / "model.safetensors", weights)
    targets: dict[str, Callable[[], object]] = {
        "onnx file": lambda: onnx.path,
        "onnx folder": lambda: onnx.folder,
        "diffusers folder": lambda: folder,
        "encoder folder": lambda: folder / "text_encoder",
        "weights alone": lambda: weights,
        "live pipeline": model.pipeline,
        "model": lambda: model,
    }
    check = verify_against(hardened.run, targets[form]())
    assert check.verdict == which, check.text()
    assert check.exit_code == (0 if which == "hardened" else 1)


SEVERAL = {
    "onnx in a pipeline": ("text_encoder/model.onnx", "text_encoder/model.safetensors"),
    "onnx in an encoder's folder": ("model.onnx", "model.safetensors"),
    "variant in a pipeline": ("text_encoder/model.safetensors", "text_encoder/model.fp16.safetensors"),
    "variant of any name": ("text_encoder/model.safetensors", "text_encoder/model.other.safetensors"),
    "variant in a run": ("text_encoder/model.safetensors", "text_encoder/model.bf16.safetensors"),
    "loose files": ("clip_l_safetext.safetensors", "clip_l.safetensors"),
    "loose beside a pipeline": ("text_encoder/model.safetensors", "clip_l.safetensors"),
    "checkpoint beside a pipeline": ("text_encoder/model.safetensors", "sd.safetensors"),
}


@pytest.mark.parametrize("form", SEVERAL)
def test_the_worst_of_several_sets_of_weights_decides(sd1, exports, form: str, tmp_path: Path) -> None:
    """Whichever of the two a front-end takes."""
    original, hardened = sd1
    names = SEVERAL[form]

    def put(model: str, name: str) -> None:
        place = tmp_path / "target" / name
        place.unlink(missing_ok=True)
        if name == "sd.safetensors":
            checkpoint(hardened.model if model == "hardened" else original, place)
            return
        target = "onnx" if name.endswith(".onnx") else "diffusers"
        file = "model.onnx" if target == "onnx" else "model.safetensors"
        shutil.copyfile(exports[model][target].folder / "text_encoder" / file, place)

    if "loose files" in form:
        (tmp_path / "target").mkdir()
    else:
        source = hardened.path if "run" in form else original.source.path
        shutil.copytree(source / "text_encoder" if "folder" in form else source, tmp_path / "target")
    for kinds in (("hardened", "original"), ("original", "hardened"), ("hardened", "hardened")):
        for kind, name in zip(kinds, names, strict=True):
            put(kind, name)
        check = verify_against(hardened.run, tmp_path / "target")
        if "original" in kinds:
            assert (check.verdict, check.exit_code) == ("original", 1), check.text()
            assert check.reason.startswith(f"{names[kinds.index('original')]}: it is the original")
        else:
            assert (check.verdict, check.exit_code) == ("hardened", 0), check.text()
            assert "2 sets of weights" in check.reason


@pytest.mark.parametrize("beside", ["a pickle", "a cut variant", "shards of the same weights"])
def test_weights_that_cannot_be_read_beside_hardened_ones_are_no_pass(
    sd1, beside: str, tmp_path: Path
) -> None:
    original, hardened = sd1
    shutil.copytree(original.source.path, tmp_path / "target")
    folder = tmp_path / "target" / "text_encoder"
    weights = folder / "model.safetensors"
    shutil.copyfile(weights, folder / "model-00001-of-00001.safetensors")
    shutil.copyfile(hardened.path / "text_encoder" / "model.safetensors", weights)
    assert verify_against(hardened.run, tmp_path / "target").exit_code == 0, "no index names the shard"
    if beside == "a pickle":
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x02pickle")
    elif beside == "a cut variant":
        cut(Path(shutil.copyfile(weights, folder / "model.fp16.safetensors")))
    else:
        index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    check = verify_against(hardened.run, tmp_path / "target")
    assert (check.verdict, check.exit_code) == ("unknown", 3), check.text()
    shutil.copyfile(folder / "model-00001-of-00001.safetensors", weights)
    assert verify_against(hardened.run, tmp_path / "target").verdict == "original", "known to be wrong"


def test_other_files_beside_a_pipeline_are_not_asked(sd1, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    _, hardened = sd1
    shutil.copytree(hardened.path, tmp_path / "target")
    for key in ("unet.conv_in.weight", "text_encoder.text_model.encoder.layers.0.lora_A.weight"):
        save_file({key: torch.zeros(3)}, tmp_path / "target" / f"{key[:4]}.safetensors")
    check = verify_against(hardened.run, tmp_path / "target")
    assert check.verdict == "hardened"
    assert "sets of weights" not in check.reason


def test_half_precision_is_still_recognised(sd1, tmp_path: Path) -> None:
    original, hardened = sd1
    for model, verdict in ((hardened.model, "hardened"), (original, "original")):
        result = export(model, "onnx", out=tmp_path / verdict, precision="fp16")
        assert verify_against(hardened.run, result.path).verdict == verdict


def test_neither(sd1, tmp_path: Path) -> None:
    original, hardened = sd1
    other = disturb(load_model(original.source.path, device="cpu").encoders["text_encoder"], seed=99)
    check = verify_against(hardened.run, original.with_encoders({"text_encoder": other}))
    assert (check.verdict, check.exit_code) == ("neither", 1)
    mixed = load_model(original.source.path, device="cpu").encoders["text_encoder"]
    with torch.no_grad():
        for p, q in zip(
            mixed.parameters(), hardened.model.encoders["text_encoder"].parameters(), strict=True
        ):
            p.lerp_(q, 0.5)
    assert verify_against(hardened.run, original.with_encoders({"text_encoder": mixed})).verdict == "neither"


@pytest.mark.parametrize("kept", ["text_encoder", "text_encoder_2"])
def test_one_of_two_encoders_is_partly(sdxl, kept: str) -> None:
    original, hardened = sdxl
    other = {"text_encoder": "text_encoder_2", "text_encoder_2": "text_encoder"}[kept]
    check = verify_against(hardened.run, original.with_encoders({kept: hardened.model.encoders[kept]}))
    assert (check.verdict, check.exit_code) == ("partly", 1)
    assert check.encoders == {kept: "hardened", other: "not hardened"}
    assert verify_against(hardened.run, hardened.model).verdict == "hardened"
    assert verify_against(hardened.run, original).verdict == "original"


def test_sdxl_onnx_export_is_recognised_whole_and_in_parts(sdxl, tmp_path: Path) -> None:
    original, hardened = sdxl
    result = export(hardened, "onnx", out=tmp_path / "xl")
    assert result.path == result.folder
    assert verify_against(hardened.run, result.folder).verdict == "hardened"
    alone = verify_against(hardened.run, result.folder / "text_encoder_2" / "model.onnx")
    assert alone.verdict == "hardened"
    assert "text_encoder was not in the target" in alone.reason
    old = export(original, "onnx", out=tmp_path / "old")
    shutil.copytree(old.folder / "text_encoder_2", result.folder / "text_encoder_2", dirs_exist_ok=True)
    check = verify_against(hardened.run, result.folder)
    assert (check.verdict, check.encoders["text_encoder_2"]) == ("partly", "not hardened")
    assert not verify_files(result.folder).ok
    # An encoder without ONNX beside one with it, in an export's folder and in a pipeline.
    shutil.rmtree(result.folder / "text_encoder_2")
    shutil.copytree(original.source.path / "text_encoder_2", result.folder / "text_encoder_2")
    shutil.copytree(original.source.path, tmp_path / "pipeline")
    (tmp_path / "pipeline" / "text_encoder" / "model.safetensors").unlink()
    onnx = result.folder / "text_encoder" / "model.onnx"
    shutil.copyfile(onnx, tmp_path / "pipeline" / "text_encoder" / "model.onnx")
    for folder in (result.folder, tmp_path / "pipeline"):
        check = verify_against(hardened.run, folder)
        assert check.verdict == "partly", check.text()
        assert check.encoders == {"text_encoder": "hardened", "text_encoder_2": "not hardened"}
        assert "was not in the target" not in check.reason


def test_int8_is_recognised_with_a_wider_tolerance(sd1, tmp_path: Path) -> None:
    original, hardened = sd1
    for model, verdict in ((hardened.model, "hardened"), (original, "original")):
        result = export(model, "onnx", out=tmp_path / verdict, precision="int8")
        assert verify_against(hardened.run, result.path).verdict == verdict


@pytest.fixture(scope="module")
def another(sd1, tmp_path_factory: pytest.TempPathFactory):
    """An encoder that is neither, in a pipeline's frame, with its exports."""
    folder = tmp_path_factory.mktemp("another")
    original, _ = sd1
    other = original.with_encoders(
        {"text_encoder": disturb(load_model(original.source.path, device="cpu").encoders["text_encoder"], 99)}
    )
    return other, {t: export(other, t, out=folder / t) for t in ("onnx", "diffusers")}


@pytest.mark.parametrize(
    "form",
    [
        "onnx file",
        "onnx folder",
        "diffusers folder",
        "encoder folder",
        "weights alone",
        "checkpoint",
        "live pipeline",
    ],
)
def test_neither_in_every_form(sd1, another, form: str, tmp_path: Path) -> None:
    model, made = another
    folder = made["diffusers"].folder
    shutil.copyfile(folder / "text_encoder" / "model.safetensors", tmp_path / "clip_l.safetensors")
    targets: dict[str, Callable[[], object]] = {
        "onnx file": lambda: made["onnx"].path,
        "onnx folder": lambda: made["onnx"].folder,
        "diffusers folder": lambda: folder,
        "encoder folder": lambda: folder / "text_encoder",
        "weights alone": lambda: tmp_path / "clip_l.safetensors",
        "checkpoint": lambda: checkpoint(model, tmp_path / "sd.safetensors"),
        "live pipeline": model.pipeline,
    }
    check = verify_against(sd1[1].run, targets[form]())
    assert (check.verdict, check.exit_code) == ("neither", 1), check.text()


@pytest.mark.parametrize("form", ["diffusers folder", "checkpoint", "live pipeline"])
def test_partly_in_every_form(sdxl, form: str, tmp_path: Path) -> None:
    from types import SimpleNamespace

    original, hardened = sdxl
    half = original.with_encoders({"text_encoder": hardened.model.encoders["text_encoder"]})
    targets: dict[str, Callable[[], object]] = {
        "diffusers folder": lambda: export(half, "diffusers", out=tmp_path / "out").folder,
        "checkpoint": lambda: checkpoint(half, tmp_path / "xl.safetensors"),
        # What of a pipeline is looked at: its encoders and tokenizers, by their names in diffusers.
        "live pipeline": lambda: SimpleNamespace(
            **half.encoders,
            tokenizer=half.tokenizers["text_encoder"],
            tokenizer_2=half.tokenizers["text_encoder_2"],
        ),
    }
    check = verify_against(hardened.run, targets[form]())
    assert (check.verdict, check.exit_code) == ("partly", 1), check.text()
    assert check.encoders == {"text_encoder": "hardened", "text_encoder_2": "not hardened"}
    assert "text_encoder_2 is not the hardened one" in check.text()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _no_encoder() -> object:
    from types import SimpleNamespace

    return SimpleNamespace(text_encoder=None, unet=object())


@pytest.mark.parametrize(
    "damage",
    [
        "onnx cut",
        "onnx without config",
        "onnx with a damaged config",
        "onnx of something else",
        "onnx without its external data",
        "onnx with cut external data",
        "folder with cut weights",
        "folder without weights",
        "folder with a damaged config",
        "folder with another width",
        "folder with a damaged tokenizer",
        "folder with a pickle",
        "checkpoint cut",
        "checkpoint of something else",
        "loose weights of something else",
        "an empty file",
        "a pipeline without an encoder",
        "a string",
    ],
)
def test_a_damaged_target_is_one_line_and_exit_3(sd1, exports, damage: str, tmp_path: Path, capsys) -> None:
    from safetensors.torch import save_file
    from safetext_cli.main import run as safetext

    _, hardened = sd1
    onnx, folder, file = tmp_path / "onnx", tmp_path / "folder", tmp_path / "file.safetensors"
    target: object = file
    if damage.startswith("onnx"):
        if "external" in damage:
            export(hardened, "onnx", out=onnx, external_over=1000, recheck=0)
        else:
            shutil.copytree(exports["hardened"]["onnx"].folder, onnx)
        target = model = onnx / "text_encoder" / "model.onnx"
        if damage == "onnx cut":
            cut(model)
        elif damage == "onnx without config":
            model.with_name("config.json").unlink()
        elif damage == "onnx with a damaged config":
            cut(model.with_name("config.json"))
        elif damage == "onnx without its external data":
            model.with_name("model.onnx_data").unlink()
        elif damage == "onnx with cut external data":
            cut(model.with_name("model.onnx_data"))
        else:
            import onnx as onnx_library
            from onnx import TensorProto, helper

            value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
            graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", value[:1], value[1:])
            onnx_library.save(
                helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
                str(model),
            )
    elif damage.startswith("folder"):
        shutil.copytree(exports["hardened"]["diffusers"].folder, folder)
        target, weights, config = (
            folder,
            folder / "text_encoder" / "model.safetensors",
            folder / "text_encoder" / "config.json",
        )
        if damage == "folder with cut weights":
            cut(weights)
        elif damage == "folder without weights":
            weights.unlink()
        elif damage == "folder with a damaged config":
            cut(config)
        elif damage == "folder with another width":
            text = json.loads(config.read_text())
            config.write_text(json.dumps({**text, "hidden_size": text["hidden_size"] * 2}))
        elif damage == "folder with a damaged tokenizer":
            for name in ("tokenizer.json", "vocab.json", "merges.txt"):
                if (folder / "tokenizer" / name).is_file():
                    cut(folder / "tokenizer" / name)
        else:
            weights.unlink()
            weights.with_name("pytorch_model.bin").write_bytes(b"\x80\x02pickle")
    elif damage == "checkpoint cut":
        cut(checkpoint(hardened.model, file))
    elif damage in ("checkpoint of something else", "loose weights of something else"):
        save_file({"text_model.a" if "loose" in damage else "a": torch.zeros(3)}, file)
    elif damage == "an empty file":
        file.write_bytes(b"")
    elif damage == "a pipeline without an encoder":
        target = _no_encoder()
    else:
        target = "no/such/model"
    check = verify_against(hardened.run, target)
    assert (check.verdict, check.exit_code) == ("unknown", 3), check.text()
    assert len(check.text().splitlines()) == 1
    assert len(check.reason) > 15
    if isinstance(target, (str, Path)):
        assert safetext(["verify", "--against", str(hardened.path), str(target)]) == 3
        said = capsys.readouterr()
        assert "could not tell" in said.out
        assert "Traceback" not in said.out + said.err


def test_exit_codes_of_the_command(sd1, exports, another, capsys) -> None:
    from safetext_cli.main import run as safetext

    for target, code, word in (
        (exports["hardened"]["onnx"].path, 0, "hardened"),
        (exports["original"]["onnx"].path, 1, "original"),
        (another[1]["onnx"].path, 1, "neither"),
    ):
        assert safetext(["verify", "--against", str(sd1[1].path), str(target)]) == code
        assert f": {word}: " in capsys.readouterr().out
    assert safetext(["verify", "--against", str(exports["hardened"]["onnx"].folder), str(target)]) == 3
    assert "is not a run folder" in capsys.readouterr().err


def test_a_report_on_an_exported_file_does_not_count_as_added(run_copy: Path) -> None:
    (run_copy / "report-exported").mkdir()
    (run_copy / "report-exported" / "results.partial.jsonl").write_text("")
    assert verify_files(run_copy).ok


def test_could_not_tell_is_exit_3(sd1, exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    _, hardened = sd1
    (tmp_path / "broken.onnx").write_bytes(b"not onnx")
    (tmp_path / "model.ckpt").write_bytes(b"\x80\x02pickle")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.safetensors").write_bytes(b"12")
    for name in ("broken.onnx", "model.ckpt", "empty", "bad.safetensors", "nowhere"):
        check = verify_against(hardened.run, tmp_path / name)
        assert (check.verdict, check.exit_code) == ("unknown", 3), name
    assert verify_against(hardened.run, object()).verdict == "unknown"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    check = verify_against(hardened.run, exports["hardened"]["onnx"].path)
    assert check.exit_code == 3
    assert 'pip install "safetext-sdk[onnx]"' in check.reason


def test_a_run_that_changed_nothing_cannot_tell(sd1, tmp_path: Path) -> None:
    original, _ = sd1
    run = make_run(tmp_path / "run", original)
    manifest = run.run.manifest
    for known in manifest["canaries"].values():
        known["hardened"] = known["original"]
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    assert verify_against(run.run, original).exit_code == 3
    manifest["canaries"] = {}
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="no canaries"):
        verify_against(run.run, original)


def test_the_original_need_not_be_on_this_machine(sd1, exports, tmp_path: Path) -> None:
    original, _ = sd1
    shutil.copytree(original.source.path, tmp_path / "model")
    run = make_run(tmp_path / "run", load_model(tmp_path / "model", device="cpu"))
    shutil.rmtree(tmp_path / "model")
    assert verify_against(run.run, exports["hardened"]["onnx"].path).verdict == "hardened"
    assert verify_against(run.run, exports["original"]["onnx"].path).verdict == "original"


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_the_original_is_neither_read_nor_looked_for(
    family: str, request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights can be gigabytes, or on a hub that does not answer; the run folder holds all that is asked
    for."""
    import safetext_sdk.models

    original, hardened = request.getfixturevalue(family)

    def unavailable(*_args: object, **_options: object) -> None:
        raise AssertionError("the original model was asked for")

    monkeypatch.setattr(safetext_sdk.models, "load_model", unavailable)
    assert verify_against(hardened.run, hardened.model).verdict == "hardened"
    assert verify_against(hardened.run, original).verdict == "original"
    assert verify_against(hardened.run, hardened.path).verdict == "hardened"


def test_a_run_that_left_an_encoder_alone_takes_it_from_the_original(sdxl, tmp_path: Path) -> None:
    original, _ = sdxl
    half = make_run(tmp_path / "run", original, ("text_encoder_2",))
    assert verify_against(half.run, half.model).verdict == "hardened"
    assert verify_against(half.run, original).verdict == "original"


def test_the_command_imports_no_denoiser_library(sd1, exports) -> None:
    import subprocess
    import sys

    program = (
        "import sys; from safetext_cli.main import run; code = run(sys.argv[1:]); "
        "print(sorted({'diffusers', 'onnx', 'peft', 'nudenet'} & set(sys.modules))); sys.exit(code)"
    )
    command = [
        sys.executable,
        "-c",
        program,
        "verify",
        "--against",
        str(sd1[1].path),
        str(exports["hardened"]["onnx"].path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    (RunFolder.create(tmp_path / "run").path / "settings.json").write_text("{}")
    with pytest.raises(RunError, match="did not finish"):
        verify_against(tmp_path / "run", tmp_path)


def test_answers_are_serialisable(sd1, exports) -> None:
    check = verify_against(sd1[1].path, str(exports["original"]["onnx"].path))
    assert json.loads(json.dumps(check.as_dict()))["exit_code"] == 1
    assert "original" in check.text()
    assert json.loads(json.dumps(verify_files(sd1[1].path).as_dict()))["ok"] is True
