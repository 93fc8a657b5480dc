"""Writes nested dicts and lists as block YAML, so that tests build configurations as values and proxies read a real YAML file."""
import json
import re

_PLAIN = re.compile(r"[A-Za-z_/@][A-Za-z0-9_./@|-]*\Z")
_RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def _scalar(value):
    if value is True or value is False or value is None:
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str) and _PLAIN.match(value) and value.lower() not in _RESERVED and not value.startswith("@"):
        return value
    return json.dumps(value)  # a JSON string is a double-quoted YAML scalar


def dump(value, indent=0):
    """YAML text; dict order is kept."""
    pad = "  " * indent
    if isinstance(value, dict):
        if not value:
            return pad + "{}\n"
        out = ""
        for key, item in value.items():
            name = key if _PLAIN.match(key) and not key.startswith("@") else json.dumps(key)
            if isinstance(item, (dict, list)) and item:
                out += f"{pad}{name}:\n{dump(item, indent + (isinstance(item, dict)))}"
            else:
                out += f"{pad}{name}: {_empty_or_scalar(item)}\n"
        return out
    if isinstance(value, list):
        out = ""
        for item in value:
            if isinstance(item, (dict, list)) and item:
                inner = dump(item, indent + 1)
                out += f"{pad}- {inner[len(pad) + 2:]}"
            else:
                out += f"{pad}- {_empty_or_scalar(item)}\n"
        return out
    return f"{pad}{_scalar(value)}\n"


def _empty_or_scalar(item):
    if isinstance(item, dict):
        return "{}"
    if isinstance(item, list):
        return "[]"
    return _scalar(item)
