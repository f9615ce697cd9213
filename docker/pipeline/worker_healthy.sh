#!/bin/sh
exec celery --app airflow.providers.celery.executors.celery_executor.app inspect ping -d "celery@$(hostname)"
