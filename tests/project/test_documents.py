"""The documents' examples run, and the compose files are whole."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from coordkit.cli import lines, options
from coordkit.sidecar.config import load_rules
from coordkit.sidecar.metrics import Metrics

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(path: str) -> list[str]:
    """The Python blocks of a document."""
    return BLOCK.findall(Path(ROOT, path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("source", [block for block in blocks("docs/quickstart.md") if "embedded://" in block])
def test_quickstart_example_with_a_server_of_its_own_runs(source: str) -> None:
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ["docs/quickstart.md", "README.md"])
def test_documents_python_blocks_compile(path: str) -> None:
    for source in blocks(path):
        indented = "".join(f"    {line}\n" for line in source.splitlines())
        compile(f"async def example(ck):\n{indented}\n    pass\n", path, "exec")


def test_operations_page_tells_every_outcome_status_and_metric_there_is(tmp_path: Path) -> None:
    page = Path(ROOT, "docs/operations.md").read_text(encoding="utf-8")
    for outcome in lines.STYLES:
        assert f"| `{outcome}` |" in page
    for status in (value for name, value in vars(options).items() if name.startswith("EXIT_")):
        assert f"\n| {status} |" in page
    (limits,) = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "limits.toml").write_text(limits, encoding="utf-8")
    rules = load_rules(tmp_path / "limits.toml", ())
    assert [(rule.name, rule.on_outage) for rule in rules.values()] == [("api", "deny")]
    exposed = re.findall(r"^# TYPE (\w+) (?!gauge)", Metrics(rules).exposition().decode(), re.MULTILINE)
    assert exposed
    for metric in exposed:
        assert f"| `{metric}` |" in page


@pytest.mark.parametrize("name", ["bundled", "redis", "valkey"])
def test_compose_variant_names_services_that_exist(name: str) -> None:
    variant = yaml.safe_load(Path(ROOT, "compose", f"{name}.yaml").read_text(encoding="utf-8"))
    shared = yaml.safe_load(Path(ROOT, "compose", "services.yaml").read_text(encoding="utf-8"))["services"]
    for service, definition in variant["services"].items():
        assert "extends" not in definition or definition["extends"]["service"] in shared
        assert "healthcheck" in (shared[service] if "extends" in definition else definition)
        assert set(definition.get("depends_on", {})) <= set(variant["services"])
