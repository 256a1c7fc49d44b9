"""AttentionHeads of what is not a text that looks at itself: cross attention, encoder-decoders, images."""

import csv
import io
import struct
import zlib

import numpy as np
import pytest

from interpwidgets.widgets import attention_heads
from interpwidgets.widgets._arrays import InputError
from interpwidgets.widgets._base import from_wire
from interpwidgets.widgets._choice import SelectionError
from interpwidgets.widgets._picture import png, read_image, small
from interpwidgets.widgets.attention_heads import AttentionHeads

SOURCE, TARGET = ["the", " cat", " sat", " on", " it"], ["<pad>", "le", " chat"]


def attention(queries, keys, layers=2, heads=4, seed=0, causal=False):
    weights = np.random.default_rng(seed).random((layers, heads, queries, keys), np.float32) + 0.01
    weights = np.tril(weights) if causal else weights
    return weights / weights.sum(-1, keepdims=True)


CROSS = attention(3, 5, layers=3, heads=2)


@pytest.fixture
def translation():
    encoder, decoder = attention(5, 5, seed=1), attention(3, 3, layers=3, heads=2, seed=2, causal=True)
    return AttentionHeads.encoder_decoder(SOURCE, TARGET, encoder, decoder, CROSS)


def dense(tile):
    return from_wire(tile["values"]).reshape(tile["n"], tile["columns"])


# -- keys of another text -----------------------------------------------------------------------------------------


def test_keys_may_be_another_text():
    heads = AttentionHeads(TARGET, CROSS, key_tokens=SOURCE, layer=1, head=1, query=2)
    assert (heads.tokens, heads.key_tokens, heads.key) == (TARGET, SOURCE, CROSS[1, 1, 2].argmax())
    np.testing.assert_array_equal(heads.selected, CROSS[1, 1])
    np.testing.assert_array_equal(dense(heads._tile), CROSS[1, 1])
    assert heads._thumbs.shape == (3, 3, 3, 5)
    assert (heads._meta["tokens"], heads._meta["keys"], heads._meta["causal"]) == (3, 5, False)
    assert repr(heads) == "AttentionHeads(3 layers × 2 heads, 3 × 5 tokens, L1 H1)"


def test_two_texts_of_one_length_are_not_taken_for_a_causal_one():
    pattern = np.tril(np.ones((1, 1, 3, 3))) / np.arange(1, 4)[:, None]
    assert AttentionHeads(TARGET, pattern, key_tokens=["a", "b", "c"])._meta["causal"] is False


def test_places_in_a_text_of_its_own_are_scored_and_those_in_another_are_not():
    heads = AttentionHeads(TARGET, CROSS, key_tokens=SOURCE, scores={"mine": np.arange(6).reshape(3, 2)}, bar="mine")
    assert set(heads.scores) == {"mine"}
    plain = AttentionHeads(TARGET, CROSS, key_tokens=SOURCE)
    with pytest.raises(SelectionError, match=r'no score "induction".*there are none'):
        plain.heads_above("induction", 0.5)
    assert (plain.scores, plain.bar, plain.layer, plain.head) == ({}, "none", 0, 0)
    assert plain._score_values.shape == (0, 3, 2)


@pytest.mark.parametrize(
    ("queries", "keys", "told"),
    [
        (SOURCE, TARGET, "Here they seem to be swapped"),
        (TARGET, SOURCE[1:], r"3 tokens and 4 key_tokens, but the patterns are 3 by 5"),
        (TARGET, "the cat", "The tokens are one text"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(queries, keys, told):
    with pytest.raises(InputError, match=told):
        AttentionHeads(queries, CROSS, key_tokens=keys)


def test_without_key_tokens_the_error_names_them():
    with pytest.raises(InputError, match="cross attention needs the keys as key_tokens"):
        AttentionHeads(TARGET, CROSS)


def test_a_key_is_counted_among_the_keys():
    heads = AttentionHeads(TARGET, CROSS, key_tokens=SOURCE)
    heads.key = 4
    assert heads.selected_value == pytest.approx(CROSS[0, 0, heads.query, 4])
    heads.key = -1
    assert heads.key == 4
    with pytest.raises(SelectionError, match="There is no query 3"):
        heads.query = 3
    with pytest.raises(SelectionError, match="One token is needed per position"):
        heads.key_tokens = SOURCE[1:]


def test_the_table_has_a_row_per_query_and_a_column_per_key():
    found = list(csv.reader(io.StringIO(AttentionHeads(TARGET, CROSS, key_tokens=SOURCE).to_csv())))
    assert found[0] == ["query \\ key", *SOURCE]
    assert [row[0] for row in found[1:]] == TARGET
    np.testing.assert_allclose([[float(cell) for cell in row[1:]] for row in found[1:]], CROSS[0, 0], rtol=1e-6)


def test_circuitsvis_is_refused_in_words():
    with pytest.raises(InputError, match=r"attention of a text to itself only.*to_csv"):
        AttentionHeads(TARGET, CROSS, key_tokens=SOURCE).to_circuitsvis()


def test_a_long_map_is_sent_in_blocks_and_its_parts_exactly():
    weights = attention(30, 1000, layers=1, heads=1)
    heads = AttentionHeads([f"q{i}" for i in range(30)], weights, key_tokens=[f"k{i}" for i in range(1000)])
    tile = heads._tile
    assert (tile["block"], tile["n"], tile["columns"]) == (3, 10, 334)
    padded = np.pad(weights[0, 0], ((0, 0), (0, 2)))
    np.testing.assert_allclose(dense(tile), padded.reshape(10, 3, 334, 3).max((1, 3)), rtol=1e-3)
    assert heads._thumbs.shape == (1, 2, 2, 63)
    heads.zoom = 0, 700, 100  # more than there are queries: all of them
    np.testing.assert_allclose(dense(heads._window), weights[0, 0][:, 700:800], rtol=1e-3)
    with pytest.raises(SelectionError):
        heads.zoom = 0, 950, 100
    with pytest.raises(SelectionError):
        heads.zoom = 1, 0, 100


def test_two_of_them_are_compared():
    one, other = (AttentionHeads(TARGET, attention(3, 5, seed=seed), key_tokens=SOURCE) for seed in (3, 4))
    apart = AttentionHeads.compare(one, other)
    assert (apart.tokens, apart.key_tokens) == (TARGET, SOURCE)
    layer, head = apart.layer, apart.head
    expected = attention(3, 5, seed=3)[layer, head] - attention(3, 5, seed=4)[layer, head]
    np.testing.assert_allclose(apart.selected, expected, atol=1e-7)
    beside = AttentionHeads.compare(one, other, "beside")
    assert (beside._other["key_tokens"], beside._other["cells_shared"]) == (SOURCE, True)
    longer = AttentionHeads(TARGET, attention(3, 6), key_tokens=[*SOURCE, "."])
    with pytest.raises(InputError, match="5 key tokens, the other 6"):
        AttentionHeads.compare(one, longer)
    itself = AttentionHeads(TARGET, attention(3, 3))
    with pytest.raises(InputError, match="the other side at itself"):
        AttentionHeads.compare(one, itself)
    assert AttentionHeads.compare(one, itself, "beside")._other["cells_shared"] is False


# -- encoder, decoder, cross --------------------------------------------------------------------------------------


def test_cross_attention_is_shown_first_and_the_others_are_in_the_page(translation):
    assert (translation.attention, translation.tokens, translation.key_tokens) == ("cross", TARGET, SOURCE)
    assert [kind["name"] for kind in translation._kinds] == ["encoder", "decoder", "cross"]
    sizes = [(kind["_meta"]["layers"], kind["_meta"]["heads"], kind["_meta"]["tokens"]) for kind in translation._kinds]
    assert sizes == [(2, 4, 5), (3, 2, 3), (3, 2, 3)]
    assert translation._thumbs is None, "the thumbnails of each kind are sent once"
    assert repr(translation) == "AttentionHeads(cross: 3 layers × 2 heads, 3 × 5 tokens, L0 H0)"


def test_another_kind_has_its_own_text_heads_and_choice(translation):
    translation.head, translation.query, translation.key = 1, 1, 4
    translation.attention = "encoder"
    assert (translation.tokens, translation.key_tokens, translation._meta["heads"]) == (SOURCE, [], 4)
    np.testing.assert_array_equal(translation.selected, attention(5, 5, seed=1)[translation.layer, translation.head])
    translation.head = 3
    translation.attention = "cross"
    assert (translation.head, translation.query, translation.key) == (1, 1, 4)
    np.testing.assert_array_equal(translation.selected, CROSS[0, 1])


def test_another_kind_reaches_the_page_in_one_message(translation, monkeypatch):
    states = []
    monkeypatch.setattr(translation, "_send", lambda msg, buffers=None: states.append(msg["state"]))
    translation.attention = "encoder"
    [state] = states
    assert {"attention", "tokens", "key_tokens", "_meta", "_tile", "query"} <= set(state)
    assert state["_tile"]["attention"] == "encoder"
    assert "_kinds" not in state


def test_the_page_may_turn_to_another_kind_and_say_what_it_chose_there(translation):
    chosen = {"layer": 1, "head": 3, "query": 4, "key": 2}
    translation.set_state({"attention": "encoder", "zoom": None, "locked": False, **chosen})
    assert {name: getattr(translation, name) for name in chosen} == chosen
    assert translation._tile["layer"] == 1
    translation.set_state({"attention": "cross", "layer": 2, "head": 3, "query": 0, "key": 0})  # no such head there
    assert (translation.attention, translation.layer, translation.head) == ("cross", 0, 0)
    assert translation.selected.shape == (3, 5)


def test_a_kind_that_is_not_there_is_refused(translation):
    with pytest.raises(SelectionError, match=r'There is no attention "middle".*"encoder", "decoder" or "cross"'):
        translation.attention = "middle"
    with pytest.raises(SelectionError, match="one kind of attention"):
        AttentionHeads(TARGET, CROSS, key_tokens=SOURCE).attention = "cross"


def test_an_error_says_in_which_kind_it_is():
    with pytest.raises(InputError, match=r"decoder: .*3 tokens, but the patterns are 5 wide"):
        AttentionHeads.encoder_decoder(SOURCE, TARGET, attention(5, 5), attention(5, 5), CROSS)
    with pytest.raises(TypeError, match="takes no option 'n_kv_heads'"):
        AttentionHeads.encoder_decoder(SOURCE, TARGET, attention(5, 5), attention(3, 3), CROSS, n_kv_heads=1)


def test_one_kind_can_be_compared_with_that_of_another_model(translation):
    other = AttentionHeads(TARGET, attention(3, 5, layers=3, heads=2, seed=9), key_tokens=SOURCE)
    assert AttentionHeads.compare(translation, other).key_tokens == SOURCE


# -- from a model -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def t5():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    ids = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", "a", "b", "c", "d", "e"])}
    words = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=8, d_model=16, d_kv=4, d_ff=16, num_layers=2, num_decoder_layers=3, num_heads=4,
        decoder_start_token_id=0, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    model = transformers.T5ForConditionalGeneration(config).eval()
    model.tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>")
    return model


def test_an_encoder_decoder_runs_its_prompts_and_keeps_the_kind_on_show(t5):
    heads = AttentionHeads.from_model(t5, "a b c d", target="c a")
    assert (heads.attention, heads.tokens, heads.key_tokens) == ("cross", ["<pad>", "c", "a"], ["a", "b", "c", "d"])
    assert (heads._has_model, heads._meta["model"]) == (True, "T5ForConditionalGeneration")
    heads.layer, heads.head = 2, 3
    heads.prompt = "e d"
    assert (heads.attention, heads.key_tokens, heads.layer, heads.head) == ("cross", ["e", "d"], 2, 3)
    heads.attention = "encoder"
    assert heads.tokens == ["e", "d"]
    heads._on_message({"type": "run", "prompt": ""}, [])
    assert (heads.tokens, heads._error["title"]) == (["e", "d"], "The prompt is empty.")


def test_another_target_runs_again(t5):
    heads = AttentionHeads.from_model(t5, "a b c d", target="c a")
    heads.target = "e e e"
    assert (heads.target, heads.tokens, heads.key_tokens) == ("e e e", ["<pad>", "e", "e", "e"], ["a", "b", "c", "d"])
    with pytest.raises(ValueError, match="the text is empty"):
        heads.target = " "
    assert (heads.target, heads.tokens[1], heads._status["state"]) == ("e e e", "e", "ready")
    with pytest.raises(InputError, match="no decoder"):
        AttentionHeads(TARGET, CROSS, key_tokens=SOURCE).target = "x"


def test_kinds_and_targets_are_for_models_that_have_them(t5, monkeypatch):
    assert AttentionHeads.from_model(t5, "a b", target="c", attention="decoder").attention == "decoder"
    with pytest.raises(InputError, match="from_model shows of one prompt"):
        AttentionHeads.average(t5, ["a b", "c d"])
    with pytest.raises(InputError, match="no decoder that would say a target"):
        AttentionHeads.from_model(object(), "a b", target="c")


# -- images -------------------------------------------------------------------------------------------------------


@pytest.fixture
def vit():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8
    )
    return transformers.ViTModel(config).eval()


def test_an_image_is_shown_small_with_its_patches(vit):
    heads = AttentionHeads.from_image(vit, np.random.default_rng(0).integers(0, 256, (60, 40, 3), np.uint8))
    assert (heads.tokens[:2], heads.query, heads.scale) == (["[CLS]", "0,0"], 0, "row")
    assert (heads._image["rows"], heads._image["columns"]) == (4, 4)
    assert heads._image["png"].startswith(b"\x89PNG")
    assert heads._meta["model"] == "ViTModel"
    other = AttentionHeads.from_image(vit, np.zeros((10, 10)), query=5, title="Black")
    beside = AttentionHeads.compare(heads, other, "beside")
    assert beside._image == heads._image
    assert beside._other["_image"] == other._image


PATCHES = attention(13, 13)
NAMES = ["[CLS]", *(f"{row},{column}" for row in range(3) for column in range(4))]


def test_arrays_of_any_vision_transformer_come_with_their_image():
    heads = AttentionHeads(NAMES, PATCHES, image=np.full((600, 900), 0.5), grid=(3, 4))
    assert (heads._image["rows"], heads._image["columns"]) == (3, 4)
    assert unpacked(heads._image["png"]).shape == (120, 180, 3)
    assert AttentionHeads(NAMES, PATCHES, image=np.zeros((9, 9)))._image["rows"] == 3, "a square where nobody says"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"grid": (4, 4)}, "4 × 4 patches do not fit the tokens.*13 tokens.*grid="),
        ({"grid": (0, 4)}, "do not fit"),
        ({"grid": 4}, "grid is no pair"),
        ({"key_tokens": NAMES}, "do not fit"),
        ({"image": np.zeros((1, 3, 8, 8))}, "This is no picture"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(options, told):
    with pytest.raises(InputError, match=told):
        AttentionHeads(NAMES, PATCHES, **{"image": np.zeros((8, 8)), **options})


def test_a_difference_on_one_image_stays_on_it():
    one, other, third = (
        AttentionHeads(NAMES, attention(13, 13, seed=seed), image=np.full((9, 9), grey))
        for seed, grey in ((1, 0.5), (2, 0.5), (3, 0.7))
    )
    assert AttentionHeads.compare(one, other)._image == one._image
    assert AttentionHeads.compare(one, third)._image is None


def test_only_from_image_asks_for_a_model_of_images(monkeypatch):
    monkeypatch.setattr(attention_heads, "_image_attention", lambda *_: pytest.fail("asked"))
    assert AttentionHeads(SOURCE, attention(5, 5))._image is None


def unpacked(data):
    """What a PNG without filters holds."""
    parts, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        parts[kind], at = body, at + 12 + length
    width, height = struct.unpack(">II", parts[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    return rows[:, 1:].reshape(height, width, 3)


COLOURS = np.random.default_rng(2).integers(0, 256, (5, 7, 3), np.uint8)


def test_a_large_picture_is_averaged():
    pixels = np.arange(5 * 3 * 3, dtype=np.uint8).reshape(5, 3, 3)
    shrunk = small(pixels, 2)
    assert shrunk.shape == (2, 1, 3)
    np.testing.assert_array_equal(shrunk[:, 0], np.rint([pixels[:3].mean((0, 1)), pixels[3:].mean((0, 1))]))
    assert small(pixels, 5) is pixels


def test_a_png_holds_the_pixels():
    np.testing.assert_array_equal(unpacked(png(COLOURS)), COLOURS)


GREY = COLOURS[..., 0]
OPAQUE = np.concatenate([COLOURS, COLOURS[..., :1]], -1)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (COLOURS, COLOURS),
        (COLOURS.tolist(), COLOURS),
        (COLOURS / 255, COLOURS),
        (COLOURS.transpose(2, 0, 1), COLOURS),
        (OPAQUE, COLOURS),
        (GREY, np.repeat(GREY[..., None], 3, -1)),
        (GREY > 128, np.repeat((GREY[..., None] > 128) * np.uint8(255), 3, -1)),
    ],
)
def test_an_image_is_read_in_any_usual_form(image, expected):
    np.testing.assert_array_equal(read_image(image), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_pictures_of_pillow_are_images(mode):
    images = pytest.importorskip("PIL.Image")
    flat = np.zeros((4, 6, 3), np.uint8) + np.uint8([0, 255, 0] if mode != "L" else 80)
    np.testing.assert_array_equal(read_image(images.fromarray(flat).convert(mode)), flat)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((5, 7, 2)), "not the shape of an image"),
        (np.zeros(5), "not the shape of an image"),
        (np.zeros((0, 7, 3)), "The image is empty"),
        (np.full((5, 7), np.nan), "not finite"),
        (np.full((5, 7, 3), -1.5), r"expected 0 to 255.*got -1\.5 to -1\.5.*passed as \[1, channel, height, width\]"),
        (np.full((5, 7, 3), 300), "not the numbers of an image"),
        (np.zeros((2, 3, 8, 8)), "There are 2 images"),
        ("cat.jpg", "cannot be read as an array"),
        (None, "cannot be read as an array"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)), "too large"),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(image, told):
    with pytest.raises(InputError, match=f"(?i){told}"):
        read_image(image)
