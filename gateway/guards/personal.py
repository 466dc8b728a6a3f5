"""Personal data: mail addresses, telephone numbers, accounts, cards, numbers of persons, machines' addresses. Pure.

What has check digits is held to them, so that an order's number is no card and a serial number no account.
"""

import functools
import ipaddress
import re
from collections.abc import Iterator

import regex  # type: ignore[import-untyped]

from gateway.guards.checksums import IBAN_LENGTHS, iban, luhn
from gateway.guards.identities import IDENTITIES
from gateway.guards.patterns import Pattern, Patterns

KINDS = ("email", "phone", "iban", "card", "national_id", "ip")
USUAL = KINDS[:-1]
"""What is looked for where nothing else is said: addresses of machines stand in every log and in half of all code."""

_NUMBER = re.compile(r"\d(?:[ .()/+-]{0,3}\d){5}").search
"""What a telephone number, a card and most numbers of persons have."""
_LOOKS_BACK = "(?<="
# A password in an address, and git's own user, are no addresses of mail.
_EMAIL = (
    r"(?<![\p{L}\p{N}_.+%-])(?<!://[^\s/@]{0,80})[\p{L}\p{N}_.+%-]{1,64}"
    r"@(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?\.){1,8}\p{L}{2,24}(?![\p{L}\p{N}_-])"
)
_DIAL = r"(?i:(?:tel|telefon|telephone|phone|mobile?|handy|cell|fax|call|whatsapp)\b[^\w\n]{1,4})"
# Each with what a text that has one must have, which is quick to look for.
_PHONES = (
    # With the country's code, as ITU-T E.123 writes it: at most fifteen digits.
    (
        r"(?<![\w+/=])(?:\+|(?<!\d[ .\-/])00(?=[1-9]\d{0,2}[ .\-/(]))[1-9](?:[ .\-/]?\(?\d\)?){6,13}(?![\w-])",
        r"(?:\+|00)[1-9][ .\-/]?\(?\d",
    ),
    # North America's, whose area codes and exchanges do not begin with 0 or 1.
    (
        r"(?<![\w+./=-])(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-. ])[2-9]\d{2}[-. ]\d{4}(?![\w-])",
        r"\d{3}[-. )] ?\d{3}[-. ]\d{4}",
    ),
    # Without either only where a word says that it is one.
    (rf"(?<={_DIAL})\(?0\d(?:[ .\-/]{{0,2}}\(?\d\)?){{5,11}}(?![\w-])", r"(?<!\d)0\d[ .\-/)]{0,2}\(?\d"),
)
_SEPARATED = r"(?<![\w.+-])(?:{first}(?P<{name}>[ -]?)\d{{4}}(?P={name})\d{{4}}(?P={name})\d{{4}})(?![\w-])"
_CARDS = (
    # Visa, Mastercard, Discover, JCB and UnionPay in fours; American Express 4-6-5; Diners Club 4-6-4; else unbroken.
    _SEPARATED.format(name="visa", first=r"4\d{3}"),
    _SEPARATED.format(name="mastercard", first=r"(?:5[1-5]\d{2}|2(?:22[1-9]|2[3-9]\d|[3-6]\d{2}|7[01]\d|720))"),
    _SEPARATED.format(name="discover", first=r"(?:6011|64[4-9]\d|65\d{2}|35(?:2[89]|[3-8]\d)|62\d{2})"),
    r"(?<![\w.+-])3[47]\d{2}(?P<amex>[ -]?)\d{6}(?P=amex)\d{5}(?![\w-])",
    r"(?<![\w.+-])3(?:0[0-5]|[689]\d)\d(?P<diners>[ -]?)\d{6}(?P=diners)\d{4}(?![\w-])",
    r"(?<![\w.+-])(?:4\d{12}|4\d{18}|62\d{17}|6759\d{8,15})(?![\w-])",
)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d{2}|[1-9]?\d)"
_IPS = (
    (rf"(?<![\w.]){_OCTET}(?:\.{_OCTET}){{3}}(?![\w-]|\.\d)", r"\d\.\d{1,3}\.\d{1,3}\.\d"),
    (r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:|:){2,7}(?:[0-9A-Fa-f]{1,4}|:)(?![\w:])", r":[0-9A-Fa-f]{0,4}:"),
)


@functools.cache
def personal(kinds: frozenset[str]) -> Patterns:
    """Return the patterns of some of KINDS."""
    return Patterns.together(pattern for kind in KINDS if kind in kinds for pattern in _BUILT[kind]())


def _emails() -> Iterator[Pattern]:
    expression = regex.compile(_EMAIL)
    yield Pattern(
        category="email",
        label="EMAIL",
        expression=expression,
        hints=("@",),
        accepts=_is_somebodys_mail,
        looks_back=True,
    )


def _phones() -> Iterator[Pattern]:
    for expression, gate in _PHONES:
        yield Pattern(
            category="phone",
            label="PHONE",
            expression=regex.compile(expression),
            gates=(_NUMBER, re.compile(gate).search),
            looks_back=_LOOKS_BACK in expression,
        )


def _ibans() -> Iterator[Pattern]:
    countries = (
        rf"(?i:{'|'.join(names.split())})\d{{2}}(?: ?[A-Za-z0-9]){{{length - 4}}}"
        for length, names in IBAN_LENGTHS.items()
    )
    expression = regex.compile(rf"(?<![\w-])(?=[A-Za-z]{{2}}\d{{2}})(?:{'|'.join(countries)})(?![\w-])")
    gate = re.compile(r"[A-Za-z]{2}\d{2} ?[A-Za-z0-9]{4} ?[A-Za-z0-9]{4}").search
    yield Pattern(category="iban", label="IBAN", expression=expression, gates=(gate,), accepts=iban)


def _cards() -> Iterator[Pattern]:
    gate = re.compile(r"\d{4}[ -]?\d{4,6}[ -]?\d{4}").search
    for expression in _CARDS:
        yield Pattern(
            category="card", label="CARD", expression=regex.compile(expression), gates=(_NUMBER, gate), accepts=luhn
        )


def _identities() -> Iterator[Pattern]:
    for category, expression, gate, accepts in IDENTITIES:
        yield Pattern(
            category=category,
            label="ID",
            expression=regex.compile(expression),
            gates=(re.compile(gate).search,) if category == "it_codice_fiscale" else (_NUMBER, re.compile(gate).search),
            accepts=accepts,
            looks_back=_LOOKS_BACK in expression,
        )


def _ips() -> Iterator[Pattern]:
    for expression, gate in _IPS:
        yield Pattern(
            category="ip",
            label="IP",
            expression=regex.compile(expression),
            gates=(re.compile(gate).search,),
            accepts=_is_somebodys,
        )


def _is_somebodys_mail(text: str) -> bool:
    return not text.startswith("git@")


def _is_somebodys(text: str) -> bool:
    """Tell whether an address is one of a machine, rather than of none or of the one it stands on."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_loopback)


_BUILT = {
    "email": _emails,
    "phone": _phones,
    "iban": _ibans,
    "card": _cards,
    "national_id": _identities,
    "ip": _ips,
}
