"""tools/quickstart's tour: from start to end, and what it leaves when it is interrupted half way."""
import os
import pathlib
import re
import signal
import subprocess

import pytest

from conftest import require
from support import paths, pod
from support.wait import wait_until

pytestmark = pytest.mark.root
TOUR = [str(paths.ROOT / "tools" / "quickstart"), "--no-setup", "--no-build"]


def start(*arguments):
    require("sluiced"), require("sluicectl")
    return subprocess.Popen([*TOUR, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                            # A test run in the background has SIGINT ignored, and children inherit that.
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                            env=dict(os.environ, SLUICE_BUILD=str(paths.build_dir())))


def traces(pid):
    """What is left of a tour's world: namespaces, cgroups, directories by its pid, and pins."""
    left = [name for _, name, owner in pod.owned_names() if owner == pid]
    return left + [str(p) for p in pathlib.Path("/sys/fs/bpf").glob(f"{pod.PREFIX}{pid}*")]


@pytest.mark.ebpf
@pytest.mark.slow
def test_the_whole_tour():
    tour = start()
    text = tour.communicate(timeout=80)[0]
    assert tour.returncode == 0, text
    assert re.search(r"^\d+ checks passed, 0 failed, 0 steps skipped$", text, re.M), text
    steps = re.findall(r"^\d+\. (.*)$", text, re.M)
    assert len(steps) == 12
    for words in ("connected to 10.77.", "virtualOutbound-catchall-tcp", "chain virtualInbound", "BlackHoleCluster", "x-served-by: outbound|80|v", "attempts 2", "0 packets left shop",
                  "no iptables or nft rule existed at any moment", "nothing is left behind", "Try next:"):
        assert words in text, words
    assert traces(tour.pid) == []


@pytest.mark.ebpf
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", ["2. ", "4. "])
def test_interrupted(number, at):
    tour = start()
    seen = ""
    while not seen.splitlines()[-1:] or not seen.splitlines()[-1].startswith(at):
        line = tour.stdout.readline()
        assert line, seen
        seen += line
    assert traces(tour.pid)
    tour.send_signal(number)
    rest = tour.communicate(timeout=40)[0]
    assert tour.returncode == 130, seen + rest
    assert "everything has been removed" in rest
    wait_until(lambda: traces(tour.pid) == [], what=f"nothing left: {traces(tour.pid)}")


def test_standalone():
    tour = start("--standalone")
    text = tour.communicate(timeout=60)[0]
    assert tour.returncode == 0, text
    assert "answered through sluiced" in text and "skipped" in text
    assert re.search(r"^2 checks passed, 0 failed, 9 steps skipped$", text, re.M), text


def test_without_root_what_is_missing_is_named(tmp_path):
    """As an ordinary user: says that root is missing, and shows the proxy standalone."""
    require("sluiced")
    readable = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "test", "-x", str(paths.build_dir() / "bin" / "sluiced")])
    if readable.returncode:
        pytest.skip("the checkout or the build tree can only be read by root")
    done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *TOUR], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=60, env=dict(os.environ, SLUICE_BUILD=str(paths.build_dir()), HOME=str(tmp_path)))
    assert done.returncode == 0, done.stdout
    assert "not root" in done.stdout and "answered through sluiced" in done.stdout and "skipped" in done.stdout
