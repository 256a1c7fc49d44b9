# %% [markdown]
# # 0 · Start here
#
# ![The sentence "Lily found a map. Tom found a key. Lily", drawn twice. Above: blue arrows lead from every word one word back. Below: one orange arrow leads from the last word, Lily, far back to the first "found", the word that came after the earlier Lily.](pictures/two_heads.png)
#
# A language model reads a sentence with many **attention heads**. At every word, each head decides how much to look at that
# word and at every word before it. Above are two heads of the model that you are about to open.
#
# Where a head looks is no secret: it is a table of numbers. In five cells you will type a sentence of your own, see
# every head of a model on it, click on one, and hold the numbers behind your click in Python.
#
# **Time** 10 minutes. **You need** nothing else: no network, no GPU.
#
# ## Open the toolbox
#
# Click on the cell below and press **Shift + Enter**. That runs it and takes you to the next one.

# %% id="setup"
from interpwidgets import AttentionHeads, load

# %% [markdown]
# ## Type your sentence
#
# Put a sentence of your own between the quotes, then run the cell. Any sentence will do. Heads have more to look at when
# words come back, so let something return: a name, a phrase.

# %% id="sentence" tags=["parameters"]
MODEL = "demo"
SENTENCE = "Lily found a map. Tom found a key. Lily"

# %% [markdown]
# `"demo"` is a tiny model with two layers of four heads. Nobody trained it: its weights were written by hand so that
# each head does *one* thing that heads of real models are known to do. It knows no stories, but you can find out
# everything about it. Which head does what? Look first; the answers are at the end.
#
# ## See every head

# %% id="look"
model = load(MODEL)
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
# - Find the head that always looks one step back. Its picture is a line just below the diagonal.
# - Find the head that does not care: it looks at everything so far, evenly.
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
heads.layer, heads.head = 0, 0
heads.selected.sum(axis=1).round(3)

# %% [markdown]
# Every row adds up to 1. A head cannot look hard at everything: what it gives to one token, it takes from the others.
#
# ## The answers
#
# <details>
# <summary><b>What the eight heads of <code>"demo"</code> do</b> (look for yourself first)</summary>
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
# The picture opens on the head with the highest *induction* score: the lower one of the drawing. Because of it, this
# model expects "found" after the second "Lily": it has read "Lily found" before. Finding such heads in a trained model,
# and building the measure that finds them, is what the first full chapter is about.
#
# ## Open another model
#
# Go back to the second cell, change `MODEL`, and run the cells from there on:
#
# - `MODEL = "gpt2"`, or any other name on the [Hugging Face hub](https://huggingface.co/models?library=transformers), downloads that model once;
# - `MODEL = "path/to/a/model"` opens a directory with `config.json` and safetensors weights, without a network.
#
# Heads of trained models are less tidy than these. You will meet many that mostly look at the first token; that is a
# known habit, the *attention sink* [1].
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
# | a model | `model = load("demo")` |
# | all its heads on a sentence | `heads = AttentionHeads.from_model(model, "...")` |
# | what is chosen | `heads.layer`, `heads.head`, `heads.query`, `heads.key` |
# | the table on show, and the number chosen in it | `heads.selected`, `heads.selected_value` |
# | this notebook as one page, its picture alive | `interpwidgets export --execute 00_start_here.ipynb`, in a terminal |
