"""What an administrator does in the admin, in a real browser, and what a client then sees."""

import json
import re
import time

import pytest

pytestmark = [pytest.mark.served, pytest.mark.browser]

ROUTING = "/admin/routing"
RULES, TRY = f"{ROUTING}/routingrule/", f"{ROUTING}/routingrule/try/"
EVALUATE, EXAMPLES = f"{ROUTING}/classifierversion/evaluate/", f"{ROUTING}/routeexample/"
DECISIONS = f"{ROUTING}/decisionrecord/"

FISH = "Refactor this Django view so that it returns every zebrafish as JSON, and write pytest tests for it."
LEAVES = "My daughter asks why the leaves turn yellow in autumn. What do I tell her?"
# Labelled as another expert's than the shelf's rule for translations will say, so that one is wrong whatever is learnt.
MISLABELLED = "Translate into French: the old cat sleeps & dreams on the sofa + the chair."
PROMPTS = (
    ("Translate into German: my brother has bought a red bicycle.", "translation"),
    ("Wie sagt man auf Spanisch: Ich habe meinen Schlüssel verloren?", "translation"),
    ("Übersetze ins Englische: Der Zug hat heute Verspätung.", "translation"),
    ("Write a Python class for a bank account with deposits and withdrawals.", "code"),
    ("Why does the Rust borrow checker refuse this closure, and how do I fix it?", "code"),
    ("Write a SQL query that lists customers without any order.", "code"),
    ("What is the integral of x squared from 0 to 3?", "math"),
    ("Prove that the square root of 2 is irrational.", "math"),
    (MISLABELLED, "math"),
    ("Write a poem about a lighthouse in November.", "writing"),
    ("Rewrite this mail so that it sounds friendlier: send me the report now.", "writing"),
    ("Write a short story about a clockmaker who is never on time.", "writing"),
)

# The texts of drawings that reach beyond them, by more than the rounding of a pixel.
OUTSIDE = """() => [...document.querySelectorAll(".plot svg")].flatMap(svg => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter(text => {
    const own = text.getBoundingClientRect();
    return own.left < box.left - 1 || own.right > box.right + 1 || own.top < box.top - 1 || own.bottom > box.bottom + 1;
  }).map(text => text.textContent);
})"""
# The contrast of the text in coloured cells, as WCAG counts it; a canvas resolves what CSS mixes.
CONTRASTS = """() => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
  const pen = canvas.getContext("2d", {willReadFrequently: true});
  const light = (...colours) => {
    for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].map(v => v / 255).map(
      v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const under = getComputedStyle(document.body).backgroundColor;
  return [...document.querySelectorAll("#confusion td[style]")].map(cell => {
    const style = getComputedStyle(cell);
    const [low, high] = [light(under, style.backgroundColor), light(under, style.color)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  });
}"""
TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


# --- what an administrator does ---------------------------------------------------------------------------------


def rule_add(page, name, keywords, expert):
    """Fill in the form of a new rule and save it."""
    page.goto(RULES)
    page.get_by_role("link", name="Add routing rule").click()
    page.get_by_label("Name:").fill(name)
    page.get_by_label("Keywords:", exact=True).fill("\n".join(keywords))
    page.locator(".field-expert .select2-selection").click()
    page.locator(".select2-search__field:focus").type(expert)
    page.locator(".select2-results__option--highlighted", has_text=expert).click()
    page.get_by_role("button", name="Save", exact=True).first.click()
    said(page, f"“{name}” was added")


def said(page, words):
    """Wait for the message that says ``words``."""
    page.locator(".messagelist .success", has_text=words).wait_for()


def row_of(page, name):
    link = page.get_by_role("link", name=name, exact=True)
    return page.locator("#result_list tbody tr").filter(has=link)


def names(page):
    return page.locator("#result_list .field-name").all_inner_texts()


def tried(page, prompt):
    """Go from the list of rules to the page for it, try ``prompt``, and return who would answer."""
    page.goto(RULES)
    page.get_by_role("link", name="Try a prompt").click()
    page.get_by_label("Prompt:").fill(prompt)
    page.get_by_role("button", name="Try", exact=True).click()
    return answering(page)


def answering(page):
    return re.search(r"\((.+)\) would answer$", page.locator("#trial h2").first.inner_text(), re.IGNORECASE)[1]


def measured(page, jsonl):
    jsonl.write_text("".join(json.dumps({"prompt": prompt, "label": label}) + "\n" for prompt, label in PROMPTS))
    page.goto(EVALUATE)
    page.get_by_label("a file", exact=True).check()
    page.get_by_label("File:", exact=True).set_input_files(jsonl)
    page.get_by_role("button", name="Evaluate").click()
    page.locator("#measurement").wait_for()


def eventually(condition, seconds):
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def decides(shop, prompt, expert, *, route=None):
    """Return whether a client is soon told that ``expert`` would answer."""
    http, body = shop.http(), {"model": "auto", "messages": [{"role": "user", "content": prompt}]}

    def told():
        found = http.post("/v1/route", json=body).json()
        return found["expert"] == expert and route in (None, found["route"])

    return eventually(told, seconds=20)


# --- the pages --------------------------------------------------------------------------------------------------


def test_rules_are_made_tried_moved_and_switched_off_and_clients_notice(page, shop):
    rule_add(page, "Fish", ("zebrafish", "clown fish"), "Math")
    assert row_of(page, "Fish").locator(".field-when").inner_text() == "any of zebrafish, clown fish"
    assert row_of(page, "Fish").locator(".field-then").inner_text() == "math answers; stops"
    assert decides(shop, FISH, "math", route="rule")
    assert tried(page, FISH) == "math"
    assert page.locator("#rules .applied th").inner_text() == "Fish"
    assert page.locator("#rules .applied td").all_inner_texts()[0] == "fits"

    rule_add(page, "Fish tales", ("zebrafish",), "Writing")
    warning = "“Fish tales” is tried only when math cannot take the request: “Fish” comes first"
    assert warning in " ".join(page.locator(".messagelist .warning").all_inner_texts())
    assert names(page)[-2:] == ["Fish", "Fish tales"]
    assert decides(shop, FISH, "math", route="rule")
    page.get_by_role("button", name="Move Fish tales up").click()
    said(page, "Moved “Fish tales” up.")
    assert names(page)[-2:] == ["Fish tales", "Fish"]
    assert decides(shop, FISH, "writing", route="rule")
    assert tried(page, FISH) == "writing"

    page.goto(RULES)
    for name in ("Fish tales", "Fish"):
        row_of(page, name).locator(".field-enabled input").uncheck()
    page.get_by_role("button", name="Save").click()
    said(page, "2 routing rules were changed successfully.")
    chosen = tried(page, FISH)
    assert chosen in ("code", "simple-code")
    assert page.locator("#rules .applied").count() == 0
    assert page.locator("#rules .off th").all_inner_texts() == ["Fish tales (disabled)", "Fish (disabled)"]
    assert decides(shop, FISH, chosen, route="classifier")


def test_a_prompt_that_no_rule_decides_becomes_an_example(page):
    chosen = tried(page, LEAVES)
    assert page.locator("#rules .applied").count() == 0
    bars = page.locator("#candidates progress")
    shares = [float(share.rstrip("%")) for share in page.locator("#candidates td:last-child").all_inner_texts()]
    assert bars.count() == len(shares) > 5
    assert 99 < sum(shares) < 101
    for bar, share in zip(bars.all(), shares, strict=True):
        assert bar.bounding_box()["width"] > 40
        assert bar.evaluate("bar => bar.position * 100") == pytest.approx(share, abs=0.6)

    other = "Summarization" if chosen != "summarization" else "Extraction"
    page.get_by_label("Expert:").select_option(f"{other} ({other.lower()})")
    page.get_by_role("button", name="This should have been …").click()
    page.locator("#trial li", has_text=f"The prompt is an example for “{other}”").wait_for()
    page.goto(EXAMPLES)
    page.locator("#searchbar").fill("leaves turn yellow in autumn")
    page.get_by_role("button", name="Search").click()
    row = page.locator("#result_list tbody tr")
    assert row.locator(".field-start").inner_text() == LEAVES
    assert row.locator(".field-expert").inner_text() == other


def test_an_evaluation_shows_numbers_a_heat_map_plots_and_what_went_wrong(page, jsonl):
    measured(page, jsonl)
    numbers = dict(zip(*(page.locator(f"#numbers {cell}").all_inner_texts() for cell in ("th", "td")), strict=True))
    assert numbers["Prompts"] == "12"
    assert 50 < float(numbers["Accuracy"].rstrip("%")) < 100

    assert page.locator("#confusion thead th").all_inner_texts()[1:] == ["CODE", "MATH", "TRANSLATION", "WRITING"]
    assert sum(int(count) for count in page.locator("#confusion td").all_inner_texts() if count != "·") == 12
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert min(page.evaluate(CONTRASTS)) > 4.5

    for width in (1280, 420):
        page.set_viewport_size({"width": width, "height": 900})
        plots = page.locator("#measurement .plot svg").all()
        assert len(plots) == 2
        for plot in plots:
            box = plot.bounding_box()
            assert box["width"] > 100
            assert box["height"] > 100
        assert page.evaluate(OUTSIDE) == []
        assert page.evaluate(TOO_WIDE) == 0

    wrong = page.locator("#wrong tbody tr").filter(has_text="the old cat sleeps")
    assert wrong.locator("td").all_inner_texts()[:4] == [MISLABELLED, "math", "translation", "rule"]
    wrong.get_by_role("link", name="Try").click()
    assert page.get_by_label("Prompt:").input_value() == MISLABELLED
    page.get_by_role("button", name="Try", exact=True).click()
    assert answering(page) == "translation"


def test_a_chat_s_decision_can_be_looked_up(page, shop):
    http = shop.http()
    chat = {"model": "auto", "messages": [{"role": "user", "content": "Prove that there are infinitely many primes."}]}
    headers = http.post("/v1/chat/completions", json=chat).raise_for_status().headers
    number, expert = headers["x-moe-decision"], headers["x-moe-expert"]
    assert headers["x-moe-route"] == "classifier"

    def listed():
        page.goto(f"{DECISIONS}?q={number}")
        return page.locator("#result_list tbody tr").count()

    assert eventually(listed, seconds=20) == 1
    assert page.locator("#result_list .field-expert").inner_text() == expert
    page.locator("#result_list .field-created_at a").click()
    page.get_by_role("heading", name=number).wait_for()
    assert expert in page.locator("#why p strong").inner_text()
    candidates = page.locator("#why table").first
    assert candidates.locator("thead th").all_inner_texts()[:2] == ["EXPERT", "PROBABILITY"]
    assert candidates.locator("tbody tr").count() > 5
    assert expert in candidates.locator("tbody th").all_inner_texts()
    assert all(re.fullmatch(r"\d+%", share) for share in candidates.locator("td:nth-child(2)").all_inner_texts())
    page.set_viewport_size({"width": 420, "height": 800})
    assert page.evaluate(TOO_WIDE) == 0


def test_the_api_is_described_and_tried_on_its_page(page, shop):
    page.goto("/docs")
    page.get_by_text("/v1/chat/completions", exact=True).first.wait_for()
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".auth-container input").fill(shop.api_key)
    page.locator(".auth-btn-wrapper .authorize").click()
    page.locator(".auth-btn-wrapper .btn-done").click()
    page.locator("#operations-models-get_v1_models .opblock-summary").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    assert "auto-fast" in page.locator(".live-responses-table .microlight").first.inner_text()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (420, "dark")])
def test_every_page_is_as_wide_as_the_window_and_complains_of_nothing(page, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    kinds = ("expert", "replica", "modelserver", "routingrule", "routingprofile", "routeexample")
    paths = ["/admin/", f"{ROUTING}/", DECISIONS, TRY, EVALUATE, f"{ROUTING}/installedmodel/"]
    paths += [f"{ROUTING}/{kind}/{rest}" for kind in kinds for rest in ("", "add/")]
    paths += [f"{RULES}import/", f"{EXAMPLES}import/", "/admin/gateway/apikey/", "/admin/gateway/apikey/add/"]
    paths += [f"{ROUTING}/classifierversion/", f"{ROUTING}/classifierversion/1/change/"]
    paths += [f"{ROUTING}/modelserver/1/state/"]
    gateway = (
        "apikey/1/change/",
        "apikey/1/rotate/",
        "keygroup/",
        "keygroup/add/",
        "guard/",
        "guard/add/",
        "guard/try/",
    )
    gateway += ("cachedanswer/", "cachedanswer/purge/", "usagerecord/", "usagehour/", "exchange/")
    paths += [f"/admin/gateway/{rest}" for rest in gateway]
    paths += ["/admin/admin/logentry/", "/admin/axes/accesslog/", "/admin/axes/accessattempt/"]
    wide = {}
    for path in paths:
        assert page.goto(path).status == 200
        if pixels := page.evaluate(TOO_WIDE):
            wide[path] = pixels
    assert wide == {}
