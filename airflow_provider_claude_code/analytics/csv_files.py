"""Reads CSV files that people export. An invalid file is refused with the line and the reason. Nothing is guessed."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

from airflow_provider_claude_code.exceptions import ClaudeCodeConfigurationError
from airflow_provider_claude_code.tables.contract import Column

_DELIMITERS = ",;\t"
_SAVE_AS = "Save the file as CSV in UTF-8."


def csv_rows(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """
    Yield the rows of a CSV file, the header first, each with the number of the line on which it begins.

    The encoding is UTF-8, or UTF-16 with a byte order mark. The delimiter is a comma, semicolon or tab, whichever the
    header uses. Cells are quoted as in RFC 4180. Blank lines are not rows.

    :param content: the whole file.
    :raises ClaudeCodeConfigurationError: it is not such a file, or a row has another number of cells than the header.
        The message names a line, never a cell's content, which may be somebody's address.
    """
    text = _decoded(content)
    delimiter = _delimiter(text)
    cell = rf'(?:"(?:[^"]|"")*"|[^"{delimiter}\r\n]*)'
    well_quoted = re.compile(rf"{cell}(?:{delimiter}{cell})*\r?\n?")
    read: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline="\n"):
            read.append(line)
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    width = None
    while True:
        number = reader.line_num + 1
        read.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # The rest of the message is for programmers.
            reason = str(error).partition(" - ")[0]
            raise ClaudeCodeConfigurationError(f"The row that begins on line {number} is not CSV: {reason}.") from None
        if not row:
            continue
        # The csv module reads a quotation mark within a cell as text.
        if any('"' in line for line in read) and not well_quoted.fullmatch("".join(read)):
            raise ClaudeCodeConfigurationError(
                f"The row that begins on line {number} is not CSV: a cell with a quotation mark has to be quoted as a "
                'whole, and the mark doubled ("").'
            )
        width = width or len(row)
        if len(row) != width:
            raise ClaudeCodeConfigurationError(f"Line {number} has {len(row)} cells, but the first line names {width}.")
        yield number, row


def plain_name(column: str) -> str:
    """Return a column's name for comparison: isActive and Is Active are the same."""
    return re.sub(r"[\s_]", "", column).lower()


def column_position(header: Sequence[str], column: str) -> int:
    """
    Return the position of a column. In names, case, blanks and underscores make no difference.

    :param header: the names of a file's columns.
    :param column: the column's name.
    :raises ClaudeCodeConfigurationError: the file does not have it once. The message quotes no name from the file,
        whose first line may hold data.
    """
    names = list(map(plain_name, header))
    if (found := names.count(plain_name(column))) != 1:
        raise ClaudeCodeConfigurationError(
            f"The file names the column {column!r} {found} times. Keep one of them."
            if found
            else f"The column {column!r} is missing. The first line of a CSV file must name the columns."
        )
    return names.index(plain_name(column))


def column_positions(header: Sequence[str], columns: Iterable[Column]) -> dict[str, int]:
    """
    Return the positions of columns by name, without nullable ones that the file omits.

    :param header: the names of a file's columns.
    :param columns: the columns.
    :raises ClaudeCodeConfigurationError: the file has one of them twice, or lacks one that is not nullable.
    """
    given = set(map(plain_name, header))
    return {
        column.name: column_position(header, column.name)
        for column in columns
        if plain_name(column.name) in given or not column.nullable
    }


def _decoded(content: bytes) -> str:
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if is_utf_16 else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].decode(encoding, "ignore").count("\n") + 1
        # The error contains the file.
        raise ClaudeCodeConfigurationError(
            f"Line {line} is not {'UTF-16' if is_utf_16 else 'UTF-8'}. {_SAVE_AS}"
        ) from None
    if (position := text.find("\0")) >= 0:
        raise ClaudeCodeConfigurationError(
            f"Line {text.count(chr(10), 0, position) + 1} contains a NUL, so this is another encoding. {_SAVE_AS}"
        )
    return text


def _delimiter(text: str) -> str:
    header = re.search(r"[^\r\n]+", text)
    unquoted = re.sub(r'"(?:[^"]|"")*(?:"|$)', "", header[0]) if header else ""
    used = [delimiter for delimiter in _DELIMITERS if delimiter in unquoted]
    if len(used) > 1:
        raise ClaudeCodeConfigurationError(
            "The first line contains more than one of comma, semicolon and tab, so it does not say which of them "
            "separates columns. Quote the names that contain one."
        )
    return used[0] if used else _DELIMITERS[0]
