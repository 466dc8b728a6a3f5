#!/usr/bin/env python
"""Run the project's commands."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moe_site.settings")
    try:
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("moe_site", "gateway", "knowledge", "routing", "tests"):
            raise  # a slip in our own source
        sys.exit(
            f"The package '{error.name}' is missing. Activate the virtual environment (. .venv/bin/activate), and run: "
            "pip install -r requirements.txt"
        )


if __name__ == "__main__":
    main()
