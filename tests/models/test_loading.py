"""Loading: what is refused, and what it says; writing: what every reader must find."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.minis import build_sd1, build_tokenizer

from safetext_sdk.errors import ModelError
from safetext_sdk.models import CATALOGUE, compare, fingerprint, load_model
from safetext_sdk.models.writing import encoder_state, write_encoder, write_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sd1(tmp_path_factory.mktemp("sd1"))


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


class Hostile:
    """Creates a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "model.ckpt"])
def test_a_pickle_is_refused_and_never_run(broken: Path, tmp_path: Path, name: str) -> None:
    (broken / "text_encoder" / "model.safetensors").unlink()
    (broken / "text_encoder" / name).write_bytes(pickle.dumps(Hostile(tmp_path / "owned")))
    with pytest.raises(ModelError, match=r"pickle.*never opened.*convert"):
        load_model(broken)
    assert not (tmp_path / "owned").exists()
    pickle.loads(pickle.dumps(Hostile(tmp_path / "owned")))  # the trap does work
    assert (tmp_path / "owned").exists()


def test_a_pickled_single_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ModelError, match="pickle"):
        load_model(path)


def test_a_truncated_file(broken: Path) -> None:
    path = broken / "text_encoder" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="truncated"):
        load_model(broken)
    path.write_bytes(b"\x10")
    with pytest.raises(ModelError, match="not a complete safetensors file"):
        load_model(broken)


@pytest.mark.parametrize("header", [[], None, {"a": "x"}, {"a": {"dtype": "F32", "shape": [1]}}])
def test_a_header_that_is_json_of_another_form(broken: Path, header: object) -> None:
    raw = json.dumps(header).encode()
    path = broken / "text_encoder" / "model.safetensors"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(8))
    with pytest.raises(ModelError, match="damaged safetensors header"):
        load_model(broken)


def test_a_tokenizer_that_says_no_length(broken: Path) -> None:
    path = broken / "tokenizer" / "tokenizer_config.json"
    said = json.loads(path.read_text())
    del said["model_max_length"]
    path.write_text(json.dumps(said))
    with pytest.raises(ModelError, match="no model_max_length"):
        load_model(broken).tokenize(["a cat"])


def test_a_wrong_architecture(broken: Path) -> None:
    path = broken / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "num_hidden_layers": 5}))
    with pytest.raises(ModelError, match="do not fit"):
        load_model(broken)
    path.write_text(json.dumps({**config, "hidden_size": 64}))
    with pytest.raises(ModelError, match="text_encoder"):
        load_model(broken)
    path.write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(ModelError, match="wrong architecture"):
        load_model(broken)


def test_an_unknown_pipeline(broken: Path) -> None:
    path = broken / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "_class_name": "PixArtAlphaPipeline"}))
    with pytest.raises(ModelError, match=r"PixArtAlphaPipeline.*supported"):
        load_model(broken)


def test_a_wrong_tokenizer(broken: Path) -> None:
    tokenizer = load_model(broken).tokenizers["text_encoder"]
    tokenizer.add_tokens(["<more>", "<and more>"])
    shutil.rmtree(broken / "tokenizer")
    tokenizer.save_pretrained(broken / "tokenizer")
    with pytest.raises(ModelError, match="wrong tokenizer"):
        load_model(broken)


def test_a_tokenizer_with_another_end_token(broken: Path) -> None:
    path = broken / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "eos_token_id": 17}))
    with pytest.raises(ModelError, match="pools at id 17"):
        load_model(broken)
    path.write_text(json.dumps({**config, "eos_token_id": 2}))  # the older form pools at the largest id: fine
    load_model(broken)


def test_unknown_names_say_what_is_near() -> None:
    with pytest.raises(ModelError, match=r"did you mean .*sd14"):
        load_model("sd41")
    with pytest.raises(ModelError, match="unknown precision"):
        load_model("sd14", precision="fp8")
    with pytest.raises(ModelError, match="unknown device"):
        load_model("sd14", device="abacus")


def test_offline_with_an_empty_cache_names_three_ways_out(tmp_path: Path) -> None:
    code = (
        "from safetext_sdk.models import load_model\nfrom safetext_sdk.errors import SafeTextError\n"
        "try:\n    load_model('sd14')\nexcept SafeTextError as e:\n    print(e.exit_code, e)"
    )
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "HF_HUB_CACHE": str(tmp_path / "hub"),
    }
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("3 ")
    assert len(done.stdout.strip().splitlines()) == 1
    for way in ("cache", "local folder", "HF_ENDPOINT"):
        assert way in done.stdout


def test_the_catalogue_needs_no_torch() -> None:
    code = (
        "import sys\nfrom safetext_sdk.models import CATALOGUE as C\nprint(len([e.as_dict() for e in "
        "C.values()]), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(CATALOGUE)), "False"]
    wanted = {
        "tiny",
        "sd14",
        "sd15",
        "sd21",
        "sdxl",
        "sdxl-turbo",
        "sd3-medium",
        "sd35-medium",
        "sd35-large",
        "flux-schnell",
        "flux-dev",
        "clip-vit-l-14",
    }
    assert wanted <= set(CATALOGUE)
    assert all(e.licence and e.encoders and e.memory_gb > 0 for e in CATALOGUE.values())


def test_written_encoder_has_prefixed_keys_types_and_config_of_the_source(
    broken: Path, tmp_path: Path
) -> None:
    path = broken / "text_encoder" / "model.safetensors"
    save_file({k: v.half() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    model = load_model(broken)
    files = model.layout.encoders["text_encoder"]
    write_encoder(model.encoders["text_encoder"], files, tmp_path / "text_encoder")
    with safe_open(tmp_path / "text_encoder" / "model.safetensors", "pt") as handle:
        keys = list(handle.keys())
        assert handle.metadata() == {"format": "pt"}
    assert all(k.startswith("text_model.") for k in keys)
    assert "text_model.embeddings.token_embedding.weight" in keys
    state = load_file(tmp_path / "text_encoder" / "model.safetensors")
    assert {t.dtype for t in state.values()} == {torch.float16}
    assert (tmp_path / "text_encoder" / "config.json").read_bytes() == (
        broken / "text_encoder" / "config.json"
    ).read_bytes()
    source = load_file(path)
    assert all(
        torch.equal(t, source.get(k, source.get(k.removeprefix("text_model.")))) for k, t in state.items()
    )


def test_written_encoder_loads_in_transformers_to_the_same_conditioning(folder: Path, tmp_path: Path) -> None:
    from transformers import CLIPTextModel, CLIPTokenizer

    model = load_model(folder)
    write_encoder(
        model.encoders["text_encoder"], model.layout.encoders["text_encoder"], tmp_path / "text_encoder"
    )
    write_tokenizer(model.tokenizers["text_encoder"], folder / "tokenizer", tmp_path / "tokenizer")
    encoder, tokenizer = (
        CLIPTextModel.from_pretrained(tmp_path / "text_encoder"),
        CLIPTokenizer.from_pretrained(tmp_path / "tokenizer"),
    )
    again = model.with_encoders({"text_encoder": encoder.eval()})
    assert torch.equal(again.encode(["a gun"]).flat(), model.encode(["a gun"]).flat())
    assert (
        tokenizer("a picture of a gun").input_ids
        == model.tokenizers["text_encoder"]("a picture of a gun").input_ids
    )


def test_tokenizer_without_vocab_files_gets_them(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    only = tmp_path / "only"
    shutil.copytree(folder / "tokenizer", only)
    vocab, merges = (json.loads((only / "vocab.json").read_text()), (only / "merges.txt").read_text())
    (only / "vocab.json").unlink()
    (only / "merges.txt").unlink()
    write_tokenizer(model.tokenizers["text_encoder"], only, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "vocab.json").read_text())
    assert written == vocab
    assert (tmp_path / "out" / "merges.txt").read_text().split("\n")[1:] == merges.split("\n")[1:]


def test_round_trip_of_state_keeps_every_tensor(folder: Path) -> None:
    model = load_model(folder)
    state = encoder_state(model.encoders["text_encoder"], model.layout.encoders["text_encoder"])
    assert sum(t.numel() for t in state.values()) == model.parameters()


def test_fingerprints_tell_encoders_apart_and_survive_half_precision(folder: Path) -> None:
    import copy

    model = load_model(folder)
    other = copy.deepcopy(model.encoders["text_encoder"])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in other.parameters():
            p += 0.05 * torch.randn(p.shape, generator=generator)
    changed = model.with_encoders({"text_encoder": other})
    half = model.with_encoders({"text_encoder": copy.deepcopy(model.encoders["text_encoder"]).half()})
    prompts = ["a gun", "a knife"]
    canaries = {
        p: {"original": fingerprint(changed.encode([p])), "hardened": fingerprint(model.encode([p]))}
        for p in prompts
    }

    def look(m: object) -> str:
        return compare({p: fingerprint(m.encode([p])) for p in prompts}, canaries).verdict  # type: ignore[attr-defined]

    assert (look(model), look(half), look(changed)) == ("hardened", "hardened", "original")
    third = load_model(build_sd1(folder.parent / "third", seed=5))
    assert look(third) == "neither"
    same = {p: {"original": c["hardened"], "hardened": c["hardened"]} for p, c in canaries.items()}
    assert compare({p: fingerprint(model.encode([p])) for p in prompts}, same).verdict == "unknown"
    assert compare({}, canaries).verdict == "neither"


def test_build_tokenizer_pads_with_what_it_is_told(tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    build_tokenizer(tmp_path, pad_token="!")
    ids = CLIPTokenizer.from_pretrained(tmp_path)("a", padding="max_length", max_length=8).input_ids
    assert ids[-1] != ids[2]


def test_a_denoiser_and_vae_published_in_half_precision_only_are_read(tmp_path: Path, mini_sd1: Path) -> None:
    folder = Path(shutil.copytree(mini_sd1, tmp_path / "half"))
    for part in ("unet", "vae"):
        whole = folder / part / "diffusion_pytorch_model.safetensors"
        whole.rename(whole.with_name("diffusion_pytorch_model.fp16.safetensors"))
    expected, pipe = (load_model(path, device="cpu").pipeline() for path in (mini_sd1, folder))
    for part in ("unet", "vae"):
        there = getattr(expected, part).state_dict()
        assert all(
            torch.equal(value, there[name]) for name, value in getattr(pipe, part).state_dict().items()
        )
    # Where the whole weights are there as well, the copy is left alone.
    shutil.copy(mini_sd1 / "vae" / "diffusion_pytorch_model.safetensors", folder / "vae")
    (folder / "vae" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"never read")
    shutil.copy(mini_sd1 / "unet" / "diffusion_pytorch_model.safetensors", folder / "unet")
    assert load_model(folder, device="cpu").pipeline() is not None
