"""Bare submit and bare read: one Flask view each. Run by gunicorn with the same worker class as the platform.

`POST /submit` verifies the token, inserts one row and publishes one Celery message. `GET /rows/<id>` verifies the token
and reads one row by its primary key. Environment: `BARE_DATABASE` (a URL), `BARE_BROKER` (as Celery spells it),
`BARE_SECRET`.
"""

from __future__ import annotations

import os
from uuid import UUID, uuid4

from celery import Celery
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from flask_jwt_extended import JWTManager, get_jwt_identity, jwt_required
from sqlalchemy import create_engine, text

app = Flask(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["BARE_SECRET"]
JWTManager(app)
engine = create_engine(os.environ["BARE_DATABASE"], pool_size=16, isolation_level="AUTOCOMMIT")
celery = Celery(broker=os.environ["BARE_BROKER"])

INSERT = text("insert into bare (id, user_id, input) values (:id, :user_id, cast(:input as jsonb))")
SELECT = text("select id, user_id, input, created_at from bare where id = :id")


@app.post("/submit")
@jwt_required()
def submit() -> ResponseReturnValue:
    row = {"id": uuid4(), "user_id": get_jwt_identity(), "input": app.json.dumps(request.get_json()["input"])}
    with engine.connect() as connection:
        connection.execute(INSERT, row)
    celery.send_task("bare.run", args=[str(row["id"])], queue="bare", ignore_result=True)
    return jsonify(id=row["id"], status="queued"), 202


@app.get("/rows/<uuid:row_id>")
@jwt_required()
def read(row_id: UUID) -> ResponseReturnValue:
    with engine.connect() as connection:
        row = connection.execute(SELECT, {"id": row_id}).one()
    return jsonify(dict(row._mapping))
