"""The parts of the virtual machine (../vm) that can be tried without booting one."""
import pathlib
import subprocess

import pytest

from support.wait import Deadline
from vm import kernels, lane, machine


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A cache with a kernel 6.1 that has three modules and one that is built in."""
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path))
    modules = tmp_path / "kernels/6.1/lib/modules/6.1.0-0-amd64"
    modules.mkdir(parents=True)
    (tmp_path / "kernels/6.1/boot").mkdir()
    (tmp_path / "kernels/6.1/boot/vmlinuz-6.1.0-0-amd64").touch()
    (modules / "modules.dep").write_text("kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs.ko.xz\nkernel/net/9p/9pnet.ko.xz:\n"
                                         "kernel/fs/netfs.ko.xz:\nkernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko.xz\n")
    (modules / "modules.builtin").write_text("kernel/drivers/virtio/virtio-pci.ko\n")
    return kernels.Kernel("6.1")


def test_modules_come_after_what_they_need(kernel):
    files = kernel.with_dependencies(["virtio_pci", "9pnet_virtio", "9p"])
    assert [f.name for f in files] == ["9pnet.ko.xz", "9pnet_virtio.ko.xz", "netfs.ko.xz", "9p.ko.xz"]
    with pytest.raises(kernels.Missing, match="6.1.0-0-amd64 has no module tls"):
        kernel.with_dependencies(["tls"])


def test_what_is_missing_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path))
    with pytest.raises(kernels.Missing, match=rf"a kernel 6.12 below {tmp_path}/kernels/6.12: run tools/setup --vm"):
        machine.Machine("6.12")
    monkeypatch.setattr(kernels, "PROGRAMS", ("no-such-program",))
    assert "the program no-such-program" in kernels.missing("6.12")


def test_the_archive_is_one_that_cpio_of_the_kernel_reads():
    """newc: header, name and data each end on four bytes; the sizes stand at their places."""
    entry = machine._entry("bin/x", 0o100755, b"12345")
    assert entry[:6] == b"070701" and len(entry) % 4 == 0
    fields = [int(entry[6 + 8 * i:14 + 8 * i], 16) for i in range(13)]
    assert (fields[1], fields[6], fields[11]) == (0o100755, 5, len("bin/x") + 1)
    data = (110 + fields[11] + 3) // 4 * 4
    assert entry[110:116] == b"bin/x\0" and entry[data:data + 5] == b"12345"


def test_a_machine_that_does_not_end_is_ended(tmp_path):
    (tmp_path / "console").write_text("last words")
    deadline = Deadline(20)
    with pytest.raises(machine.Stopped, match="not done within 0 s\nlast words"):
        machine.Machine._attend(["sleep", "60"], tmp_path / "status", tmp_path / "console", 0.1, subprocess.DEVNULL)
    assert not deadline.over()


def test_a_machine_that_ends_before_its_command(tmp_path):
    (tmp_path / "console").write_text("Kernel panic")
    with pytest.raises(machine.Stopped, match=r"(?s)status 1.*before its command did.*Kernel panic"):
        machine.Machine._attend(["false"], tmp_path / "status", tmp_path / "console", 20, subprocess.DEVNULL)
    (tmp_path / "status").write_text("7\n")
    assert machine.Machine._attend(["true"], tmp_path / "status", tmp_path / "console", 20, subprocess.DEVNULL) == 7


def test_the_lane_counts_a_machine_that_died(tmp_path, monkeypatch):
    """Steps that ran keep their verdict; those that did not have failed, and so has the machine."""
    class Dying:
        accel = "tcg"

        def __init__(self, version):
            pass

        def run(self, script, seconds, environment, directory, results):
            assert environment["SLUICE_TEST_SLOWNESS"] > 1 and "sluicectl check" in script
            (results / "0").write_text("0\n")
            (results / "1").write_text("8\n")
            raise machine.Stopped("dead")
    monkeypatch.setattr(lane, "Machine", Dying)
    outcome = lane.run(pathlib.Path("build"), "6.1", tmp_path)
    assert [passed for _, _, passed in outcome] == [True, False, False, False, False, False]
    assert outcome[-1][0] == "virtual machine"
