"""Posteriors of a few images of a finished evaluation, fused as its scores were: pages read rows, never whole sets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.artifacts import ArtifactStore
from app.db.models import EvaluationMember, EvaluationSet, LeaseState, PredictionPart, PredictionSet
from app.errors import ArtifactDamagedError
from app.services.answering.subjects import Subject
from ensembles.errors import PosteriorsFormatError, SpecError
from ensembles.fusion import combine_views, fuse, temper
from ensembles.predictions import PosteriorPart, read_rows
from ensembles.protocols import FusionSpec
from ensembles.specs import ViewSpec

#: A member of an evaluation: the evaluation's id and the member's position.
MemberKey = tuple[str, int]


class MemberPosteriors:
    """Posteriors of members for the images of one page, each member read once."""

    def __init__(
        self,
        artifacts: ArtifactStore,
        images: NDArray[np.integer],
        views: dict[MemberKey, list[tuple[ViewSpec, tuple[PosteriorPart, ...]]]],
    ) -> None:
        """Made by `locate`."""
        self.artifacts = artifacts
        self.images = images
        self.views = views
        self._read: dict[MemberKey, NDArray[np.float64]] = {}

    def of(self, subject: Subject) -> NDArray[np.float64]:
        """(n, K), the mean over scales, then over modes, then members fused as their evaluation says.

        Raises:
            ArtifactDamagedError: a file is missing, or is none of posteriors of these images.
        """
        members = [self._member(member) for member in subject.members]
        if len(members) == 1:
            return members[0]
        fusion = FusionSpec.from_dict(subject.evaluation.fusion)
        probs = fuse(fusion, members, [member.weight for member in subject.members])
        return probs if fusion.temperature is None else temper(probs, fusion.temperature)

    def _member(self, member: EvaluationMember) -> NDArray[np.float64]:
        key = (member.evaluation_id, member.position)
        if key not in self._read:
            views = self.views.get(key, [])
            name = f"posteriors of {member.checkpoint.name}"
            try:
                probs = [read_rows(parts, self.images) for _, parts in views]
                self._read[key] = combine_views([view for view, _ in views], probs)
            except PosteriorsFormatError as error:
                raise ArtifactDamagedError(name, error.rule) from error
            except OSError as error:
                raise ArtifactDamagedError(name, f"a file cannot be read ({error.strerror})") from error
            except SpecError as error:
                raise ArtifactDamagedError(name, "its views do not have the same classes") from error
        return self._read[key]


def locate(
    session: Session, artifacts: ArtifactStore, subjects: Sequence[Subject], images: NDArray[np.integer]
) -> MemberPosteriors:
    """Find the part files that hold some images, for all members of some subjects; none is opened yet.

    Args:
        session: to read with.
        artifacts: where the files lie.
        subjects: whose.
        images: (n,) positions in the data set's index, n at least 1.
    """
    members = {(member.evaluation_id, member.position) for subject in subjects for member in subject.members}
    evaluations = {evaluation_id for evaluation_id, _ in members}
    links = session.execute(
        select(EvaluationSet, PredictionSet.view)
        .join(PredictionSet, PredictionSet.id == EvaluationSet.set_id)
        .where(EvaluationSet.evaluation_id.in_(evaluations))
        .order_by(EvaluationSet.evaluation_id, EvaluationSet.member_position, EvaluationSet.view_position)
    ).all()
    wanted = [(row, view) for row, view in links if (row.evaluation_id, row.member_position) in members]
    parts = _parts(session, artifacts, {row.set_id for row, _ in wanted}, images)
    views: dict[MemberKey, list[tuple[ViewSpec, tuple[PosteriorPart, ...]]]] = defaultdict(list)
    for row, view in wanted:
        key = (row.evaluation_id, row.member_position)
        views[key].append((ViewSpec.from_dict(view), tuple(parts[row.set_id])))
    return MemberPosteriors(artifacts, images, views)


def _parts(
    session: Session, artifacts: ArtifactStore, set_ids: set[str], images: NDArray[np.integer]
) -> dict[str, list[PosteriorPart]]:
    columns = (PredictionPart.set_id, PredictionPart.start, PredictionPart.stop, PredictionPart.artifact)
    holding = or_(
        *((PredictionPart.start <= image) & (PredictionPart.stop > image) for image in sorted(set(images.tolist())))
    )
    rows = session.execute(
        select(*columns).where(
            PredictionPart.set_id.in_(set_ids),
            PredictionPart.state == LeaseState.DONE,
            holding,
        )
    )
    parts: dict[str, list[PosteriorPart]] = defaultdict(list)
    for set_id, start, stop, artifact in rows:
        if artifact is not None:
            parts[set_id].append(PosteriorPart(start, stop, artifacts.path(artifact)))
    return parts
