"""Random records for property tests: every field, hostile strings, extreme numbers."""

from __future__ import annotations

from hypothesis import strategies as st

from clipmill.schemas.clocks import Clock, Span
from clipmill.schemas.records import (
    Author,
    Content,
    Embedding,
    Probe,
    Sample,
    Segment,
    Step,
    Stream,
    Text,
    Transcript,
    Utterance,
    Video,
    Word,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
TICKS = st.integers(-(2**62), 2**62)
WORDS = st.text(max_size=12)
NAMES = st.dictionaries(WORDS, WORDS, max_size=3)
clocks = st.builds(
    Clock, WORDS, st.integers(1, 2**31), st.integers(1, 2**31), st.integers(-(2**40), 2**40)
)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    start, end = sorted((draw(TICKS), draw(TICKS)))
    return Span(draw(clocks), start, end)


authors = st.builds(Author, WORDS, WORDS, WORDS, WORDS)
maybe_text = st.none() | WORDS
texts = st.builds(
    Text,
    id=WORDS,
    role=WORDS,
    text=st.text(max_size=40),
    author=authors,
    language=maybe_text,
    sources=st.lists(WORDS, max_size=2),
    span=st.none() | spans(),
)
single_floats = st.floats(width=32)
embeddings = st.builds(
    Embedding,
    WORDS,
    WORDS,
    st.lists(single_floats, max_size=4) | st.lists(st.floats(), max_size=4),
)
samples = st.builds(
    Sample,
    id=WORDS,
    kind=WORDS,
    question=WORDS,
    answer=WORDS,
    author=authors,
    options=st.lists(WORDS, max_size=2),
    evidence=st.lists(spans(), max_size=2),
    sources=st.lists(WORDS, max_size=2),
    labels=NAMES,
    turn=st.none() | spans(),
)
streams = st.builds(
    Stream,
    index=st.integers(0, 9),
    kind=WORDS,
    codec=WORDS,
    clock=clocks,
    duration=st.none() | INT64,
    frames=st.none() | INT64,
    width=st.none() | st.integers(0, 9999),
    language=maybe_text,
)
probes = st.builds(
    Probe,
    container=WORDS,
    size=st.integers(0, 2**62),
    duration_s=st.floats(),
    video=st.integers(0, 3),
    streams=st.lists(streams, max_size=2),
    decoded_frames=st.none() | INT64,
    damage=st.lists(WORDS, max_size=2),
    tags=NAMES,
)
words = st.builds(Word, WORDS, TICKS, TICKS, st.none() | st.floats())
utterances = st.builds(
    Utterance,
    WORDS,
    TICKS,
    TICKS,
    words=st.lists(words, max_size=2),
    speaker=maybe_text,
    language=maybe_text,
    doubt=maybe_text,
)
transcripts = st.builds(
    Transcript,
    clocks,
    authors,
    kind=st.sampled_from(["speech", "subtitle"]),
    language=maybe_text,
    track=st.none() | st.integers(0, 9),
    utterances=st.lists(utterances, max_size=3),
)
segments = st.builds(
    Segment,
    id=WORDS,
    layer=WORDS,
    span=spans(),
    parent=maybe_text,
    texts=st.lists(texts, max_size=2),
    scores=st.dictionaries(WORDS, st.floats(), max_size=3),
    labels=NAMES,
    embeddings=st.lists(embeddings, max_size=2),
    samples=st.lists(samples, max_size=2),
)
videos = st.builds(
    Video,
    id=WORDS,
    source=WORDS,
    content=st.none() | st.builds(Content, st.integers(0, 2**62), WORDS),
    licence=maybe_text,
    consent=maybe_text,
    provenance=maybe_text,
    meta=NAMES,
    side_files=NAMES,
    parents=st.lists(WORDS, max_size=2),
    probe=st.none() | probes,
    transcripts=st.lists(transcripts, max_size=2),
    segments=st.lists(segments, max_size=3, unique_by=lambda segment: segment.id),
    texts=st.lists(texts, max_size=2),
    steps=st.lists(st.builds(Step, WORDS, WORDS), max_size=2),
)
