"""Attention as a model of the library reports it: encoder-decoders with their three kinds, and images.

from interpwidgets.models.reported import encoder_decoder_attention, image_attention

seen = encoder_decoder_attention(t5, "The house is small.", "Das Haus ist klein.", tokenizer)
seen["cross"].patterns[2][0]     # layer 2, head 0: [query, key], from tokens of the target to tokens of the source
seen["encoder"].tokens           # ["The", " house", ...]

looked = image_attention(vit, image)      # [height, width, 3]
looked.tokens, looked.grid       # ["[CLS]", "0,0", "0,1", ...], (14, 14)

`interpwidgets.models.attention` reads a model's attention through taps, from inside. The functions here ask the model
for it (``output_attentions``, with its plain attention), which every encoder-decoder and every vision transformer of
the library answers, whatever its parts are called; a vision transformer whose family has a row is tapped.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from interpwidgets.models.anatomy import UnknownModelError, anatomy
from interpwidgets.models.attention import PromptError, expect_no_dropout, model_name, text_inputs
from interpwidgets.models.taps import Tap
from interpwidgets.models.tokens import token_strings

PICTURE = 224  # pixels of a picture per side at most
ANSWER = 32  # tokens of the model's own answer at most, where no target is given


@dataclass(frozen=True)
class Reported:
    """One kind of attention of an encoder-decoder; layers need not have as many heads as those of another kind."""

    tokens: list[str]  # of the queries
    key_tokens: list[str] | None  # where the keys are another text than the queries
    patterns: Sequence[Float[Tensor, "head query key"]]  # one for each layer, float32, on the processor
    name: str


@dataclass(frozen=True)
class ImageAttention:
    """The attention of a vision transformer on one image."""

    tokens: list[str]  # "[CLS]" and its like, then "row,column" of each patch
    patterns: Sequence[Float[Tensor, "head query key"]]
    grid: tuple[int, int]  # rows and columns of patches
    picture: NDArray[np.uint8]  # [height, width, 3]: what the model looked at, small
    name: str


def is_encoder_decoder(model: Any) -> bool:
    """Whether the model reads one text and writes another."""
    return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))


def encoder_decoder_attention(
    model: Any, source: str, target: str | None = None, tokenizer: Any = None
) -> dict[str, Reported]:
    """The patterns of "encoder", "decoder" and "cross" attention while ``model`` reads ``source`` and says ``target``.

    The decoder sees the target as in training, shifted to the right behind its start token (teacher forcing).

    Arguments:
        source: one text, at most the model's context long.
        target: what the decoder is to say; by default what the model itself answers, always taking the likeliest
            token, at most 32 of them.
        tokenizer: the one attached as ``model.tokenizer`` unless given.

    Raises `PromptError` for a text that cannot be run, and for a model that reports no attention or is in training
    mode with dropout.
    """
    tokenizer = tokenizer if tokenizer is not None else getattr(model, "tokenizer", None)
    expect_no_dropout(model)
    device, longest = next(model.parameters()).device, getattr(model.config, "max_position_embeddings", None)
    inputs = text_inputs(source, tokenizer, longest, device)
    with reporting(model), torch.no_grad():
        said = _answer(model, inputs, longest) if target is None else _shifted(model, target, tokenizer, longest)
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs.get("attention_mask"),
            decoder_input_ids=said,
            output_attentions=True,
            use_cache=False,
        )
    ours = token_strings(tokenizer, inputs["input_ids"][0].tolist())
    theirs, name = token_strings(tokenizer, said[0].tolist()), model_name(model)
    return {
        "encoder": Reported(ours, None, _layers(outputs, "encoder_attentions", model), name),
        "decoder": Reported(theirs, None, _layers(outputs, "decoder_attentions", model), name),
        "cross": Reported(theirs, ours, _layers(outputs, "cross_attentions", model), name),
    }


def image_attention(model: Any, image: NDArray[Any], processor: Any = None) -> ImageAttention:
    """The patterns of a vision transformer that cuts its image into square patches, row by row.

    Arguments:
        image: [height, width, 3], uint8; or pixel values as the model wants them, [1, channel, height, width], float32.
        processor: an image processor of the library; by default the image is resized to the model's size and its
            numbers go from -1 to 1, which is what ViT itself was trained with.

    Raises `PromptError` for a model that cuts no patches, that has no token for each of them, that wants an image of
    another size, that reports no attention, or that is in training mode with dropout.
    """
    size = getattr(getattr(model, "config", None), "patch_size", None)
    if size is None:
        tower = getattr(model, "vision_model", None)
        hint = "pass a vision transformer" if tower is None else "take the part that does, model.vision_model"
        raise PromptError(f"{type(model).__name__} cuts its input into no patches; {hint}.")
    expect_no_dropout(model)
    high, wide = (size, size) if isinstance(size, int) else size
    pixels, mean, std = _pixel_values(model, image, processor)
    patterns = _looked(model, pixels)
    rows, columns = pixels.shape[-2] // high, pixels.shape[-1] // wide
    before = patterns[0].shape[-1] - rows * columns
    if before < 0:
        raise PromptError(
            f"{type(model).__name__} has {patterns[0].shape[-1]} tokens for {rows} x {columns} patches; "
            "only models that keep a token for each patch can be shown on their image."
        )
    special = ["[CLS]", *(f"[REG {i}]" for i in range(1, before))][:before]
    if before == 2 and "deit" in str(getattr(model.config, "model_type", "")):
        special[1] = "[DIST]"  # its second token learns from a teacher
    patches = [f"{row},{column}" for row in range(rows) for column in range(columns)]
    picture = _picture(pixels[0, :, : rows * high, : columns * wide], mean, std)
    return ImageAttention(special + patches, patterns, (rows, columns), picture, model_name(model))


def _looked(model: Any, pixels: Float[Tensor, "1 channel height width"]) -> Sequence[Float[Tensor, "head query key"]]:
    """The patterns while the model looks: tapped in families that have a row, else as it reports them."""
    weight = next(model.parameters())
    seen = pixels.to(weight.device, weight.dtype)
    try:
        parts = anatomy(model)
    except UnknownModelError:
        parts = None
    try:
        with torch.no_grad():
            if parts is None:
                with reporting(model):
                    return _layers(model(pixel_values=seen, output_attentions=True), "attentions", model)
            with Tap(model, "pattern") as tap:
                model(pixel_values=seen)
            return [tap["pattern", layer][0].float().cpu() for layer in range(parts.n_layers)]
    except (ValueError, RuntimeError, TypeError) as error:
        raise PromptError(
            f"{type(model).__name__} cannot look at {list(pixels.shape)} pixel values: {str(error).strip()[:200]}"
        ) from error


def _pixel_values(
    model: Any, image: NDArray[Any], processor: Any
) -> tuple[Float[Tensor, "1 channel height width"], Any, Any]:
    """What the model looks at, and with which mean and deviation it was normalised, as far as that is known."""
    if image.ndim == 4:
        return torch.from_numpy(image), None, None
    if processor is not None:
        pixels = processor(images=image, return_tensors="pt")["pixel_values"]
        return pixels, getattr(processor, "image_mean", None), getattr(processor, "image_std", None)
    wanted = getattr(model.config, "image_size", 224)
    square = (wanted, wanted) if isinstance(wanted, int) else tuple(wanted)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
    channels = getattr(model.config, "num_channels", 3)
    pixels = pixels.mean(1, keepdim=True).expand(-1, channels, -1, -1) if channels != 3 else pixels
    return functional.interpolate(pixels, square, mode="bilinear", antialias=True) * 2 - 1, [0.5], [0.5]


def _picture(pixels: Float[Tensor, "channel height width"], mean: Any, std: Any) -> NDArray[np.uint8]:
    """What the model looked at as people see it, at most 224 pixels wide and high."""
    if mean is None or std is None:
        low, high = pixels.min(), pixels.max()
        shown = (pixels - low) / (high - low).clamp_min(1e-12)
    else:
        shown = pixels * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    shown = shown[:3] if len(shown) >= 3 else shown[:1].expand(3, -1, -1)
    shrink = min(1.0, PICTURE / max(shown.shape[1:]))
    smaller = [max(1, round(n * shrink)) for n in shown.shape[1:]]
    shown = functional.interpolate(shown[None].float(), smaller, mode="bilinear", antialias=True)[0]
    return (shown.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()


@contextmanager
def reporting(model: nn.Module) -> Iterator[None]:
    """While this holds the model computes its plain attention, the only one that can be reported."""
    found = (getattr(module, "config", None) for module in model.modules())
    configs: list[Any] = list({id(config): config for config in found if config is not None}.values())
    own = [getattr(config, "_attn_implementation", None) for config in configs]
    try:
        for config in configs:
            config._attn_implementation = "eager"
        yield
    finally:
        for config, name in zip(configs, own, strict=True):
            config._attn_implementation = name


def _answer(model: Any, inputs: dict[str, Tensor], longest: int | None) -> Int[Tensor, "1 token"]:
    """What the model says, from its start token on, without the token that ends it."""
    if not hasattr(model, "generate"):
        raise PromptError(f"{type(model).__name__} cannot answer by itself; pass what it is to say as target=....")
    most = ANSWER if longest is None else min(ANSWER, longest - 1)
    options = {"max_new_tokens": most, "do_sample": False, "num_beams": 1, "use_cache": False}
    said: Tensor = model.generate(**inputs, **options)
    return _unended(model, said)


def _shifted(model: Any, target: str, tokenizer: Any, longest: int | None) -> Int[Tensor, "1 token"]:
    """The target behind the decoder's start token, without the token that ends it."""
    device = next(model.parameters()).device
    spoken = getattr(tokenizer, "_switch_to_target_mode", None)
    if spoken:  # a few families write with other pieces than they read
        spoken()
    try:
        ids = _unended(model, text_inputs(target, tokenizer, longest, device)["input_ids"])
    finally:
        if spoken:
            tokenizer._switch_to_input_mode()
    start = getattr(model.config, "decoder_start_token_id", None)
    if start is None:
        start = getattr(getattr(model, "generation_config", None), "decoder_start_token_id", None)
    if start is None:
        raise PromptError("this model does not say with which token its decoder starts; set decoder_start_token_id.")
    return torch.cat([torch.full((1, 1), int(start), device=device), ids], dim=1)[:, :longest]


def _unended(model: Any, ids: Int[Tensor, "1 token"]) -> Int[Tensor, "1 token"]:
    end = getattr(model.config, "eos_token_id", None)
    ends = end if isinstance(end, list) else [end]
    return ids[:, :-1] if ids.shape[1] > 1 and int(ids[0, -1]) in ends else ids


def _layers(outputs: Any, kind: str, model: Any) -> list[Float[Tensor, "head query key"]]:
    found = [layer for layer in getattr(outputs, kind, None) or () if layer is not None]
    if not found:
        raise PromptError(f"{type(model).__name__} reports no {kind.replace('_', ' ')}; its patterns cannot be shown.")
    return [layer[0].float().cpu() for layer in found]
