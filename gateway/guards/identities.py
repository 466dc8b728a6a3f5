"""Numbers by which states know people, those that can be checked. Pure.

A number that is only digits, such as Germany's, is taken for one where its usual spacing or a word before it says so
too: of all numbers of its length a tenth has the right check digit.
"""

import datetime as dt
import re
from collections.abc import Callable

from gateway.guards.checksums import digits_of, luhn, mod_11_10, verhoeff, weighted

_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_CODICE_ODD = dict(
    zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (
        *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21), *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14),
        *(16, 10, 22, 25, 24, 23),
    ), strict=True)
)  # fmt: skip


def ssn(text: str) -> bool:
    """The United States' numbers have no check digit; these were never given out (SSA, POMS RM 10201.035)."""
    area, group, serial = text.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def dni(text: str) -> bool:
    """Spain: the letter tells the remainder of the number by 23; a foreigner's begins with a letter for 0, 1 or 2."""
    compact = re.sub(r"[ .-]", "", text).upper()
    number = compact[:-1].translate(str.maketrans("XYZ", "012"))
    return number.isdigit() and _DNI_LETTERS[int(number) % 23] == compact[-1]


def codice_fiscale(text: str) -> bool:
    """Italy: Decreto ministeriale of 23 December 1976, article 3."""
    compact = text.upper()
    odd = sum(_CODICE_ODD[character] for character in compact[0:15:2])
    even = sum(int(character, 36) - (0 if character.isdigit() else 10) for character in compact[1:15:2])
    return chr(ord("A") + (odd + even) % 26) == compact[15]


def nir(text: str) -> bool:
    """France: the last two digits are 97 less the remainder of those before; Corsica's departments are 19 and 18."""
    compact = re.sub(r"\s", "", text).upper()
    number, key = compact[:13].replace("2A", "19").replace("2B", "18"), compact[13:]
    return number.isdigit() and 97 - int(number) % 97 == int(key)


def steuer_id(text: str) -> bool:
    """Germany: of the first ten digits one or two are there more than once."""
    digits = digits_of(text)
    return len(digits) == 11 and 7 <= len(set(digits[:10])) <= 9 and mod_11_10(text)


def cpf(text: str) -> bool:
    """Brazil: two check digits, mod 11."""
    digits = digits_of(text)
    first = weighted(text, (10, 9, 8, 7, 6, 5, 4, 3, 2), 11)
    second = weighted(text, (11, 10, 9, 8, 7, 6, 5, 4, 3, 2), 11)
    wanted = [0 if rest < 2 else 11 - rest for rest in (first, second)]
    return len(set(digits)) > 1 and digits[9:] == wanted


def pesel(text: str) -> bool:
    """Poland: a date of birth, with the century in the month, and a check digit."""
    digits = digits_of(text)
    year, month, day = int(text[:2]), int(text[2:4]), int(text[4:6])
    century = (1900, 2000, 2100, 2200, 1800)[month // 20]
    if not _is_date(century + year, month % 20, day):
        return False
    return (10 - weighted(text, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3), 10)) % 10 == digits[10]


def personnummer(text: str) -> bool:
    """Sweden: a date of birth (the day of a coordination number is 60 more) and Luhn's check digit over ten digits."""
    digits = "".join(map(str, digits_of(text)))[-10:]
    month, day = int(digits[2:4]), int(digits[4:6])
    return _is_date(2000 + int(digits[:2]), month, day - 60 if day > 60 else day) and luhn(digits)


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        dt.date(year, month, day)
    except ValueError:
        return month == 2 and day == 29  # of which century is not always told
    return True


# By category: how one looks, what is quickly found where one is, and whether it is one. Groups have names of their own.
IDENTITIES: tuple[tuple[str, str, str, Callable[[str], bool] | None], ...] = (
    ("us_ssn", r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])", r"\d{3}-\d{2}-\d", ssn),
    # HMRC, NIM39110: two letters of those that are used, six digits, a letter from A to D.
    (
        "uk_nino",
        r"(?<!\w)(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D](?!\w)",
        r"[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]",
        None,
    ),
    (
        "es_dni",
        r"(?<![\w-])(?:\d{8}|\d{2}\.\d{3}\.\d{3}|[XYZ]-?\d{7})-?[A-HJ-NP-TV-Z](?![\w-])",
        r"\d{3}\.?\d{3}-?[A-Z]",
        dni,
    ),
    (
        "it_codice_fiscale",
        r"(?<!\w)[A-Z]{6}[0-9LMNP-V]{2}[ABCDEHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z](?!\w)",
        r"[A-Z]{6}[0-9L-V]{2}[A-T]",
        codice_fiscale,
    ),
    (
        "fr_nir",
        r"(?<!\w)[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}(?!\w)",
        r"\d ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3}",
        nir,
    ),
    (
        "de_steuer_id",
        r"(?<!\w)(?:\d{2} \d{3} \d{3} \d{3}|"
        r"(?<=(?i:steuer-?id|steueridentifikationsnummer|idnr|tax ?id|tin)\W{1,4})\d{11})(?!\w)",
        r"\d{2} ?\d{3} ?\d{3} ?\d{3}",
        steuer_id,
    ),
    ("br_cpf", r"(?<![\w.])\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w-])", r"\d{3}\.\d{3}\.\d{3}-", cpf),
    ("pl_pesel", r"(?<=(?i:pesel)\W{1,4})\d{11}(?!\w)", r"\d{11}", pesel),
    ("se_personnummer", r"(?<![\w-])(?:19|20)?\d{6}[-+]\d{4}(?![\w-])", r"\d{6}[-+]\d{4}", personnummer),
    ("in_aadhaar", r"(?<![\w-])[2-9]\d{3} \d{4} \d{4}(?![\w-]| \d)", r"\d{4} \d{4} \d{4}", verhoeff),
)
