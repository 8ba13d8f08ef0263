"""How it is said that the document does not say."""

WORDINGS = (
    "The document does not say.",
    "The document does not say that.",
    "That is not stated in the document.",
    "The document does not answer this question.",
    "This is not covered by the document.",
    "The document gives no information on this.",
    "The document does not mention this.",
    "I cannot say: the document does not mention it.",
    "No answer to this is given in the document.",
    "The document does not specify this.",
    "There is no information about this in the document.",
    "I do not know: the document does not cover it.",
    "The document says nothing about this, so it does not give an answer.",
    "That question is not answered in the document.",
    "The document does not contain that information.",
    "Nothing in the document answers this; it is not mentioned.",
    "This detail is not provided in the document.",
    "The text does not state this.",
    "The text does not provide this information.",
    "The text is silent on this.",
    "Unknown: the text does not say.",
)
"""Without naming what is missing."""

NAMED = (
    'The document does not mention "{missing}".',
    '"{missing}" is not mentioned in the document.',
    'The document does not say anything about "{missing}".',
    'There is no information about "{missing}" in the document.',
    'The document does not cover "{missing}".',
    'I do not know: "{missing}" is not mentioned in the document.',
)
"""With a name for what is missing."""
