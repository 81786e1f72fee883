"""Image sets: tables are read strictly, and no subject ever stands in two splits."""

from collections import Counter

import numpy as np
import pytest
from model_builders import image_set
from PIL import Image

from model.errors import ImageSetError
from model.image_set import read_all, read_picture, read_slices, read_tables, split_of

HEADER = "path,subject,hemorrhage,location,other_finding,split"


def table(folder, *lines, header=HEADER):
    file = folder / "slices.csv"
    file.write_text("\n".join([header, *lines]) + "\n")
    return file


def test_a_row_holds_what_the_table_says(tmp_path):
    rows = read_slices(
        table(
            tmp_path,
            "a.png,p1,1,deep,,train",
            "b.png,p2,,,,",
            "c.png,p3,0,,tumour,test,x",
            header=HEADER + ",more",
        )
    )

    assert [(r.hemorrhage, r.location) for r in rows] == [(1, "deep"), (None, None), (0, None)]
    assert rows[0].file == tmp_path / "a.png"
    assert rows[1].split == split_of(tmp_path.name, "p2")
    assert rows[2].split == "test"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a.png,p1,2,,,train", "line 2: hemorrhage"),
        ("a.png,p1,1,frontal,,train", "line 2: location"),
        ("a.png,p1,1,deep,,holdout", "line 2: split"),
        (",p1,1,deep,,train", "path"),
        ("a.png,,1,deep,,train", "subject"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, line, says):
    with pytest.raises(ImageSetError, match=says):
        read_slices(table(tmp_path, line))


def test_a_table_may_be_written_by_a_spreadsheet(tmp_path):
    rows = read_slices(
        table(
            tmp_path,
            "a.png,p1,1.0,Deep,,Test,1.0",
            "b.png,p2, 0 ,,, train,",
            ",,,,,,",
            header=HEADER + ",contradicted",
        )
    )

    assert [(r.hemorrhage, r.location, r.split) for r in rows] == [(1, "deep", "test"), (0, None, "train")]
    assert [r.contradicted for r in rows] == [True, False]


def test_who_counts_doubts_gets_the_rows_all_the_same(tmp_path):
    boxes(tmp_path, "a.png,10,20,19,39", header=BOXES.removesuffix(",frame_size"))
    lines = ("a.png,p1,1,basal ganglia,,holdout", "b.png,p2,1,basal ganglia,,test", "c.png,p3,maybe,,,test")
    doubts = Counter()

    rows = read_slices(table(tmp_path, *lines), doubts)

    assert [(r.hemorrhage, r.location) for r in rows] == [(1, None), (1, None), (None, None)]
    assert [r.split for r in rows] == ["holdout", "test", "test"]
    assert [r.boxes for r in rows] == [None, (), ()]
    assert sorted(doubts.values()) == [1, 1, 1, 2]
    assert next(problem for problem, count in doubts.items() if count == 2).startswith("location")


def test_boxes_of_another_kind_are_a_doubt(tmp_path):
    boxes(tmp_path, "a.png,1,2,3,4", header="path,left,top,right,bottom")
    doubts = Counter()

    assert read_slices(table(tmp_path, "a.png,p1,1,,,train"), doubts)[0].boxes is None
    assert [problem.startswith("boxes.csv") for problem in doubts] == [True]


def test_a_table_without_columns_rows_or_file_is_refused(tmp_path):
    with pytest.raises(ImageSetError, match="split"):
        read_slices(table(tmp_path, "a.png,p1", header="path,subject"))
    with pytest.raises(ImageSetError, match="no slices"):
        read_slices(table(tmp_path))
    with pytest.raises(ImageSetError, match="cannot be read"):
        read_slices(tmp_path / "absent.csv")


def test_contradicted_rows_are_left_out(tmp_path):
    file = table(tmp_path, "a.png,p1,1,,,train,0", "b.png,p1,1,,,train,1", header=HEADER + ",contradicted")

    assert [r.path for r in read_tables([file])] == ["a.png"]


def test_a_subject_in_two_splits_is_refused(tmp_path):
    with pytest.raises(ImageSetError, match="two splits"):
        read_tables([table(tmp_path, "a.png,p1,1,,,train", "b.png,p1,1,,,test")])


def test_no_subject_is_split_by_the_hash_whatever_the_names(tmp_path, seed):
    random = np.random.default_rng(seed)
    shares = []
    for round_ in range(40):
        folder = tmp_path / f"set{round_}"
        folder.mkdir()
        names = [f"s{n}" for n in random.integers(0, 10**9, 60)]
        lines = [f"{i}.png,{names[i % 60]},0,,," for i in random.permutation(240)]

        rows = read_tables([table(folder, *lines)])

        shares.append(np.mean([r.split == "train" for r in rows]))
        assert len({(r.subject, r.split) for r in rows}) == len({r.subject for r in rows})
    assert 0.7 < np.mean(shares) < 0.9


def test_equal_names_in_two_sources_are_two_people(tmp_path):
    (tmp_path / "north").mkdir()
    (tmp_path / "south").mkdir()
    tables = [
        table(tmp_path / f, f"a.png,p1,0,,,{split}") for f, split in [("north", "train"), ("south", "test")]
    ]

    assert len({r.person for r in read_tables(tables)}) == 2


def test_folders_of_one_name_are_two_sources(tmp_path):
    tables = []
    for hospital in ("north", "south"):
        folder = tmp_path / hospital / "set"
        folder.mkdir(parents=True)
        tables.append(table(folder, "a.png,p1,0,,,train"))

    assert [r.source for r in read_all([*tables, tables[0]])] == ["set", "set (2)", "set"]


def test_pictures_of_every_kind_come_in_window_units(tmp_path):
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for name in ("a.png", "a.webp", "a.jpg"):
        Image.fromarray(gray).save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    Image.fromarray(np.stack([gray] * 3, axis=-1)).save(tmp_path / "colour.png")
    hu = np.linspace(-1000, 3000, 256).reshape(16, 16)
    Image.fromarray((hu + 1024).astype(np.uint16)).save(tmp_path / "hu.png")

    for name in ("a.png", "a.webp", "colour.png"):
        assert read_picture(tmp_path / name) == pytest.approx(gray / 255, abs=1e-6)
    assert np.abs(read_picture(tmp_path / "a.jpg") - gray / 255).max() < 0.1
    assert read_picture(tmp_path / "hu.png") == pytest.approx(np.clip(hu, 0, 80) / 80, abs=0.02)


BOXES = "path,x_min,y_min,x_max,y_max,frame_size"


def boxes(folder, *lines, header=BOXES):
    (folder / "boxes.csv").write_text("\n".join([header, *lines]) + "\n")


def test_boxes_come_in_shares_of_the_picture(tmp_path):
    boxes(tmp_path, "a.png,50,40,61,51,96", "a.png,0,0,95,95,96", "other.png,1,1,2,2,96")

    rows = read_slices(table(tmp_path, "a.png,p1,1,,,train", "b.png,p1,0,,,train"))

    spot, whole = rows[0].boxes
    assert spot == pytest.approx((50 / 96, 40 / 96, 62 / 96, 52 / 96))
    assert whole == (0, 0, 1, 1)
    assert rows[1].boxes == ()


def test_without_a_file_of_boxes_nothing_is_said_of_them(tmp_path):
    assert read_slices(table(tmp_path, "a.png,p1,1,,,train"))[0].boxes is None


def test_the_boxes_of_a_crop_land_where_they_lie_in_it(tmp_path):
    boxes(tmp_path, "a.png,120,220,139,239,512")
    header = HEADER + ",crop_left,crop_top,crop_size,frame_size"

    rows = read_slices(table(tmp_path, "a.png,p1,1,,,train,100,200,400,512", header=header))

    assert rows[0].boxes == (pytest.approx((20 / 400, 20 / 400, 40 / 400, 40 / 400)),)


@pytest.mark.parametrize(
    ("line", "header"),
    [
        ("a.png,1,1,2,few,96", BOXES),
        ("a.png,1,1,2", BOXES),
        ("a.png,1,1,2,2,0", BOXES),
        ("a.png,1,1,2,2,96", BOXES.replace("x_min", "left")),
    ],
)
def test_wrong_boxes_are_refused(tmp_path, line, header):
    boxes(tmp_path, line, header=header)

    with pytest.raises(ImageSetError, match="boxes"):
        read_slices(table(tmp_path, "a.png,p1,1,,,train"))


def test_the_frame_of_boxes_may_stand_in_the_slices_or_they_are_refused(tmp_path):
    boxes(tmp_path, "a.png,10,20,19,39", header=BOXES.removesuffix(",frame_size"))

    told = read_slices(table(tmp_path, "a.png,p1,1,,,train,100", header=HEADER + ",frame_size"))

    assert told[0].boxes == (pytest.approx((0.1, 0.2, 0.2, 0.4)),)
    with pytest.raises(ImageSetError, match="frame_size"):
        read_slices(table(tmp_path, "a.png,p1,1,,,train"))


def test_a_table_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "slices.csv").write_bytes(f"{HEADER}\nM\xfcller.png,p1,1,,,train\n".encode("latin-1"))

    with pytest.raises(ImageSetError, match="UTF-8"):
        read_slices(tmp_path / "slices.csv")


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("no picture")

    for name in ("a.png", "absent.png"):
        with pytest.raises(ImageSetError, match=name):
            read_picture(tmp_path / name)


def test_the_builder_writes_what_the_reader_reads(tmp_path):
    file = image_set(tmp_path, subjects={"p0": "train", "p1": "val"}, slices=3, bleeding=2)

    rows = read_tables([file])

    assert [r.hemorrhage for r in rows] == [0, 0, 0, 1, 1, 0]
    assert all(read_picture(r.file).shape == (96, 96) for r in rows)
