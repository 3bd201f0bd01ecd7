#!/bin/sh
# run.sh SECONDS [TARGET ...]: runs the fuzz targets of build-fuzz for so many seconds each, JOBS at
# a time (2). A line for each at its end: seconds, executions, edges covered, findings. Fails when
# there is a finding; its input then lies in build-fuzz/findings.
cd "$(dirname "$0")/../.." || exit 1
build=build-fuzz corpus=tests/fuzz/corpus
mkdir -p $build/findings $build/log

if [ "$1" = one ]; then
    t=$2
    mkdir -p $build/grown/$t $corpus/$t
    dictionary=tests/fuzz/$t.dict
    [ -f $dictionary ] && set -- "$@" -dict=$dictionary
    shift 2
    ASAN_OPTIONS=allocator_may_return_null=1 $build/${t}_fuzz -max_total_time=$SECONDS_EACH \
        -timeout=25 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix=$build/findings/$t- "$@" $build/grown/$t $corpus/$t \
        >$build/log/$t.log 2>&1
    code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' $build/log/$t.log)
    edges=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' $build/log/$t.log | tail -n 1)
    found=none
    [ $code = 0 ] || found=$(sed -n 's/.*Test unit written to //p' $build/log/$t.log | tail -n 1)
    printf '%-16s %6s s %12s executions %6s edges  findings: %s\n' $t $SECONDS_EACH "${runs:-?}" \
        "${edges:-?}" "${found:-see $build/log/$t.log}"
    exit $code
fi

SECONDS_EACH=${1:-60}
export SECONDS_EACH
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- $(ls $build/*_fuzz | sed 's|.*/\(.*\)_fuzz|\1|')
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -n 1 tests/fuzz/run.sh one
