"""
A DAG for Apache Airflow: copy this file to the directory of DAGs.

It runs what is due by the schedules of the policies, every five minutes. Leases in the database keep it apart from
other schedulers, so retries are safe. The address of the database is in the environment variable CRATEDB_URI of the
workers.
"""

from __future__ import annotations

import datetime as dt

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG(
    dag_id="cratedb_retention",
    schedule="*/5 * * * *",
    start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": dt.timedelta(minutes=1)},
    tags=["retention"],
):
    BashOperator(task_id="run_due", bash_command="cratedb-retention run --due --format=json", append_env=True)
