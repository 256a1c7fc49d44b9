"""Tiny models, the same for us and for every library, and the answers of the libraries about them.

The libraries run in environments of their own (`build.py`), one process each, which answers all questions at once
(`ask_*.py`). A library without an environment is skipped.
"""

import importlib.util
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

HERE = Path(__file__).parent
VOCAB = 61
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GPT2 = {"vocab_size": VOCAB, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 32, **IDS}
ROPE = {
    "vocab_size": VOCAB, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 12, "max_position_embeddings": 32, **IDS,
}  # fmt: skip
GEMMA2 = {**ROPE, "head_dim": 16, "sliding_window": 5, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 16}
FAMILIES: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: tf.GPT2LMHeadModel(tf.GPT2Config(**GPT2)),
    "llama": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**ROPE)),
    "gemma2": lambda: tf.Gemma2ForCausalLM(tf.Gemma2Config(**GEMMA2)),
}
TOLERANCE = 1e-5
ALONE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
    "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled", "PYTHONUTF8": "1",
}  # fmt: skip

Agree = Callable[..., None]
Ask = Callable[[str], dict[str, Tensor]]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def built() -> dict[str, Any]:
    """A random model of each family, with biases and norms that are not what initialisation makes them."""
    torch.manual_seed(0)
    built = {family: make().eval() for family, make in FAMILIES.items()}
    with torch.no_grad():
        for model in built.values():
            for weight in model.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    return built


@pytest.fixture
def model(built: dict[str, Any], family: str) -> Any:
    """The model of the family that a test is parametrised by."""
    return built[family]


@pytest.fixture
def theirs(request: pytest.FixtureRequest, ask: Ask, family: str) -> dict[str, Tensor]:
    """What the library of the test module answers about that family: {"question": tensor}."""
    said = ask(request.module.LIBRARY)
    return {name.removeprefix(f"{family}/"): value for name, value in said.items() if name.startswith(f"{family}/")}


@pytest.fixture(scope="session")
def inputs() -> dict[str, Tensor]:
    """Token ids: texts, a clean and a corrupt text, one that repeats itself, two answers; weights of a tuned lens."""
    draw = torch.Generator().manual_seed(1)
    words = torch.randint(3, VOCAB, (3, 10), generator=draw)
    clean, corrupt = words[2:], words[2:].clone()
    corrupt[0, [2, 5]] = torch.tensor([7, 11])
    block = torch.randperm(VOCAB - 3, generator=draw)[None, :6] + 3
    repeated = torch.cat([torch.ones(1, 1, dtype=torch.long), block, block], 1)
    return {
        "tokens": words[:2].clone(), "clean": clean.clone(), "corrupt": corrupt, "repeated": repeated,
        "right": torch.tensor(20), "wrong": torch.tensor(30),
        "translator_weight": 0.1 * torch.randn(3, 48, 48, generator=draw),
        "translator_bias": 0.1 * torch.randn(3, 48, generator=draw),
    }  # fmt: skip


@pytest.fixture(scope="session")
def folder(built: dict[str, Any], inputs: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models and the inputs on disk, where the libraries find them."""
    folder = tmp_path_factory.mktemp("oracles")
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"bos_token": "w1", "eos_token": "w2", "pad_token": "w0", "unk_token": "w0"}
    for family, model in built.items():
        model.save_pretrained(folder / family)
        tf.PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder / family)
    save_file(inputs, folder / "inputs.safetensors")
    return folder


@pytest.fixture(scope="session")
def ask(request: pytest.FixtureRequest, folder: Path) -> Iterator[Ask]:
    """ask("captum") -> what that library answers, {"family/question": tensor}; skips where it has no environment.

    All libraries that some test of this run will ask begin to answer at once, side by side.
    """
    build, answers = _build(), {}
    wanted = dict.fromkeys(item.module.LIBRARY for item in request.session.items if item.path.parent == HERE)
    running = {library: _start(build.python(library), library, folder) for library in wanted}

    def ask(library: str) -> dict[str, Tensor]:
        if running[library] is None:
            pytest.skip(f"{library} has no environment here: python tests/oracles/build.py {library}")
        if library not in answers:
            failed = running[library].wait(timeout=600)
            assert not failed, f"{library} gave no answers:\n{(folder / f'{library}.log').read_text()[-3000:]}"
            answers[library] = load_file(folder / f"{library}.safetensors")
        return answers[library]

    yield ask
    for process in filter(None, running.values()):
        process.kill()
        process.wait()


def _start(python: Path, library: str, folder: Path) -> Any:
    """The process that writes down the answers of a library; None where there is no such environment."""
    if not python.is_file():
        return None
    script = [python, HERE / f"ask_{library}.py", folder]
    with (folder / f"{library}.log").open("w") as log:
        return subprocess.Popen(script, stdout=log, stderr=log, env=ALONE)


def _build() -> ModuleType:
    """`build.py`, which knows where the environments are."""
    spec = importlib.util.spec_from_file_location("oracles_build", HERE / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- the table of how far we are apart


@pytest.fixture
def agree(request: pytest.FixtureRequest) -> Agree:
    """agree("patching: heads", ours, theirs): equal but for float32, and noted for the table at the end of the run."""

    def agree(method: str, ours: Tensor, theirs: Tensor, tolerance: float = TOLERANCE) -> None:
        assert ours.shape == theirs.shape, f"{method}: shapes {list(ours.shape)} and {list(theirs.shape)}"
        ours, theirs = ours.detach(), theirs.detach()
        error, size = (x.double().abs().max().item() for x in (ours - theirs, theirs))
        library = request.module.LIBRARY
        family = request.getfixturevalue("family") if "family" in request.fixturenames else ""
        request.node.user_properties.append(("agreement", (method, library, family, error, size)))
        assert error <= tolerance, f"{method}: {error:.2g} apart from {library}, values up to {size:.2g}"

    return agree


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A table of the largest error for each method and library; -p no:terminal does without."""
    rows: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, value in report.user_properties:
            if name == "agreement" and report.when == "call":
                method, library, *found = value
                rows.setdefault((method, library), []).append(tuple(found))
    if not rows:
        return
    terminalreporter.section("agreement: largest absolute difference, float32")
    terminalreporter.line("| method | library | families | largest error | values up to |")
    terminalreporter.line("|---|---|---|---|---|")
    for (method, library), found in sorted(rows.items()):
        families = ", ".join(dict.fromkeys(family for family, _, _ in found))
        error, size = (max(row[i] for row in found) for i in (1, 2))
        terminalreporter.line(f"| {method} | {library} | {families} | {error:.1e} | {size:.2g} |")
