"""The sidecar without a server: its configuration, its fields, its HTTP application."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path

import pytest

from coordkit.errors import ConfigurationError, ServerUnavailable
from coordkit.guard import AsyncGuard
from coordkit.keys import Keys
from coordkit.ratelimit.base import Algorithm
from coordkit.ratelimit.decision import Decision
from coordkit.ratelimit.gcra import GCRA
from coordkit.ratelimit.limiter import AsyncLimiter, LimiterPlans, OnOutage
from coordkit.ratelimit.sliding_window import SlidingWindow
from coordkit.scripts import Args, Script
from coordkit.scripts import Keys as ScriptKeys
from coordkit.sidecar.config import Rule, load_rules, parse_option
from coordkit.sidecar.headers import rate_limit_fields
from coordkit.sidecar.http import LARGEST_BODY, HttpApp
from coordkit.sidecar.service import RateLimitService
from coordkit.transports.asyncio_ import BackgroundTask

TOML = """
on_outage = "deny"

[limits.api]
algorithm = "gcra"
limit = 100
per = "1s"
burst = 20

[limits."login/form"]
algorithm = "sliding_window"
limit = 5
per = "10m"
on_outage = "allow"
"""

YAML = """
on_outage: deny
limits:
  api: {algorithm: gcra, limit: 100, per: 1s, burst: 20}
  login/form:
    algorithm: sliding_window
    limit: 5
    per: 10m
    on_outage: allow
"""

RULES = {
    "api": Rule("api", GCRA(100, 1, burst=20), "deny"),
    "login/form": Rule("login/form", SlidingWindow(5, 600), "allow"),
}


@pytest.mark.parametrize("name, text", [("limits.toml", TOML), ("limits.yaml", YAML), ("limits.yml", YAML)])
def test_file_of_limits_is_read(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    assert load_rules(file, []) == RULES


def test_options_add_to_the_file_and_replace_its_limits(tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    file.write_text(TOML)
    rules = load_rules(file, ["api=gcra:5/1m", "mail=sliding_window:1/d"])
    assert rules == {
        "api": Rule("api", GCRA(5, 60), "deny"),
        "login/form": RULES["login/form"],
        "mail": Rule("mail", SlidingWindow(1, 86400), "deny"),
    }


@pytest.mark.parametrize(
    "option, algorithm",
    [
        ("a=gcra:100/1s:burst=20", GCRA(100, 1, burst=20)),
        ("a=gcra:100/s", GCRA(100, 1)),
        ("a=gcra:10/500ms", GCRA(10, 0.5)),
        ("a=gcra:10/1.5h", GCRA(10, 5400)),
        ("a=sliding_window:1/7d", SlidingWindow(1, 604800)),
    ],
)
def test_option_is_understood(option: str, algorithm: Algorithm) -> None:
    assert parse_option(option) == Rule("a", algorithm, "allow")


@pytest.mark.parametrize(
    "option, complaint",
    [
        ("api", r"must have the form NAME=ALGORITHM:LIMIT/PERIOD"),
        ("api=gcra:1/1y", r"'api=gcra:1/1y': `per` must be a duration like 500ms, .* not '1y'"),
        ("api=gcra:0/1s", r"limit must be a whole number from 1 "),
        ("api=fixed:1/1s", r"algorithm must be one of gcra, sliding_window, not 'fixed'"),
        ("api=sliding_window:1/1s:burst=2", r"unknown settings burst; known are limit, per"),
        ("api=gcra:1/1s:burst=many", r"burst must be a whole number"),
        ("api=gcra:1/1s:on_outage=open", r"on_outage must be allow or deny, not 'open'"),
        ('a"b=gcra:1/1s', r"name must be of letters"),
    ],
)
def test_option_that_cannot_work_raises(option: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_option(option)


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("", "there is no limit to enforce"),
        ("limits = 3", "`limits` must be a table"),
        ("limit = {}", "unknown settings limit; known are limits, on_outage"),
        ("[limits]\napi = 3", r"limit 'api' must be a table"),
        ("[limits.api]\nalgorithm = 'gcra'\nlimit = 1", r"limits.toml: limit 'api' lacks per"),
        ("[limits.api]\nalgorithm = 'gcra'\nlimit = '1'\nper = 1", r"limit 'api': limit must be a whole number"),
        ("[limits.api]\nalgorithm = 'gcra'\nlimit = 1\nper = true", r"`per` must be a duration"),
        ("on_outage = []\n[limits.api]\nalgorithm = 'gcra'\nlimit = 1\nper = 1", r"on_outage must be allow or deny"),
        ("[limits", r"limits.toml cannot be understood: "),
    ],
)
def test_file_that_cannot_work_raises(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "limits.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=complaint):
        load_rules(file, [])


def test_file_that_is_not_there_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: .*nowhere\.toml"):
        load_rules(tmp_path / "nowhere.toml", [])


@pytest.mark.parametrize(
    "algorithm, decision, fields",
    [
        (
            GCRA(100, 60.0, burst=20),
            Decision(True, 20, 19, 0.0, 0.6),
            {"ratelimit-policy": '"api";q=20;w=12', "ratelimit": '"api";r=19;t=1'},
        ),
        (
            SlidingWindow(5, 600),
            Decision(False, 5, 0, 30.2, 599.5),
            {"ratelimit-policy": '"api";q=5;w=600', "ratelimit": '"api";r=0;t=31', "retry-after": "31"},
        ),
        (
            GCRA(100, 1.0, burst=20),
            Decision(False, 20, 0, 0.01, 0.2),
            {"ratelimit-policy": '"api";q=20', "ratelimit": '"api";r=0;t=1', "retry-after": "1"},
        ),
        (
            SlidingWindow(5, 600),
            Decision(False, 5, 0, 1.0, 0.0, degraded=True),
            {"ratelimit-policy": '"api";q=5;w=600', "retry-after": "1"},
        ),
        (
            SlidingWindow(5, 600),
            Decision(True, 5, 0, 0.0, 0.0, degraded=True),
            {"ratelimit-policy": '"api";q=5;w=600'},
        ),
    ],
    ids=["allowed", "refused", "window below a second", "outage, deny", "outage, allow"],
)
def test_fields_of_a_decision(algorithm: Algorithm, decision: Decision, fields: dict[str, str]) -> None:
    got = rate_limit_fields(Rule("api", algorithm, "allow"), decision)
    assert {name.decode(): value.decode() for name, value in got} == fields


class CountingTransport:
    """A transport whose server admits one hit a key and refuses the rest; None in place of a server is an outage."""

    def __init__(self) -> None:
        self.up = True
        self._seen: set[bytes] = set()
        self._now_s = 0.0

    async def call(
        self, script: Script[object], keys: ScriptKeys, args: Args, deadline_s: float | None = None
    ) -> object:
        if not self.up:
            raise ServerUnavailable("the server is gone")
        first = keys[0] not in self._seen
        self._seen.add(keys[0])
        token = int(args[0])
        return token if first else -1 - token

    async def execute(self, argv: Sequence[object], deadline_s: float | None = None) -> object:
        if not self.up:
            raise ServerUnavailable("the server is gone")
        return b"PONG"

    def monotonic(self) -> float:
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        self._now_s += seconds
        await asyncio.sleep(0)  # the probe in the background would keep the loop for itself

    async def probe(self, timeout_s: float, place: str | None = None) -> None:
        await self.execute(("PING",))

    def watch(self, watcher: object) -> None:
        pass

    def spawn(self, work: Callable[[], Coroutine[object, object, None]]) -> BackgroundTask:
        return BackgroundTask(asyncio.get_running_loop().create_task(work()))


class FakeSource:
    """Limiters over a transport that is no server."""

    def __init__(self) -> None:
        self.transport = CountingTransport()
        self._backend = AsyncGuard(self.transport)  # type: ignore[arg-type]  # the rest of it is not used

    def limiter(self, name: str, algorithm: Algorithm, *, on_outage: OnOutage) -> AsyncLimiter:
        plans = LimiterPlans(name, algorithm, on_outage=on_outage, keys=Keys.of("ck"))
        return AsyncLimiter(plans, backend=self._backend)

    async def ping(self) -> None:
        await self._backend.execute(("PING",))


class App:
    """The HTTP application, called as a server calls it."""

    def __init__(self) -> None:
        self.source = FakeSource()
        rules = {"api": Rule("api", GCRA(1, 60.0), "deny"), "open": Rule("open", GCRA(1, 60.0), "allow")}
        self._app = HttpApp(RateLimitService(rules, self.source))

    async def request(
        self, method: str, path: str, *chunks: bytes, last: Mapping[str, object] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, fields and body of the response."""
        waiting: list[Mapping[str, object]] = [
            {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
        ]
        waiting.append(last or {"type": "http.request", "body": b"", "more_body": False})
        sent: list[dict[str, object]] = []

        async def receive() -> Mapping[str, object]:
            return waiting.pop(0)

        async def send(event: dict[str, object]) -> None:
            sent.append(event)

        await self._app({"type": "http", "method": method, "path": path}, receive, send)  # type: ignore[arg-type]  # dicts
        start, body = sent
        headers, content, status = start["headers"], body["body"], start["status"]
        assert isinstance(headers, list)
        assert isinstance(content, bytes)
        assert isinstance(status, int)
        fields = {name.decode(): value.decode() for name, value in headers}
        assert fields["content-length"] == str(len(content))
        return status, fields, content

    async def check(self, request: object) -> tuple[int, Mapping[str, str], dict[str, object]]:
        """The response to a check, its body decoded."""
        status, fields, body = await self.request("POST", "/check", json.dumps(request).encode())
        assert fields["content-type"] == "application/json"
        decoded = json.loads(body)
        assert isinstance(decoded, dict)
        return status, fields, decoded


async def test_check_answers_with_the_decision_and_its_fields() -> None:
    app = App()
    status, fields, decision = await app.check({"limiter": "api", "key": "user:42", "cost": 1})
    assert status == 200
    assert decision == {
        "allowed": True,
        "limit": 1,
        "remaining": 0,
        "retry_after": 0.0,
        "reset_after": 60.0,
        "degraded": False,
    }
    assert fields["ratelimit"] == '"api";r=0;t=60'
    status, fields, decision = await app.check({"limiter": "api", "key": "user:42"})
    assert status == 429
    assert decision["allowed"] is False
    assert fields["retry-after"] == "60"


@pytest.mark.parametrize(
    "request_, complaint",
    [
        ([], "the request must be an object with limiter, key and cost, not []"),
        ({}, "there is no limiter None; there are api, open"),
        ({"limiter": "web", "key": "a"}, "there is no limiter 'web'; there are api, open"),
        ({"limiter": ["api"], "key": "a"}, "there is no limiter ['api']"),
        ({"limiter": "api"}, "key must be a text of 1 to 1024 characters, not None"),
        ({"limiter": "api", "key": ""}, "key must be a text"),
        ({"limiter": "api", "key": "k" * 1025}, "key must be a text"),
        ({"limiter": "api", "key": "\ud800"}, "the key of limiter 'api' must be a string that UTF-8 can hold"),
        ({"limiter": "api", "key": "a", "cost": "1"}, "cost must be a whole number, not '1'"),
        ({"limiter": "api", "key": "a", "cost": True}, "cost must be a whole number, not True"),
        ({"limiter": "api", "key": "a", "cost": -1}, "cost must be a whole number from 0"),
        ({"limiter": "api", "key": "a", "cost": 2}, "can never admit a cost of 2"),
        ({"limiter": "api", "key": "a", "hits": 2}, "unknown members hits; known are limiter, key and cost"),
    ],
)
async def test_check_of_a_request_that_means_nothing_is_400_and_says_why(request_: object, complaint: str) -> None:
    app = App()
    status, _, answer = await app.check(request_)
    assert status == 400
    error = answer["error"]
    assert isinstance(error, str)
    assert complaint in error
    _, _, metrics = await app.request("GET", "/metrics")
    assert b"coordkit_bad_requests_total 1.0" in metrics


async def test_check_with_a_body_that_is_no_json_or_too_long_is_refused() -> None:
    app = App()
    assert (await app.request("POST", "/check", b"{"))[0] == 400
    assert (await app.request("POST", "/check", b"\xff"))[0] == 400
    assert (await app.request("POST", "/check", b"[" * LARGEST_BODY))[0] == 400
    assert (await app.request("POST", "/check", *[b" " * 1024] * (LARGEST_BODY // 1024 + 1)))[0] == 413
    status, _, _ = await app.request("POST", "/check", b'{"limiter": "api",', b'"key": "a"}')
    assert status == 200


async def test_request_whose_connection_is_closed_half_sent_is_not_decided() -> None:
    app = App()
    half = b'{"limiter": "api", "key": "a"}'
    status, _, _ = await app.request("POST", "/check", half, last={"type": "http.disconnect"})
    assert status == 400
    assert (await app.check({"limiter": "api", "key": "a"}))[0] == 200


async def test_unknown_path_and_method_are_refused() -> None:
    app = App()
    status, _, body = await app.request("GET", "/nowhere")
    assert status == 404
    assert b"/check, /health, /ready, /metrics" in body
    status, fields, _ = await app.request("GET", "/check")
    assert (status, fields["allow"]) == (405, "POST")


async def test_outage_does_what_the_limit_declares_and_says_so() -> None:
    app = App()
    app.source.transport.up = False
    status, fields, decision = await app.check({"limiter": "open", "key": "a"})
    assert (status, decision["degraded"], "ratelimit" in fields) == (200, True, False)
    status, fields, decision = await app.check({"limiter": "api", "key": "a"})
    assert (status, decision["degraded"], fields["retry-after"]) == (429, True, "1")
    _, _, metrics = await app.request("GET", "/metrics")
    assert b'coordkit_checks_degraded_total{limiter="open"} 1.0' in metrics


async def test_health_and_readiness_tell_an_outage_apart() -> None:
    app = App()
    assert json.loads((await app.request("GET", "/health"))[2]) == {"status": "ok", "store": "ok"}
    assert (await app.request("GET", "/ready"))[0] == 200
    app.source.transport.up = False
    status, _, body = await app.request("GET", "/health")
    assert (status, json.loads(body)["store"]) == (200, "the server is gone")
    assert (await app.request("GET", "/ready"))[0] == 503


async def test_metrics_count_outcomes_by_limit() -> None:
    app = App()
    for _ in range(3):
        await app.check({"limiter": "api", "key": "user:42"})
    status, fields, metrics = await app.request("GET", "/metrics")
    assert status == 200
    assert fields["content-type"].startswith("text/plain")
    assert b'coordkit_checks_total{limiter="api",outcome="allowed"} 1.0' in metrics
    assert b'coordkit_checks_total{limiter="api",outcome="refused"} 2.0' in metrics
    assert b'coordkit_checks_total{limiter="open",outcome="allowed"} 0.0' in metrics
    assert b'coordkit_check_seconds_count{limiter="api"} 3.0' in metrics
