#!/bin/sh
# Before any line is stored: how long lines are kept, and what their fields are. Then Kibana's data view and searches.
# Can be run again at any time.
set -eu
here=$(dirname "$0")
put() { curl --fail-with-body --silent --show-error --retry 30 --retry-connrefused --retry-delay 2 -o /dev/null "$@"; }
put -X PUT "$ELASTICSEARCH/_ilm/policy/snn-fusion-logs" -H 'Content-Type: application/json' --data-binary "@$here/policy.json"
put -X PUT "$ELASTICSEARCH/_index_template/snn-fusion-logs" -H 'Content-Type: application/json' --data-binary "@$here/template.json"
put -X POST "$KIBANA/api/saved_objects/_import?overwrite=true" -H 'kbn-xsrf: snn-fusion' --form "file=@$here/kibana.ndjson"
