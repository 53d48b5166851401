"""The tokenizer travels with the encoder, with test vectors that a C++ or JavaScript product can check its
own tokenizer against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetext_sdk.errors import ModelError
from safetext_sdk.models.read_encoder import first_line
from safetext_sdk.models.writing import write_tokenizer as copy_tokenizer

from .graph import LENGTH

if TYPE_CHECKING:
    from .base import Subject

COUNT = 200
VECTORS = "test_vectors.jsonl"

_SPECIAL = [
    ("empty", ""),
    ("space", " "),
    ("spaces", "   a   cat   "),
    ("newline", "a cat\nand a dog"),
    ("tab", "a\tcat"),
    ("case", "A CAT on THE Roof"),
    ("digits", "1234567890 years in 2025"),
    ("decimal", "3.14 and 1,000,000"),
    ("contraction", "it's the cat's toy, isn't it? they're here, I'll go"),
    ("punctuation", "wait... what?! (yes); no: [maybe] {so}"),
    ("symbols", "50% off @ $9.99 & more #sale *now*"),
    ("hyphen", "a well-known state-of-the-art photo"),
    ("underscore", "snake_case_word"),
    ("slashes", "and/or c:\\temp https://example.org/a?b=c"),
    ("quotes", "the \"best\" 'one' `here`"),
    ("emphasis", "(a cat:1.3), [a dog], ((red))"),
    ("accents", "café à la crème, naïve façade, Ångström, übergroß"),
    ("combining", "cafe\u0301 with a combining accent"),
    ("spanish", "un gato pequeño en la montaña"),
    ("polish", "zażółć gęślą jaźń"),
    ("turkish", "İstanbul'da ışık, şeker"),
    ("greek", "μια γάτα στη στέγη"),
    ("cyrillic", "кошка на крыше"),
    ("arabic", "قطة على السطح"),
    ("hebrew", "חתול על הגג"),
    ("hindi", "छत पर बिल्ली"),
    ("thai", "แมวบนหลังคา"),
    ("chinese", "屋顶上的一只猫"),
    ("japanese", "屋根の上の猫とネコ"),
    ("korean", "지붕 위의 고양이"),
    ("emoji", "a cat 🐱 and a rainbow 🌈"),
    ("emoji joined", "a family 👨‍👩‍👧‍👦 waving 👋🏽"),
    ("full width", "ＡＢＣ１２３"),
    ("ligature", "ﬁne ﬂow"),
    ("math", "𝒶 𝓬𝓪𝓽 ∑ x² ≤ √2"),
    ("dashes", "one – two — three"),
    ("quotes curly", "“curly” ‘quotes’"),
    ("zero width", "ca\u200bt"),
    ("no-break space", "a\u00a0cat"),
    ("html", "a &amp; b &lt;c&gt;"),
    ("control", "a\u0007cat"),
    ("start marker", "a <|startoftext|> cat"),
    ("end marker", "a cat <|endoftext|> a dog"),
    ("one letter", "a"),
    ("repeat", "cat " * 5),
    ("74 words", " ".join(["a"] * 74)),
    ("75 words", " ".join(["a"] * 75)),
    ("76 words", " ".join(["a"] * 76)),
    ("truncated", "a photo of a cat, " * 30),
    ("long word", "pneumonoultramicroscopicsilicovolcanoconiosis " * 2),
    ("unbroken", "x" * 300),
    ("chinese long", "屋顶上的一只猫，" * 20),
    ("emoji long", "🐱" * 60),
]
_THINGS = [
    "cat",
    "small dog",
    "red apple",
    "mountain lake",
    "wooden chair",
    "steam train",
    "bouquet of flowers",
    "lighthouse",
    "bowl of soup",
    "old bicycle",
    "paper lantern",
    "stone bridge",
    "glass of water",
    "blue umbrella",
]
_FORMS = [
    "{}",
    "a {}",
    "a photo of a {}",
    "A {} in the snow, highly detailed",
    "an oil painting of a {}, 4k",
    "two {}s, side by side",
    "the {} of my neighbour; sunset",
    "no {} here!",
    "close-up: {} (macro, f/2.8)",
    "{} {} {}",
    "{}，水彩画",
]


def texts() -> list[tuple[str, str]]:
    """200 fixed pairs of (what it tests, text): edges, scripts, truncation, and ordinary prompts."""
    plain = [("prompt", form.format(*[thing] * form.count("{}"))) for thing in _THINGS for form in _FORMS]
    return (_SPECIAL + plain)[:COUNT]


def token_ids(tokenizer: Any, prompts: list[str]) -> list[list[int]]:
    """Ids [n][77], padded and truncated as diffusers' pipelines do it."""
    rows = tokenizer(prompts, padding="max_length", max_length=LENGTH, truncation=True).input_ids
    return [[int(i) for i in row] for row in rows]


def write_tokenizer(subject: Subject, encoder: str, folder: Path, *, alone: bool = False) -> tuple[str, ...]:
    """Write the tokenizer of ``encoder`` and ``test_vectors.jsonl`` beside it: ``{"id", "tests", "text",
    "ids"}`` a row.

    The files are the source's own; vocab.json and merges.txt are added where only tokenizer.json was there
    (transformers 4.x and most ports read those).

    Args:
        subject: what is exported.
        encoder: whose tokenizer.
        folder: where to.
        alone: for consumers without transformers: ``tokenizer.json`` is there in any case, and pads and cuts
            by itself as the pipelines do, so that the package ``tokenizers`` needs nothing but this file.

    Returns:
        What the user has to know: a ``tokenizer.json`` that does not give all the vectors.
    """
    model = subject.model
    tokenizer = model.tokenizers[encoder]
    copy_tokenizer(tokenizer, model.layout.tokenizers[encoder], folder)
    pairs = texts()
    ids = token_ids(tokenizer, [text for _, text in pairs])
    rows = [
        json.dumps({"id": i, "tests": what, "text": text, "ids": row}, ensure_ascii=True)
        for i, ((what, text), row) in enumerate(zip(pairs, ids, strict=True))
    ]
    (folder / VECTORS).write_text("\n".join(rows) + "\n", encoding="utf-8")
    if not alone:
        return ()
    written = write_standalone(tokenizer, folder)
    encoded = written.encode_batch([text for _, text in pairs])
    wrong = sum(got.ids != want for got, want in zip(encoded, ids, strict=True))
    if not wrong:
        return ()
    return (
        f"{encoder}: tokenizer.json splits {wrong} of the {len(pairs)} test vectors otherwise than the "
        "tokenizer "
        "that pipelines use here; read vocab.json and merges.txt with a CLIP tokenizer of your own instead",
    )


def write_standalone(tokenizer: Any, folder: Path) -> Any:
    """Write ``tokenizer.json`` so that it pads and cuts by itself, and return it as the package
    ``tokenizers`` reads it.

    Raises:
        ModelError: no such file in ``folder``, and none can be made from the other files.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        _backend(tokenizer, folder).save(str(path))
    whole = Tokenizer.from_file(str(path))
    whole.enable_truncation(LENGTH)
    whole.enable_padding(
        length=LENGTH, pad_id=int(tokenizer.pad_token_id), pad_token=str(tokenizer.pad_token)
    )
    whole.save(str(path))
    return whole


def _backend(tokenizer: Any, folder: Path) -> Any:
    """The rust tokenizer behind a transformers one; one in Python is converted from its files."""
    if (found := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        return found
    import transformers

    try:
        fast = transformers.CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise ModelError(f"{folder}: no tokenizer.json can be made: {first_line(error)}") from error
    return fast.backend_tokenizer
