"""What this host can do, found out without the product, and whether any packet-filter rule stands in a namespace."""
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess

from support import paths
from support.pod import inside


def missing():
    """What stands in the way of transparent interception: a list of sentences that say what to do; empty when nothing does."""
    found = []
    if os.geteuid():
        found.append("not root: run it with sudo")
    elif not _can_make_namespaces():
        found.append("no network namespaces (ip netns add fails): a container without CAP_SYS_ADMIN? Run it on the host, or privileged")
    release = os.uname().release
    if tuple(int(n) for n in re.findall(r"\d+", release)[:2]) < (5, 10):
        found.append(f"kernel {release}: 5.10 or newer is needed (bpf links on cgroups, sk_lookup, socket storage)")
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        found.append("no /sys/kernel/btf/vmlinux: a kernel built with CONFIG_DEBUG_INFO_BTF=y is needed")
    if paths.cgroup2() is None:
        found.append("cgroup2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup/unified")
    elif not os.geteuid() and not os.access(paths.cgroup2(), os.W_OK):
        found.append(f"{paths.cgroup2()} is read-only: a container? Run it on the host, or with its cgroup2 mounted writable")
    for tool in ("ip", "curl", "nsenter", "setpriv"):
        if not shutil.which(tool):
            found.append(f"{tool} is missing: tools/setup installs it")
    return found


def _can_make_namespaces():
    name = f"sltprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], stderr=subprocess.DEVNULL)
    subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
    return made.returncode == 0


def rules(netns_path):
    """Names of iptables tables and nft tables in a network namespace. Asked of the kernel itself: running iptables would create some."""
    found = []
    with inside(netns_path):
        for path in ("/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"):
            try:
                found += [f"iptables {line}" for line in pathlib.Path(path).read_text().split()]
            except OSError:
                pass
        found += [f"nft {name}" for name in _nft_tables()]
    return found


def _nft_tables():
    """NFT_MSG_GETTABLE over netlink (linux/netfilter/nf_tables.h)."""
    nfnl_subsys_nftables, nft_msg_gettable, nlm_f_dump, nlm_f_request, nla_name = 10, 1, 0x300, 1, 1
    names = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:  # NETLINK_NETFILTER
            netlink.settimeout(2)
            netlink.send(struct.pack("=IHHIIBBH", 20, nfnl_subsys_nftables << 8 | nft_msg_gettable, nlm_f_dump | nlm_f_request, 1, 0, 0, 0, 0))
            while True:
                data = netlink.recv(65536)
                while data:
                    length, kind = struct.unpack("=IH", data[:6])
                    if kind in (2, 3):  # NLMSG_ERROR (nf_tables not in this kernel), NLMSG_DONE
                        return names
                    attribute_length, attribute = struct.unpack("=HH", data[20:24])
                    if attribute & 0x3FFF == nla_name:
                        names.append(data[24:20 + attribute_length].rstrip(b"\0").decode())
                    data = data[(length + 3) & ~3:]
    except OSError:
        return names
