"""The bytes that documents are made of, kept once each and as long as something refers to them."""

import hashlib

from knowledge.models import StoredContent


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def content_store(data: bytes, sha256: str) -> None:
    """Keep ``data``, and keep others from deleting it until the transaction, which is to refer to it, ends."""
    kept = StoredContent.objects.select_for_update(no_key=True).filter(pk=sha256).values_list("pk")
    if not list(kept):
        StoredContent.objects.bulk_create(
            [StoredContent(sha256=sha256, data=data, size=len(data))],
            update_conflicts=True,
            unique_fields=["sha256"],
            update_fields=["size"],
        )


def contents_forget(contents: list[str]) -> None:
    """Delete those contents that no revision and no uploaded file refers to any more."""
    # Locked before it is looked who refers to them, by a statement of its own: whoever is about to has them locked.
    kept = StoredContent.objects.select_for_update().filter(pk__in=contents).order_by("pk").values_list("pk", flat=True)
    StoredContent.objects.filter(pk__in=list(kept), revisions=None, files=None).delete()
