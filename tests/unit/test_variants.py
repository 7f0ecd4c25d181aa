from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfaria.errors import VariantNotFound
from hfaria.rules.listing import RemoteFile
from hfaria.rules.selection import Selection
from hfaria.rules.variants import Role, Variants, group_files
from unit.builders import git_file, lfs_file, listing

# Shapes of repos as their publishers name files.
QUANTISED = (
    "README.md", ".gitattributes", "config.json",
    "M-7B-Q4_K_M.gguf", "M-7B-Q4_K_S.gguf", "M-7B-UD-IQ2_XXS.gguf", "M-7B-UD-Q4_K_XL.gguf",
    "BF16/M-7B-BF16-00001-of-00002.gguf", "BF16/M-7B-BF16-00002-of-00002.gguf",
    "mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf", "imatrix_unsloth.dat",
)  # fmt: skip
SPLIT_BY_HAND = ("x.Q8_0.gguf.part1of2", "x.Q8_0.gguf.part2of2", "x.i1-Q4_0.gguf", "README.md")
LOWER_CASE = (
    "qwen-7b-instruct-q4_k_m-00001-of-00002.gguf", "qwen-7b-instruct-q4_k_m-00002-of-00002.gguf",
    "qwen-7b-instruct-q4_k_m.gguf", "qwen-7b-instruct-fp16-00001-of-00001.gguf",
)  # fmt: skip
TWO_MODELS = ("a-7b.Q4_K_M.gguf", "a-13b.Q4_K_M.gguf", "a-13b.Q8_0.gguf", "LICENSE")
FOLDERS = ("Q2_K/model-00001-of-00002.gguf", "Q2_K/model-00002-of-00002.gguf", "Q6_K/model.gguf")
PIPELINE = (
    "model_index.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json",
    "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.fp16.bin", "unet/diffusion_flax_model.msgpack",
    "unet/model.onnx", "unet/weights.pb", "vae_decoder/model.onnx",
    "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors", "text_encoder/model.safetensors.index.fp16.json",
    "text_encoder/model.fp16-00001-of-00002.safetensors",
    "text_encoder/model.fp16-00002-of-00002.safetensors",
    "safety_checker/pytorch_model.bin", "v1-5-pruned.ckpt", "v1-5-pruned.safetensors",
)  # fmt: skip
SENTENCES = (
    "modules.json", "config.json", "1_Pooling/config.json", "2_Dense/config.json",
    "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin", "model.safetensors",
    "pytorch_model.bin", "tf_model.h5", "rust_model.ot", "training_args.bin",
    "onnx/model.onnx", "onnx/model_O1.onnx", "onnx/model_qint8_avx512.onnx", "onnx/config.json",
    "openvino/openvino_model.xml", "openvino/openvino_model.bin",
    "openvino/openvino_model_qint8_quantized.xml", "openvino/openvino_model_qint8_quantized.bin",
)  # fmt: skip
BROWSER = (
    "config.json", "onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_fp16.onnx",
    "onnx/model_q4.onnx", "onnx/model_q4.onnx_data", "onnx/model_q4.onnx_data_1",
    "onnx/model_q4f16.onnx", "onnx/model_quantized.onnx", "onnx/model_bnb4.onnx",
)  # fmt: skip
SHARDED = (
    "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    "model.safetensors.index.json", "consolidated.safetensors", "original/params.json",
    "original/consolidated.00.pth", "original/tokenizer.model",
)  # fmt: skip
DATASET = ("README.md", "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet")
SHAPES = {
    "quantised": QUANTISED, "split by hand": SPLIT_BY_HAND, "lower case": LOWER_CASE,
    "two models": TWO_MODELS, "folders": FOLDERS, "pipeline": PIPELINE, "sentences": SENTENCES,
    "browser": BROWSER, "sharded": SHARDED, "dataset": DATASET,
}  # fmt: skip


def files(*paths: str) -> tuple[RemoteFile, ...]:
    return tuple(lfs_file(path, path, size=len(path)) for path in sorted(paths))


def variants(*paths: str) -> Variants:
    return group_files(files(*paths))


def names(found: Variants) -> list[str]:
    return [group.name for group in found.choices]


def picked(paths: tuple[str, ...], name: str) -> set[str]:
    return {file.path for file in variants(*paths).pick(name)}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("quantised", ["BF16", "Q4_K_M", "Q4_K_S", "UD-IQ2_XXS", "UD-Q4_K_XL"]),
        ("split by hand", ["Q4_0", "Q8_0"]),
        (
            "lower case",
            ["F16", "qwen-7b-instruct-of-00002.Q4_K_M", "qwen-7b-instruct.Q4_K_M"],
        ),
        ("two models", ["a-7b.Q4_K_M", "a-13b.Q4_K_M", "Q8_0"]),
        ("folders", ["Q2_K", "Q6_K"]),
        (
            "pipeline",
            [
                "flax", "onnx", "pytorch", "pytorch/fp16", "pytorch/v1-5-pruned",
                "safetensors", "safetensors/fp16", "safetensors/v1-5-pruned",
            ],
        ),
        (
            "sentences",
            [
                "o1", "onnx", "openvino", "pytorch", "qint8_avx512", "qint8_quantized", "rust",
                "safetensors", "tensorflow",
            ],
        ),
        ("browser", ["bnb4", "fp16", "onnx", "q4", "q4f16", "quantized"]),
        ("sharded", ["consolidated", "original", "safetensors"]),
        ("dataset", []),
    ],
)  # fmt: skip
def test_the_variants_of_a_repo(shape: str, expected: list[str]) -> None:
    assert names(variants(*SHAPES[shape])) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_each_name_picks_its_own_group_whole(shape: str) -> None:
    found = variants(*SHAPES[shape])
    for group in found.choices:
        wanted = {file.path for file in found.pick(group.name)}
        assert wanted >= {file.path for file in group.files}
        assert wanted >= {
            f.path for g in found.groups if g.name == "every variant" for f in g.files
        }


def test_a_quantisation_comes_with_all_it_needs_and_no_other() -> None:
    assert picked(QUANTISED, "q4_k_m") == {
        "README.md", ".gitattributes", "config.json", "M-7B-Q4_K_M.gguf", "mmproj-F16.gguf"
    }  # fmt: skip
    assert {path for path in picked(QUANTISED, "bf16") if "BF16" in path} == {
        "BF16/M-7B-BF16-00001-of-00002.gguf", "BF16/M-7B-BF16-00002-of-00002.gguf"
    }  # fmt: skip


def test_a_pipeline_takes_a_part_as_it_exists() -> None:
    wanted = picked(PIPELINE, "fp16")
    assert {path for path in wanted if not path.endswith(".json")} == {
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/model.fp16-00001-of-00002.safetensors",
        "text_encoder/model.fp16-00002-of-00002.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "safety_checker/pytorch_model.bin",
    }
    assert "text_encoder/model.safetensors.index.fp16.json" in wanted


def test_a_whole_checkpoint_beside_a_pipeline_comes_without_its_parts() -> None:
    wanted = picked(PIPELINE, "pytorch/v1-5-pruned")
    assert [path for path in wanted if path.endswith((".bin", ".safetensors", ".ckpt"))] == [
        "v1-5-pruned.ckpt"
    ]


def test_a_module_without_weights_of_its_own_kind_comes_as_it_is() -> None:
    wanted = picked(SENTENCES, "onnx")
    assert {"onnx/model.onnx", "onnx/config.json", "2_Dense/model.safetensors"} <= wanted
    assert "model.safetensors" not in wanted
    assert "onnx/config.json" not in picked(SENTENCES, "safetensors")


def test_external_data_comes_with_its_model() -> None:
    assert {path for path in picked(BROWSER, "q4") if "onnx" in path} == {
        "onnx/model_q4.onnx", "onnx/model_q4.onnx_data", "onnx/model_q4.onnx_data_1"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "name", "meant"),
    [
        ("quantised", "q4km", "Q4_K_M"),
        ("quantised", "Q4_K_XL", "UD-Q4_K_XL"),
        ("lower case", "fp16", "F16"),
        ("pipeline", "fp16", "safetensors/fp16"),
        ("pipeline", "bin", "pytorch"),
        ("pipeline", "jax", "flax"),
        ("sentences", "tf", "tensorflow"),
        ("pipeline", "v1-5-pruned", "safetensors/v1-5-pruned"),
    ],
)
def test_a_name_may_be_said_in_other_ways(shape: str, name: str, meant: str) -> None:
    assert picked(SHAPES[shape], name) == picked(SHAPES[shape], meant)


@pytest.mark.parametrize(
    ("shape", "name", "said"),
    [
        ("two models", "Q4_K_M", "`Q4_K_M` may be `a-7b.Q4_K_M` or `a-13b.Q4_K_M`"),
        ("quantised", "Q9", "`Q9` is no variant of this repo"),
        ("dataset", "fp16", "`fp16`: the repo holds no weights, and so no variants"),
    ],
)
def test_a_name_that_fits_not_one_is_refused_in_one_line(shape: str, name: str, said: str) -> None:
    with pytest.raises(VariantNotFound) as caught:
        picked(SHAPES[shape], name)
    assert caught.value.message == said
    assert "\n" not in (caught.value.hint or "")


def test_the_choices_are_told() -> None:
    with pytest.raises(VariantNotFound) as caught:
        picked(FOLDERS, "Q9")
    assert caught.value.hint == "it has Q2_K, Q6_K"


def test_a_large_file_that_is_no_weights_comes_with_none() -> None:
    video = RemoteFile("demo.mp4", 200_000_000, "a" * 40)
    found = group_files((*files("model.safetensors", "config.json"), video))
    assert [g.role for g in found.groups if video in g.files] == [Role.OTHER]
    assert video not in found.pick("safetensors")


def test_equal_contents_count_once() -> None:
    same = [lfs_file(path, "same", size=50) for path in ("model.safetensors", "a.safetensors")]
    (group,) = group_files(same).choices
    assert group.size == 50


def test_patterns_choose_among_the_files_of_a_variant() -> None:
    selection = Selection(exclude=("mmproj*", ".git*"), variant="Q4_K_M")
    found = selection.apply(listing(*files(*QUANTISED)))
    assert [file.path for file in found] == ["M-7B-Q4_K_M.gguf", "README.md", "config.json"]
    assert not selection.is_everything


# --- whatever files are named -----------------------------------------------------------------

words = st.sampled_from(
    ["model", "M-7B", "mmproj", "imatrix", "unet", "onnx", "original", "checkpoint-5", "2_Dense",
     "Q4_K_M", "UD-Q4_K_XL", "fp16", "F16", "", "BF16", "consolidated", "weights", "quantized"]
)  # fmt: skip
suffixes = st.sampled_from(
    [".gguf", ".safetensors", ".bin", ".onnx", ".onnx_data", ".xml", ".pt", ".json", ".md", "",
     ".safetensors.index.json", ".gguf.part1of2", ".h5", ".msgpack", ".pb", ".mlmodel"]
)  # fmt: skip
shards = st.sampled_from(["", "-00001-of-00002", "-00002-of-00002"])
names_of_files = st.builds(
    lambda folder, first, glue, second, shard, suffix: re.sub(
        "^/", "", f"{folder}/x{glue}{first}{glue}{second}{shard}{suffix}"
    ),
    words, words, st.sampled_from(["-", "_", "."]), words, shards, suffixes,
)  # fmt: skip
repos = st.lists(names_of_files, unique=True, max_size=25)


@given(repos, st.booleans())
def test_every_file_is_in_exactly_one_group(paths: list[str], is_pipeline: bool) -> None:
    named = [*paths, "model_index.json"] if is_pipeline else paths
    found = group_files([git_file(path) for path in named])
    grouped = [file.path for group in found.groups for file in group.files]
    assert sorted(grouped) == sorted(named)


@given(repos, st.booleans())
def test_every_variant_can_be_picked_by_its_name(paths: list[str], is_pipeline: bool) -> None:
    named = [*paths, "model_index.json"] if is_pipeline else paths
    found = group_files([git_file(path) for path in named])
    assert len({group.name.lower() for group in found.choices}) == len(found.choices)
    for group in found.choices:
        wanted = found.pick(group.name)
        assert set(group.files) <= set(wanted)
        assert len(wanted) == len({file.path for file in wanted})


@given(repos)
def test_shards_of_one_file_stay_together(paths: list[str]) -> None:
    found = group_files([git_file(path) for path in paths])
    home = {file.path: number for number, g in enumerate(found.groups) for file in g.files}
    for path in paths:
        other = path.replace("-00001-of-00002", "-00002-of-00002")
        if other in home:
            assert home[path] == home[other]
