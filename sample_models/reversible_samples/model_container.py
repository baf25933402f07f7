"""What does a SageMaker model container answer?

`python -m reversible_samples.model_container FOLDER...` serves the model of each unpacked `model.tar.gz`, on a port of
its own, with the framework that it was made in: `GET /ping`, `POST /invocations` (JSON, CSV or NumPy's .npy). It prints
a port as soon as it answers there, in the order of the folders, and ends when its standard input does, so that no
container outlives the vendor. One process for all of them: a framework takes seconds to load.
"""

import csv
import io
import json
import sys
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.errors import ReversibleError
from reversible_samples import model_container_forms

Floats = NDArray[np.float32]
Predict = Callable[[Floats], Floats]
_LARGEST = 6 << 20  # bytes, as the vendor's own limit


Reply = Callable[[bytes, str, str], tuple[bytes, str]]


def load(folder: Path) -> Reply:
    """The container of a folder: a request's body, its content type and what it accepts -> the answer and its type."""
    if (folder / "serving.json").is_file():
        reply = model_container_forms.load(folder)
        return lambda body, content_type, _: (reply(body, content_type), "application/json")
    predict = _load(folder)
    return lambda body, content_type, accept: encode(predict(decode(body, content_type)), accept)


def _load(folder: Path) -> Predict:
    """The model of a folder, as a function (rows, width) -> (rows, outputs), both float32."""
    if (folder / "model.pt2").is_file():
        return _load_torch(folder / "model.pt2")
    if (folder / "model.joblib").is_file():
        return _load_sklearn(folder / "model.joblib")
    raise FileNotFoundError(f"{folder} holds neither model.pt2 nor model.joblib")


def _load_torch(path: Path) -> Predict:
    import torch

    torch.set_num_threads(1)
    net = torch.export.load(str(path)).module()
    one_at_a_time = threading.Lock()

    def predict(rows: Floats) -> Floats:
        with one_at_a_time, torch.no_grad():
            answer: Floats = net(torch.from_numpy(rows)).numpy()
        return answer

    return predict


def _load_sklearn(path: Path) -> Predict:
    import joblib

    model = joblib.load(path)

    def predict(rows: Floats) -> Floats:
        answer: Floats = model.predict_proba(rows).astype(np.float32)
        return answer

    return predict


def decode(body: bytes, content_type: str) -> Floats:
    """The rows of a request.

    Raises:
        ValueError: it is not what its content type says, or not a table of numbers.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        document = json.loads(body)
        if not isinstance(document, dict) or not isinstance(document.get("instances"), list):
            raise ValueError('expected {"instances": [[...], ...]}')
        rows: Any = [[np.nan if value is None else value for value in row] for row in document["instances"]]
    elif kind == "text/csv":
        text = body.decode("utf-8")
        rows = [[float(cell) if cell else np.nan for cell in row] for row in csv.reader(io.StringIO(text)) if row]
    elif kind == "application/x-npy":
        rows = np.load(io.BytesIO(body), allow_pickle=False)
    else:
        raise LookupError(kind)
    table = np.asarray(rows, dtype=np.float32)
    if table.ndim != 2:
        raise ValueError("rows of different lengths, or none")
    return np.ascontiguousarray(table)


def encode(answer: Floats, accept: str) -> tuple[bytes, str]:
    """The answer and its content type; every float in full, so that reading it back gives the same bits."""
    kind = accept.partition(";")[0].strip().lower()
    if kind == "text/csv":
        return "".join(",".join(map(repr, row)) + "\n" for row in answer.tolist()).encode(), "text/csv"
    if kind == "application/x-npy":
        stream = io.BytesIO()
        np.save(stream, answer, allow_pickle=False)
        return stream.getvalue(), "application/x-npy"
    return json.dumps({"predictions": answer.tolist()}).encode(), "application/json"


def handler(reply: Reply) -> type[BaseHTTPRequestHandler]:
    """The container's HTTP face."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # without this and a write buffer every answer waits 40 ms
        wbufsize = 1 << 16

        def log_message(self, *_: object) -> None:
            """Say nothing: a container's standard output is its port."""

        def do_GET(self) -> None:  # the name that http.server calls
            self._send(200 if self.path == "/ping" else 404, b"\n", "text/plain")

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            if size > _LARGEST:
                self.close_connection = True
                return self._send(413, b"request too large", "text/plain")
            body = self.rfile.read(size)
            if self.path != "/invocations":
                return self._send(404, b"no such path", "text/plain")
            content_type = self.headers.get("Content-Type", "application/json")
            accept = self.headers.get("Accept") or "application/json"
            try:
                return self._send(200, *reply(body, content_type, accept))
            except KeyError as error:
                return self._send(400, f"{error} is missing".encode(), "text/plain")
            except LookupError:
                return self._send(415, f"content type {content_type} is not served".encode(), "text/plain")
            except (ValueError, TypeError, RuntimeError, AssertionError, ReversibleError) as error:
                said = (str(error).splitlines() or [type(error).__name__])[0]
                return self._send(400, said[:300].encode(), "text/plain")

        def _send(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def main(folders: Sequence[Path]) -> None:
    for folder in folders:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(load(folder)))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
