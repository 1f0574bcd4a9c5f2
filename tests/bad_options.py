"""Invalid options of commands, and URLs of storages, each with the exit code: 2 where click refuses, 1 where we do."""

import itertools
from collections.abc import Iterator

_SEARCH = ("search", "--space", "micro.toml", "--trials", "1")
_IMAGES = ("search", "--space", "images.toml", "--study", "new", "--trials", "1")
_VALIDATE = ("validate-proxy", "--space", "micro.toml")
_CONFIRM = ("confirm", "--study", "micro")
_EXPORT = ("export", "--study", "micro")
_TRAIN = ("train", "small/bundle", "--device", "cpu", "--dry-run")
_EVALUATE = ("evaluate", "trained", "--data-dir", "images", "--device", "cpu")
_INSPECT = ("inspect", "spikformer_cifar10_2_256")
_SHRINK = ("shrink", "images", "--out", "shrunk")
_TABLE = ("table", "run", "micro.toml")
_ONE = (*_TABLE, "--networks", "1")
_REPORT = ("report", "--study", "micro")

_HUGE = "9" * 30
# Command, option, values that click refuses, values that we refuse.
_VALUES: tuple[tuple[tuple[str, ...], str, tuple[str, ...], tuple[str, ...]], ...] = (
    (_SEARCH, "--trials", ("x", "", "1.5", "1e3"), ("0", "-1")),
    (_SEARCH, "--budget", (), ("", "x", "0", "-5", "5x", "nan", "1e999", "2 days")),
    (_SEARCH, "--patience", ("x",), ("0", "-1")),
    (_SEARCH, "--seed", ("x",), ("-1", _HUGE)),
    (_SEARCH, "--epochs", ("x",), ("0", "-1")),
    (_SEARCH, "--train-images", ("x",), ("0", "-1", "3", _HUGE)),
    (_SEARCH, "--device", (), ("x", "", "cuda:99", "tpu", "cpu:x")),
    (_SEARCH, "--workers", ("x",), ("0", "-1", "1000000", _HUGE)),
    (_SEARCH, "--per-gpu", ("x",), ("0", "-1")),
    (_SEARCH, "--max-params", ("x", "", "nan", "inf", "1e999"), ("0", "-5")),
    (_SEARCH, "--max-macs", ("x", "M"), ("0", "-5")),
    (_SEARCH, "--max-energy", ("x",), ("0", "-1", "nan", "inf")),
    (_SEARCH, "--min-accuracy", ("x",), ("0", "-1", "90", "nan")),
    (
        _SEARCH,
        "--hypervolume-from",
        ("x", "", "0.8", "0.8,x", "0.8,0.01,1"),
        ("90,0.01", "-0.1,0.01", "nan,1", "0.8,0", "0.8,-1", "0.8,inf"),
    ),
    (_SEARCH, "--sampler", (), ("", "x", "GridSampler")),
    (
        (*_SEARCH, "--study", "new"),
        "--warm-start",
        (),
        ("", "nope", "micro.toml", "nowhere/micro", "none.safetensors", "small/bundle", "x" * 5000, "y/" + "x" * 5000),
    ),
    (_SEARCH, "--engine", ("x", ""), ()),
    (_SEARCH, "--energy-of", ("x",), ()),
    (_SEARCH, "--rank-by", (), ("x", "", "energy+", "energy+nope", "chip:", "chip:os:path")),
    (_SEARCH, "--max-latency-ms", ("x",), ("0", "-1", "nan", "5")),
    (_SEARCH, "--fits", (), ("x", "", "os:path")),
    (_SEARCH, "--target-image-size", ("x",), ("0", "-32", "33", _HUGE)),
    (_SEARCH, "--study", (), ("../x", "a/b", ".", "-x", "x" * 5000)),
    (_SEARCH, "--proxy", (), ("none.toml", "images", "results/micro/journal.log", "x" * 5000)),
    (_SEARCH, "--address", (), ("host:1",)),
    (_IMAGES, "--data-dir", (), ("images.toml/x", "nowhere", "small", "x" * 5000)),
    (_SEARCH, "--results-dir", (), ("micro.toml", "micro.toml/x", "x" * 5000)),
    (_VALIDATE, "--configs", ("x",), ("0", "-1", "5")),
    (_VALIDATE, "--replicates", ("x",), ("-1", "99")),
    (_VALIDATE, "--shares", ("x", "0.5,x"), ("", "0", "1", "2", "0.5,0.2", "nan")),
    (_VALIDATE, "--full-epochs", ("x",), ("0",)),
    (_VALIDATE, "--workers", (), ("0", "1000000")),
    (_VALIDATE, "--table", (), ("", "nope", "micro.toml", "images")),
    (_TABLE, "--networks", ("x", "1.5", ""), ("0", "-1")),
    (_ONE, "--seeds", ("x",), ("0", "-1", _HUGE)),
    (_ONE, "--shares", ("x", "1,x"), ("", "0.5", "2", "nan", "1,0.5", "0,1")),
    (_ONE, "--name", (), ("", "../x", "a.b", "x" * 300)),
    (_ONE, "--parts", (), ("micro.toml", "micro.toml/x")),
    (_ONE, "--seed", ("x",), ("-1", _HUGE)),
    (_ONE, "--workers", ("x",), ("0", "1000000")),
    (("table", "export"), "", (), ("", "nope", "../x", "x" * 5000)),
    (("table", "merge", "out"), "", (), ("", "nope", "micro.toml", "images", "x" * 5000)),
    (("table", "query"), "", (), ("", "nope", "micro.toml", "images", "x" * 5000)),
    (("table", "info"), "", (), ("", "nope", "micro.toml", "images", "x" * 5000)),
    (_CONFIRM, "--seeds", ("x",), ("0", "-1")),
    (_CONFIRM, "--top", ("best", "-1", "", "1.5"), ("0",)),
    (_CONFIRM, "--spike-penalties", ("x", "0,x"), ("-1", "nan", "inf")),
    (_CONFIRM, "--workers", (), ("0", "1000000")),
    (_EXPORT, "--pick", (), ("", "best", "999", _HUGE)),
    (_EXPORT, "--params", ("x", "nan"), ("0", "1", "1000G", "9e29")),
    (_EXPORT, "--macs", ("x", "inf"), ("0", "1", "9e29")),
    (_EXPORT, "--classes", ("0", "-1", "x"), ("1000000000", _HUGE)),
    (_EXPORT, "--out", (), ("micro.toml", "x" * 5000)),
    (_EXPORT, "--format", ("pdf",), ()),
    (_TRAIN, "--recipe", (), ("nope", "images", "results/micro/journal.log", "x" * 5000)),
    (
        _TRAIN,
        "--set",
        (),
        (
            *("epochs", "epochs=0", "epochs=x", "epochs=-1", "nope=1", "=", "workers=1000000", "workers=-1"),
            *("batch_size=0", "batch_size=1", "image_size=15", "image_size=10000000", "time_steps=1000000"),
            *("learning_rate=0", "learning_rate=nan", "mixup=-1", "optimizer=sgd", "mean=[1,2]", "crop_pct=0"),
            *("drop_path=7", "rand_augment=x", "precision=int8", "accumulation=0", "teacher=nope", f"seed={_HUGE}"),
        ),
    ),
    (_EVALUATE, "--time-steps", ("0", "x", "1,x", "-1", _HUGE), ("1000000",)),
    (_EVALUATE, "--image-sizes", ("0", "x"), ("15", "9999999")),
    (_EVALUATE, "--convention", (), ("", "nope", "paper+nope")),
    (_EVALUATE, "--unit-costs", (), ("nope", "micro.toml", "nowhere.toml")),
    (_EVALUATE, "--plot", (), ("x.docx", "x")),
    (_EVALUATE, "--csv", (), ("images", "micro.toml/x.csv", "x" * 5000)),
    (_EVALUATE, "--set", (), ("epochs=3", "mean=x", "workers=1000000")),
    (_INSPECT, "--image-size", ("x",), ("0", "-4", "33", "10000000")),
    (_INSPECT, "--rates", (), ("x", "-1", "nan", "micro.toml", "x" * 5000)),
    (_INSPECT, "--check", ("x",), ()),
    (_INSPECT, "--trial", ("x",), ("0",)),
    (_SHRINK, "--side", ("x",), ("0", "-1")),
    (_SHRINK, "--workers", ("x",), ("0", "1000000")),
    (_REPORT, "--convention", (), ("nope", "")),
    (_REPORT, "--chip", (), ("nope", "no.module:chip")),
    (_REPORT, "--memory", (), ("nope", "")),
    (_REPORT, "--compare", (), ("NOPE", "")),
    (_REPORT, "--results-dir", (), ("nowhere", "micro.toml", "x" * 5000)),
    (("studies",), "--study", (), ("NOPE", "", "x" * 300)),
    (("check-block",), "", (), ("", "nope", "nope:Nope", "os:path", "x" * 5000)),
    (("check-block", "os.path:Nope"), "--part", ("nope", "", "attention"), ()),
    (("inspect",), "", (), ("", "nope", "micro.toml", "images", "x" * 5000)),
    (("train",), "", (), ("", "nowhere", "images", "micro.toml", "x" * 5000)),
    (("evaluate",), "", (), ("", "nowhere", "images", "micro.toml", "small/bundle")),
)


def options() -> Iterator[tuple[tuple[str, ...], int]]:
    """Commands with an option, or an argument, that cannot be meant."""
    for command, option, refused_by_click, refused_by_us in _VALUES:
        for value, code in (*((v, 2) for v in refused_by_click), *((v, 1) for v in refused_by_us)):
            yield (*command, *([option] if option else []), value), code


_URLS = (
    *("x://y", "", " ", "sqlite", "sqlite:/x", "sqlite:////nowhere/x.db", "sqlite:///micro.toml", "sqlite:///images"),
    *("sqlite:////dev/null", "postgresql", "postgresql://", "postgresql+nope://h/x", "mysql://h/x", "redis://h"),
    *("http://h/x", "file:///x", "results/micro/journal.log", "grpc://", "grpc://h:x", "grpc://u:p@h", "://", "@"),
    *("sqlite:///" + "x" * 5000, "postgresql://u:secret@[", "postgresql://h:99999999/x"),
)
_SLOW_URLS = ("postgresql+psycopg://u:secret@127.0.0.1:1/x", "grpc://127.0.0.1:1")


def urls() -> Iterator[tuple[tuple[str, ...], bool]]:
    """Commands with a storage that cannot be opened, and whether that takes a while."""
    readers: tuple[tuple[str, ...], ...] = (
        ("report",),
        ("studies",),
        ("export", "--study"),
        ("confirm",),
        ("inspect", "micro", "--trial", "0"),
    )
    for number, url in enumerate(_URLS):
        for command in (readers[number % len(readers)], _SEARCH):
            yield (*command, "--storage", url), url.startswith("postgresql://")
    for url, command in itertools.product(_SLOW_URLS, readers):
        yield (*command, "--storage", url), True


__all__ = ["options", "urls"]
