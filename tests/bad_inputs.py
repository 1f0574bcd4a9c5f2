"""Invalid inputs by the hundred, from a fixed seed: each with the exit code it must end with and what it may write.

`world` makes a small folder of everything that commands read: a space, a study, images as folders and as shards, a
bundle, a trained one with its checkpoint. An input is a copy of it, a damage, and a command.
"""

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.full_training import loop as trainings
from nas.searching import opening as searches
from tests import bad_files, bad_options, pictures
from tests.conftest import MICRO
from tests.helpers import Heard

SEED = 20
KINDS = ("options", "spaces", "folders", "shards", "bundles", "journals", "checkpoints", "weights", "urls")
Damage = Callable[[Path], object]

IMAGES = (
    MICRO.replace("image_size = 8", "image_size = 16")
    .replace("in_channels = 1", "in_channels = 3")
    .replace("num_classes = 10", "num_classes = 4")
    .replace('dataset = "digits"', 'dataset = "image_folder"')
    .replace("train_images = 200", "train_images = 0")
    .replace("batch_size = 10", "batch_size = 8")
)
"""A space for the images of `tests.pictures`."""

_QUICK = {"epochs": 1, "warmup_epochs": 0, **pictures.PLAIN}


@dataclass(frozen=True)
class BadInput:
    """A command that cannot do what it is asked.

    Attributes:
        damage: done to a copy of the world before the command runs in it.
        code: with which the command must end; 0 where damage costs only itself.
        writes: places in which the command may leave files: a log of what it began.
        slow: whether it waits for what will not come, or starts processes of its own.
    """

    name: str
    kind: str
    arguments: tuple[str, ...]
    damage: Damage = lambda _folder: None
    code: int = 1
    writes: tuple[str, ...] = ()
    slow: bool = False


def world(folder: Path) -> Path:
    """Everything that the commands of `inputs` read, undamaged."""
    (folder / "micro.toml").write_text(MICRO)
    (folder / "images.toml").write_text(IMAGES)
    searches.search(folder / "micro.toml", 3, observer=Heard(), results_dir=folder / "results")
    pictures.folders(folder / "images", train=12)
    pictures.shards(folder / "images", folder / "shards")
    pictures.bundle(folder / "small", own=pictures.recipe(**_QUICK))
    with contextlib.chdir(folder):  # a training goes on with images in the place where it found them
        trainings.train("small/bundle", "images", "trained", device="cpu")
    return folder


def inputs() -> list[BadInput]:
    """All of them, in an order that is the same each time."""
    generator = random.Random(SEED)
    makers = (_options, _spaces, _folders, _shards, _bundles, _journals, _checkpoints, _weights, _urls)
    return [bad for maker in makers for bad in maker(generator)]


def spread(count: int) -> list[BadInput]:
    """Some of each kind that answer at once, as many as fit evenly."""
    quick = [bad for bad in inputs() if not bad.slow]
    by_kind = {kind: [bad for bad in quick if bad.kind == kind] for kind in KINDS}
    generator, share = random.Random(SEED), -(-count // len(KINDS))
    return [bad for of_kind in by_kind.values() for bad in generator.sample(of_kind, share)][:count]


def _options(_generator: random.Random) -> Iterator[BadInput]:
    for arguments, code in bad_options.options():
        yield BadInput(" ".join(word[:20] for word in arguments), "options", arguments, code=code)


def _urls(_generator: random.Random) -> Iterator[BadInput]:
    for arguments, slow in bad_options.urls():
        yield BadInput(" ".join(arguments), "urls", arguments, slow=slow)


def _spaces(_generator: random.Random) -> Iterator[BadInput]:
    for number, text in enumerate(_texts()):
        for command in (("search", "--trials", "1"), ("validate-proxy",)):
            yield BadInput(
                f"space {number} {command[0]}", "spaces", (*command, "--space", "bad.toml"), _writing("bad.toml", text)
            )


def _texts() -> Iterator[bytes]:
    """Space files with one thing wrong each."""
    wrong = ("true", '"x"', "-1", "[]", "{}", "nan", "1e999", "[[1]]", "99999999999999999999")
    for key in ("epochs", "train_images", "batch_size", "rungs"):
        line = next(line for line in MICRO.splitlines() if line.startswith(f"{key} ="))
        for value in wrong:
            if value not in ("[[1]]", "99999999999999999999") or key == "rungs":
                yield MICRO.replace(line, f"{key} = {value}").encode()
    for path in ("neuron.threshold", "stem.image_size", "stem.in_channels", "stem.pool", "head.num_classes"):
        line = next(line for line in MICRO.splitlines() if line.startswith(f"{path} ="))
        for value in ("[7]", '"x"', "-1", "{}", "99999999999"):
            yield MICRO.replace(line, f"{path} = {value}").encode()
    for key in ("embed_dim", "num_heads", "residual", "attention"):
        line = next(line for line in MICRO.splitlines() if line.startswith(f"{key} ="))
        for value in ("3", "[]", "[[]]", '["nope"]', "[0]", '["a:b:c"]', '["nopemod:Cls"]'):
            if key == "attention" or "nopemod" not in value:
                yield MICRO.replace(line, f"{key} = {value}").encode()
    for text in (
        "[axes",
        "x = 1",
        "[nope]",
        "[base]\nnope = 1",
        "[axes]\nnope = [1]",
        f"x = {'[' * 3000}",
        "\0",
        "[base]",
    ):
        yield f"{text}\n".encode()
    yield MICRO.encode("utf-16")
    yield MICRO.encode() + b"\xff"
    yield (MICRO + "[constraints]\nmax_macs = -3\n").encode()
    yield (MICRO + '[constraints]\nmin_accuracy = "high"\n').encode()
    yield (MICRO + "[hypervolume]\naccuracy = 90\nenergy_mj = 0.01\n").encode()
    yield (MICRO + "[hypervolume]\naccuracy = 0.8\n").encode()


def _writing(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


_READERS_OF_IMAGES: dict[str, tuple[str, ...]] = {
    "search": ("search", "--space", "images.toml", "--trials", "1", "--study", "new", "--data-dir"),
    "train": ("train", "small/bundle", "--device", "cpu", "--out", "out", "--data-dir"),
    "shrink": ("shrink", "--out", "shrunk"),
    "evaluate": ("evaluate", "trained", "--device", "cpu", "--data-dir"),
}


def _reading(kind: str, place: str, damages: dict[str, tuple[Damage, tuple[str, ...]]]) -> Iterator[BadInput]:
    """Commands that read images, on damages that each says which of them meet it."""
    for name, (damage, commands) in damages.items():
        for command in commands:
            arguments = (*_READERS_OF_IMAGES[command], place)
            writes = ("out", "shrunk", "results/new") if command != "evaluate" else ()
            starts = command == "shrink" and any(name.startswith(image) for image in bad_files.BROKEN)
            yield BadInput(f"{kind} {name} {command}", kind, arguments, damage, writes=writes, slow=starts)


_ALL = ("search", "train", "shrink", "evaluate")


def _folders(generator: random.Random) -> Iterator[BadInput]:
    def remove(*places: str) -> Damage:
        return lambda folder: list(map(bad_files.removed, (folder / "images" / place for place in places)))

    def image(content: bytes, part: str = "train") -> Damage:
        number = generator.randrange(12 if part == "train" else 3)
        return lambda folder: (folder / "images" / part / "class0001" / f"{number}.jpg").write_bytes(content)

    def rename(old: str, new: str) -> Damage:
        return lambda folder: (folder / "images" / old).rename(folder / "images" / new)

    damages: dict[str, tuple[Damage, tuple[str, ...]]] = {
        "nothing": (remove("train", "val"), _ALL),
        "no train": (remove("train"), _ALL),
        "no val": (remove("val"), ("train", "shrink", "evaluate")),
        "an empty class": (remove(*(f"train/class0002/{i}.jpg" for i in range(12))), _ALL),
        "an empty class of the test": (remove(*(f"val/class0002/{i}.jpg" for i in range(3))), ("train", "evaluate")),
        "a class less": (remove("train/class0003", "val/class0003"), ("search", "train", "evaluate")),
        "a class less in the test": (remove("val/class0003"), ("train", "shrink", "evaluate")),
        "another name": (rename("val/class0003", "val/other"), ("train", "shrink", "evaluate")),
        "other names": (lambda f: [rename(f"{p}/class0003", f"{p}/other")(f) for p in ("train", "val")], ("evaluate",)),
        "few images": (remove(*(f"train/class0000/{i}.jpg" for i in range(2, 12))), ("search",)),
    }
    for name, content in bad_files.BROKEN.items():
        damages[name] = (image(content), ("search", "train", "shrink"))
        damages[f"{name} in the test"] = (image(content, "val"), ("evaluate",))
    yield from _reading("folders", "images", damages)


def _shards(generator: random.Random) -> Iterator[BadInput]:
    def shard(edit: Callable[[bytes], bytes], part: str = "train") -> Damage:
        def damage(folder: Path) -> None:
            path = folder / "shards" / f"{part}-0000.tar"
            path.write_bytes(edit(path.read_bytes()))

        return damage

    def added(label: bytes | None, image: bytes = b"") -> Damage:
        return lambda folder: bad_files.added(folder / "shards" / "train-0000.tar", image, label)

    def classes(content: bytes) -> Damage:
        return _writing("shards/classes.txt", content)

    noise = generator.randbytes(3000)
    damages: dict[str, tuple[Damage, tuple[str, ...]]] = {
        "noise": (shard(lambda _content: noise), _ALL),
        "nothing in it": (shard(lambda _content: b""), _ALL),
        "cut in a header": (shard(lambda content: content[:100]), _ALL),
        "noise in the test": (shard(lambda _content: noise, "val"), ("train", "shrink", "evaluate")),
        "no label": (added(None), _ALL),
        "names less": (classes(b"a\nb\n"), _ALL),
        "a name twice": (classes(b"a\nb\nb\nc\n"), _ALL),
        "names in no text": (classes(b"\xff\xfe\n"), _ALL),
        "names more": (classes(b"a\nb\nc\nd\ne\n"), ("search", "train", "evaluate")),
        "no test": (
            lambda f: list(map(bad_files.removed, (f / "shards").glob("val*"))),
            ("train", "shrink", "evaluate"),
        ),
        "no train": (lambda f: list(map(bad_files.removed, (f / "shards").glob("train*"))), _ALL),
    }
    for label in (b"4", b"10000000", b"999999999999", b"9" * 5000, b"", b"x\ny", b"-1"):
        damages[f"label {label[:12]!r}"] = (added(label), _ALL)
    for name, content in bad_files.BROKEN.items():
        damages[name] = (added(b"1", content), ("search", "shrink"))
    yield from _reading("shards", "shards", damages)


def _json(place: str, edit: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(folder: Path) -> None:
        document = json.loads((folder / place).read_text())
        edit(document)
        (folder / place).write_text(json.dumps(document))

    return damage


def _put(path: tuple[str | int, ...], value: object) -> Callable[[Any], object]:
    def edit(values: Any) -> None:
        *parents, last = path
        for parent in parents:
            values = values[parent]
        values[last] = value

    return edit


_CONFIGS: tuple[tuple[tuple[str | int, ...], tuple[object, ...]], ...] = (
    (("data",), (True, [], 3, "x", {"dataset": 5})),
    (("study",), (True, [1], {"name": 3})),
    (("classes",), (True, {"a": 1}, [1, 2], "abcd")),
    (("training",), (True, [], "x")),
    (("sha256",), (True, [], 3)),
    (("network",), (True, [], 3, "x", None)),
    (("nope",), (1,)),
    (("network", "time_steps"), (-1, "x", 10**9, None, 0.5)),
    (("network", "stages"), ({}, [], "x", 3, [3])),
    (("network", "stages", 0, "embed_dim"), (1_000_000, -8, 3, "x", 10**30)),
    (("network", "stages", 0, "depth"), (10**9, 0, "x")),
    (("network", "stages", 0, "mixer", "kind"), ("nope", "no.module:Cls", 3)),
    (("network", "head", "num_classes"), (0, 10**9, "x")),
    (("network", "stem", "image_size"), (10**7, 15, None)),
)


def _bundles(generator: random.Random) -> Iterator[BadInput]:
    commands: dict[str, tuple[str, ...]] = {
        "train": ("train", "trained", "--dry-run", "--device", "cpu"),
        "evaluate": ("evaluate", "trained", "--data-dir", "images", "--device", "cpu"),
    }
    config = "trained/config.json"
    damages = {
        f"{'.'.join(map(str, path))} = {str(value)[:12]}": _json(config, _put(path, value))
        for path, values in _CONFIGS
        for value in values
    }
    texts = (b"", b"{", b"[]", b"3", b"null", b"[" * 5000, generator.randbytes(300), b"\xff\xfe{}", b'{"network": {}')
    damages |= {f"config {number}": _writing(config, text) for number, text in enumerate(texts)}
    damages["no config"] = lambda folder: (folder / config).unlink()
    recipes = ("epochs = ", "epochs = -1", "nope = 1", "workers = 1000000", "networks = 3", f"x = {'[' * 3000}", "\0")
    damages |= {f"recipe {text[:15]}": _writing("trained/recipe.toml", text.encode()) for text in recipes}
    for name, damage in damages.items():
        command = generator.choice(list(commands))
        yield BadInput(f"{name} {command}", "bundles", commands[command], damage)


def _journals(generator: random.Random) -> Iterator[BadInput]:
    commands = (
        ("report", "--study", "micro"),
        ("confirm", "--study", "micro", "--seeds", "1"),
        ("export", "--study", "micro", "--as-is"),
        ("inspect", "micro", "--trial", "0"),
        ("search", "--space", "micro.toml", "--trials", "4"),
        ("studies", "--status", "--study", "micro"),
    )
    journal = "results/micro/journal.log"

    def lines(edit: Callable[[list[bytes]], object]) -> Damage:
        def damage(folder: Path) -> None:
            whole = (folder / journal).read_bytes().splitlines(keepends=True)
            edit(whole)
            (folder / journal).write_bytes(b"".join(whole))

        return damage

    def overwritten(start: float, size: int) -> Damage:
        noise = generator.randbytes(size).replace(b"{", b"x")

        def damage(folder: Path) -> None:
            content = (folder / journal).read_bytes()
            begin = int(start * len(content))
            (folder / journal).write_bytes(content[:begin] + noise + content[begin + size :])

        return damage

    damages: list[tuple[str, Damage]] = []
    for number in range(12):
        damages.append((f"line {number} is missing", lines(lambda whole, n=number: whole.pop(n))))
        damages.append((f"noise at {number}", overwritten(number / 13, 2000)))
    for text in (b"3\n", b"[]\n", b"{}\n", b'{"op_code": "x"}\n', b'{"op_code": 99}\n', b"\n", b"[" * 4000 + b"\n"):
        damages.append((f"line {text[:12]!r}", lines(lambda whole, t=text: whole.insert(5, t))))
    for text in (b"notes", b"\x80\x81", b"\0{"):
        damages.append((f"tail {text!r}", lines(lambda whole, t=text: whole.append(t))))
    damages.append(("noise alone", _writing(journal, generator.randbytes(5000).replace(b"{", b"x"))))
    for i, (name, damage) in enumerate(damages):
        for command in {commands[i % len(commands)]: 0, ("report", "--study", "micro"): 1}:
            yield BadInput(
                f"journal {name} {command[0]} {i}", "journals", command, damage, writes=("results/micro/lock",)
            )
        yield BadInput(f"journal {name} listed {i}", "journals", ("studies",), damage, code=0)


def _checkpoints(generator: random.Random) -> Iterator[BadInput]:
    commands = (
        ("evaluate", "trained/checkpoint.pt", "--data-dir", "images", "--device", "cpu"),
        ("train", "small/bundle", "--data-dir", "images", "--device", "cpu", "--out", "trained"),
    )
    for name, damage in bad_files.checkpoint_damages("trained/checkpoint.pt", generator).items():
        for command in commands:
            yield BadInput(f"checkpoint {name} {command[0]}", "checkpoints", command, damage, writes=("trained/lock",))


def _weights(generator: random.Random) -> Iterator[BadInput]:
    commands = (
        ("evaluate", "trained", "--data-dir", "images", "--device", "cpu"),
        ("export", "--network", "trained", "--format", "onnx"),
    )
    for name, damage in bad_files.weight_damages("trained/model.safetensors", generator).items():
        for command in commands:
            yield BadInput(f"weights {name} {command[0]}", "weights", command, damage)


__all__ = ["KINDS", "BadInput", "inputs", "spread", "world"]
