"""Attention as models report it: the three kinds of an encoder-decoder, and that of images."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    CLIPVisionConfig,
    CLIPVisionModel,
    DeiTConfig,
    DeiTModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    MarianConfig,
    MarianMTModel,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
    SiglipVisionModel,
    SwinConfig,
    SwinModel,
    T5Config,
    T5ForConditionalGeneration,
    T5Model,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from interpwidgets.models.attention import PromptError
from interpwidgets.models.reported import encoder_decoder_attention, image_attention

WORDS = ["<pad>", "</s>", "<unk>", "the", "cat", "sat", "on", "mat", "le", "chat", "assis"]
SOURCE, TARGET = "the cat sat on the mat", "le chat assis"
SMALL = {"vocab_size": 11, "d_model": 16, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
HALVES = {"encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4, "decoder_attention_heads": 2,
          "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 24}  # fmt: skip
PATCHES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
           "image_size": 32, "patch_size": 8}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    words = models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>")
    made = Tokenizer(words)
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", pad_token="<pad>", eos_token="</s>")


def model_of(name):
    torch.manual_seed(0)
    if name == "t5":
        config = T5Config(**SMALL, d_kv=4, d_ff=16, num_layers=2, num_decoder_layers=3, num_heads=4)
        return T5ForConditionalGeneration(config).eval()
    if name == "bart":
        return BartForConditionalGeneration(BartConfig(**SMALL, **HALVES)).eval()
    return MarianMTModel(MarianConfig(**SMALL, **HALVES)).eval()


@pytest.mark.parametrize("name", ["t5", "bart", "marian"])
def test_each_kind_has_its_own_tokens_layers_and_heads_and_rows_that_sum_to_one(name, tokenizer):
    model = model_of(name)
    kinds = encoder_decoder_attention(model, SOURCE, TARGET, tokenizer)
    ours, theirs = SOURCE.split(), ["<pad>", *TARGET.split()]
    assert {kind: (read.tokens, read.key_tokens) for kind, read in kinds.items()} == {
        "encoder": (ours, None),
        "decoder": (theirs, None),
        "cross": (theirs, ours),
    }
    heads = 4 if name == "t5" else 2
    shapes = {kind: [tuple(layer.shape) for layer in read.patterns] for kind, read in kinds.items()}
    assert shapes == {"encoder": [(4, 6, 6)] * 2, "decoder": [(heads, 4, 4)] * 3, "cross": [(heads, 4, 6)] * 3}
    for read in kinds.values():
        for layer in read.patterns:
            torch.testing.assert_close(layer.sum(-1), torch.ones(layer.shape[:2]))
    assert not torch.triu(kinds["decoder"].patterns[0], 1).any()
    assert model.config._attn_implementation != "eager", "the model is as it was"


def test_the_decoder_sees_what_it_sees_in_training(tokenizer):
    model = model_of("t5")
    labels = torch.tensor([[WORDS.index(word) for word in TARGET.split()] + [1]])
    model.set_attn_implementation("eager")
    with torch.no_grad():
        ids = tokenizer(SOURCE, return_tensors="pt")["input_ids"]
        expected = model(input_ids=ids, labels=labels, output_attentions=True).cross_attentions
    found = encoder_decoder_attention(model, SOURCE, TARGET + " </s>", tokenizer)["cross"].patterns
    for layer, other in zip(found, expected, strict=True):
        torch.testing.assert_close(layer, other[0])


def test_without_a_target_the_model_answers_as_far_as_its_context_reaches(tokenizer):
    model = model_of("bart")
    said = encoder_decoder_attention(model, SOURCE, None, tokenizer)["decoder"].tokens
    ids = tokenizer(SOURCE, return_tensors="pt")
    expected = model.generate(**ids, max_new_tokens=23, do_sample=False, num_beams=1)[0]
    assert said == tokenizer.convert_ids_to_tokens(expected[: len(said)])
    assert len(said) >= len(expected) - 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"source": ""}, "the text is empty"),
        ({"target": "  "}, "the text is empty"),
        ({"source": "cat " * 30}, "30 tokens long, but this model's context holds 24"),
        ({"tokenizer": None}, "no tokenizer attached"),
        ({"source": 7}, "expected one text"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(change, told, tokenizer):
    given = {"source": SOURCE, "target": TARGET, "tokenizer": tokenizer, **change}
    with pytest.raises(PromptError, match=told):
        encoder_decoder_attention(model_of("bart"), **given)


def test_a_model_that_cannot_answer_asks_for_a_target(tokenizer):
    bare = T5Model(T5Config(**SMALL, d_kv=4, d_ff=16, num_layers=1, num_heads=4)).eval()
    with pytest.raises(PromptError, match="pass what it is to say"):
        encoder_decoder_attention(bare, SOURCE, None, tokenizer)
    assert len(encoder_decoder_attention(bare, SOURCE, TARGET, tokenizer)["cross"].patterns) == 1


# -- images -------------------------------------------------------------------------------------------------------


def vision(kind, **own):
    torch.manual_seed(0)
    configs = {ViTModel: ViTConfig, ViTForImageClassification: ViTConfig, Dinov2Model: Dinov2Config}
    return kind(configs[kind](**{**PATCHES, **own})).eval()


PICTURE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)


@pytest.mark.parametrize("kind", [ViTModel, ViTForImageClassification, Dinov2Model])
def test_patches_are_named_row_by_row_behind_the_token_of_the_whole(kind):
    seen = image_attention(vision(kind), PICTURE)
    assert seen.tokens[:3] + seen.tokens[-1:] == ["[CLS]", "0,0", "0,1", "3,3"]
    assert (seen.grid, seen.picture.shape, seen.picture.dtype) == ((4, 4), (32, 32, 3), np.uint8)
    assert [tuple(layer.shape) for layer in seen.patterns] == [(2, 17, 17)] * 2
    torch.testing.assert_close(seen.patterns[0].sum(-1), torch.ones(2, 17))


@pytest.mark.parametrize(
    ("kind", "config", "before"),
    [
        (DeiTModel, DeiTConfig, ["[CLS]", "[DIST]"]),
        (Dinov2WithRegistersModel, Dinov2WithRegistersConfig, ["[CLS]", "[REG 1]", "[REG 2]", "[REG 3]", "[REG 4]"]),
        (CLIPVisionModel, CLIPVisionConfig, ["[CLS]"]),
        (SiglipVisionModel, SiglipVisionConfig, []),
    ],
)
def test_tokens_that_are_no_patches_come_first_and_have_names(kind, config, before):
    torch.manual_seed(0)
    seen = image_attention(kind(config(**PATCHES)).eval(), PICTURE)
    assert seen.tokens[: len(before) + 1] == [*before, "0,0"]
    assert len(seen.tokens) == seen.patterns[0].shape[-1] == len(before) + 16


def test_a_model_that_merges_its_patches_is_refused():
    model = SwinModel(SwinConfig(image_size=32, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2])).eval()
    with pytest.raises(PromptError, match="only models that keep a token for each patch"):
        image_attention(model, PICTURE)


def test_pixel_values_are_taken_as_they_are_and_give_what_the_model_itself_reports():
    model = vision(ViTModel)
    pixels = torch.randn(1, 3, 32, 32)
    found = image_attention(model, pixels.numpy()).patterns
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = model(pixel_values=pixels, output_attentions=True).attentions
    for layer, other in zip(found, expected, strict=True):
        torch.testing.assert_close(layer, other[0])


def test_an_image_of_the_models_size_is_shown_as_it_is():
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(image_attention(vision(ViTModel), pixels).picture, pixels)


def test_a_large_picture_is_made_small_and_a_processor_is_asked_for_its_way():
    class Processor:
        image_mean, image_std = [0.5, 0.4, 0.3], [0.2, 0.2, 0.2]

        def __call__(self, images, return_tensors):
            assert (images.shape, return_tensors) == ((50, 70, 3), "pt")
            return {"pixel_values": torch.zeros(1, 3, 512, 256)}

    seen = image_attention(vision(ViTModel, image_size=[512, 256], patch_size=64), PICTURE, Processor())
    assert (seen.grid, seen.picture.shape) == ((8, 4), (224, 112, 3))
    np.testing.assert_allclose(seen.picture[0, 0], np.array([0.5, 0.4, 0.3]) * 255, atol=1)


@pytest.mark.parametrize(
    ("model", "image", "told"),
    [
        (vision(ViTModel), np.zeros((1, 3, 40, 40), np.float32), r"cannot look at \[1, 3, 40, 40\]"),
        (vision(ViTModel), np.zeros((1, 5, 32, 32), np.float32), "cannot look at"),
        (model_of("t5"), PICTURE, "cuts its input into no patches"),
    ],
)
def test_what_no_patches_can_be_made_of_is_refused(model, image, told):
    with pytest.raises(PromptError, match=told):
        image_attention(model, image)
