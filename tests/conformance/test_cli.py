"""The command line against servers: what it starts works, and ends in order."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tests.peers import free_port

ROOT = Path(__file__).resolve().parents[2]


def coordkit(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "coordkit", *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_ping_answers(server_url: str) -> None:
    output, _ = (process := coordkit("ping", "--url", server_url, "--count", "3")).communicate(timeout=20)
    assert process.returncode == 0
    assert len(re.findall(rf"PONG from {server_url} in [\d.]+ ms", output)) == 3


def check(port: int) -> int:
    """The status of one check."""
    body = json.dumps({"limiter": "api", "key": "user:1"}).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/check", body, timeout=5) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def test_sidecar_admits_its_limit_and_ends_on_sigterm(server_url: str) -> None:
    process = coordkit("sidecar", "--url", server_url, "--port", "0", "--limit", "api=gcra:2/1h")
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        found = re.search(r"http on 127\.0\.0\.1:(\d+)", lines[1])
        assert found, lines
        assert [check(int(found[1])) for _ in range(3)] == [200, 200, 429]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_server_takes_the_arguments_of_the_bundled_server(tmp_path: Path) -> None:
    port = free_port()
    process = coordkit("server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path))
    try:
        assert process.stdout is not None
        line = ""
        while "Ready to accept connections" not in line:
            line = process.stdout.readline()
            assert line, "it ended before it was ready"
        ping = coordkit("ping", "--url", f"redis://127.0.0.1:{port}")
        assert "PONG" in ping.communicate(timeout=20)[0]
        os.kill(process.pid, signal.SIGTERM)  # the same process: it became the server
        process.communicate(timeout=20)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
