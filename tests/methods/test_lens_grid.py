"""The grid of a lens in one pass says what the lenses say that answer one question at a time."""

import pytest
import torch

from interpwidgets.methods.lens import follow, logit_lens
from interpwidgets.methods.lens_grid import lens_grid
from interpwidgets.methods.projections import frozen_scale, vocabulary_logits
from interpwidgets.models.taps import Tap

EVERY = [("resid_pre", 0), "resid_post"]
FAMILIES = ["gpt2", "llama", "gemma2", "attention_only"]


def close(a, b, **tolerance):
    torch.testing.assert_close(a, b, **{"rtol": 1e-4, "atol": 1e-5, **tolerance})


@pytest.fixture(params=FAMILIES)
def model(request, tiny):
    return tiny(request.param)


@pytest.fixture
def tokens(pair):
    return pair[0][0]


def test_the_grid_is_the_logit_lens_and_the_paths_of_tokens(model, tokens):
    followed = torch.tensor([[5, 6]] * len(tokens))
    grid = lens_grid(model, tokens, followed, k=3)
    lens = logit_lens(model, tokens[None], k=3, sites=EVERY)
    path = follow(model, tokens[None], torch.tensor([5, 6]), sites=EVERY)
    close(grid.top_probs, lens.top_probs[:, 0])
    assert (grid.top_tokens == lens.top_tokens[:, 0]).all()
    close(grid.entropy, lens.entropy[:, 0])
    close(grid.kl, lens.kl[:, 0])
    close(grid.prob, path.prob[:, 0])
    assert (grid.rank == path.rank[:, 0]).all()


def test_the_size_of_a_chunk_changes_nothing(model, tokens):
    followed = torch.zeros(len(tokens), 0, dtype=torch.long)
    steps = []
    grid = lens_grid(model, tokens, followed, chunk=3, on_chunk=lambda *step: steps.append(step))
    whole = lens_grid(model, tokens, followed)
    close(grid.top_probs, whole.top_probs)
    close(grid.kl, whole.kl)
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_each_position_may_follow_a_token_of_its_own(tiny, tokens):
    model = tiny("llama")
    grid = lens_grid(model, tokens, tokens.roll(-1)[:, None])
    lens = logit_lens(model, tokens[None], sites=EVERY)
    close(grid.prob[:, :-1, 0], lens.target_prob[:, 0])
    assert (grid.rank[:, :-1, 0] == lens.target_rank[:, 0]).all()


def test_a_lens_changes_the_stream_or_makes_the_logits(tiny, tokens):
    model = tiny("gpt2")
    followed = torch.tensor([[5]] * len(tokens))
    doubled = lens_grid(model, tokens, followed, lens=lambda site, layer, rows: rows + layer)
    other = logit_lens(model, tokens[None], sites=EVERY, lens=lambda site, layer, rows: rows + layer)
    close(doubled.kl, other.kl[:, 0])
    uniform = lens_grid(model, tokens, followed, lens=lambda site, layer, rows: torch.zeros(len(rows), 61))
    close(uniform.entropy, torch.full((4, len(tokens)), 61.0).log())
    assert (uniform.rank == 0).all()


@pytest.mark.parametrize(("source", "site"), [("attention", "attn_out"), ("mlp", "mlp_out")])
def test_one_half_of_a_layer_says_its_share_of_the_logits(tiny, tokens, source, site):
    model = tiny("gemma2")
    grid = lens_grid(model, tokens, torch.tensor([[5]] * len(tokens)), source=source)
    with torch.no_grad(), Tap(model, [site, "resid_post"]) as tap:
        model(tokens[None])
    share = vocabulary_logits(model, tap[site, 1][0], frozen_scale(model, tap["resid_post", -1][0])).softmax(-1)
    close(grid.top_probs[2], share.topk(5).values)
    close(grid.prob[2, :, 0], share[:, 5])
    assert grid.top_probs[0].isnan().all()
    assert grid.rank[0].isnan().all()


def test_the_shares_of_all_parts_order_tokens_as_the_model_does_in_the_end(tiny, tokens):
    """What stands behind the sources: with the scale frozen the parts add up."""
    model = tiny("llama")
    with torch.no_grad(), Tap(model, ["resid_pre", "attn_out", "mlp_out", "resid_post"]) as tap:
        logits = model(tokens[None]).logits[0]
    parts = [tap["resid_pre", 0][0], *tap["attn_out"][:, 0], *tap["mlp_out"][:, 0]]
    scale = frozen_scale(model, tap["resid_post", -1][0])
    close(sum(vocabulary_logits(model, part, scale) for part in parts), logits)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"source": "heads"}, "sources of this model are residual, attention, mlp; 'heads' is not"),
        ({"source": "mlp", "lens": lambda site, layer, rows: rows}, "what mlp alone adds is read without one"),
        ({"k": 62}, "between 1 and 61"),
        ({"lens": lambda site, layer, rows: rows[:, :3]}, r"it returned something of shape \[7, 3\]"),
        ({"lens": lambda site, layer, rows: None}, "something of type NoneType"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(tiny, tokens, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        lens_grid(tiny("gpt2"), tokens, tokens[:, None], **wrong)


def test_a_model_without_mlps_has_no_such_source(tiny, tokens):
    with pytest.raises(ValueError, match="sources of this model are residual, attention; 'mlp' is not"):
        lens_grid(tiny("attention_only"), tokens, tokens[:, None], source="mlp")
