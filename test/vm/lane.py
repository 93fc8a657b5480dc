"""What tools/test --vm runs on another kernel: the host check, the BPF tests, the event loop, the quick start, interception."""
import pathlib
import shlex
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from vm.machine import Machine, Stopped  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
_SLOWNESS = 10  # how much longer tests may wait in a machine that is emulated
_STEP_SECONDS = 1800
# Integration: what stands on the kernel. Cases on Envoy say nothing about it; those that load or wait for long are not for emulation.
_FILES = ("test_interception.py", "test_outbound.py", "test_inbound.py", "test_http_connection_manager.py", "test_tls.py::test_client_certificates",
          "test_ktls.py")
_SELECT = "not envoy and not iptables"


def _ctest(build, pattern, report):
    return ["ctest", "--test-dir", build, "-R", pattern, "--output-on-failure", "--no-tests=error", "--output-junit", f"/mnt/results/{report}",
            "--test-output-size-passed", str(1 << 20), "--test-output-size-failed", str(1 << 20), "--timeout", str(_STEP_SECONDS)]


def steps(build):
    """(name, command, report) of each; without a report the exit status is the verdict."""
    test = ROOT / "test"
    return [
        ("sluicectl check", [build / "bin" / "sluicectl", "check"], None),
        ("event loop, connections, TLS by the kernel", _ctest(build, "^(io_test|net_test|tls_test)$", "io.ctest.xml"), "io.ctest.xml"),
        ("BPF", _ctest(build, "^(bpf_decisions_test|redirect_bpf_test)$", "bpf.ctest.xml"), "bpf.ctest.xml"),
        ("quick start", [ROOT / "tools" / "quickstart", "--no-setup", "--no-build"], None),
        ("integration", ["/usr/bin/python3", "-m", "pytest", "-c", test / "pytest.ini", "--rootdir", test, "-v", "--no-header", "--tb=short",
                         "-m", "not slow", "-k", _SELECT, "--junit-xml=/mnt/results/pytest.xml", *(test / "integration" / f for f in _FILES)],
         "pytest.xml"),
    ]


def run(build, version, results):
    """Runs all steps on one kernel. Returns (name, path of its report or None, whether it passed) for each.

    `results` gets the reports and, for a step without one, its exit status. A machine that ends early is a step that failed.
    """
    machine = Machine(version)
    emulated = machine.accel == "tcg"
    wanted = steps(build)
    script = []
    for number, (name, command, _) in enumerate(wanted):
        line = shlex.join(str(c) for c in command)
        script.append(f"echo; echo '== {name}, on kernel '$(uname -r)\ntimeout -k 10 {_STEP_SECONDS} {line}\necho $? >/mnt/results/{number}\n")
    environment = {"SLUICE_BUILD": build, "PYTHONDONTWRITEBYTECODE": "1", "SLUICE_TEST_SLOWNESS": _SLOWNESS if emulated else 1,
                   "SLUICE_TEST_REQUIRE_ROOT": "1"}
    stopped = None
    try:
        machine.run("".join(script) + "exit 0", _STEP_SECONDS * len(wanted), environment, ROOT, results=results)
    except Stopped as error:
        stopped = error
        print(f"virtual machine with kernel {version}: {error}", file=sys.stderr, flush=True)
    outcome = []
    for number, (name, _, report) in enumerate(wanted):
        status, path = results / str(number), results / report if report else None
        passed = status.exists() and status.read_text().strip() == "0"
        outcome.append((name, path if path and path.exists() else None, passed))
    if stopped:
        outcome.append(("virtual machine", None, False))
    return outcome
