#!/usr/bin/env python3
"""Calculates an expression or converts a unit. See SKILL.md.

The expression is parsed, never evaluated as Python: only what this file names can happen.
"""
import ast
import math
import operator
import re
import sys
from fractions import Fraction

TEXT_MAX = 1000
BITS_MAX = 13_300  # about 4,000 decimal digits

LENGTH = {"mm": "0.001", "cm": "0.01", "m": "1", "km": "1000", "in": "0.0254", "ft": "0.3048",
          "yd": "0.9144", "mi": "1609.344", "nmi": "1852"}
MASS = {"mg": "0.001", "g": "1", "kg": "1000", "t": "1000000", "oz": "28.349523125",
        "lb": "453.59237", "st": "6350.29318"}
TIME = {"ms": "0.001", "s": "1", "min": "60", "h": "3600", "d": "86400", "wk": "604800"}
VOLUME = {"ml": "0.001", "cl": "0.01", "l": "1", "m3": "1000", "tsp": "0.00492892159375",
          "tbsp": "0.01478676478125", "cup": "0.2365882365", "floz": "0.0295735295625",
          "pt": "0.473176473", "qt": "0.946352946", "gal": "3.785411784"}
DATA = {"B": "1", "kB": "1000", "MB": "1000000", "GB": "1000000000", "TB": "1000000000000",
        "KiB": "1024", "MiB": "1048576", "GiB": "1073741824", "TiB": "1099511627776"}
# Scale and zero point, to kelvin.
TEMPERATURE = {"C": (Fraction(1), Fraction("273.15")), "K": (Fraction(1), Fraction(0)),
               "F": (Fraction(5, 9), Fraction("459.67") * Fraction(5, 9))}

FUNCTIONS = {"abs": abs, "ceil": math.ceil, "cos": math.cos, "exp": math.exp, "floor": math.floor,
             "ln": math.log, "log": math.log, "log10": math.log10, "log2": math.log2, "max": max,
             "min": min, "round": round, "sin": math.sin, "sqrt": math.sqrt, "tan": math.tan}
CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
             ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod}


class Refused(Exception):
    pass


def number(value):
    """Fractions stay exact; a float that is no number is refused."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Refused("The result is not a number that can be written.")
        return value
    value = Fraction(value)
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > BITS_MAX:
        raise Refused("The result has more than 4,000 digits.")
    return value


def power(base, exponent):
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(base) != 1 and size * abs(exponent) > BITS_MAX:
            raise Refused("The result has more than 4,000 digits.")
        return base ** int(exponent) if abs(exponent) <= BITS_MAX else base ** (int(exponent) % 2)
    result = float(base) ** float(exponent)
    if isinstance(result, complex):
        raise Refused("That root is not a real number.")
    return result


def evaluate(node, source):
    if isinstance(node, ast.Expression):
        return evaluate(node.body, source)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        literal = ast.get_source_segment(source, node) or str(node.value)
        if re.fullmatch(r"[0-9_]*\.?[0-9_]*([eE][+-]?[0-9]{1,3})?", literal):
            return number(Fraction(literal.replace("_", "")))
        return number(Fraction(node.value))
    if isinstance(node, ast.Name) and node.id in CONSTANTS:
        return CONSTANTS[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        value = evaluate(node.operand, source)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = evaluate(node.left, source), evaluate(node.right, source)
        if isinstance(node.op, ast.Pow):
            return number(power(left, right))
        if type(node.op) in OPERATORS:
            return number(OPERATORS[type(node.op)](left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id in FUNCTIONS:
            return call(node.func.id, [evaluate(argument, source) for argument in node.args])
    raise Refused("I only know numbers, + - * / // % ** and brackets, and the functions: "
                  + ", ".join(sorted(FUNCTIONS)) + ".")


def call(name, values):
    if name == "round" and len(values) == 2:
        if not -400 <= values[1] <= 400:
            raise Refused("round takes at most 400 digits.")
        return number(round(Fraction(values[0]), int(values[1])))
    if name == "sqrt" and len(values) == 1 and isinstance(values[0], Fraction) and values[0] >= 0:
        top, bottom = math.isqrt(values[0].numerator), math.isqrt(values[0].denominator)
        if Fraction(top * top, bottom * bottom) == values[0]:
            return Fraction(top, bottom)
    return number(FUNCTIONS[name](*values))


def written(value):
    if isinstance(value, float):
        return f"{value:.15g}"
    if value.denominator == 1:
        return str(value.numerator)
    twos_and_fives = value.denominator
    for factor in (2, 5):
        while twos_and_fives % factor == 0:
            twos_and_fives //= factor
    places = 0
    while twos_and_fives == 1 and places <= 30 and (value * 10 ** places).denominator != 1:
        places += 1
    if twos_and_fives == 1 and places <= 30:
        digits = f"{abs((value * 10 ** places).numerator):0{places + 1}d}"
        return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    return f"{float(value):.15g}"


def convert(amount, source, target):
    if source in TEMPERATURE and target in TEMPERATURE:
        scale, zero = TEMPERATURE[source]
        kelvin = Fraction(amount) * scale + zero
        if kelvin < 0:
            raise Refused("That is colder than absolute zero.")
        scale, zero = TEMPERATURE[target]
        return (kelvin - zero) / scale
    for units in (LENGTH, MASS, TIME, VOLUME, DATA):
        if source in units and target in units:
            return Fraction(amount) * Fraction(units[source]) / Fraction(units[target])
    raise Refused(f"I can not turn {source} into {target}; SKILL.md lists the units.")


def answer(text):
    if len(text) > TEXT_MAX:
        raise Refused(f"The expression has more than {TEXT_MAX} characters.")
    parts = re.fullmatch(r"\s*(.+?)\s*([A-Za-z]+3?)\s+(?:to|in)\s+([A-Za-z]+3?)\s*", text)
    expression = parts[1] if parts else text.strip()
    expression = expression.replace("^", "**").replace("×", "*").replace("÷", "/").replace("−", "-")
    expression = re.sub(r"([0-9.]+)\s*%(?!\s*[\w(.])", r"(\1/100)", expression)
    value = evaluate(ast.parse(expression, mode="eval"), expression)
    if not parts:
        return written(value)
    return f"{written(value)} {parts[2]} = {written(convert(value, parts[2], parts[3]))} {parts[3]}"


def main():
    if len(sys.argv) < 2:
        print("Usage: calculate EXPRESSION, or AMOUNT UNIT to UNIT", file=sys.stderr)
        return 2
    try:
        print(answer(" ".join(sys.argv[1:])))
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    except ZeroDivisionError:
        print("That divides by zero.", file=sys.stderr)
        return 1
    except (SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        print("I do not understand that expression.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(5000)
    sys.exit(main())
