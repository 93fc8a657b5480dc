#!/usr/bin/python3
"""A virtual machine with a kernel of its own and the host's files: runs one command as root and tells its exit status."""
import lzma
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from vm.kernels import Kernel, Missing, missing  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")


class Stopped(Exception):
    """The machine did not come to the end of its command; the message says why, with the end of the kernel's console."""


def accelerator():
    """"kvm" where the processor can virtualize, else "tcg" (emulation: ten to twenty times slower).

    /dev/kvm alone says nothing: it is there in guests whose processor has no virtualization, and emulates only part of one.
    """
    try:
        flags = next(line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
        with open("/dev/kvm", "rb"):
            return "kvm" if {"vmx", "svm"} & set(flags) else "tcg"
    except (OSError, StopIteration):
        return "tcg"


def _entry(name, mode, data=b""):
    """One entry of a cpio archive in the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst of Linux)."""
    path = name.encode() + b"\0"
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0]
    head = b"070701" + b"".join(b"%08x" % x for x in fields) + path
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def initramfs(kernel):
    """busybox, the modules that the host's files need, and init.sh."""
    parts = [_entry(name, 0o040755) for name in ("bin", "proc", "host", "memory", "modules", "new", "sbin", "usr", "usr/bin", "usr/sbin")]
    parts.append(_entry("bin/busybox", 0o100755, pathlib.Path(shutil.which("busybox")).read_bytes()))
    for number, path in enumerate(kernel.with_dependencies(_MODULES)):
        data = path.read_bytes()
        parts.append(_entry(f"modules/{number:02d}-{path.name.split('.')[0]}", 0o100644, lzma.decompress(data) if path.suffix == ".xz" else data))
    parts.append(_entry("init", 0o100755, (HERE / "init.sh").read_bytes()))
    return b"".join([*parts, _entry("TRAILER!!!", 0)])


class Machine:
    """run() boots it, runs the command, and ends it. memory in MiB; processors: how many."""

    def __init__(self, version, memory=4096, processors=2, accel=None):
        lacks = missing(version)
        if lacks:
            raise Missing(f"the virtual machine lacks {', '.join(lacks)}: run tools/setup --vm")
        self.kernel, self.memory, self.processors, self.accel = Kernel(version), memory, processors, accel or accelerator()

    def _command(self, initrd, share, console):
        cpu = "host" if self.accel == "kvm" else "max"
        accel = "kvm" if self.accel == "kvm" else "tcg,thread=multi,tb-size=512"
        return ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", accel, "-cpu", cpu, "-m", str(self.memory),
                "-smp", str(self.processors), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-chardev", f"file,id=console,path={console}", "-serial", "chardev:console",
                "-chardev", "stdio,id=output,signal=off", "-serial", "chardev:output",
                "-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap", "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
                "-fsdev", f"local,id=share,path={share},security_model=none", "-device", "virtio-9p-pci,fsdev=share,mount_tag=share",
                "-object", "rng-random,id=random,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=random",
                "-kernel", str(self.kernel.image), "-initrd", str(initrd),
                "-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on tsc=reliable"]

    def run(self, command, seconds, environment=None, directory=None, output=None, results=None):
        """Runs a command (a list, or a shell script as text) in `directory` and returns its exit status.

        What it prints goes to `output` (a file; default: ours). Its environment has `environment` and nothing else of ours but HOME.
        What it writes is gone afterwards, but for files in /mnt/results: those are copied to the directory `results`.
        Raises Stopped when it takes longer than `seconds` or the machine ends before it.
        """
        with tempfile.TemporaryDirectory(prefix="sluice-vm-") as scratch:
            scratch = pathlib.Path(scratch)
            share = scratch / "share"
            (share / "results").mkdir(parents=True)
            shutil.copy(HERE / "guest.sh", share)
            (share / "settings").write_text(f"modules={shlex.quote(str(self.kernel.modules.parent))}\n")
            variables = {"HOME": os.environ.get("HOME", "/root"), **(environment or {})}
            script = command if isinstance(command, str) else shlex.join(str(c) for c in command)
            (share / "command").write_text("".join(f"export {k}={shlex.quote(str(v))}\n" for k, v in variables.items()) +
                                           f"cd {shlex.quote(str(directory or os.getcwd()))} || exit\n{script}\n")
            initrd, console = scratch / "initrd", scratch / "console"
            initrd.write_bytes(initramfs(self.kernel))
            console.touch()
            try:
                return self._attend(self._command(initrd, share, console), share / "status", console, seconds, output)
            finally:
                if results is not None:
                    shutil.copytree(share / "results", results, dirs_exist_ok=True)

    @staticmethod
    def _attend(command, status, console, seconds, output):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, start_new_session=True)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Stopped(f"not done within {seconds:.0f} s\n{console.read_text(errors='replace')[-2000:]}") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if not status.exists():
            raise Stopped(f"the machine ended (qemu's status {process.returncode}) before its command did\n"
                          f"{console.read_text(errors='replace')[-4000:]}")
        return int(status.read_text())


def terminated(*_):
    """SIGTERM takes the way of ^C: the machine is ended, its files are removed."""
    raise KeyboardInterrupt


def main():
    import argparse
    from vm.kernels import VERSIONS
    parser = argparse.ArgumentParser(description="Runs a command as root in a virtual machine that has another kernel and the host's files; "
                                     "what it writes is gone afterwards. Exit status: the command's.")
    parser.add_argument("--kernel", choices=VERSIONS, default=VERSIONS[0])
    parser.add_argument("--seconds", type=float, default=600, help="at most, with booting (default 600)")
    parser.add_argument("--memory", type=int, default=4096, help="MiB")
    parser.add_argument("--processors", type=int, default=2)
    parser.add_argument("--accel", choices=["kvm", "tcg"], help="default: kvm where the processor can virtualize")
    parser.add_argument("--results", type=pathlib.Path, help="directory that gets what the command leaves in /mnt/results")
    parser.add_argument("command", nargs="+", help="after --; one word is a shell script")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, terminated)
    began = time.monotonic()
    try:
        command = options.command[0] if len(options.command) == 1 else options.command
        status = Machine(options.kernel, options.memory, options.processors, options.accel).run(command, options.seconds, results=options.results)
    except (Missing, Stopped) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 125
    except KeyboardInterrupt:
        return 130
    print(f"{parser.prog}: status {status} after {time.monotonic() - began:.0f} s", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
