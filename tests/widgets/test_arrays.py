"""What `AttentionHeads` reads: arrays of any library and any accepted shape, tokens of any kind, and clear refusals."""

import numpy as np
import pytest
import torch

from interpwidgets.widgets._arrays import InputError, check_width, read_layers, read_tokens, spelled

rng = np.random.default_rng(0)
PATTERNS = rng.random((2, 3, 4, 4), dtype=np.float32)  # [layer, head, query, key]


class OnlyArray:
    """What tensorflow and jax look like from here."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class OnlyDLPack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **kwargs):
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


ACCEPTED = {
    "all layers": PATTERNS,
    "float64": PATTERNS.astype(np.float64),
    "another byte order": PATTERNS.astype(">f4"),
    "strided": np.repeat(PATTERNS, 2, axis=-1)[..., ::2],
    "TransformerLens stack": PATTERNS[:, None],
    "one array per layer": list(PATTERNS),
    "Hugging Face attentions": tuple(layer[None] for layer in PATTERNS),
    "nested lists": PATTERNS.tolist(),
    "__array__": OnlyArray(PATTERNS),
    "DLPack": OnlyDLPack(PATTERNS),
    "torch": torch.tensor(PATTERNS),
    "torch with gradient": torch.tensor(PATTERNS, requires_grad=True),
    "torch attentions": tuple(torch.tensor(layer)[None] for layer in PATTERNS),
    "list of lists of heads": [[torch.tensor(head) for head in layer] for layer in PATTERNS],
}


@pytest.mark.parametrize("patterns", ACCEPTED.values(), ids=ACCEPTED)
def test_the_same_numbers_come_out_of_every_accepted_form(patterns):
    layers, half = read_layers(patterns)
    np.testing.assert_array_equal(np.stack(layers), PATTERNS)
    assert not half


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_and_remembered(dtype):
    tensor = torch.tensor(PATTERNS).to(dtype).requires_grad_()
    layers, half = read_layers([tensor[0][None], tensor[1][None]])
    np.testing.assert_array_equal(np.stack(layers).astype(np.float32), tensor.detach().float().numpy())
    assert half
    assert read_layers(np.float16(PATTERNS))[1]


def test_bfloat16_of_jax_is_read():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    layers, half = read_layers(PATTERNS.astype(ml_dtypes.bfloat16))
    assert half
    np.testing.assert_allclose(np.stack(layers), PATTERNS, rtol=0.01)


def test_one_layer_needs_no_layer_axis():
    (layer,), _ = read_layers(PATTERNS[0])
    np.testing.assert_array_equal(layer, PATTERNS[0])


@pytest.mark.parametrize("make", [np.asarray, torch.tensor, lambda array: [*array]], ids=["numpy", "torch", "list"])
def test_nothing_is_copied_without_need(make):
    patterns = make(PATTERNS)
    source = patterns.numpy() if isinstance(patterns, torch.Tensor) else patterns
    assert np.shares_memory(read_layers(patterns)[0][1], source[1])


REFUSED = {
    "one axis": (np.zeros(4), "have 1 axis", "[4]"),
    "two axes": (np.zeros((4, 4)), "have 2 axes", "patterns[None]"),
    "six axes": (np.zeros((1, 1, 2, 3, 4, 4)), "have 6 axes", "[layer, head, query, key]"),
    "a batch of two": (np.zeros((2, 2, 3, 4, 4)), "a batch of 2", "patterns[:, 0]"),
    "a batch of two in each layer": ([np.zeros((2, 3, 4, 4))] * 5, "a batch of 2", "[p[0] for p in patterns]"),
    "a batch in front": (np.zeros((1, 2, 3, 4, 4)), "a batch of 2", "patterns[0] if"),
    "not square": (np.zeros((2, 3, 4, 5)), "4 queries, 5 keys", "use_cache=False"),
    "no heads": (np.zeros((2, 0, 4, 4)), "empty", "[2, 0, 4, 4]"),
    "no layers": (np.zeros((0, 3, 4, 4)), "empty", "[0, 3, 4, 4]"),
    "no positions": (np.zeros((2, 3, 0, 0)), "empty", "[2, 3, 0, 0]"),
    "an empty tuple": ((), "no patterns", 'attn_implementation="eager"'),
    "attentions of None": ((None, None), "no patterns", "output_attentions=True"),
    "layers that differ": ([np.zeros((3, 4, 4)), np.zeros((2, 4, 4))], "different shapes", "[2, 4, 4] in layer 1"),
    "ragged lists": ([[[1.0, 2.0], [3.0]]], "numbers", "different lengths"),
    "text": (np.full((1, 1, 1, 1), "a"), "numbers", "str"),
    "objects": (np.full((1, 1, 1, 1), None), "numbers", "object"),
    "complex": (np.zeros((1, 1, 1, 1), complex), "complex", "complex128"),
    "complex torch": (torch.zeros(1, 1, 1, 1, dtype=torch.complex64), "complex", "complex64"),
    "a cache": ({"pattern": PATTERNS}, "numbers", "outputs.attentions"),
    "nothing": (None, "numbers", "NoneType"),
}


@pytest.mark.parametrize(("patterns", "what", "hint"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_shown_is_refused_in_one_message(patterns, what, hint):
    with pytest.raises(InputError) as caught:
        read_layers(patterns)
    message = str(caught.value)
    assert what in message
    assert hint in message
    assert "xpected" in message
    assert "got" in message
    assert "\n" not in message


def test_tokens_may_be_strings_of_numpy_bytes_and_half_of_an_emoji():
    tokens = [np.str_(" a"), b" b", b"\xff", "\ud83d", "😀", "", "\n"]
    assert read_tokens(tokens) == [" a", " b", "\ufffd", "\\ud83d", "😀", "", "\n"]
    assert all(type(token) is str for token in read_tokens(tokens))
    assert read_tokens(np.array(["a", "b"])) == ["a", "b"]
    "".join(read_tokens(tokens)).encode()


@pytest.mark.parametrize(
    ("tokens", "what", "hint"),
    [
        ("a text", "one text", "tokenizer.tokenize"),
        ([464, 2], "int 464", "convert_ids_to_tokens"),
        (torch.tensor([464, 2]), "Tensor", "convert_ids_to_tokens"),
        (["a", None], "tokens[1]", "NoneType"),
        ([["a", "b"]], "tokens[0]", "first text of a batch"),
        ([], "no tokens", "at least one"),
        (5, "not a list", "int"),
    ],
)
def test_tokens_that_are_no_strings_are_refused_with_the_way_out(tokens, what, hint):
    with pytest.raises(InputError) as caught:
        read_tokens(tokens)
    assert what in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("tokens", "advice"),
    [
        (["<s>", "a", "b", "c", "d"], "Did the tokenizer add <s> that the patterns do not have?"),
        (["[CLS]", "a", "b", "c", "d"], "[CLS]"),
        (["a", "b", "c", "d", "e"], "a special token"),
        (["a", "b", "c"], "Put it in front of them."),
        (["a"], "the very text"),
    ],
)
def test_a_wrong_number_of_tokens_suggests_the_special_token(tokens, advice):
    with pytest.raises(InputError) as caught:
        check_width(tokens, list(PATTERNS))
    error = caught.value
    assert error.title.startswith(f"{len(tokens)} token")
    assert error.title.endswith("but the patterns are 4 wide.")
    assert error.rows == [("expected", f"[layer, head, {len(tokens)}, {len(tokens)}]"), ("got", "[2, 3, 4, 4]")]
    assert advice in error.advice
    assert str(error).startswith(error.title)


def test_text_that_can_be_encoded_stays_as_it_is():
    assert spelled("naïve 😀 \u202e مرحبا") == "naïve 😀 \u202e مرحبا"
