# %% [markdown]
# # 5 · Induction heads and in-context learning
#
# ![Left, the attention of one head of attn2l on twelve words, twice: in the second copy a dark diagonal stripe, framed in orange, lies one step after the first copy. Right, the loss by position: flat and high on the first copy, close to 0 from the second word of the second copy on.](pictures/one_head_one_stripe.png)
#
# Show a model twelve random words, then the same twelve again. From the second word of the second copy on, it is almost
# never wrong. It cannot know this text by heart: the words are drawn at random. It has learned to **look up what came
# next last time**.
#
# You will find the heads that do it, take them out, read them from their weights, and watch them appear in training.
#
# **You will be able to**
#
# - find induction heads in any model, with a score that you wrote in five lines;
# - show that they stand on a previous-token head, by taking it away;
# - say how much of an answer each head wrote;
# - read the jump in a loss curve as the step at which a circuit forms.
#
# **Why it matters.** A model that gets better at a text while it reads learns *in context*, without a change to its weights.
# Olsson et al. (2022) argue that induction heads may be behind most of this in large models. In a small model you can take the
# whole circuit apart.
#
# **Time** 2 h 45 min, 13 exercises, 3 questions · **difficulty** ●●●○○ · **you need** Python, some torch, and what an
# attention pattern is (chapter 0). No network, no GPU. A word you do not know? The [glossary](glossary.md) has it.
#
# ## Open the toolbox

# %% id="setup"
from functools import partial

import plotly.graph_objects as go
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets import AttentionHeads, Tap, answer, check, figure, hint, load, progress, reset, solution
from interpwidgets.data.repeats import repeated_tokens
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.load import checkpoints

model = load("attn2l")
model.config.n_layers, model.config.n_heads

# %% [markdown]
# `attn2l` has two layers of two heads and nothing else: no MLP, no bias in a projection. It knows 64 words and `<s>`, the
# token that begins every text. It was trained on random words that repeat, so looking back is all that it could learn.
#
# **How an exercise works.** You write a function, the cell after it checks the function. Stuck? `hint("05.1")` gives a hint, three
# in all. `solution("05.1")` opens after a pass or three tries. `reset("05.1")` starts over. Hints are counted, never charged.
#
# **Red is normal.** Cells below an exercise use what you write in it. Until it is solved they stop, with `NotImplementedError` or
# `NameError`. To go on all the same, read on and start at any other exercise: no check needs the one before it. The table at
# the end says where our version of each function lives, if you want to borrow it.
#
# The signatures tell you shapes: `Float[Tensor, "layer head"]` is a tensor of floating-point numbers with those two axes,
# `Int[Tensor, ""]` is one whole number, still a tensor.
#
# ## A text that nobody can know
#
# Here are 32 texts. Each is `<s>`, twenty different words, and the same twenty again.

# %% id="texts"
PERIOD = 20
tokens = repeated_tokens(batch=32, period=PERIOD, seed=5)  # ids, [batch, position]; 0 is <s>, words are 1 to 64
first_copy, second_copy = tokens[0, 1 : PERIOD + 1], tokens[0, PERIOD + 1 :]
print("text 0   ", model.tokenizer.decode(first_copy))
print("and again", model.tokenizer.decode(second_copy))

# %% [markdown]
# At every position the model says which word it expects next. This is how often the expected word comes:

# %% id="right"
with torch.no_grad():
    logits = model(tokens).logits  # [batch, position, vocab]

right = (logits[:, :-1].argmax(-1) == tokens[:, 1:]).float()  # entry i: was token i + 1 expected?
print(f"first copy                   {right[:, :PERIOD].mean():4.0%}")
print(f"second copy, from word 2 on  {right[:, PERIOD + 1 :].mean():4.0%}")

# %% [markdown]
# ### 05.1 · The same words twice
#
# Make such texts yourself: `bos` first, then all the words, then all of them again, as often as `copies` says.


# %% id="05.1"
def repeat_tokens(words: Int[Tensor, "batch period"], bos: int, copies: int = 2) -> Int[Tensor, "batch position"]:
    """One text per row: the token bos, then the row of words, copies times.

    words [[5, 8]], bos 0 gives [[0, 5, 8, 5, 8]].
    """
    ### BEGIN SOLUTION
    start = torch.full_like(words[:, :1], bos)
    return torch.cat([start] + [words] * copies, 1)
    ### END SOLUTION


# %% id="05.1-check"
check("05.1", repeat_tokens)

# %% [markdown]
# **Use it.** Put in words of your own, all different, of the 64 that the model knows (`model.tokenizer.get_vocab()` lists them).

# %% id="own-words"
MY_WORDS = "river fox zebra moon bread king"
words = torch.tensor([model.tokenizer(MY_WORDS).input_ids[1:]])  # without the <s> that the tokenizer puts first
with torch.no_grad():
    expected = model(repeat_tokens(words, bos=0)).logits[0].argmax(-1)

n = words.shape[1]
print("the second copy is    ", MY_WORDS)
print("the model expected    ", model.tokenizer.decode(expected[n : 2 * n]))

# %% [markdown]
# The first word of the second copy is a guess: nothing says where the first copy ends. From then on the model copies.
#
# ## Where it gets easier
#
# The *loss* of a prediction is minus the logarithm of the probability that the model gave to the word that came. With
# the natural logarithm its unit is the *nat*. Before you measure it, predict it: put your number in place of the dots.

# %% id="05.A"
### BEGIN SOLUTION
answer("05.A", 4.16)
### END SOLUTION

# %% [markdown]
# ### 05.2 · Loss, place by place
#
# The logits at position *i* are about token *i* + 1. So a text of *T* tokens has *T* − 1 losses, and entry *i*, over *B* texts, is
#
# > *ℓ*<sub>i</sub> = − (1 / *B*) Σ<sub>b</sub> log *p*( *t*<sub>b, i+1</sub> | *t*<sub>b, 0</sub> … *t*<sub>b, i</sub> )


# %% id="05.2"
def loss_by_position(
    logits: Float[Tensor, "batch position vocab"], tokens: Int[Tensor, "batch position"]
) -> Float[Tensor, " position-1"]:
    """The loss of predicting each token but the first, in nats, averaged over the batch.

    Entry i belongs to token i + 1.
    """
    ### BEGIN SOLUTION
    log_probs = logits[:, :-1].log_softmax(-1)
    loss = -log_probs.gather(-1, tokens[:, 1:, None])
    return loss.squeeze(-1).mean(0)
    ### END SOLUTION


# %% id="05.2-check"
check("05.2", loss_by_position)

# %% [markdown]
# **Use it.** `attn1l` has one layer, `attn0l` has none. Both were trained on the same texts.

# %% id="loss-curve"
lines, late_loss = go.Figure(), {}
for name in ("attn2l", "attn1l", "attn0l"):
    with torch.no_grad():
        loss = loss_by_position(load(name)(tokens).logits, tokens)
    late_loss[name] = loss[PERIOD + 1 :].mean().item()
    lines.add_scatter(x=list(range(1, 2 * PERIOD + 1)), y=loss.tolist(), name=name)
    print(f"{name}: first word {loss[0]:.2f} nats, second copy {late_loss[name]:.2f}")
lines.add_hline(y=torch.tensor(64.0).log().item(), line_dash="dot", annotation_text="ln 64")
lines.add_vline(x=PERIOD + 0.5, line_dash="dot", annotation_text="second copy")
lines.update_layout(xaxis_title="token", yaxis_title="loss in nats", yaxis_range=[0, 5])
figure(
    lines,
    alt=f"All three models begin near 4.16 nats. In the second copy attn2l falls to {late_loss['attn2l']:.2f}, "
    f"attn1l to {late_loss['attn1l']:.1f}, and attn0l stays at {late_loss['attn0l']:.1f}.",
    title="Loss by position",
    caption="twenty random words, twice; the mean of 32 texts",
)

# %% [markdown]
# On the first word all three lose ln 64, or a little more: nobody knows better. Two layers reach zero. Without any layer the model
# gets nowhere. One layer gets a part of the way: it can tell which words this text is made of, but not which of them came after
# which. So it bets on all twenty. In the end they get about 70 % of its probability.
#
# ## Three habits
#
# What do the heads of `attn2l` look at? Click through them. One of layer 0 looks **one step back**. Those of layer 1 show a
# **stripe** in the second copy.


# %% id="see-heads"
def names(ids: Tensor) -> list[str]:
    """The words of a text, one string per token."""
    return [model.tokenizer.decode([token]) for token in ids.tolist()]


with torch.no_grad(), Tap(model, "pattern") as tap:
    model(tokens)
pattern = tap["pattern"]  # [layer, batch, head, query, key]

AttentionHeads(names(tokens[0]), pattern[:, 0], caption="attn2l on text 0: twenty words, twice")

# %% [markdown]
# A `Tap` keeps what flows through a model at a named place. Here it kept every attention pattern: rows are queries, the words
# that look; columns are keys, the words looked at.
#
# Looking is quick, but a model may have a thousand heads. So we want numbers. A score is the attention that a head
# gives to *certain* keys, averaged over the queries that have such keys. On `<s> A B C A B C`, for the query at the second B:
#
# | position | 0 | 1 | 2 | 3 | 4 | 5 | 6 |
# |:--|:-:|:-:|:-:|:-:|:-:|:-:|:-:|
# | token | `<s>` | A | B | C | A | **B** | C |
# | previous token | | | | | ✕ | | |
# | duplicate token | | | ✕ | | | | |
# | induction | | | | ✕ | | | |
#
# ### 05.3 · One step back
#
# Patterns always have the shape `[layer, batch, head, query, key]`, even if there is one layer or one text.


# %% id="05.3"
def previous_token_score(pattern: Float[Tensor, "layer batch head query key"]) -> Float[Tensor, "layer head"]:
    """The mean attention from every query but the first to the key before it, over all texts of the batch."""
    ### BEGIN SOLUTION
    return pattern.diagonal(-1, -2, -1).mean((1, -1))
    ### END SOLUTION


# %% id="05.3-check"
check("05.3", previous_token_score)

# %% [markdown]
# **Use it.** Which head is it?

# %% id="previous"
print(previous_token_score(pattern))
previous_head = int(previous_token_score(pattern)[0].argmax())
print(f"the previous-token head is L0 H{previous_head}")

# %% [markdown]
# ### 05.4 · The same word, earlier
#
# A head may look at earlier copies of the current word. A query takes part if its word has stood before; what counts is
# its attention to *all* those places together. Where nothing repeats, the score is 0.


# %% id="05.4"
def duplicate_token_score(
    pattern: Float[Tensor, "layer batch head query key"], tokens: Int[Tensor, "batch position"]
) -> Float[Tensor, "layer head"]:
    """The mean attention from repeated tokens to all their earlier copies.

    Averaged over all such queries of the batch together; 0 if there are none.
    """
    ### BEGIN SOLUTION
    same = tokens[:, :, None] == tokens[:, None, :]  # [batch, query, key]
    earlier = same.tril(-1)
    n_queries = earlier.any(-1).sum()
    total = (pattern * earlier[None, :, None]).sum((1, 3, 4))
    return total / n_queries.clamp(min=1)
    ### END SOLUTION


# %% id="05.4-check"
check("05.4", duplicate_token_score)

# %% id="duplicate"
duplicate_token_score(pattern, tokens)

# %% [markdown]
# Nobody here looks at copies, and that is no surprise. To say what comes *next*, the copy itself is the wrong place: the right
# one is a step further.
#
# ### 05.5 · The stripe
#
# For texts of `<s>` and a repeated block, you know where everything is. A word of the second copy has stood `period` places
# earlier, too. The key that counts is the one right after *that* place.


# %% id="05.5"
def induction_score(pattern: Float[Tensor, "layer batch head query key"], period: int) -> Float[Tensor, "layer head"]:
    """The mean attention from every query after the first copy to what followed its word, one copy earlier.

    The texts are <s> and a block of period words, repeated: the first copy is at positions 1 to period.
    """
    ### BEGIN SOLUTION
    queries = torch.arange(period + 1, pattern.shape[-2], device=pattern.device)
    return pattern[..., queries, queries - period + 1].mean((1, -1))
    ### END SOLUTION


# %% id="05.5-check"
check("05.5", induction_score)

# %% [markdown]
# **Use it.** Your score drives the picture: heads are sorted by it and carry it as a bar.

# %% id="stripe"
mine = induction_score(pattern, PERIOD)
print(mine)
AttentionHeads(
    names(tokens[0]),
    pattern[:, 0],
    scores={"mine": mine},
    sort="mine",
    bar="mine",
    caption="sorted by your induction score",
)

# %% [markdown]
# You have found the **induction heads**: both heads of layer 1.
#
# ### 05.6 · Induction on any text
#
# Now six words, four times. The heads are the same, the model copies as well as before. What does your score say?

# %% id="four-copies"
often = repeated_tokens(batch=32, period=6, copies=4, seed=1)
with torch.no_grad(), Tap(model, "pattern") as tap:
    expected = model(often).logits.argmax(-1)
pattern_often = tap["pattern"]
print(f"right, from word 2 of the second copy on: {(expected[:, 7:-1] == often[:, 8:]).float().mean():.0%}")
print(induction_score(pattern_often, 6))

# %% [markdown]
# Much less, for the same heads. In the fourth copy a word has stood three times before, so there are *three* good places, and the stripe
# counts one of them. A better score counts all of them. It then needs no period, only the tokens, and works on any text. Olsson et al.
# (2022) call it *prefix matching*.


# %% id="05.6"
def prefix_matching_score(
    pattern: Float[Tensor, "layer batch head query key"], tokens: Int[Tensor, "batch position"]
) -> Float[Tensor, "layer head"]:
    """The mean attention from repeated tokens to the positions right after all their earlier copies.

    Averaged over all such queries of the batch together; 0 if there are none.
    """
    ### BEGIN SOLUTION
    same = tokens[:, :, None] == tokens[:, None, :]  # [batch, query, key]
    earlier = same.tril(-1)
    after = earlier.roll(1, -1)  # nothing wraps around: no query has the last key before it
    n_queries = earlier.any(-1).sum()
    total = (pattern * after[None, :, None]).sum((1, 3, 4))
    return total / n_queries.clamp(min=1)
    ### END SOLUTION


# %% id="05.6-check"
check("05.6", prefix_matching_score)

# %% id="all-copies"
print("six words, four times   ", prefix_matching_score(pattern_often, often)[1])
print("twenty words, twice     ", prefix_matching_score(pattern, tokens)[1])

# %% [markdown]
# ## Take it out
#
# A score says where a head looks. Does the model *need* it? Take the head out and see.
#
# ### 05.7 · Does reading help?
#
# First, one number for a whole model: how much easier a late token is than an early one. Olsson et al. (2022) compare
# the 500th token with the 50th; our texts are shorter. Mind the index: entry *i* of the loss belongs to token *i* + 1.


# %% id="05.7"
def in_context_score(loss: Float[Tensor, " position-1"], early: int, late: int) -> Float[Tensor, ""]:
    """The loss of token number late minus the loss of token number early. Below 0, reading on helps.

    loss is what loss_by_position gives. Tokens are counted from 0, which is <s>.
    """
    ### BEGIN SOLUTION
    return loss[late - 1] - loss[early - 1]
    ### END SOLUTION


# %% id="05.7-check"
check("05.7", in_context_score)

# %% [markdown]
# ### 05.8 · Take a head out
#
# `z` is what each head has gathered, just before it is written: `[batch, query, head, d_head]`. To take a head out, put something
# there that does not depend on the text. Zero would do, but later layers may never have met a zero. The head's own *mean*
# is gentler: it keeps what the head writes on average.


# %% id="05.8"
def mean_ablate(z: Float[Tensor, "batch query head d_head"], head: int) -> Float[Tensor, "batch query head d_head"]:
    """A copy of z in which one head is its own mean over batch and queries, the same vector everywhere."""
    ### BEGIN SOLUTION
    z = z.clone()
    z[:, :, head] = z[:, :, head].mean((0, 1))
    return z
    ### END SOLUTION


# %% id="05.8-check"
check("05.8", mean_ablate)

# %% [markdown]
# Before you take out the previous-token head: what will happen to the induction heads, one layer above? Put the number of
# an option in place of the dots.

# %% id="05.B"
### BEGIN SOLUTION
answer("05.B", 3)
### END SOLUTION

# %% [markdown]
# **Use it.** A `Tap` takes edits: a place, and what to do with what flows by.


# %% id="ablate"
def without(*heads: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Logits and patterns of the model with these heads (layer, head) taken out."""

    def take_out(z: Tensor, layer: int) -> Tensor:
        for at, head in heads:
            z = mean_ablate(z, head) if at == layer else z
        return z

    edits = {("z", layer): partial(take_out, layer=layer) for layer in (0, 1)}
    with torch.no_grad(), Tap(model, "pattern", edits=edits) as tap:
        logits = model(tokens).logits
    return logits, tap["pattern"]


second = slice(PERIOD + 1, None)  # predictions from the second word of the second copy on
out = {
    "nothing": [],
    "L0 H0": [(0, 0)],
    "L0 H1": [(0, 1)],
    "L1 H0": [(1, 0)],
    "L1 H1": [(1, 1)],
    "both of L1": [(1, 0), (1, 1)],
}
second_loss, second_right = {}, {}
print("taken out    loss  right  in-context score")
for name, heads in out.items():
    changed, _ = without(*heads)
    loss = loss_by_position(changed, tokens)
    second_loss[name] = loss[second].mean().item()
    second_right[name] = (changed[:, :-1].argmax(-1) == tokens[:, 1:])[:, second].float().mean().item()
    score = in_context_score(loss, early=1, late=2 * PERIOD).item()
    print(f"{name:11} {second_loss[name]:5.2f} {second_right[name]:6.0%} {score:17.2f}")

bars = go.Figure(go.Bar(x=list(second_loss), y=list(second_loss.values())))
bars.add_hline(y=torch.tensor(64.0).log().item(), line_dash="dot", annotation_text="ln 64, a blind guess")
bars.update_layout(xaxis_title="heads taken out", yaxis_title="loss on the second copy, nats")
figure(
    bars,
    alt="Loss on the second copy: " + ", ".join(f"without {name} {loss:.2f}" for name, loss in second_loss.items()),
    title="What each head is for",
    caption="mean ablation; from the second word of the second copy on",
)

# %% [markdown]
# Four things to see:
#
# - Without the **previous-token head** the model is back to guessing, although that head never looks at the right word. Its in-context score is even
#   above 0: near the end it guesses with more confidence than at the start, and wrongly.
# - Without the **other** head of layer 0 it hardly notices.
# - Without **one** induction head it is less sure, yet right more often than not: the other one does a part of the work.
# - Without **both**, nothing is left but guessing.
#
# And the attention of layer 1, without the previous-token head?

# %% id="ablated-heads"
_, changed_pattern = without((0, previous_head))
print("induction scores before", induction_score(pattern, PERIOD)[1])
print("                 after ", induction_score(changed_pattern, PERIOD)[1])
AttentionHeads(names(tokens[0]), changed_pattern[:, 0], layer=1, head=0, caption="without the previous-token head")

# %% [markdown]
# The stripe is gone. Layer 1 has the same weights as before; it lost what it reads. That is how the two layers work together:
#
# 1. the **previous-token head** writes, at every word, *which word came before*;
# 2. an **induction head** asks, at the current word A, *who has A written as the word before?* and copies what stands there.
#
# ## A logit is a sum
#
# The logits come from the *residual stream*, a sum to which every head adds. So a logit is a sum too, and we can ask each
# head for its share: *direct logit attribution*. One obstacle is the last norm. It divides by a number that depends on
# the whole stream. We *freeze* that number: we take it from the run as it was.
#
# Two things are given: the `direction` of the stream that raises the logit of the right word above the mean of all words, and the
# `scale` that the norm divides by.

# %% id="direction"
with torch.no_grad(), Tap(model, ["z", ("resid_post", 1)]) as tap:
    model(tokens)
    norm = model.model.norm
    unembed = model.unembed.weight - model.unembed.weight.mean(0)  # above the mean of all words
    direction = unembed[tokens[:, 1:]] * norm.weight  # of the right word: [batch, query, d_model]
    direction = direction - direction.mean(-1, keepdim=True)  # the norm takes the mean of the stream away
    scale = (tap["resid_post", 1].var(-1, correction=0) + norm.eps).sqrt()[:, :-1]  # [batch, query]
    W_O = [anatomy(model).W_O(layer).detach() for layer in (0, 1)]  # each [head, d_head, d_model]
z = tap["z"][:, :, :-1]  # [layer, batch, query, head, d_head]; the last position predicts nothing that we know

# %% [markdown]
# ### 05.9 · Who wrote the answer?
#
# Head *h* writes *z*<sub>h</sub> *W*<sub>O</sub><sup>h</sup>. Its share of the logit is how far that goes along the direction *u*, divided by the
# scale *σ*:
#
# > *a*<sub>h</sub> = ( *z*<sub>h</sub> *W*<sub>O</sub><sup>h</sup> · *u* ) / *σ*


# %% id="05.9"
def head_logit_attribution(
    z: Float[Tensor, "batch query head d_head"],
    W_O: Float[Tensor, "head d_head d_model"],
    direction: Float[Tensor, "batch query d_model"],
    scale: Float[Tensor, "batch query"],
) -> Float[Tensor, "batch query head"]:
    """What each head of one layer writes along direction, divided by scale."""
    ### BEGIN SOLUTION
    written = torch.einsum("bqhe,hed->bqhd", z, W_O)
    along = torch.einsum("bqhd,bqd->bqh", written, direction)
    return along / scale[:, :, None]
    ### END SOLUTION


# %% id="05.9-check"
check("05.9", head_logit_attribution)

# %% id="attribution"
shares = torch.stack([head_logit_attribution(z[layer], W_O[layer], direction, scale) for layer in (0, 1)])
in_second_copy = shares[:, :, second].mean((1, 2))  # [layer, head]
whole = (logits[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0] - logits[:, :-1].mean(-1))[:, second].mean()
print(in_second_copy)
print(f"the heads together {in_second_copy.sum():.2f}, the logit itself {whole:.2f}")

# %% [markdown]
# Both induction heads push the right word up. The previous-token head writes almost nothing along that direction, and
# still the answer depends on it. **Direct attribution sees who writes, not who informs the writer.** The small
# difference to the logit comes from the embedding and from the bias of the norm.
#
# ## Read it from the weights
#
# So far you ran the model. Two things can be seen without a single text.
#
# ### 05.10 · Does it copy?
#
# If a head attends to a word fully, it changes the logits by that word's row of one matrix, the full *OV circuit*
#
# > *W*<sub>E</sub> *W*<sub>V</sub> *W*<sub>O</sub> *W*<sub>U</sub>, of shape `[vocab, vocab]`
#
# A head that copies raises the logit of the very word that it sees. Then the matrix has positive eigenvalues. Elhage et al. (2021)
# sum that up in one number between −1 and 1:
#
# > Σ<sub>i</sub> *λ*<sub>i</sub> / Σ<sub>i</sub> |*λ*<sub>i</sub>|
#
# Eigenvalues may be complex. They then come in mirror pairs, *a* + *bi* and *a* − *bi*, so that their sum is real.
#
# The matrix is large, its rank is at most `d_head`. *A B* and *B A* have the same eigenvalues other than 0, which saves you a lot
# of work.


# %% id="05.10"
def copying_score(
    W_E: Float[Tensor, "vocab d_model"],
    W_V: Float[Tensor, "d_model d_head"],
    W_O: Float[Tensor, "d_head d_model"],
    W_U: Float[Tensor, "d_model vocab"],
) -> Float[Tensor, ""]:
    """The sum of the eigenvalues of W_E W_V W_O W_U over the sum of their magnitudes; one real number."""
    ### BEGIN SOLUTION
    eigenvalues = torch.linalg.eigvals((W_O @ W_U) @ (W_E @ W_V))
    return eigenvalues.real.sum() / eigenvalues.abs().sum()
    ### END SOLUTION


# %% id="05.10-check"
check("05.10", copying_score)

# %% id="copying"
n_heads, d_head = model.config.n_heads, model.config.d_head
W_U = (norm.weight * model.unembed.weight).detach().T  # the last norm's weights are on the way to the logits


def weights(layer: int, name: str) -> Tensor:
    """W_Q, W_K or W_V of every head of a layer, [head, d_model, d_head], for x @ W."""
    stacked = getattr(model.model.layers[layer].attention, name).weight.detach()
    return stacked.unflatten(0, (n_heads, d_head)).mT


copying = {}
for layer in (0, 1):
    W_E = model.model.layers[layer].norm(model.model.embed.weight).detach()  # words as this layer reads them
    for head in range(n_heads):
        copying[layer, head] = copying_score(W_E, weights(layer, "v")[head], W_O[layer][head], W_U).item()
        print(f"L{layer} H{head}          {copying[layer, head]:5.2f}")

sizes = [(65, 64), (64, d_head), (d_head, 64), (64, 65)]
by_chance = torch.stack([copying_score(*(torch.randn(*size) for size in sizes)) for _ in range(200)])
print(f"random weights {by_chance.mean():5.2f}, give or take {by_chance.std():.2f}")

# %% [markdown]
# Both induction heads copy, one of them purely. The heads of layer 0 score below zero: sent straight to the logits, what they write would
# speak *against* the word. But 05.9 has shown that next to nothing of it gets there. It is meant for layer 1.
#
# Mind what the score leaves out: a head of layer 1 also reads what layer 0 has written, and not only words.
#
# ### 05.11 · Who reads whom?
#
# Head A of layer 0 writes with *W*<sub>OV</sub> = *W*<sub>V</sub> *W*<sub>O</sub>. Head B of layer 1 compares keys with queries. With *x* in the stream at the key and
# *y* at the query, the score is
#
# > *k* · *q* = ( *x* *W*<sub>K</sub> ) ( *y* *W*<sub>Q</sub> )<sup>T</sup> = *x* ( *W*<sub>K</sub> *W*<sub>Q</sub><sup>T</sup> ) *y*<sup>T</sup>
#
# so what stands at the key meets *W*<sub>KQ</sub> = *W*<sub>K</sub> *W*<sub>Q</sub><sup>T</sup>. If B's *keys* read what A writes, the product *W*<sub>OV</sub> *W*<sub>KQ</sub> is large for the
# sizes of the two. Elhage et al. (2021) call this **K-composition**:
#
# > ‖ *W*<sub>OV</sub><sup>A</sup> *W*<sub>KQ</sub><sup>B</sup> ‖ / ( ‖ *W*<sub>OV</sub><sup>A</sup> ‖ ‖ *W*<sub>KQ</sub><sup>B</sup> ‖ )
#
# with Frobenius norms: the root of the sum of all squared entries.


# %% id="05.11"
def composition_score(
    W_A: Float[Tensor, "a d_model d_model"], W_B: Float[Tensor, "b d_model d_model"]
) -> Float[Tensor, "a b"]:
    """The Frobenius norm of W_A W_B over the product of their norms, for every pair of matrices."""
    ### BEGIN SOLUTION
    product = W_A[:, None] @ W_B[None, :]  # [a, b, d_model, d_model]
    sizes = torch.linalg.matrix_norm(W_A)[:, None] * torch.linalg.matrix_norm(W_B)[None, :]
    return torch.linalg.matrix_norm(product) / sizes
    ### END SOLUTION


# %% id="05.11-check"
check("05.11", composition_score)

# %% id="composition"
W_OV = weights(0, "v") @ W_O[0]  # [head, d_model, d_model]
W_KQ = weights(1, "k") @ weights(1, "q").mT
composition = composition_score(W_OV, W_KQ)

random_OV = torch.randn(50, 64, d_head) @ torch.randn(50, d_head, 64)
random_KQ = torch.randn(50, 64, d_head) @ torch.randn(50, d_head, 64)
baseline = composition_score(random_OV, random_KQ)

for head in range(n_heads):
    print(f"L0 H{head} read by L1 H0 {composition[head, 0]:.2f}, by L1 H1 {composition[head, 1]:.2f}")
print(f"random weights: {baseline.mean():.2f}, at most {baseline.max():.2f}")

# %% [markdown]
# **Always look at the baseline.** A score of 0.28 sounds small, but none of 2,500 random pairs comes near it. Both induction heads
# read the previous-token head through their keys; the other head of layer 0 stays at the level of chance.
#
# ## When it is learned
#
# `attn2l` was kept at several steps of its training. Let us watch.
#
# ### 05.12 · The step at which it happens
#
# Checkpoints are not evenly spaced, so "the steepest rise" depends on which were kept. Take the first step at which a score has done
# at least half of its way, from its first value to its highest.


# %% id="05.12"
def phase_change(steps: Int[Tensor, " time"], scores: Float[Tensor, " time"]) -> Int[Tensor, ""]:
    """The first step whose score is at least half way from the first score to the highest."""
    ### BEGIN SOLUTION
    halfway = (scores[0] + scores.max()) / 2
    return steps[(scores >= halfway).int().argmax()]
    ### END SOLUTION


# %% id="05.12-check"
check("05.12", phase_change)

# %% id="training"
steps = checkpoints("attn2l")
curves = {
    "previous token, L0 H0": [],
    "previous token, L0 H1": [],
    "induction, best of layer 1": [],
    "right on the second copy": [],
}
for step in steps:
    young = load("attn2l", checkpoint=step)
    with torch.no_grad(), Tap(young, "pattern") as tap:
        young_logits = young(tokens).logits
    young_right = (young_logits[:, :-1].argmax(-1) == tokens[:, 1:]).float()
    previous = previous_token_score(tap["pattern"])[0]
    induction = induction_score(tap["pattern"], PERIOD)[1].max()
    for values, value in zip(curves.values(), [*previous, induction, young_right[:, second].mean()], strict=True):
        values.append(value.item())

half_way = {name: int(phase_change(torch.tensor(steps), torch.tensor(values))) for name, values in curves.items()}
print(f"{'':26} half way  at the end")
for name, values in curves.items():
    print(f"{name:26} {half_way[name]:8} {values[-1]:11.2f}")

lines = go.Figure([go.Scatter(x=steps, y=values, name=name, mode="lines+markers") for name, values in curves.items()])
lines.update_layout(xaxis_title="training step", yaxis_title="score", yaxis_range=[0, 1.02])
figure(
    lines,
    alt="All scores stay low at first. Then the induction score and the share of right words jump together, "
    f"half way at step {half_way['induction, best of layer 1']}. The previous-token scores of both heads of "
    "layer 0 rise with them; one goes on, the other falls back.",
    title="A phase change",
    caption="attn2l in training, on twenty words, twice",
)

# %% [markdown]
# For a long while nothing happens. Then, within a hundred steps or so, a model that guesses becomes a model that copies, and the induction heads form
# in the same stretch. Olsson et
# al. (2022) saw this in language models and called it a **phase change**.
#
# Our small model adds a detail. Copying works before the previous-token head is crisp: at first *both* heads of layer 0 look
# back a little, later one of them does it alone. The score of one head is not the whole story.
#
# Why can one layer not do it?

# %% id="05.C"
### BEGIN SOLUTION
answer("05.C", 1)
### END SOLUTION

# %% id="one-layer"
single = load("attn1l")
with torch.no_grad(), Tap(single, "pattern") as tap:
    single(tokens)
print("attn1l, induction score", induction_score(tap["pattern"], PERIOD))

# %% [markdown]
# ## In a model that you name
#
# ### 05.13 · Find them anywhere
#
# Put it together: a model, a batch of tokens, a threshold; out comes the list of its induction heads. It is checked on models with
# shuffled heads, so nothing but measuring will do. The check shows your list as a table, a cell for each head: 1 is the first of the list,
# 2 the second, 0 is not in it.


# %% id="05.13"
def find_induction_heads(model, tokens: Int[Tensor, "batch position"], threshold: float = 0.4) -> list[tuple[int, int]]:
    """All (layer, head) with a prefix-matching score of at least threshold, the highest score first."""
    ### BEGIN SOLUTION
    with torch.no_grad(), Tap(model, "pattern") as tap:
        model(tokens)
    scores = prefix_matching_score(tap["pattern"].float(), tokens)
    found = [(layer, head) for layer, head in (scores >= threshold).nonzero().tolist()]
    return sorted(found, key=lambda place: -scores[place].item())
    ### END SOLUTION


# %% id="05.13-check"
check("05.13", find_induction_heads)

# %% [markdown]
# **Use it on a model that you name.** `"demo"` is the hand-written model of chapter 0, `"attn2l"` the one of this chapter. Any name on the
# [Hugging Face hub](https://huggingface.co/models?library=transformers) will do, such as `"gpt2"` or `"HuggingFaceTB/SmolLM2-135M"`
# (downloaded once), or a directory with a model. An empty list is a finding too: a very small model may have none.

# %% id="model" tags=["parameters"]
MODEL = "demo"

# %% id="find"
other, name = load(MODEL), MODEL.rstrip("/").split("/")[-1]
other.config.pad_token_id = None  # nothing here is padding
vocabulary = other.get_input_embeddings().num_embeddings
begin = other.config.bos_token_id or 0
draw = torch.Generator().manual_seed(0)
texts = [torch.randperm(vocabulary - 3, generator=draw)[:PERIOD] + 3 for _ in range(4)]  # ids 0 to 2 are often special
probe = repeat_tokens(torch.stack(texts), bos=begin)

found = find_induction_heads(other, probe)
print(f"{name}: {len(found)} of {anatomy(other).n_layers * anatomy(other).n_heads} heads:", found[:12])

with torch.no_grad(), Tap(other, "pattern") as tap:
    other(probe)
scores = prefix_matching_score(tap["pattern"].float(), probe)
best_layer, best_head = divmod(int(scores.argmax()), scores.shape[1])
grid = go.Figure(go.Heatmap(z=scores.tolist(), zmin=0, zmax=1))
grid.update_layout(xaxis=dict(title="head", dtick=1), yaxis=dict(title="layer", dtick=1, autorange="reversed"))
figure(
    grid,
    alt=f"Prefix-matching scores of {name}, one cell per head. The highest is L{best_layer} H{best_head}: "
    f"{scores.max():.2f}. Heads above 0.4: {len(found)}.",
    title=f"Induction heads of {name}",
    caption=f"prefix-matching score on {PERIOD} random tokens, twice",
)

# %% [markdown]
# Random tokens are no language, and that is the point: no head can get by with what it knows about words.
#
# ## What we did not show
#
# - **Language.** Our model copies words exactly. In large models the same heads also complete *similar* patterns; Olsson et al. (2022) give examples,
#   and say how much of their evidence is correlation. Şahin et al. (2025) train models that learn in context with few induction heads.
# - **The one path.** Mean ablation takes away everything that a head does. That the effect runs from the previous-token head through the *keys* of the induction head
#   needs an edit of that path alone, *path patching*. For `attn2l` it was measured: see its `card.json`, "share of the path into keys".
# - **Why it happens at once.** That needs training runs in which parts are held fixed [3].
#
# These come *later*, with models that can show them: clamping subcircuits during training (Singh et al. 2024); what in the data favours learning in context
# (Reddy 2024); forgetting and structural in-context learning (Anand et al. 2024); semantic induction heads (Ren et al. 2024); n-gram heads and languages
# learned in context (Akyürek et al. 2024).
#
# ## Going further
#
# - [1] Elhage et al. (2021), [A Mathematical Framework for Transformer Circuits](https://transformer-circuits.pub/2021/framework/index.html):
#   composition, copying, induction heads in two-layer models.
# - [2] Olsson et al. (2022), [In-context Learning and Induction Heads](https://arxiv.org/abs/2209.11895): prefix matching, in-context score, the phase change.
# - [3] Singh et al. (2024), [What needs to go right for an induction head?](https://arxiv.org/abs/2404.07129): why it appears at once.
# - Reddy (2024), [The mechanistic basis of data dependence and abrupt learning in an in-context classification task](https://arxiv.org/abs/2312.03002).
# - Edelman et al. (2024), [The Evolution of Statistical Induction Heads: In-Context Learning Markov Chains](https://arxiv.org/abs/2402.11004): heads that count.
# - Anand et al. (2024), [Dual Process Learning](https://arxiv.org/abs/2406.00053). Ren et al. (2024),
#   [Identifying Semantic Induction Heads](https://arxiv.org/abs/2402.13055). Akyürek et al. (2024), [In-Context Language Learning](https://arxiv.org/abs/2401.12973).
# - Şahin et al. (2025), [In-Context Learning Without Copying](https://arxiv.org/abs/2511.05743): a doubt.
#
# ## What you have now
#
# Our versions live in `interpwidgets.methods`: `from interpwidgets.methods.in_context import repeat_tokens`, for example.
#
# | You want to know | You wrote | In |
# |:--|:--|:--|
# | what a text that repeats looks like | `repeat_tokens` | `in_context` |
# | does it get easier while reading? | `loss_by_position`, `in_context_score` | `in_context` |
# | where does a head look? | `previous_token_score`, `duplicate_token_score`, `induction_score`, `prefix_matching_score` | `induction` |
# | does the model need it? | `mean_ablate` | `ablation` |
# | who wrote the answer? | `head_logit_attribution` | `attribution` |
# | what do the weights say? | `copying_score`, `composition_score` | `circuits` |
# | when was it learned? | `phase_change` | `in_context` |
# | where are they in this model? | `find_induction_heads` | `induction` |

# %% id="progress"
progress()
