"""What a path says about the weights in it: framework, precision, and which set they belong to.

Nothing but names can be known before the bytes are here. The names are conventions: llama.cpp's
for GGUF (`gguf-split` for shards), transformers' and diffusers' for the rest (a ``variant`` stands
before the suffix, as in ``model.fp16.safetensors``), and those of ONNX and OpenVINO exporters.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass


class Framework(enum.Enum):
    """Who reads the weights, or the format that several read."""

    SAFETENSORS = "safetensors"
    PYTORCH = "pytorch"
    GGUF = "gguf"
    ONNX = "onnx"
    OPENVINO = "openvino"
    TENSORFLOW = "tensorflow"
    TFLITE = "tflite"
    FLAX = "flax"
    COREML = "coreml"
    RUST = "rust"
    PADDLE = "paddle"
    TENSORRT = "tensorrt"


ALIASES = {
    **{framework.value: framework for framework in Framework},
    "bin": Framework.PYTORCH,
    "jax": Framework.FLAX,
    "keras": Framework.TENSORFLOW,
    "ov": Framework.OPENVINO,
    "pt": Framework.PYTORCH,
    "tf": Framework.TENSORFLOW,
    "torch": Framework.PYTORCH,
    "trt": Framework.TENSORRT,
}
"""How people call them."""


@dataclass(frozen=True, slots=True)
class Weight:
    """What the name of one file of weights says.

    ``stem`` is the name without shard, precision and suffix. ``shards`` is how many there are, if
    the name tells.
    """

    framework: Framework
    stem: str
    precision: str | None = None
    shards: str | None = None


_SHARD = re.compile(r"[-_.]\d{5}-of-(\d{5,6})(?=[._-]|$)")
_GGUF = re.compile(
    r"\.(?:gguf|llamafile)(?:[.-](?:part\d+of\d+|split-[a-z]+|part-[a-z]+))?$", re.IGNORECASE
)
_QUANTISATION = re.compile(
    r"(?:^|(?<=[-._ ]))"
    r"((?:UD-)?(?:"
    r"IQ[1-8]_(?:XXS|XS|NL_XL|NL|S|M|L|XL)"
    r"|Q[1-8]_K(?:_(?:XXS|XS|XL|S|M|L|P))?"
    r"|Q[1-8]_[01](?:_\d_\d|_L|_XL)?"
    r"|TQ[12]_0"
    r"|(?:MX|NV)FP4(?:_MOE)?"
    r"|BF16|FP?16|FP?32))"
    r"(?=[-._ ]|$)",
    re.IGNORECASE,
)
_PRECISION = re.compile(
    r"(?:^|(?<=[-._]))("
    r"b?fp?(?:16|32|64)"
    r"|(?:mx|nv)?fp[48](?:[_-]?e\dm\d(?:fnuz|fn)?)?(?:[_-](?:scaled|mixed))?"
    r"|nf4|bnb4|[248]-?bits?|awq|gptq|quantized|non_ema|ema"
    r"|q?u?int[48](?:_(?:arm64|avx\w+|quantized))?"
    r"|q[48](?:f16)?"
    r"|O[1-4]"
    r")(?=[-._]|$)",
    re.IGNORECASE,
)
# The longest suffix that fits counts. An index belongs to the weights that it lists.
_SUFFIXES = {
    ".bin": Framework.PYTORCH,
    ".ckpt": Framework.PYTORCH,
    ".ckpt.index": Framework.TENSORFLOW,
    ".ckpt.meta": Framework.TENSORFLOW,
    ".engine": Framework.TENSORRT,
    ".h5": Framework.TENSORFLOW,
    ".keras": Framework.TENSORFLOW,
    ".mlmodel": Framework.COREML,
    ".msgpack": Framework.FLAX,
    ".onnx": Framework.ONNX,
    ".onnx.data": Framework.ONNX,
    ".onnx_data": Framework.ONNX,
    ".ot": Framework.RUST,
    ".pdparams": Framework.PADDLE,
    ".plan": Framework.TENSORRT,
    ".pt": Framework.PYTORCH,
    ".pth": Framework.PYTORCH,
    ".safetensors": Framework.SAFETENSORS,
    ".tflite": Framework.TFLITE,
}
_ONNX_DATA = re.compile(r"\.onnx[._]data(?:_\d+)?$")
_TF_DATA = re.compile(r"\.ckpt(?:-\d+)?\.(?:data-\d{5}-of-\d{5}|index|meta)$")
_INDEX = re.compile(r"(\.(?:safetensors|bin|h5|msgpack))\.index((?:\.\w+)?)\.json$")
_SAVED_MODEL = frozenset({"saved_model.pb", "keras_metadata.pb", "variables.index"})
_COREML_PACKAGE = re.compile(r"([^/]+)\.(?:mlpackage|mlmodelc)/")
# What training leaves behind: of no use for loading a model.
_TRAINING = re.compile(
    r"(?:^|/)(?:optimizer|scheduler|rng_state|random_states|scaler|training_args|trainer_state)"
    r"[\w.-]*\.(?:bin|pt|pth|pkl)$"
)
_IMATRIX = re.compile(r"imatrix|\.imat", re.IGNORECASE)


def read_weight(path: str, siblings: frozenset[str]) -> Weight | None:
    """Return what the path says, or None if it doesn't name weights.

    ``siblings`` are all paths of the repo: some names mean something in company only.
    """
    folder, _, name = path.rpartition("/")
    if _TRAINING.search(path) or _IMATRIX.search(name):
        return None
    if _GGUF.search(name):
        return _read_gguf(folder, name)
    if package := _COREML_PACKAGE.search(path):
        return _split(Framework.COREML, package[1], folder)
    if name in _SAVED_MODEL or name.startswith("variables.data-") or _TF_DATA.search(name):
        return Weight(Framework.TENSORFLOW, "saved_model")
    if index := _INDEX.search(name):
        # diffusers puts the variant behind "index", others before the suffix.
        name = name[: index.start()] + index[2] + index[1]
    if data := _ONNX_DATA.search(name):
        return _split(Framework.ONNX, name[: data.start()], folder)
    stem, dot, suffix = name.rpartition(".")
    framework = _SUFFIXES.get(f".{suffix.lower()}") if dot else None
    beside = f"{folder}/{stem}" if folder else stem
    other = {"xml": "bin", "bin": "xml"}.get(suffix)
    if other is not None and f"{beside}.{other}" in siblings:
        framework = Framework.OPENVINO
    elif name == "weights.pb" and f"{folder}/model.onnx" in siblings:
        framework, stem = Framework.ONNX, "model"
    return None if framework is None else _split(framework, stem, folder)


def is_projector(path: str) -> bool:
    """Tell whether a GGUF file is the part of a model that sees or hears (llama.cpp's mmproj)."""
    name = path.rpartition("/")[2].lower()
    return "mmproj" in name and _GGUF.search(name) is not None


def read_precision(folder: str) -> str | None:
    """Return the precision that a folder is named after."""
    found = _PRECISION.fullmatch(folder)
    return found[1].lower() if found else None


def _read_gguf(folder: str, name: str) -> Weight:
    stem = _GGUF.sub("", name)
    shards = None
    if shard := _SHARD.search(stem):
        shards, stem = shard[1], stem[: shard.start()] + stem[shard.end() :]
    found = list(_QUANTISATION.finditer(stem))
    if found:
        last = found[-1]
        stem = (stem[: last.start()] + stem[last.end() :]).strip("-._ ")
        return Weight(Framework.GGUF, stem, _quantisation(last[1]), shards)
    inner = folder.rpartition("/")[2]
    in_folder = list(_QUANTISATION.finditer(inner))
    precision = _quantisation(in_folder[-1][1]) if in_folder else None
    return Weight(Framework.GGUF, stem, precision, shards)


def _quantisation(text: str) -> str:
    return text.upper().replace("FP16", "F16").replace("FP32", "F32")


def _split(framework: Framework, stem: str, folder: str) -> Weight:
    shards = None
    if shard := _SHARD.search(stem):
        shards, stem = shard[1], stem[: shard.start()] + stem[shard.end() :]
    found = list(_PRECISION.finditer(stem))
    if not found:
        return Weight(framework, stem, read_precision(folder.partition("/")[0]), shards)
    last = found[-1]
    stem = (stem[: last.start()] + stem[last.end() :]).strip("-._")
    return Weight(framework, stem or "model", last[1].lower(), shards)
