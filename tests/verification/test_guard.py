"""A serving process stops where its pipeline does not hold the hardened encoder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.made_runs import disturb, sd1_run, sdxl_run

import safetext_sdk as st
from safetext_sdk.errors import NotHardenedError, RunError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return sd1_run(tmp_path_factory.mktemp("guard"))


def pipe_with(model: Any, **encoders: Any) -> Any:
    """What a diffusers pipeline shows of its text side."""
    parts = {**model.encoders, **encoders}
    tokenizers = {name.replace("text_encoder", "tokenizer"): t for name, t in model.tokenizers.items()}
    return SimpleNamespace(**parts, **tokenizers)


def test_a_pipeline_with_the_hardened_encoder_is_given_back(made: Any) -> None:
    _, hardened = made
    pipe = hardened.model.pipeline()
    assert st.guard(pipe, hardened) is pipe
    assert st.guard(pipe, hardened.path) is pipe
    assert st.guard(pipe, str(hardened.path)) is pipe


def test_any_other_encoder_is_refused(made: Any, mini_sd1: Path) -> None:
    original, hardened = made
    with pytest.raises(NotHardenedError, match="original: it is the original encoder"):
        st.guard(original.pipeline(), hardened)
    other = disturb(st.load_model(original.source.path, device="cpu").encoders["text_encoder"], seed=9)
    with pytest.raises(NotHardenedError, match="neither the hardened encoder nor the original"):
        st.guard(pipe_with(original, text_encoder=other), hardened)
    with pytest.raises(NotHardenedError, match="could not tell: a SimpleNamespace has none of text_encoder"):
        st.guard(SimpleNamespace(), hardened)
    assert NotHardenedError.exit_code == 1


def test_half_a_replacement_is_refused(tmp_path: Path) -> None:
    original, hardened = sdxl_run(tmp_path)
    whole = pipe_with(hardened.model)
    partial = any(state != "hardened" for state in hardened.run.manifest["encoders"].values())
    if partial:
        with pytest.raises(NotHardenedError, match="is partly hardened"):
            st.guard(whole, hardened)
    assert st.guard(whole, hardened, allow_partial=partial) is whole
    mixed = pipe_with(hardened.model, text_encoder_2=original.encoders["text_encoder_2"])
    if not partial:
        with pytest.raises(NotHardenedError, match="partly"):
            st.guard(mixed, hardened)
    lone = SimpleNamespace(text_encoder=whole.text_encoder, tokenizer=whole.tokenizer)
    with pytest.raises(NotHardenedError, match="has no text_encoder_2"):
        st.guard(lone, hardened, allow_partial=True)


def test_a_run_that_was_changed_proves_nothing(tmp_path: Path) -> None:
    _, hardened = sd1_run(tmp_path)
    (hardened.path / "policy.yaml").write_text("version: 1\nname: other\nconcepts: []\n")
    with pytest.raises(NotHardenedError, match="is not as recorded"):
        st.guard(hardened.model.pipeline(), hardened)
    with pytest.raises(RunError, match="is not a run folder"):
        st.guard(hardened.model.pipeline(), tmp_path / "nowhere")


class Clip:
    """What the node reads of ComfyUI's CLIP: weights below ``clip_l.transformer.`` and so on, and patches."""

    def __init__(self, names: dict[str, str], encoders: dict[str, Any], patches: dict[str, Any]) -> None:
        self.patcher = SimpleNamespace(patches=patches)
        state = {"clip_l.logit_scale": torch.ones(1)}
        for name, short in names.items():
            for key, value in encoders[name].state_dict().items():
                nested = key if key.startswith("text_") else f"text_model.{key}"
                state[f"{short}.transformer.{nested}"] = value.half()
        self.cond_stage_model = SimpleNamespace(state_dict=lambda: state)


def node() -> Any:
    place = Path(__file__).parents[2] / "examples" / "comfyui_node" / "__init__.py"
    spec = importlib.util.spec_from_file_location("comfyui_node", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NODE_CLASS_MAPPINGS["SafeTextEncoderCheck"]()


def test_the_comfyui_node_says_which_encoder_is_loaded(made: Any) -> None:
    original, hardened = made
    names = {"text_encoder": "clip_l"}
    given = Clip(names, hardened.model.encoders, {})
    found = node().check(given, str(hardened.path))
    assert found["result"][0] is given
    assert found["result"][1].startswith("Clip: hardened:")
    assert found["ui"]["text"] == [found["result"][1]]
    other = Clip(names, original.encoders, {})
    assert node().check(other, str(hardened.path), stop=False)["result"][1].startswith("Clip: original:")
    with pytest.raises(NotHardenedError, match="original"):
        node().check(other, str(hardened.path))
    patched = Clip(names, hardened.model.encoders, {"clip_l.transformer.x": 1})
    with pytest.raises(NotHardenedError, match="could not tell: 1 weights have patches"):
        node().check(patched, str(hardened.path))


def test_the_node_finds_half_a_replacement(tmp_path: Path) -> None:
    original, hardened = sdxl_run(tmp_path)
    names = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
    mixed = {**hardened.model.encoders, "text_encoder_2": original.encoders["text_encoder_2"]}
    said = node().check(Clip(names, mixed, {}), str(hardened.path), stop=False)["result"][1]
    assert said.startswith("Clip: partly: text_encoder_2 is not the hardened one")
