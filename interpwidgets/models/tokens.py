"""What to call a token: the piece of text that it stands for.

    from interpwidgets.models.tokens import token_strings

    token_strings(tokenizer, tokenizer("A cat\\n").input_ids)      # GPT-2: ["A", " cat", "\\n"]

Put one after the other, the pieces are the text as the model gets it, spaces and line ends included. Tokenizers write
their vocabularies in ways of their own, so there is a rule for each:

    byte-level (GPT-2, Llama 3)          Ġcat is " cat", Ċ is a line end
    sentencepiece (Llama 2, Gemma)       ▁cat is " cat", <0x0A> is a line end
    WordPiece (BERT)                     keeps no spaces: ##ing continues a word, and is shown so

Where a character is split over several tokens, each shows its bytes, as in ``\\xf0\\x9f``. Special tokens, ``<s>`` or
``[CLS]``, are shown by their names.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def token_strings(tokenizer: Any, ids: Iterable[int]) -> list[str]:
    """The text of each token, for a tokenizer of the transformers library and token ids of its vocabulary."""
    ids = list(ids)
    spell = _spelling(tokenizer)
    added = tokenizer.added_tokens_decoder
    by_name = {i for i, token in added.items() if token.special or spell is _byte_level}
    return [
        name if i in by_name else spell(name) for i, name in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True)
    ]


def _spelling(tokenizer: Any) -> Callable[[str], str]:
    """How this tokenizer writes text in its vocabulary, judged by how it turns tokens back into text."""
    decoder = repr(getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None))
    if "ByteLevel(" in decoder:
        return _byte_level
    return str if "WordPiece(" in decoder else _sentencepiece


def _byte_level(name: str) -> str:
    letters = _letters()
    if not all(letter in letters for letter in name):
        return name
    return bytes(letters[letter] for letter in name).decode(errors="backslashreplace")


def _sentencepiece(name: str) -> str:
    byte = _BYTE.fullmatch(name)
    if byte:
        return bytes([int(byte[1], 16)]).decode(errors="backslashreplace")
    return name.replace("▁", " ")


@cache
def _letters() -> dict[str, int]:
    """Which byte each letter of a byte-level vocabulary stands for: printable ones for themselves, the others for the
    letters from 256 on, in order (Radford et al. 2019, the released code of GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(others)}
