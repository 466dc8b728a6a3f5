"""The names of the signals, and what each is called for people."""

from collections.abc import Mapping

LABELS: Mapping[str, str] = {
    "override": "tells a model to ignore its instructions",
    "persona": "gives a model another role",
    "addresses-model": "speaks to a model",
    "prompt-leak": "asks a model for its instructions",
    "tool-call": "asks for a tool to be called",
    "exfiltration": "asks for a conversation to be sent somewhere",
    "beacon": "an image or a link that would carry data away",
    "concealment": "asks for something to be kept from the user",
    "chat-template": "control tokens of a chat",
    "role-lines": "lines that pass for a system prompt",
    "hidden-text": "characters that nobody sees",
    "bidi": "text that reads otherwise than it is shown",
    "encoded": "such a text in code",
    "our-marks": "marks of this endpoint’s own prompts",
}
