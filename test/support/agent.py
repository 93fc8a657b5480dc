"""Runs inside a pod (its network namespace and cgroup) and makes sockets for the test process.

A socket belongs to the namespace and cgroup of the process that made it, and BPF programs on the cgroup go by the socket. So the
tests can use plain sockets in their own process and still be "the app in the pod". Protocol, over a Unix socket pair on fd argv[1]: one
JSON array [family, type, protocol] a message; the answer is one byte "k" carrying the descriptor, or "e" and the error text.
"""
import json
import os
import socket
import sys


def main():
    channel = socket.socket(fileno=int(sys.argv[1]))
    while True:
        request = channel.recv(4096)
        if not request:
            return
        try:
            made = socket.socket(*json.loads(request))
        except OSError as error:
            channel.send(b"e" + str(error).encode())
            continue
        socket.send_fds(channel, [b"k"], [made.fileno()])
        made.close()


if __name__ == "__main__":
    sys.path.pop(0)
    try:
        main()
    except (KeyboardInterrupt, ConnectionError):
        os._exit(0)
