"""Tiny random models of each family, with biases and norms that are not what initialisation makes them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf

from interpwidgets import load

VOCAB, D_MODEL, N_LAYERS, D_MLP, CONTEXT = 97, 48, 3, 80, 64
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SIZES = {
    "vocab_size": VOCAB, "hidden_size": D_MODEL, "intermediate_size": D_MLP, "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4, "max_position_embeddings": CONTEXT, **IDS,
}  # fmt: skip
GROUPED = {**SIZES, "num_key_value_heads": 2}
ROPE = {**GROUPED, "head_dim": 16}
WINDOW = {"sliding_window": 5}
GPT2 = {"vocab_size": VOCAB, "n_embd": D_MODEL, "n_layer": N_LAYERS, "n_head": 4, "n_positions": CONTEXT, **IDS}
OPT = {**SIZES, "ffn_dim": D_MLP, "word_embed_proj_dim": D_MODEL}
FALCON = {**SIZES, "ffn_hidden_size": D_MLP, "bias": True}
CAP = {"attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 16}
MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "gpt2": (tf.GPT2LMHeadModel, tf.GPT2Config, GPT2),
    "gpt_neo": (
        tf.GPTNeoForCausalLM, tf.GPTNeoConfig,
        {"vocab_size": VOCAB, "hidden_size": D_MODEL, "intermediate_size": D_MLP, "num_layers": 3, "num_heads": 4,
         "attention_types": [[["global", "local"], 1], [["global"], 1]], "window_size": 5,
         "max_position_embeddings": CONTEXT, **IDS},
    ),
    "gptj": (tf.GPTJForCausalLM, tf.GPTJConfig, {**GPT2, "rotary_dim": 8}),
    "gpt_neox": (tf.GPTNeoXForCausalLM, tf.GPTNeoXConfig, SIZES),
    "gpt_neox sequential": (tf.GPTNeoXForCausalLM, tf.GPTNeoXConfig, {**SIZES, "use_parallel_residual": False}),
    "opt": (tf.OPTForCausalLM, tf.OPTConfig, OPT),
    "opt 350m": (
        tf.OPTForCausalLM, tf.OPTConfig, {**OPT, "do_layer_norm_before": False, "word_embed_proj_dim": 24},
    ),
    "bloom": (
        tf.BloomForCausalLM, tf.BloomConfig,
        {"vocab_size": VOCAB, "hidden_size": D_MODEL, "n_layer": N_LAYERS, "n_head": 4, **IDS},
    ),
    "falcon": (tf.FalconForCausalLM, tf.FalconConfig, {**FALCON, "multi_query": True}),
    "falcon 40b": (
        tf.FalconForCausalLM, tf.FalconConfig, {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2},
    ),
    "falcon 11b": (
        tf.FalconForCausalLM, tf.FalconConfig,
        {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
    ),
    "falcon rw": (
        tf.FalconForCausalLM, tf.FalconConfig, {**FALCON, "alibi": True, "multi_query": False, "parallel_attn": False},
    ),
    "phi": (tf.PhiForCausalLM, tf.PhiConfig, SIZES),
    "phi3": (tf.Phi3ForCausalLM, tf.Phi3Config, {**GROUPED, **WINDOW}),
    "llama": (tf.LlamaForCausalLM, tf.LlamaConfig, {**ROPE, "attention_bias": True, "mlp_bias": True}),
    "mistral": (tf.MistralForCausalLM, tf.MistralConfig, {**ROPE, **WINDOW}),
    "qwen2": (tf.Qwen2ForCausalLM, tf.Qwen2Config, GROUPED),
    "qwen3": (tf.Qwen3ForCausalLM, tf.Qwen3Config, ROPE),
    "gemma2": (tf.Gemma2ForCausalLM, tf.Gemma2Config, {**ROPE, **WINDOW, **CAP}),
    "gemma3": (tf.Gemma3ForCausalLM, tf.Gemma3TextConfig, {**ROPE, **WINDOW, "query_pre_attn_scalar": 16}),
    "olmo2": (tf.Olmo2ForCausalLM, tf.Olmo2Config, GROUPED),
    "bert": (tf.BertForMaskedLM, tf.BertConfig, SIZES),
    "roberta": (tf.RobertaForMaskedLM, tf.RobertaConfig, {**SIZES, "pad_token_id": 1, "bos_token_id": 0}),
    "distilbert": (
        tf.DistilBertForMaskedLM, tf.DistilBertConfig,
        {"vocab_size": VOCAB, "dim": D_MODEL, "hidden_dim": D_MLP, "n_layers": N_LAYERS, "n_heads": 4,
         "max_position_embeddings": CONTEXT, **IDS},
    ),
    "vit": (
        tf.ViTForImageClassification, tf.ViTConfig,
        {"hidden_size": D_MODEL, "intermediate_size": D_MLP, "num_hidden_layers": N_LAYERS, "num_attention_heads": 4,
         "image_size": 24, "patch_size": 8},
    ),
}  # fmt: skip

EXPERTS = {**ROPE, "num_local_experts": 5, "num_experts_per_tok": 2}
T5 = {
    "vocab_size": VOCAB, "d_model": D_MODEL, "d_kv": 12, "d_ff": D_MLP, "num_layers": N_LAYERS, "num_heads": 4,
    "num_decoder_layers": 2, "decoder_start_token_id": 0, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
GATED = {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
SWITCH = {**T5, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1, "num_experts": 4, "expert_capacity": 4}
BART = {
    "vocab_size": VOCAB, "d_model": D_MODEL, "encoder_layers": N_LAYERS, "decoder_layers": 2, "encoder_ffn_dim": D_MLP,
    "decoder_ffn_dim": D_MLP, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "decoder_start_token_id": 2,
    "max_position_embeddings": CONTEXT, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "forced_eos_token_id": None,
}  # fmt: skip
TOWER = {"hidden_size": D_MODEL, "intermediate_size": D_MLP, "num_hidden_layers": N_LAYERS, "num_attention_heads": 4}
CLIP = {
    "text_config": {**SIZES, "eos_token_id": 96},
    "vision_config": {**TOWER, "image_size": 24, "patch_size": 8},
    "projection_dim": 16,
}
MAMBA = {"vocab_size": VOCAB, "hidden_size": D_MODEL, "num_hidden_layers": N_LAYERS, "state_size": 4}
SECOND: dict[str, tuple[Any, Any, dict[str, Any]]] = {  # families that lack a site, or have others, or are parts
    "mixtral": (tf.MixtralForCausalLM, tf.MixtralConfig, {**EXPERTS, **WINDOW}),
    "gpt_oss": (tf.GptOssForCausalLM, tf.GptOssConfig, {**EXPERTS, **WINDOW}),
    "t5": (tf.T5ForConditionalGeneration, tf.T5Config, T5),
    "t5 gated": (tf.T5ForConditionalGeneration, tf.T5Config, GATED),
    "switch": (tf.SwitchTransformersForConditionalGeneration, tf.SwitchTransformersConfig, SWITCH),
    "bart": (tf.BartForConditionalGeneration, tf.BartConfig, BART),
    "clip": (tf.CLIPModel, tf.CLIPConfig, CLIP),
    "mamba": (tf.MambaForCausalLM, tf.MambaConfig, MAMBA),
}
PARTS_OF: dict[str, tuple[str | None, ...]] = {
    **dict.fromkeys(("t5", "t5 gated", "switch", "bart"), ("encoder", "decoder", "cross")), "clip": ("text", "vision"),
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """These models are so small that a second thread only gets in the way."""
    torch.set_num_threads(1)


@pytest.fixture
def build() -> Callable[..., Any]:
    """build("llama", num_key_value_heads=1) -> a tiny random model in evaluation mode."""

    def build(family: str, seed: int = 0, **config: Any) -> Any:
        torch.manual_seed(seed)
        model_class, config_class, values = {**MODELS, **SECOND}[family]
        model = model_class(config_class(**{**values, **config})).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        return model

    return build


@pytest.fixture(params=["gpt2", "llama", "gemma2", "bert"])
def model(request: pytest.FixtureRequest, build: Callable[..., Any]) -> Any:
    return build(request.param)


@pytest.fixture(params=[*MODELS])
def any_model(request: pytest.FixtureRequest, build: Callable[..., Any]) -> Any:
    """A model of every family in the table, and of its variants."""
    return build(request.param)


@pytest.fixture(params=[*MODELS])
def family(request: pytest.FixtureRequest) -> str:
    """The name of each, for `build`."""
    called: str = request.param
    return called


@pytest.fixture(params=[(name, part) for name in SECOND for part in PARTS_OF.get(name, (None,))], ids=str)
def second(request: pytest.FixtureRequest) -> tuple[str, str | None]:
    """A family of the second tier, for `build`, and the part of it that is meant."""
    found: tuple[str, str | None] = request.param
    return found


def reads(name: str, batch: int, n: int, seed: int = 1) -> dict[str, torch.Tensor]:
    """What a family of the second tier reads."""
    g = torch.Generator().manual_seed(seed)
    inputs = {"input_ids": torch.randint(3, VOCAB - 1, (batch, n), generator=g)}
    if "encoder" in PARTS_OF.get(name, ()):
        inputs["decoder_input_ids"] = torch.randint(3, VOCAB, (batch, max(n - 3, 1)), generator=g)
    if name == "clip":
        inputs["input_ids"][:, -1] = VOCAB - 1  # the end of a text, which stands for all of it
        inputs["pixel_values"] = torch.randn(batch, 3, 24, 24, generator=g)
    return inputs


@pytest.fixture
def inputs_of() -> Callable[..., dict[str, torch.Tensor]]:
    """inputs_of("t5", batch, tokens, seed) -> what a model of that family reads."""
    return reads


@pytest.fixture
def families() -> list[str]:
    return [*MODELS]


@pytest.fixture
def ids() -> torch.Tensor:
    """Two texts of ten tokens."""
    return torch.randint(3, VOCAB, (2, 10), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def inputs(any_model: Any, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """What ``any_model`` reads: two texts of ten tokens, or two images of nine patches."""
    if any_model.config.model_type == "vit":
        return {"pixel_values": torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))}
    return {"input_ids": ids}


@pytest.fixture(scope="session")
def demo() -> Any:
    return load("demo")


@pytest.fixture(scope="session")
def stories() -> Any:
    """A real pretrained model: 5 layers, 8 heads that share 4 keys and values."""
    beside = Path(__file__).parents[3] / "shared" / "models" / "stories260K"
    directory = Path(os.environ.get("INTERPWIDGETS_STORIES260K", beside))
    if not (directory / "config.json").is_file():
        pytest.skip(f"no stories260K in {directory}; set INTERPWIDGETS_STORIES260K to the directory that has it")
    return load(directory)
