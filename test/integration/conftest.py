"""Fixtures: the world of pods, the proxy under test (each case runs on Envoy and on sluiced), and the watch for leftovers."""
import contextlib
import os
import signal
import threading

import pytest

from support import control_plane as control_planes
from support import proxies
from support.leaks import Watch
from support.pod import World
from support.wait import patience

CASE_SECONDS_MAX = int(patience(90))
_WATCH = Watch()


def pytest_collection_modifyitems(items):
    root = os.geteuid() == 0
    for item in items:
        if item.get_closest_marker("root") and not root and os.environ.get("SLUICE_TEST_REQUIRE_ROOT") != "1":
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A case that hangs fails with a traceback; the run goes on."""
    def late(*_):
        raise AssertionError(f"{item.nodeid} ran past {CASE_SECONDS_MAX} s")
    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(CASE_SECONDS_MAX)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def pytest_sessionstart():
    # SIGTERM takes the way of ^C: fixtures are torn down, nothing is left.
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    left = _WATCH.left()
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter:
            reporter.write_line("")
            reporter.write_line("LEFT BEHIND by this run: " + ", ".join(left), red=True, bold=True)


@pytest.fixture(scope="session")
def world():
    with World() as made:
        _WATCH.pin_root = f"/sys/fs/bpf/{made.id}"
        yield made
        _WATCH.note(made)


@pytest.fixture(scope="session")
def app(world):
    """The pod whose connections are proxied."""
    return world.pod("app")


@pytest.fixture(scope="session")
def server(world):
    """The pod that is called."""
    return world.pod("server")


@pytest.fixture(scope="session")
def caller(world):
    """A third pod, for calls into `app`."""
    return world.pod("caller")


def require(kind):
    """Skips (or fails, in CI) where a program is missing."""
    try:
        return proxies.require(kind)
    except proxies.Missing as error:
        if os.environ.get("SLUICE_TEST_REQUIRE_ALL") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(params=["envoy", "sluiced"])
def kind(request):
    require(request.param)
    return request.param


@pytest.fixture
def run_proxy(world, app, kind):
    """run_proxy(config, extra=(), pod=app): starts the proxy under test as an ordinary process of the pod; stopped after the case."""
    started = []

    def start(config, extra=(), pod=app, wait=True):
        assert threading.current_thread() is threading.main_thread()
        proxy = proxies.start(world, kind, config, pod.path, extra=extra, wait=wait)
        started.append(proxy)
        return proxy
    yield start
    for proxy in started:
        assert proxy.process.running() or proxy.process.popen.returncode in (0, -signal.SIGTERM), proxy.process.describe()
        proxy.process.kill()
        check_sanitizers(proxy)


def check_sanitizers(proxy):
    text = proxy.process.stderr()
    for sign in ("AddressSanitizer", "runtime error:", "LeakSanitizer", "Assertion"):
        assert sign not in text, text[-4000:]


@contextlib.contextmanager
def a_node(world):
    require("sluiced"), require("sluicectl")
    made = proxies.Node(world)
    try:
        yield made
    finally:
        proxy = made.proxy
        made.close()
    if proxy:
        check_sanitizers(proxy)


@pytest.fixture
def node(world):
    """sluiced for enrolled pods, which the case starts: node.start(config); see support/proxies.py."""
    with a_node(world) as made:
        yield made


@pytest.fixture
def control_plane(world, app):
    """control_plane(listen="127.0.0.1:18000", ads=False): a control plane in the pod of the proxy; see support/control_plane.py."""
    try:
        control_planes.program()
    except control_planes.Missing as error:
        if os.environ.get("SLUICE_TEST_REQUIRE_ALL") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
    started = []

    def start(listen="127.0.0.1:18000", **options):
        started.append(control_planes.ControlPlane(world, f"plane-{world.next_number()}", app.path, listen, **options))
        return started[-1]
    yield start
    for plane in started:
        plane.stop()


@pytest.fixture(params=["envoy", "sluiced", "sluiced-iptables"])
def way(request):
    """How connections get into the proxy: Envoy behind iptables, sluiced with eBPF, sluiced behind the same iptables rules."""
    require(request.param.split("-")[0])
    if request.param == "sluiced":
        require("sluicectl")
    return request.param


class Interception:
    """A proxy that gets the app pod's connections, outbound, inbound or both."""

    def __init__(self, world, app, way):
        self.world, self.app, self.way = world, app, way
        self.node = self.rules = self.proxy = None

    def start(self, config, outbound=15001, inbound=None, enrol=()):
        """Config ports are the same for all ways: `outbound` and `inbound` name the listeners that get the pod's connections."""
        if self.way == "sluiced":
            self.node = proxies.Node(self.world)
            self.proxy = self.node.start(config)
            self.node.enrol(self.app, *([] if outbound else ["--no-outbound"]), *([] if inbound else ["--no-inbound"]), *enrol)
        else:
            self.rules = proxies.iptables_redirect(self.app, outbound, inbound)
            self.rules.__enter__()
            self.proxy = proxies.start(self.world, self.way.split("-")[0], config, self.app.path)
        return self.proxy

    def close(self):
        if self.rules:
            self.rules.__exit__(None, None, None)
        if self.node:
            self.node.close()
        if self.proxy:
            self.proxy.stop()
            check_sanitizers(self.proxy)


@pytest.fixture
def intercept(world, app, way):
    """intercept.start(config): the app pod's connections go to the proxy from here on."""
    made = Interception(world, app, way)
    yield made
    made.close()
