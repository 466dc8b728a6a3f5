"""The forms of the admin's pages, as a browser would send them back."""

import html
import re

import lxml.html


def filled(response, **changes):
    """Return what the form of a row's page sends where only ``changes`` are made in it."""
    (form,) = [one for one in lxml.html.fromstring(response.content).forms if (one.get("id") or "").endswith("_form")]
    sent = {}
    for name, value in form.form_values():
        sent.setdefault(name, []).append(value)
    return sent | changes


def errors_of(response):
    """Return what a refused form says above its fields and beside them, as text."""
    lists = re.findall(r'<ul class="errorlist.*?</ul>', response.content.decode(), re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", " ".join(lists))).split())
