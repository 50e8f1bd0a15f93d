"""Records: frozen, lazy, and strict about what a question is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from healthfm.errors import BadValue, DatasetError
from healthfm.records import (
    KINDS,
    MISSING,
    UNCERTAIN,
    Conversation,
    Document,
    Image,
    Message,
    MultipleChoice,
    Pair,
    Relation,
    Signal,
    Span,
    Video,
    Volume,
)

OPTIONS = {"A": "aspirin", "B": "beta blocker"}


def question(**changes: object) -> MultipleChoice:
    return MultipleChoice(**{"id": "1", "question": "Which?", "options": OPTIONS, "answer": "A", **changes})  # type: ignore[arg-type]


def test_records_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        question().answer = "B"  # type: ignore[misc]


def test_records_take_keywords_only_and_no_unknown_field() -> None:
    with pytest.raises(TypeError):
        Document("1", "text")  # type: ignore[misc]
    with pytest.raises(TypeError):
        Document(id="1", text="text", titel="x")  # type: ignore[call-arg]


def test_records_without_labels_do_not_share_a_mapping() -> None:
    one, other = Document(id="1", text="a"), Document(id="2", text="b")
    assert one.labels == {} and one.labels is not other.labels
    assert (one.split, one.patient, one.site, one.media) == (None, None, None, ())


@pytest.mark.parametrize("answer", ["A", ("A", "B"), None, ()])
def test_an_answer_is_a_key_several_keys_or_withheld(answer: object) -> None:
    assert question(answer=answer).answer == answer


@pytest.mark.parametrize("answer", ["C", "a", "", ("A", "C"), "aspirin"])
def test_an_answer_that_is_no_key_is_refused_without_repeating_it(answer: object) -> None:
    with pytest.raises(BadValue) as caught:
        question(answer=answer)
    assert str(caught.value) == "the answer is not among the options (A, B)"


@pytest.mark.parametrize("options", [{}, {"A": "only"}])
def test_a_question_needs_two_options(options: dict[str, str]) -> None:
    with pytest.raises(BadValue, match=r"option\(s\), at least two are needed"):
        question(options=options, answer=None)


@pytest.mark.parametrize("text", [None, 3, ["Which?"]])
def test_a_question_is_text(text: object) -> None:
    with pytest.raises(BadValue, match="the question is not text"):
        question(question=text)


def test_pixels_are_decoded_only_when_asked_for() -> None:
    calls = []

    def load() -> np.ndarray:
        calls.append(1)
        return np.ones((2, 2))

    record = Image(id="1", load=load, labels={"class": "polyp"})
    assert (record.id, record.labels["class"], calls) == ("1", "polyp", [])
    assert record.pixels.shape == (2, 2)
    assert calls == [1]


def test_missing_and_uncertain_are_different_labels_and_no_words() -> None:
    assert len({MISSING, UNCERTAIN, "missing"}) == 3


def test_every_kind_is_found_by_its_own_name() -> None:
    assert {name: kind.__name__ for name, kind in KINDS.items()} == {name: name for name in KINDS}


def test_the_digest_follows_content_and_not_labels_or_meta() -> None:
    plain = question().digest()
    assert question(id="2", split="test", meta={"x": 1}, answer="B").digest() == plain
    assert question(options=dict(reversed(OPTIONS.items()))).digest() == plain
    changed = [question(question="Who?"), question(context="x"), question(options={**OPTIONS, "B": "b"})]
    assert len({plain, *(one.digest() for one in changed)}) == 4
    assert Document(id="1", text="a").digest() != Document(id="1", text="b").digest()


def test_a_volume_reads_its_place_without_its_voxels_and_its_voxels_only_when_asked() -> None:
    read: list[str] = []

    def voxels() -> np.ndarray:
        read.append("voxels")
        return np.zeros((2, 3, 4), np.int16)

    def place() -> np.ndarray:
        read.append("place")
        return np.array([[0, -2.0, 0, 5], [1.5, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])

    one = Volume(id="1", load=voxels, place=place, modality="CT", masks={"liver": voxels})
    assert read == []
    assert one.spacing == (1.5, 2, 3) and read == ["place"]
    assert one.masks["liver"]().shape == one.voxels.shape and read == ["place", "voxels", "voxels"]


def test_a_film_gives_its_frames_one_at_a_time() -> None:
    one = Video(id="1", frames=lambda: iter([np.zeros((2, 2, 3), np.uint8)] * 3), track=lambda: (25.0, 3, (2, 2)))
    frames = one.frames()
    assert next(frames).shape == (2, 2, 3) and len(list(frames)) == 2


def test_an_option_that_is_no_text_is_refused() -> None:
    with pytest.raises(BadValue, match="an option is not text"):
        MultipleChoice(id="1", question="q", options={"A": "x", "B": None})  # type: ignore[dict-item]


def signal(**changes: object) -> Signal:
    samples = np.arange(6, dtype=np.float32).reshape(2, 3)
    return Signal(**{"id": "1", "load": lambda: samples, "rate": 500, "channels": ("I", "II"), **changes})  # type: ignore[arg-type]


def test_a_recording_is_decoded_only_when_asked_for_and_its_digest_follows_what_it_holds() -> None:
    calls: list[int] = []

    def load() -> np.ndarray:
        calls.append(1)
        return np.arange(6, dtype=np.float32).reshape(2, 3)

    one = signal(load=load)
    assert (one.rate, one.channels, one.noun, calls) == (500, ("I", "II"), "signal", [])
    held = one.decoded()
    assert held.samples.shape == (2, 3) and held.digest() == signal().digest() and calls == [1]
    changed = [signal(rate=100), signal(channels=("II", "I")), signal(load=lambda: np.ones((2, 3), np.float32))]
    assert len({held.digest(), *(one.digest() for one in changed)}) == 4
    assert signal(id="2", split="test", labels={"rhythm": "slow"}).digest() == held.digest()


@pytest.mark.parametrize(
    "samples",
    [np.zeros((3, 2), np.float32), np.zeros((2, 3)), np.zeros(2, np.float32), np.zeros((2, 3), np.int16)],
)
def test_samples_that_are_not_what_the_recording_says_are_refused(samples: np.ndarray) -> None:
    with pytest.raises(DatasetError, match=r"1: samples are .*not float32 \[2 channels, n\]"):
        _ = signal(load=lambda: samples).samples


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_recording_has_a_rate(rate: float) -> None:
    with pytest.raises(BadValue, match="rate"):
        signal(rate=rate)


def test_an_image_is_decoded_once_and_a_stack_of_pictures_stays_lazy() -> None:
    calls: list[int] = []
    image = Image(id="1", load=lambda: calls.append(1) or np.ones((2, 2), np.uint8))  # type: ignore[func-returns-value]
    held = image.decoded()
    assert held.digest() == held.digest() and calls == [1] and not image.stacked
    volume = Volume(id="1", load=lambda: calls.append(1), place=lambda: np.eye(4))  # type: ignore[arg-type,return-value]
    assert volume.stacked and volume.decoded() is volume and calls == [1]


def test_a_conversation_says_its_turns_and_knows_itself_by_them() -> None:
    turns = (Message("user", "Why?"), Message("assistant", "So."))
    one = Conversation(id="1", turns=turns)
    assert (one.as_text, one.noun) == ("user: Why?\nassistant: So.", "conversation")
    assert one.digest() == Conversation(id="2", turns=turns, meta={"a": 1}).digest()
    others = [(turns[1], turns[0]), (turns[0],), (Message("assistant", "Why?"), turns[1])]
    assert len({one.digest(), *(Conversation(id="1", turns=other).digest() for other in others)}) == 4
    picture = Image(id="p", load=lambda: np.zeros((2, 2, 3), np.uint8))
    shown = Conversation(id="1", turns=(Message("user", ("Why?", picture)),))
    assert shown.as_text == "user: Why?" and shown.digest() != Conversation(id="1", turns=turns[:1]).digest()


@pytest.mark.parametrize(("turns", "reason"), [((), "without a turn"), ((Message("user", None),), "not text")])  # type: ignore[arg-type]
def test_a_conversation_has_turns_of_text(turns: tuple[Message, ...], reason: str) -> None:
    with pytest.raises(BadValue, match=reason):
        Conversation(id="1", turns=turns)


def test_digests_of_the_records_that_were_stay() -> None:
    assert Document(id="1", text="a").digest() == "fcf7579b2db13f7e"
    assert question().digest() == "e5f10d4fb2bc3bd1"


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 2), (3, 2), (0, 5)])
def test_a_span_lies_in_its_text(start: int, end: int) -> None:
    with pytest.raises(BadValue, match="a span does not lie in the text"):
        Document(id="1", text="four", spans=(Span(start, end, "x"),))


@pytest.mark.parametrize("parts", [((0, 1), (3, 5)), ((2, 3), (0, 1)), ((1, 0), (2, 4))])
def test_the_pieces_of_a_span_lie_in_it_in_order(parts: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(BadValue, match="a span does not lie in the text"):
        Document(id="1", text="four", spans=(Span(0, 4, "x", parts=parts),))


def test_a_relation_by_number_speaks_of_a_span_there_is() -> None:
    spans = (Span(0, 1, "x"), Span(0, 4, "y", ("C1",), ((0, 1), (2, 4))))
    assert (
        Document(id="1", text="four", spans=spans, relations=(Relation("r", 0, 1), Relation("r", "C1", "C2"))).spans
        == spans
    )
    with pytest.raises(BadValue, match="a relation speaks of a span"):
        Document(id="1", text="four", spans=spans, relations=(Relation("r", 0, 2),))


def test_what_is_marked_in_a_text_does_not_change_its_digest() -> None:
    assert (
        Document(id="1", text="four").digest()
        == Document(id="2", text="four", spans=(Span(0, 1, "x"),)).digest()
        == "d5b51ea3360f162b"
    )


def test_what_is_marked_lies_in_its_turn_and_in_its_text() -> None:
    assert Message("user", "I cough.", spans=(Span(2, 7, "symptom", status="present"),)).text[2:7] == "cough"
    assert Document(id="1", text="Title\nBody", sections=(Span(6, 10, "BACKGROUND"),)).sections[0].type == "BACKGROUND"
    for wrong in (Span(2, 9, "symptom"), Span(3, 3, "symptom"), Span(-1, 2, "symptom")):
        with pytest.raises(BadValue, match="a span does not lie in the text"):
            Message("user", "I cough.", spans=(wrong,))
        with pytest.raises(BadValue, match="a span does not lie in the text"):
            Document(id="1", text="I cough.", sections=(wrong,))


def test_turns_are_equal_by_what_is_said_of_them_and_hashed_by_what_they_say() -> None:
    bare, marked = Message("user", "Hi"), Message("user", "Hi", {"act": "greeting"})
    assert bare != marked and hash(bare) == hash(marked) and bare.labels == {}


def test_a_pair_is_two_texts() -> None:
    one = Pair(id="1", a="It binds.", b="It is bound.")
    assert (one.noun, one.as_text, KINDS["Pair"]) == ("pair", "It binds.\nIt is bound.", Pair)
    assert one.digest() != Pair(id="1", a="It is bound.", b="It binds.").digest()
    with pytest.raises(BadValue, match="one of the two texts is not text"):
        Pair(id="1", a="It binds.", b=None)  # type: ignore[arg-type]
