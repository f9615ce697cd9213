"""Tables as text: what separates the columns, how decimals are written and where the header is, is found out.

Values stay text until a column is asked for, so that a column of 90,000 whole numbers may go on with decimals.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from snn_fusion.data.units import NO_UNIT, is_unit, name_and_unit
from snn_fusion.errors import BadRecording

COMMENTS = ("#", "%", "//")
MAX_BYTES = 1 << 28  # a table of text takes ten times its size while it is read
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins as that of UTF-16 does
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SEPARATORS = (";", "\t", ",", "|", " ")  # where several are there, the first one
_NAMES = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "bars", " ": "spaces"}
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_BOOLEANS = {"true": "1", "false": "0"}


@dataclass(frozen=True)
class TextTable:
    """Columns of text, (rows,) each; `header` is None if the first line holds numbers already."""

    path: Path
    header: tuple[str, ...] | None
    columns: tuple[pa.ChunkedArray, ...]
    decimal_comma: bool
    remarks: tuple[str, ...]

    @property
    def rows(self) -> int:
        return len(self.columns[0])

    def numbers(self, n: int, name: str) -> npt.NDArray[np.int64] | npt.NDArray[np.float64]:
        """Column `n`: int64 if all its values are whole, else float64.

        Raises BadRecording naming the first row that is empty or not a finite number.
        """
        column = pc.utf8_trim_whitespace(self.columns[n])
        if self.decimal_comma:
            column = pc.replace_substring(column, ",", ".")
        for form in (pa.int64(), pa.float64()):
            try:
                values: npt.NDArray[np.float64] = pc.cast(column, form).to_numpy()
            except pa.ArrowInvalid:
                continue
            if form == pa.float64() and not np.isfinite(values).all():
                row = int(np.argmin(np.isfinite(values)))
                raise BadRecording(self.path, f"{name}: row {row + 1} is {column[row].as_py()}")
            return values
        return self._spelled(column, name)

    def _spelled(self, column: pa.ChunkedArray, name: str) -> npt.NDArray[np.float64]:
        """Numbers as Arrow does not read them: booleans, a leading +, '1.' and '.5'."""
        values = np.empty(len(column))
        for row, text in enumerate(column.to_pylist()):
            try:
                values[row] = float(_BOOLEANS.get(text.lower(), text.replace("_", "?")))
            except ValueError:
                problem = "is empty" if not text else f"is {text!r}, not a number"
                raise BadRecording(self.path, f"{name}: row {row + 1} {problem}") from None
            if not np.isfinite(values[row]):
                raise BadRecording(self.path, f"{name}: row {row + 1} is {text}")
        return values


def read_text(path: Path, data: bytes) -> str:
    """Text in UTF-8, UTF-16 or UTF-32, without a byte order mark. Raises BadRecording if it is something else."""
    text, whole = _decoded(path, data)
    if not whole:
        raise BadRecording(path, "not text: it ends in the middle of a character", "save the file as UTF-8")
    return text


def encoding_of(data: bytes) -> str:
    """By its byte order mark, or by the zeros that UTF-16 has in every other byte of a table."""
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return name
    low, high = data[:40:2], data[1:40:2]
    for zeros, name in ((high, "utf-16-le"), (low, "utf-16-be")):
        if zeros and zeros.count(0) > 0.75 * len(zeros):
            return name
    return "utf-8-sig"


def _decoded(path: Path, data: bytes) -> tuple[str, bool]:
    """The text, and whether it ends with a whole character; if it does not, the last one is left out."""
    encoding = encoding_of(data)
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        text = decoder.decode(data)
    except UnicodeDecodeError as error:
        wrong = data[error.start : error.start + 8]
        problem = f"not text in {encoding.removesuffix('-sig').upper()}: byte {error.start} begins {wrong!r}"
        raise BadRecording(path, problem, "save the file as UTF-8") from None
    if "\0" in text:
        raise BadRecording(path, f"not text: character {text.index(chr(0))} is NUL", "save the file as UTF-8")
    return text, not decoder.getstate()[0]


def read_table_text(path: Path) -> TextTable:
    """The table in a text file. Raises BadRecording if its rows are not all as long as its header."""
    if path.stat().st_size > MAX_BYTES:
        raise BadRecording(path, f"{path.stat().st_size:,} bytes, more than {MAX_BYTES:,}", "cut it into recordings")
    text, whole = _decoded(path, path.read_bytes())
    lines = re.split(r"\r\n|\n|\r", text)
    ended = not lines[-1].strip()
    lines, comments, separator = _without_comments(lines)
    if not lines:
        raise BadRecording(path, "zero length: no rows")
    separator = separator or _separator(lines[0])
    if separator == " ":
        lines = [" ".join(line.split()) for line in lines]
    first = split_line(lines[0], separator)
    header = None if all(map(_is_number, first)) else first
    if header is None:
        commented = split_line(comments[-1].lstrip("#%/ "), separator) if comments else []
        header = commented if len(commented) == len(first) and not all(map(_is_number, commented)) else None
    else:
        lines = lines[1:]
        if lines and (below := _with_units(path, header, split_line(lines[0], separator))):
            header, lines = below, lines[1:]
    remarks = []
    if not whole or (not ended and _is_cut_row(lines, separator)):
        last = "" if ended else "".join(lines[-1:])
        remarks = [f"the last row is cut ({last[:40]!r}) and was left out"]
        lines = lines if ended else lines[:-1]
    if not lines:
        raise BadRecording(path, "zero length: no rows")
    return _parse(path, lines, separator, header, remarks)


def _without_comments(lines: Sequence[str]) -> tuple[list[str], list[str], str]:
    """The lines of the table, the comments before it, and what a line `sep=;` says ('' if there is none)."""
    kept: list[str] = []
    comments: list[str] = []
    separator = ""
    for line in lines:
        if not line.strip():
            continue
        if line.lstrip().startswith(COMMENTS):
            if not kept:
                comments.append(line.strip())
        elif not kept and not separator and (found := re.fullmatch(r'"?sep=(.)"?\s*', line, re.IGNORECASE)):
            separator = found[1]
        else:
            kept.append(line)
    return kept, comments, separator


def _separator(line: str) -> str:
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]|\([^)]*\)', "", line)
    return next((one for one in _SEPARATORS if one in bare.strip()), ",")


def split_line(line: str, separator: str) -> list[str]:
    """The cells of a line, without quotes and blanks around them."""
    cells = re.findall(rf'(?:^|{re.escape(separator)})\s*("(?:[^"]|"")*"|[^{re.escape(separator)}]*)', line)
    return [cell.strip().strip('"').strip() for cell in cells]


def _is_number(cell: str) -> bool:
    return not cell or _NUMBER.fullmatch(cell) is not None


def _with_units(path: Path, header: Sequence[str], below: Sequence[str]) -> list[str] | None:
    """The header with the units of a line below it, `us,m/s^2,1`; None if that line is a row of the table.

    Raises BadRecording for a second header line that says something else.
    """
    units = [cell.strip("[]() ") for cell in below]
    if not any(map(is_unit, units)) or any(_whole(one) and one not in NO_UNIT for one in units):
        if any(below) and not any(map(_whole, below)):
            remedy = "keep one header line, with the units behind the names: acc_x[m/s^2]"
            raise BadRecording(
                path, f"row 1 holds no number, as a second header line: {','.join(below)[:60]!r}", remedy
            )
        return None
    if len(units) != len(header):
        raise BadRecording(path, f"{len(units)} units below the header of {len(header)} columns")
    found = []
    for name, unit in zip(header, units, strict=True):
        own = name_and_unit(name)[1]
        if own and unit and own != unit:
            raise BadRecording(path, f"{name}: the line below the header says {unit}", "keep one of the units")
        found.append(f"{name}[{unit}]" if unit and not own else name)
    return found


def _parse(path: Path, lines: list[str], separator: str, header: list[str] | None, remarks: Sequence[str]) -> TextTable:
    """Raises BadRecording naming the first row that is not as long as the header."""
    width = len(header) if header else len(split_line(lines[0], separator))
    longer = len(split_line(lines[0], separator)) == width + 1
    if header and longer and separator.strip() and all(line.rstrip().endswith(separator) for line in lines):
        header, width = [*header, ""], width + 1  # each row ends with a separator, the header does not
    decimal_comma = separator != "," and any(map(_DECIMAL_COMMA.fullmatch, split_line(lines[0], separator)))
    decimal_comma = decimal_comma or (separator != "," and _any_decimal_comma(lines, separator))
    names = [str(n) for n in range(width)]
    wrong: list[tuple[int, str]] = []

    def refuse(row: pyarrow.csv.InvalidRow) -> str:
        wrong.append((row.actual_columns, row.text))
        return "error"

    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader("\n".join(lines).encode()),
            pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=1 << 24),
            pyarrow.csv.ParseOptions(delimiter=separator, invalid_row_handler=refuse, ignore_empty_lines=True),
            pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowException as error:
        if wrong:
            raise BadRecording(path, *_ragged(wrong[0], lines, width, separator)) from None
        raise BadRecording(path, f"not readable as {path.suffix}: {str(error)[:200]}") from None
    return TextTable(path, tuple(header) if header else None, tuple(table.columns), decimal_comma, tuple(remarks))


def _any_decimal_comma(lines: Sequence[str], separator: str) -> bool:
    """Whether a number with a decimal comma is somewhere, and none with a point."""
    text = separator.join(lines)
    comma = rf"(?:^|{re.escape(separator)})\s*[+-]?\d*,\d"
    return re.search(comma, text) is not None and re.search(comma.replace(r",\d", r"\.\d"), text) is None


def _is_cut_row(lines: Sequence[str], separator: str) -> bool:
    return len(lines) > 1 and _is_cut(split_line(lines[-1], separator), split_line(lines[0], separator))


def _is_cut(last: Sequence[str], first: Sequence[str]) -> bool:
    """Whether a last line without an end lacks cells that the first has, or ends in the middle of a number."""
    return len(last) < len(first) or any(
        _whole(one) and not _whole(other) for one, other in zip(first, last, strict=False)
    )


def _whole(cell: str) -> bool:
    return bool(cell) and (_is_number(cell) or cell.lower() in _BOOLEANS)


def _ragged(wrong: tuple[int, str], lines: Sequence[str], width: int, separator: str) -> tuple[str, str]:
    count, text = wrong
    row = next((n for n, line in enumerate(lines) if line.strip() == text.strip()), -1) + 1
    problem = f"row {row} has {count} values, the header {width}: {text[:60]!r}"
    if separator == "," and count > width:
        return problem, "if these are decimal commas, separate the columns by semicolons or tabs"
    return problem, f"columns are separated by {_NAMES.get(separator, repr(separator))} here"
