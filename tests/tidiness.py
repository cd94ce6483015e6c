"""What a rule is: a look at one file, with examples of what it must find fault with, and of what it must not.

Knows nothing of any rule.
"""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

Complaint = tuple[int, str]  # line, what to do


class File(NamedTuple):
    """One file of the project. `path` is relative to the root, with slashes."""

    path: str
    text: str

    @property
    def name(self) -> str:
        """Dotted, as it is imported: `noise.web.app`. Empty unless it is Python."""
        if not self.path.endswith(".py"):
            return ""
        parts = self.path.removeprefix("clients/").removesuffix(".py").split("/")
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def tree(self) -> ast.Module:
        """Without a node, unless it is Python."""
        return parse(self.path, self.text if self.path.endswith(".py") else "")

    @property
    def is_ours(self) -> bool:
        """Server or client, as against tests."""
        return self.path.startswith(("noise/", "clients/"))


Check = Callable[[File], Iterator[Complaint]]


class Rule(NamedTuple):
    check: Check
    bad: list[tuple[str, str]]  # (path, source) with which the rule must find fault
    good: list[tuple[str, str]]  # and some with which it must not, for the places where it could go too far


RULES: list[Rule] = []


def rule_with(*, bad: list[tuple[str, str]], good: list[tuple[str, str]]) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        RULES.append(Rule(check, bad, good))
        return check

    return register


@cache
def parse(path: str, text: str) -> ast.Module:
    return ast.parse(text, filename=path)


def imports(file: File) -> Iterator[tuple[int, str]]:
    """(line, dotted target) of every import, wherever it stands. `from a import b` counts as `a.b`."""
    package = file.name.split(".") if file.path.endswith("/__init__.py") else file.name.split(".")[:-1]
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [] if not node.level else package[: len(package) - (node.level - 1)]
            base = [*base, *(node.module or "").split(".")] if node.module else base
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)


def is_in(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)
