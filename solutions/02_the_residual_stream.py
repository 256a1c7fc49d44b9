# %% [markdown]
# # 2 · The residual stream and its lenses
#
# ![Five columns, from the embedding to the last layer of storylm, above the last word of the sentence that ends in showed the blue necklace to. Each shows the word that the lens finds on top there and its probability: first the word to itself, after layer 0 Nina, after layer 1 Eva, after layers 2 and 3 Luke.](pictures/a_lens_at_every_layer.png)
#
# *When Luke and Eva were at the theater, Eva showed the blue necklace to* ... A small model reads this and says *Luke*. What
# would it have said if it had stopped after the first layer? After the second? You can ask it: everything that it
# knows at a word stands in one vector, the **residual stream**, and every layer only adds to it.
#
# You will take that sum apart, read it early with lenses of your own, train one, and catch each of them misleading you.
#
# **You will be able to**
#
# - split any logit into what embedding, heads and MLPs wrote;
# - write a logit lens, train a tuned lens, and let a model explain its own vectors (a patchscope);
# - measure how wrong a lens is, and in which way;
# - cut an edge and see whether what you read is also what the model *uses*.
#
# **Why it matters.** Lenses are the first thing that people hold to a language model, and they are persuasive: they print words. This chapter
# shows three that disagree, on a model where you can find out who is right.
#
# **Time** 3 h, 14 exercises, 3 questions · **difficulty** ●●○○○ · **you need** Python, some torch, and the parts of a
# transformer (chapter 1). No network, no GPU. A word you do not know? The [glossary](glossary.md) has it.
#
# ## Open the toolbox

# %% id="setup"
from itertools import islice

import plotly.graph_objects as go
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets import AttentionHeads, LogitLens, Tap, answer, check, figure, hint, load, progress, reset, solution
from interpwidgets.data.stories import samples
from interpwidgets.data.stories.windows import annotated
from interpwidgets.methods.attribution import logit_attribution
from interpwidgets.methods.backward_lens import backward_lens, gradient_factors
from interpwidgets.methods.lens import logit_lens
from interpwidgets.models.anatomy import anatomy
from interpwidgets.widgets.figure import ACCENT, SERIES_2, SERIES_3

model = load("storylm")
parts_of = anatomy(model)
norm, W_U = parts_of.final_norm(), parts_of.W_U().detach()  # the last norm, and the unembedding [d_model, vocab]
parts_of.n_layers, parts_of.n_heads, parts_of.d_model

# %% [markdown]
# `storylm` is a GPT-2 with four layers and a residual stream of 128 numbers, trained on small stories. It knows about a thousand words.
#
# **How an exercise works.** You write a function, the cell after it checks the function. Stuck? `hint("02.1")` gives a hint, three
# in all. `solution("02.1")` opens after a pass or three tries. `reset("02.1")` starts over. Hints are counted, never charged.
#
# **Red is normal.** Cells below an exercise use what you write in it. Until it is solved they stop, with `NotImplementedError` or
# `NameError`. No check needs an exercise before it, so you can go on anywhere; the table at the end says where our version of each function lives.

# %% id="sentence"
TEXT = "When Luke and Eva were at the theater, Eva showed the blue necklace to"
tokens = torch.tensor([model.tokenizer(TEXT).input_ids])  # [batch, position]
words = model.tokenizer.convert_ids_to_tokens(tokens[0].tolist())
luke, eva = tokens[:, 2], tokens[:, 4]
with torch.no_grad():
    logits = model(tokens).logits
chances = logits[0, -1].softmax(-1)
print(f"Luke {chances[luke].item():.1%}, Eva {chances[eva].item():.1%}")

# %% [markdown]
# ## A stream is a sum
#
# At every position the model starts with one vector: the embedding of the word, plus that of the position. Then each layer reads the
# stream twice, and twice *adds* what it has found: first attention, then the MLP. Nothing is ever erased.
#
# > *x*<sup>L</sup> = *x*<sup>0</sup> + Σ<sub>l</sub> ( attn<sub>l</sub> + mlp<sub>l</sub> )
#
# A `Tap` keeps what flows through the model at a named place.

# %% id="tap"
with torch.no_grad(), Tap(model, [("resid_pre", 0), "attn_out", "mlp_out", "resid_post"]) as tap:
    model(tokens)
start = tap["resid_pre", 0]  # [batch, position, d_model]
print("attn_out", list(tap["attn_out"].shape), "  mlp_out", list(tap["mlp_out"].shape), "  layer first")

# %% [markdown]
# ### 02.1 · A list of all parts
#
# Make one list of everything that was added, in the order of the computation: start, attention 0, MLP 0, attention 1, ...


# %% id="02.1"
def residual_parts(
    start: Float[Tensor, "batch position d_model"],
    attn_out: Float[Tensor, "layer batch position d_model"],
    mlp_out: Float[Tensor, "layer batch position d_model"],
) -> Float[Tensor, "part batch position d_model"]:
    """All that is added up in the residual stream, in the order of the computation: 1 + 2 x layers parts."""
    ### BEGIN SOLUTION
    layers = torch.stack([attn_out, mlp_out], 1)
    return torch.cat([start[None], layers.flatten(0, 1)])
    ### END SOLUTION


# %% id="02.1-check"
check("02.1", residual_parts)

# %% [markdown]
# ### 02.2 · The stream as it grows
#
# The stream after layer 1 is the sum of the first five parts. Give it for every layer, with the start in front: these are the
# *stages* at which lenses will read.


# %% id="02.2"
def residual_stages(parts: Float[Tensor, "part *lead d_model"]) -> Float[Tensor, "stage *lead d_model"]:
    """The residual stream before the first layer and after each layer. parts: what residual_parts returns."""
    ### BEGIN SOLUTION
    return parts.cumsum(0)[::2]
    ### END SOLUTION


# %% id="02.2-check"
check("02.2", residual_stages)

# %% [markdown]
# **Use it.** Do your sums meet what really flows after each layer? And how long is the vector?

# %% id="stages"
parts = residual_parts(start, tap["attn_out"], tap["mlp_out"])
stages = residual_stages(parts)  # [stage, batch, position, d_model]
STAGES = ["emb", "0", "1", "2", "3"]
print("largest difference to the model's own stream:", (stages[1:] - tap["resid_post"]).abs().max().item())
lengths = stages[:, 0, 1:].norm(dim=-1).mean(-1)  # without <s>
for name, length in zip(STAGES, lengths, strict=True):
    print(f"stage {name:>3}: length {length:5.1f}")

# %% [markdown]
# The stream grows, most of all in layer 0. What was written early stays in it, but becomes a smaller and smaller share of the whole.
#
# ## A logit is a sum, too
#
# The logits are read from the last stage: first a norm, then the unembedding *W*<sub>U</sub>. A dot product of a sum is a sum of dot
# products, so every part has a share in every logit. Only the norm stands in the way:
#
# > LN(*x*) = ( *x* − mean(*x*) ) / *σ* · *w* + *b*,   *σ*² = var(*x*) + *ε*
#
# All of it is linear but for *σ*. So **freeze** it: take *σ* from the whole stream, once, and divide every part by it.
#
# ### 02.3 · Freeze the norm
#
# Do to each part what the norm does: take away its own mean, divide by the *σ* of the **sum** of all parts, multiply by the weight. Leave the bias out;
# it belongs to no part.


# %% id="02.3"
def frozen_norm(
    parts: Float[Tensor, "part *lead d_model"], weight: Float[Tensor, " d_model"], epsilon: float
) -> Float[Tensor, "part *lead d_model"]:
    """What becomes of each part in the last LayerNorm, whose scale is that of the whole stream."""
    ### BEGIN SOLUTION
    stream = parts.sum(0)
    scale = (stream.var(-1, correction=0) + epsilon).sqrt()
    centred = parts - parts.mean(-1, keepdim=True)
    return centred / scale[..., None] * weight
    ### END SOLUTION


# %% id="02.3-check"
check("02.3", frozen_norm)

# %% [markdown]
# ### 02.4 · Who speaks for Luke?
#
# The lead of Luke over Eva is the difference of two logits, so it is a dot product with the difference of two columns of *W*<sub>U</sub>. Give
# every part's share in it. This is **direct logit attribution** (Elhage et al. 2021; Wang et al. 2022).


# %% id="02.4"
def direct_attribution(
    normed: Float[Tensor, "part batch d_model"],
    W_U: Float[Tensor, "d_model vocab"],
    right: Int[Tensor, " batch"],
    wrong: Int[Tensor, " batch"],
) -> Float[Tensor, "part batch"]:
    """What each part adds to the lead of the logit of right over that of wrong; one pair of tokens for each text."""
    ### BEGIN SOLUTION
    direction = W_U[:, right] - W_U[:, wrong]
    return torch.einsum("pbd,db->pb", normed, direction)
    ### END SOLUTION


# %% id="02.4-check"
check("02.4", direct_attribution)

# %% id="waterfall"
normed = frozen_norm(parts[:, :, -1].detach(), norm.weight.detach(), norm.epsilon)
shares = direct_attribution(normed, W_U, luke, eva)[:, 0]
names = ["embedding", *(f"{kind} {layer}" for layer in range(4) for kind in ("attention", "MLP"))]
lead = (logits[0, -1, luke] - logits[0, -1, eva]).item()
print(f"the parts together {shares.sum():.2f}, the lead itself {lead:.2f}")  # the bias of the norm adds the rest

bars = go.Figure(
    go.Waterfall(
        x=[*names, "all"],
        y=[*shares.tolist(), 0],
        measure=["relative"] * len(names) + ["total"],
        increasing_marker_color=SERIES_2,
        decreasing_marker_color=SERIES_3,
        totals_marker_color=ACCENT,
    )
)
bars.update_layout(xaxis_title="part", yaxis_title="lead of Luke, logits")
figure(
    bars,
    alt="What each part adds to the lead of Luke over Eva: "
    + ", ".join(f"{name} {share:.1f}" for name, share in zip(names, shares.tolist(), strict=True)),
    title="Who speaks for Luke?",
    caption="direct logit attribution at the last word; the norm is frozen",
)

# %% [markdown]
# The last MLPs speak for Luke, the last one loudest. And attention? A head can be split off in the same way; chapter 5 does it by hand,
# here the library does.

# %% id="heads"
by_head = logit_attribution(model, tokens, right=int(luke), wrong=int(eva)).heads[:, 0, -1]  # [layer, head]
for layer, row in enumerate(by_head):
    print(f"layer {layer}  " + "  ".join(f"{share:5.2f}" for share in row))
best_head = by_head.max().item()
print(f"the most helpful head adds {best_head:.2f} of {lead:.2f}")

# %% [markdown]
# In GPT-2 small, Wang et al. (2022) found heads that copy the right name to the end, *name movers*, by just this measure. Here no head
# writes anything to speak of. Are heads of no use, then? An MLP sees a single position. Somebody must have carried the names
# to the end.
#
# ## Cut, and see
#
# Attribution says who *writes* an answer. To learn what the model *needs*, take something away. Finer than taking a whole head away: forbid one
# position to look at one other, in all heads of all layers. Before you do: what will happen? The cell shows the options;
# replace `...` by the number of one and run it again.

# %% id="02.A"
### BEGIN SOLUTION
answer("02.A", 2)
### END SOLUTION

# %% [markdown]
# ### 02.5 · Cut an edge
#
# A pattern is `[batch, head, query, key]`. In text *i*, the query at `query[i]` is to see nothing of the key at `key[i]`. What it no
# longer spends there goes to its other keys, in proportion, so that the row sums to one again. A row of which nothing is left
# stays 0. (Geva et al. 2023 use such *attention knockouts* to see how facts travel.)


# %% id="02.5"
def cut_edges(
    pattern: Float[Tensor, "batch head query key"], query: Int[Tensor, " batch"], key: Int[Tensor, " batch"]
) -> Float[Tensor, "batch head query key"]:
    """A copy of pattern in which, in text i, query[i] sees nothing of key[i]; rows are scaled to sum to one again."""
    ### BEGIN SOLUTION
    texts = torch.arange(len(pattern), device=pattern.device)
    pattern = pattern.clone()
    pattern[texts, :, query, key] = 0
    return pattern / pattern.sum(-1, keepdim=True).clamp(min=1e-12)
    ### END SOLUTION


# %% id="02.5-check"
check("02.5", cut_edges)

# %% [markdown]
# **Use it** on sixty sentences of this kind that the model has never seen. The receiver is the right answer; the giver's name comes twice.

# %% id="cuts"
asked = list(islice(samples("ioi", 777, True), 60))
ids_of = model.tokenizer.convert_tokens_to_ids


def lead_without(told, edges: list[tuple[int, int]]) -> float:
    """By how much the right name leads if these (query, key) edges are cut in all layers."""

    def cut(pattern: Tensor) -> Tensor:
        for query, key in edges:
            pattern = cut_edges(pattern, torch.tensor([query]), torch.tensor([key]))
        return pattern

    ids = torch.tensor([ids_of(list(told.tokens[: told.answer]))])
    with torch.no_grad(), Tap(model, edits={"pattern": cut}):
        said = model(ids).logits[0, -1]
    return (said[ids_of(told.right)] - said[ids_of(told.wrong[0])]).item()


def edges_of(told) -> dict[str, list[tuple[int, int]]]:
    end, first = told.answer - 1, told.find("subject").start - 1  # the first clause ends before the giver comes again
    receiver, giver = told.tokens.index(told.right), told.tokens.index(told.wrong[0])
    return {
        "nothing": [],
        "end to both first names": [(end, receiver), (end, giver)],
        "end to the end of clause 1": [(end, first)],
        "end to the giver's second naming": [(end, told.find("subject").start)],
        "end of clause 1 to the giver": [(first, giver)],
        "end of clause 1 to the receiver": [(first, receiver)],
    }


leads = {name: [] for name in edges_of(asked[0])}
for told in asked:
    for name, edges in edges_of(told).items():
        leads[name].append(lead_without(told, edges))
mean_lead = {name: sum(values) / len(values) for name, values in leads.items()}
still_right = {name: sum(value > 0 for value in values) / len(values) for name, values in leads.items()}
print(f"{'cut':34} lead  right name ahead")
for name in leads:
    print(f"{name:34} {mean_lead[name]:4.1f} {still_right[name]:8.0%}")

# %% [markdown]
# That is a circuit, and attribution showed none of it:
#
# - The end needs no look at the first names.
# - It reads the **comma** (or whatever ends the first clause) and the **second naming of the giver**. Without the one, about half of the lead is gone; without the other, all of it.
# - The comma has gathered the names. Cut it off from the receiver, and next to nothing of the lead is left; cut it off from the giver, and the lead even grows.
# - The last MLPs put the two together: *these two people, and not that one*. They write the answer, as you saw above.
#
# Now that you know which edges matter, you can see them. For each, the head that looks along it most, in the sentence about Luke:

# %% id="see-edges"
with torch.no_grad(), Tap(model, "pattern") as tap:
    model(tokens)
pattern = tap["pattern"][:, 0]  # [layer, head, query, key]
COMMA, AGAIN, END = words.index(","), 10, len(words) - 1  # the comma, the second Eva, and `to`
looks = {
    "comma at Luke": (COMMA, 2),
    "to at the comma": (END, COMMA),
    "to at the second Eva": (END, AGAIN),
    "to at Luke": (END, 2),
}
most = {}
for name, (query, key) in looks.items():
    layer, head = divmod(int(pattern[..., query, key].argmax()), parts_of.n_heads)
    most[name] = layer, pattern[layer, head, query, key].item()
    print(f"{name:21} L{layer} H{head} with {most[name][1]:.0%} of its attention")

layer, head = divmod(int(pattern[..., END, COMMA].argmax()), parts_of.n_heads)
AttentionHeads(words, pattern, layer=layer, head=head, caption="the head that reads the comma; its last row is the end")

# %% [markdown]
# In layer 0 the comma looks at Luke; in layer 1 one head of the end looks at the comma and at nothing else; and nobody at the end looks at Luke. Patterns suggest, cuts decide: chapter 3 is about that.
#
# **First lesson.** Direct attribution sees who writes, not who informs the writer.
#
# ## Stop early
#
# Now read the stream before it is finished. The **logit lens** (nostalgebraist 2020) does to every stage what the model does to the last one: norm,
# then unembedding. What does it show before anything was computed?

# %% id="02.B"
### BEGIN SOLUTION
answer("02.B", 3)
### END SOLUTION

# %% [markdown]
# ### 02.6 · The logit lens
#
# This time every stage gets a norm of its own, with its own *σ*: you ask what a model says that *ends* here. (In 02.3 the parts had to
# add up to one run, so they shared one *σ*. Mixing up the two is a common slip.)


# %% id="02.6"
def lens_logits(
    stages: Float[Tensor, "*lead d_model"],
    weight: Float[Tensor, " d_model"],
    bias: Float[Tensor, " d_model"],
    W_U: Float[Tensor, "d_model vocab"],
    epsilon: float,
) -> Float[Tensor, "*lead vocab"]:
    """Each vector through the last LayerNorm, with a scale of its own, and the unembedding."""
    ### BEGIN SOLUTION
    centred = stages - stages.mean(-1, keepdim=True)
    scale = (stages.var(-1, correction=0, keepdim=True) + epsilon).sqrt()
    return (centred / scale * weight + bias) @ W_U
    ### END SOLUTION


# %% id="02.6-check"
check("02.6", lens_logits)

# %% [markdown]
# **Use it.** Your logits fill the widget. Click a cell; hover a word. The last column belongs to `to`, where the name is decided.

# %% id="lens"


def my_lens(stream: Tensor) -> Tensor:
    """Your lens, with the norm and the unembedding of storylm."""
    return lens_logits(stream, norm.weight.detach(), norm.bias.detach(), W_U, norm.epsilon)


early = my_lens(stages)[:, 0]  # [stage, position, vocab]
top = early.softmax(-1).topk(5)
LogitLens(words, top.indices, top.values, vocab=model.tokenizer, layers=STAGES, caption="your lens on storylm")

# %% [markdown]
# Before layer 0 every word says itself. After layer 0 hardly any does: after `to` mostly names are near the top, though not yet Luke's. After layer 1, at the end, *Eva* is on
# top: the wrong one. Only then comes Luke. So the model changes its mind? Remember this row.
#
# ### 02.7 · How far from the top?
#
# The top word is a crude measure. The **rank** of a token says how many others are ahead: 0 is the top.


# %% id="02.7"
def rank_of(logits: Float[Tensor, "*lead vocab"], tokens: Int[Tensor, "*lead"]) -> Int[Tensor, "*lead"]:
    """How many tokens have a higher logit than the given one: 0 is the top."""
    ### BEGIN SOLUTION
    own = logits.gather(-1, tokens[..., None])
    return (logits > own).sum(-1)
    ### END SOLUTION


# %% id="02.7-check"
check("02.7", rank_of)

# %% id="ranks"
ranks = {name: rank_of(early[:, -1], token.expand(5)).tolist() for name, token in (("Luke", luke), ("Eva", eva))}
print("stage", STAGES)
for name, values in ranks.items():
    print(f"{name:5} {values}")

# %% [markdown]
# After layer 0 Luke has rank 167, after layer 1 rank 4, after layer 2 he is on top and stays there; in between, after layer 1, *Eva* is.
#
# ### 02.8 · Nats that are missing
#
# One number for a whole prediction: the divergence of what a stage says from what is said in the end,
#
# > KL( end ‖ here ) = Σ<sub>v</sub> *p*<sub>end</sub>(v) ( log *p*<sub>end</sub>(v) − log *p*<sub>here</sub>(v) )
#
# in *nats*. It is 0 at the last stage and needs no right answer, so it can be measured on any text.


# %% id="02.8"
def kl_to_end(logits: Float[Tensor, "stage *lead vocab"]) -> Float[Tensor, " stage *lead"]:
    """KL(what the last stage says || what each stage says), in nats."""
    ### BEGIN SOLUTION
    here = logits.log_softmax(-1)
    end = here[-1]
    return (end.exp() * (end - here)).sum(-1)
    ### END SOLUTION


# %% id="02.8-check"
check("02.8", kl_to_end)

# %% [markdown]
# **Use it** on rows of stories: 2,048 positions to learn from later, and 1,024 others to measure on.

# %% id="rows"
story_rows = torch.tensor([row.ids for row in annotated(48, 5)])  # [48, 64]
with torch.no_grad(), Tap(model, [("resid_pre", 0), "resid_post"]) as tap:
    model(story_rows)
streams = torch.cat([tap["resid_pre", 0][None], tap["resid_post"]]).flatten(1, 2)  # [stage, row, d_model]
learn, held = streams[:, :2048], streams[:, 2048:]
missing = kl_to_end(my_lens(held)).mean(-1)
for name, value in zip(STAGES, missing, strict=True):
    print(f"stage {name:>3}: {value:5.2f} nats are missing")

# %% [markdown]
# What is missing shrinks from stage to stage: each layer refines a guess. That picture is called *iterative inference*. But are eighteen
# nats before layer 0 a fact about the model, or about the lens? A lens that reads the words that came in, instead of a guess at what comes,
# may simply be the wrong pair of glasses.
#
# ## A lens that learns
#
# The stream may hold the guess in another basis than the last layer uses. The **tuned lens** (Belrose et al. 2023) gives each stage a *translator*: an affine
# map that guesses the end of the stream.
#
# ### 02.9 · A translator
#
# > *x* ↦ *x* + *x A* + *b*
#
# With *A* and *b* zero it changes nothing: an untrained tuned lens **is** the logit lens.


# %% id="02.9"
def translate(
    residual: Float[Tensor, "row d_model"], A: Float[Tensor, "d_model d_model"], b: Float[Tensor, " d_model"]
) -> Float[Tensor, "row d_model"]:
    """The stream as it is, and an affine correction. Zeros leave it as it is."""
    ### BEGIN SOLUTION
    return residual + residual @ A + b
    ### END SOLUTION


# %% id="02.9-check"
check("02.9", translate)

# %% [markdown]
# ### 02.10 · Train it
#
# Nobody has to label anything: the goal is what the model itself says in the end. Start from zeros and make `steps` steps of plain gradient descent on the mean,
# over all rows, of KL( end ‖ translated ). `readout` is a function that turns a stream into logits. `end` is a stream too: read it out, once.
# Return *A* and *b* detached, in the dtype of `residual`.


# %% id="02.10"
def train_translator(
    residual: Float[Tensor, "row d_model"], end: Float[Tensor, "row d_model"], readout, steps: int, rate: float
) -> tuple[Float[Tensor, "d_model d_model"], Float[Tensor, " d_model"]]:
    """A and b after some steps of gradient descent from zero, on the mean KL(end || translated) over the rows."""
    ### BEGIN SOLUTION
    A = residual.new_zeros(residual.shape[1], residual.shape[1], requires_grad=True)
    b = residual.new_zeros(residual.shape[1], requires_grad=True)
    goal = readout(end).log_softmax(-1).detach()
    for _ in range(steps):
        said = readout(residual + residual @ A + b).log_softmax(-1)
        loss = (goal.exp() * (goal - said)).sum(-1).mean()
        slope_A, slope_b = torch.autograd.grad(loss, [A, b])
        A, b = A - rate * slope_A, b - rate * slope_b
    return A.detach(), b.detach()
    ### END SOLUTION


# %% id="02.10-check"
check("02.10", train_translator)

# %% [markdown]
# **Use it.** Four translators, for the four stages before the last. This takes up to a minute.

# %% id="train"
translators = [train_translator(learn[stage], learn[-1], my_lens, steps=60, rate=1.0) for stage in range(4)]


def my_tuned_lens(site: str, layer: int, residual: Tensor) -> Tensor:
    """Your translators, in the form that widgets and methods take: a place, and rows of the stream there."""
    stage = layer if site == "resid_pre" else layer + 1
    return residual if stage == 4 else translate(residual, *translators[stage])


tuned = torch.stack(
    [my_lens(my_tuned_lens("resid_pre", stage, held[stage])) for stage in range(4)] + [my_lens(held[4])]
)
missing_tuned = kl_to_end(tuned).mean(-1)
lines = go.Figure()
for name, values in (("logit lens", missing), ("your tuned lens", missing_tuned)):
    lines.add_scatter(x=STAGES, y=values.tolist(), name=name, mode="lines+markers")
lines.update_layout(xaxis_title="stage", yaxis_title="nats that are missing", xaxis_type="category")
figure(
    lines,
    alt="Nats that are missing to the end, by stage. Logit lens: "
    + ", ".join(f"{value:.2f}" for value in missing.tolist())
    + ". Tuned lens: "
    + ", ".join(f"{value:.2f}" for value in missing_tuned.tolist()),
    title="A lens that learns",
    caption="1,024 positions that it was not trained on",
)

# %% [markdown]
# At every stage the trained lens misses less, and most of the eighteen nats were the lens's own fault. (`interpwidgets.methods.tuned_lens` trains with momentum and a rate that
# shrinks, as the paper's authors do.)
#
# Your lens can drive the widget. Switch between the two, and compare the last column after layer 1: where the logit lens said *Eva*, your lens says *Luke*, with 27 %. Did the model change its mind at all? In 02.13 you will ask it.

# %% id="tuned-widget"
LogitLens.from_model(model, TEXT, lens={"tuned": my_tuned_lens, "logit": None}, caption="your tuned lens on storylm")

# %% [markdown]
# ### 02.11 · Is it biased?
#
# A lens can be wrong word by word, and it can be wrong *on average*: it says some tokens more often than the model does, whatever the text.
# Average both over all rows, then compare: that is its **bias**, in nats. Belrose et al. (2023) found the bias of the logit lens large, and that of the tuned lens small.


# %% id="02.11"
def lens_bias(logits: Float[Tensor, "row vocab"], end: Float[Tensor, "row vocab"]) -> Float[Tensor, ""]:
    """KL(mean probabilities of the end || mean probabilities of the lens), both averaged over the rows, in nats."""
    ### BEGIN SOLUTION
    truth = end.softmax(-1).mean(0)
    said = logits.softmax(-1).mean(0)
    return (truth * (truth.log() - said.log())).sum()
    ### END SOLUTION


# %% id="02.11-check"
check("02.11", lens_bias)

# %% id="bias"
plain = my_lens(held)
bias = {
    "logit lens": [lens_bias(plain[stage], plain[-1]).item() for stage in range(5)],
    "tuned lens": [lens_bias(tuned[stage], tuned[-1]).item() for stage in range(5)],
}
print("stage      ", "".join(f"{name:>7}" for name in STAGES))
for name, values in bias.items():
    print(f"{name} ", "".join(f"{value:7.3f}" for value in values))

# %% [markdown]
# After layers 0, 1 and 2 the tuned lens is far less biased, as in the paper. But look at the first column: **before layer 0 the logit lens has less bias than the tuned lens, and is wrong
# everywhere**, by eighteen nats. It says the word that came in, and words that come in are about as frequent as words that come out. A small bias does not make a lens right.
#
# ### 02.12 · Take a direction out
#
# What a lens *reads* in the stream, does the model *use* it? Test it: take a direction out of the stream, and see how much the lens changes, and how
# much the model does. Taking out means: along this direction, all rows get their common mean.


# %% id="02.12"
def ablate_direction(
    residual: Float[Tensor, "row d_model"], direction: Float[Tensor, " d_model"]
) -> Float[Tensor, "row d_model"]:
    """The rows with what they have along the direction, of any length, replaced by its mean over the rows."""
    ### BEGIN SOLUTION
    unit = direction / direction.norm()
    along = residual @ unit
    return residual + (along.mean() - along)[:, None] * unit
    ### END SOLUTION


# %% id="02.12-check"
check("02.12", ablate_direction)

# %% [markdown]
# **Use it** after layer 1, on the twenty directions in which the stream varies most. How much a prediction changes, in nats, is the *influence*
# of a direction. (Belrose et al. 2023 search for the most influential directions; ours are only the longest.)

# %% id="influence"
some = story_rows[32:]  # the rows that `held` was made of
directions = torch.linalg.svd(held[2] - held[2].mean(0), full_matrices=False).Vh[:20]


def changed(before: Tensor, after: Tensor) -> float:
    return kl_to_end(torch.stack([after, before]))[0].mean().item()


def said_with(edit) -> Tensor:
    with torch.no_grad(), Tap(model, edits={("resid_post", 1): edit}):
        return model(some).logits.flatten(0, 1)


def influences(direction: Tensor) -> tuple[float, float, float]:
    """In the model, in the logit lens, in the tuned lens."""
    without = ablate_direction(held[2], direction)
    run = said_with(lambda stream: without.reshape(stream.shape))
    translated = my_lens(my_tuned_lens("resid_post", 1, without))
    return changed(plain[-1], run), changed(plain[2], my_lens(without)), changed(tuned[2], translated)


influence = torch.tensor([influences(direction) for direction in directions])  # [direction, 3]
order = influence.argsort(0).argsort(0).double()
agreement = torch.corrcoef(order.T)[0, 1:]  # of the ranks: Spearman
print(f"agreement with the model: logit lens {agreement[0]:.2f}, tuned lens {agreement[1]:.2f}")

dots = go.Figure()
for name, column in (("logit lens", 1), ("tuned lens", 2)):
    dots.add_scatter(x=influence[:, 0].tolist(), y=influence[:, column].tolist(), mode="markers", name=name)
dots.update_layout(
    xaxis_title="influence in the model, nats",
    yaxis_title="influence in the lens, nats",
    xaxis_type="log",
    yaxis_type="log",
)
figure(
    dots,
    alt="Twenty directions. Further right: more influence on the model. Higher: more influence on the lens. Rank "
    f"correlation with the model: logit lens {agreement[0]:.2f}, tuned lens {agreement[1]:.2f}.",
    title="Does the model use what the lens reads?",
    caption="the stream after layer 1; each dot is a direction that was taken out",
)

# %% [markdown]
# Both lenses lean the same way as the model, but the dots scatter, and the sizes are off: in 19 of the 20 directions both lenses move far more than the model, often about ten times as far
# (the model 0.0015 to 0.08 nats, the lenses 0.015 to 0.22). And the order may surprise you: the tuned lens foresees the end better, yet here the plain logit lens agrees better with the model
# about *what matters*. Belrose et al. (2023) report that the tuned lens uses features similar to the model's, in larger models and along directions that they searched for; twenty long
# directions in one small model do not contradict that. They do show that you have to check.
#
# **Second lesson.** What can be read from a vector is not always what later layers read.
#
# ## Ask the model itself
#
# A lens skips the layers that are left. Why not let them work? Put a vector into another run, in the place of what stood there, and let the model go on. That is a
# **patchscope** (Ghandeharioun et al. 2024): the other text, the *prompt*, decides what is asked.
#
# ### 02.13 · Ask the model
#
# Put each row into the stream that enters `layer`, at position `at` of the prompt; give the logits at the end of the prompt. A `Tap` takes edits: a place, and a function that gets the stream, may write into it, and returns
# it.


# %% id="02.13"
def ask_the_model(
    model, residual: Float[Tensor, "row d_model"], prompt: Int[Tensor, " position"], at: int, layer: int
) -> Float[Tensor, "row vocab"]:
    """What model says at the end of prompt if residual enters layer at position at; a prompt for each row."""

    ### BEGIN SOLUTION
    def put_in(stream):
        stream[:, at] = residual
        return stream

    with torch.no_grad(), Tap(model, edits={("resid_pre", layer): put_in}):
        logits = model(prompt.expand(len(residual), -1)).logits
    return logits[:, -1]
    ### END SOLUTION


# %% id="02.13-check"
check("02.13", ask_the_model)

# %% [markdown]
# **Use it.** We ask for the next word, at the last position of another text. So the vector meets the layers that it would have met, but sees another text.

# %% id="asked"
PROMPT = "One day Anna went to the park. It was a"
prompt = torch.tensor(model.tokenizer(PROMPT).input_ids)
asked_rows = torch.stack([ask_the_model(model, held[stage], prompt, -1, stage) for stage in range(4)] + [plain[-1]])

three = {"logit lens": plain, "tuned lens": tuned, "patchscope": asked_rows}
same_top = {name: (said.argmax(-1) == plain[-1].argmax(-1)).double().mean(-1).tolist() for name, said in three.items()}
nats = {name: kl_to_end(said).mean(-1).tolist() for name, said in three.items()}
print("same word on top as in the end       nats that are missing")
print(
    f"{'stage':11}"
    + "".join(f"{name:>6}" for name in STAGES[:4])
    + "   "
    + "".join(f"{name:>7}" for name in STAGES[:4])
)
for name in three:
    shown = "".join(f"{value:6.0%}" for value in same_top[name][:4])
    print(f"{name:11}{shown}   " + "".join(f"{value:7.2f}" for value in nats[name][:4]))

lines = go.Figure()
for name, values in same_top.items():
    lines.add_scatter(x=STAGES, y=values, name=name, mode="lines+markers")
lines.update_layout(xaxis_title="stage", yaxis_title="same word on top", yaxis_range=[0, 1.02], xaxis_type="category")
figure(
    lines,
    alt="How often each reading has the same word on top as the end. "
    + ". ".join(f"{name}: " + ", ".join(f"{value:.0%}" for value in values) for name, values in same_top.items()),
    title="Three ways to read the stream",
    caption="1,024 positions of stories",
)

# %% [markdown]
# After layers 0 and 1 the model reads its own vectors far better than the logit lens does, and about as well as your trained lens, without any training. The price is a run of the remaining layers for
# every row. Before layer 0 the tuned lens is ahead: there the other text gets in the way, and knowing which word tends to follow which is already much. All three in one widget (`asked`, `tuned` and `logit` are in its menu):

# %% id="three"


def my_patchscope(site: str, layer: int, residual: Tensor) -> Tensor:
    stage = layer if site == "resid_pre" else layer + 1
    return residual if stage == 4 else ask_the_model(model, residual, prompt, -1, stage)


LogitLens.from_model(
    model, TEXT, lens={"asked": my_patchscope, "tuned": my_tuned_lens, "logit": None}, caption="three lenses on storylm"
)

# %% [markdown]
# Two things to see in the last column. After layer 1 the model itself says *Luke*, and is sure, without another look at the sentence: the answer was there already where the logit lens reads *Eva*. And before that it says *Anna*, who is in the prompt and nowhere else. **A patchscope
# answers with the vector and with the prompt**; where the one holds little, you hear the other.
#
# It can mislead in the other direction as well. Put *Paris* from *People in Paris* into *The city of ... is in*, before each layer, and ask for the country. Two vectors take turns: the bare embedding, as it
# stands before layer 0, and the vector from before the layer where it is put in:

# %% id="too-late"
CITIES = {" Paris": " France", " Berlin": " Germany", " Rome": " Italy", " Tokyo": " Japan", " Moscow": " Russia"}
there = [city for city in CITIES if ids_of(city) != ids_of("<unk>") and ids_of(CITIES[city]) != ids_of("<unk>")]
told_of = torch.tensor([ids_of(["<s>", " People", " in", city]) for city in there])
question = torch.tensor(ids_of(["<s>", " The", " city", " of", " Madrid", " is", " in"]))
with torch.no_grad(), Tap(model, "resid_pre") as tap:
    model(told_of)
country = torch.tensor([ids_of(CITIES[city]) for city in there])
got = {"embedding": [], "same layer": []}
for layer in range(4):
    for name, taken in (("embedding", 0), ("same layer", layer)):
        said = ask_the_model(model, tap["resid_pre", taken][:, 3], question, 4, layer).argmax(-1)
        got[name].append((said == country).double().mean().item())
        countries = model.tokenizer.convert_ids_to_tokens(said.tolist())
        print(f"put in before layer {layer}, {name:10}: {got[name][-1]:4.0%} right, says {countries}")

# %% [markdown]
# The very same embeddings: before layer 0 the answer is right, before any later layer it is *Spain*, for Madrid, which stood there before. It is not that an embedding is out of place so late: vectors from the
# matching layer end the same way. By then `is` and `in` have already looked at
# the city. **Third lesson.** "Nothing was decoded" can mean that nobody was looking any more.
#
# ## Read it backward
#
# Forward, the stream says what the model thinks. Backward, gradients say what it would *learn*. Take one matrix, *y* = *x W*, of an MLP. It is used at every token of a text, so its gradient
# has a term for each token: what came in, times the slope of the loss at what went out.
#
# > ∂loss/∂*W* = Σ<sub>i</sub> *x*<sub>i</sub> ⊗ *d*<sub>i</sub>
#
# ### 02.14 · A gradient is a sum over tokens
#
# `x` is what came in, `d` the slope at what went out, at every position. Give the gradient of *W*, shaped as *W* is in *x W*.


# %% id="02.14"
def weight_gradient(
    x: Float[Tensor, "batch position inputs"], d: Float[Tensor, "batch position outputs"]
) -> Float[Tensor, "inputs outputs"]:
    """The gradient of W in y = x @ W, from what came in and the slopes of what went out, at all positions."""
    ### BEGIN SOLUTION
    return torch.einsum("bpi,bpo->io", x, d)
    ### END SOLUTION


# %% id="02.14-check"
check("02.14", weight_gradient)

# %% [markdown]
# **Use it.** Suppose the sentence went on with *Eva*. Compare your sum with what torch finds for the output matrix of the MLP in layer 2:


# %% id="gradient"
def surprise(logits: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits[:, -1], eva)


factors = gradient_factors(model, tokens, surprise)["W_out", 2]
mine = weight_gradient(factors.x, factors.d)
weight = model.transformer.h[2].mlp.c_proj.weight
theirs = torch.autograd.grad(surprise(model(tokens).logits), weight)[0]
print(f"largest difference to torch's gradient: {(mine - theirs).abs().max():.1e}")
print(
    f"{mine.numel():,} numbers, of rank {int(torch.linalg.matrix_rank(mine))} (the text has {tokens.shape[1]} tokens)"
)

# %% [markdown]
# A whole matrix of gradients, and its rank is at most the number of tokens. Each *d* is as long as the stream, so a lens can read it: the **backward lens** (Katz et al. 2024).
# A step of training adds a multiple of −*d* to what these neurons write. Which words are that?

# %% id="backward"
learned = backward_lens(model, tokens, target=eva)
for layer in range(4):
    shift = learned.shift
    more = model.tokenizer.convert_ids_to_tokens(shift.top_tokens[layer, 0, -1].tolist())
    less = model.tokenizer.convert_ids_to_tokens(shift.bottom_tokens[layer, 0, -1].tolist())
    print(f"layer {layer}: more of {more[:3]}, less of {less[:3]}")

# %% [markdown]
# In layers 1 to 3 *Eva* is on top: the gradient holds the new answer in words, and one step would make every one of these MLPs say it louder here. The other end is worth less. You might expect *Luke* there; what stands
# there is *pancakes*, of which nobody spoke. **A list of words is not yet an explanation.**
#
# ## Reading card: the Primer
#
# Ferrando et al. (2024), [A Primer on the Inner Workings of Transformer-based Language Models](https://arxiv.org/abs/2405.00208), puts what you have built into one notation. Read the parts about the residual stream
# and about decoding into the vocabulary; you will meet your functions there. It sorts the field by two questions: *which part is
# responsible?* (localise) and *what does this vector hold?* (decode).

# %% id="02.C"
### BEGIN SOLUTION
answer("02.C", 2)
### END SOLUTION

# %% [markdown]
# ## When lenses mislead
#
# | What you see | What may be behind it | What decides |
# |:--|:--|:--|
# | no head writes the answer | heads inform MLPs that write it | cut edges |
# | parts with large shares | parts that undo each other | take one out, run the model |
# | nonsense in early layers | another basis | a tuned lens, a patchscope |
# | an unbiased lens | it says what came in | the divergence, position by position |
# | a lens that reads X | nobody downstream reads X | take the direction out |
# | a patchscope that says X | X is in its prompt | another prompt |
# | a patch that changes nothing | it came too late | other layers, other positions |
#
# ## Optional: on a real model
#
# Off unless you name a model: a directory, or a name on the Hugging Face hub (downloaded once), such as `"gpt2"` or `"HuggingFaceTB/SmolLM2-135M"`. Here the
# library's lens reads, as other families have other norms.

# %% id="model" tags=["parameters"]
MODEL = ""
REAL_TEXT = "Once upon a time there was a little girl named"

# %% id="real"
if MODEL:
    from IPython.display import display

    other = load(MODEL)
    real_ids = torch.tensor([other.tokenizer(REAL_TEXT).input_ids])
    real_lens = logit_lens(other, real_ids, sites=[("resid_pre", 0), "resid_post"])
    print("nats that are missing, by stage:", [round(value, 2) for value in real_lens.kl.mean((1, 2)).tolist()])
    display(LogitLens.from_model(other, REAL_TEXT, caption=f"the logit lens on {MODEL}"))
else:
    print("Put a name or a directory into MODEL, and run these two cells.")

# %% [markdown]
# ## What we did not show
#
# - **Trajectories as alarms.** Belrose et al. (2023) detect prompt injections by the way predictions change from layer to layer. A model of stories has no instructions to inject into.
# - **Causal basis extraction**: searching for the directions that matter most to a lens. We only tested directions that were there.
# - **Attributes and multi-hop reasoning with patchscopes**, and larger models that explain smaller ones: Ghandeharioun et al. (2024). Our model answers a question about a city only
#   if the city comes in before layer 0.
# - *Later*: a waterfall that you can touch, with the norm frozen or not; a plotly figure stands in for it here.
# - **Names of heads.** Why storylm does without name movers we do not know. Its card, `interpwidgets zoo show storylm`, says what was measured.
#
# ## Going further
#
# - nostalgebraist (2020), [interpreting GPT: the logit lens](https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens): where it began.
# - Belrose et al. (2023), [Eliciting Latent Predictions from Transformers with the Tuned Lens](https://arxiv.org/abs/2303.08112), and its [library](https://github.com/AlignmentResearch/tuned-lens).
# - Ghandeharioun et al. (2024), [Patchscopes](https://arxiv.org/abs/2401.06102).
# - Katz et al. (2024), [Backward Lens](https://arxiv.org/abs/2402.12865).
# - Geva et al. (2023), [Dissecting Recall of Factual Associations](https://arxiv.org/abs/2304.14767): attention knockouts.
# - Elhage et al. (2021), [A Mathematical Framework for Transformer Circuits](https://transformer-circuits.pub/2021/framework/index.html); Wang et al. (2022),
#   [Interpretability in the Wild](https://arxiv.org/abs/2211.00593).
#
# ## What you have now
#
# Your functions, one by one, are in `interpwidgets.methods.lens_steps`; for models of any family:
#
# | You want to know | You wrote | For any model, in `interpwidgets.methods` |
# |:--|:--|:--|
# | what is in the stream? | `residual_parts`, `residual_stages` | `attribution` |
# | who wrote the answer? | `frozen_norm`, `direct_attribution` | `attribution` |
# | which way did it come? | `cut_edges` | `path` |
# | what would it say now? | `lens_logits`, `rank_of`, `kl_to_end` | `lens` |
# | and in its own words? | `translate`, `train_translator`, `lens_bias` | `tuned_lens` |
# | is it used? | `ablate_direction` | `ablation` |
# | what does it say itself? | `ask_the_model` | `patchscope` |
# | what would it learn? | `weight_gradient` | `backward_lens` |

# %% id="progress"
progress()
