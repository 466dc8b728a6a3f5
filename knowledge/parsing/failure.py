"""Why a document could not be read."""


class ParseFailed(Exception):
    """A document could not be read.

    ``code`` is stable, for programs: "broken", "closed", "crashed", "empty", "encrypted", "out_of_memory", "scanned",
    "timed_out", "too_large" or "unsupported". ``message`` is a sentence for people that says what to do. ``detail``
    is for the log: what went wrong where, never text of the document.
    """

    def __init__(self, code: str, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail


def broken(what: str, *, detail: str = "") -> ParseFailed:
    """Return the failure of a file that says it is ``what`` ("a PDF") and cannot be read as one."""
    return ParseFailed(
        "broken",
        f"The file looks like {what} but cannot be read: it is damaged or was cut off. Open it in the program that "
        "made it, save it anew and upload it again.",
        detail=detail,
    )


def encrypted(what: str) -> ParseFailed:
    """Return the failure of a file that needs a password."""
    return ParseFailed(
        "encrypted", f"{what} is protected by a password. Save a copy without the protection and upload that."
    )


def too_large(what: str) -> ParseFailed:
    """Return the failure of a file that grows too large when it is read; ``what`` is a clause."""
    return ParseFailed("too_large", f"{what}. Split the document into smaller files and upload those.")


def out_of_memory() -> ParseFailed:
    """Return the failure of a document that needs more memory than there is."""
    return ParseFailed(
        "out_of_memory", "The document needs more memory than it may have to be read. Split it into smaller files."
    )
