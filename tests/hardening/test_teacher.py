"""The token table of a run, and what is kept of the original's outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from support.minis import build_plain_bert, build_sd1

from safetext_sdk.errors import UsageError
from safetext_sdk.hardening.assemble import HardeningPlan, TrainingTexts, make_trainer, piece_weights
from safetext_sdk.hardening.settings import TrainConfig
from safetext_sdk.hardening.teacher import build_table
from safetext_sdk.hardening.trainer import Trainer
from safetext_sdk.methods import Anchor
from safetext_sdk.methods.prompt_table import Pair
from safetext_sdk.methods.sampling import mixed_at
from safetext_sdk.models import TextToImageModel, load_model

LONG = "a cat on the moon with an apple and a cat on the moon"
PAIRS = [Pair("a gun", "a flower", "c"), Pair(LONG, "a cat", "c")]


@pytest.fixture
def bert(tmp_path: Path) -> TextToImageModel:
    return load_model(build_plain_bert(tmp_path / "bert"))


def trainer_of(model: TextToImageModel, folder: Path, **train: Any) -> Trainer:
    plan = HardeningPlan(
        Anchor(), TrainConfig(steps=40, batch_size=2, **train), "default", 0, {"text_encoder": "full"}
    )
    texts = TrainingTexts(PAIRS, [("", "empty"), ("a cat", "safe")], {})
    return make_trainer(model, plan, texts, folder, Accelerator(cpu=True))


def test_long_prompts_are_cut_and_keep_their_end_token(bert: TextToImageModel) -> None:
    table = build_table(bert, PAIRS, [], positions=6)
    whole = bert.tokenize(table.texts)["text_encoder"]["input_ids"]
    ids = table.tokens["text_encoder"]["input_ids"]
    row = table.texts.index(LONG)
    end = bert.tokenizers["text_encoder"].sep_token_id
    assert table.lengths["text_encoder"][row] == ids.shape[1] == 6
    assert ids[row].tolist() == [*whole[row, :5].tolist(), end]
    short = table.texts.index("a gun")
    assert ids[short].tolist() == whole[short, :6].tolist()
    assert build_table(bert, PAIRS, []).tokens["text_encoder"]["input_ids"].shape[1] == whole.shape[1]


def test_causal_encoders_are_never_cut(tmp_path: Path) -> None:
    model = load_model(build_sd1(tmp_path / "sd1"))
    assert build_table(model, PAIRS, [], positions=6).tokens["text_encoder"]["input_ids"].shape[1] == 77


def test_only_pieces_that_count_are_kept(bert: TextToImageModel, tmp_path: Path) -> None:
    both = trainer_of(bert, tmp_path)
    pooled = trainer_of(bert, tmp_path, sequence_weight=0.0)
    for trainer in (both, pooled):
        trainer.prepare()
    assert set(both.teacher.shelves[0].pieces) == set(both.weights) == set(pooled.weights)
    assert list(pooled.teacher.shelves[0].pieces) == ["text_encoder_pooled"]
    rows = pooled.context.table.anchor
    (kept,) = pooled.context.original(rows).values()
    name = next(iter(pooled.teacher.shelves[0].pieces))
    torch.testing.assert_close(kept, both.context.original(rows)[name])


def test_pooled_outputs_count_one_whatever_they_are_called() -> None:
    sequence, pooled = torch.zeros(1, 4, 2), torch.zeros(1, 2)
    flux = {"text_encoder": pooled, "text_encoder_2": sequence}
    assert piece_weights(flux, {*flux}, 0.25) == {"text_encoder": 1, "text_encoder_2": 0.25}
    xl = {"text_encoder": sequence, "text_encoder_2": sequence, "text_encoder_2_pooled": pooled}
    assert piece_weights(xl, {"text_encoder_2"}, 0) == {**dict.fromkeys(xl, 0), "text_encoder_2_pooled": 1}


def test_no_encoder_is_trained_of_which_nothing_counts() -> None:
    sequence, pooled = torch.zeros(1, 4, 2), torch.zeros(1, 2)
    xl = {"text_encoder": sequence, "text_encoder_2": sequence, "text_encoder_2_pooled": pooled}
    for hardened in (["text_encoder", "text_encoder_2"], ["text_encoder"]):
        with pytest.raises(UsageError, match="nothing to train: of text_encoder no pooled"):
            piece_weights(xl, hardened, 0)


def test_sentences_have_their_share_however_many_they_are(bert: TextToImageModel) -> None:
    sentences = [PAIRS[0]._replace(source="statements")]
    terms = [Pair(f"a gun {i}", "a flower", "c") for i in range(9)]
    table = build_table(bert, [*sentences, *terms], [], {"statements": 0.75})
    drawn = [int(i) for step in range(64) for i in mixed_at(step, 16, table.pair_parts, 0, 1)]
    assert drawn.count(0) / len(drawn) == pytest.approx(0.75, abs=0.01)
    assert len(set(drawn)) == 10


def test_targets_between_the_empty_prompt_and_the_anchor(bert: TextToImageModel) -> None:
    pairs = [PAIRS[0], Pair("gun, knife", "a flower", "c", "term_lists", 0.25)]
    safe = [("", "empty"), ("a cat", "safe"), ("ba lo a cat", "safe_random_words")]
    table = build_table(bert, pairs, safe, kept_as={"ba lo a cat": "a cat"})
    assert table.reach is not None
    assert table.reach.tolist() == [1.0, 0.25]
    assert [table.texts[row] for row in table.safe_targets] == ["a cat", "a cat"]
    plain = build_table(bert, PAIRS, [("a cat", "safe")])
    assert plain.reach is plain.kept_as is None
    assert plain.safe_targets is plain.safe
