import pytest

from space.storage import QuotaError, Storage


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def storage_in(folder, **settings):
    limits = {"max_bytes": 100, "max_bytes_of_one": 60, "max_uploads": 4, "max_uploads_of_one": 3}
    return Storage(folder, **{**limits, "max_files": 5, "keep_s": 300, **settings})


def stored(storage, address, n_bytes, name="ecg.npz"):
    path = storage.reserve(address, n_bytes).path_of(name)
    path.write_bytes(bytes(n_bytes))
    return path


def test_each_and_all_have_a_quota_of_bytes(tmp_path):
    storage = storage_in(tmp_path / "new")
    first = stored(storage, "a", 50)
    with pytest.raises(QuotaError, match="your files may take 0 MB and 3 uploads at a time.*again in 5 minutes"):
        storage.reserve("a", 11)
    stored(storage, "b", 45)
    with pytest.raises(QuotaError, match="all files may take"):
        storage.reserve("c", 6)
    storage.remove(first)
    assert not first.parent.exists() and storage.n_bytes == 45
    stored(storage, "c", 50)


def test_each_and_all_have_a_quota_of_uploads(tmp_path):
    storage = storage_in(tmp_path)
    for _ in range(3):
        stored(storage, "a", 1)
    with pytest.raises(QuotaError, match="1 uploads|3 uploads"):
        storage.reserve("a", 1)
    stored(storage, "b", 1)
    with pytest.raises(QuotaError, match="all files"):
        storage.reserve("b", 1)


def test_what_nobody_analyses_is_deleted(tmp_path):
    clock = Clock()
    storage = storage_in(tmp_path, clock=clock)
    path = stored(storage, "a", 10)
    clock.now = 299
    storage.tidy()
    assert path.exists()
    clock.now = 301
    storage.tidy()
    assert list(tmp_path.iterdir()) == [] and storage.n_bytes == 0
    assert storage.holds(path)  # an address of ours still, so that the page can say what became of it


def test_nothing_else_is_deleted_or_held(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "ecg.npz").write_text("kept")
    storage = storage_in(tmp_path / "uploads")
    stored(storage, "a", 1)
    for path in (tmp_path / "mine/ecg.npz", tmp_path / "uploads", "http://127.0.0.1/ecg.npz", "/etc/passwd", ""):
        storage.remove(path)
        assert not storage.holds(path), path
    assert not storage.holds(tmp_path / "uploads" / "x" / ".." / ".." / "mine" / "ecg.npz")
    assert (tmp_path / "mine" / "ecg.npz").exists() and storage.n_bytes == 1


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("ecg.npz", "ecg.npz"),
        ("<img src=x onerror=a()>.npz", "<img src=x onerror=a()>.npz"),
        ("../../etc/passwd", "passwd"),
        ("C:\\ecgs\\ecg.hea", "ecg.hea"),
        ("a\x1b[31m\x00\n\u202eb.csv", "a[31mb.csv"),
        ("..", "ecg"),
        (".npz", "npz"),
        ("", "ecg"),
        ("\u00e9\U0001fac0.edf", "\u00e9\U0001fac0.edf"),
    ],
)
def test_names_stay_what_they_are_but_for_folders(tmp_path, name, kept):
    upload = storage_in(tmp_path).reserve("a", 1)
    assert upload.path_of(name) == upload.folder / kept


def test_long_names_keep_their_ending(tmp_path):
    upload = storage_in(tmp_path).reserve("a", 1)
    for stem in ("x" * 5000, "\U0001fac0" * 5000, "x." * 5000):
        path = upload.path_of(f"{stem}.npz")
        path.write_bytes(b"a")
        assert path.suffix == ".npz" and len(path.name.encode()) <= 255


def test_what_is_being_used_is_kept_longer(tmp_path):
    clock = Clock()
    storage = storage_in(tmp_path, clock=clock)
    used, left = stored(storage, "a", 10), stored(storage, "b", 10)
    clock.now = 200
    storage.renew([used, tmp_path / "elsewhere" / "x"])
    clock.now = 400
    storage.tidy()
    storage.check_kept([used])
    with pytest.raises(ValueError, match="no longer kept, 5 minutes at most: upload them again"):
        storage.check_kept([used, left])
