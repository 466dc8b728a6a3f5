"""The child process that serves the embedded language model: llama.cpp's own HTTP server.

Run as ``python -m moe_site.embedded.llama_server``; needs no Django. It ends when its standard input does,
so that it never outlives the process that started it, however that ended.
"""

import argparse
import os
import signal
import threading
from types import FrameType


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--context", type=int, required=True, help="tokens a slot")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    server = _start(arguments)
    print(f"listening on {server.listening_address}", flush=True)  # noqa: T201  (its own log file)
    threading.Event().wait()


def _start(arguments: argparse.Namespace):  # type: ignore[no-untyped-def]
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.model_alias = {arguments.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = arguments.port
    params.n_parallel = arguments.slots
    params.n_ctx = arguments.context * arguments.slots
    params.cpuparams.n_threads = arguments.threads
    params.cpuparams_batch.n_threads = arguments.threads
    params.cache_ram_mib = 256  # prompts kept for reuse; the default would take 8 GiB
    params.endpoint_slots = False  # that page shows prompts
    params.ctx_shift = False  # a full window ends an answer with "length"; nothing slides out in silence
    return xllamacpp.Server(params)


def _leave(signum: int, frame: FrameType | None) -> None:
    # Destructors of the native server may wait for running generations; nobody is there to read them.
    os._exit(0)


def _leave_with_parent() -> None:
    os.read(0, 1)  # returns when the other end is closed; nothing is ever written to it
    os._exit(0)


if __name__ == "__main__":
    main()
