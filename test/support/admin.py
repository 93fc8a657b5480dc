"""A client of the admin interface that Envoy and sluiced share."""
import http.client
import json
import re

from support.wait import patience


class Admin:
    """connect: a function that returns a connected socket to the admin address (in whatever namespace that is)."""

    def __init__(self, connect):
        self.connect = connect

    def request(self, path, method="GET", timeout=5.0):
        """(status, headers as a dict with lower-case names, body text)."""
        with self.connect() as sock:
            sock.settimeout(patience(timeout))
            connection = http.client.HTTPConnection("admin", timeout=patience(timeout))
            connection.sock = sock
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read().decode()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, body

    def get(self, path):
        status, _, body = self.request(path)
        assert status == 200, f"GET {path}: {status}: {body[:500]}"
        return body

    def post(self, path):
        status, _, body = self.request(path, "POST")
        assert status == 200, f"POST {path}: {status}: {body[:500]}"
        return body

    def json(self, path):
        return json.loads(self.get(path))

    def ready(self):
        try:
            status, _, body = self.request("/ready")
        except (OSError, http.client.HTTPException):
            return False
        return status == 200 and body.strip() == "LIVE"

    def stats(self):
        """name -> int for counters and gauges (histograms keep their text)."""
        found = {}
        for line in self.get("/stats").splitlines():
            name, _, value = line.rpartition(": ") if ": P0" not in line else line.partition(": ")
            found[name] = int(value) if re.fullmatch(r"-?\d+", value) else value
        return found

    def stat(self, name):
        return self.stats().get(name, 0)
