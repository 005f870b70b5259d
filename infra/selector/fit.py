"""Learn which candidate people take: votes on a slice of a finished output make a selector.

    python infra/selector/fit.py OUT votes.csv selector.json --model ViT-L-14 \
        --pretrained datacomp_xl_s13b_b90k

`votes.csv` has the columns video, segment and role, one row per vote; the role is that of the
candidate a person took. OUT must hold the candidates' texts and an embedding of the clips by the
same encoder. Prints how often the selector takes the voted text on votes it has not seen.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from clipmill.pipeline.output.tables import read_videos
from clipmill.pipeline.store.store import Store
from clipmill.schemas.records import Segment
from clipmill.stages.caption.selector import Candidates, Selector, fit
from clipmill.stages.models.encoder import Encoder, EncoderSettings, encoder_name, open_encoder

FOLDS = 5
Vote = tuple[Candidates, int]


def read_votes(out: str, file: Path, encoder: Encoder, embedding: str, prefix: str) -> list[Vote]:
    """Votes with what was voted on; those on unknown clips, roles or vectors are left out."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [(row["video"], row["segment"], row["role"]) for row in csv.DictReader(lines)]
    wanted = {(video, segment) for video, segment, _ in rows}
    clips = {
        (video.id, segment.id): segment
        for video in read_videos(Store.open(out))
        for segment in video.segments
        if (video.id, segment.id) in wanted
    }
    votes = []
    for video, name, role in rows:
        segment = clips.get((video, name))
        vote = _vote(segment, role, encoder, embedding, prefix) if segment else None
        if vote is not None:
            votes.append(vote)
    return votes


def _vote(
    segment: Segment, role: str, encoder: Encoder, embedding: str, prefix: str
) -> Vote | None:
    held = [text for text in segment.texts if text.role.startswith(prefix)]
    roles = tuple(text.role for text in held)
    model = encoder_name(encoder.identity)
    vectors = [e.vector for e in segment.embeddings if (e.name, e.model) == (embedding, model)]
    if role not in roles or not vectors:
        return None
    said = tuple(text.text for text in held)
    clip = np.asarray(vectors[-1], np.float32)
    return Candidates(clip, said, encoder.texts(said), roles), roles.index(role)


def held_out(votes: list[Vote], encoder: str) -> float:
    """Share of votes whose text a selector takes that has learnt from the others."""
    hits = 0
    for fold in range(min(FOLDS, len(votes))):
        kept = [vote for n, vote in enumerate(votes) if n % FOLDS != fold]
        learnt = fit(kept, encoder)
        hits += sum(_agrees(learnt, vote) for vote in votes[fold::FOLDS])
    return hits / len(votes)


def _agrees(selector: Selector, vote: Vote) -> bool:
    own, place = vote
    return own.said[int(np.argmax(selector.utilities(own)))] == own.said[place]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", help="output of a recipe with candidates and an embedding")
    parser.add_argument("votes", type=Path, help="CSV with video, segment, role")
    parser.add_argument("selector", type=Path, help="file that is written")
    parser.add_argument("--model", default="ViT-B-32", help="encoder of the embedding")
    parser.add_argument("--pretrained", default="laion2b_s34b_b79k")
    parser.add_argument("--embedding", default="clip", help="name of the embedding")
    parser.add_argument("--prefix", default="candidate:", help="what candidates' roles begin with")
    given = parser.parse_args()
    encoder = open_encoder(EncoderSettings(model=given.model, pretrained=given.pretrained))
    encoder.setup()
    name = encoder_name(encoder.identity)
    votes = read_votes(given.out, given.votes, encoder, given.embedding, given.prefix)
    fit(votes, name).save(given.selector)
    if len(votes) >= 2 * FOLDS:
        print(f"{len(votes)} votes; of unseen ones {held_out(votes, name):.0%} foretold")


if __name__ == "__main__":
    main()
