#!/usr/bin/env python3
"""Prints src/messages.md: every text that the programs show to people, in the order of the code.

It collects from src and include, by module and file:

- the texts of errors and faults (`fail(…)`, `Fault{…}`), conditions and their reasons, events, warnings, denials, log lines
  (`log.warn(…)`), command output and help (`add_option(…)`, the tables of annotations and fields);
- a literal in another place that reads as prose: two words or more, so that a text built piece by piece is here as well.

Literals that stand beside each other, or that `+` joins, are one text. `{}` stands for a value, whether `fmt::format` or `+`
inserts it; `{a|b}` stands for a choice between texts. A name in front of a text is the literal before it in the same call: the
reason of a condition or event, the flag of a help text, the name of a field. A text that occurs again is listed once.

Left out are identifiers, paths, patterns, JSON, YAML, templates of the agent, and what is compared with or sent to another
program. A text that this misreads belongs into NOT_PROSE below, with its reason.

Usage: messages.py [FOLDER]
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)

TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
      | (?P<directive>^[ \t]*\#(?:[^\n\\]|\\.)*)
      | (?P<raw>R"(?P<mark>[^(\s]*)\((?P<content>.*?)\)(?P=mark)")
      | (?P<string>(?:u8|[LuU])?"(?:[^"\\\n]|\\.)*")
      | (?P<char>'(?:[^'\\\n]|\\.)+')
      | (?P<word>[A-Za-z_]\w*)
      | (?P<number>\.?\d(?:['\w.]|[eE][+-])*)
      | (?P<mark2>::|->|==|!=|<=|>=|&&|\|\||\+=|\+\+|<<|.)""",
    re.X | re.S | re.M,
)
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]+|[0-7]{1,3}|u[0-9a-fA-F]{4}|.)", re.S)
SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "e": "\x1b", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}

OPENING, CLOSING = {"(": ")", "[": "]", "{": "}"}, set(")]}")
# A literal on either side of these is no part of one text.
BOUNDARY = {",", ";", "=", "+=", "<<", "&&", "||", "return", "co_return", "else", "throw"}
COMPARISON = {"==", "!=", "<", ">", "<=", ">="}
# In these the first name is the one that matters: of a row of a table, of an event the reason.
FIRST_NAMES = {"{", "event"}
# Whatever stands in these is for another program, or for a look-up.
SILENT = {
    "static_assert", "assert", "find", "contains", "starts_with", "ends_with", "at", "value", "erase", "regex", "getenv",
    "environment", "expand", "co_spawn", "strftime", "set_pattern", "operator", "set",
}
# Every text is a message in these calls, also one of one word.
LOGGING = {"trace", "debug", "info", "warn", "error"}
TELLING = {"fail", "Fault", "event", "refuse", "deny"}

NOT_PROSE = re.compile(
    r"^\^"  # patterns
    r"|\{\{"  # templates of the agent
    r'|^[\[{]"|^[",]*[\]}"]|\\":|":'  # JSON
    r"|^(---|apiVersion:|kind:|metadata:|rules:)|\n(apiVersion|kind):"  # YAML
    r"|^(with secret|is missing or empty at)\b"  # pieces of an agent's template
    r"|^[%\s]*%[A-Za-z-]"  # formats of times and logs
    r"|^(HTTP|Bearer|Basic) "
    r"|^\S+/\S+( \{\})*$"  # paths
    r"|self\.|has\(|\.exists|\.all\("  # rules in CEL
)


class Group:
    def __init__(self, opening):
        self.opening, self.children = opening, []


class Literal(str):
    pass


def unescape(text):
    def one(match):
        code = match[1]
        if code[0] == "x":
            return chr(int(code[1:], 16))
        if code[0] == "u":
            return chr(int(code[1:], 16))
        if code.isdigit() and code != "0":
            return chr(int(code, 8))
        return SIMPLE.get(code, code)

    return ESCAPE.sub(one, text)


def parse(source):
    """The tokens of a file, nested by their brackets."""
    root = Group("")
    stack = [root]
    for match in TOKEN.finditer(source):
        kind, text = match.lastgroup, match[0]
        if match["space"] is not None or match["directive"] is not None:
            continue
        into = stack[-1].children
        if match["raw"] is not None:
            into.append(Literal(match["content"]))
        elif match["string"] is not None:
            into.append(Literal(unescape(text[text.index('"') + 1 : -1])))
        elif text in OPENING and kind == "mark2":
            group = Group(text)
            into.append(group)
            stack.append(group)
        elif text in CLOSING and kind == "mark2":
            if len(stack) > 1:
                stack.pop()
        else:
            into.append(text)
    return root


def split(tokens, marks):
    parts = [[]]
    for token in tokens:
        if not isinstance(token, (Group, Literal)) and token in marks:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def has(tokens, mark):
    return any(not isinstance(token, (Group, Literal)) and token == mark for token in tokens)


def choices(tokens):
    """The values of a ?: expression, without its conditions; an expression without one is its own value."""
    values, current = [], []
    for token in tokens:
        if not isinstance(token, (Group, Literal)) and token in ("?", ":"):
            if token == ":":
                values.append(current)
            current = []
        else:
            current.append(token)
    return [*values, current]


def texts(tokens):
    """What an expression can say, each with {} for what is not known; None for an expression without any text."""
    if has(tokens, "?"):
        found = [said for value in choices(tokens) for said in (texts(value) or [])]
        return found or None
    if any(has(tokens, mark) for mark in COMPARISON):
        return None
    operands, known = [], False
    for operand in split(tokens, {"+"}):
        said = operand_text(operand)
        known = known or said is not None
        operands.append("{}" if said is None else said)
    return ["".join(operands)] if known else None


def alternatives(tokens):
    said = texts(tokens)
    if said is None:
        return None
    said = list(dict.fromkeys(said))
    return said[0] if len(said) == 1 else "{" + "|".join(said) + "}"


def operand_text(operand):
    if operand and all(isinstance(token, Literal) for token in operand):
        return "".join(operand)
    if not operand or not isinstance(operand[-1], Group):
        return None
    last, names = operand[-1], operand[:-1]
    if any(isinstance(name, (Group, Literal)) for name in names):
        return None
    arguments = split(last.children, {","})
    if names == ["fmt", "::", "format"]:
        return formatted(arguments)
    if not names and last.opening == "(":
        return alternatives(last.children)
    if names in (["std", "::", "string"], ["string"], ["std", "::", "string_view"]) and len(arguments) == 1:
        return alternatives(arguments[0])
    return None


def formatted(arguments):
    shape = alternatives(arguments[0])
    if shape is None:
        return None
    position = 0

    def one(match):
        nonlocal position
        if match[0] in ("{{", "}}"):
            return match[0][0]
        index = int(match[1]) if match[1] else position
        position += 1
        said = alternatives(arguments[index + 1]) if index + 1 < len(arguments) else None
        return "{}" if said is None else said

    return re.sub(r"\{\{|\}\}|\{(\d*)(?::[^{}]*)?\}", one, shape)


# Answers of Vault that are compared, in vault/answer.cpp.
OF_VAULT = {
    "missing client token",
    "Vault is sealed",
    "storage entry for SecretID is present but no content found at the index",
}
WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*")


def is_message(text, call):
    stripped = text.strip()
    if stripped in OF_VAULT:
        return False
    if call in LOGGING:
        return WORD.search(stripped) is not None
    if NOT_PROSE.search(stripped) or not WORD.search(stripped.replace("{}", "")):
        return False
    if call in TELLING and not re.fullmatch(r"[\w./:-]*", stripped):
        return True
    words = [word for word in re.split(r"\s+", stripped) if WORD.fullmatch(word.strip(".,;:()`\"|{}"))]
    return len(words) >= 2 and " " in stripped


def is_name(text):
    return re.fullmatch(r"-{0,2}[A-Za-z][\w.,-]*", text) is not None


def collect(tokens, call, found):
    """Adds the messages among `tokens`, the content of one bracket, as (name, text)."""
    if call == "{" and tokens and isinstance(tokens[0], str) and tokens[0].isdigit():
        return  # a row with an HTTP status: an answer of Vault that is compared
    name = ""
    for statement in split(tokens, {";"}):
        if call in ("{", ""):
            name = ""
        for part in split(statement, BOUNDARY):
            said = texts(part)
            if said is not None:
                for text in said:
                    if is_message(text, call):
                        found.append((name, text))
                    elif is_name(text) and not (name and call in FIRST_NAMES):
                        name = "" if call in LOGGING else text
            # Calls within, but for those that are a piece of the text above.
            for index, token in enumerate(part):
                if not isinstance(token, Group):
                    continue
                before = [each for each in part[max(0, index - 3) : index] if isinstance(each, str)]
                inner = before[-1] if before and not isinstance(before[-1], Literal) else token.opening
                if inner in LOGGING and before[-2:-1] not in (["."], [">"], ["->"]):
                    inner = "("
                if inner in SILENT:
                    continue
                if said is not None and (before[-3:] == ["fmt", "::", "format"] or inner in ("(", "string", "+", "?", ":")):
                    if inner != "format":
                        continue
                    for argument in split(token.children, {","})[1:]:
                        if texts(argument) is None:
                            collect(argument, "format", found)
                    continue
                collect(token.children, inner, found)


def messages(path):
    found = []
    collect(parse(path.read_text()).children, "", found)
    return found


def written(text):
    """One line of Markdown that shows the text as it is."""
    text = re.sub(r"\s*\n\s*", " ⏎ ", text.strip())
    return re.sub(r"\s+", " ", text).replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def main():
    print("<!-- generated: hack/generate.sh -->")
    print("# Messages")
    print()
    print("Every text that the programs show to people: conditions, events, errors, warnings, denials, log lines and help.")
    print("`{}` stands for a value, `{a|b}` for a choice, ⏎ for the end of a line. `tests/messages.py` says what is collected.")
    seen = set()
    modules = sorted(path for path in (ROOT / "src").iterdir() if path.is_dir())
    for module in modules:
        headline = f"\n## {module.name}\n"
        folders = [module, ROOT / "include/keyshepherd" / module.name]
        for path in sorted(path for folder in folders for path in folder.rglob("*.[ch]pp")):
            lines = []
            for name, text in messages(path):
                line = written(text)
                if line not in seen:
                    seen.add(line)
                    lines.append(f"- **{name}** {line}" if name else f"- {line}")
            if lines:
                print(headline, end="")
                headline = ""
                print(f"\n### {path.relative_to(ROOT)}\n")
                print("\n".join(lines))


if __name__ == "__main__":
    main()
