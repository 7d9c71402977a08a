"""Run the server from the command line."""

import argparse
import contextlib
import threading
from collections.abc import Sequence

from tests.servers.bigquery import BigQueryServer


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Serve until interrupted.

    :param arguments: command line arguments, those of the process by default
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers.bigquery", description="A local server that stands in for BigQuery."
    )
    parser.add_argument("--host", default="127.0.0.1", help="name or IPv4 address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=9050, help="port; 0 takes a free one (%(default)s)")
    parser.add_argument("--project", default="demo-proj", help="the one project that exists (%(default)s)")
    options = parser.parse_args(arguments)
    with BigQueryServer(options.project, host=options.host, port=options.port) as server:
        print(f"BIGQUERY_EMULATOR_HOST={server.url}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
