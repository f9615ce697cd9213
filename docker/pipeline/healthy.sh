#!/bin/sh
# Whether the API server has heard of this process of Airflow (triggerer, dag_processor) within the last seconds.
curl -fs http://airflow-api:8080/airflow/api/v2/monitor/health | grep -q "\"$1\":{\"status\":\"healthy\""
