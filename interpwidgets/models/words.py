"""The 64 words that the attention-only models read, and a tokenizer for them.

    from interpwidgets.models.words import WORDS, WordTokenizer

    tokenizer = WordTokenizer()
    tokenizer("river seven glass").input_ids        # [0, 1, 2, 3]: <s> comes first
    tokenizer.decode([1, 2, 3])                     # "river seven glass"

A word is a token and a token is a word, without the space in front of it. The words are short and begin differently, so
that they can be told apart in a picture. They have no meaning to the models, which are trained on random ones.
"""

from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, BatchEncoding, PreTrainedTokenizerFast

from interpwidgets._errors import Told
from interpwidgets.models.attention_only import AttentionOnlyConfig

BEGIN = "<s>"
_LIST = """
river seven glass under Tom blue key ran soft map egg hill apple bread cat door fire green hat ice jump king lamp moon
nine open pen queen sun tree up very wind yes zoo ant bird cloud dish fox gold honey ink oak leaf milk hen owl plum
pail rose snow two wolf zebra Ella bell cup duck ever frog lid nut jar
"""
WORDS = tuple(_LIST.split())


class UnknownWordError(Told, ValueError):
    """A text with a word that is not among the 64; the message names it and some that are."""


class WordTokenizer(PreTrainedTokenizerFast):
    """Reads words separated by spaces and puts ``<s>`` first. Raises `UnknownWordError` for a word it does not know."""

    def __init__(self, **options: Any) -> None:
        if not options.keys() & {"tokenizer_object", "tokenizer_file"}:
            options["tokenizer_object"] = _words_to_ids()
        options = {
            "bos_token": BEGIN,
            "pad_token": BEGIN,
            "model_input_names": ["input_ids", "attention_mask"],
        } | options
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def _encode_plus(self, text: Any, *args: Any, **options: Any) -> BatchEncoding:
        for each in [text] if isinstance(text, str) else text:
            if isinstance(each, str):
                self._check(each)
        found: BatchEncoding = super()._encode_plus(text, *args, **options)
        return found

    def _check(self, text: str) -> None:
        known = self.get_vocab()
        unknown = [word for word in text.replace(BEGIN, " ").split() if word not in known]
        if unknown:
            raise UnknownWordError(
                f"this model does not know the word {unknown[0]!r}. It knows {len(WORDS)} words, separated by spaces: "
                f"{', '.join(WORDS[:8])} ... (all of them: interpwidgets.models.words.WORDS)."
            )


def _words_to_ids() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate((BEGIN, *WORDS))}))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)])
    return tokenizer


AutoTokenizer.register(AttentionOnlyConfig, fast_tokenizer_class=WordTokenizer)  # type: ignore[no-untyped-call]
