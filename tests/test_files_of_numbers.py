"""Tables, archives and checkpoints as users have them: right, or refused in one line."""

import json
import zipfile

import numpy as np
import pandas
import pytest
from safetensors.numpy import load_file, save_file

from linreg_lora.errors import InvalidInput
from linreg_lora.files import arrays, tables, tensors
from linreg_lora.files.arrays import read_array


def refused(call, *words):
    with pytest.raises(InvalidInput) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


# -- tables -----------------------------------------------------------------------------------------------------------

EXPECTED = [[1.5, 2.0], [-3.0, 4.25]]


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1.5,2\n-3,4.25\n",
        b"\xef\xbb\xbfa,b\r\n1.5,2\r\n-3,4.25\r\n",
        b"a;b\n1,5;2\n-3;4,25\n",
        b"a;b\n1,5;2\n-3;4,25\n\n",
        b"a;b\n1.5;2\n-3;4.25\n",
        b"a\tb\n1.5\t2\n-3\t4.25\n",
        b'"a", "b"\n1.5, 2\n-3, 4.25\n',
    ],
)
def test_dialects_of_csv(content, tmp_path):
    """Commas, semicolons with decimal commas, tabs, quotes, byte order marks."""
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    frame = tables.read_table(path)
    assert list(frame.columns) == ["a", "b"]
    assert tables.numbers(frame, "data.csv").tolist() == EXPECTED


def test_a_matrix_has_no_names(tmp_path):
    """A map of numbers alone, repeated ones too; with names of inputs, in their order; as pandas numbers columns."""
    path, eye = tmp_path / "map.csv", np.eye(3, 4)
    for form in ("%d", "%.1f", "%.18e"):
        np.savetxt(path, eye, delimiter=",", fmt=form)
        np.testing.assert_array_equal(tables.matrix(path, ["x0", "x1", "x2", "x3"]), eye)
    path.write_bytes(b"1,5;0\n0;2,5\n")
    np.testing.assert_array_equal(tables.matrix(path, ["a", "b"]), [[1.5, 0], [0, 2.5]])
    pandas.DataFrame(eye, columns=["d", "c", "b", "a"]).to_csv(path, index=False)
    np.testing.assert_array_equal(tables.matrix(path, ["a", "b", "c", "d"]), eye[:, ::-1])
    pandas.DataFrame(eye, columns=["d", "c", "b", "a"], index=["y2", "y1", "y0"]).to_csv(path)
    refused(lambda: tables.matrix(path, ["a", "b", "c", "d"]), "names of rows")
    refused(lambda: tables.matrix(path, ["p", "q"]), "a first column of names")


def test_parquet_and_nullable_integers(tmp_path):
    frame = pandas.DataFrame(
        {"a": pandas.array([1, None, 3], dtype="Int64"), "b": [1.5, 2.5, 3.5], "c": [True, False, True]}
    )
    frame.to_parquet(tmp_path / "data.parquet")
    found = tables.numbers(tables.read_table(tmp_path / "data.parquet"), "data.parquet")
    np.testing.assert_array_equal(found, [[1, 1.5, 1], [np.nan, 2.5, 0], [3, 3.5, 1]])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"a,b\n1,high\n", ["high in column b, row 0", "leave the column out"]),
        ("a.csv", b"", ["a.csv", "column names"]),
        ("a.csv", b"a,b\n", ["0 rows"]),
        ("a.csv", b"a,b\n1,2\n1,2,3,4\n", ["as many columns as names, 2", "4 numbers in line 3"]),
        ("a.csv", b"a,b\n1,2,3\n4,5,6\n", ["as many columns as names, 2", "3 numbers in line 2"]),
        ("a.csv", b"a,b,a\n1,2,3\n", ["a twice"]),
        ("a.csv", b"a;b\n1,234;2.5\n", ["commas and points"]),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), ["UTF-8"]),
        ("a.parquet", b"not parquet", ["a parquet file"]),
        ("none.csv", None, ["a file"]),
    ],
)
def test_bad_tables(name, content, words, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refused(lambda: tables.numbers(tables.read_table(tmp_path / name), name), *words)


def test_columns_by_name_pattern_and_range():
    frame = pandas.DataFrame([[0] * 6], columns=["id", "x1", "x2", "x3", "y1", "y2"])
    assert tables.columns(frame, "x", "x1:x3") == ["x1", "x2", "x3"]
    assert tables.columns(frame, "x", "y*,id,y1") == ["y1", "y2", "id"]
    refused(lambda: tables.columns(frame, "x", "z*"), "x: expected columns among id, x1", "z*")
    refused(lambda: tables.columns(frame, "x", "x3:x1"), "x1:x3")


def test_a_table_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("a\n" + "1\n" * 100)
    monkeypatch.setattr(tables, "LARGEST_TABLE", 50)
    refused(lambda: tables.read_table(tmp_path / "a.csv"), "sample of the rows")


# -- arrays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float32", "float64", "int16", "bool", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back(kind, order, tmp_path):
    array = np.asarray(np.arange(12).reshape(3, 4) % 3, dtype=kind, order=order)
    np.savez_compressed(tmp_path / "a.npz", X=array, other=np.ones(2))
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_array(tmp_path / "a.npz", "X"), array)
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), array)
    assert arrays.keys(tmp_path / "a.npz") == ["X", "other"]


def test_bad_archives(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", X=np.ones(3), Y=np.ones(2))
    refused(lambda: read_array(tmp_path / "a.npz"), "a key among X, Y")
    refused(lambda: read_array(tmp_path / "a.npz", "Z"), "a key among X, Y", "Z")
    np.savez(tmp_path / "objects.npz", X=np.array([{}, 1], dtype=object))
    refused(lambda: read_array(tmp_path / "objects.npz"), "objects are not read")
    (tmp_path / "text.npz").write_text("hello")
    refused(lambda: read_array(tmp_path / "text.npz"), "a NumPy file")
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    refused(lambda: read_array(tmp_path / "cut.npz", "X"), "a NumPy file")
    monkeypatch.setattr(arrays, "_LARGE", 2**16)
    np.savez_compressed(tmp_path / "bomb.npz", X=np.zeros(10**6))
    refused(lambda: read_array(tmp_path / "bomb.npz", "X"), "not all alike", "GiB in")
    np.savez(tmp_path / "zeros.npz", X=np.zeros(10**6))
    assert not np.any(read_array(tmp_path / "zeros.npz", "X"))
    monkeypatch.setattr(arrays, "LARGEST_ARRAY", 16)
    refused(lambda: read_array(tmp_path / "a.npz", "X"), "GiB at most", "sample of the rows")


def test_a_header_that_promises_more_than_there_is(tmp_path):
    """A few bytes that claim 2^60 numbers, and a member that unpacks to more than its header says."""
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        head = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
        text = "{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846976,), }".ljust(117) + "\n"
        archive.writestr("X.npy", head + text.encode())
        more = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }".ljust(117) + "\n"
        archive.writestr("Y.npy", head + more.encode() + b"\0" * 10**7)
    refused(lambda: read_array(tmp_path / "bomb.npz", "X"), "GiB at most")
    refused(lambda: read_array(tmp_path / "bomb.npz", "Y"), "16 bytes of Y")


# -- tensors ----------------------------------------------------------------------------------------------------------


def test_tensors_are_what_safetensors_reads(tmp_path):
    content = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.arange(3, dtype=np.int64),
        "c": np.ones(2, np.float16),
    }
    save_file(content, tmp_path / "model.safetensors")
    for path in (tmp_path / "model.safetensors", tmp_path):
        found = tensors.tensors(path)
        assert {name: tensor.shape for name, tensor in found.items()} == {"a": (2, 3), "b": (3,), "c": (2,)}
        for name, array in content.items():
            np.testing.assert_array_equal(found[name].read(), array)
    tensors.write_tensors(tmp_path / "ours.safetensors", {"a": content["a"]}, {"format": "pt"})
    np.testing.assert_array_equal(load_file(tmp_path / "ours.safetensors")["a"], content["a"])


def test_bf16(tmp_path):
    """Written by hand: the upper halves of float32."""
    values = np.array([1.0, -2.5, 3e38, 2**-130], dtype=np.float32)
    data = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    (tmp_path / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    found = tensors.tensors(tmp_path / "b.safetensors")["w"].read()
    np.testing.assert_allclose(found.ravel(), values, rtol=2**-7)


def test_a_checkpoint_in_shards(tmp_path):
    for shard, name in (("one", "a"), ("two", "b")):
        save_file({name: np.full((2, 2), len(shard), np.float32)}, tmp_path / f"{shard}.safetensors")
    places = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / tensors.INDEX).write_text(json.dumps(places))
    found = tensors.tensors(tmp_path)
    assert found["b"].path.name == "two.safetensors"
    assert found["a"].read().tolist() == [[3.0, 3.0]] * 2
    (tmp_path / tensors.INDEX).write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    refused(lambda: tensors.tensors(tmp_path), "files beside it")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "a safetensors file"),
        ((2**60).to_bytes(8, "little") + b"{}", "a safetensors file"),
        ((2).to_bytes(8, "little") + b"[]", "a header that is none"),
        ((4).to_bytes(8, "little") + b"}{}{", "a header that is none"),
    ],
)
def test_bad_checkpoints(content, words, tmp_path):
    (tmp_path / "b.safetensors").write_bytes(content)
    refused(lambda: tensors.tensors(tmp_path / "b.safetensors"), words)


@pytest.mark.parametrize("entry", [
    {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
    {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [-2, -1], "data_offsets": [-8, 0]},
])  # fmt: skip
def test_tensors_that_are_not_there(entry, tmp_path):
    header = json.dumps({"w": entry}).encode()
    (tmp_path / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    refused(lambda: tensors.tensors(tmp_path / "b.safetensors"), "w")
