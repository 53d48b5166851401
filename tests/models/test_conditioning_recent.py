"""Families with a language model or T5 alone: our conditioning equals the pipeline's own, bit for bit, at
every position that its denoiser reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.recent_minis import RECENT, build_by_hand
from torch import Tensor

from safetext_sdk.errors import ModelError
from safetext_sdk.hardening.trainable import LoraSize, lora_copy
from safetext_sdk.models import load_model
from safetext_sdk.models.families import FAMILIES
from safetext_sdk.models.model import EncoderBundle, TextToImageModel

PROMPTS = [
    "a gun",
    "",
    "a picture of the cat with a bouquet of flowers",
    "apple cat " * 600,  # cut by every family, within or after its template
    "{} <|im_end|> assistant\n\n{{x}}",  # what a template is made of
    "\u732b\u306e\u7d75 \u00c4pfel \U0001f431 re\u0301sume\u0301",
]
N = len(PROMPTS)
NEGATIVE = ["a cat"] * N

Theirs = tuple[list[Tensor], "Tensor | None"]
"""Each prompt's rows that the denoiser reads, and the pooled vectors."""


def rows(embeds: Tensor, mask: Tensor | None) -> list[Tensor]:
    if mask is None:
        return list(embeds)
    return [row[keep.bool()] for row, keep in zip(embeds, mask, strict=True)]


def t5_alone(pipe: Any, prompts: list[str], negative: bool) -> Theirs:
    out = pipe.encode_prompt(prompts, negative_prompt=prompts if negative else "", device="cpu")
    embeds, mask = (out[2], out[3]) if negative else (out[0], out[1])
    return rows(embeds, mask), None


def auraflow(pipe: Any, prompts: list[str], negative: bool) -> Theirs:
    out = pipe.encode_prompt(prompts, negative_prompt=prompts if negative else "", device="cpu")
    embeds, mask = (out[2], out[3]) if negative else (out[0], out[1])
    return rows(embeds, mask.reshape(embeds.shape)[..., 0]), None  # it has one for every number


def pixart(pipe: Any, prompts: list[str], negative: bool) -> Theirs:
    out = pipe.encode_prompt(
        prompts, negative_prompt=prompts if negative else "", device="cpu", clean_caption=True
    )
    embeds, mask = (out[2], out[3]) if negative else (out[0], out[1])
    return rows(embeds, mask), None


def chroma(pipe: Any, prompts: list[str], negative: bool) -> Theirs:
    out = pipe.encode_prompt(prompts, negative_prompt=prompts if negative else None, device="cpu")
    return rows(*((out[3], out[5]) if negative else (out[0], out[2]))), None


def zimage(pipe: Any, prompts: list[str], negative: bool) -> Theirs:
    # It writes the template into the list that it is given.
    out = pipe.encode_prompt(list(prompts), "cpu", True, list(prompts) if negative else None)
    return list(out[1] if negative else out[0]), None


def flux2(pipe: Any, prompts: list[str], negative: bool) -> Theirs:
    return rows(pipe.encode_prompt(prompts, device="cpu")[0], None), None


def sana(pipe: Any, prompts: list[str], negative: bool) -> Theirs:
    import inspect

    instruction = inspect.signature(type(pipe).__call__).parameters["complex_human_instruction"].default
    out = pipe.encode_prompt(
        prompts,
        negative_prompt=prompts if negative else "",
        device="cpu",
        complex_human_instruction=instruction,
    )
    return rows(*((out[2], out[3]) if negative else (out[0], out[1]))), None


def qwenimage(pipe: Any, prompts: list[str], negative: bool) -> Theirs:
    return rows(*pipe.encode_prompt(prompts, device="cpu")), None


def qwenimage21(pipe: Any, prompts: list[str], negative: bool) -> Theirs:
    out = pipe.encode_prompt(prompts, device="cpu")
    return rows(out[0], out[1]), None


def kandinsky5(pipe: Any, prompts: list[str], negative: bool) -> Theirs:
    # One by one: beside a prompt that is too long it cuts short ones as well, by the text of their pads.
    found, vectors = [], []
    for prompt in prompts:
        embeds, pooled, ends = pipe.encode_prompt([prompt], device="cpu")
        found.append(embeds[0][: int(ends[1])])
        vectors.append(pooled)
    return found, torch.cat(vectors)


CALLS: dict[str, Callable[[Any, list[str], bool], Theirs]] = {
    "pixart": pixart,
    "chroma": chroma,
    "auraflow": auraflow,
    "zimage": zimage,
    "flux2": flux2,
    "flux2-dev": flux2,
    "lumina2": t5_alone,
    "sana": sana,
    "qwenimage": qwenimage,
    "qwenimage21": qwenimage21,
    "kandinsky5": kandinsky5,
}
BY_HAND = ("flux2-dev", "qwenimage21", "kandinsky5")
"""Their pipelines want a processor for pictures too, which needs torchvision: built around the tokenizer."""


def loaded(name: str, folder: Path) -> tuple[TextToImageModel, Any]:
    if name in BY_HAND:
        build, pipeline = build_by_hand(name)
        model = load_model(build(folder))
        return model, pipeline(model)
    model = load_model(RECENT[name](folder))
    return model, model.pipeline()


def ours(model: TextToImageModel, prompts: list[str], negative: bool) -> Theirs:
    encoded = model.encode_negative(prompts) if negative else model.encode(prompts)
    tokens = (model.tokenize_negative if negative else model.tokenize)(prompts)
    embeds = encoded.tensors["prompt_embeds"]
    mask = None if model.reader.pads_are_read else model.reader.masks(tokens)["text_encoder"]
    return rows(embeds, mask), encoded.tensors.get("pooled_prompt_embeds")


@pytest.mark.parametrize("name", CALLS)
def test_equals_the_pipelines_own(tmp_path: Path, name: str) -> None:
    model, pipe = loaded(name, tmp_path / "m")
    assert model.family == name
    usual = PROMPTS if name != "qwenimage21" else [p for p in PROMPTS if len(p) < 1000]  # it cuts none
    cases = [(usual, False), (PROMPTS[:1], False), ([""], False), (NEGATIVE, True)]
    if name not in ("flux2", "flux2-dev"):  # no guidance there
        cases.append((usual, True))
    if name == "kandinsky5":  # one by one, as theirs
        cases = [([p], negative) for prompts, negative in cases for p in prompts]
    for prompts, negative in cases:
        (mine, my_pooled), (theirs, pooled) = (
            ours(model, prompts, negative),
            CALLS[name](pipe, list(prompts), negative),
        )
        assert [len(row) for row in mine] == [len(row) for row in theirs]
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
        assert (my_pooled is None) == (pooled is None)
        assert my_pooled is None or torch.equal(my_pooled, pooled)
    with pytest.raises(ModelError, match="no clip_skip"):
        model.encode(["a cat"], clip_skip=1)


def test_hidream(tmp_path: Path) -> None:
    model = load_model(RECENT["hidream"](tmp_path / "m"))
    for prompts, negative in (
        (PROMPTS, NEGATIVE),
        (NEGATIVE, PROMPTS),
        (PROMPTS[:1], [""]),
        ([""], ["a cat"]),
    ):
        t5, minus_t5, llama, minus_llama, pooled, minus_pooled = model.pipeline().encode_prompt(
            prompts, negative_prompt=negative, device="cpu"
        )
        for encoded, (states, layers, vectors) in (
            (model.encode(prompts), (t5, llama, pooled)),
            (model.encode_negative(negative), (minus_t5, minus_llama, minus_pooled)),
        ):
            assert torch.equal(encoded.tensors["prompt_embeds"], states)
            read = torch.cat([layers[0], layers[2]], dim=-1)  # what llama_layers names
            assert torch.equal(encoded.tensors["llama_embeds"], read)
            assert torch.equal(encoded.tensors["pooled_prompt_embeds"], vectors)


@pytest.mark.parametrize("name", ["zimage", "qwenimage", "lumina2", "sana"])
def test_what_is_not_read_is_zero(tmp_path: Path, name: str) -> None:
    model = load_model(RECENT[name](tmp_path / "m"))
    embeds = model.encode(PROMPTS[:3]).tensors["prompt_embeds"]
    mask = model.reader.masks(model.tokenize(PROMPTS[:3]))["text_encoder"]
    assert embeds.shape[:2] == mask.shape
    assert not embeds[~mask.bool()].any()
    assert (mask.sum(dim=1) < mask.shape[1]).all()


def test_the_final_norm_of_qwen_image_21_is_undone_and_left_in_place(tmp_path: Path) -> None:
    """transformers 5 gives the last hidden state after the final norm; this denoiser wants it before."""
    model, _ = loaded("qwenimage21", tmp_path / "m")
    encoder = model.encoders["text_encoder"]
    with torch.no_grad():
        encoder.model.language_model.norm.weight.mul_(3)
    before = model.encode(["a cat"]).tensors["prompt_embeds"]
    with torch.no_grad():
        encoder.model.language_model.norm.weight.mul_(2)
    assert torch.equal(model.encode(["a cat"]).tensors["prompt_embeds"], before)
    assert not encoder.model.language_model.norm._forward_hooks


def built(name: str, folder: Path) -> Path:
    return RECENT[name](folder) if name in RECENT else build_by_hand(name)[0](folder)


READS_NO_PAD = [n for n in sorted({*RECENT, *BY_HAND}) if not FAMILIES.get(n).pads_are_read]


@pytest.mark.parametrize("name", READS_NO_PAD)
def test_no_loss_depends_on_a_pad_that_the_denoiser_does_not_read(tmp_path: Path, name: str) -> None:
    """Whatever stands at a pad, what is trained on is the same, bit for bit: no gradient comes of it."""
    model = load_model(built(name, tmp_path / "m"))
    bundle = EncoderBundle(model.family, model.encoders, model.options)
    tokens = model.tokenize(PROMPTS[:3])
    masks = model.reader.masks(tokens)
    other = {n: dict(parts) for n, parts in tokens.items()}
    for n, parts in other.items():
        if f"{n}_pooled" in bundle(tokens) or n not in masks:
            continue  # pooled at its end token: no pad can matter to it, and none is masked
        ids, pads = parts["input_ids"].clone(), parts["attention_mask"] == 0
        if name == "chroma":  # its denoiser reads the pad behind the prompt
            first = pads & (pads.cumsum(1) == 1)
            pads = pads & ~first
        assert pads.any()
        ids[pads] = int(ids[0, parts["attention_mask"][0].bool()][0]) + 1
        parts["input_ids"] = ids
    with torch.no_grad():
        for n, piece in bundle(tokens).items():
            if n in masks:
                keep = masks[n].unsqueeze(-1)
                assert torch.equal(piece * keep, bundle(other)[n] * keep)


@pytest.mark.parametrize("name", sorted({*RECENT, *BY_HAND}))
def test_gradients_reach_every_lora_and_no_pad(tmp_path: Path, name: str) -> None:
    model = load_model(built(name, tmp_path / "m"))
    students = {
        n: lora_copy(e, model.layout.encoders[n], LoraSize(2, 2, model.reader.layers_read(n, e)), 0)
        for n, e in model.encoders.items()
    }
    for student in students.values():
        for key, weight in student.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(weight)  # at zero, lora_A would get no gradient
    bundle = EncoderBundle(model.family, students, model.options)
    tokens = model.tokenize(PROMPTS[:3])
    pieces = bundle(tokens)
    masks = {} if model.reader.pads_are_read else model.reader.masks(tokens)
    total = sum(
        (p * masks[n].unsqueeze(-1) if n in masks and p.ndim == 3 else p).float().square().sum()
        for n, p in pieces.items()
    )
    total.backward()
    weights = {k: w for k, w in bundle.named_parameters() if "lora_" in k}
    assert weights
    assert all(w.grad is not None and bool(w.grad.any()) for w in weights.values()), [
        k for k, w in weights.items() if w.grad is None or not bool(w.grad.any())
    ]
    assert not any(part in k for k in weights for part in ("visual", "vision"))


def test_the_template_of_kandinsky_5_is_that_of_the_installed_diffusers() -> None:
    from safetext_sdk.models.families.kandinsky5 import template_of

    assert template_of("0.42.1") == template_of("0.41.0") == template_of("1.0.0.dev0")
    (before, cut), (now, cut_now) = template_of("0.40.0"), template_of("0.41.0")
    assert (before.replace("promt", "prompt"), cut) == (now, cut_now + 1)
    assert "You are a prompt engineer" in now
    assert now.count("{}") == 1


@pytest.mark.parametrize("name", BY_HAND)
def test_pictures_that_need_torchvision_say_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from safetext_sdk.models import pipelines

    model = load_model(build_by_hand(name)[0](tmp_path / "m"))
    installed: list[str] = []
    monkeypatch.setattr(pipelines, "installed", installed.__contains__)
    with pytest.raises(ModelError, match=r"need torchvision, which is not installed.*Processor") as error:
        model.pipeline()
    assert "\n" not in str(error.value)
    installed.append("torchvision")
    pipelines.need_torchvision(model.id, tmp_path / "m")  # says nothing where it is installed
