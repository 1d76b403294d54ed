"""Reads one base64 text a line; writes "refused", or its canonical form (RFC 8785, 64-bit integers whole)."""

import base64
import json
import math
import sys


class Refused(Exception):
    pass


def pairs(members):
    names = [name for name, _ in members]
    if len(set(names)) != len(names):
        raise Refused("a member twice")
    return dict(members)


def constant(name):
    raise Refused(name)


def number(value):
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return str(value)
    try:
        value = float(value)
    except OverflowError:
        raise Refused("too large")
    if not math.isfinite(value):
        raise Refused("too large")
    if value == 0:
        return "0"
    # The shortest digits that give the value back, as ECMAScript lays them out.
    sign = "-" if value < 0 else ""
    digits, exponent = f"{abs(value)!r}", 0
    if "e" in digits:
        digits, power = digits.split("e")
        exponent = int(power)
    whole, _, fraction = digits.partition(".")
    if fraction == "0":
        fraction = ""
    digits = whole + fraction
    point = len(whole) + exponent
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    digits = stripped.rstrip("0")
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    power = point - 1
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{sign}{mantissa}e{'+' if power > 0 else '-'}{abs(power)}"


def canonical(value, depth=0):
    if isinstance(value, (dict, list)) and depth == 64:
        raise Refused("too deep")
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, str):
        value.encode()  # a lone surrogate has no UTF-8
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ",".join(canonical(item, depth + 1) for item in value) + "]"
    members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(f"{canonical(name)}:{canonical(item, depth + 1)}" for name, item in members) + "}"


def verdict(data):
    try:
        text = data.decode("utf-8")
        if text.startswith("\ufeff") or text.strip(" \t\r\n") != text.strip():
            raise Refused("white space that is not JSON's")
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
        return base64.b64encode(canonical(value).encode()).decode()
    except (Refused, ValueError, RecursionError):
        return "refused"


for line in sys.stdin:
    print(verdict(base64.b64decode(line)))
