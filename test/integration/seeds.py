"""What the seed cases share: the articles' configurations (configs/seeds), real nginx servers behind them, real curl in front."""
import contextlib
import json
import re

import yaml

from config import from_file
from support import proxies
from support.wait import wait_until

NGINX = """
master_process off;
daemon off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 512; }}
http {{
  default_type text/html;
  access_log {directory}/access.log;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{
    listen {port};
    root {directory}/html;
    location = /version {{ return 200 "{name}\\n"; }}
    location = /trace/1 {{ return 200 "Hello from behind Envoy (service 1)!\\n"; }}
    location = /headers {{
      add_header x-saw-host $http_host; add_header x-saw-proto $http_x_forwarded_proto; add_header x-saw-for $http_x_forwarded_for;
      add_header x-saw-id $http_x_request_id; add_header x-saw-timeout $http_x_envoy_expected_rq_timeout_ms;
      add_header x-saw-attempt $http_x_envoy_attempt_count; add_header x-saw-decorator $http_x_envoy_decorator_operation;
      add_header x-saw-traceid $http_x_b3_traceid; add_header x-saw-from $remote_addr; add_header x-saw-internal $http_x_envoy_internal;
      add_header x-saw-cert $http_x_forwarded_client_cert;
      return 200 "seen\\n";
    }}
    location = /broken {{ return 503 "not now\\n"; }}
  }}
}}
"""


class Nginx:
    """A real nginx in a pod: index.html holds its name, /version says it, /headers tells what it was sent."""

    def __init__(self, world, pod, name, more=""):
        self.port = pod.free_port()
        directory = world.directory / f"nginx-{world.next_number()}"
        (directory / "html").mkdir(parents=True)
        (directory / "html" / "index.html").write_text(name + "\n")
        text = NGINX.format(directory=directory, port=self.port, name=name)
        (directory / "nginx.conf").write_text(text.replace("location = /version", more + "location = /version"))
        self.log = directory / "access.log"
        self.process = pod.start(f"nginx-{name}", ["nginx", "-c", directory / "nginx.conf", "-p", directory])

        def up():
            with contextlib.closing(pod.connect("127.0.0.1", self.port)):
                return True
        wait_until(up, 10, f"nginx {name}", alive=self.process.check_running)

    def requests(self):
        return re.findall(r'"(\w+ \S+ \S+)" (\d+)', self.log.read_text())

    def close(self):
        self.process.stop()


class Answer:
    """Status, fields in their order, body."""

    def __init__(self, head, body):
        self.start, *lines = head.splitlines()
        self.fields = [tuple(line.split(": ", 1)) for line in lines if ": " in line]  # a connection may end within a line
        self.status, self.body = int(self.start.split()[1]), body

    def __getitem__(self, name):
        return dict(self.fields).get(name)

    def names(self):
        return [name for name, _ in self.fields]


def get(pod, url, *options):
    """One request by curl in a pod."""
    done = pod.run("curl", "-s", "-S", "--max-time", "20", "--dump-header", "/dev/stderr", *options, url)
    return Answer(done.stderr.strip(), done.stdout)


def seed(name, **values):
    return from_file(f"seeds/{name}.yaml", **values)


def resolver(dns):
    """typed_dns_resolver_config: the test's own DNS server in the place of the one that a container has in resolv.conf."""
    return json.dumps({"name": "envoy.network.dns_resolver.cares", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        "resolvers": [{"socket_address": {"address": dns.address, "port_value": dns.port}}],
        "dns_resolver_options": {"no_default_search_domain": True}}})


def without(text, *paths):
    """The configuration without these fields, as YAML text. A path: "a.b[0].c"."""
    tree = yaml.safe_load(text.replace("{{admin_port}}", "'{{admin_port}}'"))
    for path in paths:
        *way, last = [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", path)]
        node = tree
        for step in way:
            node = node[step]
        del node[last]
    return yaml.safe_dump(tree, sort_keys=False).replace("'{{admin_port}}'", "{{admin_port}}")


def refused(world, text, *words):
    """sluiced refuses the configuration and says all of the words; returns what it said."""
    done, path = proxies.validate(world, "sluiced", text.replace("{{admin_port}}", "9901"))
    assert done.returncode != 0, "accepted"
    for word in [path.name, *words]:
        assert word in done.stderr, f"{word!r} is not in: {done.stderr}"
    return done.stderr


def accepted(world, kind, text):
    done, _ = proxies.validate(world, kind, text.replace("{{admin_port}}", "9901"))
    assert done.returncode == 0, done.stderr
