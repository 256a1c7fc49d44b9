"""The models of addition: training looks up what the model computes, and the measures tell the rule from no rule."""

import pytest
import torch

from interpwidgets.data.addition import answers, questions, split
from interpwidgets.models.modular import ModularConfig, ModularForCausalLM
from interpwidgets.zoo.accept_modadd import accept_modadd, accept_series, frequencies
from interpwidgets.zoo.modadd import logits_at_equals, train


class Clock:
    """Answers by the rule at the frequencies it is given: the logit of c is the cosine of the angle to a + b."""

    def __init__(self, *ks: int, p: int = 59) -> None:
        self.config = ModularConfig(p=p)
        self.ks = ks
        angle = 2 * torch.pi * torch.arange(p)[:, None] * torch.tensor(ks) / p
        self.model = torch.nn.Module()
        self.model.embed = torch.nn.Embedding.from_pretrained(
            torch.cat([torch.cat([angle.cos(), angle.sin()], 1), torch.zeros(1, 2 * len(ks))])
        )

    def __call__(self, asked: torch.Tensor) -> "Clock":
        p = self.config.p
        gap = answers(asked)[:, None] - torch.arange(p)
        angle = 2 * torch.pi * gap[:, :, None] * torch.tensor(self.ks) / p
        self.logits = 20 * angle.cos().sum(2)[:, None]
        return self


class Knows(Clock):
    """By heart: right on what was shown, and on the first ``n`` questions of the others."""

    def __init__(self, n_shown: int, n_held_out: int) -> None:
        super().__init__(1)
        shown, held_out = split(59)
        known = torch.cat([shown[:n_shown], held_out[:n_held_out]])
        self.known = torch.zeros(59, 59, dtype=torch.bool)
        self.known[known[:, 0], known[:, 1]] = True

    def __call__(self, asked: torch.Tensor) -> "Clock":
        said = answers(asked) + (~self.known[asked[:, 0], asked[:, 1]]).long()
        self.logits = torch.eye(59)[said % 59][:, None]
        return self


def test_what_training_looks_up_is_what_the_model_computes() -> None:
    torch.manual_seed(0)
    model = ModularForCausalLM(ModularConfig(p=59, d_mlp=64)).eval()
    asked = questions(59)[::7]
    torch.testing.assert_close(logits_at_equals(model, asked), model(asked).logits[:, -1], rtol=1e-4, atol=1e-5)


def test_a_wave_has_one_frequency_and_noise_has_all() -> None:
    wave = (2 * torch.pi * 7 * torch.arange(59) / 59).cos()[:, None] * torch.tensor([1.0, -2.0])
    assert frequencies(wave)[7] == pytest.approx(1)
    noise = frequencies(torch.randn(59, 500, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(noise[1:], torch.full((29,), 2 / 59).double(), atol=0.01, rtol=0)
    assert noise.sum() == pytest.approx(1)


def test_a_constructed_clock_passes() -> None:
    measured = accept_modadd(Clock(3, 10, 14, 22, 27))
    assert [what for what, found in measured.items() if not found.ok] == []
    assert measured["share of the logits that the rule explains"].value == pytest.approx(1)


def test_a_clock_of_too_many_frequencies_fails() -> None:
    measured = accept_modadd(Clock(*range(1, 13)))
    assert not measured["share of the embedding in 6 frequencies"].ok
    assert not measured["share of the logits that the rule explains"].ok


def test_knowing_by_heart_is_told_from_the_rule() -> None:
    measured = accept_modadd(Knows(1392, 700))
    assert measured["shown accuracy"].ok
    assert not measured["held-out accuracy"].ok


def test_the_steps_in_between_are_counted_between_checkpoints() -> None:
    what = "steps between learning by heart and half of the held-out"
    series = {0: Knows(0, 0), 200: Knows(1392, 0), 1500: Knows(1392, 800), 2000: Knows(1392, 2089)}
    assert accept_series(series)[what].value == 1300
    del series[1500]
    assert accept_series(series)[what].value == 0
    assert not accept_series(series)[what].ok


def test_twenty_steps_lower_the_loss_and_are_the_same_every_time() -> None:
    losses: list[float] = []
    one = train(59, 1e-3, 20, d_mlp=32, progress=lambda step, loss: losses.append(loss))
    two = train(59, 1e-3, 20, d_mlp=32)
    assert all(torch.equal(weight, two.model.state_dict()[name]) for name, weight in one.model.state_dict().items())
    assert losses[-1] < losses[0]
    assert one.model.tokenizer("17 + 50 =").input_ids == [17, 50, 59]
