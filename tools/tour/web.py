"""A stock web server: nginx where it is installed, else Python's."""
import shutil

_NGINX = """
worker_processes 1;
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log stderr error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    default_type text/html;
    client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
    server {{ listen {address}{port}; {v6} root {root}; }}
}}
"""


# Python's server looks its own name up when it starts; a pod whose resolver does not answer is not to wait long for that.
_PYTHON = ["env", "RES_OPTIONS=timeout:1 attempts:1", "/usr/bin/python3", "-m", "http.server"]


def make_root(directory):
    """A page, and a file big enough to be slow with."""
    root = directory / "www"
    root.mkdir(exist_ok=True)
    (root / "index.html").write_text("Welcome from the web pod\n")
    (root / "big").write_bytes(b"0123456789abcdef" * (1 << 18))
    return root


def command(directory, port, address=""):
    """(the server's command line, what it is called)."""
    root = make_root(directory)
    if shutil.which("nginx"):
        config = directory / "nginx.conf"
        config.write_text(_NGINX.format(dir=directory, port=port, root=root, address=f"{address}:" if address else "",
                                        v6="" if address else f"listen [::]:{port};"))
        return ["nginx", "-e", "stderr", "-c", config], "nginx"
    bind = ["--bind", address] if address else []
    return [*_PYTHON, str(port), *bind, "--directory", root], "python3 -m http.server"


def start_web(pod):
    """Starts it in the pod on port 80; returns its name."""
    line, name = command(pod.world.directory, 80)
    pod.start("web", line)
    return name


def start_versions(pod):
    """Two versions of a service on ports 8081 and 8082: Python's stock web server, each with a page of its own."""
    for number in (1, 2):
        root = pod.world.directory / f"v{number}"
        root.mkdir(exist_ok=True)
        (root / "index.html").write_text(f"catalog, version {number}\n")
        pod.start(f"v{number}", [*_PYTHON, str(8080 + number), "--directory", root])
