#!/bin/sh
# Well, if the schedule came round in time; what takes longer says until when before it begins.
[ "$(cat "${TMPDIR:-/tmp}/snn-fusion-backup.deadline")" -gt "$(date +%s)" ]
