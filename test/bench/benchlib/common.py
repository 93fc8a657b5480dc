"""What every part uses: constants, errors, small helpers."""
import ctypes
import os
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROXY_GID = 1337  # exempt from the iptables redirect, as Istio's is (a group, not a user: the binaries may lie where only root reads)
MARK = 1337

POD_IP, SVC_GW, SVC_IP = "10.201.0.1", "10.201.0.2", "10.202.0.10"
P_HTTP, P_TLS, P_RSA, P_MUTUAL, P_OUT, P_OUT_H2, P_IN = 10000, 10443, 10444, 10445, 15001, 15002, 15006
P_DOWN, P_UP, P_TLS_ECHO = 10451, 10452, 10453
B_HTTP, B_H2, B_SOURCE, B_ACKSINK, B_ECHO, B_SINK = 9000, 9001, 9002, 9003, 7001, 7002

libc = ctypes.CDLL("libc.so.6", use_errno=True)
CPUACCT = "/sys/fs/cgroup/cpuacct"
CPUCG = "/sys/fs/cgroup/cpu"
CGV2 = "/sys/fs/cgroup/unified" if os.path.isdir("/sys/fs/cgroup/unified") else "/sys/fs/cgroup"
TICK = os.sysconf("SC_CLK_TCK")


def set_slice(us):
    """A short EEVDF slice: on waking, preempts the longer-slice work of other users of the machine (Linux 6.12 and later)."""
    attr = struct.pack("=IIQiIQQQ", 48, 0, 0, 0, 0, us * 1000, 0, 0)
    libc.syscall(314, 0, attr, 0)  # sched_setattr; where it does not apply, nothing changes


SHORT = 0.1  # so much of a fixed rate not served: the sample is not clean either
SLOW = 1.25  # a sample beside a probe slower than this against the best is not clean


class BenchError(Exception):
    pass


def say(*a):
    print(*a, file=sys.stderr, flush=True)


def sh(*cmd, check=True):
    r = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check and r.returncode:
        raise BenchError(f"{' '.join(cmd)}: {r.stdout.strip()}")
    return r.stdout


def read(path, default=""):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return default


def pattern(n):
    return bytes(97 + (i * 7 + i // 251) % 26 for i in range(n))
