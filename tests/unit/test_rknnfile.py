from __future__ import annotations

import contextlib
import os
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framebuf.errors import ModelError
from framebuf.models.runtimes.rknnfile import RknnFile
from framebuf.models.tensor import TensorSpec
from tests.unit.rknn_files import ends, rknn, tensor

ASSETS = Path(__file__).parents[1] / "assets"
FILES = sorted(ASSETS.glob("*.rknn"))
BATCH_8 = ASSETS / "tiny-rk3588-i8-batch8.rknn"
SMALLEST = ASSETS / "tiny-rk3566-i8-batch1.rknn"
MEBIBYTE = 2**20
PICTURE = tensor("in", (1, 3, 8, 8))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "made.rknn"


def refused(path):
    with pytest.raises(ModelError) as error:
        RknnFile.read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{path}: ")


def test_a_compiled_file_tells_its_batch_tensors_and_quantisation():
    file = RknnFile.read(BATCH_8)
    (given,) = file.inputs
    assert (file.batch, given.shape, given.layout) == (8, (8, 256, 128, 3), "NHWC")
    assert (given.height, given.width) == (256, 128)
    assert (given.dtype, round(given.scale, 6), given.zero_point) == ("int8", 0.018658, -14)
    assert given.mean == (123.675, 116.28, 103.53)
    assert given.std == (58.395, 57.12, 57.375)
    assert [(each.name, each.shape, each.dtype) for each in file.outputs] == [
        ("embedding", (8, 32), "int8"),
        ("logits", (8, 10), "int8"),
    ]
    assert [(round(each.scale, 6), each.zero_point) for each in file.outputs] == [
        (0.013739, 7),
        (0.018194, 39),
    ]
    assert (file.format, file.toolkit, file.framework) == (6, "2.5.0", "ONNX")
    assert file.compiler.startswith("2.5.0(compiler version: 2.5.0 ")
    assert (file.platforms, file.quantisation) == (("rk3588",), "int8")
    assert (file.custom, file.said.labels) == ("labels=a,b,c", ("a", "b", "c"))


def test_the_runtime_takes_uint8_pictures_and_gives_float32_whatever_the_file_stores():
    for name in ("tiny-rk3588-i8-batch8.rknn", "tiny-rk3588-fp-batch8.rknn"):
        file = RknnFile.read(ASSETS / name)
        assert file.runtime_input == TensorSpec("images", (8, 256, 128, 3), "uint8", "NHWC")
        assert file.runtime_outputs == (
            TensorSpec("embedding", (8, 32), "float32"),
            TensorSpec("logits", (8, 10), "float32"),
        )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_what_its_name_says(file):
    _, chip, kind, batch = file.stem.split("-")
    read = RknnFile.read(file)
    assert read.platforms == (chip,)
    assert read.batch == read.inputs[0].batch == int(batch.removeprefix("batch"))
    assert read.inputs[0].dtype == {"i8": "int8", "fp": "float16"}[kind]
    assert (read.inputs[0].scale is None) == (kind == "fp")
    assert read.quantisation == {"i8": "int8", "fp": None}[kind]


def test_a_file_without_notes_or_custom_string_is_read_all_the_same(path):
    file = RknnFile.read(rknn(path))
    assert file.inputs[0].shape == (4, 20, 10, 3)
    assert (file.inputs[0].mean, file.inputs[0].std) == (None, None)
    assert (file.custom, file.said.labels) == ("", ())
    assert file.toolkit == "2.3.2"


def test_a_file_without_words_in_its_json_has_those_of_its_flatbuffer(path):
    file = RknnFile.read(rknn(path, document={}, fields={7: "1.6.0(compiler …)"}))
    assert (file.platforms, file.toolkit) == (("rk3588",), "1.6.0(compiler …)")


def test_a_file_for_several_chips_names_them_all(path):
    document = {"version": "2.3.2", "target_platform": ["RK3566", "rk3568"]}
    assert RknnFile.read(rknn(path, document=document)).platforms == ("rk3566", "rk3568")


@pytest.mark.parametrize("form", [1, 2, 6, 0x1_0000_0006])
def test_old_formats_have_a_shorter_header(path, form):
    file = RknnFile.read(rknn(path, form=form))
    assert (file.format, file.batch) == (form, 4)


@pytest.mark.parametrize(("text", "batch"), [("0", 1), ("", 1), (None, 1), ("1", 1), ("16", 16)])
def test_a_batch_of_zero_is_none(path, text, batch):
    file = RknnFile.read(rknn(path, fields={14: text}))
    assert file.batch == file.inputs[0].batch == file.outputs[0].batch == batch


def test_a_scale_for_each_channel_is_no_scale_of_the_tensor(path):
    graph = {
        0: [tensor("in", (1, 3, 8, 8), scales=(0.1, 0.2), zero_points=(0, 0))],
        2: ("I", (0,)),
        3: ("I", (0,)),
    }
    (given,) = RknnFile.read(rknn(path, fields={2: [graph]})).inputs
    assert (given.scale, given.zero_point) == (None, None)


@pytest.mark.parametrize(
    "notes",
    [
        "{'attrs': {'in': {'mean': [1, 2.5, -3e2], 'std': (4, 5, 6,), 'x': True, \"y\": None}}}",
        "{'attrs': {'in': {'mean': [1, 2.5, -3e2], 'std': [4, 5, 6]}}, 'z': ['it\\'s', inf, nan]}",
    ],
)
def test_mean_and_std_come_from_the_generators_notes(path, notes):
    (given,) = RknnFile.read(rknn(path, fields={3: notes})).inputs
    assert (given.mean, given.std) == ((1.0, 2.5, -300.0), (4.0, 5.0, 6.0))


@pytest.mark.parametrize(
    "notes",
    [
        "no literal", "__import__('os')", "{'attrs': 3}", "{'attrs': {'in': 3}}", "'open",
        "{'attrs': {'in': {'mean': ['a'], 'std': []}}}", "{1: 2}", "[" * 100_000, "1" * 5000,
        "{'attrs': {'in': {'mean': [inf, 1, 1], 'std': [nan]}}}",
    ],
)  # fmt: skip
def test_notes_of_another_kind_are_no_error_and_nothing_is_run(path, notes):
    (given,) = RknnFile.read(rknn(path, fields={3: notes})).inputs
    assert (given.mean, given.std) == (None, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fields": {2: None}}, "it has no graph"),
        ({"fields": {2: []}}, "it has no graph"),
        ({"fields": ends(PICTURE, inputs=())}, "it has no input"),
        ({"fields": ends(PICTURE, outputs=())}, "it has no output"),
        ({"fields": ends(PICTURE, inputs=(1,))}, "expected a tensor below 1, got 1"),
        ({"fields": ends(PICTURE, inputs=(0,) * 65)}, "field 2 has a length of 65, expected 64"),
        ({"fields": ends(tensor("in", ()))}, "tensor 'in' of batch 4 has shape ()"),
        ({"fields": ends(tensor("in", (1, 0, 8)))}, "tensor 'in' of batch 4 has shape (1, 0, 8)"),
        ({"fields": ends(tensor("in", (2**20, 2**20)))}, "tensor 'in' of batch 4 has shape (1048"),
        ({"fields": ends(tensor("in", (1,) * 17))}, "field 4 has a length of 17, expected 16"),
        ({"fields": ends(tensor("i\x1b", (1, 8), 99))}, r"tensor 'i\x1b' has element type 99"),
        ({"fields": {14: "-8"}}, "expected a batch of 4096 or less, got '-8'"),
        ({"fields": {14: "4097"}}, "expected a batch of 4096 or less, got '4097'"),
        ({"fields": {14: "٨"}}, "expected a batch of 4096 or less"),
        ({"fields": {12: "[]"}}, "expected an object as field 12, got list"),
        ({"fields": {13: "{"}}, "field 13 cannot be read"),
        ({"fields": {11: b"x" * 65537}}, "field 11 has a length of 65537, expected 65536 or less"),
        ({"document": b"[]"}, "expected an object as its JSON, got list"),
        ({"document": b"\xff\xfe"}, "its JSON cannot be read"),
        ({"document": b'{"version": "\\ud800"}'}, "its JSON cannot be read"),
        ({"document": b'{"a":' * 50_000}, "its JSON cannot be read"),
        ({"document": b"1" * 9_999}, "its JSON cannot be read"),
        ({"document": b" " * (MEBIBYTE + 1)}, "its JSON has 1048577 bytes, expected 1048576"),
    ],
)
def test_a_broken_file_says_what_is_wrong_and_what_to_do(path, given, message):
    said = refused(rknn(path, **given))
    assert said.startswith(f"a broken .rknn file: {message}")
    assert said.endswith("; convert the model again")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no .rknn file: expected RKNN first, it begins b''"),
        (b"RKNN", "no .rknn file: expected RKNN first"),
        (b"\x08\x07onnx" + bytes(99), "no .rknn file: expected RKNN first, it begins b'\\x08"),
        (b"CYPTRKNN" + bytes(99), "an encrypted .rknn file; give the one it was made from"),
        (struct.pack("<8sQQ", b"RKNN", 6, 2**64 - 1) + bytes(99), "a broken .rknn file: expected "),
        (struct.pack("<8sQQ", b"RKNN", 6, 2) + bytes(99), "a broken .rknn file: its identifier"),
        (struct.pack("<8sQQ40x4s4s", b"RKNN", 6, 8, b"", b"VPMN") + bytes(99),
         "a broken .rknn file: expected a FlatBuffer RKNN, got b'VPMN' (rknn-toolkit 1 makes"),
    ],
)  # fmt: skip
def test_what_is_no_rknn_file_is_told_from_a_broken_one(path, content, message):
    path.write_bytes(content)
    assert refused(path).startswith(message)


def test_a_path_that_is_no_file_is_an_error_and_no_wait(tmp_path):
    assert refused(tmp_path / "away.rknn") == "no such file; correct the path"
    assert refused(tmp_path).startswith("cannot be read: ")
    pipe = tmp_path / "pipe.rknn"
    os.mkfifo(pipe)
    assert refused(pipe).startswith("cannot be read: ")


def test_offsets_that_go_in_circles_end(path):
    """A root whose graphs, tensors, texts and vtable are all itself."""
    for width in range(4, 64, 4):
        buffer = bytearray(struct.pack("<I4s", 8, b"RKNN") + bytes(256))
        struct.pack_into("<iHH", buffer, 8, -4, width, width)
        for place in range(16, 256, 4):
            struct.pack_into("<I", buffer, place, (2**32 - place + 8) % 2**32)
        path.write_bytes(struct.pack("<8sQQ40x", b"RKNN", 6, len(buffer)) + buffer + bytes(8))
        refused(path)


def test_a_tensor_that_is_every_end_is_read_as_often_as_it_is_named(path):
    file = RknnFile.read(rknn(path, fields=ends(PICTURE, inputs=(0,) * 64, outputs=(0,) * 64)))
    assert len(file.inputs) == len(file.outputs) == 64
    with pytest.raises(ModelError, match="expected one input, it has 64: in, in"):
        _ = file.runtime_input


@pytest.mark.parametrize("shape", [(1, 3, 8), (1, 1, 8, 8), (1, 4, 8, 8)])
def test_a_network_that_takes_no_picture_is_told_but_does_not_run(path, shape):
    file = RknnFile.read(rknn(path, fields=ends(tensor("in", shape))))
    with pytest.raises(ModelError, match="expected a picture of 3 channels as input, got in 4×"):
        _ = file.runtime_input


def test_no_truncation_of_a_file_is_anything_but_a_model_error(path):
    path.write_bytes(SMALLEST.read_bytes())
    RknnFile.read(path)
    for length in range(path.stat().st_size - 1, -1, -1):
        os.truncate(path, length)
        with pytest.raises(ModelError):
            RknnFile.read(path)


def spans(file):
    """The bytes that reading a file looks at."""
    seen = []
    pread = os.pread

    def watched(fd, count, at):
        seen.append((at, count))
        return pread(fd, count, at)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", watched)
        RknnFile.read(file)
    return seen


def test_little_of_a_file_is_read():
    assert sum(count for _, count in spans(BATCH_8)) < 8192
    assert BATCH_8.stat().st_size > 80_000


def read_or_refuse(path, data):
    path.write_bytes(data)
    with contextlib.suppress(ModelError):
        RknnFile.read(path)


def test_no_byte_that_matters_can_be_changed_into_a_crash(path):
    """Every byte that is read, but for long texts, gets the values that break offsets."""
    original = SMALLEST.read_bytes()
    path.write_bytes(original)
    places = {at + i for at, count in spans(SMALLEST) if count <= 64 for i in range(count)}
    assert len(places) > 300
    with path.open("r+b", buffering=0) as file:
        for place in sorted(places):
            for value in (0x00, 0xFF, original[place] ^ 4):
                os.pwrite(file.fileno(), bytes([value]), place)
                with contextlib.suppress(ModelError):
                    RknnFile.read(path)
            os.pwrite(file.fileno(), original[place : place + 1], place)
    assert path.read_bytes() == original


ORIGINALS = [file.read_bytes() for file in FILES]
PLACES = [
    # not the long texts, in which a change has little to break
    sorted({at + i for at, count in spans(file) if count <= 64 for i in range(count)})
    for file in FILES
]
WORDS = st.sampled_from([0, 1, 2, 4, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1])


@st.composite
def mutations(draw):
    number = draw(st.integers(0, len(ORIGINALS) - 1))
    data = bytearray(ORIGINALS[number])
    for place in draw(st.lists(st.sampled_from(PLACES[number]), min_size=1, max_size=12)):
        word = draw(
            st.one_of(
                st.binary(min_size=1, max_size=8), WORDS.map(lambda w: w.to_bytes(4, "little"))
            )
        )
        data[place : place + len(word)] = word
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(mutations())
def test_no_mutation_of_a_real_file_is_anything_but_a_model_error(path, data):
    read_or_refuse(path, data)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=400), st.sampled_from([1, 6]), st.integers(0, 300))
def test_no_content_after_a_good_header_is_anything_but_a_model_error(path, content, form, length):
    header = struct.pack("<8sQQ", b"RKNN", form, length).ljust(24 if form == 1 else 64, b"\0")
    read_or_refuse(path, header + content[:4] + b"RKNN" + content[4:])


def test_no_file_makes_it_allocate_wildly(path):
    """The largest texts that are read, of what takes most room when it is parsed."""
    hostile = [
        {"document": b'{"a":[' + b"{}," * 349_000 + b"0]}"},
        {"document": b"[" * MEBIBYTE},
        {"fields": {3: "[" + "()," * 87_000 + "0]"}},
        {"fields": {3: "[" + "1.5," * 65_000 + "0]"}},
        {"fields": ends(*[PICTURE] * 1000, inputs=(999,) * 64, outputs=(0,) * 64)},
        {"fields": {2: [{0: ("I", (2**32 - 1,) * 1000), 2: ("I", (0,)), 3: ("I", (0,))}]}},
    ]
    for content in hostile:
        data = rknn(path, **content).read_bytes()
        tracemalloc.start()
        read_or_refuse(path, data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 64 * MEBIBYTE, content.keys()


def test_a_large_file_is_not_read_whole(path):
    rknn(path)
    small = path.read_bytes()
    (length,) = struct.unpack_from("<Q", small, 16)
    weights = 2**32  # a sparse file: the room that weights take
    with path.open("r+b") as file:
        file.seek(16)
        file.write(struct.pack("<Q", length + weights))
        file.seek(64 + length + weights)
        file.write(small[64 + length :])
    tracemalloc.start()
    assert RknnFile.read(path).batch == 4
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MEBIBYTE
