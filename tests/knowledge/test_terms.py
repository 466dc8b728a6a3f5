import pytest

from knowledge.terms import counted, number_of, terms


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("The runners were running", "en", ["the", "runner", "were", "run"]),
        ("canción Canciones cancion", "es", ["cancion", "cancion", "cancion"]),
        ("Häuser der Größe", "de", ["haus", "der", "gross"]),
        ("ёлки и Йод", "ru", ["елк", "и", "иод"]),
        ("स्वतंत्रता", "hi", ["स्वतंत्र"]),
        ("自然语言 GPT-4 水", "zh", ["自然", "然语", "语言", "gpt", "4", "水"]),
        ("データ", "ja", ["デー", "ータ"]),
        ("naïve ﬁle Straße", "", ["naive", "file", "strasse"]),
        ("words are not stemmed", "xx", ["words", "are", "not", "stemmed"]),
        ("2cdda5c8-e50e", "en", ["2cdda5c8", "e50"]),
        ("", "en", []),
        ("…—!?", "en", []),
    ],
)
def test_terms(text, language, expected):
    assert list(terms(text, language)) == expected


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("max_tokens", "tokens"),
        ("maxTokens", "tokens"),
        ("maxTokens", "MAXTOKENS"),
        ("HTTPServer", "httpserver"),
        ("l’été", "l'ete"),
        ("مُحَمَّد", "محمد"),
        ("الكتاب", "كتاب"),
        ("ภาษาไทย", "ไทย"),
        ("서울특별시", "서울"),
    ],
)
def test_what_is_written_one_way_is_found_by_another(written, asked):
    language = "ar" if "\u0600" < asked[0] < "\u06ff" else ""
    assert set(terms(asked, language)) <= set(terms(written, language))


def test_a_run_without_spaces_of_any_length_is_read():
    assert len(list(terms("很" * 50_000, "zh"))) == 49_999
    assert [len(term) for term in terms("a" * 10_000)] == [80]


def test_numbers_are_the_same_in_every_process_and_fit_the_column():
    # Stored in a table: another number would lose every document that was read before.
    assert [number_of("haus"), number_of("自然")] == [1_651_221_785, 2_032_382_841]
    assert all(-(2**31) <= number_of(f"term {number}") < 2**31 for number in range(1000))


def test_counting():
    counts = counted("Run, runner, run!", "en")
    assert counts[number_of("run")] == 2
    assert counts.total() == 3


def test_half_a_character_is_no_obstacle():
    assert list(terms("broken \ud83d here")) == ["broken", "here"]
