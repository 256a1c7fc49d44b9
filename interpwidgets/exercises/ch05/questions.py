"""The questions of chapter 05; the tests hold the numbers in them against the shipped model."""

import math

from interpwidgets.course.exercise import Option, Question

FIRST_COPY = Question(
    id="05.A",
    title="The loss of a first word",
    text="After `<s>`, one of 64 words comes, each as likely as any other. What is the lowest mean loss that a model "
    "can have on this word, in nats, to two decimals?",
    number=math.log(64),
    unit="nats",
    within=0.01,
    slips={
        6.0: "That is right in bits, logarithms to base 2. A nat uses the natural logarithm: 6 bits are 4.16 nats.",
        4.2: "That is right to one decimal. Work it out to two, without a look at a picture.",
        4.0: "That is near. Which logarithm of 64 is it, to two decimals?",
        64.0: "64 is the number of choices. The loss is the logarithm of it.",
        math.log(65): "`<s>` is in the vocabulary too, but it never comes as a word: 64 choices, not 65.",
        1 / 64: "That is the probability of each word. The loss is minus the logarithm of it.",
        -math.log(64): "The logarithm of 1/64 is negative; the loss is minus that.",
        math.log10(64): "That is a logarithm to base 10. A nat uses the natural logarithm.",
    },
    reason="Nobody can do better than to give each word 1/64, and -ln(1/64) = ln 64 = 4.16 nats.",
)

WITHOUT_PREVIOUS_TOKEN = Question(
    id="05.B",
    title="Without the previous-token head",
    text="You replace what the previous-token head of layer 0 writes by its mean. The weights of layer 1 stay as they "
    "are. What happens to the attention of the induction head?",
    options=[
        Option(
            "The stripe stays: the head has weights of its own",
            "Its weights are its own, but it reads what layer 0 has written. Its keys come from there.",
        ),
        Option(
            "The head looks one step back instead",
            "Nobody told it to: looking back was the habit of the head that is gone.",
        ),
        Option(
            "The stripe goes away",
            "Its keys said what came before each word. Without that, it cannot tell the right place from the others.",
            right=True,
        ),
        Option(
            "The stripe moves onto the earlier copy of the word",
            "That would be a duplicate-token head, with keys about the word itself. This head's weights look for "
            "what the previous-token head writes.",
        ),
    ],
)

ONE_LAYER = Question(
    id="05.C",
    title="Why not one layer?",
    text="In a model with one layer, a head looks from the second A for the word after the first A. Why can it not "
    "find it?",
    options=[
        Option(
            "What it sees of a word says nothing of the word before",
            'The key of the word after A would have to say "A was before me". In the first layer a key is made of that '
            "word and its position alone.",
            right=True,
        ),
        Option(
            "One layer has too few parameters to remember the text",
            "Make it as wide as you like. What is missing is a step of computation, not room.",
        ),
        Option(
            "Attention never looks further back than a few tokens",
            "It looks at any earlier token as easily as at the last one.",
        ),
        Option(
            "It finds the word, but it has no way to say it",
            "Copying is the easy part: one head can raise the logit of whatever it looks at. It does not know where to "
            "look.",
        ),
    ],
)
