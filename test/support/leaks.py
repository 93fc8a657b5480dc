"""What a run must not leave behind: namespaces, cgroups, pins on a bpffs, BPF links and programs, processes."""
import json
import os
import pathlib
import shutil

from support.pod import PREFIX, owned_names
from support.process import run


def _children():
    """pids whose parent is this process."""
    found = set()
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            fields = stat.rpartition(")")[2].split()
            if int(fields[1]) == os.getpid() and fields[0] != "Z":
                found.add(f"process {entry.name} {stat.split('(')[1].split(')')[0]}")
    return found


def _bpf_links(netns_ids, cgroup_ids):
    """BPF links attached to one of our namespaces or cgroups (others' links on this machine are none of our business)."""
    if not shutil.which("bpftool") or os.geteuid():
        return set()
    done = run("bpftool", "link", "show", "-j", check=False)
    if done.returncode or not done.stdout.strip():
        return set()
    found = set()
    for link in json.loads(done.stdout):
        if link.get("cgroup_id") in cgroup_ids or link.get("netns_ino") in netns_ids:
            found.add(f"bpf link {link['id']} ({link.get('type')})")
    return found


class Watch:
    """Remembers the namespaces and cgroups of a world, and tells at the end what of them, or made by them, is still there."""

    def __init__(self, pin_root=None):
        self.pin_root = pin_root
        self.netns_ids, self.cgroup_ids = set(), set()

    def note(self, world):
        """Call while the world stands: ids are not known any more once it is gone."""
        for pod in [*world.pods, world.node]:
            self.netns_ids.add(os.stat(pod.path).st_ino)
        if world.cgroup:
            for path in [world.cgroup, *world.cgroup.glob("**/")]:
                self.cgroup_ids.add(os.stat(path).st_ino)

    def left(self):
        """Descriptions of everything that is still there; empty when all is well."""
        found = {f"{kind} {name}" for kind, name, pid in owned_names(PREFIX) if pid == os.getpid()}
        found |= _children() | _bpf_links(self.netns_ids, self.cgroup_ids)
        if self.pin_root and pathlib.Path(self.pin_root).exists():
            found.add(f"bpffs {self.pin_root}")
        return sorted(found)
