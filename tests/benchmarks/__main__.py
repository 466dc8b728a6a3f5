"""What this gateway costs on this machine, beside LiteLLM and beside no gateway at all, or what its parts cost."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from tests.benchmarks.run import Plan, RunFailed, run

QUICK_SECONDS, QUICK_ROUNDS = 0.7, 3
DOOR = "door"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=("gateway", DOOR), default="gateway", help="all of it, or the parts of its door"
    )
    parser.add_argument("--quick", action="store_true", help="about a minute instead of six (door: of four)")
    parser.add_argument("--seconds", type=float, help="how long each target is measured in each case and round")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--without-litellm", action="store_true", help="measure the gateway and the stub alone")
    parser.add_argument("--json", type=Path, help="where the figures go (default: the data directory)")
    arguments = parser.parse_args()
    environment = dict(os.environ)
    folder = _data_dir() / "bench"
    path = arguments.json or folder / f"{_prefix(arguments.what)}{datetime.now():%Y-%m-%dT%H-%M-%S}.json"
    if arguments.what == DOOR:
        _become_door(arguments, path, environment)
    plan = Plan(
        seconds=_bounded(arguments.seconds or (QUICK_SECONDS if arguments.quick else Plan().seconds), 0.1, 60),
        rounds=int(_bounded(arguments.rounds or (QUICK_ROUNDS if arguments.quick else Plan().rounds), 1, 50)),
        litellm=not arguments.without_litellm,
    )
    # SIGTERM ends the run like Ctrl-C does: with everything stopped that was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        report = run(plan, folder)
    except RunFailed as error:
        print(error, file=sys.stderr)
        return 1
    path.write_text(json.dumps(report.as_json(), indent=1))
    print(f"\n{report.as_text()}\n\nMedian (lowest…highest) of {plan.rounds} rounds. Figures: {path}")
    return 1 if report.failed else 0


def _prefix(what: str) -> str:
    return "" if what == "gateway" else f"{what}-"


def _become_door(arguments: argparse.Namespace, path: Path, environment: Mapping[str, str]) -> NoReturn:
    """Go on as the door's own benchmark, with settings of its own; this process has read the developer's by now.

    ``environment`` is the one from before that.
    """
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    given = [f"--json={path.absolute()}", *(["--quick"] if arguments.quick else [])]
    given += [f"--{name}={value}" for name in ("seconds", "rounds") if (value := getattr(arguments, name))]
    os.execve(sys.executable, [sys.executable, "-m", "tests.benchmarks.door", *given], environment)


def _bounded(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


def _data_dir() -> Path:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moe_site.settings")
    from django.conf import settings

    return Path(settings.MOE_DATA_DIR)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
