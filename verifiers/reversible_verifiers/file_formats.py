"""In which open format is this file, and do two programs that share no code read the same in it?

The answer comes from the content: a name ending in .parquet proves nothing. A file that cannot be read is an answer
here, not an error: it is what the metric counts.
"""

import glob
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reversible import fingerprint
from reversible.fingerprint import Cells, Column, Plan
from reversible_verifiers import array_files, mysql_script, sql_statements, sqlite_script

_BATCH_ROWS = 1 << 16
_MAGIC, _MAGIC_ENCRYPTED = b"PAR1", b"PARE"  # Parquet format, "File Format" and "Encryption"
_TEXT_SUFFIXES = frozenset({".txt", ".md", ".csv", ".toml", ".yaml", ".yml"})


@dataclass(frozen=True)
class Reading:
    """What became of one file.

    `format` is "" when no open format fits; `fault` says why one of the two readers failed or disagreed;
    `locked`: the content is encrypted under a key that the bundle does not hold.
    """

    format: str
    fault: str = ""
    locked: bool = False


def read_twice(path: Path) -> Reading:
    """Read a file with two programs: pyarrow and DuckDB, json and pydantic, onnx and onnxruntime, and so on."""
    try:
        name, readers = _readers(path)
        if not name:
            return Reading("", "no open format fits its content")
        first, second = (reader(path) for reader in readers)
    except ImportError:
        raise  # a reader is missing here: that says nothing about the file
    except Exception as error:  # noqa: BLE001 - five libraries' own errors, and each of them is the finding
        said = str(error).strip().splitlines()
        return Reading("", f"{type(error).__name__}: {said[0][:160] if said else ''}", locked=_is_locked(path, error))
    return Reading(name, "" if first == second else "two readers give different contents")


def _is_locked(path: Path, error: Exception) -> bool:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(0, path.stat().st_size - 4))
        tail = file.read(4)
    return _MAGIC_ENCRYPTED in (head, tail) or (head == _MAGIC and "crypt" in str(error).lower())


def _readers(path: Path) -> tuple[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]]:
    suffix = path.suffix
    with path.open("rb") as file:
        magic = file.read(4)
    if suffix == ".parquet" or magic == _MAGIC:
        return "Parquet", (_parquet_by_pyarrow, _parquet_by_duckdb)
    if suffix == ".json":
        return "JSON", (_json_by_python, _json_by_pydantic)
    if suffix == ".sql" and _is_sqlite(path):
        return "SQL", (_statements_by_us, _statements_by_sqlite)
    if suffix == ".sql" and _source_type(path) in ("mysql", "mariadb"):
        return "SQL", (_mysql_by_us, _mysql_by_duckdb)
    if suffix == ".sql":
        return "SQL", (_sql_by_us, _sql_by_duckdb)
    if suffix == ".onnx":
        return "ONNX", (_onnx_by_onnx, _onnx_by_onnxruntime)
    if path.name.endswith(".onnx.data"):
        return "ONNX", (_tensors_by_onnx, _tensors_by_onnxruntime)
    if suffix == ".npz":
        return "NumPy", (array_files.by_numpy, array_files.by_layout)
    if suffix == ".pb":
        return "ONNX", (_tensor_by_onnx, _tensor_by_us)
    if suffix in _TEXT_SUFFIXES:
        return "text", (_text_by_python, _text_by_pyarrow)
    return "", (_text_by_python, _text_by_pyarrow)


# --- Parquet ----------------------------------------------------------------------------------------------------


def _parquet_by_pyarrow(path: Path) -> tuple[int, str]:
    with pq.ParquetFile(path) as file:
        return _fingerprint(file.schema_arrow, file.iter_batches(_BATCH_ROWS))


def _parquet_by_duckdb(path: Path) -> tuple[int, str]:
    import duckdb

    # Nothing may be fetched, and nothing may change a value: instants stay in UTC.
    with duckdb.connect(
        config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "threads": "1"}
    ) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.sql("SELECT * FROM read_parquet($1)", params=[glob.escape(str(path))])
        reader = found.to_arrow_reader(_BATCH_ROWS)
        return _fingerprint(reader.schema, reader)


def _fingerprint(schema: pa.Schema, batches: Any) -> tuple[int, str]:
    """Rows and digest. Columns go by position: DuckDB renames one of two names that differ by case only."""
    families = [_family(field.type) for field in schema]
    plan = Plan("", tuple(Column(str(n), family) for n, family in enumerate(families)), sketch=0)  # nobody decodes one
    sums = fingerprint.Accumulator(plan)
    for batch in batches:
        sums.add({str(n): Cells(_flat(values)) for n, values in enumerate(batch.columns)}, batch.num_rows)
    found = sums.result()
    return found.rows, f"{' '.join(families)} {found.digest}"


def _family(arrow_type: pa.DataType) -> str:
    return "text" if pa.types.is_nested(arrow_type) or pa.types.is_null(arrow_type) else fingerprint.family(arrow_type)


def _flat(values: pa.Array) -> pa.Array:
    """Nested values as JSON: the fingerprint has no nested family."""
    if not pa.types.is_nested(values.type) and not pa.types.is_null(values.type):
        return values
    return pa.array([None if one is None else json.dumps(one, default=str) for one in values.to_pylist()], pa.string())


# --- text -------------------------------------------------------------------------------------------------------


def _json_by_python(path: Path) -> Any:
    return json.loads(path.read_bytes().decode("utf-8"))


def _json_by_pydantic(path: Path) -> Any:
    from pydantic_core import from_json

    return from_json(path.read_bytes(), allow_inf_nan=False)


def _sql_by_us(path: Path) -> int:
    """Its statements, cut by our own lexer; a script that ends inside a quote is refused."""
    return sum(1 for _ in sql_statements.statements(path.read_bytes().decode("utf-8")))


def _sql_by_duckdb(path: Path) -> int:
    """Its statements, cut by DuckDB's tokenizer, which is PostgreSQL's."""
    import duckdb

    text = _text_by_pyarrow(path)
    plain = "\n".join("" if line.startswith(("\\restrict", "\\unrestrict")) else line for line in text.split("\n"))
    raw = plain.encode()
    tokens = duckdb.tokenize(plain)
    return _count_statements([raw[at : at + 12] for at, _ in tokens])


def _count_statements(tokens: list[bytes]) -> int:
    """Semicolons outside parentheses and SQL function bodies, after at least one token."""
    count = depth = body = 0
    begun = False
    for n, token in enumerate(tokens):
        word = token.split(None, 1)[0].lower() if token.split() else b""
        if token.startswith(b"("):
            depth += 1
        elif token.startswith(b")"):
            depth -= 1
        elif word.startswith(b"atomic") and n and tokens[n - 1].lower().startswith(b"begin"):
            body = 1
        elif body and word == b"case":
            body += 1
        elif body and word.rstrip(b";,)") == b"end":
            body -= 1
        if token.startswith(b";") and not depth and not body:
            count += begun
            begun = False
        else:
            begun = True
    return count


def _is_sqlite(path: Path) -> bool:
    return bool(_source_type(path) == "sqlite")


def _source_type(path: Path) -> Any:
    """What the description beside it says: each database has its own words and quotes."""
    described = path.with_name("database.json")
    return _json_by_python(described).get("source_type") if described.is_file() else None


def _mysql_by_us(path: Path) -> int:
    return sum(1 for _ in mysql_script.statements(path.read_bytes().decode("utf-8")))


def _mysql_by_duckdb(path: Path) -> int:
    return mysql_script.by_duckdb(_text_by_pyarrow(path))


def _statements_by_us(path: Path) -> int:
    return len(sqlite_script.statements(path.read_bytes().decode("utf-8")))


def _statements_by_sqlite(path: Path) -> int:
    return len(sqlite_script.by_engine(_text_by_pyarrow(path)))


def _text_by_python(path: Path) -> str:
    return path.read_bytes().decode("utf-8")


def _text_by_pyarrow(path: Path) -> str:
    return str(pa.array([path.read_bytes()], pa.large_binary()).cast(pa.large_string())[0].as_py())


# --- models -----------------------------------------------------------------------------------------------------


def _onnx_by_onnx(path: Path) -> tuple[list[str], list[str]]:
    import onnx

    onnx.checker.check_model(str(path))
    model = onnx.load(str(path), load_external_data=False)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [one.name for one in model.graph.input if one.name not in constants]
    return inputs, [one.name for one in model.graph.output]


def _onnx_by_onnxruntime(path: Path) -> tuple[list[str], list[str]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [one.name for one in session.get_inputs()], [one.name for one in session.get_outputs()]


def _tensors_by_onnx(path: Path) -> bool:
    """Whether onnx loads the model with this file as its tensors, and the model refers to it."""
    import onnx

    model_path = path.with_suffix("")
    model = onnx.load(str(model_path), load_external_data=False)
    referred = {item.value for one in model.graph.initializer for item in one.external_data if item.key == "location"}
    if path.name not in referred:
        raise ValueError(f"{model_path.name} does not refer to it")
    onnx.load(str(model_path))
    return True


def _tensors_by_onnxruntime(path: Path) -> bool:
    _onnx_by_onnxruntime(path.with_suffix(""))
    return True


def _tensor_by_onnx(path: Path) -> tuple[list[int], bytes]:
    import onnx

    tensor = onnx.load_tensor(str(path))
    values = onnx.numpy_helper.to_array(tensor)
    raw = b"".join(tensor.string_data) if tensor.string_data else values.tobytes()
    return list(tensor.dims), raw


def _tensor_by_us(path: Path) -> tuple[list[int], bytes]:
    """TensorProto by the wire format: 1 dims, 4 float_data, 6 string_data, 7 int64_data, 9 raw_data."""
    import struct

    dims: list[int] = []
    raw = b""
    for field, value in _protobuf_fields(path.read_bytes()):
        if field == 1:
            dims += [value] if isinstance(value, int) else list(_varints(value))
        elif field in (4, 6, 9) and isinstance(value, bytes):
            raw += value
        elif field == 7:
            whole = [value] if isinstance(value, int) else list(_varints(value))
            raw += b"".join(struct.pack("<Q", one & (1 << 64) - 1) for one in whole)
    return dims, raw


_FIXED = {1: 8, 5: 4}  # wire types of fixed width, in bytes


def _protobuf_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values: https://protobuf.dev/programming-guides/encoding/."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if key & 7 == 2:
            size, at = _varint(data, at)
        elif key & 7 in _FIXED:
            size = _FIXED[key & 7]
        else:
            raise ValueError("not a protobuf message")
        if at + size > len(data):
            raise ValueError("the protobuf message is cut short")
        yield key >> 3, data[at : at + size]
        at += size


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("the protobuf message is cut short")
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at
