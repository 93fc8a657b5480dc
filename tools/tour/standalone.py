"""The tour of a host that cannot do eBPF: sluiced as an ordinary proxy on loopback, no root needed."""
import pathlib
import socket
import subprocess
import tempfile

from support import paths
from support.process import Process
from support.proxies import AccessLog
from support.wait import wait_until
from web import command

HERE = pathlib.Path(__file__).resolve().parent


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(port):
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


def tour(screen):
    with tempfile.TemporaryDirectory(prefix="sluice-quickstart-") as scratch:
        directory = pathlib.Path(scratch)
        port, web_port = _free_port(), _free_port()
        log = AccessLog(directory / "access.log")
        screen.step("sluiced standalone", "As Envoy is used: one file, no root, no eBPF.")
        line, name = command(directory, web_port, "127.0.0.1")
        started = [Process("web", line, directory)]
        try:
            wait_until(lambda: _answers(web_port), 10, name, alive=started[0].check_running)
            text = (HERE / "standalone.yaml").read_text()
            for key, value in (("port", port), ("web_port", web_port), ("log", log.path)):
                text = text.replace("{{" + key + "}}", str(value))
            config = directory / "standalone.yaml"
            config.write_text(text)
            screen.command("sluiced", "-c", config.name)
            started.append(Process("sluiced", [paths.program("sluiced"), "-c", config, "--file-flush-interval-msec", "100"], directory))
            wait_until(lambda: _answers(port), 10, "sluiced", alive=started[1].check_running)
            before = len(log.lines())
            screen.command("curl", f"http://127.0.0.1:{port}/")
            done = subprocess.run(["curl", "-sS", "-m", "5", f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            screen.output(done.stdout)
            screen.check(done.returncode == 0 and "Welcome" in done.stdout, f"{name} answered through sluiced")
            lines = wait_until(lambda: [x for x in log.lines()[before:] if "flags -" in x], 5, "the access log")
            screen.output(lines[-1])
            screen.check("cluster web" in lines[-1], "the access log has it")
        finally:
            for process in reversed(started):
                process.stop(5)
