"""What do these DER bytes hold?

X.690's distinguished encoding and nothing else, because other encodings let two readers see two documents: definite
lengths in their shortest form, one-byte tags, nothing after the end.
"""

from dataclasses import dataclass

BOOLEAN, INTEGER, OCTETS, NULL, OID = 0x01, 0x02, 0x04, 0x05, 0x06
TIME, SEQUENCE, SET = 0x18, 0x30, 0x31


@dataclass(frozen=True)
class Element:
    """One value: its tag byte, what is inside, and the whole encoding."""

    tag: int
    content: bytes
    whole: bytes

    def inside(self, tag: int | None = None) -> "list[Element]":
        """The values inside a constructed one, of which `tag` is expected.

        Raises:
            ValueError: it has another tag, or its content is not DER.
        """
        if tag is not None:
            self.of(tag)
        found, rest = [], self.content
        while rest:
            element, rest = _take(rest)
            found.append(element)
        return found

    def of(self, tag: int) -> bytes:
        """The content of a value that has this tag.

        Raises:
            ValueError: it has another.
        """
        if self.tag != tag:
            raise ValueError(f"DER tag {tag:#04x} is expected, found {self.tag:#04x}")
        return self.content

    @property
    def integer(self) -> int:
        content = self.of(INTEGER)
        shortest = len(content) == 1 or (len(content) > 1 and not _padded(content))
        if not shortest:
            raise ValueError("a DER integer is not in its shortest form")
        return int.from_bytes(content, "big", signed=True)

    @property
    def oid(self) -> str:
        """Dotted numbers, "2.5.29.37"."""
        content = self.of(OID)
        if not content or content[-1] & 0x80:
            raise ValueError("a DER object identifier is cut short")
        numbers, value = [], 0
        for byte in content:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                numbers.append(value)
                value = 0
        top = min(numbers[0] // 40, 2)
        return ".".join(map(str, (top, numbers[0] - 40 * top, *numbers[1:])))


def read(content: bytes) -> Element:
    """The one value that the bytes are.

    Raises:
        ValueError: they are not DER, or something stands behind it.
    """
    element, rest = _take(content)
    if rest:
        raise ValueError(f"{len(rest)} bytes stand after the end")
    return element


def write(tag: int, *parts: bytes) -> bytes:
    """One value, around the encodings of those inside it."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def integer(value: int) -> bytes:
    return write(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    return write(OID, b"".join(map(_base128, (40 * first + second, *rest))))


def _base128(value: int) -> bytes:
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def _take(content: bytes) -> tuple[Element, bytes]:
    if len(content) < 2 or content[0] & 0x1F == 0x1F:
        raise ValueError("a DER value is cut short, or its tag takes more than one byte")
    size, start = content[1], 2
    if size & 0x80:
        count = size & 0x7F
        start += count
        digits = content[2:start]
        size = int.from_bytes(digits, "big")
        if not 1 <= count <= 4 or len(digits) != count or digits[0] == 0 or size < 0x80:
            raise ValueError("a DER length is not in its shortest form")
    end = start + size
    if end > len(content):
        raise ValueError("a DER value is cut short")
    return Element(content[0], content[start:end], content[:end]), content[end:]


def _padded(content: bytes) -> bool:
    return content[0] in (0x00, 0xFF) and content[0] >> 7 == content[1] >> 7
