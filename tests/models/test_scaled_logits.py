"""A family that looks like a Llama but scales its logits is told from one, by its identities and by the lens."""

from typing import Any

import pytest
import torch
import transformers as tf
from torch import Tensor

from interpwidgets.methods.lens import logit_lens
from interpwidgets.models.anatomy import MissingPartError, anatomy
from interpwidgets.models.families import FAMILIES
from interpwidgets.models.identities import identities

SIZES: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "residual_multiplier": 1.0,
    "embedding_multiplier": 1.0, "attention_multiplier": 0.3,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _with_the_row_of_a_llama(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "granite", FAMILIES["llama"])
    torch.manual_seed(0)


def granite(scale: float) -> Any:
    model: Any = tf.GraniteForCausalLM(tf.GraniteConfig(**SIZES, logits_scaling=scale))
    model.eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def test_identities_compare_the_logits_with_what_the_unembedding_makes(ids: Tensor) -> None:
    errors = identities(granite(8.0), input_ids=ids)
    assert errors.pop("logits") > 1e-2
    assert max(errors.values()) < 1e-5
    assert max(identities(granite(1.0), input_ids=ids).values()) < 1e-5


def test_a_lens_on_scaled_logits_is_refused(ids: Tensor) -> None:
    model = granite(8.0)
    said = r"GraniteForCausalLM scales its logits \(logits_scaling=8.0\)"
    with pytest.raises(MissingPartError, match=said):
        logit_lens(model, ids)
    with pytest.raises(MissingPartError, match=said):
        anatomy(model).W_U()
    assert logit_lens(granite(1.0), ids).kl[-1].max() == 0
