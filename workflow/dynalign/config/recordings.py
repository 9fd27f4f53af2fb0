"""The table of recordings: who was scanned when, on which story (METHOD section 2.3)."""

import csv
import io
from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from dynalign.config.brain import Brain, kind_of
from dynalign.config.fields import FilePath, MaskPath, Name
from dynalign.config.story import Story
from dynalign.io.errors import InputError
from dynalign.io.text import read_text


class Recording(BaseModel):
    """One run of one subject, on a stretch of a story: a row of the table."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    subject: Name
    run: int = Field(gt=0)
    story: str = Field(min_length=1)
    #: Time of the story, in s, at which the run's first TR starts.
    start: float = 0.0
    #: Which hearing of this stretch it is, of a subject that heard it several times.
    repeat: int = Field(1, gt=0)
    #: Repetition time in s; else ``story.tr``.
    tr: float | None = Field(None, gt=0)
    images: MaskPath
    mask: MaskPath | None = None
    #: Table of the run's confounds, of which ``brain.confounds`` says what is taken out.
    confounds: FilePath | None = None


class Recordings(RootModel[tuple[Recording, ...]]):
    """Recordings of one subject or of several."""

    def of(self, subject: str) -> tuple[Recording, ...]:
        """Those of one subject, in the order of runs."""
        return tuple(sorted((one for one in self.root if one.subject == subject), key=lambda one: one.run))

    def stretches(self, subject: str) -> tuple[tuple[Recording, ...], ...]:
        """A subject's runs by stretch of a story, in the order of first hearings; hearings in the order of `repeat`."""
        rows = sorted(self.of(subject), key=lambda one: one.repeat)
        stretches: dict[tuple, list[Recording]] = {}
        for one in rows:
            stretches.setdefault((one.story, one.start), []).append(one)
        return tuple(sorted(map(tuple, stretches.values()), key=lambda heard: heard[0].run))

    def repeated(self, subject: str) -> bool:
        """Whether a subject heard a stretch several times."""
        return any(len(heard) > 1 for heard in self.stretches(subject))

    def tr_of(self, subject: str, story: Story) -> float:
        """A subject's TR in s: its own, or that of the story; InputError without one."""
        tr = self.of(subject)[0].tr or story.tr
        if tr is None:
            raise InputError("story.tr: give the TR in s, or a column `tr` in the table of recordings")
        return tr

    @property
    def stories(self) -> tuple[str, ...]:
        """All stories, in the order of the table."""
        return tuple(dict.fromkeys(one.story for one in self.root))

    @property
    def subjects(self) -> tuple[str, ...]:
        """All subjects, in the order of the table."""
        return tuple(dict.fromkeys(one.subject for one in self.root))


class RecordedBrain(Brain):
    """The responses of subjects whose files stand in the table of recordings."""

    recordings: Recordings

    @property
    def kind(self) -> str:
        """Kind of the images, one for all."""
        return kind_of(self.recordings.root[0].images)

    def image(self, subject: str, run: int) -> str:
        """The recording of one run; {hemi} stays."""
        return self._row(subject, run).images

    def first_image(self, subject: str) -> str:
        """The recording of a subject's first run, whatever its number; {hemi} stays."""
        return self.recordings.of(subject)[0].images

    def confounds_file(self, subject: str, run: int) -> str:
        """Path of the table of one run's confounds."""
        return self._row(subject, run).confounds

    def mask_of(self, subject: str) -> str | None:
        """The mask of a subject, if there is one; {hemi} stays."""
        return self.recordings.of(subject)[0].mask

    def _row(self, subject: str, run: int) -> Recording:
        return next(one for one in self.recordings.of(subject) if one.run == run)


def with_recordings(brain: Brain, recordings: Recordings | None) -> Brain:
    """The responses, with their files by the table of recordings if there is one."""
    return brain if recordings is None else RecordedBrain(**brain.model_dump(), recordings=recordings)


def read_recordings(path: str | Path) -> Recordings:
    """Read the table, tab-separated: subject, run, story, images, perhaps start, repeat, tr, mask and confounds.

    InputError: a column is missing or unknown, a cell cannot be used, or a run of a subject stands twice.
    """
    rows = list(csv.DictReader(io.StringIO(read_text(path)), delimiter="\t"))
    columns = list(Recording.model_fields)
    needed = [name for name, field in Recording.model_fields.items() if field.is_required()]
    header = list(rows[0]) if rows else []
    if absent := [name for name in needed if name not in header]:
        has = f"it has {', '.join(map(str, header))}" if rows else "it has no rows"
        raise InputError(f"{path}: lacks column {absent[0]!r}; {has}; a recordings table has {', '.join(columns)}")
    if unknown := [name for name in header if name not in columns]:
        raise InputError(f"{path}: unknown column {unknown[0]!r}; a recordings table has {', '.join(columns)}")
    found = []
    for number, row in enumerate(rows):
        try:
            found.append(
                Recording.model_validate({name: cell for name, cell in row.items() if cell not in ("", "n/a")})
            )
        except ValidationError as error:
            first = error.errors()[0]
            name, message = first["loc"][0], first["msg"].removeprefix("Value error, ")
            raise InputError(f"{path}: row {number}: {name}: {message} (got {row.get(str(name))!r})") from None
    counts = Counter((one.subject, one.run) for one in found)
    if twice := [key for key, n in counts.items() if n > 1]:
        raise InputError(f"{path}: subject {twice[0][0]!r} has two rows of run {twice[0][1]}; number a subject's runs")
    kinds = {kind_of(one.images): one.images for one in found}
    if len(kinds) > 1:
        listed = ", ".join(f"{kind} ({file})" for kind, file in kinds.items())
        raise InputError(f"{path}: images of several kinds: {listed}; a study has one")
    if "nifti" in kinds and (bare := [one for one in found if one.mask is None]):
        raise InputError(
            f"{path}: run {bare[0].run} of subject {bare[0].subject!r} has no mask, which NIfTI images need"
        )
    for subject in dict.fromkeys(one.subject for one in found):
        for key, why in (
            ("mask", "its voxels need one for all runs"),
            ("tr", "delays are in TRs, which need one length"),
        ):
            if len({getattr(one, key) for one in found if one.subject == subject}) > 1:
                raise InputError(f"{path}: subject {subject!r} has several values of {key}; {why}")
    known = Recordings(tuple(found))
    for subject in known.subjects:
        for heard in known.stretches(subject):
            if [one.repeat for one in heard] != list(range(1, len(heard) + 1)):
                listed = ", ".join(f"{one.repeat} (run {one.run})" for one in heard)
                raise InputError(
                    f"{path}: subject {subject!r}: story {heard[0].story!r} from {heard[0].start:g} s has repeat "
                    f"{listed}; runs with the same story and start are hearings of one stretch: number them 1, 2, … in "
                    "a column `repeat`"
                )
    return known
