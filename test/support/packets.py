"""Counts packets on an interface, and looks into them: an AF_PACKET socket inside the namespace, so that "nothing left in clear" is counted on
the wire."""
import collections
import socket
import struct
import threading

from support.pod import inside

_ETH_P_ALL = 3
Packet = collections.namedtuple("Packet", "outgoing source source_port target target_port flags payload data")
FIN, SYN, RST, ACK = 1, 2, 4, 16


class PacketCounter:
    """Parses TCP over IPv4 and IPv6 while it runs; `packets` holds Packet tuples (flags: the TCP flags, payload: its length,
    data: its bytes)."""

    def __init__(self, netns_path, interface="eth0"):
        self.packets = []
        with inside(netns_path):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            self._socket.bind((interface, _ETH_P_ALL))
        self._socket.settimeout(0.05)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _read(self):
        while True:
            try:
                data, where = self._socket.recvfrom(65536)
            except (TimeoutError, socket.timeout):
                if self._stop.is_set():
                    return
                continue
            except OSError:
                return
            packet = parse(data, where)
            if packet:
                self.packets.append(packet)

    def count(self, **wanted):
        """How many packets have all the given fields, e.g. count(target_port=80, outgoing=True); flags means "all of these set"."""
        flags = wanted.pop("flags", 0)
        return sum(p.flags & flags == flags and all(getattr(p, k) == v for k, v in wanted.items()) for p in list(self.packets))

    def streams(self, port):
        """What passed between a client and `port`: {(client, its port): (bytes to the port, bytes from it)}, as it was sent, retransmissions included."""
        found = collections.defaultdict(lambda: [b"", b""])
        for p in list(self.packets):
            if p.target_port == port:
                found[p.source, p.source_port][0] += p.data
            elif p.source_port == port:
                found[p.target, p.target_port][1] += p.data
        return {key: tuple(value) for key, value in found.items()}

    def close(self):
        self._stop.set()
        self._thread.join(5)
        self._socket.close()


def parse(data, where):
    """A Packet, or None for what is not TCP."""
    protocol, kind = where[1], where[2]
    if protocol == 0x0800 and len(data) >= 20 and data[9] == 6:
        head = (data[0] & 15) * 4
        source, target = socket.inet_ntop(socket.AF_INET, data[12:16]), socket.inet_ntop(socket.AF_INET, data[16:20])
        total = struct.unpack("!H", data[2:4])[0]
    elif protocol == 0x86DD and len(data) >= 40 and data[6] == 6:
        head = 40
        source, target = socket.inet_ntop(socket.AF_INET6, data[8:24]), socket.inet_ntop(socket.AF_INET6, data[24:40])
        total = 40 + struct.unpack("!H", data[4:6])[0]
    else:
        return None
    tcp = data[head:]
    if len(tcp) < 20:
        return None
    source_port, target_port = struct.unpack("!HH", tcp[:4])
    return Packet(kind == socket.PACKET_OUTGOING, source, source_port, target, target_port, tcp[13], total - head - (tcp[12] >> 4) * 4,
                  data[head + (tcp[12] >> 4) * 4:total])
