"""Secrets: keys and tokens by the forms that their issuers give them, and passwords where they are assigned. Pure.

Sources of the forms: each issuer's own documentation, as gitleaks/gitleaks (MIT), config/gitleaks.toml, gathers it.
A word such as "password" is no secret, nor is what stands in its place in examples; what is assigned must look like
nothing that a person would read.
"""

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import regex  # type: ignore[import-untyped]

from gateway.guards.patterns import Pattern, Patterns

KINDS = ("api_key", "private_key", "jwt", "url_password", "assignment")

_START, _END = r"(?<![A-Za-z0-9_-])", r"(?![A-Za-z0-9_-])"
_ISSUED: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("moe_key", ("sk-moe-",), r"sk-moe-[A-Za-z0-9_-]{32,128}"),
    ("openai_key", ("sk-",), r"sk-(?!moe-)(?:(?:proj|svcacct|admin|ant|or|lf)-)?[A-Za-z0-9_-]{20,200}"),
    ("aws_key", ("AKIA", "ASIA", "ABIA", "ACCA"), r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"),
    ("github_token", ("gh",), r"gh[pousr]_[A-Za-z0-9]{36,255}"),
    ("github_token", ("github_pat_",), r"github_pat_[A-Za-z0-9_]{36,255}"),
    ("gitlab_token", ("glpat-",), r"glpat-[A-Za-z0-9_-]{20,64}"),
    ("slack_token", ("xox",), r"xox[abeoprs]-[A-Za-z0-9-]{20,250}"),
    ("google_key", ("AIza",), r"AIza[A-Za-z0-9_-]{35}"),
    ("stripe_key", ("k_",), r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,250}"),
    ("huggingface_token", ("hf_",), r"hf_[A-Za-z0-9]{34,40}"),
    ("npm_token", ("npm_",), r"npm_[A-Za-z0-9]{36}"),
    ("pypi_token", ("pypi-AgE",), r"pypi-AgE[A-Za-z0-9_-]{50,250}"),
    ("sendgrid_key", ("SG.",), r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    ("digitalocean_token", ("_v1_",), r"do[opr]_v1_[a-f0-9]{64}"),
    ("telegram_token", (":AA",), r"\d{8,10}:AA[A-Za-z0-9_-]{33}"),
)
_BEGIN = r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_PRIVATE_KEY = (
    rf"{_BEGIN}(?:(?:[^-]|-(?!----)){{40,6000}}-----END [A-Z0-9 ]{{0,30}}PRIVATE KEY(?: BLOCK)?-----|"
    # One that was cut off: lines of base64 and nothing else.
    r"(?:(?:\s|\\[nr]){1,4}[A-Za-z0-9+/=]{30,100}){1,80})"
)
_JWT = rf"{_START}eyJ[A-Za-z0-9_-]{{10,1500}}\.eyJ[A-Za-z0-9_-]{{10,4000}}\.[A-Za-z0-9_-]{{10,1000}}"
_IN_ADDRESS = (
    r"(?<=[A-Za-z][A-Za-z0-9+.-]{0,15}://[^\s:/?#@\"'<>]{0,80}:)"
    r"[^\s:/?#@\"'<>]{3,200}(?=@[A-Za-z0-9\[])"
)
_NAME = (
    r"(?i:(?<![a-z])(?:[a-z0-9]{1,20}[_.-]){0,3}"
    r"(?:api[_-]?key|apikey|access[_-]?key(?:[_-]?id)?|account[_-]?key|secret[_-]?(?:access[_-]?)?key|client[_-]?secret"
    r"|(?:auth|access|refresh|bearer|api|bot)[_-]?token|token|secret|passw(?:or)?d|passwort|pwd|passphrase|credentials?))"
)
_ASSIGNED = (
    rf"(?<={_NAME}[\"'\]]{{0,2}}[ \t]{{0,4}}(?:=>|:=|=|:)[ \t]{{0,4}}(?:Bearer )?[\"'`]?)"
    r"(?<![^\s=:>\"'`])[^\s\"'`,;<>(){}\[\]=:]{8,200}={0,2}(?![A-Za-z0-9(])"
)
_HAS_USER = re.compile(r"://[^\s/@]*:[^\s/@]*@")
_NAMES = ("key", "token", "secret", "passw", "passp", "pwd", "credential")
_ASSIGNS = re.compile(
    r"(?:key|key[_-]?id|token|secret|passw(?:or)?d|passwort|pwd|passphrase|credentials?)[\"'\]]{0,2}[ \t]{0,4}[:=]",
    re.IGNORECASE,
)
_PLACEHOLDERS = re.compile(
    r"(?:my|your|the|some|a|new|old|test|demo|dummy|fake|user|db|root|admin)?[_.-]?"
    r"(?:pass(?:word|wd|phrase)?|pwd|pw|secret|token|key|user|example|placeholder|x+|\*+|\.+|12345678\d*|none|null|true"
    r"|false|undefined|redacted|required|optional|string)"
    r"[\W_]*\d{0,4}",
    re.IGNORECASE,
)
LEAST_ENTROPY = 3.0
"""Bits for each character; of words it is less, as is what repeats itself."""
LEAST_CLASSES = 3


@functools.cache
def secrets(kinds: frozenset[str]) -> Patterns:
    """Return the patterns of some of KINDS."""
    return Patterns.together(pattern for kind in KINDS if kind in kinds for pattern in _BUILT[kind]())


def _assigns(text: str, start: int) -> bool:
    names = text[start:].lower()
    return any(name in names for name in _NAMES) and _ASSIGNS.search(text, start) is not None


def _issued() -> Iterator[Pattern]:
    for category, hints, expression in _ISSUED:
        yield _secret(category, f"{_START}(?:{expression}){_END}", accepts=_is_random, hints=hints)


def _private_keys() -> Iterator[Pattern]:
    yield _secret("private_key", _PRIVATE_KEY, hints=("PRIVATE KEY",))


def _jwts() -> Iterator[Pattern]:
    yield _secret("jwt", _JWT, hints=("eyJ",))


def _in_addresses() -> Iterator[Pattern]:
    yield _secret(
        "url_password", _IN_ADDRESS, accepts=_is_password, hints=("://",), gates=(_HAS_USER.search,), looks_back=True
    )


def _assigned() -> Iterator[Pattern]:
    yield _secret("assignment", _ASSIGNED, accepts=_is_assigned_secret, gates=(_assigns,), looks_back=True)


def _secret(category: str, expression: str, **fields: Any) -> Pattern:
    return Pattern(category=category, label="SECRET", expression=regex.compile(expression), **fields)


_BUILT: dict[str, Callable[[], Iterator[Pattern]]] = {
    "api_key": _issued,
    "private_key": _private_keys,
    "jwt": _jwts,
    "url_password": _in_addresses,
    "assignment": _assigned,
}


# --- whether it is one ------------------------------------------------------------------------------------------


def _is_random(text: str) -> bool:
    """Tell a key from its form in a manual, such as sk-xxxxxxxx or AKIA…EXAMPLE."""
    body = re.split(r"[-_.:]", text, maxsplit=1)[-1] or text
    mixed = any(map(str.isdigit, body)) or (body != body.lower() and body != body.upper())
    return entropy(body) >= LEAST_ENTROPY and (mixed or text.isalnum()) and not text.upper().endswith("EXAMPLE")


def _is_password(text: str) -> bool:
    return not _PLACEHOLDERS.fullmatch(text) and text[0] not in "$%{<[*"


def _is_assigned_secret(text: str) -> bool:
    """Tell a password or a key from a name, a word, a path or an expression of a program."""
    if not _is_password(text) or entropy(text) < LEAST_ENTROPY or "://" in text:
        return False
    words = [word for word in re.split(r"[._/\\-]", text) if word]
    if len(words) > 1 and all(_is_word(word) for word in words):
        return False
    has_digits = any(map(str.isdigit, text))
    if len(text) < 16:
        return has_digits and _classes(text) >= LEAST_CLASSES and not _is_word(text)
    return has_digits and any(map(str.isalpha, text)) and not _is_word(text)


def _is_word(text: str) -> bool:
    """Tell whether ``text`` is letters, or letters with a number after them, as names of things are."""
    return re.fullmatch(r"[^\W\d_]*\d{0,4}", text) is not None


def _classes(text: str) -> int:
    kinds = (str.islower, str.isupper, str.isdigit, lambda one: not one.isalnum())
    return sum(any(kind(character) for character in text) for kind in kinds)


def entropy(text: str) -> float:
    """Return Shannon's entropy of the characters of ``text``, in bits for each."""
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())
