"""What an answer cites, as a response says it: a file where files were searched, an address elsewhere. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.cited import Cited
from gateway.grounding import Grounded
from gateway.vectorstores.searching import FileName, scores
from knowledge.attributes import attributes_of
from routing.backends.protocol import Json

Files = Mapping[int, FileName]
"""The file that a document is, by the document's key."""


def annotations_of(cited: Cited, files: Files) -> list[dict[str, Any]]:
    """Return the annotations of a message; text[start_index:end_index] is the marker of a url_citation."""
    documents = {source["url"]: source["document"] for source in (cited.extension or {}).get("sources", ())}
    found = []
    for one in cited.annotations or ():
        inner = one["url_citation"]
        file = files.get(documents.get(inner["url"], 0))
        found.append({"type": "url_citation", **inner} if file is None else _file_citation(file, inner))
    return found


def _file_citation(file: FileName, marked: Json) -> dict[str, Any]:
    return {"type": "file_citation", "file_id": file.id, "filename": file.name, "index": marked["start_index"]}


def queries_of(grounded: Grounded) -> Sequence[str]:
    asked = grounded.asked
    return (asked.query, *asked.also) if asked else ()


def results_of(grounded: Grounded, files: Files) -> list[dict[str, Any]]:
    """Return what was found, best first."""
    passages = grounded.retrieval.passages if grounded.retrieval else ()
    return [
        {
            "file_id": files[one.document].id,
            "filename": files[one.document].name,
            "score": score,
            "text": one.text,
            "attributes": attributes_of(one.metadata),
        }
        for one, score in zip(passages, scores(passages), strict=True)
        if one.document in files
    ]
