# %% [markdown]
# # 0 · Start here
#
# ![The sentence "Lily and Tom went to the park. Tom gave a kite to", drawn twice. Above: from the full stop, two blue arrows lead back to Lily and to the first Tom. Below: from the last word, an orange arrow leads back to the full stop.](pictures/two_heads.png)
#
# *Lily and Tom went to the park. Tom gave a kite to* ... to whom? You know, and so does the small language model that you are about
# to open. It reads with **attention heads**: at every word, each head decides how much to look at that word and at every
# word before it. Above are two heads that help it find the answer.
#
# Where a head looks is no secret: it is a table of numbers. In six cells you will type a sentence of your own, read what the
# model would say next, see every head on it, click on one, and hold the numbers behind your click in Python.
#
# **Time** 10 minutes. **You need** nothing else: no network, no GPU. Words in **bold** are in the [glossary](glossary.md).
#
# ## Open the toolbox
#
# Click on the cell below and press **Shift + Enter**. That runs it and takes you to the next one.

# %% id="setup"
from interpwidgets import AttentionHeads, load

# %% [markdown]
# ## Type your sentence
#
# Leave the sentence below as it is for a first round; then come back and put your own between the quotes.

# %% id="sentence" tags=["parameters"]
MODEL = "storylm"
SENTENCE = "Lily and Tom went to the park. Tom gave a kite to"

# %% [markdown]
# `"storylm"` is a small model that we trained on short stories: four layers of eight heads, under a million numbers. It knows
# about a thousand words; any other becomes `<unk>`. In a terminal, `interpwidgets zoo show storylm` prints what it can do
# and what it cannot, with twenty stories of its own.
#
# ## What does it say next?

# %% id="say"
model = load(MODEL)
inputs = model.tokenizer(SENTENCE, return_tensors="pt")
chances = model(**inputs).logits[0, -1].softmax(-1)
{model.tokenizer.decode(i): round(chances[i].item(), 3) for i in chances.topk(5).indices}

# %% [markdown]
# These are its five best guesses for the next word, each with its probability. The sentence never says that the kite goes to Lily:
# to know it, the model has to find that there were two people, and that Tom is the one who gives.
#
# ## See every head

# %% id="look"
heads = AttentionHeads.from_model(model, SENTENCE)
heads

# %% [markdown]
# **Each small square is one head**; a row of squares is a layer. The head you choose is drawn large.
#
# **In the large square**, every row is a word that looks, every column a word that it looks at. The stronger the
# colour, the more it looks there. Half of the square stays empty: no word can see those that come after it.
#
# The model cuts text into *tokens*: mostly words, sometimes pieces of words, each with the space before it (`␣`). `<s>` marks the
# beginning.
#
# **Try this:**
#
# - Find the heads of the drawing: in layer 0 one that looks from the full stop at both names, in layer 1 one that looks
#   from the last word at the full stop. There are several of each.
# - Find a head that hardly cares what the words are and looks at the very start.
# - Click on a cell of the large square. It stays chosen while you move about; the arrow keys move it, Escape lets go.
# - Type another sentence into the box of the picture and press Run.
#
# ## Take your click into Python
#
# The picture and Python share one choice. Click somewhere above, then run this cell. Click somewhere else, run it again.

# %% id="read-back"
print("layer", heads.layer, "head", heads.head)
print(heads.tokens[heads.query], "looks at", heads.tokens[heads.key])
round(heads.selected_value, 3)

# %% [markdown]
# That number is one entry of a table, and the whole table is `heads.selected`: one row for each token that looks, one
# column for each token that it looks at. Now the other way round: choose a head in Python, and watch the picture above follow.

# %% id="steer"
heads.layer, heads.head = 1, 0
for token, weight in zip(heads.tokens, heads.selected[-1], strict=True):
    print(f"{weight:.2f} {token}")

# %% [markdown]
# This is the last row: where that head looks at the last word. Nearly all of it goes to the full stop.
# Every row adds up to 1. A head cannot look hard at everything: what it gives to one token, it takes from the others.
#
# ## What you have seen
#
# A full stop means little, so why look there? Because the head of layer 0 has been there before: at the full stop it
# collected *Lily* and *Tom*. Whoever reads the full stop in layer 1 reads both names at once. The end of the sentence
# also knows who gives, from another head of layer 0, so one name is left.
#
# Is that really how it works, or only how it looks? We cut single looks in many sentences like yours and counted. Keep
# the full stop from seeing the one who receives, and the model is right in 64 % of them, where it was right in all. Keep
# the end from seeing both names where they first stand, and it is still right in all of them. The chapters teach how to make such
# cuts, and why looking alone is not enough.
#
# ## A model without secrets
#
# `MODEL = "demo"`, with `SENTENCE = "Lily found a map. Tom found a key. Lily"`, opens a model that nobody trained: the weights
# of its eight heads were written by hand, so that each does *one* thing that heads of real models are known to do. Which
# head does what? Look first.
#
# <details>
# <summary><b>What the eight heads of <code>"demo"</code> do</b></summary>
#
# | layer | head | what it does |
# |:-:|:-:|:--|
# | 0 | 0 | **previous token**: looks one step to the left |
# | 0 | 1 | **duplicate token**: looks at earlier copies of the current token, else at the start |
# | 0 | 2 | **first token**: always looks at the start |
# | 0 | 3 | **recent tokens**: looks a little less at each step back |
# | 1 | 0 | **induction**: looks at what came after earlier copies of the current token, else at the start |
# | 1 | 1 | **capital letters**: looks at the latest capitalised words, else at the start |
# | 1 | 2 | **punctuation**: looks at the latest punctuation marks, else at the start |
# | 1 | 3 | **everything**: looks evenly at all tokens so far |
#
# </details>
#
# There the picture opens on the head with the highest *induction* score. Because of it, this model expects "found" after
# the second "Lily": it has read "Lily found" before. Finding such heads in a trained model, and building the measure
# that finds them, is what the first full chapter is about.
#
# ## Open another model
#
# Go back to the second cell, change `MODEL`, and run the cells from there on:
#
# - `MODEL = "gpt2"`, or any other name on the [Hugging Face hub](https://huggingface.co/models?library=transformers), downloads that model once;
# - `MODEL = "path/to/a/model"` opens a directory with `config.json` and safetensors weights, without a network.
#
# You will meet many heads that mostly look at the first token; that is a known habit, the *attention sink* [1].
#
# ## What we did not show
#
# - Where a head looks is not what it *does*. What it carries from there, and whether anything later uses it, are separate questions;
#   how much attention alone explains has been argued both ways [2, 3].
# - The rest of the model: the MLPs, the stream that every layer reads and writes, the output.
#
# ## Going further
#
# - Elhage et al. (2021), [A Mathematical Framework for Transformer Circuits](https://transformer-circuits.pub/2021/framework/index.html):
#   what a head reads, what it writes, and how two of them make an induction head.
# - Olsson et al. (2022), [In-context Learning and Induction Heads](https://arxiv.org/abs/2209.11895): such heads in models of every size.
# - [1] Xiao et al. (2023), [Efficient Streaming Language Models with Attention Sinks](https://arxiv.org/abs/2309.17453).
#   [2] Jain and Wallace (2019), [Attention is not Explanation](https://arxiv.org/abs/1902.10186).
#   [3] Wiegreffe and Pinter (2019), [Attention is not not Explanation](https://arxiv.org/abs/1908.04626).
#
# | You want | You write |
# |:--|:--|
# | a model | `model = load("storylm")` |
# | all its heads on a sentence | `heads = AttentionHeads.from_model(model, "...")` |
# | what is chosen | `heads.layer`, `heads.head`, `heads.query`, `heads.key` |
# | the table on show, and the number chosen in it | `heads.selected`, `heads.selected_value` |
# | this notebook as one page, its picture alive | `interpwidgets export --execute 00_start_here.ipynb`, in a terminal |
