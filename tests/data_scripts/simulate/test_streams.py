"""Streams: the same for the same numbers, different for any other."""

from data_scripts.simulate.streams import Purpose, stream


def test_same_numbers_give_the_same_stream():
    assert (stream(3, Purpose.NOISE, 17).random(5) == stream(3, Purpose.NOISE, 17).random(5)).all()


def test_seed_purpose_and_index_each_give_another_stream():
    drawn = {(s, p, i): stream(s, p, i).random() for s in (0, 1) for p in Purpose for i in (0, 1, 2**33)}
    assert len(set(drawn.values())) == len(drawn) == 2 * len(Purpose) * 3
