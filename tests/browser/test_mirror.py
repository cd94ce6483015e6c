"""The browser client's protocol has the server's file names and its words: who knows one finds the way in the other."""

import ast
import re
from pathlib import Path

import pytest

from tests.javascript import CLIENT, ROOT

PYTHON = ROOT / "noise" / "protocol"
JAVASCRIPT = CLIENT / "protocol"
OWN = {"bytes.js", "hpke.js"}
"""What Python has in its types, and in a library."""

EXPORT = re.compile(r"^export (?:async )?(?:function\*?|class|const) (\w+)", re.M)
FILES = sorted(path.relative_to(JAVASCRIPT) for path in JAVASCRIPT.rglob("*.js"))


def names_in(path: Path) -> set[str]:
    """Whatever a Python module defines or imports, methods too, without a leading underscore.

    A structure is a plain object in JavaScript, so that a method of one becomes a function."""
    found: set[str] = set()
    top = ast.parse(path.read_text("utf-8")).body
    for node in [*top, *(part for one in top if isinstance(one, ast.ClassDef) for part in one.body)]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return {name.lstrip("_") for name in found}


def as_python(name: str) -> str:
    """`checkInclusion` -> `check_inclusion`; classes and constants are named alike."""
    return re.sub(r"([A-Z])", r"_\1", name).lower() if name[0].islower() else name


@pytest.mark.parametrize("path", [path for path in FILES if path.name not in OWN], ids=str)
def test_names(path: Path) -> None:
    """Codecs of plain types are values here and annotations there: U32, BYTES32, VEC16."""
    known = {
        name.casefold() if path.name == "encoding.js" else name for name in names_in(PYTHON / path.with_suffix(".py"))
    }
    exported = [as_python(name.lstrip("_")) for name in EXPORT.findall((JAVASCRIPT / path).read_text("utf-8"))]
    assert exported
    unknown = [name for name in exported if (name.casefold() if path.name == "encoding.js" else name) not in known]
    assert not unknown, f"noise/protocol/{path.with_suffix('.py')} has no {', '.join(unknown)}"


def test_finds_another_name(tmp_path: Path) -> None:
    """The comparison above can fail."""
    (tmp_path / "one.py").write_text("def check_root(): ...\nLIMIT: int = 3\n")
    assert names_in(tmp_path / "one.py") == {"check_root", "LIMIT"}
    assert as_python("checkRoot") == "check_root"
    assert as_python("verifyRoot") not in names_in(tmp_path / "one.py")
