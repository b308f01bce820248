"""What a repository of the hub holds, known from its listing, its small files and the headers of its weights alone, so
that what sora cannot use is refused before gigabytes come.

A copy of the repository is laid out in a temporary folder: settings whole, weights as files of holes with the header
alone. It is recognised there as a folder of a person's own is.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from sora import catalog
from sora.catalog import hub
from sora.catalog.fetch import RemoteFile
from sora.catalog.listing import Repository
from sora.catalog.repositories import LORA, MODEL, Fetched, RepositoryName, is_inside
from sora.catalog.transfer import Session, head, retried
from sora.errors import ModelError
from sora.weights import facts, source

HEADERS = (1 << 18, 1 << 22, 1 << 24)  # bytes of a file of weights that are asked for, until its header is whole
MAX_SETTINGS = 1 << 23  # bytes of a small file
_USUAL = re.compile(r"^(diffusion_pytorch_)?model[^/]*\.safetensors(\.index\.json)?$")
_SETTINGS = re.compile(r"(^|/)(model_index|config|scheduler_config|[^/]*\.safetensors\.index)\.json$")
ADAPTER = "adapter_config.json"  # in which peft says the strength of a LoRA
SHOWN = 6  # names of files in a message


def recognised(name: RepositoryName, found: Repository, session: Session) -> Fetched:
    """What of a repository is meant, and what it is. Raises ModelError for what sora cannot use, and as ``fetch``."""
    chosen = _chosen(name, list(filter(is_inside, found.entries)))
    with tempfile.TemporaryDirectory(prefix="sora-repository-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        try:
            return _of_copy(name, found, chosen, root, session)
        except ModelError as error:
            problem = str(error).replace(f"{root}/", f"{name.repo}:").replace(str(root), name.repo)
            raise ModelError(re.sub(r"; put (it|them) back$", "; choose another repository", problem)) from None


def _chosen(name: RepositoryName, names: list[str]) -> list[str]:
    """The files that are meant, settings and indices among them. Raises ModelError where that is not clear."""
    if name.files:
        return _named(name, names)
    if "model_index.json" in names:
        return names
    if usual := [each for each in names if "/" not in each and _USUAL.search(each)]:
        return [*usual, *(each for each in names if each == "config.json")]
    places = dict.fromkeys(_place_of(each) for each in names if each.endswith(source.READ))
    if one := _of_one_model(list(places)):
        settings = (".index.json", "/config.json", *source.READ)
        return [n for n in names if n in one or (n.rpartition("/")[0] in one and n.endswith(settings))]
    if not places:
        _refuse_pickles(name.repo, names)
    raise _ambiguous(name, names)


def _place_of(file: str) -> str:
    """Itself, or its folder where that is one checkpoint."""
    folder, _, last = file.rpartition("/")
    return folder if folder and (_USUAL.search(last) or source.all_shards(last)) else file


def _named(name: RepositoryName, names: list[str]) -> list[str]:
    """The files of these names, or of these words, such as Q4_K_M."""
    found: list[str] = []
    for file in name.files:
        if file in names:
            found += _with_shards(file, names)
            continue
        word = rf"(?<![a-z0-9]){re.escape(file.lower())}(?![a-z0-9])"
        fits = [each for each in names if each.endswith(source.READ) and re.search(word, each.lower())]
        if not (one := _of_one_model(fits)):
            closest = get_close_matches(file, names, n=1, cutoff=0.4)
            hint = f"did you mean {name.repo}:{closest[0]}?" if closest and not fits else f"it fits {len(fits)} files"
            raise ModelError(f"{name.repo} has no file {file}; {hint}")
        found += one
    for file in found:
        if file.endswith(source.PICKLES):
            _refuse_pickles(name.repo, [file])
        if not file.endswith((*source.READ, ".index.json")):
            raise ModelError(
                f"{name.repo}:{file} is no weights file that sora reads; expected {' or '.join(source.READ)}"
            )
    return found


def _with_shards(file: str, names: list[str]) -> list[str]:
    """A file, or all shards of the weights that it is one of, and their index."""
    folder, _, last = file.rpartition("/")
    shards = {f"{folder}/{shard}".lstrip("/") for shard in source.all_shards(last)}
    stem = re.sub(r"-\d{5}-of-\d{5}\.safetensors$", "", file)
    index = f"{stem}.safetensors.index.json"
    return [file] if not shards else [each for each in names if each in shards or each == index]


def _of_one_model(files: list[str]) -> list[str]:
    """The files where they are one, or two that are one model by their names; else none."""
    return files if len(files) == 1 or (len(files) == 2 and catalog.are_pair(*map(Path, files))) else []


def _ambiguous(name: RepositoryName, names: list[str]) -> ModelError:
    files = tuple(sorted(each for each in names if each.endswith(source.READ)))
    if not files:
        return ModelError(
            f"{name.repo} holds no weights; expected model_index.json, or files in {' or '.join(source.READ)}"
        )
    return ModelError(
        f"{name.repo} holds {len(files)} files of weights ({hub.abbreviate(files, SHOWN)}); name the one to fetch, or"
        f" two that are one model, as in sora models pull {name.repo}:FILE"
    )


def _refuse_pickles(repo: str, names: list[str]) -> None:
    pickles = [name for name in names if name.endswith(source.PICKLES)]
    if pickles:
        raise source.pickle_error(Path(f"{repo}:{pickles[0]}"))


def _of_copy(name: RepositoryName, found: Repository, chosen: list[str], root: Path, session: Session) -> Fetched:
    """What the copy of these files is."""
    whole = "model_index.json" in chosen
    remote = {file.name: file for file in found.files([n for n in chosen if _SETTINGS.search(n)], session)}
    for file in remote.values():
        if file.size <= MAX_SETTINGS:
            _lay(root, file, file.size, session)
    if whole:
        for each in chosen:  # their names, so that what is missing is seen
            if not each.endswith((*source.READ, ".json")):
                continue
            (root / each).parent.mkdir(parents=True, exist_ok=True)
            (root / each).touch()
        spec = catalog.recognise(name.text, root)
        if lacking := tuple(hub.missing(root, spec.files)):
            raise ModelError(
                f"{name.repo} lacks {hub.abbreviate(lacking, SHOWN)} on the hub; choose another repository"
            )
        files = tuple(_files_of(root, spec.files))
        return replace(_fetched(name, found, files, session), like=spec.base_model)
    weights = found.files([each for each in chosen if each.endswith(source.READ)], session)
    for file in weights:
        _lay_header(root, file, session)
    fetched = _fetched(name, found, tuple(chosen), session)
    if len(weights) <= 2 and all(facts.facts(root / file.name).kind != "weights" for file in weights):
        settings = [f"{Path(file.name).parent}/{ADAPTER}".removeprefix("./") for file in weights]
        names = (*fetched.files, *(each for each in settings if each in found.entries))
        return replace(_fetched(name, found, names, session), kind=LORA)
    return _transformer(name, fetched, root, [root / file.name for file in weights])


def _transformer(name: RepositoryName, found: Fetched, root: Path, files: list[Path]) -> Fetched:
    """Of a transformer, or of both experts. One expert alone may come, since the other may follow."""
    alone = len(found.files) == len(files) <= 2
    try:
        spec = catalog.recognise(name.text, *(files if alone else [root]))
    except ModelError as refusal:
        if len(files) > 1:
            raise
        spec = catalog.recognise(name.text, files[0], files[0])
        return replace(found, like=spec.base_model, note=str(refusal))
    note = f"its other parts come from {spec.base_model}, or a model with the same"
    return replace(found, like=spec.base_model, note=note)


def _fetched(name: RepositoryName, found: Repository, files: tuple[str, ...], session: Session) -> Fetched:
    size = sum({file.digest: file.size for file in found.files(files, session)}.values())
    return Fetched(name.text, name.repo, found.commit, files, size, MODEL, found.licence)


def _files_of(root: Path, patterns: Iterable[str]) -> list[str]:
    """The files of a model in diffusers' layout that are read."""
    found: dict[str, None] = {}
    for pattern in patterns:
        if pattern.endswith("*.safetensors"):
            files = source.files(root / pattern.rpartition("/")[0])
        else:
            files = [path for path in root.glob(pattern) if path.is_file()]
        found |= dict.fromkeys(path.relative_to(root).as_posix() for path in files)
    return list(found)


def _lay(root: Path, file: RemoteFile, count: int, session: Session) -> None:
    """The first bytes of a remote file, in a file of its size."""
    place = root / file.name
    place.parent.mkdir(parents=True, exist_ok=True)
    span = {"Range": f"bytes=0-{max(0, count - 1)}"}  # which a hub need not know
    first_bytes = retried(session, lambda: head(session, file.url, count, span))
    with place.open("wb") as opened_file:
        opened_file.write(first_bytes)
        opened_file.truncate(file.size)


def _lay_header(root: Path, file: RemoteFile, session: Session) -> None:
    """So much of a file of weights that its header is whole. Raises ModelError for one that has none."""
    for count in HEADERS:
        _lay(root, file, min(count, file.size), session)
        try:
            facts.facts(root / file.name)
        except ModelError:
            if count >= min(HEADERS[-1], file.size):
                raise
        else:
            return
