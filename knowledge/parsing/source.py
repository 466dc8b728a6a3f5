"""A file to be parsed."""

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The bytes of a file, what it is called and what it was declared to be; both only hints."""

    data: bytes
    name: str
    mime: str = ""

    @property
    def base_name(self) -> str:
        """The name without folders, whichever slashes divide them."""
        return PurePosixPath(self.name.replace("\\", "/")).name

    @property
    def stem(self) -> str:
        return PurePosixPath(self.base_name).stem

    @property
    def suffix(self) -> str:
        """The name's end in lower case, with its dot, "" without one."""
        return PurePosixPath(self.base_name).suffix.lower()

    @property
    def media_type(self) -> str:
        """The declared type without its parameters, in lower case."""
        return self.mime.partition(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        """The character set that was declared with the type, "" without one."""
        for parameter in self.mime.split(";")[1:]:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "charset":
                return value.strip().strip("\"'")
        return ""
