"""Text encoders alone, in the forms in which they are published: hardened, exported, read back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from safetext_exporters import export
from support.hardening_case import POLICY, run
from support.minis import build_plain_bert, build_t5_tokenizer

from safetext_sdk.hardening.trainable import full_copy
from safetext_sdk.models import load_model
from safetext_sdk.models.given_encoders import read_given

PROMPT = "a picture of a gun"


@pytest.fixture(scope="module")
def headless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT without its pooler, as masked language models are published."""
    from transformers import BertModel

    folder = build_plain_bert(tmp_path_factory.mktemp("headless") / "model")
    config = BertModel.from_pretrained(folder).config
    torch.manual_seed(0)
    BertModel(config, add_pooling_layer=False).eval().save_pretrained(folder)
    return folder


def test_a_bert_without_pooler_is_hardened_exported_and_audited(headless: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    hardened = run(headless, tmp_path / "policy.yaml", tmp_path / "run", 3, False)
    written = load_file(tmp_path / "run" / "text_encoder" / "model.safetensors")
    assert written.keys() == load_file(headless / "model.safetensors").keys()
    exported = export(tmp_path / "run", "diffusers", out=tmp_path / "exported")
    given = read_given(exported.path / "text_encoder", load_model(headless, device="cpu"))
    again = load_model(headless, device="cpu").with_encoders(given.encoders)
    for name, tensor in hardened.model.encode([PROMPT]).tensors.items():
        assert torch.equal(again.encode([PROMPT]).tensors[name], tensor)


def test_an_encoder_with_a_pooler_is_audited_in_the_place_of_one_without(
    headless: Path, tmp_path: Path
) -> None:
    whole = build_plain_bert(tmp_path / "whole")
    for given, original in ((whole, headless), (headless, whole)):
        assert read_given(given, load_model(original, device="cpu")).encoders


def test_umt5_alone_is_read_by_its_own_class(tmp_path: Path) -> None:
    """T5's class reads the first of its tables of distances, and drops the others without a word."""
    from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

    build_t5_tokenizer(tmp_path)
    size = {"d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2}
    torch.manual_seed(0)
    whole = UMT5EncoderModel(
        UMT5Config(vocab_size=len(AutoTokenizer.from_pretrained(tmp_path)), **size)
    ).eval()
    whole.save_pretrained(tmp_path)
    model = load_model(tmp_path, device="cpu")
    tokens = model.tokenize([PROMPT])["text_encoder"]
    with torch.no_grad():
        states = whole(tokens["input_ids"], attention_mask=tokens["attention_mask"])[0]
    count = int(tokens["attention_mask"].sum())
    got = model.encode([PROMPT]).tensors["prompt_embeds"]
    torch.testing.assert_close(got[:, :count], states[:, :count])


def test_token_embeddings_stay_whatever_they_are_called() -> None:
    from transformers import ModernBertConfig, ModernBertModel

    config = ModernBertConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        cls_token_id=2,
        sep_token_id=3,
    )
    encoder = ModernBertModel(config)
    for trained in (False, True):
        copied = full_copy(encoder, trained)
        assert copied.get_parameter("embeddings.tok_embeddings.weight").requires_grad is trained
        assert copied.get_parameter("final_norm.weight").requires_grad
