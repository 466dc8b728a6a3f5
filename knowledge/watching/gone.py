"""Documents that are not in their source any more: found as before, until somebody keeps or deletes them."""

from collections.abc import Iterable

from knowledge.models import Document


def documents_keep(documents: Iterable[Document]) -> int:
    """Let documents that are gone from their sources stay, as documents of no source; return how many they were."""
    gone = Document.objects.filter(missing_since__isnull=False)
    return sum(gone.filter(pk=one.pk).update(watch=None, missing_since=None) for one in documents)
