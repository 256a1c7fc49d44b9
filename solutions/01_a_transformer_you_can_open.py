# %% [markdown]
# # 1 · A transformer you can open
#
# ![A wide blue line, the residual stream, runs from left to right, from the words "The dogs near the tree" to the next word, "are". Below it stand embed, then attention and MLP of layer 0, dots, attention and MLP of layer 3, norm and unembed. From the stream an arrow leads down into each half of a layer through a small norm, and an orange arrow leads back up with a plus.](pictures/one_stream.png)
#
# A language model of four layers fits on a page. You will write it, line by line: some twenty-five lines of your own. Then you
# put the weights of a trained model into it, and it writes stories. It is the same arithmetic as GPT-2, only smaller.
#
# **You will be able to**
#
# - build GPT-2 from plain tensor operations, and say what each part may and may not do;
# - make it write, with temperature, top-k and top-p, and without doing any work twice;
# - listen in on every part of a model, change what flows through it, and see what that does;
# - train a small one.
#
# **Why it matters.** The rest of the course asks *why* a model says what it says. That takes somebody who knows what can be
# hidden where. There are few parts, and you will have had every one of them in your hands.
#
# **Time** 3 h 10 min, 17 exercises, 3 questions · **difficulty** ●●○○○ · **you need** Python, some torch, and what a matrix
# product is. No network, no GPU. A word you do not know? The [glossary](glossary.md) has it.
#
# ## Open the toolbox

# %% id="setup"
import math
from copy import deepcopy

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from interpwidgets import AttentionHeads, Tap, answer, check, figure, hint, load, progress, reset, solution
from interpwidgets.data.stories.windows import Windows

model = load("storylm")
tokenizer = model.tokenizer
print(f"{model.config.n_layer} layers of {model.config.n_head} heads, a stream of {model.config.n_embd} numbers")

# %% [markdown]
# `storylm` tells tiny stories in a small English. It is an ordinary GPT-2 as the `transformers` library builds it: what you
# write for it here runs GPT-2 as well.
#
# **How an exercise works.** You write a function, the cell after it checks the function. Stuck? `hint("01.1")` gives a
# hint, three in all. `solution("01.1")` opens after a pass or three tries. `reset("01.1")` starts over. Hints are counted,
# never charged.
#
# **Red is normal.** Cells below an exercise use what you write in it. Until it is solved they stop, with
# `NotImplementedError` or `NameError`. Exercises 01.4, 01.6 and 01.7 put earlier functions together. To skip one, borrow
# ours: `from interpwidgets.methods.transformer import layer_norm`, for example. The table at the end says where each of
# them lives.
#
# The signatures tell you shapes: `Float[Tensor, "batch position d_model"]` is a tensor of floating-point numbers with
# those three axes.
#
# ## Words become vectors
#
# A tokenizer cuts a text into pieces from a fixed list, the *vocabulary*, and gives each its number.

# %% id="tokens"
TEXT = "When Mary and John went to the store, John gave a drink to"
tokens = tokenizer(TEXT, return_tensors="pt").input_ids  # [batch, position]


def names(ids: Tensor) -> list[str]:
    """The words of a text, one string per token."""
    return [tokenizer.decode([token]) for token in ids.tolist()]


print("numbers", tokens[0].tolist())
print("words  ", names(tokens[0]))

# %% [markdown]
# `<s>` stands at the beginning of every text. Here nearly every word is one token; large vocabularies also have pieces of
# words.
#
# ### 01.1 · Vectors for words
#
# Two tables were learned: `W_E` has a row for every token, `W_pos` a row for every place in the text. The vector that
# starts at a position is the sum of its two rows. (In the names, E is for *embedding*; later U will be for *unembedding*.)


# %% id="01.1"
def embed(
    tokens: Int[Tensor, "batch position"],
    W_E: Float[Tensor, "vocab d_model"],
    W_pos: Float[Tensor, "context d_model"],
) -> Float[Tensor, "batch position d_model"]:
    """The row of W_E for each token, plus the row of W_pos for its place. The first token is at place 0."""
    ### BEGIN SOLUTION
    return W_E[tokens] + W_pos[: tokens.shape[1]]
    ### END SOLUTION


# %% id="01.1-check"
check("01.1", embed)

# %% [markdown]
# **Look at the table.** In `W_E` words are points in a space of 128 dimensions. Do *directions* mean something there? Go
# from *dog* to *dogs*, and take the same step from *cat*. Which word is in the direction that you reach? (Longer vectors do
# not count more: only the angle does.)

# %% id="directions"
W_E, vocabulary = model.transformer.wte.weight.detach(), tokenizer.get_vocab()


def analogy(a: str, b: str, c: str) -> list[str]:
    """The three words closest to c + (b - a), these three left out."""
    ids = [vocabulary[f" {word}"] for word in (a, b, c)]
    from_a, to_b, from_c = W_E[ids]
    near = F.cosine_similarity(W_E, from_c + to_b - from_a, dim=-1)
    near[ids] = -1
    return [tokenizer.decode([token]) for token in near.topk(3).indices]


STEPS = "dog dogs cat, he his she, France French Germany, France Paris Germany, doctor doctors teacher, cat cats bird"
for a, b, c in (step.split() for step in STEPS.split(", ")):
    print(f"{a:>7} is to {b:8} as {c:8} is to", ", ".join(analogy(a, b, c)))

# %% [markdown]
# Some steps carry over, some miss. *teacher* and *bird* go wrong: with a vocabulary as small as this one, a model can also
# learn each word by itself. Directions that mean something are a finding to be measured, not a law.
#
# ## The stream, and a norm before every reader
#
# From here on each position has a vector that only ever gets *added to*: the **residual stream**, the wide line in the
# picture. Parts of the model read it and add what they found. The stream grows on the way, so whoever reads it brings it to
# one size first.
#
# ### 01.2 · The same length for all
#
# For a vector *x* with mean *μ* and variance *σ*², both over its `d_model` numbers:
#
# > *y* = ( *x* − *μ* ) / √( *σ*² + *ε* ) · *weight* + *bias*
#
# The variance is the plain mean of ( *x* − *μ* )². The small *ε* keeps a vector of equal numbers from a division by zero.


# %% id="01.2"
def layer_norm(
    x: Float[Tensor, "batch position d_model"],
    weight: Float[Tensor, " d_model"],
    bias: Float[Tensor, " d_model"],
    eps: float = 1e-5,
) -> Float[Tensor, "batch position d_model"]:
    """Each vector with mean 0 and variance 1, then scaled by weight and shifted by bias."""
    ### BEGIN SOLUTION
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return centred / (variance + eps).sqrt() * weight + bias
    ### END SOLUTION


# %% id="01.2-check"
check("01.2", layer_norm)

# %% [markdown]
# ## Attention: the part that looks around
#
# A *head* moves information from one position to another. Each position asks a question, its **query**. Each position has a
# label, its **key**. Where a query and a key fit, the head looks. Here are three words; a dot product is the fit, and a row
# is one query:
#
# | | `<s>` | The | dogs |
# |:--|:-:|:-:|:-:|
# | `<s>` | 1 | hidden | hidden |
# | The | 0.7 | 0.3 | hidden |
# | dogs | 0.2 | 0.7 | 0.1 |
#
# What comes later is hidden: the model is to predict it. Each row adds up to 1.
#
# ### 01.3 · Who looks where
#
# For every query *i* and key *j* ≤ *i*:
#
# > *a*<sub>ij</sub> = softmax<sub>j</sub> ( *q*<sub>i</sub> · *k*<sub>j</sub> / √*d*<sub>head</sub> )
#
# The root keeps the scores of wide heads from growing with their width.
#
# `torch.einsum` helps here, and often from here on. It names the axes of its tensors by letters; letters that are missing
# after the arrow are summed over. So `torch.einsum("ij,jk->ik", A, B)` is `A @ B`: *j* is gone, the sum ran over it.


# %% id="01.3"
def attention_pattern(
    q: Float[Tensor, "batch position head d_head"], k: Float[Tensor, "batch position head d_head"]
) -> Float[Tensor, "batch head query key"]:
    """How much each query looks at each key at its own place or earlier. Rows add up to 1."""
    ### BEGIN SOLUTION
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[-1])
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(-1)
    ### END SOLUTION


# %% id="01.3-check"
check("01.3", attention_pattern)

# %% [markdown]
# ### 01.4 · All heads of a layer
#
# Having looked, a head fetches: each position also has a **value**, and the head takes the mixture *z* of the values that
# its pattern says. `W_O` turns it back into a vector as wide as the stream. All heads of a layer write at the same time,
# and what they write adds up:
#
# > *z*<sub>i</sub> = Σ<sub>j</sub> *a*<sub>ij</sub> *v*<sub>j</sub>, in every head
# >
# > *out*<sub>i</sub> = Σ<sub>heads</sub> *z*<sub>i</sub> *W*<sub>O</sub> + *b*<sub>O</sub>
#
# Every head has its own `W_Q`, `W_K`, `W_V` (`[d_model, d_head]`), each with a bias, and its own `W_O` (`[d_head,
# d_model]`). The tensors below hold all heads: head first. One bias `b_O` is added at the end.


# %% id="01.4"
def attention(
    x: Float[Tensor, "batch position d_model"], weights: dict[str, Tensor]
) -> Float[Tensor, "batch position d_model"]:
    """What all heads write together.

    weights["W_Q"], ["W_K"], ["W_V"]: [head, d_model, d_head]; ["b_Q"], ["b_K"], ["b_V"]: [head, d_head];
    ["W_O"]: [head, d_head, d_model]; ["b_O"]: [d_model].
    """
    ### BEGIN SOLUTION
    q = torch.einsum("bpm,hmd->bphd", x, weights["W_Q"]) + weights["b_Q"]
    k = torch.einsum("bpm,hmd->bphd", x, weights["W_K"]) + weights["b_K"]
    v = torch.einsum("bpm,hmd->bphd", x, weights["W_V"]) + weights["b_V"]
    z = torch.einsum("bhqk,bkhd->bqhd", attention_pattern(q, k), v)
    return torch.einsum("bqhd,hdm->bqm", z, weights["W_O"]) + weights["b_O"]
    ### END SOLUTION


# %% id="01.4-check"
check("01.4", attention)

# %% [markdown]
# ## The MLP: no looking around
#
# The other half of a layer looks at nobody. It widens the vector, bends every number, and narrows it again. It is the same
# function at every position.
#
# ### 01.5 · Every position for itself
#
# The bend is called GELU. GPT-2 uses this approximation of it:
#
# > gelu( *a* ) = ½ *a* ( 1 + tanh( √(2/π) ( *a* + 0.044715 *a*³ ) ) )
#
# For large *a* it is *a*, for very negative *a* it is 0, and in between it dips a little.


# %% id="01.5"
def mlp(
    x: Float[Tensor, "batch position d_model"], weights: dict[str, Tensor]
) -> Float[Tensor, "batch position d_model"]:
    """W_in with b_in, the formula above, W_out with b_out.

    weights["W_in"]: [d_model, d_mlp]; ["b_in"]: [d_mlp]; ["W_out"]: [d_mlp, d_model]; ["b_out"]: [d_model].
    """
    ### BEGIN SOLUTION
    a = x @ weights["W_in"] + weights["b_in"]
    inner = math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)
    return 0.5 * a * (1 + inner.tanh()) @ weights["W_out"] + weights["b_out"]
    ### END SOLUTION


# %% id="01.5-check"
check("01.5", mlp)

# %% [markdown]
# You have now met all the parts there are. One question about them:

# %% id="01.A"
### BEGIN SOLUTION
answer("01.A", 3)
### END SOLUTION

# %% [markdown]
# ## Put it together
#
# ### 01.6 · One layer
#
# ```
# x ──┬──────────────────────────(+)──┬───────────────────────(+)──> x
#     └─> norm_1 ─> attention ────┘   └─> norm_2 ─> mlp ───────┘
# ```
#
# The norms stand on the branches. Nothing stands on the stream itself: what one layer writes, every later one can read.


# %% id="01.6"
def block(
    x: Float[Tensor, "batch position d_model"], weights: dict[str, Tensor]
) -> Float[Tensor, "batch position d_model"]:
    """The stream after one layer.

    Beside those of attention and mlp, weights holds "norm_1_weight", "norm_1_bias", "norm_2_weight", "norm_2_bias".
    """
    ### BEGIN SOLUTION
    x = x + attention(layer_norm(x, weights["norm_1_weight"], weights["norm_1_bias"]), weights)
    return x + mlp(layer_norm(x, weights["norm_2_weight"], weights["norm_2_bias"]), weights)
    ### END SOLUTION


# %% id="01.6-check"
check("01.6", block)

# %% [markdown]
# ### 01.7 · Tokens in, logits out
#
# At the end one more norm, and a matrix `W_U` with a column for every token of the vocabulary. What comes out is a *logit*
# for each: the higher, the more the model expects this token next.


# %% id="01.7"
def gpt(
    tokens: Int[Tensor, "batch position"], weights: dict[str, Tensor], blocks: list[dict[str, Tensor]]
) -> Float[Tensor, "batch position vocab"]:
    """The logits at every position.

    weights holds "W_E", "W_pos", "norm_weight", "norm_bias" and "W_U" [d_model, vocab]; blocks the weights of each layer.
    """
    ### BEGIN SOLUTION
    x = embed(tokens, weights["W_E"], weights["W_pos"])
    for layer in blocks:
        x = block(x, layer)
    return layer_norm(x, weights["norm_weight"], weights["norm_bias"]) @ weights["W_U"]
    ### END SOLUTION


# %% id="01.7-check"
check("01.7", gpt)

# %% [markdown]
# That is GPT-2. The check has already put real weights into it. Now you do it.
#
# ## Real weights
#
# The library keeps the weights under names of its own:

# %% id="names"
for name, weight in model.transformer.named_parameters():
    if name.startswith(("w", "h.0.", "ln_f")):
        print(f"{name:24} {list(weight.shape)}")

# %% [markdown]
# Nearly all of them fit as they are. One does not: `h.0.attn.c_attn` is `W_Q`, `W_K` and `W_V` of all heads in one wide
# matrix.
#
# ### 01.8 · Open the safe
#
# Its columns are in this order: all queries, then all keys, then all values. Within the queries: head 0, head 1, and so on.
# For two heads of width 2:
#
# | column | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 |
# |:--|:-:|:-:|:-:|:-:|:-:|:-:|:-:|:-:|:-:|:-:|:-:|:-:|
# | kind | q | q | q | q | k | k | k | k | v | v | v | v |
# | head | 0 | 0 | 1 | 1 | 0 | 0 | 1 | 1 | 0 | 0 | 1 | 1 |


# %% id="01.8"
def split_heads(
    weight: Float[Tensor, "d_model d_out"], bias: Float[Tensor, " d_out"], n_heads: int
) -> tuple[Float[Tensor, "3 head d_model d_head"], Float[Tensor, "3 head d_head"]]:
    """The matrices of all heads and their biases: entry 0 holds queries, 1 keys, 2 values."""
    ### BEGIN SOLUTION
    W = weight.unflatten(1, (3, n_heads, -1)).permute(1, 2, 0, 3)
    return W, bias.unflatten(0, (3, n_heads, -1))
    ### END SOLUTION


# %% id="01.8-check"
check("01.8", split_heads)

# %% [markdown]
# **Use it.** The rest is renaming.


# %% id="open"
def opened(library_model) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """The weights of a GPT-2 of the library, under your names."""
    w = {name: weight.detach() for name, weight in library_model.transformer.named_parameters()}
    around = {"W_E": w["wte.weight"], "W_pos": w["wpe.weight"], "W_U": library_model.lm_head.weight.detach().T}
    around |= {"norm_weight": w["ln_f.weight"], "norm_bias": w["ln_f.bias"]}
    blocks = []
    for layer in range(library_model.config.n_layer):
        here = {name.removeprefix(f"h.{layer}."): w[name] for name in w if name.startswith(f"h.{layer}.")}
        W, b = split_heads(here["attn.c_attn.weight"], here["attn.c_attn.bias"], library_model.config.n_head)
        block_weights = {"W_Q": W[0], "W_K": W[1], "W_V": W[2], "b_Q": b[0], "b_K": b[1], "b_V": b[2]}
        block_weights["W_O"] = here["attn.c_proj.weight"].unflatten(0, (library_model.config.n_head, -1))
        block_weights["b_O"] = here["attn.c_proj.bias"]
        for mine, theirs in (("norm_1", "ln_1"), ("norm_2", "ln_2")):
            block_weights |= {f"{mine}_{part}": here[f"{theirs}.{part}"] for part in ("weight", "bias")}
        for mine, theirs in (("in", "mlp.c_fc"), ("out", "mlp.c_proj")):
            block_weights |= {f"W_{mine}": here[f"{theirs}.weight"], f"b_{mine}": here[f"{theirs}.bias"]}
        blocks.append(block_weights)
    return around, blocks


weights, blocks = opened(model)
mine = gpt(tokens, weights, blocks)
with torch.no_grad():
    theirs = model(tokens).logits
gap = (mine - theirs).abs().max().item()
print(f"the largest difference of any logit: {gap:.0e}")
print(TEXT, "...", tokenizer.decode(mine[0, -1].argmax()))

# %% [markdown]
# Your model and the library's agree to the last digits that float32 has. And it knows who gets the drink.
#
# With your own functions you can stop anywhere and look. Here is where the heads of layer 0 look:

# %% id="see-heads"
first = blocks[0]
x = layer_norm(embed(tokens, weights["W_E"], weights["W_pos"]), first["norm_1_weight"], first["norm_1_bias"])
q, k = (torch.einsum("bpm,hmd->bphd", x, first[f"W_{name}"]) + first[f"b_{name}"] for name in "QK")
my_pattern = attention_pattern(q, k)  # [batch, head, query, key]

back = my_pattern[0].diagonal(-1, -2, -1).mean(-1)  # how much each head looks one step back
AttentionHeads(
    names(tokens[0]),
    my_pattern,
    head=int(back.argmax()),
    scores={"one step back": back[None]},
    sort="one step back",
    bar="one step back",
    caption="layer 0 of storylm, computed by your attention_pattern",
)

# %% [markdown]
# The head at the front spends 46 % of its attention on the word just before. Chapter 5 is about what such heads are
# good for.
#
# ### 01.9 · How many numbers?
#
# How large is a model of given sizes? Count all its weights and biases. GPT-2 uses `W_E` a second time as `W_U`, so it is
# stored, and counted, once. The number of heads does not matter: all heads of a layer together have `W_Q` of `d_model`
# times `d_model`.


# %% id="01.9"
def count_parameters(vocab: int, context: int, d_model: int, d_mlp: int, n_layers: int) -> int:
    """How many numbers a GPT-2 of these sizes has. context is the number of places."""
    ### BEGIN SOLUTION
    attention = 4 * (d_model * d_model + d_model)
    mlp = d_model * d_mlp + d_mlp + d_mlp * d_model + d_model
    norm = 2 * d_model
    return (vocab + context) * d_model + n_layers * (attention + mlp + 2 * norm) + norm
    ### END SOLUTION


# %% id="01.9-check"
check("01.9", count_parameters)

# %% id="sizes"
print(
    f"storylm    {count_parameters(1041, 64, 128, 512, 4):>13,}, and counted {sum(p.numel() for p in model.parameters()):,}"
)
print(f"GPT-2      {count_parameters(50257, 1024, 768, 3072, 12):>13,}")
print(f"GPT-2 XL   {count_parameters(50257, 1024, 1600, 6400, 48):>13,}")

# %% [markdown]
# Where are they? Work it out, then type your number in place of the dots.

# %% id="01.B"
### BEGIN SOLUTION
answer("01.B", 0.56)
### END SOLUTION

# %% [markdown]
# ## Let it write
#
# A model gives a logit to every token. To write, you draw one token, put it at the end of the text, and ask again.
#
# ### 01.10 · Hot and cold
#
# The **temperature** *T* says how daring the draw is:
#
# > *p* = softmax( logits / *T* )
#
# The vocabulary is the last axis; any axes may stand in front of it, or none. Before you solve it: which is more daring,
# *T* = 0.5 or *T* = 2?


# %% id="01.10"
def next_probabilities(logits: Float[Tensor, "*any vocab"], temperature: float) -> Float[Tensor, "*any vocab"]:
    """The probability of every token to come next. temperature is above 0."""
    ### BEGIN SOLUTION
    return (logits / temperature).softmax(-1)
    ### END SOLUTION


# %% id="01.10-check"
check("01.10", next_probabilities)

# %% id="temperatures"
start = tokenizer("The king", return_tensors="pt").input_ids
king_logits = gpt(start, weights, blocks)[:, -1]
bars = go.Figure()
ten = king_logits[0].topk(10).indices
for temperature in (0.5, 1.0, 2.0):
    chances = next_probabilities(king_logits, temperature)[0, ten]
    bars.add_bar(x=names(ten), y=chances.tolist(), name=f"T = {temperature}")
    print(f"T = {temperature}: the first ten words have {chances.sum():.0%} of the probability")
bars.update_layout(xaxis_title="next word", yaxis_title="probability")
figure(
    bars,
    alt="The ten most probable words after 'The king' at three temperatures. At 0.5 and 1 a handful of words, "
    f"led by {tokenizer.decode(ten[0])}, share nearly everything; at 2 they lose a large part to words of little sense.",
    title="The king ...",
    caption="storylm, at three temperatures",
)

# %% [markdown]
# A high temperature makes all the nonsense in the vocabulary a little more likely, and there is a lot of it. So people cut
# it off first.
#
# ### 01.11 · Only the best k
#
# Keep the *k* highest logits, and set all others to minus infinity: their probability becomes exactly 0. Here and in
# 01.12, too, any axes may stand in front of the vocabulary, or none.


# %% id="01.11"
def keep_top_k(logits: Float[Tensor, "*any vocab"], k: int) -> Float[Tensor, "*any vocab"]:
    """The k highest logits of each row as they are, all others -infinity."""
    ### BEGIN SOLUTION
    lowest = logits.topk(k).values[..., -1:]
    return logits.masked_fill(logits < lowest, -torch.inf)
    ### END SOLUTION


# %% id="01.11-check"
check("01.11", keep_top_k)

# %% [markdown]
# ### 01.12 · As few as needed
#
# How many words make sense depends on the place: after "gave a drink" there is one, after "The king" there are several, at
# the start of a story a great many. **Top-p** looks at the probabilities instead. It keeps the fewest most probable tokens
# that together reach *p* (Holtzman et al. 2020).
#
# | word | the | a | my | dog |
# |:--|:-:|:-:|:-:|:-:|
# | probability | 0.5 | 0.25 | 0.2 | 0.05 |
# | all before it, together | 0 | 0.5 | 0.75 | 0.95 |
# | stays at *p* = 0.7 | yes | yes | no | no |
#
# A word stays as long as those before it do not yet reach *p*. So the first always stays.


# %% id="01.12"
def keep_top_p(logits: Float[Tensor, "*any vocab"], p: float) -> Float[Tensor, "*any vocab"]:
    """The logits of the fewest most probable tokens that reach p together, all others -infinity."""
    ### BEGIN SOLUTION
    probs, order = logits.softmax(-1).sort(-1, descending=True)
    before = probs.cumsum(-1) - probs
    enough = (before >= p).gather(-1, order.argsort(-1))
    return logits.masked_fill(enough, -torch.inf)
    ### END SOLUTION


# %% id="01.12-check"
check("01.12", keep_top_p)


# %% id="write"
def write(prompt: str, temperature: float = 1.0, p: float = 1.0, n: int = 24, seed: int = 0) -> str:
    """The prompt and what your model writes after it, at most n tokens."""
    text = tokenizer(prompt, return_tensors="pt").input_ids
    draw = torch.Generator().manual_seed(seed)
    for _ in range(n):
        logits = keep_top_p(gpt(text, weights, blocks)[:, -1], p)
        following = torch.multinomial(next_probabilities(logits, temperature), 1, generator=draw)
        if following.item() == tokenizer.bos_token_id:
            break
        text = torch.cat([text, following], 1)
    return tokenizer.decode(text[0, 1:])


for settings in ({"temperature": 0.2}, {"temperature": 1.0}, {"temperature": 2.5}, {"temperature": 2.5, "p": 0.9}):
    print(settings)
    for seed in range(3):
        print("   ", write("Lily", seed=seed, **settings))

# %% [markdown]
# `storylm` is sure of most of its words, so up to temperature 1 it tells its small stories. At 2.5 no sentence is left.
# With the cut at 0.9 they are back, at the same heat: what made no sense is gone before the draw. Note the order here:
# first the cut, at temperature 1, then the heat.
#
# ### 01.13 · Never twice
#
# `write` is wasteful. For every new token it computes the whole text again. But what comes later never changes what came
# before: the mask sees to that. So keys and values of old positions can be *kept*, and only the new position runs through
# the model. This is the **KV cache** of every chat program.
#
# Write *z*, the mixture of values before `W_O`, for the `new` last positions, given the keys and values of the `past` ones.
# With two past and two new positions, a query sees:
#
# | | past 0 | past 1 | new 0 | new 1 |
# |:--|:-:|:-:|:-:|:-:|
# | new 0 | ✓ | ✓ | ✓ | hidden |
# | new 1 | ✓ | ✓ | ✓ | ✓ |


# %% id="01.13"
def attention_with_cache(
    q: Float[Tensor, "batch new head d_head"],
    k: Float[Tensor, "batch new head d_head"],
    v: Float[Tensor, "batch new head d_head"],
    past_k: Float[Tensor, "batch past head d_head"],
    past_v: Float[Tensor, "batch past head d_head"],
) -> tuple[Tensor, Tensor, Tensor]:
    """z of the new positions, [batch, new, head, d_head]; then all keys and all values, the past ones first."""
    ### BEGIN SOLUTION
    k, v = torch.cat([past_k, k], 1), torch.cat([past_v, v], 1)
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[-1])
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(past_k.shape[1] + 1)
    pattern = scores.masked_fill(later, -torch.inf).softmax(-1)
    return torch.einsum("bhqk,bkhd->bqhd", pattern, v), k, v
    ### END SOLUTION


# %% id="01.13-check"
check("01.13", attention_with_cache)


# %% id="cached"
def gpt_step(tokens: Tensor, cache: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The logits of new tokens; cache holds the keys and values of each layer, and is brought up to date."""
    past = cache[0][0].shape[1]
    x = weights["W_E"][tokens] + weights["W_pos"][past : past + tokens.shape[1]]
    for layer, each in enumerate(blocks):
        normed = layer_norm(x, each["norm_1_weight"], each["norm_1_bias"])
        q, k, v = (torch.einsum("bpm,hmd->bphd", normed, each[f"W_{name}"]) + each[f"b_{name}"] for name in "QKV")
        z, *cache[layer] = attention_with_cache(q, k, v, *cache[layer])
        x = x + torch.einsum("bqhd,hdm->bqm", z, each["W_O"]) + each["b_O"]
        x = x + mlp(layer_norm(x, each["norm_2_weight"], each["norm_2_bias"]), each)
    return layer_norm(x, weights["norm_weight"], weights["norm_bias"]) @ weights["W_U"]


n_heads, d_head = blocks[0]["b_Q"].shape
cache = [(torch.zeros(1, 0, n_heads, d_head),) * 2 for _ in blocks]
step_by_step = torch.cat([gpt_step(tokens[:, [at]], cache) for at in range(tokens.shape[1])], 1)
cache_gap = (step_by_step - mine).abs().max().item()
n = tokens.shape[1]
print(f"token by token and all at once differ by at most {cache_gap:.0e}")
print(f"positions computed to write {n} tokens: {n * (n + 1) // 2} without a cache, {n} with it")

# %% [markdown]
# ## Look inside
#
# Your own model can be stopped anywhere, because you wrote it. Models of other people are classes with a `forward` that you
# do not want to touch. torch has a door for that: a **hook**, a function that a module calls each time it has run.
#
# ```python
# def hook(module, inputs, output):
#     print(output.shape)
#
# handle = model.lm_head.register_forward_hook(hook)
# model(tokens)        # prints
# handle.remove()      # and never again
# ```
#
# ### 01.14 · Listen in
#
# Keep what the modules with these names returned, in one run. Some modules, such as GPT-2's attention, return a tuple: keep
# its first part. And leave nothing behind, not even if the model stops half way.


# %% id="01.14"
def record(model, tokens: Int[Tensor, "batch position"], names: list[str]) -> dict[str, Tensor]:
    """What the modules called names returned while the model ran on tokens. No hook is left afterwards.

    A name is one of model.named_modules(), such as "transformer.h.0.mlp".
    """
    ### BEGIN SOLUTION
    kept, handles = {}, []

    def keeper(name):
        def keep(module, inputs, output):
            kept[name] = output[0] if isinstance(output, tuple) else output

        return keep

    try:
        for name in names:
            handles.append(model.get_submodule(name).register_forward_hook(keeper(name)))
        model(tokens)
    finally:
        for handle in handles:
            handle.remove()
    return kept
    ### END SOLUTION


# %% id="01.14-check"
check("01.14", record)

# %% [markdown]
# **Use it.** The stream is a sum: what was embedded, and what each half of each layer wrote. Is that true? Add up what you
# recorded, and compare with what the last norm reads. And how much does each part write?

# %% id="stream"
halves = [f"transformer.h.{layer}.{half}" for layer in range(4) for half in ("attn", "mlp")]
with torch.no_grad():
    kept = record(model, tokens, ["transformer.drop", *halves, "transformer.h.3"])
stream = kept["transformer.drop"] + sum(kept[name] for name in halves)
sum_gap = (stream - kept["transformer.h.3"]).abs().max().item()
print(f"the sum of nine parts and the stream at the end differ by at most {sum_gap:.0e}")

labels = [f"{half} {layer}" for layer in range(4) for half in ("attention", "MLP")]
lengths = [kept[name][0, 1:].norm(dim=-1).mean().item() for name in halves]  # without <s>
start_length = kept["transformer.drop"][0, 1:].norm(dim=-1).mean().item()
bars = go.Figure(go.Bar(x=["embed", *labels], y=[start_length, *lengths]))
bars.update_layout(xaxis_title="who writes", yaxis_title="mean length of the vector")
figure(
    bars,
    alt=f"How long the vectors are that each part adds to the stream: embed {start_length:.1f}; "
    + ", ".join(f"{label} {length:.1f}" for label, length in zip(labels, lengths, strict=True))
    + ".",
    title="Who writes how much",
    caption="storylm on one sentence, mean over all positions but the first",
)

# %% [markdown]
# What was embedded is little, and MLP 3 writes more than twice as much as any other part. Much is not the same as needed,
# though: that is for the next exercise.
#
# A hook on a module sees what the module returns, and no more: no pattern, no single head. A `Tap` knows such places
# inside, under the same names in every model:

# %% id="tap"
with torch.no_grad(), Tap(model, [("pattern", 0), "attn_out", "mlp_out"]) as tap:
    tapped = model(tokens).logits
print("a run with taps gives the same logits:", torch.allclose(tapped, theirs, atol=1e-4))
print("its pattern is the one you computed:  ", torch.allclose(tap["pattern", 0], my_pattern, atol=1e-5))
print(
    "attn_out is what you recorded:        ",
    torch.allclose(tap["attn_out", 2], kept["transformer.h.2.attn"], atol=1e-5),
)

# %% [markdown]
# ### 01.15 · Change what flows
#
# Looking shows what is *there*. To see what it is *for*, change it. A hook that returns something puts it in place of what
# the module returned.


# %% id="01.15"
def run_edited(model, tokens: Int[Tensor, "batch position"], name: str, edit):
    """What the model returns if edit(output) goes on in place of what the module called name returned.

    It is what model(tokens) returns, the whole object; the caller takes .logits from it. If the module
    returns a tuple, its first part is edited. No hook is left afterwards.
    """

    ### BEGIN SOLUTION
    def change(module, inputs, output):
        if isinstance(output, tuple):
            return (edit(output[0]), *output[1:])
        return edit(output)

    handle = model.get_submodule(name).register_forward_hook(change)
    try:
        return model(tokens)
    finally:
        handle.remove()
    ### END SOLUTION


# %% id="01.15-check"
check("01.15", run_edited)

# %% [markdown]
# **Use it.** One number says how well the model knows who gets the drink: the **logit difference**, the logit of *Mary*
# minus that of *John*, at the last word. Take away what each half of each layer writes, one at a time, and look at it.

# %% id="knock-out"
mary, john = vocabulary[" Mary"], vocabulary[" John"]


def logit_difference(logits: Tensor) -> float:
    """Mary's logit minus John's, at the last position."""
    return (logits[0, -1, mary] - logits[0, -1, john]).item()


whole = logit_difference(theirs)
with torch.no_grad():
    without = [logit_difference(run_edited(model, tokens, name, torch.zeros_like).logits) for name in halves]
    with Tap(model, edits={("mlp_out", 3): torch.zeros_like}):
        with_a_tap = logit_difference(model(tokens).logits)
print(f"as it is {whole:.1f}; " + "; ".join(f"without {a} {b:.1f}" for a, b in zip(labels, without, strict=True)))
print(f"without MLP 3, edited by a Tap: {with_a_tap:.4f}, by your hook: {without[-1]:.4f}")

bars = go.Figure(go.Bar(x=labels, y=without))
bars.add_hline(y=whole, line_dash="dot", annotation_text="nothing taken away")
bars.update_layout(xaxis_title="taken away", yaxis_title="logit of Mary − logit of John")
figure(
    bars,
    alt=f"The logit difference is {whole:.1f} in the whole model. Without one half of a layer it is: "
    + ", ".join(f"{label} {value:.1f}" for label, value in zip(labels, without, strict=True))
    + ".",
    title="What is needed to name Mary",
    caption="storylm; what one half of a layer writes is replaced by zeros",
)

# %% [markdown]
# Your hook and the Tap agree to the digit: they do the same thing. So do the other libraries of the field, in their own
# words.
#
# Look at the bars. Without MLP 0 *John* gets a higher logit than *Mary*. Yet neither is the model's first choice any more:
# that is *Rosa*. The difference shows these two names and nobody else. Without attention 1 or 2 Mary is further ahead of
# John than before: what they write speaks against her, or the layers after them lean on it. Zero is also a strange thing to
# put there: the layers after it were never trained on that.
#
# What may you conclude from such a bar?

# %% id="01.C"
### BEGIN SOLUTION
answer("01.C", 2)
### END SOLUTION

# %% [markdown]
# The field of this course calls itself *mechanistic* interpretability. Saphra and Wiegreffe (2024) tell four meanings of
# that word apart. The narrowest asks for a claim about causes; a wider one covers every look at a model's insides; the other
# two are about who uses the word. Your bars make a claim about causes, for one sentence and one way of taking away. The bars
# of vector lengths before did not.
#
# ## What stands between stream and weights
#
# Between the stream and the weights that read it stands a norm, with a `weight` and a `bias` of its own. These two can go.
#
# ### 01.16 · Fold the norm away
#
# Let *n* be the vector after the division. What a layer computes is
#
# > ( *n* · *weight* + *bias* ) *W* + *b* = *n* *W*′ + *b*′
#
# Find *W*′ and *b*′. Then the norm needs no weight and no bias any more, and the rows of *W*′ say directly what is read
# from the stream.


# %% id="01.16"
def fold_norm(
    weight: Float[Tensor, " d_model"],
    bias: Float[Tensor, " d_model"],
    W: Float[Tensor, "d_model d_out"],
    b: Float[Tensor, " d_out"],
) -> tuple[Float[Tensor, "d_model d_out"], Float[Tensor, " d_out"]]:
    """The matrix and the bias that do to n what W and b do to n * weight + bias."""
    ### BEGIN SOLUTION
    return weight[:, None] * W, bias @ W + b
    ### END SOLUTION


# %% id="01.16-check"
check("01.16", fold_norm)


# %% id="folded"
def folded(each: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same layer, with norms of weight 1 and bias 0."""
    new = dict(each)
    for name in "QKV":
        heads = zip(each[f"W_{name}"], each[f"b_{name}"], strict=True)
        pairs = [fold_norm(each["norm_1_weight"], each["norm_1_bias"], W, b) for W, b in heads]
        new[f"W_{name}"], new[f"b_{name}"] = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    new["W_in"], new["b_in"] = fold_norm(each["norm_2_weight"], each["norm_2_bias"], each["W_in"], each["b_in"])
    for at in (1, 2):
        new[f"norm_{at}_weight"] = torch.ones_like(each[f"norm_{at}_weight"])
        new[f"norm_{at}_bias"] = torch.zeros_like(each[f"norm_{at}_bias"])
    return new


with_folded = gpt(tokens, weights, [folded(each) for each in blocks])
fold_gap = (with_folded.log_softmax(-1) - mine.log_softmax(-1)).abs().max().item()
print(f"log-probabilities before and after folding differ by at most {fold_gap:.0e}")

# %% [markdown]
# Other weights, the same model. The `HookedTransformer` of TransformerLens does this when it loads a model, unless told
# otherwise; `interpwidgets.models.folding.fold_norms` does it to whole models, the last norm included.
#
# ## Train one
#
# Where do the weights come from? From steps like this one, a great many of them.
#
# ### 01.17 · One step downhill
#
# The **loss** is minus the log-probability that the model gave to the token that came, averaged over all tokens but the
# first of each text. Its gradient says which way it grows; the optimizer takes a small step the other way. `backward()`
# *adds* to the gradients that are there, so clear them. `F.cross_entropy` takes logits [n, vocab] and tokens [n]: put all
# positions of all texts in one row first.


# %% id="01.17"
def training_step(model, tokens: Int[Tensor, "batch position"], optimizer) -> Float[Tensor, ""]:
    """Change the weights once; the loss before the change, in nats.

    model(tokens).logits are [batch, position, vocab]; those at position i are about token i + 1.
    """
    ### BEGIN SOLUTION
    logits = model(tokens).logits
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()
    ### END SOLUTION


# %% id="01.17-check"
check("01.17", training_step)

# %% [markdown]
# **Use it.** A model of two layers, from random weights, on the stories that `storylm` learned from. It takes up to half a
# minute.

# %% id="train"
torch.manual_seed(0)
config = GPT2Config(vocab_size=1041, n_positions=64, n_embd=64, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)
config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
young, windows = GPT2LMHeadModel(config), Windows(seed=1)
optimizer = torch.optim.AdamW(young.parameters(), lr=3e-3)
losses = [training_step(young, torch.as_tensor(windows.next(16)), optimizer).item() for _ in range(150)]


def loss_of(logits: Tensor, tokens: Tensor) -> float:
    """The loss of predicting each token but the first, in nats."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).item()


held_out = torch.as_tensor(Windows(seed=2).next(64))
with torch.no_grad():
    old_loss = loss_of(model(held_out).logits, held_out)
print(
    f"loss: {losses[0]:.2f} at first, {sum(losses[-10:]) / 10:.2f} at the end; ln 1041 is {math.log(1041):.2f}, storylm has {old_loss:.2f}"
)

lines = go.Figure(go.Scatter(x=list(range(1, 151)), y=losses, name="two layers, 150 steps"))
lines.add_hline(y=math.log(1041), line_dash="dot", annotation_text="ln 1041: all tokens alike")
lines.add_hline(y=old_loss, line_dash="dot", annotation_text="storylm")
lines.update_layout(xaxis_title="step", yaxis_title="loss in nats", yaxis_range=[0, 7.5])
figure(
    lines,
    alt=f"The loss begins near {losses[0]:.1f} nats and falls to about {sum(losses[-10:]) / 10:.1f} in 150 steps, fast at first, then more "
    f"slowly. The dotted line of storylm, at {old_loss:.2f}, is far below.",
    title="The first 150 steps",
    caption="GPT-2 with two layers of four heads, on batches of 16 texts",
)

# %% [markdown]
# What you wrote before works on the new model at once. That is the loop of this whole field: *train, listen in, take away,
# compare*.

# %% id="young"
new_weights, new_blocks = opened(young)
text = torch.as_tensor(Windows(seed=3).next(1))
with torch.no_grad():
    young_gap = (gpt(text, new_weights, new_blocks) - young(text).logits).abs().max().item()
    normal = loss_of(young(held_out).logits, held_out)
    print(f"your gpt with its weights: logits to {young_gap:.0e}. Loss {normal:.2f}")
    for layer in range(2):
        for half in ("attn", "mlp"):
            lost = run_edited(young, held_out, f"transformer.h.{layer}.{half}", torch.zeros_like).logits
            print(f"   without {half:4} of layer {layer}: {loss_of(lost, held_out):.2f}")

# %% [markdown]
# ## Optional: a real model
#
# Type a name: `"gpt2"` from the [Hugging Face hub](https://huggingface.co/openai-community/gpt2) (548 MB, downloaded once),
# or a directory with a model. A GPT-2 runs in *your* functions. Any other family runs with your hooks: you see what happens
# to its favourite next token when you take away one module.

# %% id="model" tags=["parameters"]
MODEL = ""

# %% id="real"
if MODEL:
    other = load(MODEL)
    ids = other.tokenizer("Once upon a time there was a little", return_tensors="pt").input_ids
    with torch.no_grad():
        plain = other(ids).logits
    favourite = plain[0, -1].argmax()
    print("next:", repr(other.tokenizer.decode(favourite)))
    if isinstance(other, GPT2LMHeadModel):
        gap_there = (gpt(ids, *opened(other)) - plain).abs().max().item()
        print(f"your gpt and the library: {gap_there:.0e} apart, on logits as large as {plain.abs().max():.0f}")
    for name, _ in other.named_modules():
        if name.endswith((".0.mlp", ".1.mlp")):
            with torch.no_grad():
                edited = run_edited(other, ids, name, torch.zeros_like).logits
            before, after = (each[0, -1].softmax(-1)[favourite].item() for each in (plain, edited))
            print(f"without {name}: its probability goes from {before:.2f} to {after:.2f}")
else:
    print("Nothing was loaded: MODEL is empty.")

# %% [markdown]
# ## What we did not show
#
# - **Other architectures.** Llama turns its positions into rotations, divides without taking the mean away, and gates its
#   MLP. The plan is the same: a stream, and parts that read and write it.
# - **Tokenizers.** How a vocabulary is learned from text is a subject of its own.
# - **Training in earnest.** 150 steps show that it works. `storylm` took 1,600, with larger batches and a better optimizer.
# - **Speed.** Real programs fuse these operations and never build the whole pattern. The numbers are the same.
#
# ## Reading cards
#
# Each card has a question. Nobody marks it; write a sentence before you open the link.
#
# - **[TransformerLens](https://github.com/TransformerLensOrg/TransformerLens)** has `run_with_cache` and hooks with names
#   for every place. *Which of your functions is its `run_with_cache`, and what does it fold when it loads a model?* Its two
#   demos, Main and Exploratory Analysis, take the sentence about Mary and John further, in GPT-2.
# - **[nnsight](https://nnsight.net)** writes edits as ordinary assignments inside `with model.trace(...)`. *How would you
#   write the knock-out of MLP 3 in it?* It also runs models too large for you, on somebody else's machine.
# - **[baukit](https://github.com/davidbau/baukit)**, `TraceDict` with `edit_output`: *which two functions of yours are in
#   this one class?*
# - **[Penzai](https://penzai.readthedocs.io)** treats a model as a tree and *selects* parts of it, all layers of a kind for
#   instance; its printer, treescope, shows arrays as pictures. *In torch, which one-liner finds every `LayerNorm` of a
#   model?* (Start from `named_modules`.)
# - **[Mechanistic Interpretability Toolbox](https://github.com/adamcasson/mechanistic-interpretability)** by Adam Casson:
#   training and taking apart small models in one package. *Which cell of this chapter is that loop?*
# - **[But what is a GPT?](https://www.3blue1brown.com/lessons/gpt)** by 3Blue1Brown draws embeddings, logits and
#   temperature. *The film's directions carry meaning. Which of ours did not, and what could be the reason?*
# - **[A Barebones Guide to Mechanistic Interpretability
#   Prerequisites](https://www.neelnanda.io/mechanistic-interpretability/prereqs)** (Nanda and Smith): *what on its list
#   have you not used in this chapter?* `einsum` you have.
# - **[Concrete Steps to Get Started](https://www.neelnanda.io/mechanistic-interpretability/getting-started)** (Nanda), also
#   known as the quickstart guide: *which of its steps is done, and which comes next for you?*
#
# ## Going further
#
# - Vaswani et al. (2017), [Attention Is All You Need](https://arxiv.org/abs/1706.03762). Radford et al. (2019), *Language
#   Models are Unsupervised Multitask Learners*: GPT-2.
# - Ba et al. (2016), [Layer Normalization](https://arxiv.org/abs/1607.06450). Hendrycks and Gimpel (2016), [Gaussian Error
#   Linear Units](https://arxiv.org/abs/1606.08415).
# - Fan et al. (2018), [Hierarchical Neural Story Generation](https://arxiv.org/abs/1805.04833): top-k. Holtzman et al.
#   (2020), [The Curious Case of Neural Text Degeneration](https://arxiv.org/abs/1904.09751): top-p.
# - Elhage et al. (2021), [A Mathematical Framework for Transformer
#   Circuits](https://transformer-circuits.pub/2021/framework/index.html): the stream, and heads as separate writers.
# - Saphra and Wiegreffe (2024), [Mechanistic?](https://arxiv.org/abs/2410.09087)
#
# ## What you have now
#
# Our versions live in `interpwidgets.methods`: `from interpwidgets.methods.sampling import keep_top_p`, for example.
#
# | You want to | You wrote | In |
# |:--|:--|:--|
# | turn tokens into vectors | `embed` | `transformer` |
# | read the stream at one size | `layer_norm`, `fold_norm` | `transformer` |
# | move information between positions | `attention_pattern`, `attention` | `transformer` |
# | work on each position | `mlp` | `transformer` |
# | have the whole model | `block`, `gpt`, `split_heads`, `count_parameters` | `transformer` |
# | write text | `next_probabilities`, `keep_top_k`, `keep_top_p`, `attention_with_cache` | `sampling` |
# | look inside and change things | `record`, `run_edited` | `hooks` |
# | train | `training_step` | `training` |
#
# The next chapter reads the stream: what does the model already know half way?

# %% id="progress"
progress()
