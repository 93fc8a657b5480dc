"""Distribution kernels for the virtual machine: downloaded as Debian packages, unpacked below the cache, never installed on the host."""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from support import paths  # noqa: E402

# Debian 12's own kernel, and the newer one that it offers beside it. The full flavours: those for clouds have no 9p.
_PACKAGES = {"6.1": r"linux-image-6\.1\.0-\d+-amd64", "6.12": r"linux-image-6\.12\.\d+\+deb12-amd64"}
VERSIONS = tuple(_PACKAGES)
PROGRAMS = ("qemu-system-x86_64", "busybox", "depmod", "dpkg-deb", "setpriv")


class Missing(Exception):
    """Something the lane needs is not there; the message names it and the remedy."""


class Kernel:
    """An unpacked kernel package. release: as uname -r says it."""

    def __init__(self, version):
        self.version, self.directory = version, paths.cache_dir() / "kernels" / version
        self.images = sorted(self.directory.glob("boot/vmlinuz-*"))

    def present(self):
        return bool(self.images)

    @property
    def image(self):
        return self.images[0]

    @property
    def release(self):
        return self.image.name.removeprefix("vmlinuz-")

    @property
    def modules(self):
        return self.directory / "lib" / "modules" / self.release

    def with_dependencies(self, names):
        """The files of these modules and of what they need, in the order to load them; what is built in is left out."""
        needs = {}
        for line in (self.modules / "modules.dep").read_text().splitlines():
            path, _, others = line.partition(":")
            needs[path] = others.split()
        by_name = {re.sub(r"\.ko(\.\w+)?$", "", pathlib.Path(path).name).replace("-", "_"): path for path in needs}
        builtin = {pathlib.Path(x).stem.replace("-", "_") for x in (self.modules / "modules.builtin").read_text().split()}
        order = []

        def add(path):
            for other in needs[path]:
                add(other)
            if path not in order:
                order.append(path)
        for name in names:
            if name in by_name:
                add(by_name[name])
            elif name not in builtin:
                raise Missing(f"kernel {self.release} has no module {name}")
        return [self.modules / path for path in order]


def missing(version):
    """What the lane lacks for this kernel, in words; empty when it can run."""
    found = [f"the program {p}" for p in PROGRAMS if not shutil.which(p, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")]
    if not Kernel(version).present():
        found.append(f"a kernel {version} below {Kernel(version).directory}")
    return found


def _number(package):
    return [int(x) for x in re.findall(r"\d+", package)]


def _names(package):
    """Releases of this kind that apt can get, the newest first: the archive's index may be ahead of its pool for the very newest."""
    listed = subprocess.run(["apt-cache", "pkgnames", "linux-image-"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return sorted((x for x in listed if re.fullmatch(package, x)), key=_number, reverse=True)


def fetch(version):
    """Downloads and unpacks the newest kernel of this version. apt verifies the archive's signature; nothing is installed."""
    kernel = Kernel(version)
    kernel.directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kernel.directory.parent) as scratch:
        for name in _names(_PACKAGES[version])[:5]:
            done = subprocess.run(["apt-get", "-q", "download", name], cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode == 0:
                break
        else:
            raise Missing(f"apt-get cannot download {_PACKAGES[version]}: run apt-get update, and use Debian 12's bookworm archives")
        tree = pathlib.Path(scratch) / "tree"
        tree.mkdir()
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", next(pathlib.Path(scratch).glob("*.deb"))], stdout=subprocess.PIPE) as archive:
            subprocess.run(["tar", "-x", "-C", tree, "--no-same-owner", "./boot", "./lib"], stdin=archive.stdout, check=True)
        if archive.returncode:
            raise Missing(f"the package of kernel {version} cannot be unpacked")
        release = next(tree.glob("boot/vmlinuz-*")).name.removeprefix("vmlinuz-")
        subprocess.run(["depmod", "-b", tree, release], check=True, env=dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"))
        if kernel.directory.exists():
            shutil.rmtree(kernel.directory)
        tree.chmod(0o755)
        tree.rename(kernel.directory)
    return Kernel(version)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fetch", action="store_true", help="download what is missing")
    options = parser.parse_args()
    status = 0
    for version in VERSIONS:
        try:
            if options.fetch and not Kernel(version).present():
                print(f"tools/setup: fetching kernel {version} for the virtual machine", file=sys.stderr, flush=True)
                fetch(version)
            elif not Kernel(version).present():
                raise Missing(f"missing: kernel {version} (tools/setup --vm downloads it)")
        except Missing as error:
            print(f"tools/setup: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
