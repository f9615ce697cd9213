#!/bin/sh
# Healthy when it answers; the password goes by the environment of this process alone.
REDISCLI_AUTH=$(sed -n 's/^requirepass //p' /run/secrets/redis.conf)
export REDISCLI_AUTH
[ "$(redis-cli -h 127.0.0.1 ping)" = PONG ]
