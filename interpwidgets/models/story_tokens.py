"""The tokenizer of the models that read stories: a word is a token, and carries the space in front of it.

    from interpwidgets import load

    tokenizer = load("storylm").tokenizer
    tokenizer("The cat sat on the mat.").input_ids          # <s> comes first, as it does in training
    tokenizer.tokenize("The war ended in 1732.")            # [" The", " war", "<unk>", " in", " 17", "32", "."]

It is made of standard parts and written as a standard ``tokenizer.json``, so `AutoTokenizer` opens it without this
module.

- The first word is read as if a space stood in front of it: " When" is the same token wherever it stands.
- A year is two tokens, " 17" and "32"; an acronym in brackets is one token a letter.
- A word that no story uses becomes ``<unk>``, one for each such word, and is seen as that wherever tokens are shown.
  The models have met ``<unk>`` among random words: they copy it, and know nothing else about it.
- Any amount of space between words is one space, and space before a mark is none.
"""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from interpwidgets.data.stories.frames import BEGIN, UNKNOWN
from interpwidgets.data.stories.vocabulary import VOCABULARY

_CONTEXT = 64
_PIECES = r" \p{L}[\p{L}'’-]*| ?\d{2}| ?\d| ?\(|\p{Lu}|\p{Ll}+| ?[^ ]"


def story_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer for the vocabulary of the stories."""
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(VOCABULARY)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Prepend(" "),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Replace(Regex(r" (?=[.,:?)]|$)"), ""),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    tokenizer.decoder = decoders.Sequence([decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)])
    tokenizer.add_special_tokens([AddedToken(BEGIN, special=True), AddedToken(UNKNOWN, special=True)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=BEGIN, pad_token=BEGIN, unk_token=UNKNOWN,
        model_input_names=["input_ids", "attention_mask"], model_max_length=_CONTEXT,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
