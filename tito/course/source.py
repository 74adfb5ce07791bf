"""Names in a module's source: where their answers begin and end.

A name is a function `f`, a method `Class.f`, or a row of a table `TABLE[row]`: an entry of a dict literal that is
assigned to TABLE, or an assignment `TABLE[row] = ...`. The row is the key's source, or the text of a string key.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from tito.errors import CourseError

Function = ast.FunctionDef | ast.AsyncFunctionDef
Edit = tuple[int, int, str]  # from byte, to byte, and what replaces them


class Source:
    """A module's text with its syntax tree.

    Args:
        text: the source.
        file: how messages name it.

    Raises:
        CourseError: the text has a syntax error.
    """

    def __init__(self, text: str, file: str = "the source") -> None:
        self.text, self.file = text, file
        self._bytes = text.encode()
        try:
            self.tree = ast.parse(text)
        except (SyntaxError, ValueError) as error:  # ValueError: null bytes
            line = getattr(error, "lineno", None)
            raise CourseError(f"{file}{f':{line}' if line else ''}: {getattr(error, 'msg', error)}") from None
        except (RecursionError, MemoryError):
            raise CourseError(f"{file}: an expression is nested too deeply for Python") from None
        self.lines = text.split("\n")
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line.encode()) + 1)

    # Finding ------------------------------------------------------------------------------------------

    def function(self, name: str) -> Function | None:
        """Return the function or method with this dotted name, or None; the last one if `@overload`s precede it."""
        *owners, last = name.split(".")
        body: list[ast.stmt] = self.tree.body
        for owner in owners:
            classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name == owner]
            if not classes:
                return None
            body = classes[-1].body
        found = [node for node in body if isinstance(node, Function) and node.name == last]
        return found[-1] if found else None

    def row(self, name: str) -> ast.expr | None:
        """Return the value of a table's row, or None."""
        match = re.fullmatch(r"(\w+)\[(.+)\]", name)
        if match is None:
            return None
        table, row = match.groups()
        found = [value for key, value in self._rows(table) if row in _spellings(key)]
        return found[-1] if found else None

    def _rows(self, table: str) -> Iterator[tuple[ast.expr, ast.expr]]:
        for node in self.tree.body:
            target: ast.expr
            if isinstance(node, ast.AnnAssign):
                target, value = node.target, node.value
            elif isinstance(node, ast.Assign) and len(node.targets) == 1:
                target, value = node.targets[0], node.value
            else:
                continue
            if isinstance(target, ast.Name) and target.id == table and isinstance(value, ast.Dict):
                for key, item in zip(value.keys, value.values, strict=True):
                    if key is not None:
                        yield key, item
            elif isinstance(target, ast.Subscript) and ast.unparse(target.value) == table and value is not None:
                yield target.slice, value

    def find(self, name: str) -> Function | ast.expr:
        """Return the function or the row's value with this name.

        Raises:
            CourseError: there is none.
        """
        found = self.row(name) if "[" in name else self.function(name)
        if found is None:
            raise CourseError(f"{self.file}: nothing is named {name}: expected a function, Class.method, or TABLE[row]")
        return found

    # Regions ------------------------------------------------------------------------------------------

    def body(self, node: Function, start: str | None = None) -> tuple[int, int]:
        """Return the first and the last line of a function's answer, comments included.

        It begins after the docstring, or at the first statement whose source starts with `start`.

        Raises:
            CourseError: there is no such statement, or nothing after the docstring.
        """
        statements = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
        if not statements or _first_line(statements[0]) == node.lineno:
            raise CourseError(f"{self.file}:{node.lineno}: {node.name} has no body of its own lines")
        if start is None:
            documented = statements is not node.body
            first = (node.body[0].end_lineno or 0) + 1 if documented else self._up(_first_line(statements[0]), "")
        else:
            begins = start.strip()
            chosen = [one for one in statements if (ast.get_source_segment(self.text, one) or "").startswith(begins)]
            if not chosen:
                raise CourseError(f"{self.file}:{node.lineno}: no statement of {node.name} begins with {begins!r}")
            first = self._up(_first_line(chosen[0]), None)
        return first, self._down(node)

    def _up(self, line: int, blank: str | None) -> int:
        """Return the first of the comment lines directly above `line`; lines that equal `blank` count as well."""
        while line > 1 and (self._line(line - 1).lstrip().startswith("#") or self._line(line - 1).strip() == blank):
            line -= 1
        return line

    def _down(self, node: Function) -> int:
        """Return the last line of a function, with the comments after its last statement that belong to it."""
        last = node.end_lineno or node.lineno
        for number in range(last + 1, len(self.lines) + 1):
            line = self._line(number)
            indented = len(line) - len(line.lstrip()) > node.col_offset
            if line.strip() and not (line.lstrip().startswith("#") and indented):
                break
            last = number if line.strip() else last
        return last

    def _line(self, number: int) -> str:
        return self.lines[number - 1]

    def indentation(self, node: Function) -> str:
        """Return the white space before a function's statements."""
        line = self._line(_first_line(node.body[0]))
        return line[: len(line) - len(line.lstrip())]

    # Text ---------------------------------------------------------------------------------------------

    def lines_edit(self, first: int, last: int, text: str) -> Edit:
        """Return the edit that replaces whole lines."""
        return self._starts[first - 1], min(self._starts[last], len(self._bytes)), text

    def span_edit(self, node: ast.expr, text: str) -> Edit:
        """Return the edit that replaces an expression."""
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        return start, end, text

    def segment(self, node: ast.expr) -> str:
        """Return an expression's source."""
        start, end, _ = self.span_edit(node, "")
        return self._bytes[start:end].decode()

    def region(self, first: int, last: int) -> str:
        """Return whole lines, each with its line break."""
        return "".join(line + "\n" for line in self.lines[first - 1 : last])

    def edited(self, edits: Iterable[Edit]) -> str:
        """Return the text after edits that do not overlap."""
        result = self._bytes
        for start, end, text in sorted(edits, reverse=True):
            result = result[:start] + text.encode() + result[end:]
        return result.decode()

    def after_imports(self) -> int:
        """Return the last line of the imports at the top level, or of the module's docstring."""
        ends = [node.end_lineno or 0 for node in self.tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        if not ends and ast.get_docstring(self.tree, clean=False) is not None:
            ends = [self.tree.body[0].end_lineno or 0]
        return max(ends, default=0)


def _first_line(statement: ast.stmt) -> int:
    return min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", []))])


def _spellings(key: ast.expr) -> set[str]:
    spelled = {ast.unparse(key)}
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        spelled.add(key.value)
    return spelled


def lambdas(value: ast.expr) -> list[ast.Lambda]:
    """Return the outermost lambdas of a row's value."""
    if isinstance(value, ast.Lambda):
        return [value]
    return [one for child in ast.iter_child_nodes(value) if isinstance(child, ast.expr) for one in lambdas(child)]
