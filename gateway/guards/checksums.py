"""Check digits: what tells a number of a card or an account from any other number. Pure."""

# ISO 13616, the registry of IBANs by SWIFT: how long an account's number is in each country.
IBAN_LENGTHS = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}


def digits_of(text: str) -> list[int]:
    return [int(character) for character in text if "0" <= character <= "9"]


def luhn(text: str) -> bool:
    """Tell whether the digits of ``text`` end with Luhn's check digit (ISO/IEC 7812-1), and are not all the same."""
    digits = digits_of(text)
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + doubled) % 10 == 0


def iban(text: str) -> bool:
    """Tell whether ``text`` is an IBAN by its check digits (ISO 7064, mod 97-10)."""
    compact = "".join(text.split()).upper()
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def verhoeff(text: str) -> bool:
    """Tell whether the digits of ``text`` end with Verhoeff's check digit."""
    check = 0
    for place, digit in enumerate(reversed(digits_of(text))):
        check = _product(check, _permuted(place % 8, digit))
    return check == 0


def _product(one: int, other: int) -> int:
    """Multiply in the dihedral group of ten elements."""
    if one < 5:
        return (one + other) % 5 + (5 if other >= 5 else 0)
    return (one - other) % 5 + (5 if other < 5 else 0)


def _permuted(times: int, digit: int) -> int:
    for _ in range(times):
        digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
    return digit


def mod_11_10(text: str) -> bool:
    """Tell whether the digits of ``text`` end with the check digit of ISO 7064, mod 11,10."""
    *body, last = digits_of(text)
    product = 10
    for digit in body:
        product = ((digit + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == last


def weighted(text: str, weights: tuple[int, ...], modulus: int) -> int:
    """Return the remainder of the sum of the first digits of ``text``, each times its weight."""
    return sum(digit * weight for digit, weight in zip(digits_of(text), weights, strict=False)) % modulus
