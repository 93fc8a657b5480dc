"""Behind tools/test: build, repository rules, ctest (unit, bpf, sim), pytest (integration); one closing line with the count."""
import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
_DOCTEST = re.compile(r"test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed\s*\|\s*(\d+) skipped")


class Count:
    """Test cases, by outcome. `broken` names steps that failed without a case of their own (a build, a crash)."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.broken = []

    def add(self, passed=0, failed=0, skipped=0):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped

    def ok(self):
        return not self.failed and not self.broken

    def line(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def step(text):
    print(f"\n== {text}", flush=True)


def call(*command, env=None):
    return subprocess.run([str(c) for c in command], cwd=ROOT, env=dict(os.environ, **(env or {}))).returncode


def build(directory, sanitize, jobs):
    """Configures and builds; the output of ninja is its progress line."""
    step(f"building in {directory.name}{' with the address and undefined-behaviour sanitizers' if sanitize else ''}")
    options = ["-DSLUICE_SANITIZE=address;undefined"] if sanitize else []
    if call("cmake", "-B", directory, "-G", "Ninja", *options, ROOT, env={"CMAKE_MESSAGE_LOG_LEVEL": "WARNING"}):
        return False
    return call("ninja", "-C", directory, f"-j{jobs}") == 0


def count_ctest(report, count):
    """One ctest entry is one program: its doctest summary says how many cases it had; a program without one is one case."""
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        output = case.findtext("system-out") or ""
        status = case.get("status")
        summaries = _DOCTEST.findall(output)
        for total, passed, failed, skipped in summaries:
            count.add(int(passed), int(failed), int(skipped))
        if status in ("disabled", "notrun") or case.find("skipped") is not None:
            count.add(skipped=0 if summaries else 1)
        elif status == "fail" and not any(int(failed) for _, _, failed, _ in summaries):
            count.add(failed=1)  # it crashed or ran out of time: no summary tells
        elif status == "run" and not summaries:
            count.add(passed=1)


def count_pytest(root, count):
    """`root` of pytest's JUnit report."""
    for suite in root.iter("testsuite"):
        tests, failures, errors, skipped = (int(suite.get(k)) for k in ("tests", "failures", "errors", "skipped"))
        count.add(max(0, tests - failures - errors - skipped), failures + errors, skipped)


def run_ctest(directory, labels, jobs, count, env):
    step("ctest: unit tests, BPF decisions, simulated worker" if len(labels) > 1 else f"ctest: {labels[0]}")
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch) / "ctest.xml"
        status = call("ctest", "--test-dir", directory, "-L", "|".join(f"^{x}$" for x in labels), "--output-on-failure", "-j", jobs,
                      "--no-tests=error", "--output-junit", report, "--test-output-size-passed", 1 << 20,
                      "--test-output-size-failed", 1 << 20, env=env)
        before = count.failed
        if report.exists():
            count_ctest(report, count)
        if status and count.failed == before:
            count.broken.append("ctest")


def pytest_once(directory, cases, env):
    """One run: (exit status, root of its JUnit report or None)."""
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch) / "pytest.xml"
        status = call("/usr/bin/python3", "-m", "pytest", "-c", ROOT / "test" / "pytest.ini", "--rootdir", ROOT / "test",
                      f"--junit-xml={report}", "-q", *cases,
                      env={**env, "SLUICE_BUILD": str(directory)})
        return status, ElementTree.parse(report).getroot() if report.exists() else None


def run_pytest(directory, arguments, count, env, retry):
    step("pytest: integration, against Envoy and sluiced; conformance")
    status, report = pytest_once(directory, [*arguments, ROOT / "test" / "integration", ROOT / "test" / "conformance"], env)
    before = count.failed
    if report is not None:
        count_pytest(report, count)
    if status and count.failed == before:
        count.broken.append("pytest")
    if not retry or count.failed == before:
        return
    # Namespaces, timers and a busy machine: a case that fails is tried once more, and both outcomes are said.
    failed = count.failed - before
    step(f"once more: the {failed} that failed")
    cases = [f"{ROOT / 'test'}/{case.get('classname').replace('.', '/')}.py::{case.get('name')}" for case in report.iter("testcase")
             if case.find("failure") is not None or case.find("error") is not None]
    status, report = pytest_once(directory, cases, env)
    if report is None:
        return
    again = Count()
    count_pytest(report, again)
    count.failed -= again.passed
    count.passed += again.passed
    print(f"{again.passed} of {failed} passed when tried again; the first failures stand above", flush=True)


def run_vm(options, count, seconds):
    """Builds, then runs what stands on the kernel in virtual machines with other kernels."""
    sys.path.insert(0, str(ROOT / "test"))
    from vm import kernels, lane, machine
    signal.signal(signal.SIGTERM, machine.terminated)
    directory = (options.build_dir or ROOT / "build").resolve()
    versions = [options.kernel] if options.kernel else kernels.VERSIONS
    for version in versions:
        lacks = kernels.missing(version)
        if lacks:
            sys.exit(f"missing: {', '.join(lacks)}: run tools/setup --vm")
    if not build(directory, False, options.jobs):
        count.broken.append(f"build of {directory.name}")
        return
    for version in versions:
        step(f"virtual machine with kernel {version}")
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            for name, report, passed in lane.run(directory, version, pathlib.Path(scratch)):
                before = count.failed
                if report is None:
                    count.add(*((1, 0) if passed else (0, 1)))
                elif report.name.endswith("ctest.xml"):
                    count_ctest(report, count)
                else:
                    count_pytest(ElementTree.parse(report).getroot(), count)
                if not passed and count.failed == before:
                    count.broken.append(f"{name} on {version}")
        seconds[f"kernel {version}"] = time.monotonic() - started


def parse(arguments):
    parser = argparse.ArgumentParser(prog="tools/test", description="Builds sluice and runs its tests. Without options: repository "
                                     "rules, unit, BPF, simulation and integration tests. The last line is the count.")
    parser.add_argument("--unit", action="store_true", help="only ctest: unit, BPF and simulation")
    parser.add_argument("--integration", action="store_true", help="only pytest: both proxies in network namespaces (root)")
    parser.add_argument("--sanitize", action="store_true", help="the same in a second build tree with the address and "
                        "undefined-behaviour sanitizers")
    parser.add_argument("--all", action="store_true", help="everything, then everything again with the sanitizers (.ci/run)")
    parser.add_argument("--vm", action="store_true", help="only what stands on the kernel, in virtual machines with Debian 12's kernels "
                        "(tools/setup --vm); slow where the processor cannot virtualize")
    parser.add_argument("--kernel", choices=["6.1", "6.12"], help="with --vm: only this one")
    parser.add_argument("--retry", action="store_true", help="integration cases that fail are tried once more; both outcomes are printed")
    parser.add_argument("--fast", action="store_true", help="leave out what takes more than a few seconds")
    parser.add_argument("--no-setup", action="store_true", help="do not look for missing packages first")
    parser.add_argument("--build-dir", type=pathlib.Path, default=None, help="default: build, with --sanitize build-sanitize")
    parser.add_argument("--io-backend", choices=["io_uring", "epoll"], default=os.environ.get("SLUICE_IO_BACKEND"),
                        help="integration: sluiced on this backend, not the best one (or SLUICE_IO_BACKEND); without it, cases "
                        "marked both_backends run on the best one and on epoll")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count())
    parser.add_argument("-k", dest="select", help="integration cases whose name matches (pytest -k)")
    parser.add_argument("rest", nargs="*", help="after --: passed on to pytest")
    return parser.parse_args(arguments)


def run_tree(options, sanitize, count, seconds):
    """Builds one tree and runs the chosen suites in it."""
    directory = options.build_dir or ROOT / ("build-sanitize" if sanitize else "build")
    started = time.monotonic()
    if not build(directory.resolve(), sanitize, options.jobs):
        count.broken.append(f"build of {directory.name}")
        return
    seconds[f"build {directory.name}"] = time.monotonic() - started
    env = {"ASAN_OPTIONS": "detect_stack_use_after_return=1:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1",
           "SLUICE_SIM_SEEDS_MAX": "2000"} if sanitize else {}  # ten times slower: the plain build runs all 10,000
    if options.io_backend:
        env["SLUICE_IO_BACKEND"] = options.io_backend
    both = options.unit == options.integration
    if both and not sanitize:
        step("repository rules")
        count.add(*((1, 0) if call(ROOT / "tools" / "check", env={"SLUICE_BUILD": str(directory.resolve())}) == 0 else (0, 1)))
    if options.unit or both:
        started = time.monotonic()
        run_ctest(directory, ["unit", "bpf", "sim"], options.jobs, count, env)
        seconds[f"ctest {directory.name}"] = time.monotonic() - started
    if options.integration or both:
        started = time.monotonic()
        arguments = (["-m", "not slow"] if options.fast else []) + (["-k", options.select] if options.select else []) + options.rest
        run_pytest(directory.resolve(), arguments, count, env, options.retry)
        if not options.io_backend and not sanitize and not options.select and not options.rest:
            step("the same on epoll, cases marked both_backends")
            slow = " and not slow" if options.fast else ""
            run_pytest(directory.resolve(), ["-m", f"both_backends{slow}", "-k", "not [envoy"], count,
                       {**env, "SLUICE_IO_BACKEND": "epoll"}, options.retry)
        seconds[f"pytest {directory.name}"] = time.monotonic() - started


def main(arguments):
    options = parse(arguments)
    count, seconds = Count(), {}
    for tool in ("cmake", "ninja", "ctest"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: run tools/setup")
    if options.vm:
        run_vm(options, count, seconds)
    for sanitize in ([] if options.vm else [False, True] if options.all else [options.sanitize]):
        run_tree(options, sanitize, count, seconds)
    print("\n" + ", ".join(f"{what} {spent:.0f} s" for what, spent in seconds.items()))
    if count.broken:
        print("did not finish: " + ", ".join(count.broken))
    print(count.line(), flush=True)
    return 0 if count.ok() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
