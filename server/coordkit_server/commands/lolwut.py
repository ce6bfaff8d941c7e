"""LOLWUT (group "server"): the version, below a picture drawn for each call.

Version 5 draws squares that fall into disorder, after Georg Nees's "Schotter"; version 6 a skyline at night.  Any other
version draws nothing.
"""

from math import cos, pi, sin
from random import Random
from typing import Final

from coordkit_server import REDIS_LEVEL
from coordkit_server.commands.args import integer
from coordkit_server.context import FAST, READONLY, Command, Context
from coordkit_server.resp.reply import VerbatimReply

_BRAILLE: Final = 0x2800
# the bit of each dot of a Braille character, by row and column
_DOTS: Final[list[list[int]]] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]]
_SIDE: Final = 14  # of a square, in dots
_SKYLINE_ROWS: Final = 20


class Canvas:
    """A picture of dots, eight to a character."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns: Final = columns
        self._cells: Final[list[list[int]]] = [[0] * columns for _ in range(rows)]

    def dot(self, x: int, y: int) -> None:
        """Set a dot; outside of the canvas nothing happens."""
        if 0 <= y < 4 * len(self._cells) and 0 <= x < 2 * self._columns:
            self._cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]

    def line(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Draw a line."""
        steps = int(max(abs(x1 - x0), abs(y1 - y0))) + 1
        for i in range(steps + 1):
            self.dot(round(x0 + (x1 - x0) * i / steps), round(y0 + (y1 - y0) * i / steps))

    def square(self, x: float, y: float, side: float, angle: float) -> None:
        """Draw a square around a point, turned by `angle`."""
        radius = side / 2**0.5
        corners = [(x + radius * cos(angle + k * pi / 2), y + radius * sin(angle + k * pi / 2)) for k in range(5)]
        for k in range(4):
            self.line(corners[k][0], corners[k][1], corners[k + 1][0], corners[k + 1][1])

    def text(self) -> str:
        """Return the picture as lines."""
        return "\n".join(["".join([chr(_BRAILLE + bits) for bits in row]) for row in self._cells])


def _squares(random: Random, across: int, down: int) -> str:
    """Return rows of squares, more turned and shifted from row to row."""
    canvas = Canvas((across + 1) * _SIDE // 2, (down + 1) * _SIDE // 4 + 1)
    for row in range(down):
        disorder = row / max(down - 1, 1)
        for column in range(across):
            shift_x = (random.random() - 0.5) * disorder * _SIDE / 2
            shift_y = (random.random() - 0.5) * disorder * _SIDE / 2
            angle = pi / 4 + (random.random() - 0.5) * disorder * pi / 2
            canvas.square((column + 1) * _SIDE + shift_x, (row + 1) * _SIDE + shift_y, _SIDE, angle)
    return canvas.text()


def _skyline(random: Random, columns: int, rows: int) -> str:
    """Return houses with lit windows below a sky."""
    cells = [[" "] * columns for _ in range(rows)]
    for _ in range(columns * rows // 40):
        cells[random.randrange(rows)][random.randrange(columns)] = "."
    left = 0
    while left < columns:
        width = random.randint(5, 12)
        top = random.randint(rows // 4, max(rows - 3, rows // 4))
        for row in range(top, rows):
            for column in range(left, min(left + width, columns)):
                window = (row - top) % 2 == 1 and (column - left) % 2 == 1 and random.random() < 0.4
                cells[row][column] = "'" if window else "#"
        left += width + random.randint(0, 2)
    return "\n".join(["".join(row) for row in cells])


def lolwut(cx: Context) -> object:
    """LOLWUT [VERSION version] [size ...] -> a picture and the version."""
    argv = cx.argv
    version = 0
    at = 1
    if len(argv) >= 3 and argv[1].upper() == b"VERSION":
        version = integer(argv[2])
        at = 3
    sizes = [integer(text) for text in argv[at:]] if version in (5, 6) else []
    picture = ""
    if version == 5:
        across = min(max(sizes[1] if len(sizes) > 1 else 8, 1), 200)
        down = min(max(sizes[2] if len(sizes) > 2 else 12, 1), 200)
        picture = _squares(cx.services.random, across, down) + "\n\nGeorg Nees - schotter, plotter on paper, 1968. "
    elif version == 6:
        columns = min(max(sizes[0] if sizes else 80, 1), 1000)
        rows = min(max(sizes[1] if len(sizes) > 1 else _SKYLINE_ROWS, 1), 1000)
        picture = _skyline(cx.services.random, columns, rows) + "\n\n"
    return VerbatimReply(b"txt", f"{picture}Redis ver. {REDIS_LEVEL}\n".encode())


def commands() -> list[Command]:
    """Return the row of LOLWUT."""
    return [
        Command(b"LOLWUT", -1, READONLY | FAST, lolwut, since=b"5.0.0", summary=b"Draws something, tells the version.")
    ]
