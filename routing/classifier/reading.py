"""How a prompt is read: which of it says what to do, and which is material. Pure."""

import re
import unicodedata
from dataclasses import dataclass

from routing.classifier.lexicon import GROUPS, folded, lexicon

# What is looked at of a prompt, in characters: the longest instruction at an end, and the most of the material.
ENDS, BODY = 320, 900
# A prompt up to this long, in one line, is an instruction as a whole.
SHORT = 140
# Of a prompt that begins with material, so much of it is read with the instruction at its end.
OPENING = 160

_FENCE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_QUOTED = re.compile(
    r"\"\"\"(.*?)\"\"\"|'''(.*?)'''|“([^”]{12,})”|„([^“”]{12,})[“”]|«([^»]{12,})»|「([^」]{8,})」|『([^』]{8,})』"
    r"|\"([^\"\n]{12,})\"|(?<!\w)'([^'\n]{16,})'(?!\w)|‘([^’]{16,})’|<(doc|text|article|email)>.*?</\11>",
    re.DOTALL,
)
# Where a sentence ends: a mark and white space, or a mark of a script without spaces.
_SENTENCE = re.compile(r"(?<=[.!?…:])[\"'”)\]]*\s+|(?<=[。！？；])")
_POLITE = re.compile(
    r"\b(?:"
    r"please|pls|can you|could you|would you|help me|give me|i need|i want|i'd like|"
    r"make (?:this|it|me|a|an)|turn (?:this|it)|tell me|show me|create|generate|provide|determine|"
    r"consider|complete|continue|answer|bitte|kannst du|konnen sie|gib mir|mach|erstelle|por favor|"
    r"puedes|podrias|dame|haz|necesito|quiero|pode|preciso|faca|crie|s'il (?:te|vous) plait|peux-tu|"
    r"pouvez-vous|donne|fais|per favore|puoi|fammi|dammi|alstublieft|kun je|geef|maak|пожалуйста|"
    r"можешь|можете|сделай|дай|нужно|prosze|zrob|lutfen|bana|من فضلك|ارجو|कृपया|vui long|hay|tolong|"
    r"tafadhali"
    r")\b"
    r"|[请請帮幫把将將]|ください|下さい|してほしい|해줘|해주세요|주세요|하시오|하세요|ช่วย|กรุณา"
)
_SPEAKER = re.compile(r"^\s*(?:[-*•>|]|\d{1,2}[.)]\s|[A-E][.)]\s|\([A-Ea-e]\)|[\w' ]{1,18}[:：]\s+\S)")
_TASKS = sum(1 << number for number, name in enumerate(GROUPS) if name not in ("chat", "given", "languages", "math"))
_GIVEN = 1 << list(GROUPS).index("given")
_LIKELY = 2.0


@dataclass(frozen=True, slots=True)
class Reading:
    """``head`` and ``tail`` say what to do, before and after the ``body``, which is material: pasted, quoted, fenced.

    Of a prompt without material the head is all there is. Where nothing looks like an instruction, the head and tail
    are the first and the last sentence.
    """

    head: str
    tail: str
    body: str
    fenced: bool
    quoted: bool

    @property
    def instruction(self) -> str:
        return f"{self.head}\n{self.tail}" if self.tail else self.head


def read(text: str) -> Reading:
    """Tell the instruction of ``text`` from what is pasted with it."""
    text = unicodedata.normalize("NFC", text).strip()
    if len(text) > 2 * (ENDS + BODY):
        text = f"{text[: ENDS + BODY]}\n{text[-(ENDS + BODY) :]}"
    pasted: list[str] = []

    def cut(found: re.Match[str]) -> str:
        pasted.append(found.group(0))
        return " … "

    fenced = "```" in text or "~~~" in text
    plain = _QUOTED.sub(cut, _FENCE.sub(cut, text) if fenced else text)
    if not plain.strip(" …\n"):  # everything was quoted: then that is the request
        plain, pasted = text, []
    lines = [line for piece in plain.split("\n") if (line := piece.strip())]
    head, tail, body = _parted(lines)
    return Reading(
        head=head[:ENDS],
        tail=tail[-ENDS:],
        body="\n".join([*pasted, body])[:BODY],
        fenced=fenced,
        quoted=bool(pasted) and not fenced,
    )


def _parted(lines: list[str]) -> tuple[str, str, str]:
    """Return the instruction at the beginning, that at the end, and what lies between."""
    if len(lines) < 2 and sum(map(len, lines)) <= SHORT:
        return " ".join(lines), "", ""
    units = _units(lines)
    first = _length(units)
    last = _length(units[first:][::-1])
    if not first and not last:
        return _without_signs(units)
    head = " ".join(units[:first])
    tail = " ".join(units[len(units) - last :]) if last else ""
    body = units[first : len(units) - last]
    if not body or (not last and sum(map(len, body)) < 60):
        return " ".join(units), "", ""
    if not head:  # a story or a puzzle with its question at the end: how it begins tells what it is
        head, body = body[0][:OPENING], body[1:] if len(body) > 1 else body
    return head, tail, " \n ".join(body)


def _without_signs(units: list[str]) -> tuple[str, str, str]:
    whole = " ".join(units)
    if len(whole) <= ENDS:
        return whole, "", ""
    return units[0], units[-1] if len(units) > 1 else whole[-ENDS:], " \n ".join(units[1:-1])[:BODY]


def _units(lines: list[str]) -> list[str]:
    """Return lines, long ones cut into their sentences."""
    found: list[str] = []
    for line in lines:
        found.extend(
            [line] if len(line) <= 200 else (part for piece in _SENTENCE.split(line) if (part := piece.strip()))
        )
    return found


def _length(units: list[str]) -> int:
    """Return how many of ``units``, from the first on, are the instruction."""
    taken = length = 0
    for number, unit in enumerate(units[:4]):
        length += len(unit)
        if length > ENDS:
            break
        if likeness(unit) >= _LIKELY:
            taken = number + 1
        elif number >= 1 and taken < number:
            break
    return taken


def likeness(line: str) -> float:
    """Return how much ``line`` looks like an instruction; from 2 on it is taken for one."""
    start = folded(line[:120])
    score = 0.0
    for at, bits in lexicon().hits(start):
        if bits & _TASKS:
            score += 1.6 if at <= 2 else 0.8 if at < 60 else 0.4
        if bits & _GIVEN:
            score += 0.7
    if _POLITE.search(start):
        score += 1.4
    if line.endswith((":", "：")):
        score += 1
    if line.endswith(("?", "？", "؟")):
        score += 1.2
    if _SPEAKER.match(line):
        score -= 1.5
    return score if len(line) <= 220 else score - 1
