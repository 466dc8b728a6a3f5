"""What passes for structure: control tokens of chats, lines of a system prompt, our own marks, addresses for data."""

import re

# As the templates of chat models have them (see routing/quoting.py), without those that are HTML too.
_CHAT_TEMPLATE = re.compile(
    r"<[|｜](?:im_(?:start|end|sep)|system|user|assistant|tool|(?:start|end)_header_id|eo[tm]_id|begin_of_text|"
    r"end_?of_?text|(?:begin|end)▁of▁sentence|User|Assistant|python_tag|channel|message|start|end|return|call|"
    r"constrain|tool_calls?|(?:START|END)_OF_TURN_TOKEN|(?:SYSTEM|USER|CHATBOT)_TOKEN)[|｜]>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
    r"|<</?SYS>>"
    r"|<(?:start|end)_of_turn>|</?(?:tool_call|tool_response|function_calls)>|<invoke name="
)
_ORDER = (
    r"(?:you (?:are|must|will|should|have|now)|ignore|disregard|forget|from now|new instructions?|override|respond|"
    r"reply|answer|always|never|do not|call|send|sure,|of course)"
)
_ROLE_LINES = re.compile(
    r"^[ \t>*_#\[(\"]{0,8}(?:system|developer|assistant|admin(?:istrator)?)\b[ \t]?(?:message|prompt|override|"
    rf"instructions?|note)?[\])*_\"]{{0,4}}[ \t]{{0,3}}(?::|(?<=\]))[\])*_\"]{{0,4}}\s{{0,3}}{_ORDER}"
    r"|<\s{0,3}/?\s{0,3}(?:system|admin|important|hidden|ai|new)[-_ ]?(?:prompt|message|instructions?|override|note)"
    r"\s{0,3}>"
    r"|\[\s{0,3}/?\s{0,3}(?:(?:system|admin|hidden|new)[-_ ]?(?:prompt|message|instructions?|override|note)"
    r"|end of (?:system prompt|context|documents?|passages?|user input|retrieved \w+))\b[^\]\n]{0,20}\]"
    r"|(?<![-=#*<])[-=#*<]{2,}\s{0,3}(?:begin|start|end)(?: of)?(?: the)?(?: new| hidden)? (?:system|admin|hidden|user|"
    r"retrieved|context|passages?|documents?)\b(?: (?:prompt|instructions?|messages?|input|context|data))?"
    r"\s{0,3}[-=#*>]{2,}",
    re.IGNORECASE | re.MULTILINE,
)
_OUR_MARKS = re.compile(r"<\s{0,3}/?\s{0,3}(?:passage|answer)\s{1,3}\d+", re.IGNORECASE)
# An image is fetched as soon as it is shown, so data in its address is gone without a click.
_TALK = r"(?:conversation|chat|history|prompt|message|context|secret|password|answer|summary|question|query|data|email)"
_GAP = r"(?:\{[^}\n]{1,60}\}|\[[^\]\n]{1,60}\]|<[^>\n]{1,60}>|\$\w+|%7B[^\s)]{1,60}%7D|[A-Z]{3,}(?:_[A-Z]+)+)"
_SPOKEN = "|".join(
    rf"{start}[^{end}\n]{{0,60}}{_TALK}[^{end}\n]{{0,60}}{end}" for start, end in ((r"\{", r"\}"), (r"\[", r"\]"), "<>")
)
_SPOKEN_GAP = f"(?:{_SPOKEN})"
_BEACONS = (
    re.compile(
        rf"!\[[^\]\n]{{0,200}}\]\(\s{{0,3}}<?(?:https?:)?//[^\s)?]{{1,300}}\?[^\n]{{0,200}}?=[^\n)&=]{{0,40}}?{_GAP}"
    ),
    re.compile(rf"!\[[^\]\n]{{0,200}}\]\(\s{{0,3}}<?(?:https?:)?//[^\s)]{{0,200}}?{_SPOKEN_GAP}", re.IGNORECASE),
    re.compile(
        rf"<img\b[^>\n]{{0,100}}src\s{{0,3}}=\s{{0,3}}[\"']?(?:https?:)?//[^\s\"'>]{{0,200}}?{_GAP}", re.IGNORECASE
    ),
    re.compile(rf"\]\(\s{{0,3}}<?(?:https?:)?//[^\s)?]{{1,300}}\?[^\s)]{{0,200}}?{_SPOKEN_GAP}", re.IGNORECASE),
    re.compile(r"!\[[^\]\n]{0,200}\]\(\s{0,3}<?(?:https?:)?//[^\s)?]{1,300}\?[^\s)]{0,80}=[A-Za-z0-9+/_-]{100,}"),
)


def marks(text: str) -> frozenset[str]:
    """Return which signals of structure ``text`` shows."""
    found = set()
    if _CHAT_TEMPLATE.search(text):
        found.add("chat-template")
    if _ROLE_LINES.search(text):
        found.add("role-lines")
    if _OUR_MARKS.search(text):
        found.add("our-marks")
    if "//" in text and any(beacon.search(text) for beacon in _BEACONS):
        found.add("beacon")
    return frozenset(found)
