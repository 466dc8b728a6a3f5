"""What each check finds and what it leaves alone. Every value is made up, or one that its issuer gives for tests."""

import json
from pathlib import Path

import pytest

from gateway.guards import credentials, personal
from gateway.guards.guard import Guards, Size, made
from gateway.guards.judging import Judge
from gateway.guards.options import EXAMPLES, PROPERTIES, problems
from gateway.guards.spoken import Spoken
from gateway.guards.texts import hidden, json_rewritten, rewritten, texts_of
from gateway.guards.verdicts import FORMS, Unreadable, Verdict, verdict_of
from gateway.guards.wordlist import wordlist
from gateway.models import Guard
from gateway.models.keys import new_key_text
from routing.backends.protocol import Message, Text, ToolCall

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "routing"
SECRETS = credentials.secrets(frozenset(credentials.KINDS))
PERSONAL = personal.personal(frozenset(personal.KINDS))


def found(patterns, text):
    return [(span.category, text[span.start : span.end]) for span in patterns.spans(text)]


def categories(patterns, text):
    return [category for category, _ in found(patterns, text)]


# Put together here, so that no scanner of repositories takes this file for a leak.
RANDOM = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY" + "zC5tR7"
LINES = "\n".join("MIIEowIBAAKCAQEAu1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRge" for _ in range(4))
LEAKS = [
    ("moe_key", "sk-" + "moe-" + RANDOM + "_-9"),
    ("openai_key", "sk-" + "proj-" + RANDOM),
    ("openai_key", "sk-" + "ant-" + RANDOM),
    ("aws_key", "AKIA" + "Q3EGRIV7XUW2PL6M"),
    ("github_token", "ghp_" + RANDOM[:36]),
    ("github_token", "github_" + "pat_" + RANDOM),
    ("gitlab_token", "glpat-" + RANDOM[:20]),
    ("slack_token", "xoxb-" + "2841093756-" + RANDOM[:24]),
    ("google_key", "AIza" + RANDOM[:35]),
    ("stripe_key", "sk_" + "live_" + RANDOM[:24]),
    ("huggingface_token", "hf_" + RANDOM[:34]),
    ("npm_token", "npm_" + RANDOM[:36]),
    ("telegram_token", "110201543" + ":AA" + RANDOM[:33]),
    ("private_key", f"-----BEGIN RSA PRIVATE KEY-----\n{LINES}\n-----END RSA PRIVATE KEY-----"),
    ("private_key", f"-----BEGIN PRIVATE KEY-----\n{LINES}"),
    ("jwt", "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0" + ".dozjgNryP4J3jVmNHl0w5N"),
]


class TestSecrets:
    @pytest.mark.parametrize(("category", "secret"), LEAKS)
    def test_are_found_wherever_they_stand(self, category, secret):
        for text in (secret, f"It is {secret}.", f'{{"key": "{secret}"}}', f"export X={secret}\n"):
            assert (category, secret) in found(SECRETS, text)

    def test_a_key_of_this_endpoint_is_found_whichever_it_is(self):
        for _ in range(200):
            key = new_key_text()
            assert found(SECRETS, f"Bearer {key}") == [("moe_key", key)]

    @pytest.mark.parametrize(
        ("text", "secret"),
        [
            ("postgres://bob:h7-Kq2x@db.example:5432/shop", "h7-Kq2x"),
            ("https://deploy:9f8e7d6c5b@git.example/x.git", "9f8e7d6c5b"),
            ("DB_PASSWORD=xK9#mP2$vL5n", "xK9#mP2$vL5n"),
            ('"client_secret": "q8Z~4nV2pL7wX1sD9fG3hJ6k"', "q8Z~4nV2pL7wX1sD9fG3hJ6k"),
            ("api_key: zX81kQ0pLm3VbN5t", "zX81kQ0pLm3VbN5t"),
            ("password = 'S0mmer!Nacht'", "S0mmer!Nacht"),
            ("Passwort: Blau7Himmel!", "Blau7Himmel!"),
            (
                "aws_secret_access_key = wJ4lrXUt" + "nFEMI7MDENGbPxRfiCYzZ9kEy0Qq2",
                "wJ4lrXUt" + "nFEMI7MDENGbPxRfiCYzZ9kEy0Qq2",
            ),
        ],
    )
    def test_passwords_are_found_where_they_are_assigned(self, text, secret):
        assert [value for _, value in found(SECRETS, text)] == [secret]

    @pytest.mark.parametrize(
        "text",
        [
            "postgres://user:password@localhost/db",
            "https://user:${PASSWORD}@host.example/",
            "http://example.org:8000/a@b",
            "password = os.environ['DB_PASSWORD']",
            "api_key: your-api-key",
            "token = get_token_from_config(name)",
            "secret: correct horse battery staple",
            "password: Optional[str] = None",
            "current_api_key: _SomeApiKeyT | None",
            "api_key = settings.openai_api_key_2",
            "sk-learn-is-a-library-for-python",
            "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "AKIA" + "IOSFODNN7EXAMPLE",
            "A PEM file begins with -----BEGIN PRIVATE KEY----- and has base64 in it.",
            f"-----BEGIN PUBLIC KEY-----\n{LINES}\n-----END PUBLIC KEY-----",
            "commit 3f786850e387550fdab836ed7e6dc881de23001b",
            "The keyboard: what is the token limit?",
        ],
    )
    def test_what_only_looks_like_one_is_not(self, text):
        assert found(SECRETS, text) == []

    def test_people_s_prompts_have_none(self):
        if not DATA.is_dir():
            pytest.skip("The routing prompts are not beside the checkout (shared/data/routing).")
        lines = [line for file in DATA.glob("*.jsonl") for line in file.read_text().splitlines()]
        texts = [str(json.loads(line)["prompt"]) for line in lines]
        assert len(texts) > 1_000
        assert [text for text in texts if found(SECRETS, text)] == []


class TestPersonal:
    @pytest.mark.parametrize(
        ("category", "text", "value"),
        [
            ("email", "Write to Anna.Kern+x@mail.shop.example.", "Anna.Kern+x@mail.shop.example"),
            ("email", "mailto:büro@bücher.example", "büro@bücher.example"),
            ("phone", "Call +49 30 901820 now", "+49 30 901820"),
            ("phone", "0049 (30) 901820", "0049 (30) 901820"),
            ("phone", "(212) 555-0187", "(212) 555-0187"),
            ("phone", "tel.: 030/123456-7", "030/123456-7"),
            ("iban", "DE89 3704 0044 0532 0130 00 BIC COBADEFF", "DE89 3704 0044 0532 0130 00"),
            ("iban", "gb82WEST12345698765432", "gb82WEST12345698765432"),
            ("iban", "NO93 8601 1117 947.", "NO93 8601 1117 947"),
            ("card", "4111 1111 1111 1111 12/29", "4111 1111 1111 1111"),
            ("card", "5555-5555-5555-4444", "5555-5555-5555-4444"),
            ("card", "3782 822463 10005", "3782 822463 10005"),
            ("card", "6011000990139424", "6011000990139424"),
            ("card", "30569309025904", "30569309025904"),
            ("us_ssn", "SSN 078-05-1120", "078-05-1120"),
            ("uk_nino", "NI: AB 12 34 56 C", "AB 12 34 56 C"),
            ("es_dni", "DNI 12345678Z", "12345678Z"),
            ("es_dni", "NIE X1234567L", "X1234567L"),
            ("it_codice_fiscale", "RSSMRA85T10A562S", "RSSMRA85T10A562S"),
            ("fr_nir", "2 55 08 14 168 025 38", "2 55 08 14 168 025 38"),
            ("de_steuer_id", "IdNr 86095742719", "86095742719"),
            ("de_steuer_id", "86 095 742 719", "86 095 742 719"),
            ("br_cpf", "CPF 111.444.777-35", "111.444.777-35"),
            ("pl_pesel", "PESEL: 44051401359", "44051401359"),
            ("se_personnummer", "19811228-9874", "19811228-9874"),
            ("in_aadhaar", "2345 6789 0124", "2345 6789 0124"),
            ("ip", "from 192.168.10.20:8080", "192.168.10.20"),
            ("ip", "2001:db8::8a2e:370:7334", "2001:db8::8a2e:370:7334"),
        ],
    )
    def test_is_found(self, category, text, value):
        assert (category, value) in found(PERSONAL, text)

    @pytest.mark.parametrize(
        "text",
        [
            "git@github.com:owner/name.git",
            "https://bob:secret@host.example/",
            "@decorator and a @ b",
            "DE89 3704 0044 0532 0130 01",
            "4111 1111 1111 1112 and 4111111111111112",
            "0000 0000 0000 0000",
            "order 6011000990139424x",
            "666-12-1234, 000-12-1234, 900-12-1234, 123-00-1234",
            "12345678A",
            "111.444.777-36",
            "44051401359",
            "86095742719",
            "19811328-9874",
            "2345 6789 0123",
            "127.0.0.1, 0.0.0.0, 1.2.3.4.5, 256.1.1.1, ::1 and std::vector",
            "GST ID : 002017394688",
            "In 2026 there were 1 234 567 people; pi is 3.14159265358979.",
            "2026-11-26 23:19:56 and 1700000000",
        ],
    )
    def test_what_only_looks_like_it_is_not(self, text):
        assert found(PERSONAL, text) == []

    def test_addresses_of_machines_are_found_only_where_they_are_asked_for(self):
        usual = personal.personal(frozenset(personal.USUAL))
        assert found(usual, "192.168.10.20") == []
        assert categories(personal.personal(frozenset({"ip"})), "192.168.10.20 b@x.example") == ["ip"]


class TestWords:
    def test_fit_on_their_borders_and_whatever_their_case(self):
        patterns = wordlist(["falcon", "Zürich", "C++", "機密", "two words"], [], "WORD")
        text = "Falcon FALCONS zürich Zu\u0308rich C++ c++x 極機密 two \n words twowords"
        assert [value for _, value in found(patterns, text)] == [
            *("Falcon", "zürich", "Zu\u0308rich", "C++", "c++", "機密", "two \n words"),
        ]

    def test_patterns_keep_their_own_case(self):
        patterns = wordlist([], [r"ORD-\d+", r"(?i)secret\s+plan", r"(?x) a \d # a comment"], "ORDER")
        assert found(patterns, "ORD-12 ord-12 Secret  PLAN a1") == [
            ("pattern", "ORD-12"), ("pattern", "Secret  PLAN"), ("pattern", "a1"),
        ]  # fmt: skip

    @pytest.mark.parametrize(("pattern", "said"), [("(", "no regular expression"), ("a*", "fit everywhere")])
    def test_what_is_no_pattern_is_said(self, pattern, said):
        with pytest.raises(ValueError, match=said):
            wordlist([], [pattern], "WORD")


class TestLanguage:
    GERMAN = "Bitte fasse den folgenden Text in drei Sätzen zusammen, danke."

    def test_another_than_the_permitted_is_found(self):
        assert Spoken(frozenset({"en"})).asked(self.GERMAN) == ("de",)
        assert Spoken(frozenset({"en", "de"})).asked(self.GERMAN) == ()

    def test_what_is_quoted_does_not_count(self):
        asked = f"Translate this into English, please:\n\n```\n{self.GERMAN * 5}\n```"
        assert Spoken(frozenset({"en"})).asked(asked) == ()

    @pytest.mark.parametrize("text", ["", "Hallo", "42", "xkcd qwrt zzz"])
    def test_what_cannot_be_told_is_permitted(self, text):
        assert Spoken(frozenset({"fr"})).of(text) == ()


class TestSize:
    @pytest.mark.parametrize(
        ("size", "beyond"),
        [(Size(characters=10), "characters"), (Size(tokens=3), "tokens"), (Size(characters=11, tokens=4), None)],
    )
    def test_says_what_is_too_much(self, size, beyond):
        found = size.beyond(11, lambda: 4.0)
        assert (found and found[0]) == beyond


class TestVerdicts:
    @pytest.mark.parametrize(
        ("answer", "verdict"),
        [
            ("safe", Verdict(False)),
            ("\n\nsafe", Verdict(False)),
            ("unsafe\nS1,S10", Verdict(True, ("S1", "S10"))),
            ("**unsafe** S2", Verdict(True, ("S2",))),
            ("Yes", Verdict(True)),
            ("No, it does not.", Verdict(False)),
            ("<think>is it? yes</think>\n<score> no </score>", Verdict(False)),
            ("<score>yes</score>", Verdict(True)),
            ('{"safe": false, "category": "violence"}', Verdict(True, ("violence",))),
            ('```json\n{"verdict": "SAFE"}\n```', Verdict(False)),
            ('{"flagged": true, "categories": ["a", "b", 3]}', Verdict(True, ("a", "b"))),
        ],
    )
    def test_are_read_as_each_model_gives_them(self, answer, verdict):
        assert verdict_of(answer) == verdict

    @pytest.mark.parametrize("answer", ["", "I cannot help with that.", '{"x": 1}', "{", "perhaps"])
    @pytest.mark.parametrize("form", FORMS)
    def test_what_is_none_is_said(self, answer, form):
        with pytest.raises(Unreadable):
            verdict_of(answer, form)

    def test_a_form_reads_nothing_else(self):
        with pytest.raises(Unreadable):
            verdict_of("Yes", "llama-guard")
        assert verdict_of("Yes", "shieldgemma") == Verdict(True)

    def test_of_categories_only_those_that_were_chosen_count(self):
        judge = Judge(expert="guard", categories=frozenset({"S1"}))
        assert judge.counts(Verdict(True, ("S1", "S9"))) == ("S1",)
        assert judge.counts(Verdict(True, ("S9",))) == ()
        assert judge.counts(Verdict(True)) == ("unsafe",)


class TestAJudgeIsAsked:
    MESSAGES = [
        Message(role="system", parts=(Text(text="Be kind."),)),
        Message(role="user", parts=(Text(text="Hello {conversation}"),)),
        Message(role="assistant", parts=(Text(text="Hi!"),)),
    ]

    def test_with_the_conversation_as_it_is(self):
        request = Judge(expert="guard", turns=2).request(self.MESSAGES)
        assert [(turn.role, turn.text) for turn in request.messages] == [
            ("user", "Hello {conversation}"), ("assistant", "Hi!"),
        ]  # fmt: skip
        assert (request.model, request.sampling.temperature) == ("guard", 0)

    def test_or_with_words_of_its_own_into_which_texts_are_put_as_they_are(self):
        prompt = "Judge {text}\nin {conversation}"
        (turn,) = Judge(expert="guard", turns=2, prompt=prompt).request(self.MESSAGES).messages
        assert turn.text == "Judge Hi!\nin User: Hello {conversation}\n\nAssistant: Hi!"


class TestTexts:
    def test_every_text_of_a_message_is_rewritten(self):
        message = Message(
            role="assistant",
            parts=(Text(text="a"),),
            reasoning="a",
            tool_calls=(ToolCall(id="1", name="a", arguments='{"a": ["a", 1]}'),),
        )
        (changed,) = rewritten((message,), str.upper)
        assert (changed.text, changed.reasoning, changed.tool_calls[0].arguments) == ("A", "A", '{"A": ["A", 1]}')
        assert changed.tool_calls[0].name == "a"

    def test_one_that_stays_as_it_is_stays_the_same_object(self):
        message = Message(role="user", parts=(Text(text="A"),))
        assert rewritten((message,), str.upper)[0] is message

    @pytest.mark.parametrize(
        ("text", "changed"),
        [
            ('{"card": 4111}', '{"card": "[X]"}'),
            ('{"a": "\\u0034111"}', '{"a": "[X]"}'),
            ('{ "a" : true, "b": null }', '{ "a" : true, "b": null }'),
            ("no JSON 4111", "no JSON [X]"),
        ],
    )
    def test_a_mask_never_breaks_json(self, text, changed):
        assert json_rewritten(text, lambda found: found.replace("4111", "[X]")) == changed

    def test_what_else_a_message_has_is_a_text_too_but_not_the_name_of_a_function(self):
        extra = {"context": {"signed by Anna": ["Anna", 1, None]}}
        turns = (
            Message(role="user", parts=(Text(text="Hello"),), name="Anna", extra=extra),
            Message(role="tool", parts=(Text(text="Done"),), name="Anna"),
        )
        asked, told = rewritten(turns, lambda text: text.replace("Anna", "[X]"))
        assert (asked.name, asked.extra) == ("[X]", {"context": {"signed by [X]": ["[X]", 1, None]}})
        assert told is turns[1]
        assert list(texts_of(turns)) == ["Hello", "Anna", "context", "signed by Anna", "Anna", "Done"]

    def test_what_came_back_is_hidden_again_in_what_is_kept(self):
        restored = {"b@x.example": "[EMAIL_1]", "bb@x.example": "[EMAIL_2]"}
        answer = {"message": {"content": "To bb@x.example, b@x.example.", "tool_calls": [{"n": 1}]}}
        kept = {"message": {"content": "To [EMAIL_2], [EMAIL_1].", "tool_calls": [{"n": 1}]}}
        assert hidden(answer, restored) == kept
        assert hidden(answer, {}) is answer

    def test_what_came_back_in_json_is_hidden_as_it_is_spelt_there(self):
        name = 'HOUSE\\anna "the boss" Müller'
        arguments = json.dumps({"to": name}, ensure_ascii=False)
        assert hidden([name, arguments], {name: "[NAME_1]"}) == ["[NAME_1]", '{"to": "[NAME_1]"}']


class TestSettings:
    def said(self, check, settings=None, **fields):
        given = {"places": ["input"], "action": "refuse", "has_expert": check == "expert"} | fields
        return list(problems(check=check, settings={} if settings is None else settings, **given))

    @pytest.mark.parametrize("check", PROPERTIES)
    def test_the_examples_on_the_page_are_right(self, check):
        place = "retrieved" if check == "injection" else "input"
        action = "mask" if "restore" in EXAMPLES[check] else "refuse"
        settings = json.loads(EXAMPLES[check])
        assert self.said(check, settings, places=[place], action=action) == []
        guard = made(name="x", check=check, places=[place], action=action, settings=settings, expert="guard")
        assert guard.check == check

    def test_every_check_of_the_table_has_settings(self):
        assert set(Guard.Check.values) == set(PROPERTIES) == set(EXAMPLES)

    @pytest.mark.parametrize(
        ("check", "settings", "said"),
        [
            ("size", {}, "needs “characters” or “tokens”"),
            ("size", {"tokens": 9, "characters": 0}, "characters: 0 is less than"),
            ("size", {"caracters": 5}, "knows no “caracters”; it knows “characters”"),
            ("language", {"languages": ["english"]}, "'english' is no code of a language"),
            ("secrets", {"kinds": ["aws"]}, "'aws' is not one of “api_key”"),
            ("personal", {"restore": True}, "“restore” gives clients back"),
            ("words", {"words": [" "]}, "words.0: it is empty"),
            ("words", {"patterns": ["("]}, "patterns: “(” is no regular expression"),
            ("expert", {"fail": "shut"}, "'shut' is not one of “open”, “closed”"),
            ("expert", [], "Enter a JSON object"),
        ],
    )
    def test_what_is_wrong_is_said_in_words(self, check, settings, said):
        (problem, *_) = self.said(check, settings)
        assert problem[0] == "settings"
        assert said in problem[1]

    def test_checks_stay_where_they_make_sense(self):
        assert self.said("secrets", places=[]) == [("places", "Choose at least one place.")]
        assert self.said("size", {"tokens": 5}, places=["output"])[0][0] == "places"
        assert self.said("injection", places=["input", "retrieved"])[0][0] == "places"
        assert self.said("language", {"languages": ["en"]}, action="mask")[0][0] == "action"
        assert self.said("language", {"languages": ["en"]}, action="mask", places=["retrieved"]) == []
        assert self.said("expert", has_expert=False)[0] == ("expert", "Choose who judges.")
        assert self.said("secrets", has_expert=True)[0][0] == "expert"


class TestWhichGuards:
    def test_a_profile_has_its_own_among_those_of_every_request_in_their_order(self):
        def guard(name, profile=None):
            return made(name=name, check="secrets", places=["input"], action="log", settings={}, profile=profile)

        guards = Guards.of([guard("a"), guard("b", "team"), guard("c"), guard("d", "other")])
        assert [one.name for one in guards.for_model("team")] == ["a", "b", "c"]
        assert [one.name for one in guards.for_model("llama3.2:3b")] == ["a", "c"]

    @pytest.mark.parametrize(("action", "opens"), [("log", True), ("mask", False), ("refuse", False)])
    def test_what_cannot_tell_is_refused_unless_it_only_notes(self, action, opens):
        settings = {"words": ["x"]}
        assert made(name="x", check="words", places=["input"], action=action, settings=settings).fails_open is opens
        for said in ("open", "closed"):
            guard = made(name="x", check="words", places=["input"], action=action, settings=settings | {"fail": said})
            assert guard.fails_open is (said == "open")
