"""Windows: every frame painted once, on the grid, and never from film that is not there yet."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sora.plan.plan import Format, Window
from sora.plan.windows import plan_windows

FORMS = (
    Format((64, 64), (64, 64), 8.0, window=17, context=5, context_after=4, time=4),
    Format((64, 64), (64, 64), 16.0, window=81, context=9, context_after=8, time=4),
    Format((64, 64), (64, 64), 24.0, window=25, context=9, context_after=8, time=8),
)
AT = 1000  # where the gap begins


def check(made: tuple[Window, ...], length: int, left: int, right: int, form: Format) -> None:
    gap = range(AT, AT + length)
    standing = set(range(AT - left, AT)) | set(range(gap.stop, gap.stop + right))
    kept: list[int] = []
    for window in made:
        span = range(window.first, window.first + window.frames)
        assert (window.frames - 1) % form.time == 0 and window.frames <= form.window
        inside = range(span.start + window.context_before, span.stop - window.context_after)
        assert set(window.kept) <= set(inside)
        for i in set(span) - set(inside):
            # A film that begins less far back than the grid asks for is held on its first frame.
            assert i in standing or (i < AT - left and left), f"frame {i} is not known yet"
        assert window.context_after == 0 or left == 0 or window is made[-1]
        kept += window.kept
        standing |= set(window.kept)
    assert sorted(kept) == list(gap)


@settings(max_examples=400)
@given(st.sampled_from(FORMS), st.integers(1, 300), st.integers(0, 40), st.integers(0, 40))
def test_every_frame_is_painted_once_from_film_that_stands(form: Format, length: int, left: int, right: int) -> None:
    check(plan_windows(range(AT, AT + length), form, known_before=left, known_after=right), length, left, right, form)


def test_a_film_goes_forward_and_a_prequel_backward() -> None:
    form = FORMS[0]
    forward = plan_windows(range(17, 41), form, known_before=17, known_after=0)
    assert [(w.first, w.context_before, w.context_after, w.kept) for w in forward] == [
        (12, 5, 0, range(17, 29)),
        (24, 5, 0, range(29, 41)),
    ]
    backward = plan_windows(range(16), form, known_before=0, known_after=17)
    assert [(w.first, w.context_before, w.context_after, w.kept) for w in backward] == [
        (7, 0, 8, range(7, 16)),
        (-2, 0, 8, range(7)),
    ]


def test_between_two_ends_the_last_window_arrives() -> None:
    made = plan_windows(range(20, 40), FORMS[0], known_before=20, known_after=20)
    assert [w.context_after for w in made] == [0, 4]
    assert made[-1].kept == range(32, 40)


def test_windows_of_a_part_draw_their_noise_in_turn() -> None:
    made = plan_windows(range(60), FORMS[0], known_before=0, known_after=0, colour_group=3)
    assert [w.noise_index for w in made] == list(range(len(made)))
    assert {w.colour_group for w in made} == {3}
