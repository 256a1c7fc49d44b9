"""Chapter 02, the residual stream and its lenses: its exercises and questions, in teaching order.

from interpwidgets.exercises.ch02 import EXERCISES

[exercise.id for exercise in EXERCISES]       # ["02.1", ..., "02.14"]
"""

from interpwidgets.course.exercise import Exercise, Question
from interpwidgets.exercises.ch02.asking import ASK_THE_MODEL, WEIGHT_GRADIENT
from interpwidgets.exercises.ch02.early import KL_TO_END, LENS_LOGITS, RANK_OF
from interpwidgets.exercises.ch02.questions import BEFORE_LAYER_0, CUT_OFF, WHICH_LOCALISES
from interpwidgets.exercises.ch02.stream import (
    CUT_EDGES,
    DIRECT_ATTRIBUTION,
    FROZEN_NORM,
    RESIDUAL_PARTS,
    RESIDUAL_STAGES,
)
from interpwidgets.exercises.ch02.tuned import ABLATE_DIRECTION, LENS_BIAS, TRAIN_TRANSLATOR, TRANSLATE

TITLE = "The residual stream and its lenses"
PART = "Open the box"

EXERCISES: list[Exercise] = [
    RESIDUAL_PARTS,
    RESIDUAL_STAGES,
    FROZEN_NORM,
    DIRECT_ATTRIBUTION,
    CUT_EDGES,
    LENS_LOGITS,
    RANK_OF,
    KL_TO_END,
    TRANSLATE,
    TRAIN_TRANSLATOR,
    LENS_BIAS,
    ABLATE_DIRECTION,
    ASK_THE_MODEL,
    WEIGHT_GRADIENT,
]

QUESTIONS: list[Question] = [CUT_OFF, BEFORE_LAYER_0, WHICH_LOCALISES]
