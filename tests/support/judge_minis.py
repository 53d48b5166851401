"""Miniature judges of scenes with random weights: a detector of objects, a VQA classifier, a language model
that sees."""

from __future__ import annotations

from pathlib import Path

import torch

from .recent_minis import llm_tokenizer

CHAT = (
    "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def build_yolos(folder: Path) -> Path:
    """Sees apples and cats."""
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessorPil

    ids = {0: "Apple", 1: "cat"}
    torch.manual_seed(0)
    YolosForObjectDetection(
        YolosConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=[32, 32],
            patch_size=16,
            num_detection_tokens=6,
            id2label=ids,
            label2id={label: k for k, label in ids.items()},
        )
    ).save_pretrained(folder)
    YolosImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def build_vilt(folder: Path, answers: tuple[str, ...] = ("yes", "no", "red", "blue")) -> Path:
    """Answers yes, no, red or blue."""
    from transformers import (
        BertTokenizerFast,
        ViltConfig,
        ViltForQuestionAnswering,
        ViltImageProcessorPil,
        ViltProcessor,
    )

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "is",
        "this",
        "a",
        "red",
        "what",
        "colour",
        "does",
        "figure",
        "show",
        "?",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    ViltForQuestionAnswering(
        ViltConfig(
            vocab_size=len(words),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=32,
            patch_size=16,
            max_position_embeddings=40,
            id2label=dict(enumerate(answers)),
            label2id={answer: k for k, answer in enumerate(answers)},
        )
    ).save_pretrained(folder)
    pixels = ViltImageProcessorPil(size={"shortest_edge": 32}, size_divisor=16)
    tokenizer = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    ViltProcessor(pixels, tokenizer).save_pretrained(folder)
    return folder


def build_llava(folder: Path) -> Path:
    """Says anything."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = llm_tokenizer(folder)
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    small = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    text = LlamaConfig(
        vocab_size=len(tokenizer), num_hidden_layers=1, max_position_embeddings=512, pad_token_id=0, **small
    )
    vision = CLIPVisionConfig(num_hidden_layers=2, image_size=32, patch_size=16, **small)
    image = tokenizer.convert_tokens_to_ids("<image>")
    torch.manual_seed(0)
    LlavaForConditionalGeneration(
        LlavaConfig(text_config=text, vision_config=vision, image_token_index=image)
    ).save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    ).save_pretrained(folder)
    return folder
