"""Child processes: each in a process group of its own, output in files, ended by pid, loud when they fail."""
import os
import pathlib
import shlex
import signal
import subprocess

from support.wait import patience, wait_until


class CommandFailed(AssertionError):
    """A command ended with a status nobody wanted; carries what it printed."""


def tail(path, size=3000):
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def run(*command, check=True, stdin=None, timeout=60, env=None):
    """Runs a short command to its end; returns the CompletedProcess (text). Raises CommandFailed unless check is off."""
    done = subprocess.run([str(c) for c in command], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=patience(timeout), env=env)
    if check and done.returncode:
        raise CommandFailed(f"{shlex.join(map(str, command))}: status {done.returncode}\n{done.stderr[-3000:]}{done.stdout[-1000:]}")
    return done


def launcher(netns=None, cgroup=None, gid=None, uid=None):
    """The command prefix that puts what follows into a network namespace, a cgroup and a group, by exec, so the pid stays.

    PDEATHSIG: nothing outlives the test run, however it ends. (It fires when the *thread* that started the child ends: start
    processes from the main thread.)
    """
    prefix = []
    if cgroup is not None:
        prefix += ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(cgroup)]
    if netns is not None:
        prefix += ["nsenter", f"--net={netns}"]
    prefix += ["setpriv", "--pdeathsig", "KILL"]
    if uid is not None:
        prefix += ["--reuid", str(uid)]
    if gid is not None:
        prefix += ["--regid", str(gid), "--clear-groups"]
    return prefix


class Process:
    """A long-running child. `name` is used for its output files in `directory` and in messages."""

    def __init__(self, name, command, directory, netns=None, cgroup=None, gid=None, uid=None, env=None, pass_fds=(), stdin=None):
        self.name = name
        self.command = [str(c) for c in command]
        self.stdout_path = pathlib.Path(directory) / f"{name}.stdout"
        self.stderr_path = pathlib.Path(directory) / f"{name}.stderr"
        with open(self.stdout_path, "ab") as out, open(self.stderr_path, "ab") as err:
            self.popen = subprocess.Popen(launcher(netns, cgroup, gid, uid) + self.command, stdin=stdin or subprocess.DEVNULL,
                                          stdout=out, stderr=err, start_new_session=True, pass_fds=pass_fds,
                                          env=dict(os.environ, **(env or {})))
        self.pid = self.popen.pid

    def running(self):
        return self.popen.poll() is None

    def stdout(self):
        return self.stdout_path.read_text(errors="replace")

    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    def check_running(self):
        """Raises CommandFailed with the tail of the output when the process has ended."""
        if not self.running():
            raise CommandFailed(self.describe())

    def describe(self):
        state = "runs" if self.running() else f"ended with status {self.popen.returncode}"
        return f"{self.name} (pid {self.pid}) {state}: {shlex.join(self.command)}\n{tail(self.stderr_path)}{tail(self.stdout_path, 1000)}"

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, seconds=10.0):
        """The exit status; raises Timeout when it still runs after `seconds`."""
        wait_until(lambda: not self.running(), seconds, f"end of {self.describe()}")
        return self.popen.returncode

    def stop(self, seconds=10.0):
        """SIGTERM, and SIGKILL to the whole group after `seconds`. Returns the exit status, negative for a signal."""
        if self.running():
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(patience(seconds))
            except subprocess.TimeoutExpired:
                self.kill()
        return self.popen.returncode

    def kill(self):
        """SIGKILL to the process group (it is ours: the child leads a session of its own)."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return self.popen.wait()

    def rss_kib(self):
        """Resident memory, KiB (smaps_rollup, so shared pages count in full)."""
        for line in pathlib.Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1])
        raise CommandFailed(self.describe())

    def open_fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))
