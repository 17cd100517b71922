from __future__ import annotations

import socket
import subprocess
import sys

from domain_embed_pipeline_tests.conftest import ROOT


def test_a_step_ends_when_the_process_of_its_run_is_killed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)
        port = server.getsockname()[1]
        run = subprocess.Popen([sys.executable, "-m", "domain_embed_pipeline_tests.defs.orphan", str(port)], cwd=ROOT)
        step, _ = server.accept()
        with step:
            step.settimeout(60)
            run.kill()
            assert run.wait(timeout=60) != 0
            assert step.recv(1) == b"", "the connection of a process that is gone is closed"
