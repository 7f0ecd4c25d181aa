"""The loopback hub's other API, and its history of commits, as their clients meet them."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from loopback_hub import Behind, Fault, Generated, HubConfig, HubProcess, repo
from loopback_hub.repos import stored_file

if TYPE_CHECKING:
    from loopback_hub import LoopbackHub

SPEC = repo(
    "org/name",
    {"a.safetensors": Generated(1, 1000)},
    {"a.safetensors": Generated(2, 2000), "folder/b.txt": b"text"},
)
DATASET = repo(
    "org/rows", {f"{n:03}.txt": f"{n}".encode() for n in range(120)}, repo_type="dataset"
)


def get(
    base: str, path: str, *, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    parts = urlsplit(base)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request(method, f"{parts.path}/{path}", headers=headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def document(base: str, path: str) -> Any:  # noqa: ANN401 - what JSON holds
    response, body = get(base, path)
    assert response.status == 200
    return json.loads(body)


def test_a_model_s_files_come_in_one_answer_with_their_digests(hub: LoopbackHub) -> None:
    hub.put_repo(SPEC)
    scope = hub.add_mirror("scope", role="modelscope", prefix="/ms")
    answer = document(scope, "api/v1/models/org/name/repo/files?Revision=master&Recursive=true")
    assert (answer["Code"], answer["Success"]) == (200, True)
    files = {entry["Path"]: entry for entry in answer["Data"]["Files"]}
    assert files["folder"]["Type"] == "tree"
    assert (files["a.safetensors"]["Size"], files["a.safetensors"]["Sha256"]) == (
        2000,
        Generated(2, 2000).sha256,
    )


def test_bytes_are_had_by_name_and_by_range(hub: LoopbackHub) -> None:
    hub.put_repo(SPEC)
    scope = hub.add_mirror("scope", role="modelscope")
    path = "api/v1/models/org/name/repo?Revision=master&FilePath=a.safetensors"
    response, body = get(scope, path, Range="bytes=10-19")
    assert response.status == 206
    assert body == Generated(2, 2000).read(10, 10)
    (record,) = hub.requests(site="scope", kind="bytes")
    assert (record.file_path, record.bytes_sent) == ("a.safetensors", 10)
    assert get(scope, path, method="HEAD")[0].status == 405


def test_large_files_lead_to_the_cdn_if_the_site_has_one(hub: LoopbackHub) -> None:
    hub.put_repo(SPEC)
    scope = hub.add_mirror("scope", role="modelscope", lfs_from="cdn")
    path = "api/v1/models/org/name/repo?Revision=master&FilePath=a.safetensors"
    response, _ = get(scope, path)
    assert response.status == 302
    assert (response.headers["Location"]).startswith(hub.url("cdn"))


def test_a_dataset_s_files_come_in_pages(hub: LoopbackHub) -> None:
    hub.put_repo(DATASET)
    scope = hub.add_mirror("scope", role="modelscope")
    base = "api/v1/datasets/org/rows/repo/tree?Revision=master&Recursive=true&PageSize=100"
    pages = [document(scope, f"{base}&PageNumber={n}")["Data"] for n in (1, 2, 3)]
    assert [len(page["Files"]) for page in pages] == [100, 20, 0]
    assert {page["TotalCount"] for page in pages} == {120}


def test_what_is_missing_is_refused_in_its_own_words(hub: LoopbackHub) -> None:
    hub.put_repo(SPEC)
    scope = hub.add_mirror("scope", role="modelscope")
    for path in (
        "api/v1/models/org/none/repo/files?Revision=master&Recursive=true",
        "api/v1/models/org/name/repo?Revision=master&FilePath=none",
        "api/v1/models/org/name/repo?Revision=v1&FilePath=a.safetensors",
    ):
        response, body = get(scope, path)
        assert response.status == 404
        assert json.loads(body)["Success"] is False
    assert get(scope, "api/models/org/name")[0].status == 404


def test_history_is_listed_newest_first_with_its_times(hub: LoopbackHub) -> None:
    hub.put_repo(SPEC)
    history = document(hub.url(), "api/models/org/name/commits/main")
    assert [entry["id"] for entry in history] == [
        commit.commit_id for commit in reversed(SPEC.commits)
    ]
    assert history[0]["date"] > history[1]["date"]
    told = document(hub.url(), "api/models/org/name/revision/main")
    assert told["lastModified"] == history[0]["date"]
    hub.faults.add(Fault(Behind(1), site="mirror"))
    behind = document(hub.url("mirror"), "api/models/org/name/commits/main")
    assert [entry["id"] for entry in behind] == [SPEC.commits[0].commit_id]


def test_a_hub_in_a_process_of_its_own_has_one_too() -> None:
    with HubProcess(HubConfig(repos=(SPEC,))) as hub:
        scope = hub.add_mirror("scope", role="modelscope")
        answer = document(scope, "api/v1/models/org/name/repo/files?Revision=master")
        digests = {entry["Sha256"] for entry in answer["Data"]["Files"]}
        assert stored_file("folder/b.txt", b"text").content.sha256 in digests
