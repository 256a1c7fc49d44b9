"""One door to every model: those that come with the package, a directory, a name on the Hugging Face hub.

    from interpwidgets import load

    model = load("demo")               # built on the spot, in about a second, without a network
    model = load("attn2l")             # trained, and shipped with the package (interpwidgets.zoo says how)
    model = load("attn2l", checkpoint=600)     # the same in the middle of its training; checkpoints("attn2l")
    model = load("./my-model")         # a directory with config.json and *.safetensors
    model = load("gpt2")               # downloaded once, from then on read from the cache
    model = load("./my-model.gguf")    # one file, its weights unpacked (interpwidgets.models.gguf)
    model.tokenizer("The cat sat")

What comes back is the library's own model in evaluation mode, with its tokenizer attached as ``model.tokenizer``.
Only safetensors and GGUF weights are read, and no code that comes with a model is ever run.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast
from warnings import warn

import torch
import transformers
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from interpwidgets._errors import Told
from interpwidgets.models import attention_only, modular, shipped, toy, words  # noqa: F401, the library learns them
from interpwidgets.models.gguf import GGUFError, open_gguf, tokenizer_in
from interpwidgets.models.tiny import demo

BUILT_IN = ("demo", *shipped.SHIPPED)

_HUB_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]  # never pickles, never code
_HUB_EXTRAS = ["*/*", "consolidated*"]  # other formats of the same weights
_PATIENCE = 5.0  # seconds
_WORTH_A_BAR = 100_000_000  # bytes of weights
_FILES = (".gguf", ".safetensors", ".json")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "*.model")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_OPENERS = (  # how the name of an architecture ends, and the class that opens it with its output layer
    (("ForCausalLM", "LMHeadModel"), AutoModelForCausalLM),
    (("ForMaskedLM", "ForPreTraining"), AutoModelForMaskedLM),
    (("ForSequenceClassification",), AutoModelForSequenceClassification),
)


class LoadError(Told, ValueError):
    """A model that cannot be loaded; the message says what was expected, what came and what to do."""


def load(
    name: str | Path,
    *,
    checkpoint: int | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> PreTrainedModel:
    """Load a model by the name of a built-in one ("attn2l"), a directory, a GGUF file, or a name on the hub ("gpt2").

    Arguments:
        name: names of built-in models come first, then directories and files (absolute, relative, ``~``), then the
            Hugging Face hub.
        checkpoint: a step of training, one of ``checkpoints(name)``; the finished model unless given.
        device: where the weights go, such as ``"cuda"``; the processor unless told otherwise.
        dtype: the type of the weights, such as ``"bfloat16"``; ``torch.float32`` unless told otherwise.

    Returns the library's own `PreTrainedModel` in evaluation mode, with its language-modelling head where it has one
    and with ``model.tokenizer``, which is None where a directory has no tokenizer files.

    Raises `LoadError`, in one sentence, for a name that leads nowhere, a directory or file that is not a (whole) model,
    an architecture that the installed transformers does not know, pickled weights, or a checkpoint, device or dtype
    that is not there.
    """
    if not isinstance(name, str | Path):
        raise LoadError(f"load() takes a name or a path, but got {name!r} ({type(name).__name__}).")
    if not str(name).strip():
        raise LoadError(
            f"load() needs a name: a built-in model ({', '.join(BUILT_IN)}), a directory or a name on the hub."
        )
    place, kind = _device(device), _dtype(dtype)
    if checkpoint is not None:
        _check_checkpoint(name, checkpoint)
    if name == "demo":
        model: Any = demo().to(kind)  # type: ignore[arg-type]
    elif name in shipped.SHIPPED:
        _check_files(str(name), series=checkpoint is not None)
        model = _from_directory(shipped.WEIGHTS / name, str(name), kind)
    else:
        path = Path(name).expanduser()
        if path.suffix == ".gguf" and path.is_file():
            model = _from_gguf(path, str(name), kind)
        else:
            model = _from_directory(path if path.exists() else _from_hub(name), str(name), kind)
    if checkpoint is not None:
        _go_back(model, name, checkpoint)
    return cast(PreTrainedModel, model.to(place))


def checkpoints(name: str | Path) -> list[int]:
    """The steps of training at which the model ``name`` was kept, in order; the last is the finished model.

    ``checkpoints("attn2l")`` gives what ``load("attn2l", checkpoint=...)`` takes; [] for a model without a series.
    ``name`` is that of a built-in model, or a directory that ``interpwidgets zoo train`` has written.
    Raises `LoadError` for any other.
    """
    folder = _folder(name)
    try:
        return [] if folder is None else shipped.steps_in(folder)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        raise LoadError(f"{folder}/{shipped.SERIES} is damaged, or is not a series of steps of training.") from None


def _folder(name: str | Path) -> Path | None:
    """Where the files of a model on this disk are; None for the one that has none."""
    if name == "demo":
        return None
    if name in shipped.SHIPPED:
        return shipped.WEIGHTS / name
    if (directory := Path(name).expanduser()).is_dir():
        return directory
    guess = get_close_matches(str(name), BUILT_IN, n=1)
    hint = f"did you mean {guess[0]!r}?" if guess else f"built in are {', '.join(BUILT_IN)}."
    raise LoadError(f"there is no built-in model {str(name)!r}; {hint}")


def _check_checkpoint(name: str | Path, checkpoint: object) -> None:
    steps = checkpoints(name)
    if not steps:
        series = [each for each in BUILT_IN if checkpoints(each)]
        raise LoadError(f"no steps of the training of {str(name)!r} were kept; they were for {', '.join(series)}.")
    if checkpoint not in steps:
        raise LoadError(
            f"{str(name)!r} was kept at the steps {', '.join(map(str, steps))}; there is none at {checkpoint!r}."
        )


def _check_files(name: str, series: bool) -> None:
    if damage := shipped.damage(name, series):
        raise LoadError(f"{damage}; install interpwidgets again to get {name!r} back.")


def _go_back(model: Any, name: str | Path, step: int) -> None:
    """Give ``model`` the weights that it had at ``step``."""
    weights = shipped.weights_at(cast(Path, _folder(name)), step)
    if weights is not None:
        model.load_state_dict(weights, strict=False)  # a weight that two modules share has one name in the series
        model.name_or_path = f"{name}@{step}"


# -- where from


def _from_hub(name: str | Path) -> Path:
    """The local copy of a model on the hub, downloaded if it is not in the cache."""
    if isinstance(name, Path) or not _HUB_NAME.fullmatch(name) or name.endswith(_FILES):
        raise LoadError(f"there is no file or directory {str(name)!r} (looking from {Path.cwd()}).")
    guess = get_close_matches(name, BUILT_IN, n=1)
    hint = f"; did you mean {guess[0]!r}?" if guess else "."
    try:
        return Path(snapshot_download(
            name, allow_patterns=_HUB_FILES, ignore_patterns=_HUB_EXTRAS, local_files_only=not _on_line(name)
        ))  # fmt: skip
    except GatedRepoError:
        message = f"{name!r} asks for consent first: accept its terms on the hub, then run `hf auth login`."
    except RepositoryNotFoundError:
        message = f"there is no model {name!r}: not built in, not a directory here, not (publicly) on the hub{hint}"
    except LocalEntryNotFoundError:
        message = (
            f"{name!r} is not built in, not a directory here and not downloaded yet, "
            f"and the Hugging Face hub cannot be reached{hint}"
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        message = f"{name!r} could not be fetched from the hub: {_first_line(error)}"
    raise LoadError(message)


def _on_line(name: str) -> bool:
    """Whether the hub answers within seconds. Asked first, because a download waits minutes for a silent network."""
    try:
        HfApi().model_info(name, timeout=_PATIENCE)
    except RepositoryNotFoundError:  # an answer, and gated models are among these
        raise
    except Exception:  # whatever the network throws: the cache may do without
        return False
    return True


def _from_directory(directory: Path, name: str, dtype: torch.dtype) -> PreTrainedModel:
    _check(directory)
    config = _config(directory)
    try:
        with _progress_bar_for(directory.glob("*.safetensors")):
            model, report = _class_for(config).from_pretrained(
                directory, config=config, dtype=dtype, use_safetensors=True, local_files_only=True,
                output_loading_info=True,
            )  # fmt: skip
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise LoadError(f"the weights in {directory} could not be read: {_first_line(error)}") from None
    missing = [key for key in sorted(report["missing_keys"]) if "pooler" not in key]
    if missing:
        raise LoadError(
            f"the weights in {directory} lack {len(missing)} of the tensors that its config.json asks for, "
            f"such as {missing[0]!r}."
        )
    model.name_or_path = name
    model.tokenizer = _tokenizer_of(directory, _tokenizer)
    loaded: PreTrainedModel = model.eval()
    return loaded


def _from_gguf(file: Path, name: str, dtype: torch.dtype) -> PreTrainedModel:
    try:
        with _progress_bar_for([file]):
            model: Any = open_gguf(file, dtype)
    except GGUFError as error:
        raise LoadError(str(error)) from None
    model.name_or_path = name
    model.tokenizer = _tokenizer_of(file, tokenizer_in)
    loaded: PreTrainedModel = model.eval()
    return loaded


@contextmanager
def _progress_bar_for(weights: Iterable[Path]) -> Iterator[None]:
    """The library draws a progress bar while it reads weights; for models that are there at once, it does not."""
    small = sum(file.stat().st_size for file in weights) < _WORTH_A_BAR
    if not (small and logging.is_progress_bar_enabled()):
        yield
        return
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _check(directory: Path) -> None:
    """Everything that can be seen from outside: is this a directory that holds a model?"""
    if not directory.is_dir():
        raise LoadError(f"{directory} is a file; give the directory that holds config.json and the weights.")
    if not (directory / "config.json").is_file():
        packed = next(iter(sorted(directory.glob("*.gguf"))), None)
        hint = f"; give the GGUF file in it, {str(packed)!r}." if packed else ", so it is not the directory of a model."
        raise LoadError(f"{directory} has no config.json{hint}")
    if any(directory.glob("*.safetensors")):
        return
    pickles = [file.name for pattern in _PICKLES for file in directory.glob(pattern)]
    if pickles:
        raise LoadError(
            f"{directory} has its weights as a pickle ({pickles[0]}), which can run any code when opened; "
            "load() only reads *.safetensors."
        )
    raise LoadError(f"{directory} has a config.json but no weights (*.safetensors).")


def _config(directory: Path) -> PreTrainedConfig:
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadError(f"{directory / 'config.json'} {_what_is_wrong(directory / 'config.json', error)}") from None
    return config


def _what_is_wrong(config: Path, error: Exception) -> str:
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError):
        return "is not valid JSON with the fields of a model."
    if kind is None:
        return "does not say what it describes (model_type)."
    if kind in CONFIG_MAPPING:
        return f"could not be read: {_first_line(error)}"
    return (
        f"describes an architecture that transformers {transformers.__version__} does not have, {kind!r}; "
        "a newer release may, and code that comes with a model is never run."
    )


def _class_for(config: PreTrainedConfig) -> Any:
    """The class that opens this configuration, with the output layer that its name promises."""
    architecture = next(iter(config.architectures or []), "")
    for endings, opener in _OPENERS:
        if architecture.endswith(endings) and type(config) in opener._model_mapping:
            return opener
    return AutoModel


def _tokenizer(directory: Path) -> PreTrainedTokenizerBase | None:
    if not any(True for pattern in _TOKENIZER_FILES for _ in directory.glob(pattern)):
        return None
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        directory, trust_remote_code=False, local_files_only=True
    )
    return tokenizer


def _tokenizer_of(
    place: Path, read: Callable[[Path], PreTrainedTokenizerBase | None]
) -> PreTrainedTokenizerBase | None:
    """The tokenizer that ``read`` finds; a model without one is of use, so an error there only warns."""
    try:
        return read(place)
    except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError) as error:
        warn(
            f"the tokenizer in {place} could not be read, so model.tokenizer is None: {_first_line(error)}",
            stacklevel=4,
        )
        return None


# -- how


def _device(device: str | torch.device | None) -> torch.device:
    try:
        place = torch.device(device or "cpu")
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        raise LoadError(f"there is no device {str(device)!r} here; leave it out for the processor.") from None
    return place


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    kind = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype or torch.float32
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
        raise LoadError(f"dtype must be a floating-point type such as 'float32' or 'bfloat16', but got {dtype!r}.")
    return kind


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
