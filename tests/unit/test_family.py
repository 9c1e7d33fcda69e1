from __future__ import annotations

import pytest

from framebuf.errors import ModelError
from framebuf.models.family import members
from framebuf.models.tensor import TensorSpec


def touch(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"")


def spec(batch):
    return TensorSpec("images", (batch, 4, 4, 3), "uint8", "NHWC")


def test_braces_give_one_file_a_batch_size(tmp_path):
    touch(tmp_path, "net-batch1.rknn", "net-batch8.rknn", "net-batch16.rknn")
    family = members(f"{tmp_path}/net-batch{{16,1,8}}.rknn")
    assert list(family.files.items()) == [
        (size, tmp_path / f"net-batch{size}.rknn") for size in (1, 8, 16)
    ]
    assert family.sizes(8, spec(8)) == (8,)
    assert family.sizes(8, spec(None)) == (8,)


@pytest.mark.parametrize("suffix", [".rknn", ".onnx"])
def test_the_suffix_may_be_left_out_of_a_pattern(tmp_path, suffix):
    touch(tmp_path, *(f"osnet-v1.0-batch{size}{suffix}" for size in (1, 4)))
    family = members(f"{tmp_path}/osnet-v1.0-batch{{1,4}}")
    assert [file.name for file in family.files.values()] == [
        f"osnet-v1.0-batch1{suffix}",
        f"osnet-v1.0-batch4{suffix}",
    ]


def test_rknn_goes_before_onnx_where_both_are_there(tmp_path):
    touch(tmp_path, "n1.onnx", "n4.onnx", "n1.rknn", "n4.rknn")
    assert members(f"{tmp_path}/n{{1,4}}").files[4].suffix == ".rknn"


def test_the_files_of_a_family_have_one_suffix(tmp_path):
    touch(tmp_path, "n1.rknn", "n1.onnx", "n4.onnx")
    files = members(f"{tmp_path}/n{{1,4}}").files
    assert {file.suffix for file in files.values()} == {".onnx"}


def test_a_plain_path_is_one_file_that_tells_its_own_batch(tmp_path):
    touch(tmp_path, "net.rknn")
    family = members(f"{tmp_path}/net.rknn")
    assert family.files == {None: tmp_path / "net.rknn"}
    assert family.sizes(None, spec(8)) == (8,)
    assert members(f"{tmp_path}/net").files == family.files


def test_a_free_batch_axis_serves_the_sizes_that_are_asked_for(tmp_path):
    touch(tmp_path, "net.onnx")
    path = f"{tmp_path}/net.onnx"
    assert members(path).sizes(None, spec(None)) == (1, 4, 8)
    assert members(path, (16, 2, 2)).sizes(None, spec(None)) == (2, 16)


def test_a_fixed_batch_cannot_serve_other_sizes(tmp_path):
    touch(tmp_path, "net.onnx")
    path = f"{tmp_path}/net.onnx"
    assert members(path, (4,)).sizes(None, spec(4)) == (4,)
    with pytest.raises(ModelError, match=r"asks for 1, 4, the file holds 4 only"):
        members(path, (1, 4)).sizes(None, spec(4))


def test_a_file_whose_name_lies_about_its_batch_is_refused(tmp_path):
    touch(tmp_path, "n1.rknn", "n8.rknn")
    family = members(f"{tmp_path}/n{{1,8}}.rknn")
    with pytest.raises(ModelError, match=r"n8.rknn: expected batch 8, the file holds 4"):
        family.sizes(8, spec(4))


def test_batch_sizes_pick_among_those_in_braces(tmp_path):
    touch(tmp_path, "n1.rknn", "n8.rknn")
    path = f"{tmp_path}/n{{1,8}}.rknn"
    assert list(members(path, (8, 1)).files) == [1, 8]
    assert list(members(path, (8,)).files) == [8]
    with pytest.raises(ModelError, match="asks for 4, the braces hold 1, 8"):
        members(path, (1, 4))


def test_each_missing_file_is_named(tmp_path):
    touch(tmp_path, "n4.rknn")
    with pytest.raises(ModelError) as error:
        members(f"{tmp_path}/n{{1,4,8}}.rknn")
    assert str(error.value) == (
        f"no such file: {tmp_path}/n1.rknn, {tmp_path}/n8.rknn; "
        "correct the path, or convert the model"
    )
    with pytest.raises(ModelError, match=r"away.onnx; correct the path"):
        members(f"{tmp_path}/away.onnx")
    with pytest.raises(ModelError, match=r"away1.rknn, .*away4.rknn \(nor with .onnx\)"):
        members(f"{tmp_path}/away{{1,4}}")


def test_a_folder_is_no_model(tmp_path):
    (tmp_path / "net.onnx").mkdir()
    with pytest.raises(ModelError, match="no such file"):
        members(f"{tmp_path}/net.onnx")


@pytest.mark.parametrize("inside", ["", "a", "1,", "0", "1,-4", "1.5", "1..8", "1,٤"])
def test_braces_hold_batch_sizes_and_nothing_else(inside):
    with pytest.raises(ModelError, match=r"expected batch sizes as in \{1,4,8\}, got"):
        members(f"net{{{inside}}}.rknn")


def test_a_batch_size_that_stands_twice_is_refused():
    with pytest.raises(ModelError, match="batch 4 stands twice"):
        members("net{4,1,04}.rknn")


@pytest.mark.parametrize("path", ["net{1.rknn", "net}1{.rknn", "a{1}b{2}.rknn", "a{{1}}.rknn"])
def test_there_is_one_pair_of_braces(path):
    with pytest.raises(ModelError, match="expected one pair of braces"):
        members(path)


def test_an_empty_or_impossible_list_of_sizes_is_refused():
    with pytest.raises(ModelError, match="got none"):
        members("net.onnx", ())
    with pytest.raises(ModelError, match="1 or more, got 0, 4"):
        members("net.onnx", (4, 0))
