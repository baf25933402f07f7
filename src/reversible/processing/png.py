"""Which pixels does a PNG file hold?

PNG is lossless and exactly specified, so one decoder is as good as another; this one needs zlib and NumPy alone.
Source: W3C, Portable Network Graphics (Third Edition), sections 7.2 and 9.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from reversible.errors import BundleError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # grey, RGB, palette, grey and alpha, RGB and alpha
_LARGEST = 1 << 26  # pixels

Pixels = NDArray[np.uint8]


def decode(body: bytes) -> Pixels:
    """The pixels: (height, width) of a grey image, (height, width, 3) of a coloured one; what is transparent is shown.

    Raises:
        BundleError: it is no whole PNG file, or one of 16 bits, or interlaced.
    """
    try:
        return _decode(body)
    except (struct.error, zlib.error, ValueError, IndexError) as error:
        raise BundleError(f"it is no whole PNG image: {error}") from error


def _decode(body: bytes) -> Pixels:
    data, palette, header = bytearray(), b"", b""
    for kind, content in _chunks(body):
        if kind == b"IHDR":
            header = content
        elif kind == b"PLTE":
            palette = content
        elif kind == b"IDAT":
            data += content
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if interlaced or depth == 16 or colour not in _CHANNELS:
        raise ValueError(f"depth {depth}, colour type {colour}, interlacing {interlaced} are not read here")
    if not 0 < width * height <= _LARGEST:
        raise ValueError(f"{width} x {height} pixels")
    channels = _CHANNELS[colour]
    stride = (width * channels * depth + 7) // 8
    stream = zlib.decompressobj()
    lines = np.frombuffer(stream.decompress(bytes(data), height * (stride + 1)), dtype=np.uint8)
    rows = _unfiltered(lines.reshape(height, stride + 1), max(1, channels * depth // 8))
    if depth < 8:
        bits = np.unpackbits(rows, axis=1).reshape(height, -1, depth)
        rows = np.packbits(np.pad(bits, ((0, 0), (0, 0), (8 - depth, 0))), axis=2)[:, :width, 0]
        rows = rows if colour == 3 else (rows * (255 // ((1 << depth) - 1))).astype(np.uint8)
    if colour == 3:
        colours = np.frombuffer(palette, dtype=np.uint8).reshape(-1, 3)
        return np.ascontiguousarray(colours[rows.reshape(height, width)])
    table = rows.reshape(height, width, channels)
    return np.ascontiguousarray(table[:, :, 0] if channels < 3 else table[:, :, :3])


def _chunks(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not body.startswith(SIGNATURE):
        raise ValueError("it does not begin as one")
    place = len(SIGNATURE)
    while place < len(body):
        size, kind = struct.unpack_from(">I4s", body, place)
        content = body[place + 8 : place + 8 + size]
        (check,) = struct.unpack_from(">I", body, place + 8 + size)
        if zlib.crc32(kind + content) != check:
            raise ValueError(f"its {kind.decode('ascii', 'replace')} is damaged")
        yield kind, content
        if kind == b"IEND":
            return
        place += 12 + size
    raise ValueError("its end is missing")


def _unfiltered(lines: Pixels, step: int) -> Pixels:
    """Each line without its filter: section 9.2. `step` is how many bytes one pixel takes."""
    height, stride = lines.shape[0], lines.shape[1] - 1
    found = np.zeros((height + 1, stride + step), dtype=np.int64)  # a line above and a pixel to the left, of zeros
    for row in range(height):
        kind, line, above, here = int(lines[row, 0]), lines[row, 1:].astype(np.int64), found[row], found[row + 1]
        if kind == 0:
            here[step:] = line
        elif kind == 1:
            for at in range(step):
                here[step + at :: step] = np.cumsum(line[at::step]) & 255
        elif kind == 2:
            here[step:] = (line + above[step:]) & 255
        elif kind in (3, 4):
            for at in range(stride):
                left, up, corner = here[at], above[at + step], above[at]
                guess = (left + up) // 2 if kind == 3 else _paeth(int(left), int(up), int(corner))
                here[at + step] = (line[at] + guess) & 255
        else:
            raise ValueError(f"filter {kind}")
    return found[1:, step:].astype(np.uint8)


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    off = abs(guess - left), abs(guess - up), abs(guess - corner)
    return left if off[0] <= off[1] and off[0] <= off[2] else up if off[1] <= off[2] else corner
