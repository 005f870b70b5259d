"""What lies within what: spans put together, the segment that holds some, the texts inside one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Segment, Text, Video


def joined(spans: Sequence[Span]) -> list[Span]:
    """Spans in time order, those that touch made one; spans of other clocks stay apart."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: span.clock.exact(span.start)):
        last = found[-1] if found else None
        if last is not None and span.clock == last.clock and span.start <= last.end:
            found[-1] = Span(last.clock, last.start, max(last.end, span.end))
        else:
            found.append(span)
    return found


def holder_of(evidence: Sequence[Span], segments: Iterable[Segment]) -> Segment | None:
    """The first segment that has all the evidence within it, to a millisecond."""
    spans = [span.on(MILLISECONDS) for span in evidence]
    for segment in segments:
        own = segment.span.on(MILLISECONDS)
        if all(own.start - 1 <= span.start and span.end <= own.end + 1 for span in spans):
            return segment
    return None


def relative(span: Span, whole: Span) -> str:
    """A span as shares of a whole's length, e.g. 0.125-0.250, for trainers without seconds."""
    length = whole.duration_s or 1.0
    start, end = ((at - whole.start_s) / length for at in (span.start_s, span.end_s))
    return f"{max(start, 0):.3f}-{min(end, 1):.3f}"


def texts_within(video: Video, segment: Segment, role: str, layer: str = "") -> list[Text]:
    """The last text of a role on each segment of `layer` inside `segment`, in time order.

    Inside means to a millisecond. Without a layer it is the segment's own last text, if any.
    """
    if not layer:
        return segment.texts_of(role)[-1:]
    whole = segment.span.on(MILLISECONDS)
    found = []
    for own in video.layer(layer):
        span = own.span.on(MILLISECONDS)
        if whole.start - 1 <= span.start and span.end <= whole.end + 1:
            found += [(span.start, span.end, text) for text in own.texts_of(role)[-1:]]
    return [text for *_, text in sorted(found, key=lambda one: one[:2])]
