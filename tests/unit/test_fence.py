"""Does the fence refuse, count and name what it must, whoever asks?"""

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reversible import fence
from reversible.fence import names
from reversible.fence.filter import MACHINES, program

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
VENDOR = "203.0.113.7"  # RFC 5737: nobody's

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="the fence is made of Linux")


def python(code: str, **options: object) -> fence.Fenced:
    return fence.run([sys.executable, "-I", "-c", code], env=ENV, timeout_s=30, **options)  # type: ignore[arg-type]


def tries(code: str) -> str:
    """A program that tries one thing and says how it ended."""
    return f"import socket\ntry: print('REACHED', {code})\nexcept OSError as e: print(type(e).__name__)"


def here(kind: str) -> bool:
    return python("pass", kinds=(kind, "none")).kind == kind


def refused(done: fence.Fenced) -> list[tuple[str, str, int]]:
    return [(one.proto, one.host, one.port) for one in done.attempts if not one.allowed]


@pytest.fixture(scope="module", params=["namespace", "bubblewrap", "seccomp"])
def kind(request: pytest.FixtureRequest) -> str:
    if not here(request.param):
        pytest.skip(f"this machine does not give the fence {request.param}")
    return str(request.param)


@contextmanager
def echo_server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    while block := connection.recv(1 << 16):
                        connection.sendall(block)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


ATTEMPTS = [
    ("TCP", f"socket.create_connection(('{VENDOR}', 443), 3)", ("tcp", VENDOR, 443)),
    ("TCP over IPv6", "socket.create_connection(('2001:db8::7', 443), 3)", ("tcp", "2001:db8::7", 443)),
    (
        "IPv4 written as IPv6",
        f"socket.socket(socket.AF_INET6).connect(('::ffff:{VENDOR}', 443))",
        ("tcp", VENDOR, 443),
    ),
    (
        "UDP",
        f"socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{VENDOR}', 443))",
        ("udp", VENDOR, 443),
    ),
    (
        "UDP by sendmsg",
        f"socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('{VENDOR}', 443))",
        ("udp", VENDOR, 443),
    ),
    (
        "UDP over IPv6",
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'x', ('2001:db8::7', 443))",
        ("udp", "2001:db8::7", 443),
    ),
    ("the loopback of the machine", "socket.create_connection(('127.0.0.1', 5432), 3)", ("tcp", "127.0.0.1", 5432)),
    ("the cloud's metadata service", "socket.create_connection(('169.254.169.254', 80), 3)",
     ("tcp", "169.254.169.254", 80)),
    ("TCP with data in the first packet",
     f"socket.socket().sendto(b'x', socket.MSG_FASTOPEN, ('{VENDOR}', 443))", ("tcp", VENDOR, 443)),
    ("another protocol", "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)", ("protocol 132", "", 0)),
    ("the hypervisor", "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)", ("vsock", "", 0)),
    ("raw frames", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", ("packet", "", 0)),
]  # fmt: skip


@pytest.mark.parametrize(("code", "named"), [case[1:] for case in ATTEMPTS], ids=[case[0] for case in ATTEMPTS])
def test_an_attempt_is_refused_and_named(kind: str, code: str, named: tuple[str, str, int]) -> None:
    done = python(tries(code), kinds=(kind,))

    assert done.kind == kind
    assert done.counted
    assert "REACHED" not in done.stdout
    assert refused(done) == [named]
    assert not done.unlogged


def test_many_datagrams_in_one_call_are_refused_and_named(kind: str) -> None:
    code = f"""
import ctypes, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
address = struct.pack("=HH4s8x", socket.AF_UNSPEC, socket.htons(9), socket.inet_aton("{VENDOR}"))
where = ctypes.create_string_buffer(address)
data = ctypes.create_string_buffer(b"x")
vec = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(data), 1))
one = struct.pack("QIxxxxQQQQIxxxxIxxxx", ctypes.addressof(where), 16, ctypes.addressof(vec), 1, 0, 0, 0, 0)
print(libc.sendmmsg(s.fileno(), ctypes.create_string_buffer(one * 2), 2, 0), ctypes.get_errno())
"""
    done = python(code, kinds=(kind,))

    assert done.stdout.split()[0] == "-1"
    assert refused(done) == [("udp", VENDOR, 9)]  # an unspecified family, which the kernel takes for IPv4


def test_io_uring_is_not_there(kind: str) -> None:
    done = python("import ctypes; print(ctypes.CDLL(None).syscall(425, 8, 0))", kinds=(kind,))

    assert done.stdout.strip() == "-1"


def test_a_name_is_answered_no_such_name_and_logged() -> None:
    done = python("import socket; socket.getaddrinfo('Secrets.Vendor.example', 443)", kinds=fence.KINDS[:2])

    assert "Name or service not known" in done.stderr
    assert ("dns", "secrets.vendor.example", 53) in refused(done)
    assert done.names_seen


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_program_in_c_is_refused_and_named(kind: str) -> None:
    done = fence.run(["curl", "-sS", "-m", "5", f"http://{VENDOR}:8080/"], env=ENV, timeout_s=30, kinds=(kind,))

    assert done.returncode
    assert ("tcp", VENDOR, 8080) in refused(done)


def test_a_c_extension_is_refused_and_named(kind: str) -> None:
    code = f"""
from pyarrow import fs
s3 = fs.S3FileSystem(access_key="a", secret_key="b", endpoint_override="{VENDOR}:9000", scheme="http",
                     region="eu", connect_timeout=2, retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1))
try:
    s3.get_file_info("bucket/key")
except OSError as error:
    print("refused")
"""
    done = python(code, kinds=(kind,))

    assert done.stdout.strip() == "refused", done.stderr
    assert ("tcp", VENDOR, 9000) in refused(done)
    assert not done.unlogged


def test_a_door_in_the_file_system_is_closed_and_named(kind: str, tmp_path: Path) -> None:
    door = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(door))
        agent.listen()
        done = python(tries(f"socket.socket(socket.AF_UNIX).connect({str(door)!r})"), kinds=(kind,))

    assert done.stdout.strip() == "ConnectionRefusedError"
    assert refused(done) == [("unix", str(door), 0)]


def test_a_name_service_that_is_not_there_is_no_attempt(kind: str) -> None:
    done = python(tries("socket.socket(socket.AF_UNIX).connect('/run/no/such/socket')"), kinds=(kind,))

    assert done.stdout.strip() == "FileNotFoundError"
    assert refused(done) == []


def test_the_allowed_endpoint_works_both_ways(kind: str) -> None:
    code = """
import os, socket
data = os.urandom(1 << 20)
with socket.create_connection(("127.0.0.1", 7000), 10) as s:
    s.settimeout(10)
    import threading
    threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR))).start()
    back = b""
    while block := s.recv(1 << 16):
        back += block
print(back == data)
"""
    with echo_server() as port:
        done = python(code, kinds=(kind,), allow={7000: ("127.0.0.1", port)})

    assert done.stdout.strip() == "True", done.stderr
    assert [(one.host, one.port, one.allowed) for one in done.attempts] == [("127.0.0.1", 7000, True)]


def test_the_allowed_endpoint_is_not_reached_by_its_outer_port(kind: str) -> None:
    with echo_server() as port:
        code = tries(f"socket.create_connection(('127.0.0.1', {port}), 3)")
        done = python(code, kinds=(kind,), allow={7000: ("127.0.0.1", port)})

    assert done.stdout.strip() == "ConnectionRefusedError"
    assert refused(done) == [("tcp", "127.0.0.1", port)]


def test_talk_between_its_own_processes_goes_on() -> None:
    code = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
a = socket.create_connection(listener.getsockname(), 3)
a.sendall(b"hello"); b, _ = listener.accept(); print(b.recv(9).decode())
"""
    done = python(code, kinds=("namespace", "bubblewrap"))

    assert done.stdout.strip() == "hello", done.stderr
    assert all(one.allowed for one in done.attempts)


def test_it_has_no_rights_left(kind: str) -> None:
    code = """
import ctypes, os
print([l.split()[1] for l in open("/proc/self/status") if l[:6] in ("CapEff", "CapPrm", "CapBnd", "NoNewP")])
print(os.getuid(), sorted(os.listdir("/proc/self/fd")))
"""
    done = python(code, kinds=(kind,))
    rights, identity = done.stdout.splitlines()

    assert rights == str(["0" * 16, "0" * 16, "0" * 16, "1"])
    assert identity.startswith(f"{os.getuid()} ['0', '1', '2', ")
    assert identity.count(",") == 3  # and the directory being listed


def test_a_namespace_of_its_own_does_not_hide_an_attempt() -> None:
    attempt = tries(f"socket.create_connection(({VENDOR!r}, 9), 3)")
    code = f"import ctypes; ctypes.CDLL(None).unshare(0x50000000)\n{attempt}"  # CLONE_NEWUSER | CLONE_NEWNET
    done = python(code, kinds=("namespace",))

    assert refused(done) == [("tcp", VENDOR, 9)]


def test_an_address_swapped_under_the_supervisors_eyes_is_refused_and_missed_by_nobody(kind: str) -> None:
    """Threads that flip the address between the check and the call: what the log misses, the kernel counts."""
    code = f"""
import ctypes, socket, struct, threading
libc = ctypes.CDLL(None, use_errno=True)
port = (listener := socket.create_server(("127.0.0.1", 0))).getsockname()[1]
good, bad = (struct.pack("=HH4s8x", 2, socket.htons(port), socket.inet_aton(h)) for h in ("127.0.0.1", "{VENDOR}"))
address = ctypes.create_string_buffer(good, 16)
def flip():
    while True:
        ctypes.memmove(address, bad, 16); ctypes.memmove(address, good, 16)
for _ in range(2): threading.Thread(target=flip, daemon=True).start()
unreachable = refused = 0
for _ in range(100):
    with socket.socket() as s:
        if libc.connect(s.fileno(), address, 16):
            unreachable += ctypes.get_errno() == 101
            refused += ctypes.get_errno() == 111
print(unreachable, refused)
"""
    done = python(code, kinds=(kind,))
    unreachable, closed = map(int, done.stdout.split())

    assert len(refused(done)) + (done.unlogged or 0) == unreachable + closed
    if kind == "seccomp":  # there no such call ever goes on
        assert len(refused(done)) == 100


def test_memory_is_bounded(kind: str) -> None:
    done = python("bytearray(1 << 31)", kinds=(kind,), memory_bytes=1 << 30)

    assert "MemoryError" in done.stderr


def test_as_an_ordinary_user(tmp_path: Path) -> None:
    """The whole of it under a number that no account has, by the system's interpreter."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None or not Path("/usr/bin/python3").exists():
        pytest.skip("needs root to become another user")
    code = f"""
import json, sys
sys.path.insert(0, {str(Path(fence.__file__).parents[2])!r})
from reversible import fence
inner = '''import os, socket
print(os.getuid())
try: socket.create_connection(("{VENDOR}", 443), 3)
except OSError as error: print(error.errno)
'''
for kind in ("namespace", "seccomp"):
    done = fence.run(["/usr/bin/python3", "-I", "-c", inner], env={{}}, timeout_s=20, kinds=(kind,))
    attempts = [[one.host, one.port, one.allowed] for one in done.attempts]
    print(json.dumps([done.kind, done.stdout.split(), attempts, done.stderr]))
"""
    user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]
    source = Path(fence.__file__)
    if subprocess.run([*user, "test", "-r", str(source)]).returncode:
        pytest.skip("this checkout cannot be read by another user")
    done = subprocess.run([*user, "/usr/bin/python3", "-I", "-c", code], capture_output=True, text=True, cwd="/")
    lines = [json.loads(line) for line in done.stdout.splitlines()]

    assert lines == [[kind, ["12345", "101"], [[VENDOR, 443, False]], ""] for kind in ("namespace", "seccomp")], (
        done.stderr
    )


def test_hidden_places_are_empty(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/credentials").write_text("secret")
    (tmp_path / "file").write_text("secret")
    code = f"import os; print(os.listdir({str(tmp_path / 'dir')!r}), open({str(tmp_path / 'file')!r}).read())"
    done = python(code, kinds=("namespace",), hide=[tmp_path / "dir", tmp_path / "file"])

    assert done.stdout == "[] \n", done.stderr
    assert (tmp_path / "dir/credentials").read_text() == "secret"


# --- ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [("raise SystemExit(7)", 7), ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -11), ("pass", 0)],
)
def test_the_status_is_the_commands_own(kind: str, code: str, status: int) -> None:
    assert python(code, kinds=(kind,)).returncode == status


def test_a_missing_program_is_said(kind: str) -> None:
    done = fence.run(["/no/such/program"], env=ENV, kinds=(kind,))

    assert done.returncode == 127
    assert "/no/such/program: No such file" in done.stderr


@pytest.mark.parametrize("leave", ["namespace", "seccomp"])
def test_when_the_time_is_up_nothing_stays(leave: str, tmp_path: Path) -> None:
    if not here(leave):
        pytest.skip(f"this machine does not give the fence {leave}")
    mark = f"reversible-test-{os.getpid()}-{time.monotonic_ns()}"
    code = f"""
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)", "{mark}"])
    os._exit(0)
print("started", flush=True)
time.sleep(60)
"""
    done = fence.run([sys.executable, "-c", code], env=ENV, timeout_s=1.5, kinds=(leave,))

    assert done.returncode is None
    assert done.stdout == "started\n"
    assert mark not in _command_lines()


def test_ctrl_c_leaves_nothing(kind: str) -> None:
    mark = f"reversible-test-{os.getpid()}-{time.monotonic_ns()}"
    code = f"""
import sys
from reversible import fence
try:
    fence.run([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)", "{mark}"],
              env={{}}, kinds=("{kind}",), on_line=lambda line: print(line, flush=True))
except KeyboardInterrupt:
    print("interrupted")
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()

    assert rest == "interrupted\n"
    assert mark not in _command_lines()


def test_the_command_ends_with_its_killed_caller(kind: str) -> None:
    mark = f"reversible-test-{os.getpid()}-{time.monotonic_ns()}"
    code = f"""
import sys
from reversible import fence
fence.run([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)", "{mark}"],
          env={{}}, kinds=("{kind}",), on_line=lambda line: print(line, flush=True))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.kill()
        process.stdout.read()  # ends when the last of them has closed it

    for _ in range(100):
        if mark not in _command_lines():
            return
        time.sleep(0.05)
    pytest.fail("the command outlived its caller")


def _command_lines() -> str:
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(file.read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)


# --- the ladder -------------------------------------------------------------------------------------------------


def test_the_next_fence_is_tried_and_the_reason_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = python("print('ran once')", kinds=("no such fence", "bubblewrap", "none"))

    assert done.kind == "none"
    assert done.stdout == "ran once\n"
    assert done.refused_kinds == {
        "no such fence": "there is no such fence",
        "bubblewrap": "bwrap is not installed",
    }


def test_a_machine_that_forbids_namespaces_gets_the_next_fence() -> None:
    code = f"""
import json, sys
open("/proc/sys/user/max_user_namespaces", "w").write("0")
sys.path.insert(0, {str(Path(fence.__file__).parents[2])!r})
from reversible import fence
code = "import socket; socket.create_connection(('{VENDOR}', 443), 3)"
done = fence.run([sys.executable, "-c", code], env={{}}, kinds=fence.KINDS)
print(json.dumps([done.kind, sorted(done.refused_kinds), done.refused_kinds["namespace"], len(done.attempts)]))
"""
    if not here("unshare") or not here("seccomp"):
        pytest.skip("needs a user namespace to forbid further ones in")
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", code], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        "seccomp",
        ["bubblewrap", "namespace", "unshare"],
        "user, network, process, IPC and mount namespaces: No space left on device",
        1,
    ]


def test_a_fence_inside_a_fence_is_refused_whole() -> None:
    """The kernel has one supervisor per process tree: the inner fence takes nothing rather than half."""
    code = f"""
import json, sys
sys.path.insert(0, {str(Path(fence.__file__).parents[2])!r})
from reversible import fence
done = fence.run([sys.executable, "-c", "print(1)"], env={{}}, kinds=("namespace", "seccomp", "none"))
print(json.dumps([done.kind, done.stdout, done.refused_kinds["seccomp"]]))
"""
    done = python(code, kinds=("namespace", "seccomp"))

    assert json.loads(done.stdout) == ["none", "1\n", "system-call filter: Device or resource busy"], done.stderr


def test_no_fence_at_all_is_an_error_that_names_each_reason() -> None:
    with pytest.raises(OSError, match="nothing: there is no such fence"):
        python("pass", kinds=("nothing",))


def test_without_a_log_nothing_is_called_counted() -> None:
    assert not python("pass", kinds=("none",)).counted
    if here("unshare"):
        done = python(tries(f"socket.create_connection(('{VENDOR}', 443), 3)"), kinds=("unshare",))

        assert done.stdout.strip() == "OSError"
        assert not done.counted
        assert done.unlogged is None


def test_every_kind_says_what_it_does_not_stop(kind: str) -> None:
    assert python("pass", kinds=(kind,)).limits


def test_lines_come_as_they_are_said_and_in_pieces_when_endless() -> None:
    lines: list[str] = []
    python("print('a'); print('é'); print('x' * 3000000, end='')", on_line=lines.append)

    assert lines[:2] == ["a", "é"]
    assert sum(map(len, lines[2:])) == 3000000


# --- small parts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_the_filter_is_whole_instructions_with_jumps_that_stay_inside(machine: str) -> None:
    code = program(MACHINES[machine])
    count = len(code) // 8

    assert len(code) % 8 == 0
    for here_, place in enumerate(range(0, len(code), 8)):
        if code[place] & 7 == 5:  # a jump
            assert here_ + 1 + code[place + 2] < count
            assert here_ + 1 + code[place + 3] < count


@pytest.mark.parametrize(
    ("packet", "name"),
    [
        (b"\0" * 12 + b"\3www\7example\0\0\1\0\1", "www.example"),
        (b"\0" * 12 + b"\3WWW\0\0\1\0\1", "www"),
        (b"\0" * 12 + b"\0\0\1\0\1", "."),
        (b"\0" * 12 + b"\xc0\x0c", "(unreadable query)"),
        (b"\0" * 12 + b"\x3fshort", "(unreadable query)"),
        (b"", "(unreadable query)"),
        (b"\0" * 12 + b"\2\xff\xfe\0", "\\xff\\xfe"),
    ],
)
def test_the_name_of_a_query(packet: bytes, name: str) -> None:
    assert names.question(packet) == name
    names.no_such_name(packet)  # whatever it is, it is answered


def test_the_resolvers_servers(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# x\nnameserver 10.0.0.2\nnameserver 2001:db8::1\nnameserver fe80::1%eth0\nsearch corp\n")

    assert names.name_servers(file) == ("10.0.0.2", "2001:db8::1")
    assert names.name_servers(tmp_path / "missing") == ("127.0.0.1",)


def test_another_thread_can_end_the_command(kind: str) -> None:
    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    began = time.monotonic()

    done = python("import time; print('up', flush=True); time.sleep(25)", kinds=(kind,), stop=stop)

    assert done.returncode is None
    assert time.monotonic() - began < 20
