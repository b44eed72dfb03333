"""A server that answers as Inference Endpoints would: to try a model before it is published, or behind a proxy.

It imports the `handler.py` of the model's folder, as the endpoint does. No encryption and no passwords: those are a
proxy's to add.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import argparse
import gc
import logging
import os
import sys
import threading
from dataclasses import fields
from pathlib import Path
from typing import Any

from serving.reading import handler_class, handler_path
from serving.settings import Settings


DEFAULT_PORT = 8080

EPILOG = """
examples:
  python serve.py
  python serve.py --model_name_or_path runs/cls
  curl http://127.0.0.1:8080/health
  curl -H 'Content-Type: text/csv' --data-binary @ecg.csv 'http://127.0.0.1:8080/?sampling_rate=500&unit=mV'
  curl -H 'Content-Type: application/json' --data @request.json http://127.0.0.1:8080/

docs/endpoint.md describes requests, answers and limits. The code in the folder is run: serve what you trust.
"""

# Whose default depends on the machine.
OF_CORES = {"readers": "one for each core, and one more", "workers": "one for each core"}
FLAGS = {
    "timeout_s": "for a client to send a request",
    "write_timeout_s": "for a client to take the next part of its answer",
    "grace_s": "for accepted requests to be answered after SIGTERM or Ctrl+C",
    "readers": "processes that read requests",
    "reader_cpu_s": "seconds of processor time that reading one request may take",
    "reader_memory_mb": "MiB of memory that reading one request may take",
    "workers": "threads that compute",
    "max_requests": "that wait or are computed at a time; of one address, half as many",
    "max_connections": "in all; of one address, half as many",
}


def model_folder(model_name_or_path: str) -> Path:
    """
    Returns the folder of a model, fetched from the Hub where it is none on this machine.

    Args:
        model_name_or_path (`str`): Folder, or repository id on the Hub.
    """
    folder = Path(model_name_or_path)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model_name_or_path))


def load_handler(model_name_or_path: str) -> Any:
    """
    Returns the `EndpointHandler` of a model's own `handler.py`, loaded as Inference Endpoints loads it.

    Args:
        model_name_or_path (`str`): Folder, or repository id on the Hub.

    Raises:
        `FileNotFoundError`: for a folder without `handler.py`.
    """
    folder = model_folder(model_name_or_path)
    return handler_class(folder)(str(folder))


def default_model() -> str:
    """Returns the folder of the classifier that comes with ecgclip."""
    from modeling_ecgclip.pretrained_ecgclip import pretrained_folder  # which a folder with its own code does without

    return str(pretrained_folder())


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model_name_or_path",
        help="folder of a model, or its repository id on the Hub (default: the classifier that comes with ecgclip, "
        "trained on simulated ECGs)",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 lets others in (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)")
    defaults = Settings()
    for name, text in FLAGS.items():
        default, shown = getattr(defaults, name), OF_CORES.get(name, "%(default)s")
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{text} (default: {shown})")
    parser.add_argument(
        "--proxies",
        nargs="+",
        default=[],
        help="addresses of proxies: the last entry of their X-Forwarded-For says whose request it is (default: none)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Serves until it is stopped; returns the exit code: 1 where accepted requests were not answered."""
    arguments = make_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: each thread of the server has one core
    from serving.server import EndpointServer

    stated = {one.name: getattr(arguments, one.name) for one in fields(Settings) if hasattr(arguments, one.name)}
    try:
        folder = model_folder(arguments.model_name_or_path or default_model())
        handler_path(folder)
        settings = Settings(**{**stated, "proxies": tuple(arguments.proxies)})
        server = EndpointServer(arguments.host, arguments.port, settings)
    except (OSError, ValueError, OverflowError) as error:
        print(f"serve.py: {error}", file=sys.stderr)
        return 1
    failed: list[BaseException] = []

    def load() -> None:
        try:
            server.load(handler_class(folder)(str(folder)), str(folder))
        # In the thread of another: whatever it is ends the server.
        except Exception as error:
            if not server.engine.draining:  # the processes that it starts get the same signal
                failed.append(error)
            server.stop()
            return
        gc.collect()
        gc.freeze()  # what is loaded stays: it need not be looked through again beside every request
        host, port = server.address
        print(f"{server.engine.model_info.get('architecture', 'model')} at http://{host}:{port}", flush=True)

    loading = threading.Thread(target=load)
    loading.start()
    lost = server.run()
    loading.join()
    server.close()
    if failed:
        print(f"serve.py: {failed[0]}", file=sys.stderr)
    return 1 if failed or lost else 0


if __name__ == "__main__":
    sys.exit(main())
