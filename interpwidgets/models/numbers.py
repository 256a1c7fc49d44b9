"""A tokenizer for models that read numbers and nothing else.

    from interpwidgets.models.numbers import NumberTokenizer

    sums = NumberTokenizer.up_to(113, "=")      # 0 to 112 are ids 0 to 112, and "=" is 113
    sums("67 + 58 =").input_ids                 # [67, 58, 113]: the plus sign is for the eye
    sums.decode([67, 58, 113])                  # "67 58 ="

A number is a token and its own id. Nothing is put in front.
"""

from typing import Any, Self

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import BatchEncoding, PreTrainedTokenizerFast

from interpwidgets._errors import Told


class UnknownNumberError(Told, ValueError):
    """A text with something else than the numbers that a model knows; the message says which those are."""


class NumberTokenizer(PreTrainedTokenizerFast):
    """Reads numbers separated by spaces or "+". Raises `UnknownNumberError` for anything that it does not know."""

    # No __init__: the library reads a saved tokenizer whole only if the class leaves that to it.
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    @classmethod
    def up_to(cls, n: int, *signs: str) -> Self:
        """For the numbers 0 to n - 1, and ``signs`` that follow them."""
        words = (*map(str, range(n)), *signs)
        tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}))
        tokenizer.normalizer = normalizers.Replace(Regex(r"[+,]"), " ")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split("=", "isolated"), pre_tokenizers.WhitespaceSplit()]
        )
        return cls(tokenizer_object=tokenizer)

    def _encode_plus(self, text: Any, *args: Any, **options: Any) -> BatchEncoding:
        for each in [text] if isinstance(text, str) else text:
            if isinstance(each, str):
                self._check(each)
        found: BatchEncoding = super()._encode_plus(text, *args, **options)
        return found

    def _check(self, text: str) -> None:
        known = self.get_vocab()
        for sign in "+,":
            text = text.replace(sign, " ")
        unknown = [word for word in text.replace("=", " = ").split() if word not in known]
        if unknown:
            largest = max(int(word) for word in known if word.isdigit())
            signs = "".join(f" and {word!r}" for word in known if not word.isdigit())
            raise UnknownNumberError(f"this model reads the numbers 0 to {largest}{signs}, but got {unknown[0]!r}.")
