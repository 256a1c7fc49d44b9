"""A number is compared as a number, whatever library made it; one that is none says so in a sentence."""

from typing import Any

import numpy as np
import pytest
import torch

from interpwidgets.course import check, registry
from interpwidgets.course.verdict import Verdict

COUNTED = registry.exercise("01.9")


def judged(kind: Any) -> Verdict:
    """The verdict on an answer whose right numbers are made into something else."""
    return check.judge(COUNTED, lambda vocab, context, d_model, d_mlp, n_layers: kind(
        COUNTED.reference(vocab, context, d_model, d_mlp, n_layers)
    ), extras=False)  # fmt: skip


@pytest.mark.parametrize("kind", [int, np.int64, np.uint64, np.ulonglong, torch.tensor])
def test_a_whole_number_of_any_library_is_a_number(kind: Any) -> None:
    assert judged(kind).passed


@pytest.mark.parametrize("dtype", [torch.uint64, torch.int64])
def test_a_whole_number_in_a_tensor_is_a_number(dtype: torch.dtype) -> None:
    assert judged(lambda count: torch.tensor(count, dtype=dtype)).passed


@pytest.mark.parametrize("kind", [np.uint64, np.uint16, np.int8, np.uint32])
def test_a_wrong_one_differs(kind: Any) -> None:
    verdict = judged(lambda _: kind(3))
    assert (verdict.passed, verdict.state) == (False, "differs")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (lambda _: np.uint64(2**64 - 1), "more than 63 bits"),
        (lambda _: 10**30, "more than 63 bits"),
        (lambda _: torch.tensor(2**64 - 1, dtype=torch.uint64), "more than 63 bits"),
        (lambda count: torch.tensor(complex(count), dtype=torch.complex128), "of complex128; an int is asked"),
        (np.complex128, "complex128; an int is asked"),
        (complex, "a complex; an int is asked"),
        (lambda count: torch.tensor(float(count)), "of float32; an int is asked"),
        (np.float64, "an int is asked"),
    ],
)
def test_what_is_no_such_number_is_told_so(kind: Any, told: str) -> None:
    verdict = judged(kind)
    assert not verdict.passed
    assert verdict.failure
    assert verdict.failure.property == "type"
    assert told in " ".join(verdict.failure.sentences)


def test_most_sizes_of_01_9_are_other_ones_for_another_seed() -> None:
    cpu = torch.device("cpu")
    one, other = ([case for _, case in check.inputs(COUNTED, cpu, seed)] for seed in (3, 4))
    assert sum(mine != theirs for mine, theirs in zip(one, other, strict=True)) >= 4
