"""The texts about a stretch of a video: its own, or those of another layer that lie within it."""

from __future__ import annotations

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Segment, Text, Video


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
