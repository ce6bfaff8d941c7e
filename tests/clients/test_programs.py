"""redis-cli, redis-benchmark and ioredis."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.peers import Peer
from tests.programs import node_modules, program

IOREDIS = """
const Redis = require("ioredis");
(async () => {
  const client = new Redis(PORT, "127.0.0.1", { maxRetriesPerRequest: 1 });
  const subscriber = client.duplicate();
  const heard = new Promise((resolve) => subscriber.on("message", (channel, message) => resolve(channel + message)));
  await subscriber.subscribe("news");
  client.defineCommand("bump", { numberOfKeys: 1, lua: "return redis.call('incrby', KEYS[1], ARGV[1])" });
  const results = [
    await client.set("k", "v", "EX", 100),
    await client.get("k"),
    await client.hset("h", { a: 1, b: 2 }),
    await client.hgetall("h"),
    await client.bump("n", 5),
    (await client.multi().incr("n").get("n").exec()).map((pair) => pair[1]),
    (await client.pipeline().lpush("l", "a").brpop("l", 1).exec()).map((pair) => pair[1]),
    await client.zadd("z", 1, "a", 2, "b"),
    await client.zrange("z", 0, -1, "WITHSCORES"),
    await client.publish("news", "!"),
    await heard,
  ];
  console.log(JSON.stringify(results));
  client.disconnect();
  subscriber.disconnect();
})().catch((error) => { console.error(error); process.exit(1); });
"""


def cli(peer: Peer, *arguments: str, stdin: str = "") -> str:
    command = [program("redis-cli"), "-p", str(peer.port), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("protocol", [[], ["-3"]])
def test_redis_cli_runs_commands(bundled: Peer, protocol: list[str]) -> None:
    assert cli(bundled, *protocol, "SET", "k", "v") == "OK"
    assert cli(bundled, *protocol, "GET", "k") == "v"
    assert cli(bundled, *protocol, stdin="MULTI\nINCR n\nINCR n\nEXEC\n").splitlines()[-2:] == ["1", "2"]
    assert cli(bundled, *protocol, "EVAL", "return ARGV[1]", "0", "x") == "x"
    assert "unknown command" in cli(bundled, *protocol, "NOPE")


def test_redis_cli_looks_for_big_keys(bundled: Peer) -> None:
    bundled.command("RPUSH", "list", *range(50))
    bundled.command("SET", "text", "x" * 100)
    assert "list" in cli(bundled, "--bigkeys")
    assert "text" in cli(bundled, "--memkeys")


def test_redis_cli_shows_statistics_line_by_line(bundled: Peer) -> None:
    bundled.command("SET", "k", "v")
    terminal, theirs = pty.openpty()  # into a pipe it would write by the block
    command = [program("redis-cli"), "-p", str(bundled.port), "--stat", "-i", "0.05"]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        with os.fdopen(terminal, encoding="utf-8", errors="replace") as output:
            heading, names, *lines = (output.readline().split() for _ in range(5))
    finally:
        process.kill()
        process.wait()
    assert heading[1:3] == ["data", "------"]
    assert names[:2] == ["keys", "mem"]
    assert [line[0] for line in lines] == ["1", "1", "1"]  # keys


def test_redis_cli_pipes_many_commands(bundled: Peer) -> None:
    commands = "".join(f"SET key:{number} {number}\r\n" for number in range(3000))
    assert "errors: 0, replies: 3000" in cli(bundled, "--pipe", stdin=commands)
    assert cli(bundled, "DBSIZE") == "3000"


def test_redis_benchmark_completes_its_default_list(bundled: Peer) -> None:
    command = [program("redis-benchmark"), "-p", str(bundled.port), "-q", "-n", "1000", "-c", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == 0, done.stderr
    finished = [line for line in done.stdout.replace("\r", "\n").splitlines() if "requests per second" in line]
    assert {"SET", "GET", "INCR", "LPUSH", "RPOP", "SADD", "HSET", "ZADD", "SPOP", "ZPOPMIN"} <= {
        line.split(":")[0].strip() for line in finished
    }
    assert sum(line.startswith("LRANGE_") for line in finished) == 4
    assert any(line.startswith("MSET") for line in finished)


def test_ioredis_works_unmodified(bundled: Peer, tmp_path: Path) -> None:
    modules = node_modules("ioredis")
    script = tmp_path / "client.js"
    script.write_text(IOREDIS.replace("PORT", str(bundled.port)), encoding="utf-8")
    environment = {**os.environ, "NODE_PATH": str(modules)}
    done = subprocess.run(
        [program("node"), str(script)], capture_output=True, text=True, timeout=30, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (
        '["OK","v",2,{"a":"1","b":"2"},5,[6,"6"],[1,["l","a"]],2,["a","1","b","2"],1,"news!"]'
    )
