"""E-mails and saved web archives: MIME messages."""

from email import message_from_bytes, policy
from email.message import MIMEPart

from knowledge.parsing.cleaning import clean_line
from knowledge.parsing.draft import Draft
from knowledge.parsing.elements import write_elements
from knowledge.parsing.encoding import decode
from knowledge.parsing.failure import broken
from knowledge.parsing.html import parse_html
from knowledge.parsing.plain import write_plain
from knowledge.parsing.source import Source

HEADERS = ("Subject", "From", "To", "Cc", "Date")


def read(source: Source, draft: Draft) -> None:
    """Write a message's headers and its text into ``draft``; attachments are named in a warning."""
    try:
        message = message_from_bytes(source.data, policy=policy.default)
        body = message.get_body(preferencelist=("plain", "html"))
        headers = {name: clean_line(str(message[name])) for name in HEADERS if message[name]}
        files = [clean_line(part.get_filename() or "unnamed") for part in message.iter_attachments()]
    except (ValueError, LookupError, AttributeError, TypeError, IndexError) as error:
        raise broken("an e-mail", detail=repr(error)) from error  # the parser of the library gives up in many ways
    draft.title = headers.get("Subject", "")
    draft.note(author=headers.get("From", ""), created=headers.get("Date", ""), recipients=headers.get("To", ""))
    draft.text("\n".join(f"{name}: {value}" for name, value in headers.items()))
    if body is not None:
        _write_body(body, draft)
    if files:
        draft.warn(f"{len(files)} attachments were not read; upload them by themselves: {', '.join(files[:20])}.")


def _write_body(body: MIMEPart, draft: Draft) -> None:
    content = body.get_payload(decode=True)
    if not isinstance(content, bytes):
        return
    charset = str(body.get_content_charset() or "")
    if body.get_content_type() == "text/html":
        write_elements(parse_html(content, charset=charset), draft)
    else:
        write_plain(decode(content, charset), draft)
