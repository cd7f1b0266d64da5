"""Asking the service what it has: never less often than it pays."""

from app.agent.daemon.pipeline.inquiry import Inquiry


def asked(inquiry: Inquiry, segments: int, known: int) -> list[bool]:
    """Whether each of some segments was asked about, the service having `known` chunks of each."""
    answers = []
    for _ in range(segments):
        due = inquiry.is_due()
        if due:
            inquiry.learn(known)
        answers.append(due)
    return answers


def test_where_something_is_known_every_segment_is_asked_about() -> None:
    assert all(asked(Inquiry(), 100, known=1))


def test_where_nothing_is_known_the_questions_become_fewer() -> None:
    inquiry = Inquiry()
    assert all(asked(inquiry, 4, known=0))
    assert sum(asked(inquiry, 96, known=0)) in range(24, 30)


def test_at_most_three_segments_in_a_row_are_left_out() -> None:
    text = "".join("?" if due else "." for due in asked(Inquiry(), 1000, known=0))
    assert "...." not in text


def test_the_first_known_chunk_ends_it() -> None:
    inquiry = Inquiry()
    asked(inquiry, 100, known=0)
    while not inquiry.is_due():
        continue
    inquiry.learn(1)
    assert all(asked(inquiry, 100, known=5))
