"""storylm and its twins: how they are trained, how they are asked, and that other libraries open them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from interpwidgets import load
from interpwidgets.data.stories import sample
from interpwidgets.data.stories.windows import REPEATS, Windows
from interpwidgets.models.load import checkpoints
from interpwidgets.models.shipped import WEIGHTS
from interpwidgets.models.taps import Tap
from interpwidgets.zoo import storylm, training
from interpwidgets.zoo.accept_storylm import accept, without
from interpwidgets.zoo.muon import Muon, orthogonal
from interpwidgets.zoo.registry import ZOO
from interpwidgets.zoo.storylm import FEW_WORDS, MODELS, gpt2, llama, look_back, repeats_at, schedule, train

NAMES = [spec.name for spec in MODELS]
SMALL = gpt2(16, 2)


def weights_of(model: Any) -> Tensor:
    return torch.cat([weight.flatten() for weight in model.parameters()])


# -- training


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storylm, "BATCH", 4)


@pytest.mark.usefixtures("small_batches")
def test_training_lowers_the_loss_and_is_the_same_every_time() -> None:
    losses: list[float] = []
    one = train(SMALL, seed=0, steps=40, keep=(0, 5), progress=lambda step, loss: losses.append(loss))
    two = train(SMALL, seed=0, steps=40)
    assert torch.equal(weights_of(one.model), weights_of(two.model))
    assert not torch.equal(weights_of(one.model), weights_of(train(SMALL, seed=1, steps=2).model))
    assert sum(losses[-10:]) < sum(losses[:10]) - 0.5
    assert list(one.series) == [0, 5]


@pytest.mark.usefixtures("small_batches")
def test_training_goes_on_after_a_kill_as_if_nothing_had_been(tmp_path: Path) -> None:
    def kill(step: int, loss: float) -> None:
        if step == 4:
            raise KeyboardInterrupt

    state = tmp_path / "state"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.fit, "__defaults__", (None, None, 0.0))  # the state is written after each step
        with pytest.raises(KeyboardInterrupt):
            train(SMALL, seed=0, steps=6, progress=kill, state=state)
        went_on = train(SMALL, seed=0, steps=6, state=state)
    assert torch.equal(weights_of(went_on.model), weights_of(train(SMALL, seed=0, steps=6).model))


@pytest.mark.usefixtures("small_batches")
def test_a_llama_learns_too() -> None:
    losses: list[float] = []
    train(llama(16, 4, 2), seed=0, steps=40, progress=lambda step, loss: losses.append(loss))
    assert sum(losses[-10:]) < sum(losses[:10]) - 0.5


def test_few_words_repeat_often_at_first_and_all_words_as_often_as_usual_later() -> None:
    last = max(FEW_WORDS)
    assert repeats_at(0) == (0.5, 16)
    assert repeats_at(last - 1)[1] == 2
    assert repeats_at(last) == repeats_at(10 * last) == (REPEATS, 1)
    shares = [repeats_at(step)[0] for step in range(last + 1)]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.usefixtures("small_batches")
def test_a_model_that_begins_with_few_words_sees_other_rows() -> None:
    usual, few = (train(SMALL, seed=0, steps=2, few_words=few).model for few in (False, True))
    assert not torch.equal(weights_of(usual), weights_of(few))


def test_a_llama_begins_with_heads_that_look_at_the_word_before() -> None:
    torch.manual_seed(0)
    config: Any = llama(96, 4, 2)
    model = LlamaForCausalLM(config)
    ids = torch.from_numpy(Windows(seed=1).next(4))

    def before() -> Tensor:
        with torch.no_grad(), Tap(model, "pattern") as tap:
            model(ids)
        return tap["pattern", 0].diagonal(-1, 2, 3)[..., 3:].mean((0, 2))  # of each head

    assert before().max() < 0.2
    look_back(model)
    assert before()[:2].min() > 0.8
    assert before()[2:].max() < 0.2


def test_the_rate_goes_up_and_then_down_to_a_fiftieth() -> None:
    rates = [schedule(step, 1000) for step in range(1000)]
    assert rates.index(max(rates)) == 99
    assert rates[-1] == pytest.approx(0.02, abs=1e-4)
    assert all(rate > 0 for rate in rates)


# -- Muon


@pytest.mark.parametrize("shape", [(24, 24), (24, 60), (60, 24)])
def test_a_matrix_made_orthogonal_has_singular_values_near_one(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(3, *shape, generator=generator)
    made = orthogonal(random)
    values = torch.linalg.svdvals(made)
    assert (values > 0.6).float().mean() > 0.95
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(random, full_matrices=False)
    assert torch.cosine_similarity((left @ right).flatten(1), made.flatten(1)).min() > 0.95


def stepped(weights: list[Tensor], gradients: list[Tensor], transposed: bool = False) -> list[Tensor]:
    weights = [weight.clone().requires_grad_() for weight in weights]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    Muon(weights, lr=0.1, transposed=transposed).step()
    return [weight.detach() for weight in weights]


def test_queries_keys_and_values_side_by_side_are_three_matrices() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, gradient = torch.randn(2, 8, 24, generator=generator)
    (together,) = stepped([weight], [gradient])
    apart = stepped(list(weight.split(8, 1)), [part.contiguous() for part in gradient.split(8, 1)])
    torch.testing.assert_close(together, torch.cat(apart, 1))


def test_weights_that_are_out_by_in_take_the_same_step() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, gradient = torch.randn(2, 8, 20, generator=generator)
    (plain,) = stepped([weight], [gradient])
    (turned,) = stepped([weight.T.contiguous()], [gradient.T.contiguous()], transposed=True)
    torch.testing.assert_close(plain, turned.T)


# -- asking


def test_a_cut_edge_carries_nothing_and_the_others_carry_all() -> None:
    model, told = load("storylm"), sample("ioi", seed=3, held_out=True)
    ids = model.tokenizer(told.text, return_tensors="pt").input_ids
    edit = without([told], lambda told: (9, [2, 4]), ids.shape[1])
    with torch.no_grad(), Tap(model, "pattern") as plain:
        model(ids)
    with torch.no_grad(), Tap(model, "pattern", edits={("pattern", 0): edit}) as cut:
        model(ids)
    assert cut["pattern", 0][:, :, 9, [2, 4]].abs().max() == 0
    torch.testing.assert_close(cut["pattern"].sum(-1), torch.ones_like(cut["pattern"].sum(-1)))
    torch.testing.assert_close(cut["pattern", 0][:, :, :9], plain["pattern", 0][:, :, :9])


@pytest.mark.usefixtures("small_batches")
def test_a_model_that_learned_nothing_fails() -> None:
    torch.manual_seed(0)
    untrained = accept(MODELS[0].accept.args[0], train(SMALL, seed=0, steps=1).model)  # type: ignore[attr-defined]
    failed = {what for what, found in untrained.items() if not found.ok}
    assert {"loss above the bound", "ioi, right", "successor, right", "best induction head"} <= failed


def test_names_are_found_between_the_steps_of_the_series() -> None:
    name = next(name for name in NAMES if checkpoints(name))
    written = json.loads((WEIGHTS / name / "card.json").read_text(encoding="utf-8"))["measured"]
    first, last = checkpoints(name)[0], checkpoints(name)[-1]
    assert written[f"ioi, right, at step {first}"]["value"] < 0.5 < written[f"ioi, right, at step {last}"]["value"]


# -- what is shipped


@pytest.mark.parametrize("name", NAMES)
def test_the_library_opens_the_folder_without_us(name: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS / name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / name)
    inputs = tokenizer("The opposite of hot is", return_tensors="pt")
    told = model.generate(**inputs, do_sample=False)
    assert tokenizer.decode(told[0], skip_special_tokens=True) == "The opposite of hot is cold."
    assert told[0, -1] == tokenizer.eos_token_id


def test_the_family_is_small() -> None:
    files = [file for name in NAMES for file in (WEIGHTS / name).iterdir()]
    assert sum(file.stat().st_size for file in files) < 13_000_000


def test_the_card_has_twenty_stories_that_end() -> None:
    written = json.loads((WEIGHTS / "storylm" / "card.json").read_text(encoding="utf-8"))
    (stories,) = (part for what, part in written.items() if what.startswith("stories"))
    assert len(stories) == 20
    assert all(story.startswith("[") and story.endswith(".") for story in stories)


def test_every_model_is_in_the_zoo() -> None:
    assert set(NAMES) <= set(ZOO)


def test_neurons_with_relu_are_silent_most_of_the_time() -> None:
    ids = torch.from_numpy(Windows(seed=99).next(8))
    with torch.no_grad(), Tap(model := load("storylm-relu"), "mlp_post") as tap:
        model(ids)
    assert (tap["mlp_post"] == 0).float().mean((1, 2, 3)).min() > 0.6
