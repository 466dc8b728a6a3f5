"""What a request looks like to the router."""

import pytest

from routing import features
from tests.requests import chat_request, image, text, tool

ARTICLE = "The harbour of Lund was closed on Monday after a barge ran aground near the old customs house. " * 20


def seen(content="Hello there, how are you today?", **fields):
    return features.extract(chat_request(**{"messages": [{"role": "user", "content": content}]} | fields))


@pytest.mark.parametrize(
    "prompt",
    [
        f"Summarize this article in two sentences:\n\n{ARTICLE}",
        f"{ARTICLE}\n\nSummarize this article in two sentences:",
        f'Summarize this article in two sentences:\n"""\n{ARTICLE}\n"""',
        f"Summarize this article in two sentences:\n```\n{ARTICLE}\n```",
    ],
)
def test_the_instruction_is_told_from_what_is_pasted(prompt):
    found = seen(prompt)
    assert "Summarize this article in two sentences" in found.instruction
    assert found.instruction.count("barge") <= 1  # at most a sentence of the article, to tell what it is
    assert "barge" in found.reading.body


def test_a_request_quoted_in_the_text_is_material():
    found = seen('Make this sound friendlier: "Please translate the manual into French by Friday, no excuses."')
    assert "translate" not in found.instruction
    assert "translate" in found.reading.body


def test_a_short_prompt_is_an_instruction_as_a_whole():
    assert seen("why is the sky blue").instruction == "why is the sky blue"


@pytest.mark.parametrize(
    ("prompt", "language"),
    [
        ("Write me a poem about the sea, please", "en"),
        ("Schreib mir bitte ein Gedicht über das Meer", "de"),
        ("请写一首关于大海的诗", "zh"),
        ("海についての詩を書いてください", "ja"),
        ("Напиши стихотворение о море, пожалуйста", "ru"),
        ("اكتب لي قصيدة عن البحر من فضلك", "ar"),
        ("", ""),
        ("\ud83d 42", ""),
    ],
)
def test_the_language_is_that_of_the_instruction(prompt, language):
    assert seen(prompt).language == language


def test_an_instruction_in_another_language_than_its_text():
    assert seen(f"Fasse den folgenden Artikel bitte in zwei Sätzen zusammen:\n{ARTICLE}").language == "de"


def test_what_the_request_carries():
    plain = seen()
    assert not any((plain.has_images, plain.has_tools, plain.wants_json, plain.in_tool_loop, plain.needs))
    assert seen([text("What is this?"), image("data:image/png;base64,AAAA")]).has_images
    assert seen(tools=[tool()]).has_tools
    assert not seen(tools=[tool()], tool_choice="none").has_tools
    assert seen(response_format={"type": "json_object"}).wants_json


def test_turns_of_a_conversation():
    found = features.extract(
        chat_request(
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "First question"},
                {"role": "assistant", "content": "An answer"},
                {"role": "user", "content": "Second question"},
            ]
        )
    )
    assert (found.text, found.earlier, found.turns) == ("Second question", ("First question",), 2)
    assert "An answer" in found.conversation


def test_a_tool_loop_is_seen():
    messages = [
        {"role": "user", "content": "Weather in Lund?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "Rain"},
    ]
    assert features.extract(chat_request(messages=messages, tools=[tool()])).in_tool_loop


@pytest.mark.parametrize(
    ("prompt", "task"),
    [
        ("### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n### …", "title"),
        ("### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history", "tags"),
        ("### Task:\nSuggest 3-5 relevant follow-up questions or prompts", "follow_ups"),
        ("### Task:\nYou are an autocompletion system. Continue the text in `<text>`", "autocomplete"),
        ("### Task:\nAnalyze the chat history to determine the necessity of generating search queries", "queries"),
        ("Provide a concise, 5-word-or-less title for the conversation", "title"),
        ("### Task:\nWrite a concise essay about titles", ""),
        ("Please generate a title for my novel about bees", ""),
    ],
)
def test_background_jobs_of_chat_clients_are_recognised(prompt, task):
    assert seen(prompt).task == task


def test_the_tokens_of_the_whole_request_are_estimated():
    assert 300 < seen("word " * 300).tokens < 600
