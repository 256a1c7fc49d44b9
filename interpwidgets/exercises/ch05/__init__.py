"""Chapter 05, induction heads and in-context learning: its exercises and questions, in teaching order.

from interpwidgets.exercises.ch05 import EXERCISES

[exercise.id for exercise in EXERCISES]       # ["05.1", ..., "05.13"]
"""

from interpwidgets.course.exercise import Exercise, Question
from interpwidgets.exercises.ch05.habits import (
    DUPLICATE_TOKEN_SCORE,
    FIND_INDUCTION_HEADS,
    INDUCTION_SCORE,
    PREFIX_MATCHING_SCORE,
    PREVIOUS_TOKEN_SCORE,
)
from interpwidgets.exercises.ch05.parts import COMPOSITION_SCORE, COPYING_SCORE, HEAD_LOGIT_ATTRIBUTION, MEAN_ABLATE
from interpwidgets.exercises.ch05.questions import FIRST_COPY, ONE_LAYER, WITHOUT_PREVIOUS_TOKEN
from interpwidgets.exercises.ch05.texts import IN_CONTEXT_SCORE, LOSS_BY_POSITION, PHASE_CHANGE, REPEAT_TOKENS

TITLE = "Induction heads and in-context learning"
PART = "Attention and circuits"

EXERCISES: list[Exercise] = [
    REPEAT_TOKENS,
    LOSS_BY_POSITION,
    PREVIOUS_TOKEN_SCORE,
    DUPLICATE_TOKEN_SCORE,
    INDUCTION_SCORE,
    PREFIX_MATCHING_SCORE,
    IN_CONTEXT_SCORE,
    MEAN_ABLATE,
    HEAD_LOGIT_ATTRIBUTION,
    COPYING_SCORE,
    COMPOSITION_SCORE,
    PHASE_CHANGE,
    FIND_INDUCTION_HEADS,
]

QUESTIONS: list[Question] = [FIRST_COPY, WITHOUT_PREVIOUS_TOKEN, ONE_LAYER]
