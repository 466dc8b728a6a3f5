"""How the suite is shared out between two processes, where pytest-xdist is asked for them (`make test`)."""

import functools
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parent.parent
INSTALLATIONS = "installations"


class ByFile(LoadScopeScheduling):
    """Gives each process whole files, and one of them every file that needs an installation.

    So no installation is started twice, and of the processes that make one up there is never more than one set beside
    the tests of the other process, some of which are about time. They are begun with, being the largest share by far.
    xdist's own groups would not do: it writes them into test ids, and pytest 9.2 no longer lets it.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", 1)[0]
        return INSTALLATIONS if needs_installation(path) else path


@functools.cache
def needs_installation(path: str) -> bool:
    """Tell whether a file has tests that start an installation, or ask one that others share."""
    return "pytest.mark.served" in (ROOT / path).read_text()
