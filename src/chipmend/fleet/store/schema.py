"""Tables of a run: facts, results of jobs, and the attempts at them. Contents are JSON."""

from sqlalchemy import Column, Float, Integer, MetaData, Table, Text

SCHEMA_VERSION = 1

metadata = MetaData()

facts = Table(
    "facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("content", Text, nullable=False),
)

results = Table(
    "results",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("job", Text, primary_key=True),
    Column("content", Text, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("job", Text, nullable=False),
    Column("state", Text, nullable=False),  # running, finished, lost
    Column("ee", Float, nullable=False, default=0.0),
    Column("seconds", Float, nullable=False, default=0.0),
)
