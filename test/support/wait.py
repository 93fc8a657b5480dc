"""Waiting for a condition with a deadline: the only place where tests let time pass."""
import os
import time

_SLOWNESS = float(os.environ.get("SLUICE_TEST_SLOWNESS", "1"))


def patience(seconds):
    """A deadline that is fair on hardware, as it is fair here: SLUICE_TEST_SLOWNESS (default 1) times as long, for emulated machines."""
    return seconds * _SLOWNESS


class Timeout(AssertionError):
    """A condition did not come true in time; the message says which and what was seen last."""


class Deadline:
    """A point in time that several waits share."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        """Seconds that remain, never below zero."""
        return max(0.0, self.end - time.monotonic())

    def over(self):
        return self.left() == 0.0


def wait_until(condition, seconds=5.0, what="", interval=0.005, alive=None):
    """Calls condition() until it returns something true, and returns that.

    An exception counts as "not yet" when it is an OSError or an AssertionError, so that a condition may itself connect or assert.
    alive, when given, is called each turn and raises when waiting has become pointless (a process that ended).
    Raises Timeout after patience(seconds), naming `what` and the last value or exception.
    """
    seconds = patience(seconds)
    deadline = Deadline(seconds)
    while True:
        if alive is not None:
            alive()
        try:
            last = condition()
            if last:
                return last
        except (OSError, AssertionError) as error:
            last = error
        if deadline.over():
            raise Timeout(f"{what or 'condition'} not met within {seconds} s; last: {last!r}")
        time.sleep(min(interval, deadline.left()))
        interval = min(interval * 1.5, 0.1)


def never(condition, seconds, what=""):
    """Asserts that condition() stays false for `seconds`: for "nothing arrives", which only time can show."""
    deadline = Deadline(seconds)
    while not deadline.over():
        seen = condition()
        assert not seen, f"{what or 'condition'} came true: {seen!r}"
        time.sleep(0.01)
