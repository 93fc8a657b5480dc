"""Servers and clients on libraries that others wrote (programs/), started in pods."""
import json
import os
import pathlib

import pytest

from support import paths
from support.wait import wait_until

HERE = pathlib.Path(__file__).parent / "programs"


def packages():
    """The environment to run them with; skips (or fails, in CI) where the libraries are missing."""
    path = paths.python_packages()
    if path:
        return {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    message = "no grpcio, websockets and h2: tools/setup --test fetches them"
    if os.environ.get("SLUICE_TEST_REQUIRE_ALL") == "1":
        pytest.fail(message)
    pytest.skip(message)


class Server:
    """A program that prints its port and ends with SIGTERM."""

    def __init__(self, pod, program, *arguments):
        self.process = pod.start(program, ["/usr/bin/python3", HERE / f"{program}.py", pod.ipv4, *arguments], env=packages())
        self.port = wait_until(lambda: int(self.process.stdout() or 0), 20, f"the port of {program}", alive=self.process.check_running)
        self.address = pod.ipv4

    def close(self):
        self.process.stop()


class Client:
    """A program that prints one line of JSON at its end; `say_end` ends its standard input."""

    def __init__(self, pod, program, *arguments):
        read, self._write = os.pipe()
        self.process = pod.start(program, ["/usr/bin/python3", HERE / f"{program}.py", *arguments], env=packages(), stdin=read)
        os.close(read)

    def wait_line(self, text, seconds=20):
        wait_until(lambda: text in self.process.stdout().splitlines(), seconds, text, alive=self.process.check_running)

    def say_end(self):
        if self._write is not None:
            os.close(self._write)
            self._write = None

    def result(self, seconds=70):
        try:
            status = self.process.wait(seconds)
        finally:
            self.say_end()
            self.process.stop()
        assert status == 0, self.process.describe()
        return json.loads(self.process.stdout().splitlines()[-1])


def play(pod, program, scenario, target, seconds=70, **arguments):
    """Runs one scenario to its end; returns its result."""
    return Client(pod, program, scenario, target, *([json.dumps(arguments)] if arguments else [])).result(seconds)
