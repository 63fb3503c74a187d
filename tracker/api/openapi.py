"""The OpenAPI 3.1 document of the REST service."""

from typing import Any

from tracker.work.table import Stage

_HASH = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_INTEGER = {"type": "integer"}
_TEXT = {"type": "string"}
_BINARY = {"type": "string", "format": "binary"}


def document(version: str) -> dict[str, Any]:
    """The document for a tracker of this ``version``."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Open-Swarm tracker",
            "version": version,
            "description": "Jobs, units, peers, accounts, ledger and blobs of one tracker. "
            "Reading is public; what changes something is signed.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/api/v1/status": {"get": _get("Who this tracker is and what goes on", "Status")},
            "/api/v1/jobs": {
                "get": _get(
                    "Jobs, newest first",
                    "Jobs",
                    _query("state", {"enum": ["active", "finished", "cancelled"]}),
                    _query("submitter", _HASH),
                    _query("after", {"type": "number"}),
                    _LIMIT,
                ),
                "post": _post("Submit a signed manifest, with its ringers", "Job", "201"),
            },
            "/api/v1/jobs/{job}": {"get": _get("One job", "Job", _JOB)},
            "/api/v1/jobs/{job}/manifest": {
                "get": _bytes("The signed manifest", "application/x-bencode", _JOB)
            },
            "/api/v1/jobs/{job}/units": {
                "get": _get(
                    "Units that were leased at least once",
                    "Units",
                    _JOB,
                    _query(
                        "state",
                        {"enum": [stage.value for stage in Stage]},
                    ),
                    _query("after", _INTEGER),
                    _LIMIT,
                )
            },
            "/api/v1/jobs/{job}/events": {
                "get": _bytes("The job whenever it changes", "text/event-stream", _JOB)
            },
            "/api/v1/peers": {"get": _get("Every peer that took part", "Peers")},
            "/api/v1/accounts": {"get": _get("Accounts, richest first", "Accounts", _LIMIT)},
            "/api/v1/accounts/{account}": {
                "get": _get("One account", "Account", _path("account", _HASH))
            },
            "/api/v1/ledger": {
                "get": _get("Ledger entries", "Ledger", _query("after", _INTEGER), _LIMIT)
            },
            "/api/v1/ledger/checkpoint": {
                "get": _bytes("A signed checkpoint (C2SP tlog-checkpoint)", "text/plain")
            },
            "/api/v1/ledger/export": {
                "get": _bytes("The whole ledger as a file", "application/octet-stream")
            },
            "/api/v1/ledger/inclusion": {
                "get": _get(
                    "What shows that entry `index` is among the first `size`",
                    "Proof",
                    _query("index", _INTEGER),
                    _query("size", _INTEGER),
                )
            },
            "/api/v1/ledger/consistency": {
                "get": _get(
                    "What shows that the first `new` entries begin with the first `old`",
                    "Proof",
                    _query("old", _INTEGER),
                    _query("new", _INTEGER),
                )
            },
            "/api/v1/ledger/witnessed": {
                "get": _get("Checkpoints that witnesses cosigned, the largest first", "Witnessed")
            },
            "/api/v1/ledger/cosignatures": {
                "post": _post(
                    "Take a checkpoint that a witness cosigned (C2SP tlog-cosignature)",
                    "Cosignature",
                    "200",
                    "text/plain",
                )
            },
            "/api/v1/statements": {
                "post": _post(
                    "Carry out a signed statement (grant, pay, cancel; register, unregister; "
                    "admit, passkey; publish, withdraw; open_key, close_key)",
                    "Said",
                    "200",
                )
            },
            "/api/v1/torrents": {
                "get": _get(
                    "Torrents that an account registered",
                    "Torrents",
                    _query("account", _HASH) | {"required": True},
                    *_PASS,
                )
            },
            "/api/v1/models": {"get": _get("Models that can be asked, oldest first", "Models")},
            "/api/v1/keys": {
                "get": _get("The API keys of who signed the query, oldest first", "ApiKeys", *_PASS)
            },
            "/api/v1/keys/{hash}": {
                "get": _get("One API key, by its hash", "ApiKey", _path("hash", _HASH))
            },
            "/api/v1/reach": {
                "get": _get("How peers reach each other and where they announce", "Reach", *_PASS)
            },
            "/api/v1/blobs/{blob}": {
                "get": _bytes("A blob, by v2 info-hash", "application/octet-stream", _BLOB),
                "put": _upload(),
            },
            "/api/v1/blobs/{blob}/info": {
                "get": _bytes("Its raw info dictionary", "application/x-bencode", _BLOB)
            },
        },
        "components": {"schemas": _SCHEMAS, "responses": {"Error": _json_response("Error")}},
    }


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json_response(name: str, description: str = "") -> dict[str, Any]:
    return {
        "description": description or name,
        "content": {"application/json": {"schema": _schema(name)}},
    }


def _answers(status: str, response: dict[str, Any]) -> dict[str, Any]:
    return {status: response, "default": {"$ref": "#/components/responses/Error"}}


def _get(summary: str, name: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    answers = _answers("200", _json_response(name, summary))
    return {"summary": summary, "parameters": list(parameters), "responses": answers}


def _bytes(summary: str, kind: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    response = {"description": summary, "content": {kind: {"schema": _BINARY}}}
    answers = _answers("200", response)
    return {"summary": summary, "parameters": list(parameters), "responses": answers}


def _post(
    summary: str, name: str, status: str, kind: str = "application/x-bencode"
) -> dict[str, Any]:
    body = {"required": True, "content": {kind: {"schema": _BINARY}}}
    answers = _answers(status, _json_response(name, summary))
    return {"summary": summary, "requestBody": body, "responses": answers}


def _upload() -> dict[str, Any]:
    statement = {"name": "X-Swarm-Statement", "in": "header", "required": True, "schema": _TEXT}
    body = {"required": True, "content": {"application/octet-stream": {"schema": _BINARY}}}
    return {
        "summary": "Keep a blob as web seed",
        "parameters": [_BLOB, statement],
        "requestBody": body,
        "responses": _answers("201", _json_response("Kept", "The blob is kept")),
    }


def _path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


_JOB = _path("job", {"type": "string", "pattern": "^[0-9a-f]{4,64}$"})
_BLOB = _path("blob", _HASH)
_PASS = (
    _query("member", _HASH),
    _query("until", _INTEGER),
    _query("sig", {"type": "string", "pattern": "^[0-9a-f]{128}$"}),
)
"""The pass of a member, where only members may."""

_LIMIT = _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000})
_STANDING = {
    "right": _INTEGER,
    "wrong": _INTEGER,
    "withheld": _INTEGER,
    "late": _INTEGER,
    "verified": _INTEGER,
    "strikes": _INTEGER,
    "doubted": {"type": "boolean"},
    "banned": {"type": "boolean"},
}
_REF = _object(v2=_HASH, v1={"type": "string", "pattern": "^[0-9a-f]{40}$"}, length=_INTEGER)
_API_KEY = {
    "hash": _HASH,
    "owner": _HASH,
    "name": _TEXT,
    "budget": _INTEGER,
    "spent": _INTEGER,
    "reserved": _INTEGER,
    "left": _INTEGER,
    "per_minute": _INTEGER,
    "created": _INTEGER,
    "closed": {"type": "boolean"},
    "requests": _INTEGER,
}
_SCHEMAS: dict[str, Any] = {
    "Error": _object(error=_object(code=_TEXT, message=_TEXT, hint=_TEXT, blame=_TEXT)),
    "Status": _object(
        tracker=_HASH,
        version=_TEXT,
        time={"type": "number"},
        peers=_object(connected=_INTEGER, validators=_INTEGER, volunteers=_INTEGER),
        jobs=_object(active=_INTEGER),
        ledger=_object(entries=_INTEGER, head=_HASH, minted=_INTEGER, total=_INTEGER),
    ),
    "Job": _object(
        id=_HASH,
        name=_TEXT,
        submitter=_HASH,
        state=_TEXT,
        reason=_TEXT,
        created={"type": "number"},
        policy=_TEXT,
        comparator=_TEXT,
        demands=_object(
            settings={"type": "object", "additionalProperties": _INTEGER},
            same_platform={"type": "boolean"},
            reputation=_INTEGER,
            ringers={"type": "boolean"},
        ),
        price=_INTEGER,
        asked={"type": "boolean"},
        units=_INTEGER,
        counts=_object(
            open=_INTEGER,
            computing=_INTEGER,
            revealing=_INTEGER,
            settled=_INTEGER,
            accepted=_INTEGER,
            failed=_INTEGER,
            cancelled=_INTEGER,
        ),
        waiting=_INTEGER,
        executions=_INTEGER,
        wrong=_INTEGER,
        escrow=_object(held=_INTEGER, paid=_INTEGER, returned=_INTEGER),
    ),
    "Jobs": _object(jobs=_list(_schema("Job"))),
    "Unit": _object(
        index=_INTEGER,
        state={"enum": [stage.value for stage in Stage]},
        parameters={"type": "object", "additionalProperties": _TEXT},
        result={"type": ["object", "null"]},
        reason=_TEXT,
        attempts=_INTEGER,
        winners=_list(_HASH),
        losers=_list(_HASH),
    ),
    "Units": _object(units=_list(_schema("Unit")), next={"type": ["integer", "null"]}),
    "Peer": _object(
        key=_HASH,
        owner=_HASH,
        role=_TEXT,
        cores=_INTEGER,
        agent=_TEXT,
        leases=_INTEGER,
        connected={"type": "boolean"},
        **_STANDING,
    ),
    "Peers": _object(peers=_list(_schema("Peer"))),
    "Account": _object(
        account=_TEXT, balance=_INTEGER, earned=_INTEGER, spent=_INTEGER, **_STANDING
    ),
    "Accounts": _object(accounts=_list(_schema("Account"))),
    "Entry": _object(
        number=_INTEGER,
        leaf=_HASH,
        entry=_TEXT,
        type=_TEXT,
        moves=_list({"type": "object"}),
    ),
    "Ledger": _object(entries=_list(_schema("Entry"))),
    "Proof": _object(proof=_list(_HASH)),
    "Witnessed": _object(notes=_list(_TEXT)),
    "Cosignature": _object(witness=_HASH, size=_INTEGER, time=_INTEGER),
    "Said": _object(id=_HASH, repeated={"type": "boolean"}, result={"type": ["object", "null"]}),
    "Kept": _object(blob=_HASH, length=_INTEGER),
    "Torrent": _object(
        v1={"type": ["string", "null"], "pattern": "^[0-9a-f]{40}$"},
        v2={"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"},
        length=_INTEGER,
        name=_TEXT,
        private={"type": "boolean"},
        time=_INTEGER,
    ),
    "Torrents": _object(torrents=_list(_schema("Torrent"))),
    "Model": _object(
        name=_TEXT,
        card=_REF,
        file=_REF,
        architecture=_TEXT,
        quantisation=_TEXT,
        context=_INTEGER,
        licence=_TEXT,
        parameters=_INTEGER,
        engine=_TEXT,
        image={"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
        price=_INTEGER,
        mean_gap=_INTEGER,
        most_gap=_INTEGER,
        memory=_INTEGER,
        created=_INTEGER,
        author=_HASH,
        holders=_INTEGER,
        rate={"type": "number"},
    ),
    "Models": _object(models=_list(_schema("Model"))),
    "ApiKey": _object(**_API_KEY),
    "ApiKeys": _object(
        keys=_list(
            _object(
                **_API_KEY,
                usage=_list(
                    _object(
                        model=_TEXT,
                        requests=_INTEGER,
                        prompt=_INTEGER,
                        generated=_INTEGER,
                        verified=_INTEGER,
                        cost=_INTEGER,
                    )
                ),
            )
        )
    ),
    "Reach": _object(
        key=_HASH,
        stun=_list(_TEXT),
        turn=_object(urls=_list(_TEXT), username=_TEXT, credential=_TEXT, seconds=_INTEGER)
        | {"type": ["object", "null"]},
        lan={"type": "boolean"},
        announce=_object(http=_TEXT, ws=_TEXT, udp={"type": ["string", "null"]}),
        mode={"enum": ["open", "listed", "members"]},
    ),
}
