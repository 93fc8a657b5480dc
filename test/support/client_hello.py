"""TLS ClientHellos, whole and broken: the bytes of real clients (OpenSSL by way of `ssl`), and any others put together by hand."""
import ssl
import struct

HANDSHAKE = 22
GREASE = tuple(0x0a0a + 0x1010 * i for i in range(16))  # RFC 8701
SERVER_NAME, STATUS_REQUEST, GROUPS, POINT_FORMATS, SIGNATURE_ALGORITHMS, ALPN = 0, 5, 10, 11, 13, 16
PADDING, MASTER_SECRET, SUPPORTED_VERSIONS, PSK_MODES, KEY_SHARE = 21, 23, 43, 45, 51


def u8(data):
    """With its length in one byte before it."""
    return struct.pack("!B", len(data)) + data


def u16(data):
    """With its length in two bytes before it."""
    return struct.pack("!H", len(data)) + data


def numbers(values):
    return b"".join(struct.pack("!H", v) for v in values)


def extension(kind, data):
    return struct.pack("!H", kind) + u16(data)


def server_name(name, kind=0):
    return extension(SERVER_NAME, u16(bytes([kind]) + u16(name.encode() if isinstance(name, str) else name)))


def alpn(*protocols):
    return extension(ALPN, u16(b"".join(u8(p.encode()) for p in protocols)))


def versions(*values):
    return extension(SUPPORTED_VERSIONS, u8(numbers(values)))


def groups(*values):
    return extension(GROUPS, u16(numbers(values)))


def signature_algorithms(*values):
    return extension(SIGNATURE_ALGORITHMS, u16(numbers(values)))


def hello(extensions=b"", version=0x0303, ciphers=(0x1301, 0xc02f), session_id=b"", compression=b"\0", random=bytes(range(32)), kind=1):
    """A ClientHello message with its handshake header; extensions None: the block is left out (RFC 5246 section 7.4.1.2)."""
    ciphers = numbers(ciphers) if not isinstance(ciphers, bytes) else ciphers
    body = struct.pack("!H", version) + random + u8(session_id) + u16(ciphers) + u8(compression)
    if extensions is not None:
        body += u16(extensions)
    return message(body, kind)


def message(body, kind=1):
    return bytes([kind]) + struct.pack("!I", len(body))[1:] + body


def record(data, version=0x0301, kind=HANDSHAKE):
    return struct.pack("!BHH", kind, version, len(data)) + data


def records(data, size, version=0x0301):
    """The message in records of `size` bytes."""
    return b"".join(record(data[i:i + size], version) for i in range(0, len(data), size))


def sslv2(version=0x0301, ciphers=b"\0\0\x2f\x07\0\xc0", session_id=b"", challenge=bytes(32), kind=1):
    """An SSLv2 ClientHello, as clients of the nineties began to speak TLS (RFC 5246 appendix E.2)."""
    body = struct.pack("!BHHHH", kind, version, len(ciphers), len(session_id), len(challenge)) + ciphers + session_id + challenge
    return struct.pack("!H", 0x8000 | len(body)) + body


def of_openssl(name=None, protocols=(), maximum=None, minimum=None, ciphers=None):
    """The first flight of a client made of this Python's OpenSSL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if ciphers:
        context.set_ciphers(ciphers)
    context.minimum_version = minimum or ssl.TLSVersion.MINIMUM_SUPPORTED
    if maximum:
        context.maximum_version = maximum
    if protocols:
        context.set_alpn_protocols(list(protocols))
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()
