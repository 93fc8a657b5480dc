"""What the tour writes: numbered steps, commands as typed, their output indented, checks with a mark."""
import os
import shutil
import sys

COLOR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOR else text


class Screen:
    """Counts steps and checks; `failed` and `skipped` hold what to say at the end."""

    def __init__(self):
        self.step_number, self.passed, self.failed, self.skipped = 0, 0, [], []

    def step(self, title, why=""):
        self.step_number += 1
        print(f"\n{_paint('1', f'{self.step_number}. {title}')}")
        if why:
            self.say(why)

    def say(self, text):
        for line in text.splitlines():
            print(f"   {line}", flush=True)

    def command(self, *words, where=""):
        """Shows a command as somebody would type it."""
        print(f"   {_paint('36', f'{where}$' if where else '$')} {_paint('36', ' '.join(map(str, words)))}", flush=True)

    def output(self, text, limit=12):
        """A program's own words; cut at `limit` lines and at the width of the terminal."""
        width = shutil.get_terminal_size((160, 24)).columns - 8
        lines = text.rstrip().splitlines()
        for line in lines[:limit]:
            print(f"     {_paint('2', '|')} {line[:width]}")
        if len(lines) > limit:
            print(f"     {_paint('2', '|')} ... {len(lines) - limit} more lines")
        sys.stdout.flush()

    def check(self, good, text):
        """A claim and whether it held."""
        if good:
            self.passed += 1
            print(f"   {_paint('32', 'ok')}    {text}", flush=True)
        else:
            self.failed.append(text)
            print(f"   {_paint('31;1', 'FAIL')}  {text}", flush=True)

    def skip(self, title, reason):
        self.step_number += 1
        self.skipped.append(title)
        print(f"\n{_paint('1', f'{self.step_number}. {title}')}\n   {_paint('33', 'skipped')}: {reason}", flush=True)

    def end(self):
        """The closing line; returns the exit status."""
        text = f"{self.passed} checks passed, {len(self.failed)} failed, {len(self.skipped)} steps skipped"
        print(f"\n{_paint('31;1' if self.failed else '32', text)}")
        for title in self.failed:
            print(f"   failed: {title}")
        return 1 if self.failed else 0
