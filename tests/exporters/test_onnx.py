"""Target ``onnx`` on a miniature pipeline: against torch, in onnxruntime, inside a diffusers pipeline."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetext_exporters import EXPORTERS, export, options_of
from safetext_exporters import parity as parity_module
from safetext_exporters.graph import ClipGraph, signature
from safetext_exporters.trace import FORBIDDEN, check_options, op_counts, save, trace
from support.minis import build_sd1, clip_text_config

from safetext_sdk.errors import MissingExtraError, ModelError, UsageError
from safetext_sdk.models import load_model
from safetext_sdk.models.families import FAMILIES
from safetext_sdk.models.onnx_encoder import OnnxEncoder

pytest.importorskip("onnxruntime")
PROMPTS = ["", "a photo of a cat", "屋根の上の猫", "a knife " * 80]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    return load_model(build_sd1(tmp_path_factory.mktemp("sd1")), device="cpu")


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory: pytest.TempPathFactory):
    return export(model, "onnx", out=tmp_path_factory.mktemp("exports") / "onnx")


def encoder_of(kind: str, eos: int, seed: int = 0, **extra: object):
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    config = clip_text_config(500, 499, **extra)
    config.eos_token_id = eos
    return {"plain": CLIPTextModel, "projected": CLIPTextModelWithProjection}[kind](config).eval()


def id_rows() -> torch.Tensor:
    """One row with one EOS at the end, one padded with EOS, one with EOS at once, one without any."""
    torch.manual_seed(1)
    ids = torch.randint(3, 498, (4, 77))
    ids[:, 0] = 498
    ids[0, -1] = 499
    ids[1, 9:] = 499
    ids[2, 1:] = 499
    return ids


@pytest.mark.parametrize("eos", [2, 499])
@pytest.mark.parametrize("kind", ["plain", "projected"])
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_the_traced_module_computes_what_transformers_computes(kind: str, eos: int, activation: str) -> None:
    encoder = encoder_of(kind, eos, hidden_act=activation)
    graph, ids = ClipGraph(encoder, "optimum-hidden"), id_rows()
    with torch.no_grad():
        want, got = (
            encoder(ids, output_hidden_states=True),
            dict(zip(graph.signature.outputs, graph(ids.int()), strict=True)),
        )
    pooled = "text_embeds" if kind == "projected" else "pooler_output"
    torch.testing.assert_close(got[pooled], want[pooled], atol=2e-5, rtol=0)
    torch.testing.assert_close(got["last_hidden_state"], want.last_hidden_state, atol=2e-5, rtol=0)
    for i, state in enumerate(want.hidden_states):
        torch.testing.assert_close(got[f"hidden_states.{i}"], state, atol=2e-5, rtol=0)


def test_both_pooling_branches_differ_so_that_testing_both_means_something() -> None:
    ids = id_rows()[:1].clone()
    ids[0, 5] = 499  # first EOS at 5; the highest id is there too, so lower it for the argmax branch
    ids[0, 20] = 499
    a, b = (ClipGraph(encoder_of("plain", eos), "optimum") for eos in (2, 499))
    assert torch.equal(
        a(ids)[1], b(ids)[1]
    )  # 499 is both the EOS and the largest id: the same first position
    ids[0, 5] = 250
    b.eos = 250
    assert not torch.equal(a(ids)[1], b(ids)[1])


def test_attention_mask_is_an_input_where_the_config_asks_for_it_and_matches_torch(tmp_path: Path) -> None:
    encoder, ids = encoder_of("plain", 499), id_rows()
    encoder.config.use_attention_mask = True
    mask = torch.ones_like(ids)
    mask[1, 10:] = 0
    path = tmp_path / "model.onnx"
    save(trace(encoder, "optimum"), path)
    encoder.config.to_json_file(str(tmp_path / "config.json"), use_diff=False)
    exported = OnnxEncoder(path)
    assert list(exported.inputs) == ["input_ids", "attention_mask"]
    with torch.no_grad():
        torch.testing.assert_close(
            exported(ids, attention_mask=mask)[0], encoder(ids, attention_mask=mask)[0], atol=2e-5, rtol=0
        )
        assert not torch.allclose(exported(ids, attention_mask=mask)[0], exported(ids)[0], atol=1e-3)


@pytest.mark.parametrize(
    ("contract", "kind", "family", "names"),
    [
        ("optimum", "plain", "sd1", ["last_hidden_state", "pooler_output"]),
        ("optimum", "projected", "sdxl", ["text_embeds", "last_hidden_state"]),
        (
            "optimum-hidden",
            "plain",
            "sdxl",
            ["last_hidden_state", "pooler_output", *(f"hidden_states.{i}" for i in range(4))],
        ),
        ("trt-demo", "plain", "sd1", ["text_embeddings"]),
        ("trt-demo", "plain", "sdxl", ["text_embeddings", "hidden_states"]),
        ("trt-demo", "projected", "sdxl", ["text_embeddings", "hidden_states"]),
        ("trt-demo", "plain", "flux", ["text_embeddings", "pooled_embeddings"]),
    ],
)
def test_each_contract_names_its_outputs_in_order(
    contract: str, kind: str, family: str, names: list[str], tmp_path: Path
) -> None:
    encoder = encoder_of(kind, 499)
    demo = FAMILIES.get(family).demo_outputs("text_encoder_2" if kind == "projected" else "text_encoder")
    assert list(signature(encoder, contract, demo).outputs) == names
    save(trace(encoder, contract, demo=demo), tmp_path / "model.onnx")
    encoder.config.to_json_file(str(tmp_path / "config.json"), use_diff=False)
    exported = OnnxEncoder(tmp_path)
    assert exported.outputs == names
    got = exported.run(
        {name: id_rows() if name == "input_ids" else torch.ones(4, 77) for name in exported.inputs}
    )
    with torch.no_grad():
        want = encoder(id_rows(), output_hidden_states=True)
    torch.testing.assert_close(got[names[0]], want[0], atol=2e-5, rtol=0)
    if "hidden_states" in names:
        torch.testing.assert_close(got["hidden_states"], want.hidden_states[-2], atol=2e-5, rtol=0)


@pytest.mark.parametrize("ids_dtype", ["int32", "int64"])
def test_graph_is_static_but_for_the_batch(ids_dtype: str, tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "model.onnx"
    save(trace(encoder_of("plain", 499), "optimum", ids_dtype=ids_dtype), path)
    proto = onnx.load(str(path))
    onnx.checker.check_model(proto, full_check=True)
    assert {(i.domain, i.version) for i in proto.opset_import} == {("", 18)}
    (ids,) = proto.graph.input
    assert (
        ids.type.tensor_type.elem_type
        == {"int32": onnx.TensorProto.INT32, "int64": onnx.TensorProto.INT64}[ids_dtype]
    )
    assert ids.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert ids.type.tensor_type.shape.dim[1].dim_value == 77
    assert not FORBIDDEN & set(op_counts(path))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_export_is_deterministic_and_carries_no_path(model, precision: str, tmp_path: Path) -> None:
    import onnx

    digests = set()
    for i in range(2):
        result = export(model, "onnx", out=tmp_path / str(i), precision=precision)
        digests.add(hashlib.sha256(result.path.read_bytes()).hexdigest())
        proto = onnx.load(str(result.path))
        del proto.graph.initializer[:]  # weights may hold any byte
        assert not any(
            needle in str(proto) for needle in ("/", ".py", "torch", "metadata_props", "doc_string")
        )
    assert len(digests) == 1


def test_export_changes_with_the_weights(model, exported, tmp_path: Path) -> None:
    import copy

    other = copy.deepcopy(model.encoders["text_encoder"])
    with torch.no_grad():
        next(p for n, p in other.named_parameters() if n.endswith("fc1.weight")).add_(1e-3)
    again = export(model.with_encoders({"text_encoder": other}), "onnx", out=tmp_path / "again")
    assert again.files["text_encoder/model.onnx"] != exported.files["text_encoder/model.onnx"]


def test_files_record_and_parity(model, exported) -> None:
    folder = exported.path.parent.parent
    assert exported.path == folder / "text_encoder" / "model.onnx"
    record = json.loads((folder / "export.json").read_text())
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {"export.json"}
    assert (
        set(record["files"])
        == present
        >= {
            "text_encoder/model.onnx",
            "text_encoder/config.json",
            "text_encoder/parity.json",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt",
        }
    )
    assert all(
        hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        for name, digest in record["files"].items()
    )
    figures = json.loads((folder / "text_encoder" / "parity.json").read_text())
    assert figures["batches"] == [1, 2, 8]
    assert len(figures["prompts"]) == 8
    assert figures["prompts"][0] == ""
    for row in figures["outputs"].values():
        assert 0 < row["max_abs"] < 2e-5
        assert row["cosine"] > 0.999999


def test_parity_record_is_measured_not_written_down(model, exported) -> None:
    """The figures follow the encoder: against other weights they are bad, and `require` refuses them."""
    other = load_model(model.source.path, device="cpu").encoders["text_encoder"]
    with torch.no_grad():
        other.get_input_embeddings().weight.mul_(1.5)
    asked = signature(other, "optimum")
    inputs, expected = parity_module.reference(other, model.tokenizers["text_encoder"], asked)
    record = parity_module.measure(OnnxEncoder(exported.path).run, inputs, expected)
    assert record["outputs"]["last_hidden_state"]["relative"] > 1e-2
    with pytest.raises(ModelError, match="too far from the torch encoder"):
        parity_module.require(record, "fp32")


def test_a_failed_export_leaves_nothing(model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(parity_module.LIMITS, "fp32", {"relative": 0.0, "cosine": 1.0})
    with pytest.raises(ModelError, match="nothing was kept"):
        export(model, "onnx", out=tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_test_vectors_are_what_the_tokenizer_gives(model, exported) -> None:
    rows = [
        json.loads(line)
        for line in (exported.path.parent.parent / "tokenizer" / "test_vectors.jsonl")
        .read_text()
        .splitlines()
    ]
    assert len(rows) == 200
    assert len({r["text"] for r in rows}) >= 195
    for row in rows:
        ids = model.tokenize([row["text"]])["text_encoder"]["input_ids"][0].tolist()
        assert row["ids"] == ids
        assert len(ids) == 77


def test_generation_with_the_onnx_encoder_gives_the_same_pictures(model, exported) -> None:
    swapped = model.with_encoders({"text_encoder": OnnxEncoder(exported.path)})

    def pictures(m) -> np.ndarray:
        generator = torch.Generator().manual_seed(7)
        arguments = {
            "num_inference_steps": 3,
            "guidance_scale": 4.0,
            "output_type": "np",
            "height": 16,
            "width": 16,
        }
        return m.pipeline()(
            ["a cat", "a photo of a knife"], negative_prompt=["", "a dog"], generator=generator, **arguments
        ).images

    torch_pictures, onnx_pictures = pictures(model), pictures(swapped)
    assert swapped.pipeline().text_encoder is swapped.encoders["text_encoder"]
    assert torch_pictures.std() > 1e-3
    assert np.abs(torch_pictures - onnx_pictures).max() <= 1e-4


def test_swapping_is_seen_in_the_pictures(model, tmp_path: Path) -> None:
    """The test above can fail: another encoder gives other pictures."""
    other = load_model(model.source.path, device="cpu").encoders["text_encoder"]
    with torch.no_grad():
        other.get_input_embeddings().weight.mul_(-3)
    result = export(model.with_encoders({"text_encoder": other}), "onnx", out=tmp_path / "onnx")
    swapped = model.with_encoders({"text_encoder": OnnxEncoder(result.path)})
    a, b = (m.encode(["a cat"]).flat() for m in (model, swapped))
    assert (a - b).abs().max() > 1e-2


def test_conditioning_with_the_exported_encoder(model, tmp_path: Path) -> None:
    result = export(model, "onnx", out=tmp_path / "hidden", contract="optimum-hidden")
    swapped = model.with_encoders({"text_encoder": OnnxEncoder(result.path)})
    torch.testing.assert_close(
        swapped.encode(PROMPTS).flat(), model.encode(PROMPTS).flat(), atol=2e-5, rtol=0
    )
    for skip in (1, 2):
        torch.testing.assert_close(
            swapped.encode(PROMPTS, clip_skip=skip).flat(),
            model.encode(PROMPTS, clip_skip=skip).flat(),
            atol=2e-5,
            rtol=0,
        )


def test_half_precision_encoder_says_so(model, tmp_path: Path) -> None:
    result = export(model, "onnx", out=tmp_path / "half", precision="fp16")
    encoder = OnnxEncoder(result.path)
    assert encoder.dtype == torch.float16
    assert (
        encoder(model.tokenize(["a cat"])["text_encoder"]["input_ids"]).last_hidden_state.dtype
        == torch.float16
    )
    # A denoiser in float32 refuses half precision, so in its pipeline the same file answers in float32.
    swapped = model.with_encoders({"text_encoder": encoder})
    assert swapped.encode(["a cat"]).flat().dtype == torch.float32
    arguments = {"num_inference_steps": 2, "output_type": "np", "height": 16, "width": 16}
    drawn = [
        m.pipeline()(["a cat"], generator=torch.Generator().manual_seed(7), **arguments).images
        for m in (model, swapped)
    ]
    assert np.abs(drawn[0] - drawn[1]).max() < 0.02
    assert encoder.dtype == torch.float16, "the encoder that was given stays as it was"
    assert result.path.stat().st_size < 0.6 * export(model, "onnx", out=tmp_path / "full").path.stat().st_size


def test_external_data_beside_the_graph(model, exported, tmp_path: Path) -> None:
    result = export(model, "onnx", out=tmp_path / "big", external_over=10_000)
    assert "text_encoder/model.onnx_data" in result.files
    assert result.path.stat().st_size < exported.path.stat().st_size / 2
    ids = model.tokenize(PROMPTS)["text_encoder"]["input_ids"]
    assert torch.equal(OnnxEncoder(result.path)(ids)[0], OnnxEncoder(exported.path)(ids)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 16}, "opset 16 is not supported.*18"),
        ({"precision": "int4"}, "unknown precision 'int4'; known: fp32, fp16, int8"),
        ({"ids_dtype": "float"}, "int32 or int64"),
        ({"contract": "nobody"}, "unknown contract 'nobody'; known: optimum"),
        ({"contract": "trt-demo", "precision": "int8"}, "TensorRT refuses dynamic int8"),
        ({"speed": 11}, "target onnx has no option speed; it has precision"),
    ],
)
def test_a_wrong_option_says_what_is_right(
    model, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        export(model, "onnx", out=tmp_path / "x", **options)
    assert list(tmp_path.iterdir()) == []


def test_an_exporter_that_writes_another_opset_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.onnx.export

    def other_opset(*args: object, **kwargs: object) -> object:
        program = real(*args, **kwargs)
        program.model.opset_imports[""] = 17
        return program

    monkeypatch.setattr(torch.onnx, "export", other_opset)
    with pytest.raises(ModelError, match="opset 17 where 18"):
        trace(encoder_of("plain", 499), "optimum")


def test_a_folder_that_is_no_export_is_not_replaced(model, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not an earlier export"):
        export(model, "onnx", out=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_an_encoder_that_is_not_clip_is_refused_by_name(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    bert = BertModel(
        BertConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
    )
    stub = SimpleNamespace(
        id="bert", reader=FAMILIES.get("plain"), encoders={"text_encoder": bert}, tokenizers={}
    )
    with pytest.raises(ModelError, match="takes CLIP and T5 text encoders; bert has BertModel"):
        export(stub, "onnx", out=tmp_path / "x")


def test_without_onnxruntime_the_command_that_installs_it_is_named(
    model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r'pip install "safetext-sdk\[onnx\]"'):
        export(model, "onnx", out=tmp_path / "x")
    with pytest.raises(MissingExtraError, match=r'pip install "safetext-sdk\[onnx\]"'):
        OnnxEncoder(tmp_path)


def test_encoder_refuses_what_the_file_does_not_give(model, exported, tmp_path: Path) -> None:
    encoder = OnnxEncoder(exported.path)
    ids = model.tokenize(["a cat"])["text_encoder"]["input_ids"]
    with pytest.raises(ModelError, match="no hidden states; export it with contract optimum-hidden"):
        encoder(ids, output_hidden_states=True)
    with pytest.raises(ModelError, match=r"takes ids \[batch, 77\]"):
        encoder(ids[:, :10])
    with pytest.raises(ModelError, match="takes no attention mask"):
        encoder(ids, attention_mask=torch.zeros_like(ids))
    with pytest.raises(ModelError, match="no ONNX file"):
        OnnxEncoder(tmp_path)
    (tmp_path / "model.onnx").write_bytes(exported.path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded as an ONNX model"):
        OnnxEncoder(tmp_path)
    (tmp_path / "model.onnx").write_bytes(exported.path.read_bytes())
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        OnnxEncoder(tmp_path)


def test_registry_lists_every_target_without_importing_it() -> None:
    assert {"diffusers", "onnx"} <= set(EXPORTERS.names())
    assert all(entry.summary for entry in EXPORTERS.entries() if entry.source == "built-in")
    assert options_of("onnx")["precision"] == "fp32"
    with pytest.raises(UsageError, match="did you mean onnx"):
        options_of("onxx")


def test_check_options_accepts_what_is_written_down() -> None:
    for precision in ("fp32", "fp16", "int8"):
        check_options(precision, 18, "int32")
