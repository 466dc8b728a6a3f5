"""``python -m tests.benchmarks.door``: an installation of its own in a temporary folder, measured and thrown away."""

import argparse
import atexit
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

QUICK_SECONDS, QUICK_ROUNDS = 0.02, 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks door", description="What the door costs.")
    parser.add_argument("--quick", action="store_true", help="well under a minute instead of four")
    parser.add_argument("--seconds", type=float, help="how long each variant is measured in each round")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="moe-door-"))
    _set_up(folder)
    from tests.benchmarks.door.run import Plan, run

    plan = Plan(
        seconds=arguments.seconds or (QUICK_SECONDS if arguments.quick else Plan().seconds),
        rounds=arguments.rounds or (QUICK_ROUNDS if arguments.quick else Plan().rounds),
    )
    report = run(plan, folder)
    arguments.json.write_text(json.dumps(report.as_json(), indent=1))
    print(f"\n{report.as_text()}\n\nMedian (lowest…highest) of {plan.rounds} rounds. Figures: {arguments.json}")
    return 0


def _set_up(folder: Path) -> None:
    """Make an installation in ``folder``, and this process like a worker of it."""
    folder.chmod(0o711)  # the database's own account passes through
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # before the database's own, so it comes after that
    figures = folder / "figures"
    figures.mkdir()
    os.environ |= {
        "MOE_DATA_DIR": str(folder / "data"),
        "MOE_ENV_FILE": str(folder / "no.env"),
        "DJANGO_SETTINGS_MODULE": "moe_site.settings",
        "PROMETHEUS_MULTIPROC_DIR": str(figures),  # as `serve` has its workers keep them
    }
    for name in ("DATABASE_URL", "REDIS_URL", "LOG_LEVEL", "LOG_FORMAT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        os.environ.pop(name, None)
    import django

    django.setup()
    from django.core.management import call_command

    print("making a database …", flush=True)
    call_command("migrate", verbosity=0)
    import moe_site.asgi  # noqa: F401  (all that a worker has loaded when it collects its garbage)

    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # as moe_site/worker.py


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
