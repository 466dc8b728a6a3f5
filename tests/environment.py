"""The surroundings of a test run, set before Django reads its settings (a pytest plugin, see pyproject.toml).

Nothing of the developer's own installation is touched: the run has a data directory, a database and keys of its own.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

# In the system's folder for temporary files and open to pass through, since the embedded PostgreSQL of a run as
# root drops to an account of its own; a checkout may lie where that account cannot go.
DATA_DIR = Path(tempfile.mkdtemp(prefix="moe-tests-"))
DATA_DIR.chmod(0o711)

for name in (
    "OLLAMA_BASE_URL",
    "OLLAMA_API_KEY",
    "DATABASE_URL",
    "SECRET_KEY",
    "ALLOWED_HOSTS",
    "REQUIRE_API_KEY",
    "REDIS_URL",
):
    os.environ.pop(name, None)
# Containers often say so. Then pytest rewrites every file of tests in each of its processes, and each of the hundred
# processes that the tests start compiles the whole project.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ |= {
    "MOE_ENV_FILE": str(DATA_DIR / "no.env"),
    "MOE_DATA_DIR": str(DATA_DIR / "in-process"),
    "EMBEDDED_MODELS": "off",
    "DJANGO_SETTINGS_MODULE": "moe_site.settings",
}


@atexit.register
def _clean_up() -> None:
    # Registered before the embedded PostgreSQL's own exit handler, so it runs after that.
    shutil.rmtree(DATA_DIR, ignore_errors=True)
