"""A transformer small enough to understand completely: two layers, eight heads, every weight set by hand.

    from interpwidgets import load

    model = load("demo")
    model.tokenizer("Lily found a map. Lily")      # any text: words it knows, pieces of words that it does not
    HEADS[1, 0]                                     # what a head does, in a sentence

Nothing in it was trained and it knows no language. It is an ordinary GPT-2 (`transformers.GPT2LMHeadModel`) whose
weights are written down below so that each head does one thing that heads of trained models are known to do. All it can
predict is that what came before comes again: after "Lily found a map. Lily" it says " found".

The residual stream is divided into named parts, and each head reads some of them::

    TOKEN      which token stands here: a fixed random code of +-1, one for each token
    POSITION   where: waves of 32 frequencies, so that "one step to the left" is a rotation
    ORDER      where again, as a number that grows along the text
    START, CAPITAL, MARK    1 on the first token, on capitalised words, on punctuation
    PREVIOUS   which token stood before: empty at first, written by head 0 of layer 0
    NEXT       which token should come next: empty at first, written by head 0 of layer 1, read by the output layer
    BALLAST    a large constant, so that every LayerNorm divides by nearly the same number and can be undone

Layer 0 head 0 and layer 1 head 0 together are the induction circuit of Elhage et al. 2021 ("A Mathematical Framework
for Transformer Circuits") and Olsson et al. 2022 ("In-context Learning and Induction Heads"): the first notes at each
token what came before it; the second looks for a token that came after the current one earlier on, and copies it.
The other six heads only look: their output weights are zero, as are the MLPs.
"""

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

HEADS: dict[tuple[int, int], str] = {
    (0, 0): "previous token: looks one step to the left",
    (0, 1): "duplicate token: looks at earlier copies of the current token, else at the start",
    (0, 2): "first token: always looks at the start",
    (0, 3): "recent tokens: looks a little less at each step back",
    (1, 0): "induction: looks at what came after earlier copies of the current token, else at the start",
    (1, 1): "capital letters: looks at the latest capitalised words, else at the start",
    (1, 2): "punctuation: looks at the latest punctuation marks, else at the start",
    (1, 3): "everything: looks evenly at all tokens so far",
}

N_LAYERS, N_HEADS, D_HEAD, MAX_CONTEXT = 2, 4, 168, 512
D_MODEL = N_HEADS * D_HEAD
TOKEN, PREVIOUS, NEXT = slice(0, 96), slice(96, 192), slice(192, 288)
POSITION = slice(288, 352)
ORDER, START, CAPITAL, MARK, COUNTERWEIGHT = range(352, 357)
BALLAST = (D_MODEL - 2, D_MODEL - 1)
WEIGHT_OF_BALLAST = 50.0

BEGIN = "<s>"


def demo() -> GPT2LMHeadModel:
    """The model described above, in evaluation mode, with ``model.tokenizer``. Takes well under a second."""
    tokenizer = demo_tokenizer()
    begin = tokenizer.bos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=MAX_CONTEXT, n_embd=D_MODEL, n_layer=N_LAYERS, n_head=N_HEADS, n_inner=4,
        tie_word_embeddings=False, bos_token_id=begin, eos_token_id=begin, pad_token_id=begin,
    )  # fmt: skip
    model: Any = GPT2LMHeadModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        _set_embeddings(model, tokenizer)
        _set_norms(model)
        _set_first_layer(model)
        _set_second_layer(model)
    model.tokenizer = tokenizer
    model.name_or_path = "demo"
    model.eval()
    return cast(GPT2LMHeadModel, model)


# -- weights: embeddings and norms


def _set_embeddings(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    texts = [
        tokenizer.convert_tokens_to_string([name])
        for name in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    ]
    codes = _codes(len(texts))
    tokens, positions = model.transformer.wte.weight, model.transformer.wpe.weight
    tokens[:, TOKEN] = codes
    tokens[:, CAPITAL] = torch.tensor([float(text.strip()[:1].isupper()) for text in texts])
    tokens[:, MARK] = torch.tensor([float(text.strip(" ") in set(".,;:!?\n")) for text in texts])
    tokens[tokenizer.bos_token_id] = 0
    positions[:, POSITION] = _waves()
    positions[:, ORDER] = torch.arange(MAX_CONTEXT) / MAX_CONTEXT
    positions[0, START] = 1
    for rows in (tokens, positions):  # LayerNorm subtracts the mean: leave nothing to subtract
        rows[:, COUNTERWEIGHT] = -rows.sum(1)
    positions[:, BALLAST] = WEIGHT_OF_BALLAST * torch.tensor([1.0, -1.0])
    model.lm_head.weight[:, NEXT] = 16 * codes


def _codes(n: int) -> Tensor:
    """[n, 96]: as many +1 as -1 in random order, of length one; any two are nearly at right angles."""
    width = TOKEN.stop - TOKEN.start
    order = torch.rand(n, width, generator=torch.Generator().manual_seed(0)).argsort(1)
    return torch.where(order < width // 2, 1.0, -1.0) / math.sqrt(width)


def _frequencies() -> Tensor:
    """[32] between 0 and pi. Of many random draws this one keeps different positions apart best: no two positions
    within the context are more alike than 0.3, where 1 is the same."""
    return math.pi * torch.rand(32, generator=torch.Generator().manual_seed(16), dtype=torch.float64)


def _waves() -> Tensor:
    """[MAX_CONTEXT, 64]: cosines and sines, of length one."""
    angles = torch.arange(MAX_CONTEXT)[:, None] * _frequencies()
    return (torch.cat([angles.cos(), angles.sin()], 1) / math.sqrt(32)).float()


def _one_step_left() -> Tensor:
    """[64, 64]: turns the waves of a position into those of the position before it."""
    cos, sin = _frequencies().cos().diag(), _frequencies().sin().diag()
    return torch.cat([torch.cat([cos, -sin], 1), torch.cat([sin, cos], 1)]).float()


def _set_norms(model: Any) -> None:
    undo = WEIGHT_OF_BALLAST * math.sqrt(2 / D_MODEL)  # the standard deviation that LayerNorm divides by
    for norm in [model.transformer.ln_f, *(norm for block in model.transformer.h for norm in (block.ln_1, block.ln_2))]:
        norm.weight.fill_(undo)


# -- weights: heads


class _Head:
    """Writes the weights of one head. What a token looks at is a sum of scores; each takes columns of its own."""

    def __init__(self, model: Any, layer: int, head: int) -> None:
        attention = model.transformer.h[layer].attn
        mine = slice(head * D_HEAD, (head + 1) * D_HEAD)
        self.query, self.key, self.value = (w[:, mine] for w in attention.c_attn.weight.split(D_MODEL, dim=1))
        self.query_bias = attention.c_attn.bias[mine]
        self.output = attention.c_proj.weight[mine]
        self.columns = iter(range(D_HEAD))

    def _take(self, n: int) -> list[int]:
        return [next(self.columns) for _ in range(n)]

    def match(self, here: slice, there: slice, gain: float, turn: Tensor | None = None) -> "_Head":
        """Look where ``there`` is like ``here`` (after ``turn``): a perfect match scores ``gain``."""
        width = here.stop - here.start
        columns = self._take(width)
        self.query[here, columns] = gain * math.sqrt(D_HEAD) * (torch.eye(width) if turn is None else turn)
        self.key[there, columns] = torch.eye(width)
        return self

    def like(self, feature: int, gain: float) -> "_Head":
        """Look where ``feature`` is large, whatever stands here: a feature of 1 scores ``gain``."""
        (column,) = self._take(1)
        self.query_bias[column] = gain * math.sqrt(D_HEAD)
        self.key[feature, column] = 1
        return self

    def copy(self, source: slice, to: slice) -> "_Head":
        """Write what stands in ``source`` where this head looks into ``to`` here."""
        width = source.stop - source.start
        self.value[source, :width] = torch.eye(width)
        self.output[:width, to] = torch.eye(width)
        return self


def _set_first_layer(model: Any) -> None:
    _Head(model, 0, 0).match(POSITION, POSITION, 25, turn=_one_step_left()).copy(TOKEN, PREVIOUS)
    _Head(model, 0, 1).match(TOKEN, TOKEN, 30).match(POSITION, POSITION, -30).like(START, 18)
    _Head(model, 0, 2).like(START, 12)
    _Head(model, 0, 3).like(ORDER, 0.35 * MAX_CONTEXT)


def _set_second_layer(model: Any) -> None:
    _Head(model, 1, 0).match(TOKEN, PREVIOUS, 30).like(START, 18).copy(TOKEN, NEXT)
    _Head(model, 1, 1).like(CAPITAL, 12).like(START, 6).like(ORDER, 0.1 * MAX_CONTEXT)
    _Head(model, 1, 2).like(MARK, 12).like(START, 6).like(ORDER, 0.1 * MAX_CONTEXT)
    # head 3 stays zero: every score is the same, so it looks evenly at everything


# -- tokens


def demo_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE as in GPT-2, trained here and now on `WORDS`: it takes any text.

    A space is put in front, as Llama does, so that a word at the beginning is the same token as further on.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4000, min_frequency=1, show_progress=False, special_tokens=[BEGIN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(_training_text(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=BEGIN, pad_token=BEGIN, model_max_length=MAX_CONTEXT
    )


def _training_text() -> Iterator[str]:
    for word in WORDS.split():
        yield from (f" {word}", f" {word}s", f" {word.capitalize()}")


WORDS = """
the a an this that these those my your his her its our their one two three four five six seven eight nine ten many I
you he she it we they me him us them who what when where why how which there here and or but so because if then than
as while after before until not no yes very too also only just still again never to of in on at for with from by about
into over under up down out off through between near behind around away back is are was were be been being am has have
had do does did can could will would should may might must let say says said tell told ask asked go goes went gone
come came run ran walk walked jump jumped fly flew swim sit sat stand stood see saw seen look looked find found lose
lost give gave given take took taken get got make made keep kept put bring brought hold held open opened close closed
eat ate drink drank sleep slept wake woke read write wrote sing sang play played work worked live lived love loved
like liked want wanted need needed know knew think thought feel felt hear heard help helped try tried start started
stop stopped turn turned fall fell grow grew show showed call called learn learned cat dog mouse bird fish horse cow
fox bear rabbit tree flower leaf grass forest river lake sea mountain hill road house home room door window wall floor
roof garden table chair bed box bag cup plate book page word story letter name picture map key ball toy boat car train
ship bread milk apple cake water fire light stone sand snow rain wind sun moon star sky day night morning evening week
year time summer winter spring hand head eye ear face foot heart voice man woman boy girl child children king queen
friend mother father brother sister baby teacher people town city school shop world red blue green yellow white black
brown big small little long short tall old young new good bad happy sad tired hungry hot cold warm fast slow loud
quiet dark bright soft hard deep high low first last next other same great kind brave afraid something nothing
everything someone everyone once upon always often soon now today tomorrow yesterday Lily Tom Ben Anna Max Mia John
Mary Paris London Rome model layer token attention circuit quick lazy zoo zebra zero quarter vote value van every each
any some few much more most less least laugh cry smile dance cook clean wash drive ride climb throw catch push pull
cut build break fix buy sell pay send begin end finish wait stay leave arrive follow lead meet visit travel wonder
hope wish dream plan remember forget learning doctor farmer driver student paper pen pencil computer phone machine
number line side place part way thing idea question answer problem reason money food lunch dinner egg rice soup tea
coffee sugar salt fruit banana orange lemon monkey lion tiger elephant duck chicken pig sheep goat frog snake bee ant
butterfly dragon princess wizard castle pirate family aunt uncle cousin neighbour country village street park farm
church hospital station bridge island beach ocean hat shirt shoe coat dress pocket clock watch lamp mirror music song
game party gift present birthday hour minute moment second Monday Friday Sunday January language science history art
mathematics robot data neuron weight hello thanks please sorry goodbye maybe perhaps almost already together alone
inside outside above below during therefore however although suddenly finally quickly slowly really simply carefully
happily ever rather quite don didn isn wasn couldn ll ve re sharp sweet heavy strong weak rich poor easy early late
full empty clever left met paid sold bought built broke drove rode threw caught fed led sent spent Alice Bob Peter
Sarah Emma Jack Kate Paul Mike David Berlin America Germany England China Europe God Mr Mrs Dr ing ed er est ly tion
ness ment able ful un pre dis ism ist ity ous ive al
"""
