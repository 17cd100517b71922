"""Starts a process that is tied to this one, for the test that kills this one: `python -m ... PORT`."""

from __future__ import annotations

import multiprocessing
import socket
import sys
import time

from domain_embed_pipeline.defs.step_process import end_with_parent_process


def live(port: int) -> None:
    end_with_parent_process()
    with socket.create_connection(("127.0.0.1", port)):
        time.sleep(300)


if __name__ == "__main__":
    child = multiprocessing.get_context("forkserver").Process(target=live, args=(int(sys.argv[1]),))
    child.start()
    child.join()
