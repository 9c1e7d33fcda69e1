"""The folder of the rings: private, on a tmpfs, one daemon's."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from framebuf.buffer import privacy
from framebuf.buffer.directory import RingDirectory, file_system
from framebuf.buffer.layout import Shape
from framebuf.buffer.ring import FrameRing
from framebuf.errors import ConfigError, RingError

SHAPE = Shape(4, 12, 8)


@pytest.fixture
def tmpfs():
    path = Path(tempfile.mkdtemp(prefix="framebuf-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def make(directory, name="gate.0.ring"):
    return FrameRing.create(directory, "gate", SHAPE, file_name=name, boot="b")


def refused(path):
    with pytest.raises(ConfigError) as refusal:
        RingDirectory.open(path)
    assert refusal.value.where == "node.ring_dir"
    assert str(path) in refusal.value.what
    assert refusal.value.remedy
    return refusal.value


def test_folder_and_files_are_the_owners_alone_whatever_the_umask(tmpfs):
    before = os.umask(0)
    try:
        with RingDirectory.open(tmpfs / "rings") as directory:
            make(directory)
            assert mode(tmpfs / "rings") == 0o700
            assert {path.name: mode(path) for path in directory.path.iterdir()} == {
                "gate.0.ring": 0o600,
                "lock": 0o600,
            }
    finally:
        os.umask(before)


def test_a_folder_that_others_may_enter_is_closed_to_them(tmpfs):
    (tmpfs / "rings").mkdir()
    (tmpfs / "rings").chmod(0o755)
    with RingDirectory.open(tmpfs / "rings"):
        assert mode(tmpfs / "rings") == 0o700


@pytest.mark.parametrize(("bits", "name"), [(0o755, "precious"), (0o1777, "lock")])
def test_a_folder_that_others_use_is_refused_and_stays_open_to_them(tmpfs, bits, name):
    folder = tmpfs / "shared"
    folder.mkdir()
    (folder / name).write_text("theirs")
    folder.chmod(bits)
    with pytest.raises(ConfigError, match=rf"others use, mode {bits:o}.*shared/framebuf"):
        RingDirectory.open(folder)
    assert mode(folder) == bits
    assert [path.name for path in folder.iterdir()] == [name]


def test_an_empty_folder_is_closed_to_others_unless_it_is_one_that_every_machine_shares(
    tmpfs, monkeypatch
):
    assert "/dev/shm" in privacy.SHARED  # empty after a boot
    folder = tmpfs / "mounted"
    folder.mkdir()
    folder.chmod(0o1777)
    with monkeypatch.context() as patched:
        patched.setattr(privacy, "SHARED", (str(folder),))
        with pytest.raises(ConfigError, match="others use, mode 1777, with 0 entries"):
            RingDirectory.open(folder)
    assert mode(folder) == 0o1777
    RingDirectory.open(folder).close()
    assert mode(folder) == 0o700


def test_a_folder_like_run_with_a_folder_called_lock_in_it_stays_open_to_others(tmpfs):
    (tmpfs / "run" / "lock").mkdir(parents=True)
    (tmpfs / "run").chmod(0o755)
    with pytest.raises(ConfigError, match="others use"):
        RingDirectory.open(tmpfs / "run")
    assert mode(tmpfs / "run") == 0o755


def test_a_folder_that_is_a_file_system_of_its_own_is_closed_to_others(tmpfs):
    (tmpfs / "rings" / "lost+found").mkdir(parents=True)
    (tmpfs / "rings").chmod(0o755)
    with RingDirectory.open(tmpfs / "rings"):
        assert mode(tmpfs / "rings") == 0o700


def test_a_folder_used_before_is_closed_to_others_again(tmpfs):
    RingDirectory.open(tmpfs / "rings").close()
    (tmpfs / "rings").chmod(0o755)
    RingDirectory.open(tmpfs / "rings").close()
    assert mode(tmpfs / "rings") == 0o700


def test_a_link_to_a_folder_is_refused(tmpfs):
    (tmpfs / "real").mkdir()
    (tmpfs / "link").symlink_to("real")
    refused(tmpfs / "link")
    assert list((tmpfs / "real").iterdir()) == []


def test_a_link_that_leads_nowhere_is_refused(tmpfs):
    (tmpfs / "link").symlink_to("nowhere")
    refused(tmpfs / "link")
    assert not (tmpfs / "nowhere").exists()


def test_a_file_in_the_folders_place_is_refused(tmpfs):
    (tmpfs / "file").write_text("mine")
    refused(tmpfs / "file")
    assert (tmpfs / "file").read_text() == "mine"


def test_a_link_in_a_rings_place_is_replaced_and_its_target_left_alone(tmpfs):
    victim = tmpfs / "victim"
    victim.write_text("precious")
    with RingDirectory.open(tmpfs / "rings") as directory:
        (directory.path / "gate.0.ring").symlink_to(victim)
        make(directory)
        assert not (directory.path / "gate.0.ring").is_symlink()
        assert (directory.path / "gate.0.ring").stat().st_size == SHAPE.file_bytes
    assert victim.read_text() == "precious"


def test_a_link_in_the_locks_place_is_refused_and_its_target_left_alone(tmpfs):
    victim = tmpfs / "victim"
    victim.write_text("precious")
    (tmpfs / "rings").mkdir(0o700)
    (tmpfs / "rings" / "lock").symlink_to(victim)
    refused(tmpfs / "rings")
    assert victim.read_text() == "precious"


def test_a_ring_of_before_is_replaced_and_who_has_it_mapped_keeps_it(tmpfs):
    with RingDirectory.open(tmpfs) as directory:
        old = make(directory)
        make(directory)
        old._memory[old.shape.pixels_at] = 77
        assert (tmpfs / "gate.0.ring").read_bytes()[old.shape.pixels_at] == 0


def test_what_cannot_be_replaced_is_a_ring_error(tmpfs):
    (tmpfs / "gate.0.ring").mkdir()
    with RingDirectory.open(tmpfs) as directory, pytest.raises(RingError, match=r"gate\.0\.ring"):
        make(directory)


def test_removing_what_is_not_there_is_no_error(tmpfs):
    with RingDirectory.open(tmpfs) as directory:
        make(directory)
        directory.remove("gate.0.ring")
        directory.remove("gate.0.ring")
        assert [path.name for path in tmpfs.iterdir()] == ["lock"]


def test_a_second_daemon_is_told_who_has_the_folder(tmpfs):
    with RingDirectory.open(tmpfs):
        for _ in range(2):
            with pytest.raises(RingError, match=rf"in use by .* pid {os.getpid()}$"):
                RingDirectory.open(tmpfs)
    with RingDirectory.open(tmpfs):
        pass


HOLDS = """
import sys, time
from pathlib import Path
from framebuf.buffer.directory import RingDirectory
with RingDirectory.open(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_the_lock_ends_with_a_killed_process(tmpfs):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, tmpfs], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(RingError, match=rf"pid {other.pid}$"):
            RingDirectory.open(tmpfs)
        other.send_signal(signal.SIGKILL)
        other.wait(60)
        with RingDirectory.open(tmpfs):
            assert (tmpfs / "lock").read_text() == f"{os.getpid()}\n"


def open_below(folder):
    """What this process has open there; elsewhere other threads open and close."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            found.append(str(descriptor.readlink()))
    return sorted(path for path in found if path.startswith(str(folder)))


def test_a_refusal_leaves_no_descriptor_open(tmpfs):
    (tmpfs / "link").symlink_to("nowhere")
    with RingDirectory.open(tmpfs):
        before = open_below(tmpfs)
        assert before
        for _ in range(3):
            refused(tmpfs / "link")
            with pytest.raises(RingError):
                RingDirectory.open(tmpfs)
        assert open_below(tmpfs) == before


def on_disk(*folders):
    """The first of the folders that coreutils, not we, calls something else than memory."""
    for folder in folders:
        said = subprocess.run(
            ["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True
        )
        if said.stdout.strip() not in ("tmpfs", "ramfs"):
            return folder
    pytest.skip("no folder here is on a disk")


def test_a_folder_on_a_disk_is_refused_with_a_remedy(tmp_path):
    where = on_disk(tmp_path, Path(__file__).parent)
    with tempfile.TemporaryDirectory(dir=where) as path:
        refusal = refused(Path(path))
        assert f"is on {file_system(Path(path))}" in refusal.what
        assert "tmpfs" in refusal.remedy
        assert list(Path(path).iterdir()) == []


def test_a_path_through_a_link_is_judged_by_where_it_leads(tmpfs, tmp_path):
    where = on_disk(tmp_path, Path(__file__).parent)
    with tempfile.TemporaryDirectory(dir=where) as path:
        (tmpfs / "away").symlink_to(path)
        refused(tmpfs / "away" / "rings")


def test_a_folder_of_another_user_is_refused(tmpfs):
    path = tmpfs
    if os.geteuid() == 0:
        os.chown(tmpfs, 65534, 65534)
    else:
        path = Path("/dev/shm")  # root's
    before = mode(path)
    assert "belongs to another user" in refused(path).what
    assert mode(path) == before


# room -----------------------------------------------------------------------------------------


def test_no_room_is_a_ring_error_that_says_how_much_is_needed_where(tmpfs, monkeypatch):
    def full(descriptor, offset, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with RingDirectory.open(tmpfs) as directory:
        before = open_below(tmpfs)
        assert before
        monkeypatch.setattr(os, "posix_fallocate", full)
        shape = Shape(100, 2**20, 200)
        with pytest.raises(RingError) as refusal:
            FrameRing.create(directory, "gate", shape, file_name="gate.0.ring", boot="b")
        assert str(refusal.value).startswith(f"{tmpfs}: No space left on device; camera gate ")
        assert "needs 100 MiB" in str(refusal.value)
        assert [path.name for path in tmpfs.iterdir()] == ["lock"]
        assert open_below(tmpfs) == before


def test_a_ring_that_a_tmpfs_has_no_room_for_takes_none_of_what_others_have(tmpfs, monkeypatch):
    taken = []
    with RingDirectory.open(tmpfs) as directory:
        told = os.statvfs(tmpfs)
        left = os.statvfs_result((told.f_bsize, told.f_frsize, 100, 3, 3, *told[5:]))
        monkeypatch.setattr(os, "fstatvfs", lambda _: left)
        monkeypatch.setattr(os, "posix_fallocate", lambda *asked: taken.append(asked[1:]))
        with pytest.raises(RingError, match="No space left on device"):
            directory.map_new("gate.0.ring", 4 * told.f_frsize, 4 * told.f_frsize, "camera gate")
        assert [path.name for path in tmpfs.iterdir()] == ["lock"]
        size = 3 * told.f_frsize
        directory.map_new("gate.0.ring", size, size, "camera gate").close()
        assert taken == [(0, size)]


FILLS = """
import sys
from pathlib import Path
from framebuf.buffer.directory import RingDirectory
from framebuf.buffer.layout import Shape
from framebuf.buffer.ring import FrameRing
from framebuf.errors import RingError

with RingDirectory.open(Path(sys.argv[1])) as directory:
    made = []
    try:
        while True:
            name = f"gate.{len(made)}.ring"
            shape = Shape(4, int(sys.argv[2]), 8)
            made.append(FrameRing.create(directory, "gate", shape, file_name=name, boot="b"))
            made[-1]._memory[-1] = 1
    except RingError as error:
        print(len(made), len(list(directory.path.iterdir())), error)
"""


@pytest.mark.parametrize(
    ("options", "frame_bytes", "made"),
    [("size=1m", 2**16, 3), ("size=1m,nr_inodes=6", 12, 4)],
)
def test_a_tmpfs_that_is_full_ends_in_that_error_not_in_a_bus_error(
    tmpfs, options, frame_bytes, made
):
    script = f'mount -t tmpfs -o {options} none "$1" && exec "$2" -c "$3" "$1" {frame_bytes}'
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", tmpfs, sys.executable, FILLS],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if "unshare" in run.stderr or "mount" in run.stderr:
        pytest.skip("no mounting here")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(f"{made} {made + 1} ")
    assert "No space left on device" in run.stdout
