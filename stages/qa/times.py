"""How times are told in a question or an answer, counted from the start of the clip.

Trainers differ in the one form that their model can read or write, and a form has its price: a
clock is good to half a second, bins to half a bin, and a placeholder costs nothing, as its numbers
stand beside the text. So the form is a setting, and the timeline itself is never rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clipmill.schemas.clocks import Span

TimeFormat = Literal["seconds", "clock", "percent", "bins", "digits", "placeholder"]

PLACEHOLDER = "<time>"


@dataclass(frozen=True, slots=True)
class Times:
    """A form of times: `12.3 s`, `00:00:12`, `45.2%`, `<45>` of so many bins, `0012.3` (one token a
    digit, always as many), or `<time>`."""

    form: TimeFormat = "seconds"
    bins: int = 100

    def moment(self, at: float, whole: Span) -> str:
        """A moment, in presentation seconds, as told about the clip `whole`."""
        seconds = at - whole.start_s
        share = seconds / whole.duration_s if whole.duration_s else 0.0
        if self.form == "seconds":
            return f"{seconds:.1f} s"
        if self.form == "clock":
            rounded = round(seconds)
            return f"{rounded // 3600:02d}:{rounded // 60 % 60:02d}:{rounded % 60:02d}"
        if self.form == "percent":
            return f"{share:.1%}"
        if self.form == "bins":
            return self._token(share)
        return f"{seconds:06.1f}" if self.form == "digits" else PLACEHOLDER

    def box(self, sides: Sequence[float]) -> str:
        """Left, top, right and bottom, in bins or in shares of the picture."""
        if self.form != "bins":
            return " ".join(f"{side:.2f}" for side in sides)
        return "".join(self._token(side) for side in sides)

    def span(self, span: Span, whole: Span) -> str:
        """`from A to B`, or `at A` where both are told alike; placeholders have two numbers."""
        first, last = (self.moment(at, whole) for at in (span.start_s, span.end_s))
        alike = first == last and self.form != "placeholder"
        return f"at {first}" if alike else f"from {first} to {last}"

    def _token(self, share: float) -> str:
        last = self.bins - 1
        return f"<{min(last, int(share * self.bins)):0{len(str(last))}d}>"


SECONDS = Times()
