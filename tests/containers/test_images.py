"""The demo's invariants on the servers' published images and on the image of compose/Dockerfile.

Needs a Docker engine; without one the tests skip, and tests/conformance runs the same against local processes.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.test_demo import ROOT, demo, texts, value

docker = pytest.importorskip("docker", reason="docker is not installed; install it with `pip install 'coordkit[test]'`")
requests = pytest.importorskip("requests", reason="it comes with docker")
container = pytest.importorskip("testcontainers.core.container", reason="pip install 'coordkit[test]'")
images = pytest.importorskip("testcontainers.core.image", reason="pip install 'coordkit[test]'")
waiting = pytest.importorskip("testcontainers.core.wait_strategies", reason="pip install 'coordkit[test]'")

__all__ = ["texts"]  # the fixture

PORT = 6379
ENGINE = Path("/var/run/docker.sock")
OLDEST_API = "1.41"
PUBLISHED = ["redis:6.2", "redis:7.2", "redis:8", "valkey/valkey:8"]


@pytest.fixture(scope="module", autouse=True)
def engine() -> None:
    """Skip the module where no container engine answers."""
    if "DOCKER_HOST" not in os.environ and not ENGINE.exists():
        pytest.skip(f"no container engine listens at {ENGINE}; install and start Docker to run these tests")
    client = docker.from_env(version=OLDEST_API)  # named, so that nothing is asked before the try
    try:
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        pytest.skip(f"no container engine answers ({error}); install and start Docker to run these tests")
    finally:
        client.close()


@pytest.fixture(scope="module")
def own_image() -> Iterator[str]:
    """The image that compose/Dockerfile describes."""
    with images.DockerImage(path=str(ROOT), dockerfile_path="compose/Dockerfile", tag="coordkit-test:latest") as built:
        yield str(built)


def run_demo(image: str, texts: Path, command: str = "") -> None:
    """Run the demo on a container of `image`, one worker killed, and check what it says."""
    server = container.DockerContainer(image).with_exposed_ports(PORT)
    server = server.waiting_for(waiting.LogMessageWaitStrategy("Ready to accept connections"))
    with server.with_command(command) if command else server as running:
        url = f"redis://{running.get_container_host_ip()}:{running.get_exposed_port(PORT)}"
        result = demo(url, texts, "--kills", "1", "--rate", "150", "--burst", "10")
    assert result.returncode == 0, result.stdout + result.stderr
    assert value(result.stdout, "jobs completed") == ("ok", 80)
    assert value(result.stdout, "jobs lost") == ("ok", 0)
    assert value(result.stdout, "lock overlaps") == ("ok", 0)


@pytest.mark.parametrize("image", PUBLISHED)
def test_demo_on_a_published_image_holds_its_invariants(image: str, texts: Path) -> None:
    run_demo(image, texts)


def test_demo_on_our_own_image_holds_its_invariants(own_image: str, texts: Path) -> None:
    run_demo(own_image, texts, f"server --port {PORT} --bind 0.0.0.0 --protected-mode no --dir /data")
