"""Families: found by what a folder is, known by nobody by name, and added by one object."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.minis import build_plain_bert, build_sd1

from safetext_sdk.errors import ModelError
from safetext_sdk.models import CATALOGUE, FAMILIES, load_model
from safetext_sdk.models.families import Family, ModelFolder, all_families
from safetext_sdk.models.families.sd1 import SD1
from safetext_sdk.models.layout import CLIP, T5, EncoderFiles
from safetext_sdk.registry import BUILT_IN

ROOT = Path(__file__).parents[2]
NAMES = tuple(entry.name for entry in FAMILIES.entries() if entry.source == BUILT_IN)


def claimed(folder: ModelFolder) -> str:
    """The family that claims a folder most specifically, "" for none."""
    best = max(all_families(), key=lambda family: family.claim(folder))
    return best.name if best.claim(folder) else ""


def pipeline(folder: Path, class_name: str, width: int = 768) -> ModelFolder:
    (folder / "text_encoder").mkdir(parents=True)
    (folder / "text_encoder" / "config.json").write_text(json.dumps({"hidden_size": width}))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": class_name}))
    return ModelFolder.at(folder)


@pytest.mark.parametrize(
    ("class_name", "width", "family"),
    [
        ("StableDiffusionPipeline", 768, "sd1"),
        ("StableDiffusionInpaintPipeline", 768, "sd1"),
        ("StableDiffusionPipeline", 1024, "sd2"),
        ("StableDiffusionXLPipeline", 768, "sdxl"),
        ("StableDiffusionXLImg2ImgPipeline", 1024, "sdxl"),
        ("StableDiffusion3Pipeline", 768, "sd3"),
        ("FluxPipeline", 768, "flux"),
        ("Flux2Pipeline", 768, "flux2-dev"),
        ("Flux2KleinPipeline", 768, "flux2"),
        ("PixArtSigmaPipeline", 768, "pixart"),
        ("QwenImagePipeline", 768, "qwenimage"),
        ("QwenImage21Pipeline", 768, "qwenimage21"),
        ("Kandinsky5T2IPipeline", 768, "kandinsky5"),
        ("KolorsPipeline", 768, ""),
    ],
)
def test_a_pipeline_is_recognised_by_its_index(
    class_name: str, width: int, family: str, tmp_path: Path
) -> None:
    assert claimed(pipeline(tmp_path / "model", class_name, width)) == family


def test_an_encoder_alone_is_recognised(tmp_path: Path) -> None:
    assert claimed(ModelFolder.at(build_plain_bert(tmp_path / "bert"))) == "plain"


def test_the_registry_and_the_families_agree_on_names() -> None:
    assert [FAMILIES.get(name).name for name in NAMES] == list(NAMES)
    assert len({FAMILIES.get(name).title for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.id)
def test_the_catalogue_says_what_the_family_says(entry) -> None:
    family = FAMILIES.get(entry.family)
    known = {spec.name: spec.architecture.hardened_by for spec in family.encoders}
    assert {info.name: info.default for info in entry.encoders} == known


def test_how_an_encoder_is_hardened_follows_from_its_architecture() -> None:
    for architecture, how in ((CLIP, "full"), (T5, "lora")):
        files = EncoderFiles("text_encoder", Path(), architecture, [], {})
        assert all(family.hardened_by_default(files) == how for family in all_families())


def test_what_exporters_and_hardening_ask_follows_from_what_is_read() -> None:
    def those(what: Callable[[Family], object]) -> set[str]:
        return {n for n in NAMES if what(FAMILIES.get(n))}

    assert those(lambda f: f.reads_hidden_states) == {"sdxl", "sd3", "zimage", "lumina2"}
    assert those(lambda f: f.reads_end_token) == {"sdxl", "sd3", "flux", "plain", "kandinsky5", "hidream"}
    assert {n: sorted(FAMILIES.get(n).causal) for n in NAMES if FAMILIES.get(n).causal} == {
        "sd1": ["text_encoder"],
        "sd2": ["text_encoder"],
        "sdxl": ["text_encoder", "text_encoder_2"],
        "sd3": ["text_encoder", "text_encoder_2"],
        "flux": ["text_encoder"],
        "flux2": ["text_encoder"],
        "zimage": ["text_encoder"],
        "qwenimage": ["text_encoder"],
        "lumina2": ["text_encoder"],
        "kandinsky5": ["text_encoder", "text_encoder_2"],
        "hidream": ["text_encoder", "text_encoder_2", "text_encoder_4"],
    }
    assert those(lambda f: f.pads_are_read) == {
        *("sd1", "sd2", "sdxl", "sd3", "flux", "flux2", "flux2-dev", "hidream")
    }
    assert those(lambda f: not f.makes_pictures) == {"plain"}
    assert FAMILIES.get("flux").demo_outputs("text_encoder") == ("pooled_embeddings",)
    assert FAMILIES.get("sd3").demo_outputs("text_encoder_2") == ("hidden_states",)
    assert FAMILIES.get("sd1").demo_outputs("text_encoder") == ()


def test_no_other_code_names_a_family() -> None:
    quoted = re.compile(rf"""["']({"|".join(NAMES)})["']""")
    found = []
    for folder in ("safetext_sdk", "exporters", "cli"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith("safetext_sdk/models/families/") or name == "safetext_sdk/models/catalogue.py":
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                match = quoted.search(line)
                # "plain" also is a group of sentence templates.
                if match and not (match[1] == "plain" and name.startswith("safetext_sdk/prompts/")):
                    found.append(f"{name}:{number}: {line.strip()}")
    assert found == []


class Nested(SD1):
    """A third party's family, as its one file would have it."""

    name = "nested"
    title = "Nested Diffusion"
    pipelines = ("StableDiffusionNested",)
    single_file = None


def test_a_family_of_ones_own_is_found_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build_sd1(tmp_path / "sd1")
    want = load_model(folder, device="cpu").encode(["a gun"]).flat()
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "StableDiffusionNestedPipeline"
    (folder / "model_index.json").write_text(json.dumps(index))
    monkeypatch.setattr(FAMILIES, "_entries", dict(FAMILIES._entries))
    FAMILIES.add("nested", Nested())
    model = load_model(folder, device="cpu")
    assert model.family == "nested"
    assert torch.equal(model.encode(["a gun"]).flat(), want)


def test_a_broken_family_does_not_take_the_others_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FAMILIES, "_entries", dict(FAMILIES._entries))
    FAMILIES.add("broken", "no_such_module:FAMILY", source="somebody's package")
    with pytest.warns(UserWarning, match="broken"):
        assert {family.name for family in all_families()} >= set(NAMES)


def with_lora(folder: Path, target: Path, form: str) -> Path:
    """A copy of a pipeline whose text encoder was saved while a LoRA lay beside its weights."""
    from peft import LoraConfig, inject_adapter_in_model
    from safetensors.torch import save_file
    from transformers import CLIPTextModel

    shutil.copytree(folder, target)
    place = target / "text_encoder"
    encoder = CLIPTextModel.from_pretrained(place)
    config = LoraConfig(r=2, target_modules=["q_proj"])
    (place / "model.safetensors").unlink()
    if form == "adapter":  # what diffusers' save_pretrained leaves: transformers writes the adapter alone
        encoder.add_adapter(config)
        encoder.save_pretrained(place)
    else:
        state = inject_adapter_in_model(config, encoder).state_dict()
        save_file({k: v.contiguous() for k, v in state.items()}, place / "model.safetensors")
    return target


@pytest.mark.parametrize("form", ["adapter", "injected"])
def test_an_unfused_lora_is_named(mini_sd1: Path, form: str, tmp_path: Path) -> None:
    folder = with_lora(mini_sd1, tmp_path / "model", form)
    with pytest.raises(ModelError, match=r"a LoRA that was not fused .*fuse_lora") as caught:
        load_model(folder, device="cpu")
    assert "\n" not in str(caught.value)
