"""Certificates by the thousand: libcrypto in this process, where a process of openssl's for each would take minutes."""
import ctypes
import ctypes.util
import itertools
import threading
import time

_NID_BASIC_CONSTRAINTS, _NID_SUBJECT_ALT_NAME, _NID_KEY_USAGE, _NID_SUBJECT_KEY_ID = 87, 85, 83, 82
_ASCII, _X509_V3 = 0x1001, 2  # MBSTRING_ASC; X509_VERSION_3


def _library():
    crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
    pointer, number, text = ctypes.c_void_p, ctypes.c_long, ctypes.c_char_p
    for name, result, *arguments in (
            ("EVP_PKEY_Q_keygen", pointer, pointer, text, text, text), ("EVP_PKEY_free", None, pointer), ("EVP_sha256", pointer),
            ("X509_new", pointer), ("X509_free", None, pointer), ("X509_set_version", ctypes.c_int, pointer, number),
            ("X509_get_serialNumber", pointer, pointer), ("ASN1_INTEGER_set_uint64", ctypes.c_int, pointer, ctypes.c_uint64),
            ("X509_getm_notBefore", pointer, pointer), ("X509_getm_notAfter", pointer, pointer),
            ("ASN1_TIME_set", pointer, pointer, ctypes.c_int64), ("X509_get_subject_name", pointer, pointer),
            ("X509_NAME_add_entry_by_txt", ctypes.c_int, pointer, text, ctypes.c_int, text, ctypes.c_int, ctypes.c_int, ctypes.c_int),
            ("X509_set_issuer_name", ctypes.c_int, pointer, pointer), ("X509_set_pubkey", ctypes.c_int, pointer, pointer),
            ("X509V3_EXT_conf_nid", pointer, pointer, pointer, ctypes.c_int, text), ("X509_EXTENSION_free", None, pointer),
            ("X509_add_ext", ctypes.c_int, pointer, pointer, ctypes.c_int), ("X509_sign", ctypes.c_int, pointer, pointer, pointer),
            ("BIO_s_mem", pointer), ("BIO_new", pointer, pointer), ("BIO_free", ctypes.c_int, pointer),
            ("BIO_read", ctypes.c_int, pointer, pointer, ctypes.c_int), ("PEM_write_bio_X509", ctypes.c_int, pointer, pointer),
            ("PEM_write_bio_PrivateKey", ctypes.c_int, pointer, pointer, pointer, pointer, ctypes.c_int, pointer, pointer)):
        function = getattr(crypto, name)
        function.restype, function.argtypes = result, arguments
    return crypto


class Issuer:
    """A root and what it signs, all P-256. `pem`: the root's certificate."""

    _crypto = None

    def __init__(self, name="Test CA", seconds=86400):
        if Issuer._crypto is None:
            Issuer._crypto = _library()
        self._lock, self._serials = threading.Lock(), itertools.count(1)
        self.name, self.seconds, self._key, self._certificate = name, seconds, None, None  # the pointers stay for as long as the process lives
        self.renew()

    def renew(self):
        """The root anew, with the key that it has: who trusts the one trusts what comes of the other."""
        with self._lock:
            self.pem, self.key = self._make(self.name, (), self.seconds, {
                _NID_BASIC_CONSTRAINTS: "critical,CA:TRUE", _NID_KEY_USAGE: "critical,keyCertSign",
                _NID_SUBJECT_KEY_ID: self.name.encode().hex()}, root=True)

    def issue(self, name, *sans, seconds=86400):
        """(PEM of the certificate, PEM of its key, serial number). sans: "DNS:a.local", "URI:spiffe://…"."""
        with self._lock:
            certificate, key = self._make(name, sans, seconds, {_NID_KEY_USAGE: "critical,digitalSignature"})
            return certificate, key, self.last_serial

    def _make(self, name, sans, seconds, extensions, root=False):
        c = Issuer._crypto
        made, key = c.X509_new(), root and self._key or c.EVP_PKEY_Q_keygen(None, None, b"EC", b"P-256")
        self.last_serial, now = next(self._serials), int(time.time())
        c.X509_set_version(made, _X509_V3)
        c.ASN1_INTEGER_set_uint64(c.X509_get_serialNumber(made), self.last_serial)
        c.ASN1_TIME_set(c.X509_getm_notBefore(made), now - 60)
        c.ASN1_TIME_set(c.X509_getm_notAfter(made), now + seconds)
        c.X509_NAME_add_entry_by_txt(c.X509_get_subject_name(made), b"CN", _ASCII, name.encode(), -1, -1, 0)
        c.X509_set_issuer_name(made, c.X509_get_subject_name(self._certificate or made))
        c.X509_set_pubkey(made, key)
        if sans:
            extensions = {**extensions, _NID_SUBJECT_ALT_NAME: ",".join(sans)}
        for nid, value in extensions.items():
            extension = c.X509V3_EXT_conf_nid(None, None, nid, value.encode())
            assert extension, value
            c.X509_add_ext(made, extension, -1)
            c.X509_EXTENSION_free(extension)
        assert c.X509_sign(made, self._key or key, c.EVP_sha256())
        out = self._text(c.PEM_write_bio_X509, made), self._text(c.PEM_write_bio_PrivateKey, key, None, None, 0, None, None)
        if root:
            self._key, self._certificate = key, self._certificate or made
        else:
            c.EVP_PKEY_free(key)
        if made != self._certificate:
            c.X509_free(made)
        return out

    @staticmethod
    def _text(write, *arguments):
        c = Issuer._crypto
        bio, buffer = c.BIO_new(c.BIO_s_mem()), ctypes.create_string_buffer(8192)
        try:
            assert write(bio, *arguments) == 1
            size = c.BIO_read(bio, buffer, len(buffer))
            return buffer.raw[:size].decode()
        finally:
            c.BIO_free(bio)


def names(der, uri):
    """Whether this certificate (DER) has this URI as a subject alternative name."""
    return bytes([0x86, len(uri)]) + uri.encode() in der
