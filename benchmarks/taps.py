"""What a tap costs, and how exact it is in every family.

    python benchmarks/taps.py               # about five minutes: the overhead of open and of closed taps
    python benchmarks/taps.py --table       # about a minute: the largest error at every site of every family

Overhead: a model in the shape of GPT-2 small, of SmolLM-135M (a Llama with grouped queries) or of a small GPT-J (whose
attention is watched, because it asks no registry), with random weights, reads T tokens on one thread. Runs with four
sites of every layer kept (resid_pre, z, attn_out, mlp_out; no pattern), runs after a tap was closed, and plain runs
take turns; CPU seconds of the process are divided by those of the plain run of the same turn, and the middle of all
turns is printed. The limit is 1.05.

Table: tiny models of all families with random sizes and weights; for each site the largest absolute error of
`interpwidgets.models.identities` in float32. The numbers that flow are of the order of one to ten.
"""

import argparse
import importlib.util
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as tf

from interpwidgets import Tap
from interpwidgets.models.families import EXPERT_SITES, SITES
from interpwidgets.models.identities import identities

LIMIT = 1.05
FOUR = ["resid_pre", "z", "attn_out", "mlp_out"]
COLUMNS = ("embed", *SITES[:6], "result", *SITES[6:], "final_norm", "logits")
SHAPES: dict[str, Callable[[], Any]] = {
    "GPT-2 small": lambda: tf.GPT2LMHeadModel(tf.GPT2Config()),
    "SmolLM-135M": lambda: tf.LlamaForCausalLM(
        tf.LlamaConfig(
            vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
            num_key_value_heads=3,
        )
    ),
    "GPT-J, 12 layers of 768": lambda: tf.GPTJForCausalLM(
        tf.GPTJConfig(n_embd=768, n_layer=12, n_head=12, rotary_dim=32)
    ),
}  # fmt: skip


def seconds(run: Callable[[], Any]) -> float:
    begin = time.process_time()
    run()
    return time.process_time() - begin


def overhead(model: Any, n_tokens: int, turns: int) -> tuple[float, float, float]:
    """Seconds of a plain run, and the ratios of a run with an open tap and of one after a closed tap."""
    ids = torch.randint(0, 1000, (1, n_tokens), generator=torch.Generator().manual_seed(0))
    plain_run, tapped = (lambda: model(ids, use_cache=False)), Tap(model, FOUR)

    def with_tap() -> None:
        with tapped:
            plain_run()

    times: dict[str, list[float]] = {"plain": [], "open": [], "closed": []}
    runs = {"plain": plain_run, "open": with_tap, "closed": plain_run}
    for run in runs.values():
        run()
    for turn in range(turns):
        for name in random.Random(turn).sample([*runs], k=3):
            times[name].append(seconds(runs[name]))
    ratios = ([a / b for a, b in zip(times[name], times["plain"], strict=True)] for name in ("open", "closed"))
    return statistics.median(times["plain"]), *(statistics.median(each) for each in ratios)


def print_overhead(n_tokens: list[int], turns: int) -> None:
    print(f"{'':<26}{'T':>6}{'plain':>12}{'four sites':>12}{'closed':>10}")
    for name, build in SHAPES.items():
        torch.manual_seed(0)
        model = build().eval()
        for n in n_tokens:
            plain, opened, closed = overhead(model, n, turns)
            print(f"{name:<26}{n:>6}{plain * 1e3:>9.0f} ms{opened:>12.3f}{closed:>10.3f}", flush=True)
    print(f"\nlimit {LIMIT}")


def print_table(seeds: int) -> None:
    models = _models()
    print(f"| family | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}")
    for family in models.MODELS:
        worst: dict[str, float] = {}
        for seed in range(seeds):
            for site, error in _errors(models, family, seed).items():
                worst[site] = max(worst.get(site, 0.0), error)
        cells = [f"{worst[site]:.0e}" if site in worst else "–" for site in COLUMNS]
        print(f"| {family} | {' | '.join(cell.replace('e-0', 'e-') for cell in cells)} |", flush=True)
    print_second_tier(models, seeds)


def print_second_tier(models: Any, seeds: int) -> None:
    """The families that have other sites, each with its parts: a row for each, its own sites in it."""
    columns = ("embed", *SITES[:6], "result", *SITES[6:8], *EXPERT_SITES, *SITES[8:], "final_norm", "logits")
    print(f"\n| family | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for family in models.SECOND:
        for part in models.PARTS_OF.get(family, (None,)):
            worst: dict[str, float] = {}
            for seed in range(seeds):
                model = _model(*models.SECOND[family], seed)
                inputs = models.reads(family, 1 + seed % 3, 1 + 5 * seed % 23, seed)
                for site, error in identities(model, part=part, **inputs).items():
                    worst[site] = max(worst.get(site, 0.0), error)
            if family == "mamba":
                columns = tuple(worst)
                print(f"\n| family | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
            cells = [f"{worst[site]:.0e}" if site in worst else "–" for site in columns]
            cells = [cell.replace("e-0", "e-") for cell in cells]
            print(f"| {family}{f', {part}' if part else ''} | {' | '.join(cells)} |", flush=True)


def _errors(models: Any, family: str, seed: int) -> dict[str, float]:
    """Errors of one model with weights and texts of this seed."""
    model = _model(*models.MODELS[family], seed)
    if family == "vit":
        return identities(model, pixel_values=torch.randn(1 + seed % 3, 3, 24, 24))
    return identities(model, input_ids=torch.randint(3, models.VOCAB, (1 + seed % 3, 1 + 5 * seed % 23)))


def _model(model_class: Any, config_class: Any, values: dict[str, Any], seed: int) -> Any:
    torch.manual_seed(seed)
    model = model_class(config_class(**values)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def _models() -> Any:
    """The tiny models that the tests of taps are about."""
    path = Path(__file__).parents[1] / "tests" / "models" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tiny_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="errors of every site in every family")
    parser.add_argument("--seeds", type=int, default=20, help="models of each family in the table")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 256])
    options = parser.parse_args()
    torch.set_num_threads(1)
    tf.logging.set_verbosity_error()
    with torch.no_grad():
        print_table(options.seeds) if options.table else print_overhead(options.tokens, options.turns)


if __name__ == "__main__":
    main()
