"""An encoder that no run of ours made is judged like one of ours, and its report is bound to its files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from safetext_cli.main import run as command
from support.small_case import small_policy

import safetext_sdk as st
from safetext_sdk.errors import UsageError
from safetext_sdk.results.facts import AuditedEncoder
from safetext_sdk.validation.generate import Settings
from safetext_sdk.verdict.integrity import encoder_as_measured
from safetext_sdk.verification.file_checks import verify_files

N = 6


@pytest.fixture(scope="module")
def tiny() -> Any:
    torch.set_num_threads(1)
    return st.load_model("tiny", device="cpu")


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A policy that six prompts can pass."""
    return st.load_policy(small_policy(tmp_path_factory.mktemp("policy")))


def noisy(encoder: Any, share: float) -> dict[str, torch.Tensor]:
    """Weights with a little noise: an encoder that answers differently and defends nothing."""
    generator = torch.Generator().manual_seed(3)
    state = {k: v.clone() for k, v in encoder.state_dict().items() if v.is_floating_point()}
    return {k: v + share * v.std() * torch.randn(v.shape, generator=generator) for k, v in state.items()}


def defended(model: Any, policy: Any) -> dict[str, torch.Tensor]:
    """Weights to which every word of a weapon is the moon: crude, but a defence against plain prompts."""
    split = model.tokenizers["text_encoder"]
    book = st.build_prompt_book(policy, seed=0, model=model.id)
    words = {i for u in book.test.unsafe for i in split(u.synonym).input_ids}
    words -= set(split("a crescent moon").input_ids)
    state = {k: v.clone() for k, v in model.encoders["text_encoder"].state_dict().items()}
    name = next(k for k in state if k.endswith("token_embedding.weight"))
    state[name][sorted(words)] = state[name][split("moon").input_ids[1]].clone()
    return state


@pytest.fixture(scope="module")
def five(tiny: Any, loose: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Five encoders as others publish them."""
    from peft import LoraConfig, get_peft_model
    from safetext_exporters import export

    folder = tmp_path_factory.mktemp("five")
    source = Path(tiny.source.path)
    encoder = tiny.encoders["text_encoder"]
    made = {name: folder / name for name in ("pipeline", "lora", "onnx")}
    save_file(noisy(encoder, 0.02), folder / "noise.safetensors")
    # A pipeline whose encoder defends, as a rival would publish it.
    shutil.copytree(source, made["pipeline"])
    safe = defended(tiny, loose)
    weights = made["pipeline"] / "text_encoder" / "model.safetensors"
    names = load_file(weights).keys()
    stored = {k: safe[k if k in safe else k.removeprefix("text_model.")] for k in names}
    save_file(stored, weights, metadata={"format": "pt"})
    # The same weights as a pickle, converted.
    torch.save({"state_dict": stored}, folder / "encoder.pt")
    assert command(["convert", str(folder / "encoder.pt")]) == 0
    adapted = get_peft_model(
        st.load_model("tiny", device="cpu").encoders["text_encoder"],
        LoraConfig(r=2, target_modules=["q_proj", "v_proj"]),
    )
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02, generator=torch.Generator().manual_seed(1))
    adapted.save_pretrained(made["lora"])
    export(st.load_model(made["pipeline"], device="cpu"), "onnx", out=made["onnx"])
    return {**made, "noise": folder / "noise.safetensors", "converted": folder / "encoder.safetensors"}


@pytest.mark.slow
def test_five_encoders_of_others_in_one_table(
    five: dict[str, Path], tiny: Any, loose: Any, tmp_path: Path
) -> None:
    order = ["noise", "pipeline", "converted", "lora", "onnx"]
    found = st.compare(
        [five[name] for name in order],
        loose,
        model=tiny,
        baselines=("original",),
        out=tmp_path / "table",
        n=N,
        attacks="none",
        progress=False,
    )
    rows = dict(zip(["original", *order], found.entries, strict=True))
    assert [rows[name].detail for name in order] == [
        "safetensors file",
        "diffusers pipeline",
        "safetensors file",
        "LoRA",
        "ONNX file",
    ]
    verdicts = {name: rows[name].verdict for name in order}
    passed = {name for name, verdict in verdicts.items() if verdict == "pass"}
    assert passed == {"pipeline", "converted", "onnx"}, verdicts
    assert verdicts["noise"] == verdicts["lora"] == "fail"
    # Three files of the same weights are one encoder.
    rates = {rows[name].figures.unsafe.value for name in passed if rows[name].figures.unsafe}
    assert rates == {0.0}
    page = (tmp_path / "table" / "index.html").read_text()
    assert "<svg" in page
    assert all(rows[name].name in page for name in order)


@pytest.fixture(scope="module")
def audited(five: dict[str, Path], loose: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One audit, in a folder with a copy of its encoder."""
    folder = tmp_path_factory.mktemp("audited")
    shutil.copy(five["converted"], folder / "encoder.safetensors")
    return st.audit(
        "tiny",
        folder / "encoder.safetensors",
        loose,
        out=folder / "report",
        n=N,
        attacks="none",
        # So few prompts prove something only if the undefended model draws the weapon for every one of them.
        settings=Settings(steps=12),
        progress=False,
        device="cpu",
    )


def test_the_report_speaks_for_the_files(audited: Any) -> None:
    facts = audited.facts
    assert facts.bound is None
    assert facts.method is None
    assert list(facts.audited.files) == ["../encoder.safetensors"]
    assert facts.audited.original == dict(st.load_model("tiny", device="cpu").source.files)
    assert any(line.startswith("how the encoder was made") for line in facts.not_measured)
    verdict = st.gate(audited.folder)
    assert verdict.exit_code == 0
    gates = {gate.name: gate for gate in verdict.gates}
    assert gates["encoder_as_measured"].verdict == "pass"
    assert "run_as_measured" not in gates
    assert verify_files(audited.folder).ok


def test_a_changed_encoder_passes_no_gate(audited: Any) -> None:
    path = audited.folder.parent / "encoder.safetensors"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        verdict = st.gate(audited.folder)
        assert verdict.exit_code == 1
        (found,) = [g for g in verdict.gates if g.name == "encoder_as_measured"]
        assert found.reason == "encoder.safetensors is not the one that was measured"
        assert verify_files(audited.folder).changed == (
            "../encoder.safetensors (the encoder that was measured)",
        )
        path.unlink()
        assert st.gate(audited.folder).exit_code == 1
    finally:
        path.write_bytes(whole)
    assert st.gate(audited.folder).exit_code == 0


def test_names_without_hashes_prove_nothing(audited: Any) -> None:
    empty = AuditedEncoder(ref="x", form="LoRA", encoders=("text_encoder",), files={}, original={})
    assert encoder_as_measured(audited, empty).verdict == "inconclusive"


def test_other_files_than_the_evidence_says(audited: Any) -> None:
    """Who points the report at another encoder changes what was measured."""
    summary = audited.folder / "summary.json"
    text = summary.read_text()
    try:
        sha = next(iter(audited.facts.audited.files.values()))
        summary.write_text(text.replace(sha, "0" * 64))
        verdict = st.gate(st.Report.load(audited.folder))
        failed = {g.name for g in verdict.gates if g.verdict == "fail"}
        assert {"report_as_measured", "encoder_as_measured"} <= failed
    finally:
        summary.write_text(text)


def test_the_command_says_what_it_needs(five: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for args in ([], ["--original", "tiny"], ["--original", "tiny", "--encoder", str(five["lora"])]):
        assert command(["validate", *args]) == 2
        assert "name a run, or an encoder without one: --original MODEL" in capsys.readouterr().err
    with pytest.raises(UsageError, match="is the second argument"):
        st.audit("tiny", five["lora"], "weapons", encoder=five["lora"])
    pickle = five["converted"].with_name("encoder.pt")
    args = ["--original", "tiny", "--encoder", str(pickle), "--policy", "weapons", "--attacks", "none"]
    assert command(["validate", *args]) == 3
    assert "safetext convert" in capsys.readouterr().err


def test_an_audit_is_loaded_in_the_precision_that_is_asked_for(
    mini_sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--precision`` of `validate` was taken for a run and dropped, without a word, for an audit."""
    from safetext_sdk import flow

    seen: list[Any] = []
    monkeypatch.setattr(flow, "_measure", lambda subjects, *rest: seen.append(subjects))
    st.audit(mini_sd1, mini_sd1 / "text_encoder", "weapons", out=tmp_path, device="cpu", precision="bf16")
    assert [m.dtype for m in (seen[0].original, seen[0].hardened)] == [torch.bfloat16] * 2
    given = seen[0].hardened.encoders["text_encoder"]
    assert next(given.parameters()).dtype == torch.bfloat16
