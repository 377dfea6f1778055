"""The launcher keyshepherd-exec, as a process: what it prints, how it ends, and what the program behind it sees.

    KEYSHEPHERD_EXEC   the program (default: build/dev/keyshepherd-exec)
    PARSEENV           kubelet's own env-file reader (default: hack/tools.sh's, when it is there)
"""

import glob
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXEC = os.environ.get("KEYSHEPHERD_EXEC") or str(ROOT / "build/dev/keyshepherd-exec")
CANARY = b"sk-canary-5b1f0c"  # in every secret value here; in no output of the launcher
REF = b"keyshepherd:ai-apis/data/holysheep#api_key"
ENV = shutil.which("env")
CONFIGURATION, NOT_EXECUTABLE, NOT_FOUND, USAGE = 78, 126, 127, 2


def setup_module():
    assert os.access(EXEC, os.X_OK), f"no launcher at {EXEC}: build it, or name it in KEYSHEPHERD_EXEC"


def launch(*argv, env=None, **more):
    """Runs the launcher with nothing but `env` in its environment."""
    done = subprocess.run([EXEC, *argv], env=env or {}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20,
                          stdin=subprocess.DEVNULL, **more)
    assert CANARY not in done.stderr
    return done


def seen(done):
    """The environment that `env -0` printed."""
    assert done.returncode == 0, done.stderr
    return dict(entry.split(b"=", 1) for entry in done.stdout.split(b"\0") if entry)


@pytest.fixture
def env_dir(tmp_path):
    directory = tmp_path / "env"
    directory.mkdir()
    return directory


def references(env_dir, *names, **more):
    env = {name: REF for name in names}
    return {b"KEYSHEPHERD_ENV_DIR": os.fsencode(env_dir), **env, **{k.encode(): v for k, v in more.items()}}


def refused(done, code, *words):
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stdout == b""
    assert done.stderr.startswith(b"keyshepherd-exec: ")
    for word in words:
        assert (word if isinstance(word, bytes) else os.fsencode(word)) in done.stderr, done.stderr


# ---- exec: values


def test_reference_becomes_the_value_and_nothing_else_changes(env_dir):
    (env_dir / "holysheep.env").write_bytes(b"HOLYSHEEP_API_KEY='" + CANARY + b"'\nOTHER='x'\n")
    env = references(env_dir, b"HOLYSHEEP_API_KEY", PLAIN=b"stays", OTHER=b"mine", EMPTY=b"")
    assert seen(launch("--", ENV, "-0", env=env)) == {**env, b"HOLYSHEEP_API_KEY": CANARY}


def test_a_reference_of_a_template_that_an_earlier_version_injected_is_read(env_dir):
    (env_dir / "a.env").write_bytes(b"KEY='" + CANARY + b"'\nOTHER='" + CANARY + b"2'\n")
    env = references(env_dir, b"OTHER", KEY=b"vault:ai-apis/data/holysheep#api_key")
    assert seen(launch("--", ENV, "-0", env=env)) == {**env, b"KEY": CANARY, b"OTHER": CANARY + b"2"}


def test_order_of_the_environment_is_kept_and_a_doubled_variable_gets_the_value_twice(env_dir):
    (env_dir / "a.env").write_bytes(b"B='" + CANARY + b"'\n")
    script = (f"import os,ctypes;e=[b'A=1',b'B={REF.decode()}',b'C=3',b'B={REF.decode()}',b'noequals',"
              f"b'KEYSHEPHERD_ENV_DIR={env_dir}',None];"
              f"v=[b'x',b'--',b'/bin/cat',b'/proc/self/environ',None];"
              "c=lambda l:(ctypes.c_char_p*len(l))(*l);ctypes.CDLL(None).execve(os.fsencode(%r),c(v),c(e))" % EXEC)
    out = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout
    assert out.split(b"\0")[:5] == [b"A=1", b"B=" + CANARY, b"C=3", b"B=" + CANARY, b"noequals"]


@pytest.mark.parametrize("value", [
    b"a b  c ", b"line 1\nline 2\n\n  line 4", b"$(X) ${X} $X `id`", b"a=b==", b"#not a comment # at all", b"\\n",
    b'"double"', b"\xff\xfe\x80 latin \xe9", "中文 🌍".encode(), b"\t\x01\x1b[31m", b" ", b"vault:other/path#key", b"-----BEGIN\n=x\n-----",
])
def test_value_survives_byte_for_byte(env_dir, value):
    (env_dir / "a.env").write_bytes(b"KEY='" + value + b"'\n")
    assert seen(launch("--", ENV, "-0", env=references(env_dir, b"KEY")))[b"KEY"] == value


@pytest.mark.parametrize("size", [60_000, 65_529])
def test_long_value(env_dir, size):
    value = (CANARY * 5000)[:size]
    (env_dir / "a.env").write_bytes(b"KEY='" + value + b"'\n")  # 65,529 + KEY='' is the longest line there is
    assert seen(launch("--", ENV, "-0", env=references(env_dir, b"KEY")))[b"KEY"] == value


def test_value_that_no_process_can_take_is_refused_with_the_reason(env_dir):
    (env_dir / "a.env").write_bytes(b"KEY='" + (CANARY * 100 + b"\n") * 120 + b"'\n")  # 190 KB
    refused(launch("--", ENV, "-0", env=references(env_dir, b"KEY")), NOT_EXECUTABLE, "128 KiB")


@pytest.mark.parametrize("value", [b"vault", b"vault:8200", b"vault://host/path#key", b"vault:8200/ui#x", b"vault:v1:abc/def#x", b"vault:", b"vault:path", b"vault:#key", b"vault:path#",
                                   b"VAULT:path#key", b" vault:path#key", b"https://vault:8200/#x", b"keyshepherd:", b"keyshepherd://a/b#c", b"keyshepherd:#k", b"keyshepherd:path#", b""])
def test_what_is_no_reference_is_not_touched_and_needs_no_files(value):
    env = {b"KEY": value, b"KEYSHEPHERD_ENV_DIR": b"/nowhere"}
    assert seen(launch("--", ENV, "-0", env=env)) == env


def test_no_reference_needs_no_directory():
    assert seen(launch("--", ENV, "-0", env={b"A": b"1"})) == {b"A": b"1"}


def test_two_files_and_several_names(env_dir):
    (env_dir / "a.env").write_bytes(b"A='1'\n")
    (env_dir / "b.env").write_bytes(b"B='2'\nC='3'\n")
    got = seen(launch("--", ENV, "-0", env=references(env_dir, b"C", b"A", b"B")))
    assert (got[b"A"], got[b"B"], got[b"C"]) == (b"1", b"2", b"3")


def test_first_entry_of_a_file_wins_as_with_kubelet(env_dir):
    (env_dir / "a.env").write_bytes(b"A='1'\nA='2'\n")
    assert seen(launch("--", ENV, "-0", env=references(env_dir, b"A")))[b"A"] == b"1"
    (env_dir / "a.env").write_bytes(b"A='1'\nA='2'\nB='3'\n")
    assert seen(launch("--", ENV, "-0", env=references(env_dir, b"A", b"B")))[b"A"] == b"1"


def test_only_env_files_are_read(env_dir):
    bad = b"A='" + CANARY + b"\n"
    for name in ("a.env.tmp", "a.txt", ".hidden.env", ".env", "env"):
        (env_dir / name).write_bytes(bad)
    (env_dir / "folder.env").mkdir()
    os.mkfifo(env_dir / "pipe.env")
    (env_dir / "real").write_bytes(b"A='1'\n")
    (env_dir / "link.env").symlink_to("real")
    assert seen(launch("--", ENV, "-0", env=references(env_dir, b"A")))[b"A"] == b"1"


# ---- exec: refusals


def test_missing_values_are_all_named_with_the_way_out(env_dir):
    (env_dir / "a.env").write_bytes(b"B='" + CANARY + b"'\n")
    done = launch("--", ENV, env=references(env_dir, b"A", b"B", b"C"))
    refused(done, CONFIGURATION, "A, C", env_dir, "keyshepherd-agent", "annotations")
    assert done.stderr.count(b"\n") == 1


def test_same_key_in_two_files_names_both(env_dir):
    for name in ("b.env", "c.env.old", "a.env"):  # directories list what is new first or last, never sorted
        (env_dir / name).write_bytes(b"A='" + CANARY + b"'\n")
    refused(launch("--", ENV, env=references(env_dir, b"A")), CONFIGURATION,
            f"A is defined in two files, {env_dir}/a.env and {env_dir}/b.env")


@pytest.mark.parametrize("text", [b"A=''\n", b"A= '" + CANARY + b"'\n"])
def test_empty_value_is_refused_as_kubelet_refuses_it(env_dir, text):
    (env_dir / "a.env").write_bytes(text)
    refused(launch("--", ENV, env=references(env_dir, b"A")), CONFIGURATION, "the value of A in", "empty")


def test_nul_byte_in_a_value_is_refused(env_dir):
    (env_dir / "a.env").write_bytes(b"A='" + CANARY + b"\0x'\n")
    refused(launch("--", ENV, env=references(env_dir, b"A")), CONFIGURATION, "NUL")


@pytest.mark.parametrize("line, words", [
    (b"A", "'=' is missing"), (CANARY, "'=' is missing"), (b"='" + CANARY + b"'", "the name before"), (b"A ='" + CANARY + b"'", "a space before '='"),
    (b"A=" + CANARY, "single quotes"), (b'A="' + CANARY + b'"', "single quotes"), (b"A='" + CANARY, "closing quote is missing"),
    (b"A='" + CANARY + b"'x", "closing quote"), (b"A='" + CANARY * 5000 + b"'", "64 KiB"),
    (b"A='x\n" + CANARY * 5000 + b"'", "64 KiB"),
])
def test_bad_line_is_named_by_file_and_number(env_dir, line, words):
    (env_dir / "a.env").write_bytes(b"# one\n\n" + line + b"\n")
    number = "line 4" if line.startswith(b"A='x\n") else "line 3"
    refused(launch("--", ENV, env=references(env_dir, b"A")), CONFIGURATION, env_dir / "a.env", number, words)


def test_bad_line_hurts_only_what_stands_behind_it(env_dir):
    (env_dir / "a.env").write_bytes(b"A='1'\nbad\nB='2'\n")
    assert seen(launch("--", ENV, "-0", env=references(env_dir, b"A")))[b"A"] == b"1"
    done = launch("--", ENV, env=references(env_dir, b"A", b"B"))
    refused(done, CONFIGURATION, "line 2")
    assert b"no *.env file" not in done.stderr, "B may well be there: the bad line is the one fault to name"


def test_bad_file_beside_the_good_one_is_an_error_since_the_name_may_stand_in_it(env_dir):
    (env_dir / "a.env").write_bytes(b"A='" + CANARY + b"'\n")
    (env_dir / "b.env").write_bytes(b"bad\n")
    refused(launch("--", ENV, env=references(env_dir, b"A")), CONFIGURATION, env_dir / "b.env", "line 1")


def test_absent_directory(tmp_path):
    refused(launch("--", ENV, env=references(tmp_path / "no", b"A", b"B")), CONFIGURATION, "A, B", tmp_path / "no", "No such file")


def test_default_directory_is_the_one_of_the_injector():
    if os.path.exists("/keyshepherd/env"):
        pytest.skip("this machine has /keyshepherd/env")
    refused(launch("--", ENV, env={b"A": REF}), CONFIGURATION, "/keyshepherd/env")
    refused(launch("--", ENV, env={b"A": REF, b"KEYSHEPHERD_ENV_DIR": b""}), CONFIGURATION, "/keyshepherd/env")


def test_dangling_link_is_an_error(env_dir):
    (env_dir / "a.env").symlink_to("nothing")
    refused(launch("--", ENV, env=references(env_dir, b"A")), CONFIGURATION, env_dir / "a.env", "No such file")


def as_nobody():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def open_way_to(directory):
    """Temporary directories of pytest are closed to other users."""
    for parent in [directory, *directory.parents]:
        if parent.owner() == pathlib.Path.home().owner() and parent.stat().st_mode & 0o055 != 0o055:
            parent.chmod(0o755)


def test_unreadable_file(env_dir):
    open_way_to(env_dir)
    (env_dir / "a.env").write_bytes(b"A='" + CANARY + b"'\n")
    (env_dir / "a.env").chmod(0)
    done = launch("--", ENV, env=references(env_dir, b"A"), preexec_fn=as_nobody)
    refused(done, CONFIGURATION, env_dir / "a.env", "Permission denied")


def test_hostile_variable_name_cannot_write_to_the_terminal(env_dir):
    done = launch("--", ENV, env=references(env_dir, b"A\x1b[31m\nfake\xff"))
    refused(done, CONFIGURATION, "A [31m fake?")


# ---- exec: the program


def test_pid_stays_the_same():
    child = subprocess.Popen([EXEC, "--", "/bin/sh", "-c", "echo $$"], stdout=subprocess.PIPE, env={})
    assert int(child.communicate()[0]) == child.pid


@pytest.mark.parametrize("code", [0, 1, 42, 78, 126, 255])
def test_exit_code_is_the_programs(code):
    assert launch("--", "/bin/sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGABRT, signal.SIGPIPE])
def test_death_by_signal_is_native(number):
    assert launch("--", "/bin/sh", "-c", f"kill -{int(number)} $$").returncode == -number


def test_arguments_arrive_untouched():
    argv = [b"--", b"", b"-x", b"vault:a/b#c", b"\xff\xfe", b"a b\nc", b"$(X)", "中".encode(), b"--help"]
    script = "import os,sys;sys.stdout.buffer.write(b'\\0'.join(open('/proc/self/cmdline','rb').read().split(b'\\0')[3:-1]))"
    done = launch("--", sys.executable, "-c", script, *argv)
    assert done.stdout.split(b"\0") == argv


def test_first_argument_is_the_word_that_was_given():
    done = launch("--", "cat", "/proc/self/cmdline", env={b"PATH": b"/nonexistent:/usr/bin:/bin"})
    assert done.stdout == b"cat\0/proc/self/cmdline\0"


def test_stdin_and_working_directory_and_no_stray_descriptors(tmp_path, env_dir):
    (env_dir / "a.env").write_bytes(b"A='1'\n")
    script = "import os,sys;print(os.getcwd(),sys.stdin.read(),sorted(os.listdir('/proc/self/fd')))"
    done = subprocess.run([EXEC, "--", sys.executable, "-c", script], input=b"in", stdout=subprocess.PIPE, cwd=tmp_path,
                          env=references(env_dir, b"A"))
    assert done.stdout.decode() == f"{tmp_path} in ['0', '1', '2', '3']\n"  # 3 is the listing itself


def test_limits_and_core_dumps_of_the_program_are_as_before(env_dir):
    (env_dir / "a.env").write_bytes(b"A='1'\n")
    script = "import ctypes,resource;print(ctypes.CDLL(None).prctl(3,0,0,0,0),resource.getrlimit(resource.RLIMIT_CORE))"
    done = launch("--", sys.executable, "-c", script, env=references(env_dir, b"A"))
    assert done.stdout.decode().strip() == f"1 {resource.getrlimit(resource.RLIMIT_CORE)}"


def test_no_core_file_and_no_tracing_while_it_holds_values(env_dir):
    """/proc/PID belongs to root while the process is not dumpable. A large file makes the moment long enough to see."""
    open_way_to(env_dir)
    (env_dir / "a.env").write_bytes(b"A='" + CANARY + b"'\n")
    with open(env_dir / "b.env", "wb") as large:
        large.truncate(256 << 20)
    child = subprocess.Popen([EXEC, "--", ENV], env=references(env_dir, b"A"), preexec_fn=as_nobody, stderr=subprocess.PIPE)
    owners = set()
    while child.poll() is None and 0 not in owners:
        try:
            owner = os.stat(f"/proc/{child.pid}/environ").st_uid
            if b"VmRSS" in pathlib.Path(f"/proc/{child.pid}/status").read_bytes():  # else it is ending, and root's again
                owners.add(owner)
        except (FileNotFoundError, ProcessLookupError):
            pass
    assert b"64 KiB" in child.communicate()[1] and child.returncode == CONFIGURATION
    assert 0 in owners


def test_signal_mask_and_handlers_are_as_before():
    script = "grep -E '^Sig(Blk|Ign)' /proc/self/status"
    direct = subprocess.run(["/bin/sh", "-c", script], stdout=subprocess.PIPE, env={}).stdout
    assert launch("--", "/bin/sh", "-c", script).stdout == direct


@pytest.fixture
def bins(tmp_path):
    """Three directories of PATH; make(n, name, …) puts a script into one."""
    def make(n, name, mode=0o755, text="#!/bin/sh\necho $0\n"):
        directory = tmp_path / f"bin{n}"
        directory.mkdir(exist_ok=True)
        (directory / name).write_text(text)
        (directory / name).chmod(mode)
        return str(directory / name)
    make.path = ":".join(str(tmp_path / f"bin{n}") for n in (1, 2, 3)).encode()
    return make


def test_path_is_searched_in_order(bins):
    bins(1, "other"), bins(2, "app"), bins(3, "app")
    assert launch("--", "app", env={b"PATH": bins.path}).stdout.endswith(b"/bin2/app\n")


def test_one_that_is_not_executable_does_not_hide_one_that_is(bins):
    bins(1, "app", mode=0o644), bins(2, "other"), bins(3, "app")
    assert launch("--", "app", env={b"PATH": bins.path}).stdout.endswith(b"/bin3/app\n")


def test_path_can_itself_come_out_of_the_files(bins, env_dir):
    bins(1, "app")
    (env_dir / "a.env").write_bytes(b"PATH='" + bins.path + b"'\n")
    assert launch("--", "app", env=references(env_dir, b"PATH")).stdout.endswith(b"/bin1/app\n")


def test_empty_element_of_path_is_the_working_directory(bins, tmp_path):
    bins(1, "app")
    for path in (b"", b":/nowhere", b"/nowhere:", b"/nowhere::/none"):
        assert launch("--", "app", env={b"PATH": path}, cwd=tmp_path / "bin1").stdout == b"app\n"


def test_default_path():
    assert launch("--", "true", env={}).returncode == 0
    assert launch("--", "sh", "-c", "exit 7", env={}).returncode == 7


def test_program_with_a_slash_is_relative_to_the_working_directory(bins, tmp_path):
    bins(1, "app")
    assert launch("--", "./bin1/app", cwd=tmp_path, env={b"PATH": b"/nowhere"}).stdout == b"./bin1/app\n"


def test_search_ends_where_the_runtimes_would(bins):
    bins(1, "app", text="no interpreter line\n"), bins(3, "app")
    refused(launch("--", "app", env={b"PATH": bins.path}), NOT_EXECUTABLE, "bin1/app", "#!")
    bins(1, "app", text="#!/nonexistent/python\n")
    assert launch("--", "app", env={b"PATH": bins.path}).stdout.endswith(b"/bin3/app\n")  # execvpe goes on here


@pytest.mark.parametrize("program", ["/nonexistent/app", "nonexistent-app", "", "/bin/sh/app", "./nope"])
def test_program_that_is_not_there(program):
    refused(launch("--", program, env={b"PATH": b"/usr/bin:/bin"}), NOT_FOUND, program)


def test_program_that_cannot_be_executed(bins, tmp_path):
    refused(launch("--", str(tmp_path)), NOT_EXECUTABLE, tmp_path, "Permission denied")
    app = bins(1, "app", mode=0o644)
    refused(launch("--", app), NOT_EXECUTABLE, app, "Permission denied")
    refused(launch("--", "app", env={b"PATH": bins.path}), NOT_EXECUTABLE, app, "Permission denied")


def test_script_without_interpreter_line_is_refused_as_the_runtime_would(bins):
    refused(launch("--", bins(1, "app", text="echo hello\n")), NOT_EXECUTABLE, "#!")
    refused(launch("--", "app", env={b"PATH": bins.path}), NOT_EXECUTABLE, "#!")


def test_absent_interpreter_is_told_from_an_absent_program(bins):
    app = bins(1, "app", text="#!/nonexistent/python\n")
    refused(launch("--", app), NOT_EXECUTABLE, app, "interpreter")
    refused(launch("--", "app", env={b"PATH": bins.path}), NOT_EXECUTABLE, app, "interpreter")


def test_secret_is_in_no_failure_of_the_program(env_dir, bins):
    (env_dir / "a.env").write_bytes(b"A='" + CANARY + b"'\n")
    for program in ("/nonexistent", "nonexistent", bins(1, "app", mode=0o644), "/tmp", bins(1, "text", text="x")):
        assert launch("--", program, env=references(env_dir, b"A")).returncode in (126, 127)


# ---- an image with nothing in it


def in_empty_root(root, *argv, env=None):
    if os.geteuid() == 0:
        def enter():
            os.chroot(root)
            os.chdir("/")
        return subprocess.run(argv, env=env or {}, preexec_fn=enter, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return subprocess.run(["unshare", "-r", f"--root={root}", *argv], env=env or {}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture
def empty_root(tmp_path):
    root = tmp_path / "root"
    (root / "keyshepherd/bin").mkdir(parents=True)
    shutil.copy(EXEC, root / "keyshepherd/bin/keyshepherd-exec")
    shutil.copy(EXEC, root / "app")
    return root


def test_runs_in_an_empty_root(empty_root):
    done = in_empty_root(empty_root, "/keyshepherd/bin/keyshepherd-exec", "--", "/app", "version")
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.startswith(b"keyshepherd-exec ")


def test_reads_the_default_directory_in_an_empty_root(empty_root):
    (empty_root / "keyshepherd/env").mkdir()
    (empty_root / "keyshepherd/env/holysheep.env").write_bytes(b"KEY='" + CANARY + b"'\n")
    argv = ["/keyshepherd/bin/keyshepherd-exec", "--", "/app", "check", "KEY"]
    assert in_empty_root(empty_root, *argv, env={b"KEY": REF}).returncode == 0
    done = in_empty_root(empty_root, *argv, env={b"OTHER": REF})
    assert done.returncode == CONFIGURATION and b"OTHER" in done.stderr


def test_failures_are_left_in_the_termination_message(empty_root):
    (empty_root / "dev").mkdir()
    log = empty_root / "dev/termination-log"
    program = "/keyshepherd/bin/keyshepherd-exec"
    in_empty_root(empty_root, program, "check", "A")
    assert not log.exists(), "kubelet makes the file; outside a pod there is none"
    for argv, env in ((["check", "A"], {}), (["--", "/app"], {b"A": REF}), (["--", "/nothing"], {}), (["install", "/"], {})):
        log.write_bytes(b"something older and longer than the message" * 50)
        done = in_empty_root(empty_root, program, *argv, env=env)
        assert done.returncode in (1, 78, 127) and log.read_bytes() == done.stderr != b""
    log.write_bytes(b"")
    assert in_empty_root(empty_root, program, "probe", "/f", "/l").returncode == 1
    assert in_empty_root(empty_root, program, "check", "A", env={b"A": b"1"}).returncode == 0
    assert log.read_bytes() == b""


# ---- install


def test_install_copies_itself(tmp_path):
    old = os.umask(0o077)
    try:
        assert launch("install", str(tmp_path)).returncode == 0
    finally:
        os.umask(old)
    copy = tmp_path / "keyshepherd-exec"
    assert copy.read_bytes() == pathlib.Path(EXEC).read_bytes()
    assert copy.stat().st_mode & 0o7777 == 0o555
    assert [p.name for p in tmp_path.iterdir()] == ["keyshepherd-exec"]
    assert subprocess.run([copy, "version"], stdout=subprocess.PIPE).stdout.startswith(b"keyshepherd-exec")


def test_install_again_over_one_that_runs(tmp_path):
    copy = tmp_path / "keyshepherd-exec"
    assert launch("install", str(tmp_path)).returncode == 0
    first = copy.stat().st_ino
    assert launch("install", str(tmp_path) + "/").returncode == 0
    assert copy.stat().st_ino != first, "a new file in one step, never a write into the old"
    assert subprocess.run([copy, "install", tmp_path]).returncode == 0  # its own program file is busy
    assert copy.read_bytes() == pathlib.Path(EXEC).read_bytes()
    copy.unlink()
    copy.write_bytes(b"old")
    assert launch("install", str(tmp_path)).returncode == 0
    assert copy.read_bytes() == pathlib.Path(EXEC).read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["keyshepherd-exec"]


def test_install_refuses_clearly_and_leaves_nothing(tmp_path):
    refused(launch("install", str(tmp_path / "no")), 1, tmp_path / "no", "No such file")
    (tmp_path / "keyshepherd-exec").mkdir()
    refused(launch("install", str(tmp_path)), 1, tmp_path / "keyshepherd-exec", "directory")
    assert [p.name for p in tmp_path.iterdir()] == ["keyshepherd-exec"]


def test_install_into_a_full_volume_leaves_nothing(tmp_path):
    def small():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    refused(launch("install", str(tmp_path), preexec_fn=small), 1, tmp_path, "too large")
    assert list(tmp_path.iterdir()) == []


# ---- check


def test_check():
    assert launch("check", "A", "B", env={b"A": CANARY, b"B": b"1"}).returncode == 0
    done = launch("check", "A", "B", "C", "D", env={b"A": CANARY, b"B": b"", b"D": CANARY})
    refused(done, 1, "B is empty, C is not set", "1.35", "EnvFiles", "keyshepherd.dev/wiring: exec", "upgrade the node")
    assert done.stderr.count(b"\n") == 1
    assert b"A is" not in done.stderr and b"D is" not in done.stderr


def test_check_takes_whole_names():
    assert launch("check", "A", env={b"AB": b"1", b"a": b"1"}).returncode == 1


# ---- probe

# As OpenBao's agent 2.x wrote it (log_file, standard and JSON).
STANDARD_LOG = """\
2026-11-24T06:43:32.952Z [INFO]  agent.auth.handler: authenticating
2026-11-24T06:43:35.281Z [ERROR] agent.auth.handler: error authenticating:
  error=
  | Error making API request.
  | 
  | URL: PUT http://127.0.0.1:18277/v1/auth/approle/login
  | Code: 400. Errors:
  | 
  | * invalid role or secret ID
   backoff=4.04s
2026-11-24T06:43:36.296Z [INFO]  agent.exec.server: exec server stopped
2026-11-24T06:43:36.296Z [INFO]  agent: sinks finished, exiting
"""
JSON_LOG = r"""
{"@level":"error","@message":"older","@module":"agent.auth.handler"}
{"@level":"error","@message":"error authenticating","@module":"agent.auth.handler","backoff":{},"error":"Error making API request.\n\nCode: 403. Errors:\n\n* permission denied"}
{"@level":"info","@message":"authenticating","@module":"agent.auth.handler"}
"""


def probe(tmp_path, log_text=None, log="agent.log", files=("key.env",)):
    if log_text is not None:
        (tmp_path / "agent.log").write_bytes(log_text if isinstance(log_text, bytes) else log_text.encode())
    done = launch("probe", *[str(tmp_path / f) for f in files], str(tmp_path / log))
    assert done.stderr == b""
    assert len(done.stdout) <= 1000
    assert done.stdout.count(b"\n") == (0 if done.returncode == 0 else 1)
    done.stdout.decode()  # an event is UTF-8
    return done.returncode, done.stdout.decode()


def test_probe_succeeds_when_every_file_has_content(tmp_path):
    (tmp_path / "key.env").write_bytes(CANARY)
    (tmp_path / "two").write_bytes(b"x")
    assert probe(tmp_path) == (0, "")
    assert probe(tmp_path, files=("key.env", "two")) == (0, "")
    code, out = probe(tmp_path, "boom\n", files=("key.env", "three", "two"))
    assert code == 1 and "three does not exist yet; boom" in out and "key.env" not in out


def test_probe_wants_a_regular_file_with_content(tmp_path):
    (tmp_path / "key.env").write_bytes(b"")
    assert "key.env is empty; boom" in probe(tmp_path, "boom\n")[1]
    (tmp_path / "key.env").unlink()
    (tmp_path / "key.env").mkdir()
    assert "key.env is not a regular file" in probe(tmp_path)[1]


def test_probe_shows_vaults_own_words(tmp_path):
    code, out = probe(tmp_path, STANDARD_LOG)
    assert code == 1
    assert out.endswith("key.env does not exist yet; 2026-11-24T06:43:35.281Z [ERROR] agent.auth.handler: error authenticating: "
                        "error= Error making API request. URL: PUT http://127.0.0.1:18277/v1/auth/approle/login Code: 400. "
                        "Errors: * invalid role or secret ID backoff=4.04s\n")
    assert "* permission denied" in probe(tmp_path, JSON_LOG)[1]
    assert "older" not in probe(tmp_path, JSON_LOG)[1]


@pytest.mark.parametrize("log, want", [
    ("1 [ERROR] a\n2 [WARN] b\n3 [INFO] c\n", "2 [WARN] b"),
    ("1 [WARN]  b\n2 [ERROR] a\n3 [INFO] c\n", "2 [ERROR] a"),
    ("1 [ERROR] agent.template.server: template server error: error=\"why\"\n2 [INFO]  agent: (runner) stopping\n"
     "3 [WARN]  agent.template.server: template server restart: retry attempt after 832.842089ms\n4 [INFO]  d\n",
     "1 [ERROR] agent.template.server: template server error: error=\"why\""),
    ("1 [WARN]  agent: (view) vault.read(a): permission denied (retry attempt 1 after \"250ms\")\n2 [INFO] c\n",
     "1 [WARN]  agent: (view) vault.read(a): permission denied (retry attempt 1 after \"250ms\")"),
    ("1 [ERR] (runner) a\n2 [INFO] c\n", "1 [ERR] (runner) a"),
    ('{"@level":"warn","@message":"w"}\n{"@level":"info"}\n', '{"@level":"warn","@message":"w"}'),
    ("1 [INFO] a\n2 [INFO] b\n\n   \n", "2 [INFO] b"),
    ("1 [INFO] a\n  more\n2", "2"),
    ("one without an end", "one without an end"),
    ("tab\there\r\n", "tab here"),
])
def test_probe_chooses_the_line(tmp_path, log, want):
    assert probe(tmp_path, log)[1].rstrip("\n").split("; ", 1)[1] == want


def test_probe_before_the_agent_started(tmp_path):
    assert "the agent has not started yet" in probe(tmp_path)[1]
    assert "the agent has not started yet" in probe(tmp_path, log="no/such/agent.log")[1]
    assert "has not logged anything yet" in probe(tmp_path, "\n")[1]


def test_probe_takes_the_newest_of_rotated_logs(tmp_path):
    for age, name in ((30, "agent-1.log"), (10, "agent-2.log"), (20, "agent-3.log"), (0, "agent2.log"), (0, "agent-4.txt"),
                      (0, "other-agent-5.log")):
        (tmp_path / name).write_text(f"from {name}\n")
        os.utime(tmp_path / name, (10**9 - age, 10**9 - age))
    (tmp_path / "agent-9.log").mkdir()
    assert "from agent-2.log" in probe(tmp_path)[1]
    assert "from the exact one" in probe(tmp_path, "from the exact one\n")[1]


def test_probe_reads_a_bare_name_in_the_working_directory(tmp_path):
    (tmp_path / "agent-1.log").write_text("hello\n")
    assert b"x does not exist yet; hello" in launch("probe", "x", "agent.log", cwd=tmp_path).stdout
    (tmp_path / "agent.log").write_text("bye\n")
    assert b"; bye" in launch("probe", "x", "agent.log", cwd=tmp_path).stdout


def test_probe_reads_only_the_end_and_no_half_line(tmp_path):
    info = b"2026 [INFO] nothing\n"
    assert "[ERROR] the end" in probe(tmp_path, info * 100_000 + b"[ERROR] the end\n" + info * 100)[1]
    text = b"[ERROR] " + b"x" * 16_000 + b" tail\n" + b"y" * 600 + b"\n"
    assert probe(tmp_path, text)[1].rstrip("\n").endswith("; " + "y" * 600)
    assert probe(tmp_path, b"x" * 16_384 + b" [ERROR] half\n[INFO] whole\n")[1].endswith("; [INFO] whole\n")
    assert probe(tmp_path, b"x" * 20_000 + b"\n")[1].endswith("x…\n"), "half a line is better than nothing"


def test_probe_output_is_short_clean_utf8(tmp_path):
    for shift in ("", "x", "xx", "xxx"):
        assert probe(tmp_path, "[ERROR] " + shift + "é" * 5000 + "\n")[1].endswith("é…\n")
        assert probe(tmp_path, "[ERROR] " + shift + "🌍" * 2500 + "\n")[1].endswith("🌍…\n")
    out = probe(tmp_path, b"[ERROR] \x1b[31mred\x07 \xff\xc3 \xed\xa0\x80 \xc2\x85 \xf0\x9f\x8c\x8d\x00end\n")[1]
    assert out.rstrip("\n").endswith("; [ERROR]  [31mred  ?? ???   🌍 end"), out
    code, out = probe(tmp_path, "[ERROR] the reason\n", files=["x" * 200 + str(i) for i in range(9)])
    assert "[ERROR] the reason" in out, "many files do not push the reason out"


def test_probe_with_an_unreadable_log(tmp_path):
    (tmp_path / "agent.log").symlink_to("agent.log")
    assert "cannot be read" in probe(tmp_path)[1]


# ---- the command line


def test_version_and_help():
    for argv in (["version"], ["--version"]):
        done = launch(*argv)
        assert done.returncode == 0 and done.stdout.startswith(b"keyshepherd-exec ") and done.stdout.count(b"\n") == 1
    for argv in (["--help"], ["-h"], ["help"]):
        done = launch(*argv)
        assert done.returncode == 0 and done.stderr == b""
        for word in (b"PROGRAM", b"install DIR", b"check VAR", b"probe FILE", b"version", b"78", b"KEYSHEPHERD_ENV_DIR"):
            assert word in done.stdout


@pytest.mark.parametrize("argv", [
    [], ["--"], ["--nonsense"], ["-x", "--", "true"], ["--nonsense", "--", "true"], ["/bin/true"], ["nonsense"], [""],
    ["install"], ["install", "a", "b"], ["install", "--force"], ["check"], ["check", "-q"], ["check", "A=B"], ["check", ""],
    ["probe"], ["probe", "a"], ["probe", "-q", "a", "b"],
])
def test_wrong_usage(argv):
    done = launch(*argv)
    refused(done, USAGE)
    assert b"Usage:" in done.stderr


# ---- the grammar, against kubelet's own reader

PARSEENV = os.environ.get("PARSEENV") or next(iter(glob.glob(os.path.expanduser("~/.cache/keyshepherd/tools-*/bin/parseenv"))), None)
if os.environ.get("PARSEENV"):
    assert os.access(PARSEENV, os.X_OK), f"PARSEENV={PARSEENV} is no program"
with_oracle = pytest.mark.skipif(not PARSEENV, reason="no parseenv: run hack/tools.sh, or name it in PARSEENV")

LINE = 65536
TABLE = [
    # good
    b"KEY='v'", b"KEY='v'\n", b"KEY='v'\r\n", b"\n\n \t\nKEY='v'\n", b"   KEY='v'\n", b"\tKEY='v'\n", b"# c\n  # c\nKEY='v'\n",
    b"KEY='v' # c\n", b"KEY='v'# c\n", b"KEY='v'   \n", b"KEY='v'\t#'\n", b"KEY='a=b'\n", b"KEY='#'\n", b"KEY=' v '\n",
    b"KEY='a\nb'\n", b"KEY='a\r\nb\r\n'\n", b"KEY='\n'\n", b"KEY='\n\n\n'\n", b"KEY='a\n# not a comment\nX='\n", b"KEY='a\n'#c\n",
    b"KEY='a\n   b'\n", b"KEY='$(X) ${X} $X'\n", b"KEY='\\n'\n", b"KEY='\"'\n", b"KEY='\xff\xfe'\n", "KEY='中🌍'\n".encode(),
    b"KEY='a\tb\x0bc\x0cd'\n", b"KEY='v'\nKEY='w'\n", b"A='1'\nKEY='2'\nB='3'\n", b"KEY='v'\nbad\n", b"KEY='v'\nB='open\n",
    b"KEY='vault:a#b'\n", b"A= 'x'\nKEY='v'\n", b"A= junk ' junk\nKEY='v'\n", b"A=\t\nKEY='v'\n", b"export KEY='v'\nKEY='w'\n",
    b"A B='1'\nKEY='v'\n", b"KEY2='v'\nKEY='w'\n", b"'KEY'='x'\nKEY='v'\n", b"key='x'\nKEY='v'\n", b"A='KEY='\nKEY='v'\n",
    b"KEY='v'\r", b"KEY='a\r'\n", b"KEY='a\rb'\n", b"#\r\nKEY='v'\n", b"KEY='a\r\r\nb'\n", b"KEY='v'  \x23\n",
    # good by length
    b"KEY='" + b"x" * (LINE - 7) + b"'\n", b"KEY='" + b"x" * (LINE - 7) + b"'", b"#" * (LINE - 1) + b"\nKEY='v'\n",
    b"KEY='" + (b"x" * (LINE - 10) + b"\n") * 2 + b"'\n", b"KEY='v'\n" + b"#" * LINE + b"\n", b"A='x'\n" * 20_000 + b"KEY='v'\n",
    # empty or absent: kubelet refuses an empty result as well
    b"", b"\n", b"\r", b"KEY=''\n", b"KEY= 'v'\n", b"KEY=\t'v'\n", b"KEY= \n", b"KEY=  # c\n", b"KEY=''\nKEY='v'\n",
    b"KEY= x\nKEY='v'\n", b"OTHER='v'\n", b"KEYS='v'\n", b"KE='v'\n", b"#KEY='v'\n", b"\xef\xbb\xbfKEY='v'\n", b"KEY\0='v'\n",
    # bad
    b"KEY", b"KEY\n", b"KEY=\n", b"KEY=", b"KEY=v\n", b"KEY=\"v\"\n", b"KEY ='v'\n", b"KEY = 'v'\n", b"KEY\t='v'\n", b"A\t='1'\nKEY='v'\n",
    b"A ='1'\nKEY='v'\n", b"='v'\n",
    b" ='v'\n", b"=\n", b"KEY='v\n", b"KEY='v", b"KEY='", b"KEY='v'x\n", b"KEY='a''b'\n", b"KEY='a'\\''b'\n", b"KEY='a'b'c'\n",
    b"bad\nKEY='v'\n", b"A=1\nKEY='v'\n", b"A='1\nKEY='v'\n", b"A='1'2\nKEY='v'\n", b"KEY=\r\n", b"KEY='v'\r\r\n", b"\rKEY\n",
    b"\x0b\nKEY='v'\n", b"\xa0\nKEY='v'\n", b"\x00\nKEY='v'\n", b"KEY='v'\x0b\n", b"KEY='v'\0\n", b"KEY='a\n'b\n", b"KEY='a\nb",
    # bad by length
    b"KEY='" + b"x" * (LINE - 6) + b"'\n", b"KEY='" + b"x" * (LINE - 6) + b"'", b"#" * LINE + b"\nKEY='v'\n", b"#" * LINE + b"KEY='v'",
    b"KEY='a\n" + b"x" * LINE + b"'\n", b"KEY='" + b"x" * (LINE - 7) + b"'\r\n",
]


def compare(env_dir, text, keys):
    """Same value, or both refuse. Two differences are meant: an absent or empty value is "" to ParseEnv and an error to
    kubelet behind it (optional: false) and to the launcher; and a NUL byte inside a value, which ParseEnv hands on and no
    process can get, the launcher refuses itself."""
    file = env_dir / "a.env"
    file.write_bytes(text)
    refusals = 0
    for key in keys:
        oracle = subprocess.run([PARSEENV, file, key], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert oracle.returncode in (0, 1), oracle.stderr
        ours = launch("--", ENV, "-0", env=references(env_dir, key))
        if oracle.returncode != 0 or oracle.stdout == b"" or b"\0" in oracle.stdout:
            assert ours.returncode == CONFIGURATION, (text[:200], key, oracle, ours)
            refusals += 1
        else:
            assert ours.returncode == 0, (text[:200], key, oracle.stdout[:200], ours.stderr)
            assert seen(ours)[key] == oracle.stdout, (text[:200], key)
    return refusals


@with_oracle
@pytest.mark.parametrize("text", TABLE, ids=range(len(TABLE)))
def test_grammar_is_kubelets(env_dir, text):
    compare(env_dir, text, [b"KEY"])


@with_oracle
def test_grammar_is_kubelets_on_random_files(env_dir):
    rng = random.Random(20261124)
    pieces = [b"KEY", b"A", b"B", b"=", b"='", b"'", b"'", b"\n", b"\n", b" ", b"\t", b"#", b"x", b"\r", b"\r\n", b"\xff", b"$(A)", b"\0", b"''"]
    lines = [b"KEY='v'\n", b"A='1' # c\n", b"B='two\nlines'\n", b"# c\n", b"\n", b"A= 'e'\n", b"B=''\n"]

    def text():
        whole = [rng.choice(lines) if rng.random() < 0.6 else b"".join(rng.choices(pieces, k=rng.randint(1, 6))) for _ in range(rng.randint(1, 5))]
        if rng.random() < 0.5:  # a good file with one byte changed, taken out or put in
            whole = bytearray(b"".join(rng.choices(lines, k=rng.randint(1, 6))))
            at = rng.randrange(len(whole))
            whole[at:at + rng.randint(0, 1)] = rng.choice([b"", b"'", b"=", b" ", b"\n", b"#", b"\r", b"x"])
            return bytes(whole)
        return b"".join(whole)

    keys = [b"KEY", b"A", b"B", b"ABSENT"]
    refusals = sum(compare(env_dir, text(), keys) for _ in range(300))
    assert 100 < refusals - 300 < 900 - 100, "the generator must make both good and bad files"
