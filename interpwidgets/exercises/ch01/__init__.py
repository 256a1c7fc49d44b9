"""Chapter 01, a transformer you can open: its exercises and questions, in teaching order.

from interpwidgets.exercises.ch01 import EXERCISES

[exercise.id for exercise in EXERCISES]       # ["01.1", ..., "01.17"]
"""

from interpwidgets.course.exercise import Exercise, Question
from interpwidgets.exercises.ch01.inside import RECORD, RUN_EDITED, TRAINING_STEP
from interpwidgets.exercises.ch01.parts import (
    ATTENTION,
    ATTENTION_PATTERN,
    BLOCK,
    COUNT_PARAMETERS,
    EMBED,
    FOLD_NORM,
    GPT,
    LAYER_NORM,
    MLP,
    SPLIT_HEADS,
)
from interpwidgets.exercises.ch01.questions import MECHANISTIC, PARAMETERS_IN_MLPS, WHAT_MIXES
from interpwidgets.exercises.ch01.writing import ATTENTION_WITH_CACHE, KEEP_TOP_K, KEEP_TOP_P, NEXT_PROBABILITIES

TITLE = "A transformer you can open"
PART = "Foundations"

EXERCISES: list[Exercise] = [
    EMBED,
    LAYER_NORM,
    ATTENTION_PATTERN,
    ATTENTION,
    MLP,
    BLOCK,
    GPT,
    SPLIT_HEADS,
    COUNT_PARAMETERS,
    NEXT_PROBABILITIES,
    KEEP_TOP_K,
    KEEP_TOP_P,
    ATTENTION_WITH_CACHE,
    RECORD,
    RUN_EDITED,
    FOLD_NORM,
    TRAINING_STEP,
]

QUESTIONS: list[Question] = [WHAT_MIXES, PARAMETERS_IN_MLPS, MECHANISTIC]
