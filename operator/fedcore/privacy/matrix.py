"""The matrix that a job's last release was a row of: what its rows have cost, and whose noise the next one has. Pure.

A row is a round. Rounds that release nothing are rows all the same: a site is away from them as well, and who does not see a row's
release learns less. Each matrix is charged for by itself, after what was spent before it. In account.py.
"""

from dataclasses import dataclass

from fedapi.wire.privacy import Charge, DrawnNoise, ReleasedRow, Row
from fedcore.privacy.factorization import sensitivity_squared


@dataclass(frozen=True)
class Matrix:
    """With the same numbers in each of its rows."""

    job_uid: str  # whose key its noise derives from
    bands: int
    min_separation: int
    since: int  # round of its first row
    clip_norm: float
    noise_multiplier: float
    before: float  # mu^2 of all that was released before it
    drawn: tuple[DrawnNoise, ...] = ()  # of the last releases, oldest first

    @staticmethod
    def of(
        last: "Matrix | None", spent: float, charge: Charge, row: ReleasedRow, round_: int, job_uid: str
    ) -> "Matrix":
        """That of a release, after the one of the release before it."""
        goes_on = last if last is not None and last.since == row.since else None
        drawn = (*(goes_on.drawn if goes_on else ()), DrawnNoise(round=round_, drawn_for=row.drawn_for))
        return Matrix(
            job_uid=job_uid,
            bands=row.bands,
            min_separation=row.min_separation,
            since=row.since,
            clip_norm=charge.clip_norm,
            noise_multiplier=charge.noise_multiplier,
            before=goes_on.before if goes_on else spent,
            drawn=drawn[1 - row.bands :],
        )

    def squares(self, round_: int) -> float:
        """mu^2 of all that was released, the rows up to that round included."""
        return self.before + self.sensitivity_squared(round_ - self.since + 1) / self.noise_multiplier**2

    def sensitivity_squared(self, rows: int) -> float:
        """Of so many of its rows, in clip norms."""
        return sensitivity_squared(self.bands, self.min_separation, rows)

    def row(self, round_: int) -> Row:
        """That of a round after its last release."""
        earlier = tuple(each for each in self.drawn if round_ - each.round < self.bands)
        return Row(bands=self.bands, min_separation=self.min_separation, since=self.since, earlier=earlier)
