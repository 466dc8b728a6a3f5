"""Source code, cut where something new begins at the left margin."""

import re
from collections.abc import Iterator

from knowledge.parsing.cleaning import clean_code
from knowledge.parsing.draft import Draft
from knowledge.parsing.encoding import decode
from knowledge.parsing.source import Source

# Suffix -> language; the type is text/x-<language>.
LANGUAGES = {
    **dict.fromkeys((".py", ".pyi", ".pyw"), "python"),
    **dict.fromkeys((".js", ".mjs", ".cjs", ".jsx"), "javascript"),
    **dict.fromkeys((".ts", ".tsx", ".mts", ".cts"), "typescript"),
    **dict.fromkeys((".c", ".h"), "c"),
    **dict.fromkeys((".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx"), "cpp"),
    **dict.fromkeys((".sh", ".bash", ".zsh", ".ksh"), "shell"),
    **dict.fromkeys((".yaml", ".yml"), "yaml"),
    **dict.fromkeys((".ini", ".cfg", ".conf", ".properties", ".env"), "ini"),
    **dict.fromkeys((".ex", ".exs"), "elixir"),
    **dict.fromkeys((".pl", ".pm"), "perl"),
    **dict.fromkeys((".kt", ".kts"), "kotlin"),
    **dict.fromkeys((".ps1", ".psm1"), "powershell"),
    **dict.fromkeys((".clj", ".cljs", ".edn"), "clojure"),
    **dict.fromkeys((".tf", ".hcl"), "hcl"),
    **dict.fromkeys((".ml", ".mli"), "ocaml"),
    **dict.fromkeys((".css", ".scss", ".sass", ".less"), "css"),
    **dict.fromkeys((".f", ".f90", ".f95", ".for"), "fortran"),
    **dict.fromkeys((".pas", ".dpr"), "pascal"),
    **{
        f".{suffix}": language
        for suffix, language in {
            "java": "java",
            "go": "go",
            "rs": "rust",
            "rb": "ruby",
            "php": "php",
            "cs": "csharp",
            "fs": "fsharp",
            "vb": "visualbasic",
            "swift": "swift",
            "scala": "scala",
            "groovy": "groovy",
            "gradle": "groovy",
            "m": "objectivec",
            "r": "r",
            "jl": "julia",
            "lua": "lua",
            "dart": "dart",
            "hs": "haskell",
            "erl": "erlang",
            "lisp": "lisp",
            "el": "lisp",
            "sql": "sql",
            "graphql": "graphql",
            "proto": "protobuf",
            "toml": "toml",
            "dockerfile": "dockerfile",
            "cmake": "cmake",
            "mk": "makefile",
            "bat": "batch",
            "vue": "vue",
            "svelte": "svelte",
            "nix": "nix",
            "zig": "zig",
            "sol": "solidity",
            "asm": "assembly",
            "s": "assembly",
            "diff": "diff",
            "patch": "diff",
        }.items()
    },
}
NAMES = {"dockerfile": "dockerfile", "makefile": "makefile", "cmakelists.txt": "cmake", "jenkinsfile": "groovy"}
_SHEBANG = re.compile(r"#!\s*\S*/(?:env\s+(?:-S\s+)?)?(python|node|bash|zsh|sh|perl|ruby|php|lua|Rscript)")
_INTERPRETERS = {"node": "javascript", "bash": "shell", "zsh": "shell", "sh": "shell", "Rscript": "r"}
# What stands at the left margin and still belongs to what is above it.
_CONTINUES = re.compile(r"[)\]}>.&|]|\*/|(?:else|elif|except|finally|catch|end|fi|done|esac|then|do|when|where)\b")
SMALLEST_PART = 400  # characters; a shorter one stays with the next
LARGEST_PART = 4000  # a larger one is cut again, where its members begin


def language_of(source: Source, text: str = "") -> str:
    """Return the programming language that a file's name or first line tells, "" for neither."""
    found = LANGUAGES.get(source.suffix) or NAMES.get(source.base_name.lower())
    if not found and (shebang := _SHEBANG.match(text)):
        found = _INTERPRETERS.get(shebang[1], shebang[1])
    return found or ""


def read(source: Source, draft: Draft) -> None:
    """Write source code into ``draft``, a block for each few definitions."""
    text = decode(source.data, source.charset)
    language = language_of(source, text)
    draft.mime = f"text/x-{language}"
    for part in parts_of(clean_code(text)):
        draft.code(part, language)


def parts_of(text: str, margin: int = 0) -> Iterator[str]:
    """Yield ``text`` in parts that begin after a blank line at the left ``margin``, none of them tiny.

    What is large (a class) is cut once more at the margin of what is in it.
    """
    for part in _cut(text, margin):
        inner = min((_indent(line) for line in part.split("\n") if _indent(line) > margin), default=margin)
        if len(part) > LARGEST_PART and margin == 0 < inner:
            yield from parts_of(part, inner)
        else:
            yield part


def _cut(text: str, margin: int) -> Iterator[str]:
    part: list[str] = []
    size = 0
    blank = False
    for line in text.split("\n"):
        begins = blank and bool(line) and _indent(line) <= margin and not _CONTINUES.match(line.lstrip())
        if begins and size >= SMALLEST_PART:
            yield "\n".join(part)
            part, size = [], 0
        part.append(line)
        size += len(line) + 1
        blank = not line
    yield "\n".join(part)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
