#!/bin/sh
# Start a role of go2cloud, or any other command.
#
#   entrypoint.sh platform|api|agent|all [OPTION…]   serve that role
#   entrypoint.sh COMMAND [ARGUMENT…]                run COMMAND instead
#
# The process replaces this shell, so that it gets the signals.
set -eu

if [ "$#" -eq 0 ]; then
    echo "usage: $0 platform|api|agent|all [OPTION…]  or  $0 COMMAND [ARGUMENT…]" >&2
    exit 2
fi

case "$1" in
platform | api | agent | all)
    role=$1
    shift
    exec python -m app serve --role "$role" "$@"
    ;;
*)
    exec "$@"
    ;;
esac
