"""One door to every model, and one sentence where it does not lead anywhere."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
import transformers as tf

from interpwidgets import load
from interpwidgets.models.load import LoadError


@pytest.fixture
def saved(build: Callable[..., Any], demo: Any, tmp_path: Path) -> Path:
    """A directory with a tiny Llama and a tokenizer."""
    build("llama").save_pretrained(tmp_path / "llama")
    demo.tokenizer.save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


# -- directories


@pytest.mark.parametrize("form", ["path", "absolute", "relative", "home"])
def test_a_directory_is_found_however_it_is_written(saved: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved.parent)
    monkeypatch.setenv("HOME", str(saved.parent))
    name = {"path": saved, "absolute": str(saved), "relative": "./llama", "home": "~/llama"}[form]
    model = load(name)
    assert type(model) is tf.LlamaForCausalLM
    assert not model.training
    assert model.dtype == torch.float32
    assert model.tokenizer("Lily")["input_ids"] == load("demo").tokenizer("Lily")["input_ids"]


def test_a_directory_gives_the_weights_that_were_saved(build: Callable[..., Any], saved: Path) -> None:
    ids = torch.arange(3, 13)[None]
    assert torch.equal(load(saved)(ids).logits, build("llama")(ids).logits)


def test_a_directory_without_tokenizer_gives_a_model_without_one(build: Callable[..., Any], tmp_path: Path) -> None:
    build("gpt2").save_pretrained(tmp_path)
    assert load(tmp_path).tokenizer is None


def test_the_output_layer_is_the_one_that_the_configuration_names(build: Callable[..., Any], tmp_path: Path) -> None:
    bert = build("bert")
    bert.save_pretrained(tmp_path / "masked")
    bert.bert.save_pretrained(tmp_path / "bare")
    assert type(load(tmp_path / "masked")) is tf.BertForMaskedLM
    assert type(load(tmp_path / "bare")) is tf.BertModel


def test_weights_come_in_the_type_that_was_asked_for(saved: Path) -> None:
    assert load(saved, dtype="bfloat16").dtype == torch.bfloat16
    assert load("demo", dtype=torch.float64, device="cpu").dtype == torch.float64


def test_a_real_model_is_read_with_its_tokenizer(stories: Any) -> None:
    inputs = stories.tokenizer("Once upon a time, there was a little girl named", return_tensors="pt")
    with torch.no_grad():
        best = stories(**inputs).logits[0, -1].argmax()
    assert stories.tokenizer.decode(best) == "Lily"


# -- names that lead nowhere


def directory(tmp_path: Path, config: str | None, weights: str | None) -> Path:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    if weights is not None:
        (tmp_path / weights).write_bytes(b"not a tensor in sight")
    return tmp_path


GPT2 = json.dumps({"model_type": "gpt2"})
UNKNOWN = json.dumps({"model_type": "mumble", "auto_map": {"AutoConfig": "code.py"}})
DIRECTORIES = {
    "empty": (None, None, "no config.json"),
    "no weights": (GPT2, None, r"no weights \(\*.safetensors\)"),
    "a pickle": (GPT2, "pytorch_model.bin", r"pickle \(pytorch_model.bin\).*only reads \*.safetensors"),
    "an unknown architecture": (
        UNKNOWN,
        "model.safetensors",
        "architecture that transformers .* does not have, 'mumble'; .*code.*is never run",
    ),
    "no architecture": ("{}", "model.safetensors", "does not say what it describes"),
    "a torn configuration": ("{", "model.safetensors", "is not valid JSON"),
    "torn weights": (GPT2, "model.safetensors", "weights in .* could not be read"),
}


@pytest.mark.parametrize("case", DIRECTORIES)
def test_a_directory_that_is_not_a_model_says_what_is_missing(tmp_path: Path, case: str) -> None:
    config, weights, sentence = DIRECTORIES[case]
    refused(directory(tmp_path, config, weights), sentence)


def test_weights_of_another_model_are_refused(build: Callable[..., Any], saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    refused(saved, r"lack \d+ of the tensors that its config.json asks for, such as 'model.layers.3")


NAMES = {
    "a number": (3, r"takes a name or a path, but got 3 \(int\)"),
    "nothing": (None, "but got None"),
    "empty": ("", "needs a name"),
    "blank": ("  ", "needs a name"),
    "no such directory": ("./nowhere", r"no file or directory './nowhere' \(looking from"),
    "no such path": (Path("nowhere"), "no file or directory 'nowhere'"),
    "a sentence": ("the cat sat", "no file or directory 'the cat sat'"),
    "no such file": ("model.gguf", "no file or directory 'model.gguf'"),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_name_that_is_no_name_says_so(case: str) -> None:
    refused(*NAMES[case])


def test_files_are_told_from_directories(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").touch()
    (tmp_path / "x.safetensors").touch()
    refused(tmp_path / "x.gguf", "is not a GGUF file, whatever its name")
    refused(tmp_path / "x.safetensors", "is a file; give the directory")


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"device": "abacus"}, "no device 'abacus'"),
        ({"dtype": "int8"}, "floating-point type .* got 'int8'"),
        ({"dtype": "float12"}, "got 'float12'"),
        ({"dtype": 16}, "got 16"),
    ],
)
def test_devices_and_types_that_do_not_exist_are_refused(how: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LoadError, match=sentence):
        load("demo", **how)


# -- the hub


class Hub(BaseHTTPRequestHandler):
    """Knows no model, but knows what to say of those called nobody/* and gated/*."""

    def do_GET(self) -> None:
        reason = "GatedRepo" if "gated/" in self.path else "RepoNotFound"
        self.send_response(403 if reason == "GatedRepo" else 401)
        self.send_header("X-Error-Code", reason)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], None]:
    """reach(port): from now on the hub is there, and nothing has been downloaded."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return lambda port: monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{port}")


@pytest.fixture
def hub(reach: Callable[[int], None]) -> Iterator[None]:
    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        reach(server.server_port)
        yield
        server.shutdown()


@pytest.fixture
def silent_hub(reach: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A network that takes the question and never answers."""
    monkeypatch.setattr("interpwidgets.models.load._PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        reach(server.getsockname()[1])
        yield


@pytest.mark.usefixtures("hub")
def test_a_model_that_the_hub_does_not_know_is_said() -> None:
    refused("nobody/nothing", "no model 'nobody/nothing': not built in, not a directory here, not .* on the hub")


@pytest.mark.usefixtures("hub")
def test_a_model_that_asks_for_consent_is_said() -> None:
    refused("gated/model", "asks for consent first")


@pytest.mark.usefixtures("hub")
def test_a_near_miss_of_a_built_in_name_is_guessed() -> None:
    refused("dmeo", "did you mean 'demo'")


@pytest.mark.usefixtures("silent_hub")
def test_a_network_that_does_not_answer_is_said_soon() -> None:
    refused("gpt2", "'gpt2' is not built in, .* not downloaded yet, and the Hugging Face hub cannot be reached")


@pytest.mark.usefixtures("silent_hub")
def test_what_was_downloaded_before_needs_no_network(saved: Path, tmp_path: Path) -> None:
    home, commit = tmp_path / "cache" / "models--some--llama", "0" * 40
    (home / "snapshots").mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    saved.rename(home / "snapshots" / commit)
    model = load("some/llama")
    assert type(model) is tf.LlamaForCausalLM
    assert model.name_or_path == "some/llama"


def refused(name: Any, sentence: str) -> None:
    """load(name) fails with this sentence, on one line, with no other error in front of it."""
    with pytest.raises(LoadError, match=sentence) as failure:
        load(name)
    error = failure.value
    assert "\n" not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
