"""A token is called by the text that it stands for, whatever its vocabulary looks like."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from interpwidgets.models.tokens import token_strings

TRICKY = ["</script>", "<img src=x onerror=alert(1)>", "tab\tline\nend", "السلام", "naïve café", "  two  spaces  "]


def byte_level(extra: tuple[str, ...] = ()) -> Any:
    """As in GPT-2: bytes, a few merges, and a special token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*alphabet, "Ġt", "he", "Ġthe", "ðŁ"]
    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("ð", "Ł")]
    backend = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|endoftext|>")
    tokenizer.add_tokens(list(extra))
    return tokenizer


def sentencepiece() -> Any:
    """As in Llama 2: a mark for the space, and bytes for what the vocabulary lacks."""
    names = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "t", "h", "e", "▁t", "he", "▁the"]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he")]
    backend = Tokenizer(
        models.BPE({name: i for i, name in enumerate(names)}, merges, unk_token="<unk>", byte_fallback=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", unk_token="<unk>")


def word_piece() -> Any:
    """As in BERT: pieces of words, no spaces, special tokens around the text."""
    names = ["[UNK]", "[CLS]", "[SEP]", "the", "play", "##ing", "##s", "."]
    backend = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]")


@pytest.mark.parametrize(
    ("tokenizer", "text", "expected"),
    [
        (byte_level(), "the the\n", ["t", "he", " the", "\n"]),
        (byte_level(), "😀", ["\\xf0\\x9f", "\\x98", "\\x80"]),
        (byte_level(), "the<|endoftext|> the", ["t", "he", "<|endoftext|>", " the"]),
        (byte_level(extra=("étage",)), "étage", ["étage"]),
        (sentencepiece(), "the the\n", [" the", " the", "\n"]),
        (sentencepiece(), "😀", [" ", "\\xf0", "\\x9f", "\\x98", "\\x80"]),
        (word_piece(), "The playing plays.", ["[CLS]", "the", "play", "##ing", "play", "##s", ".", "[SEP]"]),
        (word_piece(), "the xyz", ["[CLS]", "the", "[UNK]", "[SEP]"]),
    ],
)
def test_tokens_are_called_by_their_text(tokenizer: Any, text: str, expected: list[str]) -> None:
    assert token_strings(tokenizer, tokenizer(text).input_ids) == expected


BYTES, PIECES = byte_level(), sentencepiece()


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\<")))
def test_put_together_the_tokens_are_the_text(text: str) -> None:
    assert "".join(token_strings(BYTES, BYTES(text).input_ids)) == text
    assert "".join(token_strings(PIECES, PIECES(text).input_ids)) in (" " + text, text)


@pytest.mark.parametrize("text", TRICKY)
def test_tokens_of_a_real_model_are_its_text(stories: Any, text: str) -> None:
    pieces = token_strings(stories.tokenizer, stories.tokenizer(text).input_ids)
    assert pieces[0] == "<s>"
    joined = "".join(pieces[1:])
    if "\\x" not in joined:
        assert joined == " " + text
    assert bytes_of(joined) == (" " + text).encode()


def bytes_of(joined: str) -> bytes:
    """The text with its \\xNN spelled out as the bytes that they are."""
    parts = joined.split("\\x")
    return parts[0].encode() + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode() for part in parts[1:])
