"""Files that a request names by their ids, of those that were uploaded to /v1/files."""

from collections.abc import Collection

from gateway.fields import invalid
from gateway.responses.parts import Attachment, Attachments
from gateway.vectorstores.access import no_file, open_files
from gateway.vectorstores.ids import uid_of
from knowledge.access import Access
from knowledge.models.documents import FILE_START

MOST_FILES = 20


def attachments_load(names: Collection[str], access: Access) -> Attachments:
    """Return the files of ``names``; raises BadRequest and StoredFileNotFound. Asks the database."""
    if len(names) > MOST_FILES:
        raise invalid("input", f"'input' names {len(names)} files; {MOST_FILES} are the most.")
    uids = {name: uid_of(name, FILE_START) for name in names}
    if strange := next((name for name, uid in uids.items() if uid is None), None):
        raise no_file(strange, param="input")
    rows = open_files(access).filter(uid__in=list(uids.values())).select_related("content")
    found = {row.public_id: Attachment(name=row.name, data=bytes(row.content.data)) for row in rows}
    if missing := next((name for name in names if name not in found), None):
        raise no_file(missing, param="input")
    return found
