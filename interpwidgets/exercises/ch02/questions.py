"""The questions of chapter 02; the tests hold what they claim against the shipped model."""

from interpwidgets.course.exercise import Option, Question

CUT_OFF = Question(
    id="02.A",
    title="Cut off from both names",
    text="At the end of the sentence storylm says Luke. You forbid the end, in all heads of all layers, to look at the "
    "places where Luke and Eva are named first. What does the model say?",
    options=[
        Option(
            "Eva: the second Eva is the only name it still sees",
            "That it sees, and yet it says Luke. A name can reach the end by way of another place.",
        ),
        Option(
            "Still Luke, about as surely",
            "The comma has read both names, and the end reads the comma. Information takes detours, and a direct look "
            "is "
            "only one of the ways.",
            right=True,
        ),
        Option(
            "Any name, by chance",
            "That would be so if names travelled on that edge alone. They do not.",
        ),
        Option(
            "No name at all",
            "That a name comes here is said by the verb and by `to`. Those edges are there still.",
        ),
    ],
)

BEFORE_LAYER_0 = Question(
    id="02.B",
    title="The lens before layer 0",
    text="storylm uses one matrix twice: it looks words up in it (embedding), and reads logits from it (unembedding). "
    "You "
    "hold the logit lens to the stream before layer 0, above the word `necklace`. Which word is on top?",
    options=[
        Option(
            "` to`, which comes next",
            "Nothing has been computed yet: how should it know?",
        ),
        Option(
            "The most frequent word, as a guess",
            "A guess would have to be written by somebody. Only the embedding is there.",
        ),
        Option(
            "` necklace` itself",
            "The stream holds the row of necklace, and of all columns its own fits best. What the lens shows is what "
            "came in, not what the model expects.",
            right=True,
        ),
        Option(
            "Some word that has nothing to do with it",
            "With another matrix for the logits, perhaps. Here the two are the same.",
        ),
    ],
)

WHICH_LOCALISES = Question(
    id="02.C",
    title="To localise or to decode",
    text="The Primer sorts methods into two families: some *localise* a behaviour, they say which parts of input or "
    "model "
    "are responsible for it; others *decode*, they say what information a vector holds. Which of your functions "
    "localises?",
    options=[
        Option(
            "`lens_logits`",
            "It decodes: which tokens does this vector speak for? Who wrote the vector it does not ask.",
        ),
        Option(
            "`cut_edges`",
            "It takes a part away and watches the answer. So does `direct_attribution` localise, without taking "
            "anything "
            "away; where the two disagree, believe the one that intervenes.",
            right=True,
        ),
        Option(
            "`translate`, once it is trained",
            "It decodes, with a dictionary that it has learned.",
        ),
        Option(
            "`ask_the_model`",
            "It edits a run, but in order to decode: what does the model say that this vector means?",
        ),
    ],
)
