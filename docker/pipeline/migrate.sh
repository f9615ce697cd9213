#!/bin/sh
# Bring Airflow's database to this version's schema, once, before its processes start.
set -eu
exec airflow db migrate
