"""Certificate authorities for tests, made with the openssl command: what is valid, expired, revoked, or somebody else's."""
import datetime
import pathlib

from support.process import run

_CONFIG = """
[ca]
default_ca = this
[this]
database = {folder}/index.txt
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
serial = {folder}/serial
rand_serial = yes
crlnumber = {folder}/crlnumber
default_md = sha256
default_crl_days = 30
policy = any
unique_subject = no
[any]
commonName = optional
organizationName = optional
[req]
distinguished_name = req
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
"""

_NEW_KEY = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-newkey", "rsa:2048"]}


def _time(days):
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return when.strftime("%Y%m%d%H%M%SZ")


class Pair:
    """A certificate and its key: paths of PEM files."""

    def __init__(self, cert, key):
        self.cert, self.key = pathlib.Path(cert), pathlib.Path(key)


class CA:
    """A root in a folder of its own; `pem`: its certificate."""

    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.config = self.folder / "openssl.cnf"
        self.config.write_text(_CONFIG.format(folder=self.folder))
        (self.folder / "index.txt").touch()
        (self.folder / "crlnumber").write_text("01\n")
        self.pem, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        run("openssl", "req", "-x509", *_NEW_KEY["ec"], "-nodes", "-keyout", self.key, "-out", self.pem, "-days", "30",
            "-subj", f"/CN={name}", "-config", self.config, "-extensions", "root")

    def issue(self, name, sans=(), subject=None, key="ec", starts=-1, ends=20, usage="serverAuth,clientAuth"):
        """sans: "DNS:a.local", "URI:spiffe://…", "IP:10.0.0.1", "email:…", "otherName:1.2.3;UTF8:text". starts, ends: days from now."""
        path, request, extensions = (self.folder / f"{name}.{ext}" for ext in ("pem", "csr", "ext"))
        lines = ["basicConstraints = CA:FALSE", "keyUsage = digitalSignature", f"extendedKeyUsage = {usage}",
                 "authorityKeyIdentifier = keyid", "subjectKeyIdentifier = hash"]
        if sans:
            lines += ["subjectAltName = @names", "[names]"]
            lines += [f"{kind}.{number} = {value}" for number, (kind, _, value) in enumerate(s.partition(":") for s in sans)]
        extensions.write_text("\n".join(lines) + "\n")
        pair = Pair(path, self.folder / f"{name}.key")
        run("openssl", "req", "-new", *_NEW_KEY[key], "-nodes", "-keyout", pair.key, "-out", request, "-config", self.config,
            "-subj", subject or f"/CN={name}")
        run("openssl", "ca", "-batch", "-config", self.config, "-in", request, "-out", path, "-extfile", extensions, "-notext",
            "-startdate", _time(starts), "-enddate", _time(ends))
        return pair

    def crl(self, *revoked, name="crl"):
        """The path of a list that names these certificates (and those of earlier calls)."""
        for pair in revoked:
            run("openssl", "ca", "-config", self.config, "-revoke", pair.cert)
        path = self.folder / f"{name}.pem"
        run("openssl", "ca", "-config", self.config, "-gencrl", "-out", path)
        return path
