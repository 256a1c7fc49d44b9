"""The questions of chapter 01; the tests hold the numbers in them against the shipped model."""

from interpwidgets.course.exercise import Option, Question

WHAT_MIXES = Question(
    id="01.A",
    title="Who moves information?",
    text="You change one word of a text. Which part of the model is the first to make another position notice?",
    options=[
        Option("The embedding", "Each word is looked up on its own: only the changed position gets another row."),
        Option("The norm", "It works on one vector at a time, whatever stands at other positions."),
        Option(
            "Attention",
            "It is the only part that reads other positions. Everything else treats each position for itself.",
            right=True,
        ),
        Option("The MLP", "It is large, but it reads one position at a time: the same function everywhere."),
    ],
)

PARAMETERS_IN_MLPS = Question(
    id="01.B",
    title="Where the numbers are",
    text="`storylm` has 934,784 parameters. Its `d_model` is 128, each MLP has 512 neurons, and there are 4 layers. "
    "How many of the parameters stand in MLPs, biases included? Give a share between 0 and 1, to two decimals.",
    number=4 * (2 * 128 * 512 + 512 + 128) / 934_784,
    within=0.006,
    slips={
        0.14: "That is the share of one layer's MLP. There are four.",
        0.28: "That is half of it: an MLP has two matrices of 128 by 512, and there are four layers.",
        0.66: "That is two thirds, as in large models, where the embedding hardly counts. Work it out for this one.",
        56.0: "That is in per cent. A share lies between 0 and 1.",
    },
    reason="Each MLP has 2 · 128 · 512 + 512 + 128 = 131,712 numbers; four of them are 56 % of the model.",
)

MECHANISTIC = Question(
    id="01.C",
    title="What you may claim",
    text="You set what one MLP writes to zero, and the model no longer says Mary. What have you shown?",
    options=[
        Option(
            "That MLP stores that Mary gets the drink",
            "You have shown that something here is needed, not what it holds. A broken fuse does not store the music.",
        ),
        Option(
            "On this sentence, the model needs something that this MLP writes",
            "That is what an edit shows: cause and effect, on the texts that you tried, for this way of taking away.",
            right=True,
        ),
        Option(
            "Other layers play no part",
            "You have not touched them. Several parts may all be needed.",
        ),
        Option(
            "Nothing, because zero is not a natural value",
            "It is a fair doubt, and a reason to try other values, such as a mean. But the effect is real.",
        ),
    ],
)
