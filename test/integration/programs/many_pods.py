"""Many small pods in one process: network namespaces with nothing but loopback, and an HTTP client in each.

    many_pods.py NUMBER DESTINATION PORT

Prints one line of JSON for each line that it reads, and one to begin with: the namespaces' paths. Ends when its input does, and the namespaces with
it. It runs in the pods' cgroup, so connections are intercepted where a namespace is enrolled.

    each                     one request in every pod; what failed
    load SEED                requests in all of them at once, until the next line comes; the numbers of requests and connections, and what failed
    hang up                  closes every connection

Each answer is to be the escaped certificate that the pod's request came with: it must have the pod's SPIFFE ID.
"""
import ctypes
import fcntl
import json
import os
import random
import socket
import ssl
import struct
import sys
import threading
import urllib.parse

THREADS, AT_ONCE = 2, 25
_SIOCSIFFLAGS, _UP = 0x8914, 0x49
_libc = ctypes.CDLL("libc.so.6", use_errno=True)


def identity(number):
    return f"spiffe://cluster.local/ns/test/sa/pod-{number}"


def in_thread(function):
    """What the function gives, from a thread that may change its namespace."""
    out = []
    thread = threading.Thread(target=lambda: out.append(function()))
    thread.start()
    thread.join()
    return out[0]


def make_namespaces(number):
    made = []
    for _ in range(number):
        if _libc.unshare(0x40000000):
            raise OSError(ctypes.get_errno(), "unshare")
        with socket.socket() as probe:
            fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _UP))
        made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
    return made


class Pod:
    """One keep-alive connection at a time."""

    def __init__(self, number, namespace, target):
        self.number, self.namespace, self.target, self.sock = number, namespace, target, None
        self.want, self.seen, self.connections = identity(number), None, 0

    def ask(self):
        if self.sock is None:
            if _libc.setns(self.namespace, 0x40000000):
                raise OSError(ctypes.get_errno(), "setns")
            self.sock = socket.create_connection(self.target, 20)
            self.connections += 1
        self.sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")

    def check(self):
        """Why the answer is not good; None: it is."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.sock.recv(65536)
            if not more:
                return f"pod {self.number}: hung up"
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        size = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        while len(body) < size:
            body += self.sock.recv(65536)
        if not head.startswith(b"HTTP/1.1 200"):
            return f"pod {self.number}: {head[:60]!r} {body[:200]!r}"
        if body != self.seen:
            der = ssl.PEM_cert_to_DER_cert(urllib.parse.unquote(body.decode()))
            if bytes([0x86, len(self.want)]) + self.want.encode() not in der:  # a URI among the subject's alternative names
                return f"pod {self.number}: it was said to be somebody else: {der}"
            self.seen = body
        return None

    def hang_up(self):
        if self.sock:
            self.sock.close()
            self.sock = None


def together(pods):
    """All of them ask before anyone reads; what failed."""
    failed, asked = [], []
    for pod in pods:
        try:
            pod.ask()
            asked.append(pod)
        except OSError as error:
            failed.append(f"pod {pod.number}: {error!r}")
    for pod in asked:
        try:
            wrong = pod.check()
        except OSError as error:
            wrong = f"pod {pod.number}: {error!r}"
        if wrong:
            failed.append(wrong)
            pod.hang_up()
    return failed


class Load:
    def __init__(self, pods, seed):
        self.stop, self.failed, self.requests = threading.Event(), [], 0
        self.before = sum(p.connections for p in pods)
        self.pods = pods
        self.threads = [threading.Thread(target=self.run, args=(pods[i::THREADS], random.Random(seed + i))) for i in range(THREADS)]
        for t in self.threads:
            t.start()

    def run(self, pods, draw):
        while not self.stop.is_set():
            some = draw.sample(pods, min(AT_ONCE, len(pods)))
            self.failed += together(some)
            self.requests += len(some)
            for pod in some[:3]:
                pod.hang_up()

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()
        return {"requests": self.requests, "connections": sum(p.connections for p in self.pods) - self.before, "failed": self.failed}


def main():
    number, target = int(sys.argv[1]), (sys.argv[2], int(sys.argv[3]))
    pods = [Pod(i, fd, target) for i, fd in enumerate(in_thread(lambda: make_namespaces(number)))]
    load = None

    def say(what):
        print(json.dumps(what), flush=True)
    say([f"/proc/{os.getpid()}/fd/{p.namespace}" for p in pods])
    for line in sys.stdin:
        command, *arguments = line.split()
        if load:
            say(load.end())
            load = None
        if command == "each":
            say([f for i in range(0, len(pods), AT_ONCE) for f in in_thread(lambda i=i: together(pods[i:i + AT_ONCE]))])
        elif command == "load":
            load = Load(pods, int(arguments[0]))
        elif command == "hang":
            for pod in pods:
                pod.hang_up()
            say("done")


main()
